//! Types that are found in objects, where no definitions are given.

use serde_json::{Value, json};

use super::support::{Made, Row, id, read, row, run};

/// The class that is found in objects with one property of these values, and the rows.
fn found(values: &[&str]) -> (Value, Vec<Value>) {
    let mut made = Made::new();
    let rows: Vec<Row> = (0_u32..)
        .zip(values)
        .map(|(n, text)| Row { id: n, properties: Some(format!(r#"{{"p":{text}}}"#)), ..Row::default() })
        .collect();
    made.file("Doc", "a", 0, false, &rows).finish("SUCCESS");
    run(async {
        let source = made.open(json!({})).await.unwrap();
        assert!(source.identity().consistency.contains("types of properties and vectors were found in the objects"));
        let class = source.artifacts().iter().find(|found| found.name == "class.json").unwrap();
        let class: Value = serde_json::from_slice(&class.bytes).unwrap();
        let read = read(&source, "Doc").await.unwrap();
        assert!(read.rejects.is_empty(), "{values:?}: {:?}", read.rejects);
        let rows = read.rows();
        let values = (0_u32..).zip(values).map(|(n, _)| rows[&id(n)].get("p").cloned().unwrap_or_default());
        (class["properties"].get(0).cloned().unwrap_or_default(), values.collect())
    })
}

#[test]
fn a_type_is_taken_where_every_value_has_it() {
    let cases: [(&[&str], &str); 16] = [
        (&[r#""a""#, r#""""#, "null"], "text"),
        (&[r#""2025-01-02T03:04:05Z""#], "text"),
        (&["1", "-9007199254740992"], "int"),
        (&["1", "2.5"], "number"),
        (&["1e21", "-0"], "number"),
        (&["-0", "3"], "number"),
        (&["true", "false"], "boolean"),
        (&["[]", "[]"], "text[]"),
        (&[r#"["a"]"#, "[]"], "text[]"),
        (&["[1,2]"], "int[]"),
        (&["[1,2.5]", "[1]"], "number[]"),
        (&["[true]"], "boolean[]"),
        (&[r#"{"latitude":1,"longitude":2}"#], "geoCoordinates"),
        (&[r#"{"input":"1","valid":true,"national":1}"#], "phoneNumber"),
        (&[r#"{"a":1}"#, r#"{"b":["x"]}"#], "object"),
        (&[r#"[{"a":1}]"#], "object[]"),
    ];
    for (values, wanted) in cases {
        let (property, read) = found(values);
        assert_eq!(property["dataType"], json!([wanted]), "{values:?}");
        for (text, value) in values.iter().zip(read) {
            let given: Value = serde_json::from_str(text).unwrap();
            let same = match (&given, &value) {
                (Value::Object(_) | Value::Array(_), Value::String(text)) => {
                    serde_json::from_str::<Value>(text).unwrap() == given
                }
                (Value::Number(given), Value::Number(value)) => {
                    given.as_f64().map(f64::to_bits) == value.as_f64().map(f64::to_bits)
                }
                _ => given == value || wanted == "number[]",
            };
            assert!(same, "{given} became {value}");
        }
    }
}

#[test]
fn what_fits_no_type_stays_json_and_is_not_declared() {
    let cases: [&[&str]; 10] = [
        &[r#""a""#, "1"],
        &["true", r#"["a"]"#],
        &[r#"[1,"a"]"#],
        &["[null]"],
        &["[[1]]"],
        &["{}"],
        &[r#"{"a":1}"#, r#"{"a":"x"}"#],
        // Numbers that a 64-bit float does not keep.
        &["9007199254740993", "1.5"],
        &["0.12345678901234567890123"],
        &["123456789012345678901234567890"],
    ];
    for values in cases {
        let (property, read) = found(values);
        assert_eq!(property, Value::Null, "{values:?}");
        let texts: Vec<&str> = read.iter().map(|value| value.as_str().unwrap()).collect();
        assert_eq!(texts, values);
    }
}

#[test]
fn references_name_their_collections() {
    let beacon = |class: &str| format!(r#"[{{"beacon":"weaviate://localhost/{class}/{}"}}]"#, id(1));
    let (property, read) = found(&[&beacon("Person"), &beacon("Org"), "[]"]);
    assert_eq!(property["dataType"], json!(["Org", "Person"]));
    assert_eq!(read[0].as_str().unwrap(), beacon("Person"));
    // One that names none cannot be declared, and is kept.
    let old = format!(r#"[{{"beacon":"weaviate://localhost/{}"}}]"#, id(1));
    assert_eq!(found(&[&old]).0["dataType"], json!(["object[]"]));
}

#[test]
fn vectors_are_declared_as_they_are_found() {
    let mut made = Made::new();
    let rows = [
        Row { vector: Some(vec![1.0, 2.0]), named: Some(r#"{"a":[1]}"#), ..row(1, &json!({})) },
        Row { named: Some(r#"{"a":[1,2]}"#), several: Some(r#"{"m":[[1,2,3]]}"#), ..row(2, &json!({})) },
    ];
    made.file("Doc", "a", 0, false, &rows).finish("SUCCESS");
    run(async {
        let source = made.open(json!({})).await.unwrap();
        let schema = &source.datasets()[0].schema;
        let shown = |name: &str| format!("{}", schema.field_with_name(name).unwrap().data_type());
        assert!(shown("_vector").starts_with("FixedSizeList(2"), "{}", shown("_vector"));
        assert!(shown("_vector_a").starts_with("List("), "{}", shown("_vector_a"));
        assert!(shown("_vector_m").contains("FixedSizeList(3"), "{}", shown("_vector_m"));
        let class = source.artifacts().iter().find(|found| found.name == "class.json").unwrap();
        let class: Value = serde_json::from_slice(&class.bytes).unwrap();
        assert_eq!(class["vectorIndexType"], "hnsw");
        assert_eq!(class["vectorConfig"]["m"]["vectorIndexConfig"]["multivector"]["enabled"], true);
        assert!(class["vectorConfig"]["a"].get("vectorIndexConfig").is_none());
        assert_eq!(read(&source, "Doc").await.unwrap().rows().len(), 2);
    });
}

//! Objects of whole exports come back as the columns of their collections.

use serde_json::{Value, json};

use super::super::files::ExportFile;
use super::super::vectors;
use super::support::{Made, Row, class, id, read, read_split, row, run};

fn doc() -> Value {
    class(
        "Doc",
        &[
            ("title", "text"),
            ("count", "int"),
            ("ratio", "number"),
            ("day", "date"),
            ("tags", "text[]"),
            ("place", "geoCoordinates"),
            ("picture", "blob"),
        ],
    )
}

#[test]
fn every_column_is_as_the_server_gives_it() {
    let mut made = Made::new();
    let full = json!({
        "title": "Łódź 🚀", "count": 3, "ratio": 0.1, "day": "2025-01-02T03:04:05.123456789Z", "tags": ["a", ""],
        "place": { "latitude": 1.5, "longitude": 2.5 }, "picture": "AQID",
    });
    let rows = [
        Row { vector: Some(vec![1.5, -0.0]), ..row(1, &full) },
        Row { id: 2, properties: None, ..Row::default() },
        Row { vector: Some(vec![f32::MIN_POSITIVE, f32::NAN]), ..row(3, &json!({})) },
    ];
    made.file("Doc", "abc_def", 0, false, &rows).finish("SUCCESS");
    let definitions = made.definitions(&[doc()]);
    run(async {
        let source = made.open(json!({ "definitions": definitions })).await.unwrap();
        let dataset = &source.datasets()[0];
        assert_eq!((dataset.name.as_str(), dataset.rows), ("Doc", Some(3)));
        let found = read(&source, "Doc").await.unwrap();
        assert!(found.rejects.is_empty(), "{:?}", found.rejects);
        let rows = found.rows();
        let first = &rows[&id(1)];
        assert_eq!(first["title"], "Łódź 🚀");
        assert_eq!((&first["count"], &first["ratio"]), (&json!(3), &json!(0.1)));
        assert_eq!(first["_restow_text_day"], "2025-01-02T03:04:05.123456789Z");
        assert_eq!(first["tags"], json!(["a", ""]));
        assert_eq!(first["place"], r#"{"latitude":1.5,"longitude":2.5}"#);
        assert_eq!(first["picture"], "010203");
        assert_eq!(first["_vector"], json!([1.5, -0.0]));
        assert_eq!(first["_creation_time"], "2023-11-14T22:13:20.001Z");
        assert_eq!(first["_update_time"], "2023-11-14T22:13:20.006Z");
        assert_eq!(rows[&id(2)].as_object().unwrap().len(), 3, "{}", rows[&id(2)]);
        let artifact = source.artifacts().iter().find(|found| found.name == "class.json").unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&artifact.bytes).unwrap(), doc());
        let consistency = source.identity().consistency;
        assert!(consistency.contains("\"e1\"") && consistency.contains("2026-01-02T03:04:05Z"), "{consistency}");
    });
}

#[test]
fn named_vectors_keep_their_names_and_lengths() {
    let mut made = Made::new();
    let rows = [
        Row {
            named: Some(r#"{"a":[1,2.5],"b":[1e-40]}"#),
            several: Some(r#"{"m":[[1,2],[3,4]]}"#),
            ..row(1, &json!({}))
        },
        Row { named: Some(r#"{"a":[NaN,-Inf]}"#), several: Some(r#"{"m":[]}"#), ..row(2, &json!({})) },
    ];
    made.file("Doc", "s", 0, false, &rows).finish("SUCCESS");
    let vector = json!({ "vectorizer": { "none": {} }, "vectorIndexType": "hnsw" });
    let mut several = vector.clone();
    several["vectorIndexConfig"] = json!({ "multivector": { "enabled": true } });
    let class = json!({ "class": "Doc", "vectorConfig": { "a": vector, "b": vector, "m": several }, "properties": [] });
    let definitions = made.definitions(&[class]);
    run(async {
        let source = made.open(json!({ "definitions": definitions })).await.unwrap();
        let schema = &source.datasets()[0].schema;
        assert!(format!("{:?}", schema.field_with_name("_vector_a").unwrap().data_type()).contains("FixedSizeList"));
        let found = read(&source, "Doc").await.unwrap();
        let rows = found.rows();
        assert_eq!(rows[&id(1)]["_vector_a"], json!([1.0, 2.5]));
        assert_eq!(rows[&id(1)]["_vector_m"], json!([[1.0, 2.0], [3.0, 4.0]]));
        assert!(rows[&id(2)].get("_vector_m").is_none() && rows[&id(2)].get("_vector_b").is_none());
    });
}

#[test]
fn tenants_are_those_of_the_files_and_those_without_an_object() {
    let mut made = Made::new();
    made.file("Doc", "t_1", 0, true, &[row(1, &json!({ "title": "one" }))])
        .file("Doc", "t2", 0, true, &[row(1, &json!({ "title": "two" }))])
        .shard("Doc", "empty", json!({ "status": "SKIPPED", "skipReason": "no data" }))
        .finish("SUCCESS");
    let mut class = class("Doc", &[("title", "text")]);
    class["multiTenancyConfig"] = json!({ "enabled": true });
    let definitions = made.definitions(&[class]);
    run(async {
        for options in [json!({ "definitions": definitions }), json!({})] {
            let source = made.open(options).await.unwrap();
            let found = read(&source, "Doc").await.unwrap();
            let mut titles: Vec<(String, String)> = Vec::new();
            for batch in &found.batches {
                let one = super::support::Read { batches: vec![batch.clone()], ..Default::default() }.rows();
                titles.extend(one.values().map(|row| (row["_tenant"].to_string(), row["title"].to_string())));
            }
            titles.sort();
            assert_eq!(titles, [("\"t2\"".into(), "\"two\"".into()), ("\"t_1\"".into(), "\"one\"".into())]);
            let tenants = source.artifacts().iter().find(|found| found.name == "tenants.json").unwrap();
            let names: Vec<Value> = serde_json::from_slice(&tenants.bytes).unwrap();
            let names: Vec<&str> = names.iter().map(|tenant| tenant["name"].as_str().unwrap()).collect();
            assert_eq!(names, ["empty", "t2", "t_1"]);
        }
    });
}

#[test]
fn parts_of_files_are_read_by_themselves_and_make_the_whole() {
    let mut made = Made::new();
    let rows: Vec<Row> = (0..130)
        .map(|n| Row { vector: Some(vec![n as f32]), ..row(n, &json!({ "title": format!("t{n}") })) })
        .collect();
    made.file("Doc", "s", 0, false, &rows[..100]).file("Doc", "s", 1, false, &rows[100..]).finish("SUCCESS");
    let definitions = made.definitions(&[class("Doc", &[("title", "text")])]);
    run(async {
        let source = made.open(json!({ "definitions": definitions })).await.unwrap();
        let splits = source.splits(&source.datasets()[0], 2).await.unwrap();
        // Two row groups of 50, and one of 30.
        assert_eq!(splits.iter().map(|split| split.rows.unwrap()).collect::<Vec<_>>(), [50, 50, 30]);
        let mut part = splits[1].clone();
        part.payload["from"] = json!(13);
        part.payload["rows"] = json!(20);
        let found = read_split(&source, "Doc", part.clone(), None).await.unwrap();
        let wanted: Vec<String> = (63..83).map(id).collect();
        assert_eq!(found.rows().into_keys().collect::<Vec<_>>(), wanted);
        // Only some columns, and none at all.
        let found = read_split(&source, "Doc", part.clone(), Some(&[3])).await.unwrap();
        assert_eq!(found.batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 20);
        let found = read_split(&source, "Doc", part, Some(&[])).await.unwrap();
        assert_eq!(found.batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 20);
        assert_eq!(read(&source, "Doc").await.unwrap().rows().len(), 130);
    });
}

#[test]
fn large_groups_are_read_in_several_splits() {
    let parts = ExportFile::of_groups(vec![(1_000_000, 4 << 30), (3, 90 << 20), (0, 0)]).parts();
    assert!(parts.len() > 30 && parts.iter().all(|part| part.rows <= 40_000), "{parts:?}");
    for (group, rows) in [(0, 1_000_000), (1, 3)] {
        let mut at = 0;
        for part in parts.iter().filter(|part| part.group == group) {
            assert_eq!(part.from, at);
            at += part.rows;
        }
        assert_eq!(at, rows);
    }
}

#[test]
fn numbers_of_vectors_survive_printing() {
    let values = [0.0, -0.0, 1.5, f32::MAX, f32::MIN_POSITIVE, 1e-45, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.1];
    let mut text = String::from("{\"v\":");
    vectors::print(values.into_iter(), &mut text);
    text.push('}');
    let found = vectors::named(text.as_bytes()).unwrap();
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&found["v"]), bits(&values));
    for wrong in [
        "",
        "{",
        "[]",
        "{\"v\":[1,]}",
        "{\"v\":[1]",
        "{\"v\":[x]}",
        "{\"v\":[1]}x",
        "{\"v\":[1],\"v\":[2]}",
        "{\"v\":1}",
    ] {
        assert!(vectors::named(wrong.as_bytes()).is_err(), "{wrong}");
    }
    assert!(vectors::several(b"{\"v\":[1]}").is_err());
    assert_eq!(vectors::several(b"{ \"v\" : [ [1, 2] , [] ] }").unwrap()["v"], [vec![1.0, 2.0], vec![]]);
    assert!(vectors::floats(&[0; 7]).is_err());
}

//! What inference makes of values.

use arrow::datatypes::{DataType, TimeUnit};
use restow_core::record::{EXPLICIT_NULLS, NULL_NUMBER, Role, is_json, vector_type};

use super::support::{decode_lines, infer, infer_lines, request, run, stream_of, whole};
use crate::codec::decode::decode_json_lines;
use crate::codec::infer::{InferOptions, TextFormat};
use crate::codec::types::{FLOAT_KEY, FORM_KEY, list_of, parse_field, timestamp_type, vector_of};

/// The type of the one column that these values have, `json` for JSON text, and the names of the columns beside it.
fn inferred(values: &[&str]) -> (String, Vec<String>) {
    let text: String = values.iter().map(|value| format!("{{\"x\":{value}}}\n")).collect();
    let found = run(infer_lines(&text));
    let field = found.schema.field(0);
    let name = if is_json(field) { "json".to_owned() } else { field.data_type().to_string() };
    (name, found.schema.fields().iter().skip(1).map(|field| field.name().clone()).collect())
}

fn type_of(values: &[&str]) -> String {
    inferred(values).0
}

#[test]
fn scalars() {
    assert_eq!(type_of(&["1", "-9223372036854775808"]), "Int64");
    assert_eq!(type_of(&["1", "18446744073709551615"]), "UInt64");
    assert_eq!(type_of(&["-1", "18446744073709551615"]), "json");
    assert_eq!(type_of(&["1", "18446744073709551616"]), "json");
    assert_eq!(inferred(&["1", "2.5"]), ("Float64".to_owned(), vec![]));
    assert_eq!(inferred(&["-0"]), ("Float64".to_owned(), vec![]));
    assert_eq!(inferred(&["0.5", "9007199254740993"]), ("Float64".to_owned(), vec!["_restow_text_x".to_owned()]));
    assert_eq!(type_of(&["1e400", "0.5"]), "json");
    assert_eq!(type_of(&["true", "false"]), "Boolean");
    assert_eq!(type_of(&["true", "1"]), "json");
    assert_eq!(type_of(&["\"a\"", "1"]), "json");
    assert_eq!(type_of(&["{\"a\":1}"]), "json");
    assert_eq!(type_of(&["\"text\""]), "Utf8");
}

#[test]
fn strings_with_a_form() {
    let timestamp = timestamp_type().to_string();
    assert_eq!(inferred(&["\"2025-01-01T00:00:00Z\""]), (timestamp.clone(), vec![]));
    assert_eq!(inferred(&["\"2025-01-01T00:00:00+01:00\""]), (timestamp, vec!["_restow_text_x".to_owned()]));
    assert_eq!(type_of(&["\"2025-01-01\""]), "Date32");
    assert_eq!(type_of(&["\"2025-01-01\"", "\"2025-01-01T00:00:00Z\""]), "Utf8");
    assert_eq!(type_of(&["\"2025-02-30\""]), "Utf8");
    let found = run(infer_lines("{\"x\":\"a434d75a-836b-59e1-A62b-1b730e36b4ab\"}\n"));
    assert_eq!(found.schema.field(0).metadata().get(FORM_KEY).map(String::as_str), Some("uuid"));
}

#[test]
fn nulls_are_kept_apart_from_absence() {
    assert_eq!(inferred(&["1"]), ("Int64".to_owned(), vec![]));
    assert_eq!(inferred(&["1", "null"]), ("Int64".to_owned(), vec![EXPLICIT_NULLS.to_owned()]));
    assert_eq!(inferred(&["null"]), ("json".to_owned(), vec![EXPLICIT_NULLS.to_owned()]));
    run(async {
        let text = "{\"a\":1,\"b\":null}\n{\"a\":null}\n{\"b\":2}\n";
        let found = infer_lines(text).await;
        assert_eq!(found.schema.field(1).metadata().get(NULL_NUMBER).map(String::as_str), Some("1"));
        let batch =
            whole(&found.schema, decode_json_lines(stream_of(text.as_bytes(), 5), request(&found.schema))).await;
        let nulls = batch.column_by_name(EXPLICIT_NULLS).unwrap();
        assert_eq!(arrow::util::display::array_value_to_string(nulls, 0).unwrap(), "[1]");
        assert_eq!(arrow::util::display::array_value_to_string(nulls, 1).unwrap(), "[0]");
        assert!(arrow::array::Array::is_null(nulls, 2));
    });
}

#[test]
fn arrays() {
    assert_eq!(type_of(&["[1,2]", "[]"]), list_of(DataType::Int64).to_string());
    assert_eq!(type_of(&["[1,2.5]"]), list_of(DataType::Float64).to_string());
    assert_eq!(type_of(&["[\"a\",null]"]), list_of(DataType::Utf8).to_string());
    assert_eq!(type_of(&["[true]"]), list_of(DataType::Boolean).to_string());
    assert_eq!(type_of(&["[]"]), "json");
    assert_eq!(type_of(&["[1,\"a\"]"]), "json");
    assert_eq!(type_of(&["[[1]]"]), "json");
    assert_eq!(type_of(&["[{\"a\":1}]"]), "json");
    assert_eq!(type_of(&["[9007199254740993, 0.5]"]), "json");
}

#[test]
fn vectors() {
    let of = |values: &[&str]| {
        let text: String = values.iter().map(|value| format!("{{\"x\":{value}}}\n")).collect();
        let found = run(infer_lines(&text));
        let field = found.schema.field(0).clone();
        (field.data_type().clone(), field.metadata().get(FLOAT_KEY).cloned(), found.roles.get("x"))
    };
    let shortest = "[0.1,0.2,0.3,0.4,0.5,0.6,0.7,1]";
    assert_eq!(of(&[shortest, shortest]), (vector_type(8), None, Role::Vector));
    let wide = "[0.10000000149011612,0.5,0.5,0.5,0.5,0.5,0.5,0.5]";
    assert_eq!(of(&[wide]), (vector_type(8), Some("wide".to_owned()), Role::Vector));
    let double = "[0.12345678901234,0.5,0.5,0.5,0.5,0.5,0.5,0.5]";
    assert_eq!(of(&[double]), (vector_of(DataType::Float64, 8), None, Role::Vector));
    let list = (list_of(DataType::Float64), None, Role::Payload);
    assert_eq!(of(&["[0.1,0.2]"]), list);
    assert_eq!(of(&[shortest, "[0.5]"]), list);
    assert_eq!(of(&["[0.1,null,0.3,0.4,0.5,0.6,0.7,1]"]), list);
    assert_eq!(of(&["[1,2,3,4,5,6,7,8]"]).0, list_of(DataType::Int64));
}

#[test]
fn declared_types_override() {
    run(async {
        let declared = vec![
            parse_field("when", "timestamp(s)").unwrap(),
            parse_field("v", "vector(2)").unwrap(),
            parse_field("sparse", "sparse_vector").unwrap(),
            parse_field("price", "decimal(6,2)").unwrap(),
            parse_field("later", "int").unwrap(),
        ];
        let text = concat!(
            r#"{"when":"2025-01-01T00:00:00.5Z","v":[0.1234567890123,2],"sparse":[{"index":7,"value":0.5}],"price":"12.50","n":1}"#,
            "\n",
            r#"{"when":"2025-01-01T00:00:00Z","v":[1],"price":12.5}"#,
            "\n",
            r#"{"price":12.505}"#,
            "\n",
        );
        let found = infer(text.as_bytes(), TextFormat::JsonLines, InferOptions { declared, ..InferOptions::default() })
            .await
            .unwrap();
        let names: Vec<&str> = found.schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["when", "v", "sparse", "price", "n", "later", "_restow_text_when"]);
        assert!(matches!(found.schema.field(0).data_type(), DataType::Timestamp(TimeUnit::Second, Some(_))));
        assert_eq!((found.roles.get("v"), found.roles.get("sparse")), (Role::Vector, Role::SparseVector));
        let (batches, rejects) = decode_lines(text, &found.schema).await.unwrap();
        assert_eq!(batches[0].num_rows(), 1);
        let reasons: Vec<&str> = rejects.iter().map(|reject| reject.reason.as_str()).collect();
        assert_eq!(
            reasons,
            [
                r#"column "v": it has 1 elements where the others have 2"#,
                r#"column "price": 12.505 does not fit decimal(6,2) exactly"#
            ]
        );
        let binary = InferOptions { declared: vec![parse_field("b", "binary").unwrap()], ..InferOptions::default() };
        let error = infer(b"{}", TextFormat::JsonLines, binary).await.unwrap_err();
        assert!(error.message().contains("declared as Binary"), "{error}");
    });
}

#[test]
fn a_bound_that_is_reached_keeps_room_for_what_may_come() {
    run(async {
        let text = "{\"a\":1,\"t\":\"2025-01-01T00:00:00Z\"}\n".repeat(100)
            + "{\"a\":null,\"t\":\"2025-01-01T00:00:00+09:00\"}\n{\"a\":2.5}\n";
        let options = InferOptions { max_bytes: 500, ..InferOptions::default() };
        let found = infer(text.as_bytes(), TextFormat::JsonLines, options).await.unwrap();
        assert!(!found.complete && found.rows < 100);
        let names: Vec<&str> = found.schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["a", "t", "_restow_text_t", EXPLICIT_NULLS]);
        let (_, rejects) = decode_lines(&text, &found.schema).await.unwrap();
        assert_eq!(rejects.len(), 1);
        assert_eq!(rejects[0].place, "test.jsonl:102");
    });
}

#[test]
fn restows_own_names_are_refused() {
    run(async {
        let text = "{\"_restow_null\":[1]}\n";
        let error = infer(text.as_bytes(), TextFormat::JsonLines, InferOptions::default()).await.unwrap_err();
        assert!(error.message().contains(r#""_restow_null""#), "{error}");
    });
}

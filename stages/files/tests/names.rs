//! Options, names and the end of an export.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use serde_json::json;

use crate::files::config::{check_sink, check_source};
use crate::files::export::Export;
use crate::files::find::stem;

#[test]
fn stems_lose_the_endings_of_compression_and_format() {
    for (path, expected) in [
        ("examples/cities.jsonl.gz", "cities"),
        ("a.b.parquet", "a.b"),
        ("cities", "cities"),
        (".jsonl", ".jsonl"),
        ("x/y/z.CSV.ZST", "z"),
    ] {
        assert_eq!(stem(path), expected);
    }
}

#[test]
fn options_are_checked_beyond_their_schema() {
    let text = |problems: Vec<restow_spec::catalogue::Problem>| {
        problems.iter().map(|p| format!("{}: {p}", p.pointer)).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(text(check_source(&json!({ "path": "a/*.parquet", "schema": { "x": "int" } }))), "");
    assert_eq!(text(check_source(&json!({ "path": "a", "partitions": {} }))), "");
    let problems = text(check_source(&json!({
        "path": ["", "a/[b.parquet"],
        "schema": { "x/y": "itn" },
        "partitions": { "x/y": "int" },
        "csv": { "delimiter": "é" },
    })));
    assert!(problems.contains("/path/0: the path is empty"), "{problems}");
    assert!(problems.contains("/path/1: \"a/[b.parquet\" is not a valid glob"), "{problems}");
    assert!(problems.contains("/schema/x~1y: unknown type \"itn\""), "{problems}");
    assert!(problems.contains("stands in both"), "{problems}");
    assert!(problems.contains("/csv/delimiter: 'é' is not one byte"), "{problems}");
    assert_eq!(text(check_sink(&json!({ "path": "out/" }))), "");
    let problems = text(check_sink(&json!({ "path": "out/*", "part_size": "5GiB" })));
    assert!(problems.contains("/path: \"out/*\" looks like a glob"), "{problems}");
    assert!(problems.contains("/part_size: parts of 5GiB are not possible (use 1MiB to 4GiB)"), "{problems}");
}

#[test]
fn the_registry_examples_fit_their_own_options() {
    for (info, is_source) in [(crate::files::source_info(), true), (crate::files::sink_info(), false)] {
        let mut options = serde_json::Map::new();
        for line in info.example.lines() {
            let (key, value) = line.split_once(": ").unwrap();
            options.insert(key.to_owned(), json!(value));
        }
        let check = if is_source { check_source } else { check_sink };
        assert!(check(&options.into()).is_empty());
    }
}

#[test]
fn every_type_comes_back_from_the_end_of_an_export() {
    let nested = Fields::from(vec![
        Field::new("a \"quoted\" name", DataType::Int8, false).with_metadata([("k".into(), "v \"w\"".into())].into()),
        Field::new("b", DataType::List(Field::new_list_field(DataType::Utf8, true).into()), true),
    ]);
    let types = [
        DataType::Null,
        DataType::Boolean,
        DataType::UInt64,
        DataType::Float16,
        DataType::Decimal128(38, 10),
        DataType::Decimal256(50, -2),
        DataType::Date32,
        DataType::Date64,
        DataType::Time32(TimeUnit::Millisecond),
        DataType::Time64(TimeUnit::Nanosecond),
        DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Berlin".into())),
        DataType::Duration(TimeUnit::Second),
        DataType::Binary,
        DataType::LargeBinary,
        DataType::FixedSizeBinary(16),
        DataType::LargeUtf8,
        DataType::Utf8View,
        restow_core::record::vector_type(384),
        DataType::List(Field::new_list_field(restow_core::record::vector_type(4), true).into()),
        crate::codec::types::sparse_vector_type(),
        DataType::Struct(nested),
        DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
    ];
    let fields: Vec<Field> = types
        .iter()
        .enumerate()
        .map(|(n, t)| {
            Field::new(format!("c{n}"), t.clone(), n % 2 == 0).with_metadata([("k".into(), "v".into())].into())
        })
        .collect();
    let schema = Schema::new(fields);
    let mut export = Export::new("r", "n", "p");
    export.add("d", &schema, &[], Vec::new());
    let back: Export = serde_json::from_slice(&export.bytes().unwrap()).unwrap();
    assert_eq!(back, export);
    assert_eq!(back.datasets[0].schema("out").unwrap(), Arc::new(schema));
}

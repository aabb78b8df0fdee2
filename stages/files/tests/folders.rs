//! Which files a glob or a folder takes, and folders whose names hold values: nothing is left out unsaid.

use std::fs;
use std::path::Path;

use arrow::array::AsArray;
use restow_core::ExitClass;
use restow_core::stage::OpenContext;
use serde_json::{Value, json};

use super::harness::*;

/// Writes files with one row each, whose id is the path.
fn put(folder: &Path, files: &[&str]) {
    for name in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{{\"id\":\"{name}\"}}\n")).unwrap();
    }
}

/// The ids of all rows, sorted: the files that were taken.
async fn taken(options: Value, context: &OpenContext) -> Vec<String> {
    let source = source(options, context).await.unwrap();
    let mut ids = Vec::new();
    for dataset in source.datasets() {
        let whole = read_all(source.as_ref(), &dataset.name).await.one();
        let column = whole.column_by_name("id").unwrap().as_string::<i32>();
        ids.extend(column.iter().flatten().map(str::to_owned));
    }
    ids.sort();
    ids
}

/// The rows of the only dataset.
async fn rows(options: Value, context: &OpenContext) -> usize {
    let source = source(options, context).await.unwrap();
    assert_eq!(source.datasets().len(), 1);
    read_all(source.as_ref(), &source.datasets()[0].name).await.rows()
}

#[tokio::test]
async fn a_glob_takes_underscores_and_only_the_dots_that_it_spells() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &["u/x.jsonl", "u/_x.jsonl", "u/.x.jsonl", "u/_sub/x.jsonl", "u/.sub/x.jsonl"]);
    put(folder.path(), &["u/.sub/.y.jsonl", "u/_restow_x.jsonl", "u/_restow_sub/x.jsonl"]);
    let context = context(folder.path());
    for (glob, expected) in [
        ("u/*.jsonl", vec!["u/_x.jsonl", "u/x.jsonl"]),
        ("u/*/*.jsonl", vec!["u/_sub/x.jsonl"]),
        ("u/**/*.jsonl", vec!["u/_sub/x.jsonl", "u/_x.jsonl", "u/x.jsonl"]),
        ("u/_*.jsonl", vec!["u/_x.jsonl"]),
        ("u/.*.jsonl", vec!["u/.x.jsonl"]),
        ("u/.s*/*.jsonl", vec!["u/.sub/x.jsonl"]),
        ("u/.s*/.*.jsonl", vec!["u/.sub/.y.jsonl"]),
        ("u/{.x,x}.jsonl", vec!["u/.x.jsonl", "u/x.jsonl"]),
        ("u/*{.jsonl,.json}", vec!["u/_x.jsonl", "u/x.jsonl"]),
        // What stands before the first wildcard is a path as it is.
        ("u/.sub/*.jsonl", vec!["u/.sub/x.jsonl"]),
    ] {
        assert_eq!(taken(json!({ "path": glob }), &context).await, expected, "{glob}");
    }
    let (error, _) = refusal(json!({ "path": "u/_restow_*.jsonl" }), &context).await;
    assert_eq!(error.class(), ExitClass::NotFound);
}

#[tokio::test]
async fn a_folder_takes_all_but_the_files_that_are_known_to_be_no_data() {
    let folder = tempfile::tempdir().unwrap();
    let data = ["u/_metadata.jsonl", "u/_sub/x.jsonl", "u/_x.jsonl", "u/sub/_delta_log.jsonl", "u/x.jsonl"];
    put(folder.path(), &data);
    put(folder.path(), &["u/.x.jsonl", "u/.sub/x.jsonl", "u/_restow_x.jsonl", "u/_restow_sub/x.jsonl"]);
    put(folder.path(), &["u/_SUCCESS", "u/_metadata", "u/sub/_common_metadata", "u/_delta_log/0.json"]);
    put(folder.path(), &["u/_change_data/x.jsonl", "u/_temporary/0/x.jsonl"]);
    let context = context(folder.path());
    assert_eq!(taken(json!({ "path": "u" }), &context).await, data);
    assert_eq!(taken(json!({ "path": "u/_sub" }), &context).await, ["u/_sub/x.jsonl"]);
    // Another name without a known ending is an error and no silence.
    put(folder.path(), &["u/_other"]);
    let (_, text) = refusal(json!({ "path": "u" }), &context).await;
    assert!(text.starts_with("the format of \"u/_other\" is not known from its name"), "{text}");
}

#[tokio::test]
async fn values_in_folder_names_are_read_or_left_out_on_purpose() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["part/year=2023/c=FR/a.jsonl", "part/year=2024/c=DE/b.jsonl"];
    put(folder.path(), &files);
    let context = context(folder.path());
    let (error, text) = refusal(json!({ "path": "part" }), &context).await;
    assert_eq!(error.class(), ExitClass::Usage);
    assert_eq!(
        text,
        "dataset \"part\": the values of the folders year=, c= would be lost, since `partitions:` is not given | \
         say `partitions: { year: int, c: text }` to read them as columns, or `partitions: {}` to leave them out"
    );
    let (_, text) = refusal(json!({ "path": "part/*/*/a.jsonl" }), &context).await;
    assert!(text.starts_with("dataset \"a\": the values of the folders year=, c= would be lost"), "{text}");

    assert_eq!(taken(json!({ "path": "part", "partitions": {} }), &context).await, files);
    let both = json!({ "path": "part", "partitions": { "year": "int", "c": "text" } });
    assert_eq!(source(both.clone(), &context).await.unwrap().datasets()[0].schema.fields().len(), 3);
    assert_eq!(taken(both, &context).await, files);

    // What the user wrote himself is known to him.
    for path in ["part/year=2023/c=FR", "part/year=2023/c=FR/a.jsonl", "part/year=2023/c=FR/*.jsonl"] {
        assert_eq!(taken(json!({ "path": path }), &context).await, files[..1], "{path}");
    }
    let (_, text) = refusal(json!({ "path": "part/year=2023/*/a.jsonl" }), &context).await;
    assert!(text.contains("the folders c= would") && text.contains("`partitions: { c: text }`"), "{text}");
}

#[tokio::test]
async fn the_remedy_for_values_in_folder_names_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &["q/zip=01234/a b=1/n=__HIVE_DEFAULT_PARTITION__/x.jsonl", "q/zip=99999/a b=2/n=3/x.jsonl"]);
    put(folder.path(), &["w/a=b.jsonl", "w/=/c.jsonl"]);
    let context = context(folder.path());
    let (_, text) = refusal(json!({ "path": "q" }), &context).await;
    assert!(text.contains("`partitions: { zip: text, \"a b\": int, n: int }`"), "{text}");
    let remedy = json!({ "path": "q", "partitions": { "zip": "text", "a b": "int", "n": "int" } });
    assert_eq!(rows(remedy, &context).await, 2);
    // Neither the name of a file nor a folder without a name is a column.
    assert_eq!(rows(json!({ "path": "w" }), &context).await, 2);
}

#[tokio::test]
async fn an_equals_sign_in_the_name_of_an_exported_dataset_is_no_value() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path());
    Export::to("out").write(&[("year=2023", vec![batch(0, 20)])], &context).await.unwrap();
    let whole = source(json!({ "path": "out" }), &context).await.unwrap();
    assert_eq!(whole.datasets()[0].name, "year=2023");
    for path in ["out", "out/year=2023", "out/*/*", "*/*/*"] {
        assert_eq!(rows(json!({ "path": path, "dataset": "all" }), &context).await, 20, "{path}");
    }
    // A folder beside it that the export does not name is none of it.
    let part = tree(&folder.path().join("out/year=2023")).remove(0);
    fs::create_dir(folder.path().join("out/land=FR")).unwrap();
    fs::copy(folder.path().join("out/year=2023").join(part), folder.path().join("out/land=FR/x.parquet")).unwrap();
    let (_, text) = refusal(json!({ "path": "out/*/*", "dataset": "all" }), &context).await;
    assert!(text.starts_with("dataset \"all\": the values of the folders land= would be lost"), "{text}");

    // Nor are the folders above an export.
    Export::to("lake/year=2024").write(&[("k=v", vec![batch(0, 20)])], &context).await.unwrap();
    let (_, text) = refusal(json!({ "path": "lake" }), &context).await;
    assert!(text.starts_with("dataset \"lake\": the values of the folders year= would be lost"), "{text}");
    assert_eq!(rows(json!({ "path": "lake", "partitions": { "year": "int" } }), &context).await, 20);
}

//! Exports whose folders are named after values.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use restow_core::ExitClass;
use serde_json::json;

use super::harness::*;

/// The rows by id, the columns by name.
fn ordered(batches: &[RecordBatch]) -> RecordBatch {
    let whole = concat_batches(&batches[0].schema(), batches).unwrap();
    let mut names: Vec<(String, usize)> =
        whole.schema().fields().iter().enumerate().map(|(at, field)| (field.name().clone(), at)).collect();
    names.sort();
    let whole = whole.project(&names.iter().map(|(_, at)| *at).collect::<Vec<_>>()).unwrap();
    let order = sort_to_indices(whole.column_by_name("id").unwrap(), None, None).unwrap();
    take_record_batch(&whole, &order).unwrap()
}

#[tokio::test]
async fn folders_hold_values_and_rows_come_back() {
    for (codec, options) in [("parquet", json!({})), ("jsonl", json!({ "compression": "zstd" }))] {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path());
        let written = [batch(0, 150), batch(150, 100)];
        // More names than files may be open at once; every third is null.
        let export = Export::to("out").codec(codec, options).with("partition_by", json!(["flag", "name"]));
        export.write(&[("cities", written.to_vec())], &context).await.unwrap();
        let names = tree(&folder.path().join("out"));
        let folders: BTreeSet<&str> = names.iter().filter_map(|name| Some(name.rsplit_once('/')?.0)).collect();
        assert!(folders.contains("cities/flag=true/name=Ort gr%C3%B6%C3%9Fe %F0%9F%98%80 2"), "{folders:?}");
        assert!(folders.contains("cities/flag=false/name=__HIVE_DEFAULT_PARTITION__"), "{folders:?}");
        assert!(folders.len() > 130, "{}", folders.len());
        for path in ["out", "out/cities"] {
            let source = source(json!({ "path": path }), &context).await.unwrap();
            let read = read_all(source.as_ref(), "cities").await;
            assert!(read.rejects.is_empty());
            assert_eq!(ordered(&read.batches), ordered(&written), "{codec} {path}");
        }
        // By a glob the files are as anybody's: what the folders say must be asked for, or left out on purpose.
        let glob = json!({ "path": "out/cities/**/*", "dataset": "x" });
        let refused = source(glob, &context).await.unwrap_err();
        assert_eq!(refused.class(), ExitClass::Usage, "{refused}");
        assert!(refused.message().contains("flag=, name="), "{refused}");
    }
}

#[tokio::test]
async fn an_empty_dataset_keeps_its_columns() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path());
    let export = Export::to("out").with("partition_by", json!(["flag"]));
    export.write(&[("cities", vec![batch(0, 0)])], &context).await.unwrap();
    let source = source(json!({ "path": "out" }), &context).await.unwrap();
    assert_eq!(source.datasets()[0].rows, Some(0));
    assert_eq!(source.datasets()[0].schema.fields().len(), batch(0, 0).num_columns());
    assert_eq!(read_all(source.as_ref(), "cities").await.rows(), 0);
}

#[tokio::test]
async fn what_cannot_name_a_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path());
    for (by, reason) in [
        (json!(["nane"]), "it has no such column"),
        (json!(["vector"]), "its type vector(8) has no exact text"),
        (json!(["share"]), "its type float has no exact text"),
    ] {
        let export = Export::to("out").with("partition_by", by);
        let error = export.write(&[("cities", vec![batch(0, 5)])], &context).await.unwrap_err();
        assert_eq!(error.class(), ExitClass::Usage);
        assert!(error.message().contains(reason), "{error}");
    }
    let sealed =
        Export::to("out").with("partition_by", json!(["flag"])).encrypt(json!({ "key_file": "k", "create": true }));
    assert_eq!(sealed.open(&context).await.unwrap_err().class(), ExitClass::Usage);
    let schema = Schema::new(vec![Field::new("id", DataType::Utf8, true), Field::new("a", DataType::Utf8, true)]);
    for value in ["100%", "__HIVE_DEFAULT_PARTITION__", &"x".repeat(300)] {
        let columns: Vec<ArrayRef> =
            vec![Arc::new(StringArray::from(vec!["1"])), Arc::new(StringArray::from(vec![value]))];
        let rows = RecordBatch::try_new(Arc::new(schema.clone()), columns).unwrap();
        let export = Export::to("out").with("partition_by", json!(["a"]));
        let error = export.write(&[("cities", vec![rows])], &context).await.unwrap_err();
        assert!(error.message().contains("cannot be the name of a folder"), "{error}");
    }
    assert!(!folder.path().join("out/_restow_export.json").exists());
}

//! Exports: written, read back, refused, encrypted, resumed.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use restow_core::ExitClass;
use restow_core::record::Role;
use restow_core::stage::DatasetOutcome;
use serde_json::{Value, json};

use super::harness::*;

fn export_of(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("_restow_export.json")).unwrap()).unwrap()
}

/// Whether the rows of a dataset are those that were written, in any order of the splits.
async fn comes_back(options: Value, context: &restow_core::stage::OpenContext, dataset: &str, written: &[RecordBatch]) {
    let source = source(options, context).await.unwrap();
    let found = source.datasets().iter().find(|known| known.name == dataset).unwrap();
    assert_eq!(found.roles.column(Role::Id), Some("id"));
    assert_eq!(found.rows, Some(written.iter().map(|batch| batch.num_rows() as u64).sum()));
    let read = read_all(source.as_ref(), dataset).await;
    assert!(read.rejects.is_empty(), "{:?}", read.rejects);
    let sorted = |batches: &[RecordBatch]| {
        let schema = batches[0].schema();
        let whole = arrow::compute::concat_batches(&schema, batches).unwrap();
        let order = arrow::compute::sort_to_indices(whole.column(0), None, None).unwrap();
        arrow::compute::take_record_batch(&whole, &order).unwrap()
    };
    assert_eq!(sorted(&read.batches), sorted(written));
}

#[tokio::test]
async fn every_format_and_layout_comes_back() {
    let codecs = [
        ("parquet", json!({ "compression": "lz4" }), "parquet"),
        ("jsonl", json!({}), "jsonl"),
        ("jsonl", json!({ "compression": "gzip" }), "jsonl.gz"),
        ("json", json!({ "compression": "zstd" }), "json.zst"),
        ("arrow", json!({}), "arrow"),
        ("arrow", json!({ "format": "stream", "compression": "lz4" }), "arrows"),
    ];
    for (n, (codec, options, extension)) in codecs.into_iter().enumerate() {
        for layout in ["parts", "single"] {
            let folder = tempfile::tempdir().unwrap();
            let context = context(folder.path());
            let written = [batch(0, 300), batch(300, 0), batch(300, 200)];
            let path = if n % 2 == 0 { "out".to_owned() } else { format!("memory:formats-{n}-{layout}/deep/out") };
            let export = Export::to(&path).codec(codec, options.clone()).with("layout", json!(layout));
            let committed = export.write(&[("cities", written.to_vec())], &context).await.unwrap();
            let files = if layout == "parts" { "2 files" } else { "1 file" };
            assert_eq!(committed.report.made, format!("{files} with 500 rows in {path}"));
            comes_back(json!({ "path": path }), &context, "cities", &written).await;
            if n % 2 == 0 {
                let names = tree(&folder.path().join("out"));
                assert_eq!(names.len(), if layout == "parts" { 3 } else { 2 }, "{names:?}");
                if layout == "single" {
                    assert_eq!(names, ["_restow_export.json".to_owned(), format!("cities.{extension}")]);
                    comes_back_alone(&context, &format!("out/cities.{extension}")).await;
                } else {
                    assert!(names[1].starts_with("cities/part-f0-") && names[1].ends_with(&format!(".{extension}")));
                }
                assert!(!folder.path().join("out/_restow_unfinished").exists());
            }
        }
    }
}

/// A file of an export read by its own name.
async fn comes_back_alone(context: &restow_core::stage::OpenContext, path: &str) {
    let source = source(json!({ "path": path }), context).await.unwrap();
    assert_eq!(read_all(source.as_ref(), "cities").await.rows(), 500);
}

#[tokio::test]
async fn two_datasets_with_odd_names_and_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path());
    let datasets = [("a/b c", vec![batch(0, 20)]), ("../ü", vec![batch(20, 5)]), ("empty", vec![batch(0, 0)])];
    Export::to("out").write(&datasets, &context).await.unwrap();
    assert!(!folder.path().join("ü").exists());
    for (name, written) in &datasets {
        let source = source(json!({ "path": "out" }), &context).await.unwrap();
        assert_eq!(source.datasets().len(), 3);
        let read = read_all(source.as_ref(), name).await;
        assert_eq!(read.rows(), written[0].num_rows(), "{name}");
    }
    let export = export_of(&folder.path().join("out"));
    assert_eq!(export["rows"], 25);
    assert_eq!(export["datasets"][2]["files"][0]["rows"], 0);
    assert_eq!(export["datasets"][0]["columns"][7]["type"], "FixedSizeList(8 x Float32)");
    assert_eq!(export["datasets"][0]["columns"][0]["metadata"]["restow.role"], "id");
    // A folder of one dataset is that dataset.
    let one = source(json!({ "path": "out/empty" }), &context).await.unwrap();
    assert_eq!(one.datasets()[0].name, "empty");
}

#[tokio::test]
async fn parts_are_rolled_by_size() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path());
    let sink =
        Export::to("out").codec("jsonl", json!({})).with("part_size", json!("1MiB")).open(&context).await.unwrap();
    let batches: Vec<RecordBatch> = (0..10).map(|n| batch(n * 2000, 2000)).collect();
    let dataset = sink_dataset("big", &batches);
    sink.prepare(&work("r", std::slice::from_ref(&dataset))).await.unwrap();
    let receipt = write_split(sink.as_ref(), "r", &dataset, "f0", &batches).await.unwrap();
    let files = receipt.output.written["files"].as_array().unwrap().len();
    assert!(files >= 3, "{files}");
    let outcomes = vec![DatasetOutcome { dataset, receipts: vec![receipt], failure: None }];
    sink.commit(commit_request("r", outcomes)).await.unwrap();
    comes_back(json!({ "path": "out" }), &context, "big", &batches).await;
}

#[tokio::test]
async fn an_existing_export_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path());
    let datasets = [("cities", vec![batch(0, 10)])];
    Export::to("out").write(&datasets, &context).await.unwrap();
    let before = tree(folder.path());
    let error = Export::to("out").run("run-2").write(&datasets, &context).await.unwrap_err();
    assert_eq!(error.class(), ExitClass::Refused);
    assert_eq!(error.message(), "\"out\" already holds an export, made by run run-1 of the pipeline \"test\"");
    assert!(error.hint().unwrap().starts_with("nothing was changed"), "{:?}", error.hint());
    assert_eq!(tree(folder.path()), before);
    // The single file of somebody else is not overwritten.
    fs::create_dir(folder.path().join("mine")).unwrap();
    fs::write(folder.path().join("mine/cities.parquet"), "mine").unwrap();
    let error = Export::to("mine").with("layout", json!("single")).write(&datasets, &context).await.unwrap_err();
    assert_eq!(error.class(), ExitClass::Refused);
    assert_eq!(tree(&folder.path().join("mine")), ["cities.parquet"]);
}

#[tokio::test]
async fn an_unfinished_export_looks_unfinished_and_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path());
    let written = [batch(0, 30), batch(30, 30)];
    let dataset = sink_dataset("cities", &written);
    let datasets = std::slice::from_ref(&dataset);
    let sink = Export::to("out").open(&context).await.unwrap();
    sink.prepare(&work("r", datasets)).await.unwrap();
    let first = write_split(sink.as_ref(), "r", &dataset, "f0", &written[..1]).await.unwrap();
    // A dead attempt at the second split.
    write_split(sink.as_ref(), "r", &dataset, "f1", &written[1..]).await.unwrap();
    drop(sink);
    assert!(tree(&folder.path().join("out")).iter().all(|name| name.starts_with("_restow_unfinished/r/")));
    let (error, text) = refusal(json!({ "path": "out" }), &context).await;
    assert_eq!(error.class(), ExitClass::Refused);
    assert!(text.starts_with("\"out\" holds an export that was not finished"), "{text}");

    let sink = Export::to("out").open(&context).await.unwrap();
    sink.prepare(&work("r", datasets)).await.unwrap();
    assert!(sink.prove(&first).await.unwrap());
    let second = write_split(sink.as_ref(), "r", &dataset, "f1", &written[1..]).await.unwrap();
    let outcomes =
        vec![DatasetOutcome { dataset: dataset.clone(), receipts: vec![first.clone(), second], failure: None }];
    sink.commit(commit_request("r", outcomes)).await.unwrap();
    assert_eq!(tree(&folder.path().join("out")).len(), 3);
    comes_back(json!({ "path": "out" }), &context, "cities", &written).await;
    assert!(sink.prove(&first).await.unwrap(), "the file has its own name now");

    // A file that was cut is not proven, and not read.
    let part = tree(&folder.path().join("out")).into_iter().find(|name| name.contains("part-f0")).unwrap();
    let part = folder.path().join("out").join(part);
    let bytes = fs::read(&part).unwrap();
    fs::write(&part, &bytes[..bytes.len() - 1]).unwrap();
    assert!(!sink.prove(&first).await.unwrap());
    let (error, text) = refusal(json!({ "path": "out" }), &context).await;
    assert_eq!(error.class(), ExitClass::Damaged);
    assert!(text.contains("bytes instead of"), "{text}");
    fs::remove_file(&part).unwrap();
    let (_, text) = refusal(json!({ "path": "out" }), &context).await;
    assert!(text.contains("it is missing"), "{text}");
}

#[tokio::test]
async fn a_run_that_is_given_up_cannot_commit_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path());
    let written = [batch(0, 30)];
    let dataset = sink_dataset("cities", &written);
    let sink = Export::to("out").open(&context).await.unwrap();
    sink.prepare(&work("r", std::slice::from_ref(&dataset))).await.unwrap();
    let receipt = write_split(sink.as_ref(), "r", &dataset, "f0", &written).await.unwrap();
    sink.abandon(&snapshot(), "nonce of r").await.unwrap();
    assert!(tree(&folder.path().join("out")).is_empty());
    let outcomes = vec![DatasetOutcome { dataset, receipts: vec![receipt], failure: None }];
    let error = sink.commit(commit_request("r", outcomes)).await.unwrap_err();
    assert!(error.message().contains("it is gone"), "{error}");
    assert!(tree(&folder.path().join("out")).is_empty());
    Export::to("out").run("run-2").write(&[("cities", written.to_vec())], &context).await.unwrap();
    let error = sink.abandon(&snapshot(), "nonce of run-2").await.unwrap_err();
    assert_eq!(error.class(), ExitClass::Refused);
}

#[tokio::test]
async fn a_failed_dataset_is_named_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path());
    let written = [batch(0, 30)];
    let (good, bad) = (sink_dataset("good", &written), sink_dataset("bad", &written));
    let sink = Export::to("out").open(&context).await.unwrap();
    sink.prepare(&work("r", &[good.clone(), bad.clone()])).await.unwrap();
    let kept = write_split(sink.as_ref(), "r", &good, "f0", &written).await.unwrap();
    let lost = write_split(sink.as_ref(), "r", &bad, "f0", &written).await.unwrap();
    let outcomes = vec![
        DatasetOutcome { dataset: good, receipts: vec![kept], failure: None },
        DatasetOutcome { dataset: bad, receipts: vec![lost], failure: Some("Ort 1".to_owned()) },
    ];
    sink.commit(commit_request("r", outcomes)).await.unwrap();
    let names = tree(&folder.path().join("out"));
    assert!(names.len() == 2 && names[1].starts_with("good/"), "{names:?}");
    assert_eq!(export_of(&folder.path().join("out"))["failed"], json!(["bad"]));
}

#[tokio::test]
async fn an_encrypted_export_hides_every_value_and_is_read_with_its_key() {
    for codec in [("parquet", json!({ "compression": "none" })), ("jsonl", json!({}))] {
        let folder = tempfile::tempdir().unwrap();
        let context = with_environment(folder.path(), &[("WRONG", "rsk1_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]);
        let written = [batch(0, 2000)];
        let export = Export::to("out")
            .codec(codec.0, codec.1)
            .encrypt(json!({ "key_file": "k", "create": true, "recovery_key_file": "recovery" }));
        export.write(&[("cities", written.to_vec())], &context).await.unwrap();
        for name in tree(&folder.path().join("out")) {
            let bytes = fs::read(folder.path().join("out").join(&name)).unwrap();
            for known in ["id-0", "größe", "id-00042"] {
                let found = bytes.windows(known.len()).any(|window| window == known.as_bytes());
                assert!(!found, "{known} in {name}");
            }
        }
        let (error, text) = refusal(json!({ "path": "out" }), &context).await;
        assert_eq!(error.class(), ExitClass::WrongKey);
        assert!(text.contains("is encrypted by restow, and no key was given | give the key"), "{text}");
        let (error, _) = refusal(json!({ "path": "out", "unlock": { "key": "${secret:env:WRONG}" } }), &context).await;
        assert_eq!(error.class(), ExitClass::WrongKey);
        for key in ["k", "recovery"] {
            let unlock = json!({ "key_file": key });
            comes_back(json!({ "path": "out", "unlock": unlock }), &context, "cities", &written).await;
        }
        // The files may be moved, together with their keyring.
        fs::rename(folder.path().join("out"), folder.path().join("moved")).unwrap();
        let options = json!({ "path": "moved/cities", "unlock": { "key_file": "k" } });
        let moved = source(options, &context).await.unwrap();
        assert_eq!(read_all(moved.as_ref(), "cities").await.rows(), 2000);
        let glob = json!({ "path": "moved/*/*", "dataset": "all", "unlock": { "key_file": "k" } });
        let all = source(glob, &context).await.unwrap();
        assert_eq!(read_all(all.as_ref(), "all").await.rows(), 2000);
    }
}

#[tokio::test]
async fn what_the_codec_cannot_hold_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path());
    let reserved = Export::to("out").write(&[("_restow_x", vec![batch(0, 1)])], &context).await.unwrap_err();
    assert!(reserved.message().contains("restow's own"), "{reserved}");
    let binary: Arc<dyn arrow::array::Array> = Arc::new(arrow::array::DurationSecondArray::from(vec![1]));
    let odd = RecordBatch::try_from_iter([("d", binary)]).unwrap();
    let error = Export::to("out").codec("jsonl", json!({})).write(&[("x", vec![odd])], &context).await.unwrap_err();
    assert_eq!(error.class(), ExitClass::Usage);
    assert!(tree(folder.path()).is_empty());
    let http = Export::to("https://localhost:1/out").open(&context).await.unwrap_err();
    assert!(http.message().contains("can only be read"), "{http}");
}

//! What is missing or damaged is said by name, and never read past.

use serde_json::{Value, json};

use super::super::METADATA;
use super::support::{Made, Row, batch, class, read, row, run, write};

fn rows(count: u32) -> Vec<Row> {
    (0..count).map(|n| row(n, &json!({ "title": format!("t{n}") }))).collect()
}

/// Two shards, one of them in two files, and the definitions.
fn whole() -> (Made, Value) {
    let mut made = Made::new();
    made.file("Doc", "a", 0, false, &rows(60))
        .file("Doc", "b", 0, false, &rows(20))
        .file("Doc", "b", 1, false, &rows(30))
        .shard("Doc", "c", json!({ "status": "SKIPPED", "skipReason": "no data" }))
        .finish("SUCCESS");
    let definitions = made.definitions(&[class("Doc", &[("title", "text")])]);
    (made, json!({ "definitions": definitions }))
}

fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[test]
fn files_that_are_missing_are_missed() {
    for (file, shard) in
        [("Doc_a_0000.parquet", "\"a\""), ("Doc_b_0000.parquet", "\"b\""), ("Doc_b_0001.parquet", "\"b\"")]
    {
        let (made, options) = whole();
        std::fs::remove_file(made.path(file)).unwrap();
        run(async {
            assert_has(&made.refusal(options).await, &["not whole", shard, "\"Doc\"", "by export_metadata.json"])
        });
    }
}

#[test]
fn files_with_fewer_or_more_rows_are_noticed() {
    for count in [59, 61] {
        let (made, options) = whole();
        write(&made.path("Doc_a_0000.parquet"), &[("collection", "Doc")], &batch(&rows(count)));
        run(async { assert_has(&made.refusal(options).await, &["\"a\"", &count.to_string(), "60"]) });
    }
}

#[test]
fn cut_and_changed_bytes_are_noticed() {
    let (made, options) = whole();
    let file = made.path("Doc_a_0000.parquet");
    let whole = std::fs::read(&file).unwrap();
    for length in [0, 3, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&file, &whole[..length]).unwrap();
        run(async { assert_has(&made.refusal(options.clone()).await, &["Doc_a_0000.parquet", "Parquet"]) });
    }
    // Bytes of pages: found while they are read, or not decodable, or not what they were; never fewer rows without a word.
    for at in (4..whole.len() / 2).step_by(97) {
        let mut changed = whole.clone();
        changed[at] ^= 0x5a;
        std::fs::write(&file, &changed).unwrap();
        run(async {
            let Ok(source) = made.open(options.clone()).await else { return };
            if let Ok(found) = read(&source, "Doc").await {
                let rows: usize = found.batches.iter().map(|batch| batch.num_rows()).sum();
                assert_eq!(rows + found.rejects.len(), 110, "byte {at}");
            }
        });
    }
}

#[test]
fn exports_that_did_not_succeed_are_refused() {
    for status in ["STARTED", "TRANSFERRING", "FAILED", "CANCELED"] {
        let mut made = Made::new();
        made.file("Doc", "a", 0, false, &rows(3)).finish(status);
        run(async { assert_has(&made.refusal(json!({})).await, &[status, "not SUCCESS", "the disk is full"]) });
    }
    let mut made = Made::new();
    made.file("Doc", "a", 0, false, &rows(3))
        .shard("Doc", "b", json!({ "status": "FAILED", "error": "no room" }))
        .finish("SUCCESS");
    run(async { assert_has(&made.refusal(json!({})).await, &["\"b\"", "FAILED", "no room"]) });
    std::fs::write(made.path(METADATA), "{").unwrap();
    run(async { assert_has(&made.refusal(json!({})).await, &[METADATA, "cannot be understood"]) });
}

#[test]
fn tenants_that_were_left_out_are_named() {
    let mut made = Made::new();
    made.file("Doc", "t1", 0, true, &rows(3))
        .shard("Doc", "t2", json!({ "status": "SKIPPED", "skipReason": "tenant status is FROZEN" }))
        .shard("Doc", "t3", json!({ "status": "SKIPPED", "skipReason": "tenant has no data on disk" }))
        .finish("SUCCESS");
    run(async {
        let refusal = made.refusal(json!({})).await;
        assert_has(&refusal, &["Doc/t2 (tenant status is FROZEN)", "missing_tenants: skip"]);
        assert!(!refusal.contains("t3"), "{refusal}");
        let source = made.open(json!({ "missing_tenants": "skip" })).await.unwrap();
        assert_has(&source.identity().consistency, &["not in the export: Doc/t2 (tenant status is FROZEN)"]);
        let tenants = source.artifacts().iter().find(|found| found.name == "tenants.json").unwrap();
        assert!(!String::from_utf8_lossy(&tenants.bytes).contains("t2"));
    });
}

#[test]
fn strangers_are_refused() {
    let (made, options) = whole();
    write(&made.path("Doc_z_0000.parquet"), &[("collection", "Doc")], &batch(&rows(1)));
    run(async { assert_has(&made.refusal(options).await, &["Doc_z_0000.parquet", "not part of the export"]) });
    let (made, options) = whole();
    write(&made.path("Other_z_0000.parquet"), &[("collection", "Other")], &batch(&rows(1)));
    run(async { assert_has(&made.refusal(options).await, &["Other_z_0000.parquet", "\"Other\""]) });
    // A file of another tenant under this name.
    let (made, options) = whole();
    write(&made.path("Doc_a_0000.parquet"), &[("collection", "Doc"), ("tenant", "b")], &batch(&rows(60)));
    run(async { assert_has(&made.refusal(options).await, &["\"b\"", "\"a\""]) });
}

#[test]
fn files_of_another_form_are_refused() {
    let columns = batch(&rows(3));
    let keys = [("collection", "Doc")];
    let refusal = |changed: &arrow::record_batch::RecordBatch, keys: &[(&str, &str)]| {
        let made = Made::new();
        write(&made.path("Doc_a_0000.parquet"), keys, changed);
        run(async { made.refusal(json!({})).await })
    };
    assert_has(&refusal(&columns.project(&[0, 1, 2, 3, 4, 5]).unwrap(), &keys), &["no column \"properties\""]);
    let twice = columns.column(0).clone();
    let mut fields: Vec<_> = columns.schema().fields().iter().cloned().collect();
    fields.push(std::sync::Arc::new(arrow::datatypes::Field::new("extra", twice.data_type().clone(), true)));
    let mut arrays = columns.columns().to_vec();
    arrays.push(twice);
    let wider =
        arrow::record_batch::RecordBatch::try_new(std::sync::Arc::new(arrow::datatypes::Schema::new(fields)), arrays);
    assert_has(&refusal(&wider.unwrap(), &keys), &["\"extra\"", "would be lost"]);
    assert_has(&refusal(&columns, &[]), &["does not tell the collection"]);
    let empty = Made::new();
    run(async { assert_has(&empty.refusal(json!({})).await, &["no export of Weaviate"]) });
}

#[test]
fn without_metadata_gaps_and_broken_writes_are_refused() {
    let (made, options) = whole();
    std::fs::remove_file(made.path(METADATA)).unwrap();
    run(async {
        let source = made.open(options.clone()).await.unwrap();
        assert_has(&source.identity().consistency, &["whether files are missing cannot be told"]);
        assert_eq!(source.datasets()[0].rows, Some(110));
    });
    std::fs::write(made.path("Doc_c_0000.parquet.tmp"), "").unwrap();
    run(async { assert_has(&made.refusal(options.clone()).await, &["Doc_c_0000.parquet.tmp", "not finished"]) });
    std::fs::remove_file(made.path("Doc_c_0000.parquet.tmp")).unwrap();
    std::fs::remove_file(made.path("Doc_b_0000.parquet")).unwrap();
    run(async { assert_has(&made.refusal(options).await, &["Doc_b_0000.parquet", "later ones"]) });
}

#[test]
fn definitions_that_do_not_fit_lose_nothing() {
    let mut made = Made::new();
    let vector = Row { vector: Some(vec![1.0]), ..row(4, &json!({})) };
    let named = Row { named: Some(r#"{"x":[1]}"#), ..row(5, &json!({})) };
    let wrong = Row { properties: Some("{".to_owned()), ..row(6, &json!({})) };
    let broken = Row { named: Some("{\"x\":"), ..row(7, &json!({})) };
    let several = [
        row(1, &json!({ "title": "x" })),
        row(2, &json!({ "title": "x", "later": 1 })),
        row(3, &json!({ "title": 7 })),
        vector,
        named,
        wrong,
        broken,
    ];
    made.file("Doc", "a", 0, false, &several).finish("SUCCESS");
    let class = json!({ "class": "Doc", "vectorConfig": { "y": { "vectorIndexType": "hnsw" } },
                        "properties": [{ "name": "title", "dataType": ["text"] }] });
    let definitions = made.definitions(&[class]);
    run(async {
        let source = made.open(json!({ "definitions": definitions })).await.unwrap();
        let found = read(&source, "Doc").await.unwrap();
        assert_eq!(found.rows().len(), 1);
        let reasons: Vec<String> =
            found.rejects.iter().map(|reject| format!("{} {}", reject.place, reject.reason)).collect();
        for (place, reason) in
            [(2, "\"later\""), (3, "title"), (4, "a vector"), (5, "\"x\""), (6, "properties"), (7, "vectors")]
        {
            let place = super::support::id(place);
            let hit = reasons.iter().any(|text| text.contains(&place) && text.contains(reason));
            assert!(hit, "{place} {reason}: {reasons:?}");
        }
        assert_eq!(reasons.len(), 6);
        let other = made.definitions(&[super::support::class("Other", &[])]);
        assert_has(&made.refusal(json!({ "definitions": other })).await, &["no collection \"Doc\"", "it has Other"]);
        assert_has(&made.refusal(json!({ "collections": ["None"] })).await, &["no collection None", "it has Doc"]);
    });
}

#[test]
fn a_file_that_changes_under_a_run_is_noticed() {
    let (made, options) = whole();
    run(async {
        let source = made.open(options.clone()).await.unwrap();
        let token = source.acquire(&effects(&made)).await.unwrap();
        assert!(source.still_valid(&token).await.unwrap());
        write(
            &made.path("Doc_a_0000.parquet"),
            &[("collection", "Doc")],
            &batch(&rows(60).into_iter().rev().collect::<Vec<_>>()),
        );
        let error = read(&source, "Doc").await.map(|_| ()).unwrap_err();
        assert_has(&error.to_string(), &["Doc_a_0000.parquet", "changed"]);
        let again = made.open(options).await.unwrap();
        assert!(!again.still_valid(&token).await.unwrap());
        assert_ne!(again.identity().fingerprint, source.identity().fingerprint);
    });
}

fn effects(made: &Made) -> restow_core::stage::Effects {
    let url = made.path("state").display().to_string();
    let place = restow_store::location::open(&url, &restow_store::location::StoreOptions::default()).unwrap();
    restow_core::stage::Effects::new(restow_store::run_state::RunStateStore::at(place, None), std::sync::Arc::default())
}

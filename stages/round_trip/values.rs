//! Property: restore(backup(x)) is x, for every type that a connector may produce and for whatever JSON says.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, UInt32Array};
use arrow::compute::{concat_batches, sort_to_indices, take};
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use proptest::prelude::{ProptestConfig, any, proptest};
use restow_core::compile::Selection;

use super::run_text;
use crate::codec::Codec;
use crate::codec::decode::{arrow_schema, decode_arrow};
use crate::codec::options::{ArrowOptions, StreamCompression};
use crate::codec::tests::json::document;
use crate::codec::tests::support::{
    Random, all_types, assert_same_rows, encode, request, run, schema_of, stream_of, whole,
};

/// A pipeline from the files into a repository, and one back; `codec` is that of the export.
fn pipelines(source: &str, encrypted: bool, codec: &str) -> (String, String) {
    let head = "version: 1\nname: test\nstages:\n";
    let (encrypt, unlock) = match encrypted {
        true => ("  - encrypt: { aes-256-gcm: { key_file: key, create: true } }\n", ", unlock: { key_file: key }"),
        false => ("", ""),
    };
    let backup = format!(
        "{head}  - source: {{ files: {{ {source}, id: id, dataset: rows }} }}\n{encrypt}  - sink: {{ repository: {{ url: repo, create: if_missing }} }}\n"
    );
    let restore = format!(
        "{head}  - source: {{ repository: {{ url: repo{unlock} }} }}\n  - codec: {{ {codec}: {{}} }}\n  - sink: {{ files: {{ path: out, layout: single }} }}\n"
    );
    (backup, restore)
}

/// Backs up and restores; both runs must account for every row.
async fn there_and_back(folder: &Path, source: &str, encrypted: bool, codec: &str, rows: u64) {
    let (backup, restore) = pipelines(source, encrypted, codec);
    for pipeline in [backup, restore] {
        let counts = run_text(folder, &pipeline, Selection::default()).await.unwrap().counts;
        assert_eq!((counts.scanned, counts.written, counts.rejected), (rows, rows, 0), "{pipeline}");
    }
}

async fn read_arrow(path: &Path) -> RecordBatch {
    let bytes = std::fs::read(path).unwrap();
    let schema = arrow_schema(stream_of(&bytes, 8000), "rows.arrow", StreamCompression::None).await.unwrap();
    whole(&schema, decode_arrow(stream_of(&bytes, 8000), request(&schema))).await
}

/// The batch with an id column before the others.
fn with_ids(batch: &RecordBatch) -> RecordBatch {
    let ids: StringArray = (0..batch.num_rows()).map(|row| Some(format!("r{row:05}"))).collect();
    let mut fields = vec![Field::new("id", DataType::Utf8, false)];
    fields.extend(batch.schema().fields().iter().map(|field| field.as_ref().clone()));
    let mut columns: Vec<ArrayRef> = vec![Arc::new(ids)];
    columns.extend(batch.columns().iter().cloned());
    RecordBatch::try_new(schema_of(fields), columns).unwrap()
}

fn by_id(batch: &RecordBatch) -> RecordBatch {
    let order: UInt32Array = sort_to_indices(batch.column_by_name("id").unwrap(), None, None).unwrap();
    let columns = batch.columns().iter().map(|column| take(column, &order, None).unwrap()).collect();
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_type_comes_back(seed in any::<u64>(), rows in 0_usize..200, files in 1_usize..4, encrypted in any::<bool>()) {
        run(async {
            let folder = tempfile::tempdir().unwrap();
            let batch = with_ids(&all_types(rows, &mut Random(seed)));
            let step = rows.div_ceil(files).max(1);
            std::fs::create_dir(folder.path().join("in")).unwrap();
            for (n, from) in (0..rows.max(1)).step_by(step).enumerate() {
                let part = batch.slice(from, step.min(rows - from));
                let codec = Codec::Arrow(ArrowOptions::default());
                let (bytes, _) = encode(&codec, &batch.schema(), &[part]).await.unwrap();
                std::fs::write(folder.path().join(format!("in/{n}.arrow")), &bytes).unwrap();
            }
            there_and_back(folder.path(), "path: \"in/*.arrow\"", encrypted, "arrow", rows as u64).await;
            let found = by_id(&read_arrow(&folder.path().join("out/rows.arrow")).await);
            let given = concat_batches(&batch.schema(), [&batch]).unwrap();
            assert_eq!(found.num_rows(), rows);
            assert_eq!(found.num_columns(), given.num_columns());
            for (at, field) in given.schema().fields().iter().enumerate() {
                assert_eq!(found.schema().field(at).name(), field.name());
                // Equality of Arrow data compares bytes: NaN payloads and zeros of either sign count.
                assert_eq!(given.column(at), found.column(at), "{field}");
            }
        });
    }

    #[test]
    fn json_comes_back(seed in any::<u64>(), rows in 0_usize..40, encrypted in any::<bool>()) {
        run(async {
            let folder = tempfile::tempdir().unwrap();
            // Absent, null and empty are three things.
            let lines = document(seed, rows);
            let text: String = lines
                .lines()
                .enumerate()
                .map(|(row, line)| match line {
                    "{}" => format!("{{\"id\":\"r{row:05}\"}}\n"),
                    _ => format!("{{\"id\":\"r{row:05}\",{}\n", &line[1..]),
                })
                .collect();
            std::fs::write(folder.path().join("in.jsonl"), &text).unwrap();
            there_and_back(folder.path(), "path: in.jsonl", encrypted, "jsonl", rows as u64).await;
            let found = std::fs::read_to_string(folder.path().join("out/rows.jsonl")).unwrap();
            assert_same_rows(&text, &found);
        });
    }
}

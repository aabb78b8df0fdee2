//! Reading: formats, globs, folders, partitions, rejects, explicit types, files that change.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::prelude::{col, lit};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use restow_core::ExitClass;
use restow_core::record::{self, Role};
use restow_core::stage::{Pushdown, Source};
use serde_json::json;

use super::harness::*;

fn write_parquet(path: &Path, batches: &[RecordBatch], group_rows: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batches[0].schema(), Some(properties)).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.close().unwrap();
}

fn names(source: &dyn Source) -> Vec<String> {
    source.datasets().iter().map(|dataset| dataset.name.clone()).collect()
}

#[tokio::test]
async fn bad_lines_are_rejects_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cities.jsonl"), "{\"id\":\"a\",\"n\":1}\n\nnot json\n{\"id\":\"b\",\"n\":2}\n")
        .unwrap();
    let context = context(folder.path());
    let source = source(json!({ "path": "cities.jsonl", "id": "id" }), &context).await.unwrap();
    assert_eq!(names(source.as_ref()), ["cities"]);
    assert_eq!(source.datasets()[0].roles.column(Role::Id), Some("id"));
    let read = read_all(source.as_ref(), "cities").await;
    assert_eq!(read.rows(), 2);
    assert_eq!(read.rejects.len(), 1);
    assert_eq!(read.rejects[0].place, "cities.jsonl:3");
    assert_eq!(read.rejects[0].row.as_deref(), Some("not json"));
    assert_eq!(read.evidence[0].rows, Some(3));
    assert!(read.evidence[0].bytes > 40, "{:?}", read.evidence);
}

#[tokio::test]
async fn an_explicit_schema_overrides_what_is_inferred() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("x.jsonl"),
        "{\"id\":\"a\",\"n\":1,\"v\":[1,2]}\n{\"id\":\"b\",\"n\":\"no\",\"v\":[3,4]}\n",
    )
    .unwrap();
    let context = context(folder.path());
    let options = json!({ "path": "x.jsonl", "schema": { "n": "int32", "v": "vector(2)" } });
    let source = source(options, &context).await.unwrap();
    let dataset = &source.datasets()[0];
    assert_eq!(dataset.schema.field_with_name("n").unwrap().data_type(), &DataType::Int32);
    assert_eq!(dataset.roles.get("v"), Role::Vector);
    let read = read_all(source.as_ref(), "x").await;
    assert_eq!((read.rows(), read.rejects.len()), (1, 1));
    assert!(read.rejects[0].reason.contains("\"n\""), "{:?}", read.rejects);
}

#[tokio::test]
async fn an_id_that_is_not_there_names_the_nearest_column() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x.jsonl"), "{\"uuid\":\"a\"}\n").unwrap();
    let (error, text) = refusal(json!({ "path": "x.jsonl", "id": "uid" }), &context(folder.path())).await;
    assert_eq!(error.class(), ExitClass::Usage);
    assert_eq!(text, "dataset \"x\" has no column \"uid\", which `id:` names | did you mean \"uuid\"?");
    assert_eq!(error.place().unwrap().pointer, "/stages/0");
}

#[tokio::test]
async fn a_glob_gives_a_dataset_for_each_stem_unless_they_are_joined() {
    let folder = tempfile::tempdir().unwrap();
    for (name, id) in [("2024/a.jsonl", "1"), ("2025/a.jsonl", "2"), ("2025/b.jsonl", "3"), ("2025/_c.jsonl", "4")] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{{\"id\":\"{id}\"}}\n")).unwrap();
    }
    let context = context(folder.path());
    let both = source(json!({ "path": "*/*.jsonl" }), &context).await.unwrap();
    assert_eq!(names(both.as_ref()), ["_c", "a", "b"]);
    assert_eq!(read_all(both.as_ref(), "a").await.rows(), 2);
    let joined = source(json!({ "path": "*/*.jsonl", "dataset": "all" }), &context).await.unwrap();
    assert_eq!(names(joined.as_ref()), ["all"]);
    assert_eq!(read_all(joined.as_ref(), "all").await.rows(), 4);
    let listed = source(json!({ "path": ["2025/b.jsonl", "2024/{a,x}.jsonl"] }), &context).await.unwrap();
    assert_eq!(names(listed.as_ref()), ["a", "b"]);
    let (error, text) = refusal(json!({ "path": "*/*.parquet" }), &context).await;
    assert_eq!(error.class(), ExitClass::NotFound);
    assert!(text.starts_with("no file at \"*/*.parquet\""), "{text}");
}

#[tokio::test]
async fn a_folder_is_one_dataset_and_its_files_must_agree() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("lake");
    write_parquet(&data.join("a.parquet"), &[batch(0, 250)], 100);
    write_parquet(&data.join("b.parquet"), &[batch(250, 50).project(&[0, 1, 2]).unwrap()], 100);
    let context = context(folder.path());
    let lake = source(json!({ "path": "lake" }), &context).await.unwrap();
    assert_eq!(names(lake.as_ref()), ["lake"]);
    let dataset = &lake.datasets()[0];
    assert_eq!(dataset.rows, Some(300));
    assert_eq!(dataset.roles.column(Role::Id), Some("id"));
    let read = read_all(lake.as_ref(), "lake").await;
    assert_eq!(read.rows(), 300);
    let whole = read.one();
    assert_eq!(whole.slice(0, 250).column(7), batch(0, 250).column(7));
    assert_eq!(whole.slice(250, 50).column(7).null_count(), 50);

    fs::write(data.join("README.md"), "hello").unwrap();
    let (_, text) = refusal(json!({ "path": "lake" }), &context).await;
    assert!(text.starts_with("the format of \"lake/README.md\" is not known from its name | say `format:"), "{text}");
    fs::remove_file(data.join("README.md")).unwrap();

    let other =
        RecordBatch::try_from_iter([("count", Arc::new(arrow::array::StringArray::from(vec!["x"])) as _)]).unwrap();
    write_parquet(&data.join("c.parquet"), &[other], 100);
    let (_, text) = refusal(json!({ "path": "lake/" }), &context).await;
    assert!(
        text.starts_with(
            "dataset \"lake\": column \"count\" is Int64 in \"lake/a.parquet\" and Utf8 in \"lake/c.parquet\""
        ),
        "{text}"
    );
}

#[tokio::test]
async fn parquet_is_split_projected_and_filtered_by_row_groups() {
    let folder = tempfile::tempdir().unwrap();
    write_parquet(&folder.path().join("x.parquet"), &[batch(0, 1000)], 100);
    let context = context(folder.path());
    let source = source(json!({ "path": "x.parquet" }), &context).await.unwrap();
    let dataset = &source.datasets()[0];
    let all = read_all(source.as_ref(), "x").await;
    assert_eq!(all.one(), batch(0, 1000).with_schema(Arc::clone(&dataset.schema)).unwrap());

    let ids: Arc<Schema> = Schema::new(vec![dataset.schema.field_with_name("id").unwrap().clone()]).into();
    let projected = read_columns(source.as_ref(), "x", &ids, Vec::new()).await;
    assert_eq!(projected.rows(), 1000);
    assert!(projected.evidence[0].bytes * 3 < all.evidence[0].bytes, "{:?} {:?}", projected.evidence, all.evidence);

    let filter = col("id").eq(lit("id-00555"));
    assert_eq!(source.pushdown(dataset, &filter), Pushdown::Inexact);
    let found = read_columns(source.as_ref(), "x", &ids, vec![filter]).await;
    assert_eq!(found.rows(), 1);
    assert_eq!(found.one().column(0).as_string::<i32>().value(0), "id-00555");

    let none: Arc<Schema> = Schema::empty().into();
    assert_eq!(read_columns(source.as_ref(), "x", &none, Vec::new()).await.rows(), 1000);
}

#[tokio::test]
async fn parquet_types_may_be_widened_and_not_narrowed() {
    let folder = tempfile::tempdir().unwrap();
    let element = Field::new("element", DataType::Float32, false);
    let mut lists = arrow::array::ListBuilder::new(arrow::array::Float32Builder::new()).with_field(element);
    for n in 0..3 {
        lists.values().append_slice(&[n as f32, 0.5]);
        lists.append(true);
    }
    let batch = RecordBatch::try_from_iter([
        ("n", Arc::new(arrow::array::Int32Array::from(vec![1, 2, 3])) as Arc<dyn Array>),
        ("v", Arc::new(lists.finish()) as _),
    ])
    .unwrap();
    write_parquet(&folder.path().join("x.parquet"), &[batch], 100);
    let context = context(folder.path());
    let plain = source(json!({ "path": "x.parquet" }), &context).await.unwrap();
    let usual = DataType::List(record::list_item(DataType::Float32).into());
    assert_eq!(plain.datasets()[0].schema.field_with_name("v").unwrap().data_type(), &usual);
    assert_eq!(read_all(plain.as_ref(), "x").await.rows(), 3);

    let options = json!({ "path": "x.parquet", "schema": { "n": "int", "v": "vector(2)" } });
    let wide = source(options, &context).await.unwrap();
    assert_eq!(wide.datasets()[0].roles.get("v"), Role::Vector);
    let read = read_all(wide.as_ref(), "x").await.one();
    assert_eq!(read.column(0).as_primitive::<Int64Type>().values(), &[1, 2, 3]);
    assert_eq!(read.column(1).data_type(), &record::vector_type(2));

    let (_, text) = refusal(json!({ "path": "x.parquet", "schema": { "n": "int8" } }), &context).await;
    assert!(
        text.starts_with("dataset \"x\": column \"n\" is Int32, and cannot be read as Int8 without loss"),
        "{text}"
    );
    let (_, text) = refusal(json!({ "path": "x.parquet", "schema": { "m": "int8" } }), &context).await;
    assert!(text.starts_with("dataset \"x\" has no column \"m\", which `schema:` names"), "{text}");
}

#[tokio::test]
async fn folders_with_values_become_columns() {
    let folder = tempfile::tempdir().unwrap();
    write_parquet(&folder.path().join("p/year=2024/land=D%C3%A9/a.parquet"), &[batch(0, 10)], 100);
    write_parquet(&folder.path().join("p/year=2025/land=__HIVE_DEFAULT_PARTITION__/a.parquet"), &[batch(10, 10)], 100);
    let context = context(folder.path());
    let options = json!({ "path": "p", "partitions": { "year": "int32", "land": "text" } });
    let source = source(options, &context).await.unwrap();
    let dataset = &source.datasets()[0];
    let wanted = ["land", "id", "year"].map(|name| dataset.schema.field_with_name(name).unwrap().clone());
    let read = read_columns(source.as_ref(), "p", &Arc::new(Schema::new(wanted.to_vec())), Vec::new()).await.one();
    assert_eq!(read.column(0).as_string::<i32>().value(0), "Dé");
    assert_eq!(read.column(0).null_count(), 10);
    assert_eq!(read.column(2).as_primitive::<Int32Type>().value(15), 2025);
    assert_eq!(source.pushdown(dataset, &col("year").eq(lit(2024))), Pushdown::No);
    let (_, text) = refusal(json!({ "path": "p", "partitions": { "month": "int" } }), &context).await;
    assert!(text.contains("has no folder month=..."), "{text}");
    let (_, text) = refusal(json!({ "path": "p", "partitions": { "land": "int" } }), &context).await;
    assert!(text.contains("land=Dé is no Int64"), "{text}");
}

#[tokio::test]
async fn csv_with_and_without_a_header() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x.csv"), "id,n\na,1\nb,2,3\n\"c\",\n").unwrap();
    fs::write(folder.path().join("y.tsv"), "a\t1\nb\t2\n").unwrap();
    let context = context(folder.path());
    let csv = source(json!({ "path": "x.csv" }), &context).await.unwrap();
    let read = read_all(csv.as_ref(), "x").await;
    assert_eq!((read.rows(), read.rejects.len()), (2, 1));
    assert_eq!(read.rejects[0].place, "x.csv:3");
    let tsv = source(json!({ "path": "y.tsv", "csv": { "header": false } }), &context).await.unwrap();
    let read = read_all(tsv.as_ref(), "y").await.one();
    assert_eq!(read.schema().field(1).name(), "column_2");
    assert_eq!(read.column(1).as_primitive::<Int64Type>().values(), &[1, 2]);
}

#[tokio::test]
async fn a_changed_file_voids_the_token_and_stops_the_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    fs::write(&path, "{\"id\":\"a\"}\n").unwrap();
    let context = context(folder.path());
    let first = source(json!({ "path": "x.jsonl" }), &context).await.unwrap();
    let token = first.acquire(&effects()).await.unwrap();
    assert!(first.still_valid(&token).await.unwrap());
    let split = first.splits(&first.datasets()[0], 1).await.unwrap().remove(0);
    fs::write(&path, "{\"id\":\"b\"}\n{\"id\":\"c\"}\n").unwrap();
    assert!(!first.still_valid(&token).await.unwrap());
    let schema = Arc::clone(&first.datasets()[0].schema);
    let error =
        read_split(first.as_ref(), request("x", split, &schema, Vec::new()), &mut Read::default()).await.unwrap_err();
    assert_eq!(error.message(), "\"x.jsonl\" changed while it was being read");
    let second = source(json!({ "path": "x.jsonl" }), &context).await.unwrap();
    assert!(!second.still_valid(&token).await.unwrap());
    assert_ne!(second.identity().fingerprint, first.identity().fingerprint);
}

#[tokio::test]
async fn names_of_restow_and_unknown_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x.jsonl"), "{\"_restow_x\":\"a\"}\n").unwrap();
    fs::write(folder.path().join("x.parquet"), "no parquet at all").unwrap();
    fs::write(folder.path().join("y.parquet.gz"), "").unwrap();
    let context = context(folder.path());
    for (options, expected) in [
        (json!({ "path": "x.jsonl" }), "names that begin with \"_restow_\" are restow's own"),
        (json!({ "path": "x.parquet" }), "\"x.parquet\" cannot be read as Parquet"),
        (json!({ "path": "y.parquet.gz" }), "is a Parquet file compressed as a whole"),
        (json!({ "path": "z.parquet" }), "no file at \"z.parquet\""),
        (json!({ "path": ["x.jsonl", "x.parquet"], "dataset": "all" }), "two formats"),
        (json!({ "path": "x.jsonl", "connection": "lake" }), "there is no files connection \"lake\""),
        (json!({ "path": "x.jsonl", "unlock": { "key_file": "k" } }), "no _restow_keys.json stands beside"),
    ] {
        let (_, text) = refusal(options, &context).await;
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn a_connection_says_where_paths_begin() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("lake")).unwrap();
    fs::write(folder.path().join("lake/x.jsonl"), "{\"id\":\"a\"}\n").unwrap();
    let mut context = context(folder.path());
    connection(&mut context, "lake", json!({ "url": "lake" }));
    let source = source(json!({ "path": "*.jsonl", "connection": "lake" }), &context).await.unwrap();
    assert_eq!(source.identity().address, "lake/*.jsonl");
    assert_eq!(read_all(source.as_ref(), "x").await.rows(), 1);
    let (_, text) = refusal(json!({ "path": "s3://b/x.jsonl", "connection": "lake" }), &context).await;
    assert!(text.contains("has a url already"), "{text}");
}

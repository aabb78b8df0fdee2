//! Rows that are brought into the layout and written come back as they were.

use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use datafusion::prelude::SessionContext;
use restow_core::stage::{RowContext, RowStageFactory, Rows};
use restow_spec::catalogue::Kind;
use restow_spec::pipeline::{Component, RowStage};
use serde_json::{Value, json};

use super::super::{Layout, NAME};
use super::support::{Made, Read, Row, open, read, row, run, write};

fn stage() -> RowStage {
    RowStage::Reshape(Component {
        kind: Kind::Reshape,
        name: NAME.to_owned(),
        options: json!({}),
        pointer: String::new(),
    })
}

async fn reshaped(batch: RecordBatch, roles: restow_core::record::Roles) -> restow_core::Result<RecordBatch> {
    let session = SessionContext::new();
    let frame = session.read_batch(batch).unwrap();
    let context = RowContext { dataset: "Doc".to_owned(), session };
    let rows = Layout.apply(&stage(), Rows { frame, roles, lineage: std::collections::BTreeMap::new() }, &context)?;
    let schema = Arc::new(rows.frame.schema().as_arrow().clone());
    let batches = rows.frame.collect().await?;
    Ok(concat_batches(&schema, &batches)?)
}

/// A class with every type, and an object with all of it, one with nothing, and odd ones.
fn everything() -> (Value, Vec<Row>) {
    let kinds = [
        ("text", "text"),
        ("int", "int"),
        ("number", "number"),
        ("boolean", "boolean"),
        ("date", "date"),
        ("uuid", "uuid"),
        ("blob", "blob"),
        ("geo", "geoCoordinates"),
        ("phone", "phoneNumber"),
        ("object", "object"),
        ("texts", "text[]"),
        ("ints", "int[]"),
        ("numbers", "number[]"),
        ("booleans", "boolean[]"),
        ("dates", "date[]"),
        ("uuids", "uuid[]"),
        ("ref", "Person"),
        // Called like columns of ours, which then have other names.
        ("_tenant", "text"),
        ("_vector", "number[]"),
        ("_creation_time", "date"),
    ];
    let mut class = super::support::class("Doc", &kinds);
    class["vectorConfig"] = json!({
        "a": { "vectorIndexType": "hnsw" }, "b": { "vectorIndexType": "flat" },
        "m": { "vectorIndexType": "hnsw", "vectorIndexConfig": { "multivector": { "enabled": true } } },
    });
    let full = json!({
        "_tenant": "no tenant", "_vector": [1.5, 0.1], "_creation_time": "2025-01-02T03:04:05Z",
        "text": "quote \" and \u{1} 🚀", "int": -9007199254740992_i64, "number": 0.1, "boolean": false,
        "date": "2025-01-02T03:04:05.000000001+02:00", "uuid": super::support::id(9), "blob": "AAEC",
        "geo": { "latitude": 1.5, "longitude": -2.5 }, "phone": { "input": "1", "valid": true }, "object": { "k": [{ "x": 1 }] },
        "texts": ["", "a"], "ints": [1, 2], "numbers": [1.5, 2.0], "booleans": [true], "dates": ["2025-01-02T03:04:05Z"],
        "uuids": [super::support::id(8)], "ref": [{ "beacon": format!("weaviate://localhost/Person/{}", super::support::id(1)) }],
    });
    let rows = vec![
        Row {
            vector: Some(vec![1.5, f32::NAN]),
            named: Some(r#"{"a":[1e-40,3],"b":[NaN]}"#),
            several: Some(r#"{"m":[[1,2],[3,+Inf]]}"#),
            ..row(1, &full)
        },
        row(2, &json!({})),
        Row {
            vector: Some(vec![-0.0, 1.0]),
            ..row(3, &json!({ "number": -0.0, "texts": [], "date": "2025-01-02T03:04:05Z" }))
        },
    ];
    (class, rows)
}

fn whole(read: &Read) -> RecordBatch {
    concat_batches(&read.batches[0].schema(), &read.batches).unwrap()
}

#[test]
fn every_type_comes_back_bit_by_bit() {
    let (class, rows) = everything();
    for tenant in [None, Some("t1")] {
        let mut made = Made::new();
        let mut class = class.clone();
        if tenant.is_some() {
            class["multiTenancyConfig"] = json!({ "enabled": true });
        }
        made.file("Doc", tenant.unwrap_or("s"), 0, tenant.is_some(), &rows).finish("SUCCESS");
        let definitions = made.definitions(&[class]);
        run(async {
            let source = made.open(json!({ "definitions": definitions })).await.unwrap();
            let given = whole(&read(&source, "Doc").await.unwrap());
            let written = reshaped(given.clone(), source.datasets()[0].roles.clone()).await.unwrap();
            let mut names: Vec<String> = written.schema().fields().iter().map(|field| field.name().clone()).collect();
            let tenants = names.iter().position(|name| name == "_tenant");
            assert_eq!(tenants.is_some(), tenant.is_some());
            names.retain(|name| name != "_tenant");
            let wanted = [
                "id",
                "class_name",
                "creation_time",
                "update_time",
                "vector",
                "named_vectors",
                "multi_vectors",
                "properties",
            ];
            assert_eq!(names, wanted);
            let folder = tempfile::TempDir::new().unwrap();
            write(&folder.path().join("Doc/part-00000.parquet"), &[], &written);
            let again = open(folder.path(), json!({ "definitions": definitions })).await.unwrap();
            let found = read(&again, "Doc").await.unwrap();
            assert!(found.rejects.is_empty(), "{:?}", found.rejects);
            let found = whole(&found);
            assert_eq!(given.schema(), found.schema());
            // As texts: NaN is not equal to itself.
            assert_eq!(format!("{:?}", given.columns()), format!("{:?}", found.columns()));
        });
    }
}

#[test]
fn an_end_of_restow_tells_the_files() {
    let (class, rows) = everything();
    let mut made = Made::new();
    made.file("Doc", "s", 0, false, &rows).finish("SUCCESS");
    let definitions = made.definitions(&[class]);
    run(async {
        let source = made.open(json!({ "definitions": definitions })).await.unwrap();
        let given = whole(&read(&source, "Doc").await.unwrap());
        let written = reshaped(given, source.datasets()[0].roles.clone()).await.unwrap();
        let folder = tempfile::TempDir::new().unwrap();
        let (part, empty) = (folder.path().join("Doc/part-0.parquet"), folder.path().join("None/part-0.parquet"));
        write(&part, &[], &written);
        write(&empty, &[], &written.slice(0, 0));
        let file = |name: &str, path: &std::path::Path, rows: u64| {
            json!({ "name": name, "files": [{ "path": format!("{name}/part-0.parquet"), "rows": rows,
                                             "bytes": std::fs::metadata(path).unwrap().len() }] })
        };
        let mut end = json!({ "encrypted": false, "datasets": [
            file("Doc", &part, 3), file("None", &empty, 0), { "name": "Nothing", "files": [] },
        ] });
        let write_end =
            |end: &Value| std::fs::write(folder.path().join("_restow_export.json"), end.to_string()).unwrap();
        write_end(&end);
        // An empty dataset is one all the same.
        let source = open(folder.path(), json!({})).await.unwrap();
        let names: Vec<&str> = source.datasets().iter().map(|dataset| dataset.name.as_str()).collect();
        assert_eq!(names, ["Doc", "None", "Nothing"]);
        assert_eq!(read(&source, "Nothing").await.unwrap().batches.len(), 0);
        assert!(source.identity().consistency.contains("all that it wrote"));
        end["datasets"][0]["files"][0]["rows"] = json!(4);
        write_end(&end);
        let error = open(folder.path(), json!({})).await.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("Doc/part-0.parquet") && error.contains("not there as it was written"), "{error}");
        end["encrypted"] = json!(true);
        write_end(&end);
        assert!(open(folder.path(), json!({})).await.map(|_| ()).unwrap_err().to_string().contains("encrypted"));
    });
}

#[test]
fn several_collections_in_one_file_are_not_mixed() {
    let (_, rows) = everything();
    let columns = super::support::batch(&rows[1..]);
    let names = Arc::new(arrow::array::StringArray::from(vec!["Doc", "Other"])) as arrow::array::ArrayRef;
    let mut fields: Vec<_> = columns.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(arrow::datatypes::Field::new("class_name", arrow::datatypes::DataType::Utf8, true)));
    let mut arrays = columns.columns().to_vec();
    arrays.push(names);
    let batch = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), arrays).unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    write(&folder.path().join("x.parquet"), &[], &batch);
    run(async {
        let source = open(folder.path(), json!({})).await.unwrap();
        let found = read(&source, "Doc").await.unwrap();
        assert_eq!(found.rejects.len(), 1);
        assert!(found.rejects[0].reason.contains("\"Other\""), "{:?}", found.rejects);
    });
}

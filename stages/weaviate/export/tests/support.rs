//! Writes folders like those of the server, and reads them through the source.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, StringArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::execution::TaskContext;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use restow_core::stage::{OpenContext, ReadRequest, Reject, Source, SourceFactory, Split, SplitEvent};
use restow_core::{EngineError, Result};
use restow_spec::catalogue::Kind;
use restow_spec::pipeline::Component;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::{Factory, METADATA, NAME};

/// One object, as a file of the server has it.
#[derive(Debug, Clone, Default)]
pub struct Row {
    pub id: u32,
    pub vector: Option<Vec<f32>>,
    pub named: Option<&'static str>,
    pub several: Option<&'static str>,
    pub properties: Option<String>,
}

pub fn row(id: u32, properties: &Value) -> Row {
    Row { id, properties: Some(properties.to_string()), ..Row::default() }
}

pub fn id(number: u32) -> String {
    format!("00000000-0000-0000-0000-{number:012x}")
}

/// The columns of the server.
pub fn batch(rows: &[Row]) -> RecordBatch {
    let bytes =
        |of: &dyn Fn(&Row) -> Option<Vec<u8>>| -> ArrayRef { Arc::new(BinaryArray::from_iter(rows.iter().map(of))) };
    let time = |add: i64| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(1_700_000_000_000 + i64::from(row.id) + add)).collect::<Int64Array>())
    };
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("id", Arc::new(rows.iter().map(|row| Some(id(row.id))).collect::<StringArray>()), false),
        ("creation_time", time(0), false),
        ("update_time", time(5), false),
        ("vector", bytes(&|row| row.vector.as_ref().map(|v| v.iter().flat_map(|f| f.to_le_bytes()).collect())), true),
        ("named_vectors", bytes(&|row| row.named.map(|text| text.as_bytes().to_vec())), true),
        ("multi_vectors", bytes(&|row| row.several.map(|text| text.as_bytes().to_vec())), true),
        ("properties", bytes(&|row| row.properties.as_ref().map(|text| text.clone().into_bytes())), true),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, array, null)| Field::new(*name, array.data_type().clone(), *null)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array, _)| array).collect())
        .unwrap()
}

/// A folder that becomes an export.
pub struct Made {
    pub folder: TempDir,
    /// Objects by class and shard, for the metadata.
    shards: BTreeMap<String, BTreeMap<String, Value>>,
}

impl Made {
    pub fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), shards: BTreeMap::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Adds a file of a shard.
    pub fn file(&mut self, class: &str, shard: &str, range: u32, tenant: bool, rows: &[Row]) -> &mut Self {
        let mut keys = vec![("collection", class)];
        if tenant {
            keys.push(("tenant", shard));
        }
        write(&self.path(&format!("{class}_{shard}_{range:04}.parquet")), &keys, &batch(rows));
        let shards = self.shards.entry(class.to_owned()).or_default();
        let before = shards.get(shard).and_then(|found| found["objectsExported"].as_u64()).unwrap_or(0);
        shards.insert(shard.to_owned(), json!({ "status": "SUCCESS", "objectsExported": before + rows.len() as u64 }));
        self
    }

    /// Adds a shard without a file.
    pub fn shard(&mut self, class: &str, shard: &str, status: Value) -> &mut Self {
        self.shards.entry(class.to_owned()).or_default().insert(shard.to_owned(), status);
        self
    }

    /// Writes the metadata of everything so far.
    pub fn finish(&mut self, status: &str) -> &mut Self {
        let assigned: BTreeMap<&String, Vec<&String>> =
            self.shards.iter().map(|(class, shards)| (class, shards.keys().collect())).collect();
        let text = json!({
            "id": "e1", "backend": "filesystem", "startedAt": "2026-01-02T03:04:05Z", "completedAt": "2026-01-02T03:04:06Z",
            "status": status, "classes": self.shards.keys().collect::<Vec<_>>(), "nodeAssignments": { "node1": assigned },
            "error": if status == "SUCCESS" { "" } else { "the disk is full" }, "shardStatus": self.shards,
        });
        std::fs::write(self.path(METADATA), text.to_string()).unwrap();
        self
    }

    /// Writes definitions, and gives their name.
    pub fn definitions(&self, classes: &[Value]) -> String {
        let file = self.path("schema.json");
        std::fs::write(&file, json!({ "classes": classes }).to_string()).unwrap();
        file.display().to_string()
    }

    pub async fn open(&self, options: Value) -> Result<Arc<dyn Source>> {
        open(self.folder.path(), options).await
    }

    /// Message and hint of the refusal.
    pub async fn refusal(&self, options: Value) -> String {
        let error = self.open(options).await.map(|_| ()).unwrap_err();
        format!("{error} | {}", error.hint().unwrap_or_default())
    }
}

pub async fn open(folder: &Path, options: Value) -> Result<Arc<dyn Source>> {
    let mut options = options;
    options["path"] = json!(folder.display().to_string());
    let component = Component { kind: Kind::Source, name: NAME.to_owned(), options, pointer: "/stages/0".to_owned() };
    Factory.open(&component, &context(folder)).await
}

fn context(directory: &Path) -> OpenContext {
    OpenContext {
        connections: Arc::default(),
        environment: Arc::new(BTreeMap::<String, String>::new()),
        directory: directory.to_owned(),
        now: chrono::Utc::now(),
        parallel: 2,
        memory: 256 << 20,
        anchors: None,
    }
}

/// Writes a Parquet file as the server does: without the schema of Arrow.
pub fn write(path: &Path, keys: &[(&str, &str)], batch: &RecordBatch) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let keys = keys.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), (*value).to_owned())).collect();
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(keys))
        .set_max_row_group_row_count(Some(50))
        .set_data_page_row_count_limit(7)
        .set_write_batch_size(7)
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new_with_options(file, batch.schema(), options).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

#[derive(Debug, Default)]
pub struct Read {
    pub batches: Vec<RecordBatch>,
    pub rejects: Vec<Reject>,
}

impl Read {
    /// The rows as JSON, by id; what is null is left out.
    pub fn rows(&self) -> BTreeMap<String, Value> {
        let mut lines = Vec::new();
        let mut writer = arrow::json::LineDelimitedWriter::new(&mut lines);
        writer.write_batches(&self.batches.iter().collect::<Vec<_>>()).unwrap();
        writer.finish().unwrap();
        let rows = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let rows = rows.map(|line| serde_json::from_slice::<Value>(line).unwrap());
        rows.map(|row| (row["id"].as_str().unwrap().to_owned(), row)).collect()
    }
}

/// Reads all splits of a dataset, and checks their evidence.
pub async fn read(source: &Arc<dyn Source>, dataset: &str) -> Result<Read> {
    let dataset = source.datasets().iter().find(|found| found.name == dataset).unwrap().clone();
    let mut all = Read::default();
    for split in source.splits(&dataset, 2).await? {
        let found = read_split(source, &dataset.name, split, None).await?;
        all.batches.extend(found.batches);
        all.rejects.extend(found.rejects);
    }
    Ok(all)
}

pub async fn read_split(
    source: &Arc<dyn Source>,
    dataset: &str,
    split: Split,
    columns: Option<&[usize]>,
) -> Result<Read> {
    let schema = Arc::clone(&source.datasets().iter().find(|found| found.name == dataset).unwrap().schema);
    let schema = match columns {
        Some(columns) => Arc::new(schema.project(columns).unwrap()),
        None => schema,
    };
    let request = ReadRequest {
        dataset: dataset.to_owned(),
        split,
        schema: Arc::clone(&schema),
        filters: Vec::new(),
        limit: None,
        batch_rows: 16,
        task: Arc::new(TaskContext::default()),
    };
    let mut events = source.read(request).await?;
    let (mut found, mut counted) = (Read::default(), None);
    while let Some(event) = events.next().await {
        assert!(counted.is_none(), "something after the end");
        match event? {
            SplitEvent::Rows(batch) => {
                assert_eq!(batch.schema(), schema);
                found.batches.push(batch);
            }
            SplitEvent::Reject(reject) => found.rejects.push(reject),
            SplitEvent::End(evidence) => counted = Some(evidence.rows.unwrap()),
        }
    }
    let counted = counted.ok_or_else(|| EngineError::failed("no end"))?;
    let rows: usize = found.batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(counted, (rows + found.rejects.len()) as u64);
    Ok(found)
}

pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(future)
}

/// A class of the definitions.
pub fn class(name: &str, properties: &[(&str, &str)]) -> Value {
    let properties: Vec<Value> =
        properties.iter().map(|(name, kind)| json!({ "name": name, "dataType": [kind] })).collect();
    json!({ "class": name, "vectorizer": "none", "vectorIndexType": "hnsw", "properties": properties })
}

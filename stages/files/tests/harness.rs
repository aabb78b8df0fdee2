//! A small engine: reads all splits of a source, drives a sink from prepare to commit.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array, ListArray, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float32Type, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, Utc};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Expr;
use futures::StreamExt;
use restow_core::record::{self, Role, Roles};
use restow_core::stage::{
    ByteStages, CommitRequest, Committed, Connection, DatasetOutcome, Effects, Evidence, Incoming, OpenContext,
    ReadRequest, Receipt, Reject, Sink, SinkContext, SinkDataset, SinkFactory, Source, SourceFactory, SourceIdentity,
    Split, SplitCounts, SplitEvent, SplitTarget, Work,
};
use restow_core::{EngineError, Result};
use restow_spec::catalogue::Kind;
use restow_spec::pipeline::Component;
use restow_store::location::{self, StoreOptions};
use restow_store::repository::SnapshotId;
use restow_store::run_state::RunStateStore;
use serde_json::{Value, json};

use crate::files::sink::FilesSinkFactory;
use crate::files::source::FilesSourceFactory;

pub(super) fn context(directory: &Path) -> OpenContext {
    with_environment(directory, &[])
}

pub(super) fn with_environment(directory: &Path, variables: &[(&str, &str)]) -> OpenContext {
    let environment: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    OpenContext {
        connections: Arc::default(),
        environment: Arc::new(environment),
        directory: directory.to_owned(),
        now: now(),
        parallel: 2,
        memory: 256 << 20,
        anchors: None,
    }
}

pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

pub(super) fn component(kind: Kind, name: &str, options: Value) -> Component {
    Component { kind, name: name.to_owned(), options, pointer: "/stages/0".to_owned() }
}

pub(super) fn connection(context: &mut OpenContext, name: &str, options: Value) {
    let mut all: BTreeMap<String, Connection> = BTreeMap::clone(&context.connections);
    all.insert(name.to_owned(), component(Kind::Connection, "files", options));
    context.connections = Arc::new(all);
}

pub(super) async fn source(options: Value, context: &OpenContext) -> Result<Arc<dyn Source>> {
    FilesSourceFactory.open(&component(Kind::Source, "files", options), context).await
}

/// Message and hint of the error that opening a source gives.
pub(super) async fn refusal(options: Value, context: &OpenContext) -> (EngineError, String) {
    let error = source(options, context).await.map(|_| ()).unwrap_err();
    let text = format!("{error} | {}", error.hint().unwrap_or_default());
    (error, text)
}

#[derive(Debug, Default)]
pub(super) struct Read {
    pub batches: Vec<RecordBatch>,
    pub rejects: Vec<Reject>,
    pub evidence: Vec<Evidence>,
}

impl Read {
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    pub fn one(&self) -> RecordBatch {
        concat_batches(&self.batches[0].schema(), &self.batches).unwrap()
    }
}

pub(super) async fn read_all(source: &dyn Source, dataset: &str) -> Read {
    let found = source.datasets().iter().find(|known| known.name == dataset).unwrap();
    read_columns(source, dataset, &found.schema, Vec::new()).await
}

pub(super) async fn read_columns(source: &dyn Source, dataset: &str, schema: &SchemaRef, filters: Vec<Expr>) -> Read {
    let found = source.datasets().iter().find(|known| known.name == dataset).unwrap();
    let mut read = Read::default();
    for split in source.splits(found, 2).await.unwrap() {
        assert!(split.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{}", split.id);
        read_split(source, request(dataset, split, schema, filters.clone()), &mut read).await.unwrap();
    }
    read
}

pub(super) fn request(dataset: &str, split: Split, schema: &SchemaRef, filters: Vec<Expr>) -> ReadRequest {
    ReadRequest {
        dataset: dataset.to_owned(),
        split,
        schema: Arc::clone(schema),
        filters,
        limit: None,
        batch_rows: 100,
        task: Arc::new(TaskContext::default()),
    }
}

pub(super) async fn read_split(source: &dyn Source, request: ReadRequest, into: &mut Read) -> Result<()> {
    let schema = Arc::clone(&request.schema);
    let filtered = !request.filters.is_empty();
    let mut events = source.read(request).await?;
    let (mut seen, mut ended) = (0, false);
    while let Some(event) = events.next().await {
        assert!(!ended, "an event after the end");
        match event? {
            SplitEvent::Rows(batch) => {
                assert_eq!(batch.schema(), schema);
                seen += batch.num_rows() as u64;
                into.batches.push(batch);
            }
            SplitEvent::Reject(reject) => {
                seen += 1;
                into.rejects.push(reject);
            }
            SplitEvent::End(evidence) => {
                assert_eq!(evidence.rows, (!filtered).then_some(seen));
                into.evidence.push(evidence);
                ended = true;
            }
        }
    }
    assert!(ended, "no end");
    Ok(())
}

pub(super) struct Export {
    pub options: Value,
    pub codec: Option<(&'static str, Value)>,
    pub encrypt: Option<Value>,
    pub run: &'static str,
}

impl Export {
    pub fn to(path: &str) -> Self {
        Self { options: json!({ "path": path }), codec: None, encrypt: None, run: "run-1" }
    }

    pub fn codec(mut self, name: &'static str, options: Value) -> Self {
        self.codec = Some((name, options));
        self
    }

    pub fn with(mut self, option: &str, value: Value) -> Self {
        self.options[option] = value;
        self
    }

    pub fn encrypt(mut self, options: Value) -> Self {
        self.encrypt = Some(options);
        self
    }

    pub fn run(mut self, run: &'static str) -> Self {
        self.run = run;
        self
    }

    pub async fn open(&self, context: &OpenContext) -> Result<Arc<dyn Sink>> {
        let bytes = ByteStages {
            codec: self.codec.clone().map(|(name, options)| component(Kind::Codec, name, options)),
            encrypt: self.encrypt.clone().map(|options| component(Kind::Encrypt, "aes-256-gcm", options)),
        };
        let sink = SinkContext { open: context.clone(), may_create: true, progress: Arc::default() };
        FilesSinkFactory.open(&component(Kind::Sink, "files", self.options.clone()), &bytes, &sink).await
    }

    /// Opens, prepares, writes each dataset in as many splits as it has batches, and commits.
    pub async fn write(&self, datasets: &[(&str, Vec<RecordBatch>)], context: &OpenContext) -> Result<Committed> {
        let sink = self.open(context).await?;
        let known: Vec<SinkDataset> = datasets.iter().map(|(name, batches)| sink_dataset(name, batches)).collect();
        sink.check(&Incoming { datasets: known.clone(), artifacts: Vec::new() })?;
        sink.prepare(&work(self.run, &known)).await?;
        let mut outcomes = Vec::new();
        for (dataset, (_, batches)) in known.into_iter().zip(datasets) {
            let mut receipts = Vec::new();
            if sink.gathers() {
                receipts.push(write_split(sink.as_ref(), self.run, &dataset, "all", batches).await?);
            } else {
                for (n, batch) in batches.iter().enumerate() {
                    let split = format!("f{n}");
                    receipts.push(
                        write_split(sink.as_ref(), self.run, &dataset, &split, std::slice::from_ref(batch)).await?,
                    );
                }
            }
            for receipt in &receipts {
                assert!(sink.prove(receipt).await?);
            }
            outcomes.push(DatasetOutcome { dataset, receipts, failure: None });
        }
        let committed = sink.commit(commit_request(self.run, outcomes.clone())).await?;
        // A commit whose reply was lost is made again.
        let again = sink.commit(commit_request(self.run, outcomes)).await?;
        assert_eq!(again.report.made, committed.report.made);
        Ok(committed)
    }
}

pub(super) fn snapshot() -> SnapshotId {
    SnapshotId::new(now(), [7; 7])
}

/// Side effects of a run with its state in memory.
pub(super) fn effects() -> Effects {
    let state = RunStateStore::at(location::open("memory:work", &StoreOptions::default()).unwrap(), None);
    Effects::new(state, Arc::default())
}

/// A run of these datasets, with its state in memory.
pub(super) fn work(run: &str, datasets: &[SinkDataset]) -> Arc<Work> {
    let place = location::open("memory:work", &StoreOptions::default()).unwrap();
    let incoming = Incoming { datasets: datasets.to_vec(), artifacts: Vec::new() };
    Arc::new(Work::new(run.to_owned(), snapshot(), incoming, RunStateStore::at(place, None), Arc::default()))
}

pub(super) fn sink_dataset(name: &str, batches: &[RecordBatch]) -> SinkDataset {
    let schema = batches.first().map_or_else(|| batch(0, 0).schema(), RecordBatch::schema);
    SinkDataset {
        name: name.to_owned(),
        roles: Roles::of(&schema),
        source_schema: Arc::clone(&schema),
        schema,
        lineage: BTreeMap::new(),
    }
}

pub(super) async fn write_split(
    sink: &dyn Sink,
    run: &str,
    dataset: &SinkDataset,
    split: &str,
    batches: &[RecordBatch],
) -> Result<Receipt> {
    let target = SplitTarget {
        run: run.to_owned(),
        snapshot: snapshot(),
        dataset: dataset.name.clone(),
        split: split.to_owned(),
        attempt: 1,
        schema: Arc::clone(&dataset.schema),
        task: Arc::new(TaskContext::default()),
    };
    let mut writer = sink.begin(target).await?;
    for batch in batches {
        assert_eq!(writer.write(batch.clone()).await?.written, batch.num_rows() as u64);
    }
    let output = writer.finish().await?;
    assert_eq!(output.rows, batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>());
    Ok(Receipt {
        dataset: dataset.name.clone(),
        split: split.to_owned(),
        counts: SplitCounts::default(),
        output,
        evidence: Vec::new(),
        rejects: None,
        stages: Vec::new(),
    })
}

pub(super) fn commit_request(run: &str, datasets: Vec<DatasetOutcome>) -> CommitRequest {
    CommitRequest {
        run: run.to_owned(),
        snapshot: snapshot(),
        nonce: format!("nonce of {run}"),
        started: now(),
        finished: now(),
        pipeline_name: "test".to_owned(),
        pipeline: Value::Null,
        pipeline_hash: String::new(),
        source: SourceIdentity {
            kind: "test".to_owned(),
            address: String::new(),
            fingerprint: String::new(),
            consistency: String::new(),
        },
        token: Value::Null,
        datasets,
        artifacts: Vec::new(),
    }
}

/// Rows with an id, text, numbers, nulls, a list, a timestamp and a vector; roles stamped.
pub(super) fn batch(from: i64, rows: i64) -> RecordBatch {
    let range = || from..from + rows;
    let ids = StringArray::from_iter_values(range().map(|n| format!("id-{n:05}")));
    let names: StringArray = range().map(|n| (n % 3 != 0).then(|| format!("Ort größe 😀 {n}"))).collect();
    let counts: Int64Array = range().map(|n| (n % 5 != 0).then_some(n * 1_000_000_007)).collect();
    let shares = Float64Array::from_iter_values(range().map(|n| f64::from(i32::try_from(n).unwrap()) / 7.0 - 0.0));
    let flags: BooleanArray = range().map(|n| Some(n % 2 == 0)).collect();
    let tags = ListArray::from_iter_primitive::<Float32Type, _, _>(
        range().map(|n| (n % 4 != 0).then(|| (0..n % 3).map(|m| Some(m as f32 + 0.5)).collect::<Vec<_>>())),
    );
    let times = TimestampMicrosecondArray::from_iter_values(range().map(|n| 1_700_000_000_000_000 + n * 1_000_000));
    let values = Float32Array::from_iter_values(range().flat_map(|n| (0..8).map(move |m| (n * 8 + m) as f32 / 3.0)));
    let item = Arc::new(record::list_item(DataType::Float32));
    let vectors = FixedSizeListArray::try_new(item, 8, Arc::new(values), None).unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ids),
        Arc::new(names),
        Arc::new(counts),
        Arc::new(shares),
        Arc::new(flags),
        Arc::new(tags),
        Arc::new(times.with_timezone("UTC")),
        Arc::new(vectors),
    ];
    let schema = Schema::new(vec![
        Field::new("id", DataType::Utf8, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("count", DataType::Int64, true),
        Field::new("share", DataType::Float64, true),
        Field::new("flag", DataType::Boolean, true),
        Field::new("tags", DataType::List(record::list_item(DataType::Float32).into()), true),
        Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("vector", record::vector_type(8), true),
    ]);
    let mut roles = Roles::default();
    roles.set("id", Role::Id);
    roles.set("vector", Role::Vector);
    RecordBatch::try_new(roles.stamp(&schema), columns).unwrap()
}

/// The names of all files below a folder, sorted.
pub(super) fn tree(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, root: &Path, into: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, root, into);
            } else {
                into.push(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    let mut names = Vec::new();
    walk(folder, folder, &mut names);
    names.sort();
    names
}

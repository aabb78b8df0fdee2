//! The writing side of a connector.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::execution::TaskContext;
use restow_spec::pipeline::Component;
use restow_store::keys::Keys;
use restow_store::repository::SnapshotId;
use restow_store::run_state::RunStateStore;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Artifact, Database, OpenContext, Receipt, Reject, SourceIdentity, Work};
use crate::error::Result;
use crate::progress::Progress;
use crate::record::Roles;

/// Opens a sink from its options. Registered by name in the [`Registry`](super::Registry).
#[async_trait]
pub trait SinkFactory: Send + Sync {
    /// Connects to the target. Creates it only where the options ask for that.
    ///
    /// # Errors
    /// The target cannot be reached, or refuses the key.
    async fn open(&self, component: &Component, bytes: &ByteStages, context: &SinkContext) -> Result<Arc<dyn Sink>>;
}

/// The byte stages of the pipeline, which a byte sink applies to what it stores.
#[derive(Debug, Clone, Default)]
pub struct ByteStages {
    /// The codec stage.
    pub codec: Option<Component>,
    /// The encrypt stage.
    pub encrypt: Option<Component>,
}

/// What a sink gets when it is opened.
#[derive(Debug, Clone)]
pub struct SinkContext {
    /// As for a source.
    pub open: OpenContext,
    /// Whether the sink may create things (keys, a repository, folders): `false` for `plan` and dry runs, and until a run
    /// knows that the pipeline fits its source.
    pub may_create: bool,
    /// Tells the user what was created: a key file, a recovery key to keep.
    pub progress: Arc<Progress>,
}

/// An opened sink. Call order: `check`, the phases before rows of a [`Database`], `prepare` once, then for each split `begin`,
/// `write`.., `finish`; the phases after rows; `commit` once, last.
#[async_trait]
pub trait Sink: fmt::Debug + Send + Sync {
    /// What it is and where, without credentials, for reports: `repository .restow/quickstart`.
    fn describe(&self) -> String;

    /// Changes when this is no longer the same target: a run is never resumed across it.
    fn fingerprint(&self) -> String;

    /// Where the run keeps its state: the sink's own repository, or `None` for the pipeline's `state:`.
    fn run_state(&self) -> Option<RunStateStore> {
        None
    }

    /// The keys of an encrypted target that is no repository: run state beside it is sealed with them.
    fn keys(&self) -> Option<Keys> {
        None
    }

    /// Whether it was opened without [`SinkContext::may_create`] and lacks what a run would create.
    fn to_be_made(&self) -> bool {
        false
    }

    /// Whether every dataset must come as one ordered stream (a single file), which cannot be resumed.
    fn gathers(&self) -> bool {
        false
    }

    /// Whether rows must keep the id that their source declared.
    fn needs_identity(&self) -> bool {
        true
    }

    /// Checks what the target cannot hold, before anything is written.
    ///
    /// # Errors
    /// A dataset cannot be held without loss: names dataset, column and type.
    fn check(&self, incoming: &Incoming) -> Result<()>;

    /// What a run would make and leave out at the target, a line each, for `plan`.
    ///
    /// # Errors
    /// The target cannot be asked, or cannot take the datasets.
    async fn forecast(&self, _incoming: &Incoming) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// What this sink does beside writing rows, where it is a database.
    fn database(&self) -> Option<&dyn Database> {
        None
    }

    /// Prepares the target for the snapshot of this run; may be called again by a resumed run.
    ///
    /// # Errors
    /// The target cannot be prepared; nothing was changed.
    async fn prepare(&self, work: &Arc<Work>) -> Result<()>;

    /// Begins one split.
    ///
    /// # Errors
    /// The target cannot be reached.
    async fn begin(&self, target: SplitTarget) -> Result<Box<dyn SplitWriter>>;

    /// Proves what a receipt of an earlier attempt says (size and stored digest; for a database, ids read back).
    /// `false` means that the split is written again.
    ///
    /// # Errors
    /// The target cannot be reached.
    async fn prove(&self, receipt: &Receipt) -> Result<bool>;

    /// Gives up an unfinished run of this sink, so that no late commit can follow.
    ///
    /// # Errors
    /// The target cannot be reached, or the run is already committed.
    async fn abandon(&self, _snapshot: &SnapshotId, _nonce: &str) -> Result<Abandoned> {
        Ok(Abandoned::ByOutcome)
    }

    /// Makes what was written visible, once, after every split has its receipt.
    ///
    /// # Errors
    /// The commit failed or was lost to somebody else; nothing of this run is visible.
    async fn commit(&self, request: CommitRequest) -> Result<Committed>;
}

/// What ended a run that was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandoned {
    /// The sink's own commit point: nothing else is needed.
    ByManifest,
    /// Nothing yet: the run state records it.
    ByOutcome,
}

/// Everything that arrives at the sink in one run.
#[derive(Debug, Clone, Default)]
pub struct Incoming {
    /// The datasets.
    pub datasets: Vec<SinkDataset>,
    /// The definitions of the database that they come from; empty for files.
    pub artifacts: Vec<Artifact>,
}

impl Incoming {
    /// The definition of that name.
    pub fn artifact(&self, scope: &str, name: &str) -> Option<&Artifact> {
        self.artifacts.iter().find(|artifact| artifact.scope == scope && artifact.name == name)
    }
}

/// A dataset as it arrives at the sink.
#[derive(Debug, Clone)]
pub struct SinkDataset {
    /// The dataset's name.
    pub name: String,
    /// The columns after all row stages, roles stamped.
    pub schema: SchemaRef,
    /// The roles of the columns.
    pub roles: Roles,
    /// The columns as the source has them, for sinks that keep them.
    pub source_schema: SchemaRef,
    /// Column -> column of the source that it holds unchanged but for its name.
    pub lineage: BTreeMap<String, String>,
}

/// One split to be written.
#[derive(Clone)]
pub struct SplitTarget {
    /// Run and snapshot.
    pub run: String,
    /// The snapshot that this run makes.
    pub snapshot: SnapshotId,
    /// The dataset.
    pub dataset: String,
    /// The split's id, or `all` where the dataset is gathered.
    pub split: String,
    /// From 1; counts the attempts of this process.
    pub attempt: u32,
    /// The columns, roles stamped.
    pub schema: SchemaRef,
    /// Memory pool and runtime of the run.
    pub task: Arc<TaskContext>,
}

/// Writes one split. Dropping it without `finish` leaves nothing visible.
#[async_trait]
pub trait SplitWriter: Send {
    /// Writes the rows of one batch.
    ///
    /// # Errors
    /// The whole attempt failed; the engine retries the split where the error says so.
    async fn write(&mut self, batch: RecordBatch) -> Result<WriteReport>;

    /// Makes the split durable, reads it back and decodes it.
    ///
    /// # Errors
    /// It is not durable, or what was read back differs from what was written.
    async fn finish(self: Box<Self>) -> Result<SplitOutput>;
}

/// The result of one batch.
#[derive(Debug, Default)]
pub struct WriteReport {
    /// Rows that the target took.
    pub written: u64,
    /// Rows that were left out on purpose (a conflict rule).
    pub skipped: u64,
    /// Rows that the target refused.
    pub rejects: Vec<Reject>,
}

/// What was written for one split.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SplitOutput {
    /// Rows counted when the output was read back and decoded.
    pub rows: u64,
    /// Stored bytes.
    pub stored_bytes: u64,
    /// Bytes of the same rows in memory, uncompressed (Arrow).
    pub plain_bytes: u64,
    /// SHA-256 of the stored bytes, hex, or another digest of the sink's own.
    pub digest: String,
    /// The sink's own record of what it wrote (files with their paths, digests and footers); kept in the receipt.
    pub written: Value,
}

/// Everything that a commit needs.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    /// The run.
    pub run: String,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The nonce of the intent, by which a lost reply is recognised.
    pub nonce: String,
    /// When the run began (its intent).
    pub started: DateTime<Utc>,
    /// When the last split was done.
    pub finished: DateTime<Utc>,
    /// The pipeline's name.
    pub pipeline_name: String,
    /// The pipeline with its secrets as references.
    pub pipeline: Value,
    /// SHA-256 of what was asked, hex.
    pub pipeline_hash: String,
    /// The source.
    pub source: SourceIdentity,
    /// The source's token.
    pub token: Value,
    /// Every dataset that succeeded, and every one that failed.
    pub datasets: Vec<DatasetOutcome>,
    /// The database's own definitions.
    pub artifacts: Vec<Artifact>,
}

/// How one dataset ended.
#[derive(Debug, Clone)]
pub struct DatasetOutcome {
    /// The dataset as the sink knows it.
    pub dataset: SinkDataset,
    /// One receipt a split, in the order of the splits.
    pub receipts: Vec<Receipt>,
    /// Why it failed; its rows are then not part of the snapshot.
    pub failure: Option<String>,
}

/// What a commit made visible.
#[derive(Debug, Clone, Default)]
pub struct Committed {
    /// The snapshot's id, where the sink makes snapshots.
    pub snapshot: Option<String>,
    /// Lines for the user: where it is, and the command that gets it back.
    pub report: CommitReport,
}

/// Lines for the user about a commit.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CommitReport {
    /// What was made, for example `snapshot 2026...` or `3 files in out/`.
    pub made: String,
    /// The command that restores or opens it.
    pub next: Option<String>,
    /// All stored bytes, metadata included, where the sink knows them.
    pub stored_bytes: Option<u64>,
}

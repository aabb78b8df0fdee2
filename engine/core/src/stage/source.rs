//! The reading side of a connector.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Expr;
use futures::stream::BoxStream;
use restow_spec::pipeline::Component;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Effects, OpenContext};
use crate::error::Result;
use crate::record::Roles;

/// Opens a source from its options. Registered by name in the [`Registry`](super::Registry).
#[async_trait]
pub trait SourceFactory: Send + Sync {
    /// Connects and discovers the datasets and their schemas. The first effect of a run; reads no rows beyond what
    /// inference needs.
    ///
    /// # Errors
    /// The source cannot be reached, or what the options name does not exist.
    async fn open(&self, component: &Component, context: &OpenContext) -> Result<Arc<dyn Source>>;
}

/// An opened source. Call order: `datasets`, `acquire`, `splits` for each dataset, `read` for each split, `release`.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync {
    /// What this source is, for the manifest and for resume.
    fn identity(&self) -> SourceIdentity;

    /// The datasets, each with its schema and roles.
    fn datasets(&self) -> &[Dataset];

    /// The keys of an encrypted source: the state of a run that reads it is sealed with them.
    fn keys(&self) -> Option<restow_store::keys::Keys> {
        None
    }

    /// Schemas, indexes, aliases and roles in the database's own words, kept verbatim.
    fn artifacts(&self) -> &[Artifact] {
        &[]
    }

    /// What the user should know before a run reads: above all what may be missing of the whole. The same stands in
    /// [`SourceIdentity::consistency`].
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Pins what is read (a timestamp, an offset, a server-side copy). The token is kept in the intent of the run.
    ///
    /// # Errors
    /// The source cannot pin.
    async fn acquire(&self, _effects: &Effects) -> Result<Value> {
        Ok(Value::Null)
    }

    /// Undoes what dead runs have left on this server. The first call of a run; where it says that it did anything, the source is
    /// opened anew, since what it found may have been of their making.
    ///
    /// # Errors
    /// The server cannot be reached.
    async fn clear(&self, _effects: &Effects) -> Result<bool> {
        Ok(false)
    }

    /// Makes ready again what `acquire` made ready, for a run that is taken up.
    ///
    /// # Errors
    /// The source cannot be made ready.
    async fn resume(&self, _token: &Value, _effects: &Effects) -> Result<()> {
        Ok(())
    }

    /// Whether a token of an earlier attempt still stands for the same data. `false` voids the receipts of that cut.
    ///
    /// # Errors
    /// The source cannot be asked.
    async fn still_valid(&self, token: &Value) -> Result<bool>;

    /// The independent pieces of a dataset, many more than `parallel`, in an order that does not matter. They are
    /// frozen in the intent, so that a resumed run reads the same pieces.
    ///
    /// # Errors
    /// The source cannot be asked.
    async fn splits(&self, dataset: &Dataset, parallel: usize) -> Result<Vec<Split>>;

    /// How far this source can evaluate a filter by itself. One function serves the plan and the scan.
    fn pushdown(&self, dataset: &Dataset, filter: &Expr) -> Pushdown;

    /// What is read because of filters that [`Self::pushdown`] did not refuse, in words, for `plan`: `tenants "a"`, `ids 1 to 7`.
    fn explain(&self, _dataset: &Dataset, _filters: &[Expr]) -> Vec<String> {
        Vec::new()
    }

    /// Reads one split. The stream ends with exactly one [`SplitEvent::End`]; a stream that ends without it is a
    /// failed read, never a short one.
    ///
    /// # Errors
    /// The split cannot be opened. Errors of the stream are retried by the engine where they say so.
    async fn read(&self, request: ReadRequest) -> Result<SplitStream>;

    /// How often what has changed since it was read is read again; `None` where a scan is taken as it comes.
    fn settle_rounds(&self) -> Option<u32> {
        None
    }

    /// Whether a split still is what was read of it, by its evidence. Asked only of a source that settles.
    ///
    /// # Errors
    /// The source cannot be asked.
    async fn is_as_read(&self, _dataset: &str, _split: &Split, _evidence: &Evidence) -> Result<bool> {
        Ok(true)
    }

    /// How consistent the copy is, in words, once it was settled or given up.
    fn settled_consistency(&self, _settled: &Settled) -> String {
        self.identity().consistency
    }

    /// Gives up what `acquire` pinned, and undoes the side effects of this run; also after a failure.
    ///
    /// # Errors
    /// The source cannot be reached; the run is not failed by it.
    async fn release(&self, _token: &Value, _effects: &Effects) -> Result<()> {
        Ok(())
    }
}

/// What came of reading again what had changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Everything was read before this moment (by the clock of this machine), and was the same after it.
    At(DateTime<Utc>),
    /// So many splits were still changing after so many rounds.
    Changing {
        /// Splits that were not as read when they were looked at last.
        pieces: usize,
        /// How often changed splits were read again.
        rounds: u32,
    },
}

/// What a source is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceIdentity {
    /// The component's name, for example `files`.
    pub kind: String,
    /// The address without credentials.
    pub address: String,
    /// Changes when this is no longer the same source (another cluster, other files): a run is never resumed across it.
    pub fingerprint: String,
    /// How consistent the copy is, in words, for the manifest.
    pub consistency: String,
}

/// One collection, class, graph, table or file set.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Its name, unique within the source.
    pub name: String,
    /// The columns, by the conventions of `schemas/records.md`; roles stamped into the field metadata.
    pub schema: SchemaRef,
    /// The roles of the columns.
    pub roles: Roles,
    /// How many rows there are, where the source knows it exactly or nearly.
    pub rows: Option<u64>,
    /// How many bytes are read for it, as stored at the source, where known.
    pub bytes: Option<u64>,
}

/// A database's own definition of something, kept verbatim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// What it belongs to: a dataset's name, or `server`.
    pub scope: String,
    /// What it is, for example `class.json`.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// An independent piece of a dataset. The payload is the source's own; the engine only carries it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Unique within the dataset, short, stable, made of `[a-z0-9-]`.
    pub id: String,
    /// What the source needs to read it. No secrets: it is stored in the intent.
    pub payload: Value,
    /// An estimate of its rows, for progress.
    pub rows: Option<u64>,
    /// An estimate of its stored bytes, for progress.
    pub bytes: Option<u64>,
}

/// How far a filter is evaluated by the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pushdown {
    /// Exactly as DataFusion would: the filter is dropped above the scan. Only for translations proven equal.
    Exact,
    /// The source leaves out only rows that do not match; the filter stays above the scan.
    Inexact,
    /// The source cannot use it.
    No,
}

/// What to read.
#[derive(Clone)]
pub struct ReadRequest {
    /// The dataset's name.
    pub dataset: String,
    /// The piece.
    pub split: Split,
    /// The columns to give, in this order, with these types; possibly none (`count(*)`). Others must not be fetched.
    pub schema: SchemaRef,
    /// The filters that [`Source::pushdown`] did not refuse, joined by AND.
    pub filters: Vec<Expr>,
    /// At most this many rows are needed (giving more is allowed).
    pub limit: Option<usize>,
    /// How many rows a batch should hold.
    pub batch_rows: usize,
    /// Memory pool and runtime of the run.
    pub task: Arc<TaskContext>,
}

/// The events of one split, in order.
pub type SplitStream = BoxStream<'static, Result<SplitEvent>>;

/// One step of reading a split.
#[derive(Debug)]
pub enum SplitEvent {
    /// Rows, with exactly the schema of the request.
    Rows(RecordBatch),
    /// Something that is no row: counted as scanned and rejected.
    Reject(Reject),
    /// The proof that the end was reached.
    End(Evidence),
}

/// A row that could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// Where it is, for example `cities.jsonl:17`, or the id of the row.
    pub place: String,
    /// Why, as an error message.
    pub reason: String,
    /// The row itself as far as it is known (a bad line's text, or the row as JSON).
    pub row: Option<String>,
}

/// What the source says about the end of a split.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// How many rows and rejects the source itself counted in this split after its own filters; the engine compares it
    /// with what it has seen. `None` only where the protocol has no such figure.
    pub rows: Option<u64>,
    /// Bytes read from the source, as stored there.
    pub bytes: u64,
    /// How the end was recognised, for example `end of file`, or a position or schema version.
    pub proof: String,
    /// Of a source that settles: a digest by which it tells whether the split has changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

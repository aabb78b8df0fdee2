//! The contract of a stage. A connector author writes a split reader and a batch writer; the engine owns every
//! ExecutionPlan, retry, progress, count, reject and resume.

mod context;
mod database;
mod effects;
mod fence;
mod receipt;
mod registry;
mod row;
mod sink;
mod source;

pub use context::{Connection, OpenContext};
pub use database::{Database, Item, ItemDone, ItemReceipt, Phase, PutBack, Undone, Work};
pub use effects::Effects;
pub use fence::Fence;
pub use receipt::{Receipt, SplitCounts, StageFigures};
pub use registry::Registry;
pub use row::{RowContext, RowStageFactory, Rows};
pub use sink::{
    Abandoned, ByteStages, CommitReport, CommitRequest, Committed, DatasetOutcome, Incoming, Sink, SinkContext,
    SinkDataset, SinkFactory, SplitOutput, SplitTarget, SplitWriter, WriteReport,
};
pub use source::{
    Artifact, Dataset, Evidence, Pushdown, ReadRequest, Reject, Settled, Source, SourceFactory, SourceIdentity, Split,
    SplitEvent, SplitStream,
};

/// The split id of a dataset that is written as one gathered stream.
pub const GATHERED: &str = "all";

//! What was written for one split, as it is kept in the run state. Receipts are the truth of a run.

use serde::{Deserialize, Serialize};

use super::{Evidence, SplitOutput};

/// The durable record of one split.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Receipt {
    /// The dataset.
    pub dataset: String,
    /// The split's id, or [`GATHERED`](super::GATHERED).
    pub split: String,
    /// The figures of the split, each counted by itself.
    pub counts: SplitCounts,
    /// What was written.
    pub output: SplitOutput,
    /// The source's proof that it came to the end.
    pub evidence: Vec<Evidence>,
    /// The object with the rejected rows, where there are any.
    pub rejects: Option<String>,
    /// What each stage did, from the scan to the sink.
    pub stages: Vec<StageFigures>,
}

/// What one stage did for one split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageFigures {
    /// Time spent in it alone, in nanoseconds.
    pub nanoseconds: u64,
    /// Rows that left it.
    pub rows: u64,
    /// Bytes that left it: of rows in memory, and as stored for the sink.
    pub bytes: u64,
}

/// The figures of one split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitCounts {
    /// Rows that came out of the source, and things that were no rows.
    pub scanned: u64,
    /// Rows that a filter stopped, counted at both sides of each filter.
    pub filtered: u64,
    /// Rows that reached the writer.
    pub arrived: u64,
    /// Rows that the target took.
    pub written: u64,
    /// Rows that the target left out on purpose.
    pub skipped: u64,
    /// Rows that could not be read or written.
    pub rejected: u64,
    /// Bytes read from the source, as stored there.
    pub bytes_read: u64,
}

impl SplitCounts {
    /// Adds the figures of another split.
    pub fn add(&mut self, other: &Self) {
        self.scanned += other.scanned;
        self.filtered += other.filtered;
        self.arrived += other.arrived;
        self.written += other.written;
        self.skipped += other.skipped;
        self.rejected += other.rejected;
        self.bytes_read += other.bytes_read;
    }
}

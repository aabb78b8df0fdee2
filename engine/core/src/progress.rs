//! Live figures of a run. The engine counts; only the command line draws.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::error::EngineError;
use crate::stage::Receipt;

/// Shows a message to the user before it returns.
type Show = Box<dyn Fn(&str) + Send + Sync>;

/// Counters that everybody may read while the run goes on.
#[derive(Default)]
pub struct Progress {
    rows: AtomicU64,
    bytes: AtomicU64,
    splits: AtomicU64,
    stored: AtomicU64,
    retries: AtomicU64,
    expected_rows: AtomicU64,
    expected_splits: AtomicU64,
    taken_over: AtomicU64,
    effects: AtomicU64,
    show: OnceLock<Show>,
}

/// The figures at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Rows scanned, those of attempts that failed included.
    pub rows: u64,
    /// Rows that the source expects, 0 where it does not know.
    pub expected_rows: u64,
    /// Bytes read from the source.
    pub bytes: u64,
    /// Splits that have their receipt.
    pub splits: u64,
    /// Splits in all.
    pub expected_splits: u64,
    /// Stored bytes of the splits that are done.
    pub stored: u64,
    /// Attempts that failed and were made again.
    pub retries: u64,
    /// Splits taken over from an earlier attempt at the run.
    pub taken_over: u64,
    /// Side effects on a server that are not undone yet.
    pub effects: u64,
}

impl Progress {
    pub(crate) fn add_rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Relaxed);
    }

    pub(crate) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn expect(&self, rows: u64, splits: u64) {
        self.expected_rows.fetch_add(rows, Relaxed);
        self.expected_splits.fetch_add(splits, Relaxed);
    }

    pub(crate) fn split_done(&self, receipt: &Receipt) {
        self.splits.fetch_add(1, Relaxed);
        self.stored.fetch_add(receipt.output.stored_bytes, Relaxed);
    }

    pub(crate) fn take_over(&self, receipt: &Receipt) {
        self.taken_over.fetch_add(1, Relaxed);
        self.add_rows(receipt.counts.scanned);
        self.split_done(receipt);
    }

    pub(crate) fn effect(&self) {
        self.effects.fetch_add(1, Relaxed);
    }

    pub(crate) fn effect_undone(&self) {
        self.effects.fetch_sub(1, Relaxed);
    }

    pub(crate) fn retry(&self, error: &EngineError, tries: u32, pause: Duration) {
        self.retries.fetch_add(1, Relaxed);
        self.say(&format!("{error}; attempt {tries} failed, next in {:.1} s", pause.as_secs_f64()));
    }

    /// Tells the user something, at once: when this returns a recovery key has been seen, whatever happens next.
    pub fn say(&self, message: &str) {
        if let Some(show) = self.show.get() {
            show(message);
        }
    }

    /// What shows messages; without it nobody listens. Only the first call counts.
    pub fn show_with(&self, show: impl Fn(&str) + Send + Sync + 'static) {
        let _ = self.show.set(Box::new(show));
    }

    /// The figures now.
    pub fn figures(&self) -> Figures {
        Figures {
            rows: self.rows.load(Relaxed),
            expected_rows: self.expected_rows.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            splits: self.splits.load(Relaxed),
            expected_splits: self.expected_splits.load(Relaxed),
            stored: self.stored.load(Relaxed),
            retries: self.retries.load(Relaxed),
            taken_over: self.taken_over.load(Relaxed),
            effects: self.effects.load(Relaxed),
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").field(&self.figures()).finish()
    }
}

//! One attempt at one split: its counters, rejects and evidence. It travels in the task context, so that the nodes of a
//! plan stay immutable and a failed attempt leaves no trace in the figures of the next one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use datafusion::execution::TaskContext;

use crate::error::{EngineError, Result};
use crate::progress::Progress;
use crate::stage::{Evidence, Reject};

/// Rejected rows keep at most this much of their text, in bytes.
const MAX_REJECT_TEXT: usize = 64 << 10;

/// What one point of the plan has seen.
#[derive(Debug, Default)]
pub struct Point {
    rows: AtomicU64,
    bytes: AtomicU64,
    nanoseconds: AtomicU64,
}

/// The figures of a [`Point`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows that passed.
    pub rows: u64,
    /// Their bytes in memory.
    pub bytes: u64,
    /// Time spent waiting for everything below this point.
    pub waited: Duration,
}

impl Point {
    /// Adds rows that passed.
    pub fn add(&self, rows: usize, bytes: usize) {
        self.rows.fetch_add(rows as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Adds time spent below.
    pub fn add_time(&self, time: Duration) {
        self.nanoseconds.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The figures now.
    pub fn totals(&self) -> Totals {
        Totals {
            rows: self.rows.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            waited: Duration::from_nanos(self.nanoseconds.load(Relaxed)),
        }
    }
}

/// One attempt at one split (or at a whole gathered dataset).
#[derive(Debug)]
pub struct Attempt {
    points: Vec<Point>,
    outside_ids: AtomicU64,
    rejected_reading: AtomicU64,
    rejected_writing: AtomicU64,
    log: Mutex<Log>,
    /// Rejects of the whole run so far, and how many it may have.
    budget: Arc<RejectBudget>,
    progress: Arc<Progress>,
}

#[derive(Debug, Default)]
struct Log {
    rejects: Vec<Reject>,
    evidence: Vec<Evidence>,
}

/// How many rejects the run may still have.
#[derive(Debug, Default)]
pub struct RejectBudget {
    limit: u64,
    used: AtomicU64,
}

impl RejectBudget {
    /// At most `limit` rejects.
    pub fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    /// Takes rejects back: what they belong to failed, or no longer holds, and is made again.
    pub(crate) fn give_back(&self, rejects: u64) {
        self.used.fetch_sub(rejects, Relaxed);
    }

    /// Counts rejects of receipts that are taken over.
    pub fn take_over(&self, rejects: u64) {
        self.used.fetch_add(rejects, Relaxed);
    }
}

impl Attempt {
    /// An attempt at a plan with `points` counting points.
    pub fn new(points: usize, budget: Arc<RejectBudget>, progress: Arc<Progress>) -> Self {
        Self {
            points: (0..points).map(|_| Point::default()).collect(),
            outside_ids: AtomicU64::new(0),
            rejected_reading: AtomicU64::new(0),
            rejected_writing: AtomicU64::new(0),
            log: Mutex::default(),
            budget,
            progress,
        }
    }

    /// The attempt that a node is running in.
    ///
    /// # Errors
    /// The plan is run outside of a run of restow.
    pub fn of(context: &TaskContext) -> Result<Arc<Self>> {
        context
            .session_config()
            .get_extension::<Self>()
            .ok_or_else(|| EngineError::failed("a plan node of restow was run outside of a run"))
    }

    /// A context in which nodes run for this attempt.
    pub fn context(self: &Arc<Self>, base: &TaskContext) -> Arc<TaskContext> {
        let config = base.session_config().clone().with_extension(Arc::clone(self));
        Arc::new(TaskContext::new(
            base.task_id(),
            base.session_id(),
            config,
            base.scalar_functions().clone(),
            base.higher_order_functions().clone(),
            base.aggregate_functions().clone(),
            base.window_functions().clone(),
            base.runtime_env(),
        ))
    }

    /// The counting point of this number.
    pub fn point(&self, number: usize) -> Option<&Point> {
        self.points.get(number)
    }

    /// The figures of all points.
    pub fn totals(&self) -> Vec<Totals> {
        self.points.iter().map(Point::totals).collect()
    }

    /// Counts something that could not be read.
    ///
    /// # Errors
    /// The run has more rejects than `on_error.max_rejects` allows.
    pub fn reject_reading(&self, reject: Reject) -> Result<()> {
        self.rejected_reading.fetch_add(1, Relaxed);
        self.keep(reject)
    }

    /// Counts a row that the target refused.
    ///
    /// # Errors
    /// The run has more rejects than `on_error.max_rejects` allows.
    pub fn reject_writing(&self, reject: Reject) -> Result<()> {
        self.rejected_writing.fetch_add(1, Relaxed);
        self.keep(reject)
    }

    fn keep(&self, mut reject: Reject) -> Result<()> {
        if let Some(row) = &mut reject.row {
            truncate(row, MAX_REJECT_TEXT);
        }
        let used = self.budget.used.fetch_add(1, Relaxed) + 1;
        if used > self.budget.limit {
            return Err(EngineError::failed(format!(
                "{}: {} (reject {used}, and max_rejects is {})",
                reject.place, reject.reason, self.budget.limit
            ))
            .with_hint(
                "nothing was committed for this dataset; mend the row, or raise `on_error: { max_rejects: N }`",
            ));
        }
        self.lock().rejects.push(reject);
        Ok(())
    }

    /// Takes the source's proof that a split was read to its end.
    pub fn prove(&self, evidence: Evidence) {
        self.lock().evidence.push(evidence);
    }

    /// Counts rows that `--objects` leaves out.
    pub fn outside_ids(&self, rows: u64) {
        self.outside_ids.fetch_add(rows, Relaxed);
    }

    /// Rows that `--objects` left out.
    pub fn rows_outside_ids(&self) -> u64 {
        self.outside_ids.load(Relaxed)
    }

    /// What could not be read so far.
    pub fn rejected_reading(&self) -> u64 {
        self.rejected_reading.load(Relaxed)
    }

    /// What the target refused so far.
    pub fn rejected_writing(&self) -> u64 {
        self.rejected_writing.load(Relaxed)
    }

    /// The kept rejects.
    pub fn rejects(&self) -> Vec<Reject> {
        self.lock().rejects.clone()
    }

    /// The evidence so far.
    pub fn evidence(&self) -> Vec<Evidence> {
        self.lock().evidence.clone()
    }

    /// Live figures of the run.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Gives back what this attempt took from the budgets of the run, because it is made again.
    pub fn give_up(&self) {
        self.budget.give_back(self.rejected_reading() + self.rejected_writing());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn truncate(text: &mut String, limit: usize) {
    if text.len() > limit {
        let mut end = limit;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str("...");
    }
}

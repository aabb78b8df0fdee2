//! What a run did, for people and for machines.

use std::time::Duration;

use serde::Serialize;

use super::RunRequest;
use super::datasets::Writing;
use super::intent::Begun;
use crate::error::EngineError;
use crate::exec::CountPoint;
use crate::stage::{CommitReport, Committed, DatasetOutcome, Pushdown, Receipt, SplitCounts, Work};

/// How a run ended that committed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Everything that was asked for (exit code 0).
    Done,
    /// With rejected rows, a failed dataset, or ids that were not found (exit code 3).
    Incomplete,
}

/// What a database took in one phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemSummary {
    /// The phase.
    pub phase: String,
    /// Things that it took.
    pub done: u64,
    /// Things that it refused.
    pub rejected: u64,
}

/// What a run did.
#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// How it ended.
    pub status: RunStatus,
    /// The pipeline's name.
    pub pipeline: String,
    /// The run's id.
    pub run: String,
    /// Whether an earlier attempt was taken up.
    pub resumed: bool,
    /// The snapshot's id, where the sink makes snapshots.
    pub snapshot: Option<String>,
    /// The figures of all datasets.
    pub counts: SplitCounts,
    /// Filters that the source evaluates too: rows that it left out were never scanned.
    pub pushed: Vec<String>,
    /// Why scanned and written rows cannot be compared one by one, where they cannot: rows are multiplied or merged on the
    /// way, and only both ends are checked.
    pub uncounted: Option<String>,
    /// Bytes of the written rows in memory (Arrow).
    pub plain_bytes: u64,
    /// Stored bytes of the data.
    pub stored_bytes: u64,
    /// Time from start to commit, in seconds.
    pub seconds: f64,
    /// Each dataset.
    pub datasets: Vec<DatasetSummary>,
    /// Time and rows of each stage over all splits, from the source to the sink.
    pub profile: Vec<StageProfile>,
    /// The stage that took the most time.
    pub bottleneck: Option<String>,
    /// What a database took beside rows, by phase: classes, tenants, references.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<ItemSummary>,
    /// Ids of `--objects` that no dataset had.
    pub missing_ids: Vec<String>,
    /// Objects with rejected rows, in the run state.
    pub rejects: Vec<String>,
    /// What was made and how to get it back.
    pub report: CommitReport,
}

/// One dataset of a run.
#[derive(Debug, Clone, Serialize)]
pub struct DatasetSummary {
    /// Its name.
    pub name: String,
    /// Its figures.
    pub counts: SplitCounts,
    /// How many splits it had.
    pub splits: usize,
    /// Stored bytes of its data.
    pub stored_bytes: u64,
    /// Why it failed.
    pub failure: Option<String>,
}

/// One stage of a run.
#[derive(Debug, Clone, Serialize)]
pub struct StageProfile {
    /// The stage: `scan`, `filter 1`, `map`, `sink`.
    pub stage: String,
    /// Time spent in it alone, summed over all splits, in seconds.
    pub seconds: f64,
    /// Rows that left it.
    pub rows: u64,
    /// Bytes that left it: of rows in memory, and as stored for the sink.
    pub bytes: u64,
}

impl RunSummary {
    pub(super) fn of(
        request: &RunRequest<'_>,
        writing: &Writing,
        begun: &Begun,
        outcomes: Vec<(DatasetOutcome, Option<EngineError>)>,
        committed: Committed,
        took: Duration,
    ) -> Self {
        let mut counts = SplitCounts::default();
        let (mut plain_bytes, mut stored_bytes) = (0, 0);
        let (mut datasets, mut rejects) = (Vec::new(), Vec::new());
        for (outcome, _) in outcomes.iter() {
            let summary = dataset_summary(outcome);
            counts.add(&summary.counts);
            stored_bytes += summary.stored_bytes;
            plain_bytes += outcome.receipts.iter().map(|receipt| receipt.output.plain_bytes).sum::<u64>();
            rejects.extend(outcome.receipts.iter().filter_map(|receipt| receipt.rejects.clone()));
            datasets.push(summary);
        }
        let profile = profile(writing, &outcomes);
        let slowest = profile.iter().max_by(|a, b| a.seconds.total_cmp(&b.seconds)).map(|stage| stage.stage.clone());
        let missing_ids = missing_ids(writing);
        let failed = datasets.iter().any(|dataset| dataset.failure.is_some());
        let incomplete = failed || counts.rejected > 0 || !missing_ids.is_empty();
        Self {
            status: if incomplete { RunStatus::Incomplete } else { RunStatus::Done },
            pipeline: request.pipeline.name.clone(),
            run: begun.intent.run_id.clone(),
            resumed: begun.resumed,
            snapshot: committed.snapshot,
            counts,
            pushed: pushed(writing),
            uncounted: uncounted(writing),
            plain_bytes,
            stored_bytes,
            seconds: took.as_secs_f64(),
            datasets,
            bottleneck: slowest,
            profile,
            items: Vec::new(),
            missing_ids,
            rejects,
            report: committed.report,
        }
    }

    /// With what a database took beside rows. What it refused makes the run incomplete.
    #[must_use]
    pub(super) fn with_items(mut self, work: &Work) -> Self {
        for receipt in work.all() {
            if receipt.rejected > 0 {
                self.status = RunStatus::Incomplete;
            }
            self.rejects.extend(receipt.rejects);
            match self.items.iter_mut().find(|item| item.phase == receipt.phase) {
                Some(item) => {
                    item.done += receipt.done;
                    item.rejected += receipt.rejected;
                }
                None => self.items.push(ItemSummary {
                    phase: receipt.phase,
                    done: receipt.done,
                    rejected: receipt.rejected,
                }),
            }
        }
        self.items.retain(|item| item.done + item.rejected > 0);
        self
    }
}

fn dataset_summary(outcome: &DatasetOutcome) -> DatasetSummary {
    let mut counts = SplitCounts::default();
    for receipt in &outcome.receipts {
        counts.add(&receipt.counts);
    }
    DatasetSummary {
        name: outcome.dataset.name.clone(),
        counts,
        splits: outcome.receipts.len(),
        stored_bytes: outcome.receipts.iter().map(|receipt| receipt.output.stored_bytes).sum(),
        failure: outcome.failure.clone(),
    }
}

fn pushed(writing: &Writing) -> Vec<String> {
    let mut filters: Vec<String> = Vec::new();
    for (filter, pushdown) in writing.compiled.iter().flat_map(|dataset| &dataset.pushed) {
        if *pushdown != Pushdown::No && !filters.contains(filter) {
            filters.push(filter.clone());
        }
    }
    filters
}

fn uncounted(writing: &Writing) -> Option<String> {
    writing.compiled.iter().find_map(|dataset| dataset.shape.changes_count())
}

/// An id is missing only where no dataset had it.
fn missing_ids(writing: &Writing) -> Vec<String> {
    let mut filters = writing.compiled.iter().filter_map(|dataset| dataset.ids.as_ref());
    let Some(first) = filters.next() else { return Vec::new() };
    let mut missing = first.missing();
    let mut wanted: Vec<String> = first.wanted().into_iter().map(str::to_owned).collect();
    for ids in filters {
        let absent = ids.missing();
        let asked: Vec<String> = ids.wanted().into_iter().map(str::to_owned).collect();
        missing.retain(|id| !asked.contains(id) || absent.contains(id));
        missing.extend(absent.into_iter().filter(|id| !wanted.contains(id)));
        wanted.extend(asked);
    }
    missing.sort_unstable();
    missing.dedup();
    missing
}

fn profile(writing: &Writing, outcomes: &[(DatasetOutcome, Option<EngineError>)]) -> Vec<StageProfile> {
    let mut profile: Vec<StageProfile> = Vec::new();
    for (dataset, (outcome, _)) in writing.compiled.iter().zip(outcomes) {
        let names: Vec<String> = dataset.plan.points.iter().map(stage_name).chain(["sink".to_owned()]).collect();
        for receipt in &outcome.receipts {
            add(&mut profile, of_split(&names, receipt));
        }
    }
    profile
}

/// The stages of one split. Projections are counted at several places and are one stage: what left the last of them counts.
fn of_split(names: &[String], receipt: &Receipt) -> Vec<StageProfile> {
    let mut stages: Vec<StageProfile> = Vec::new();
    for (name, figures) in names.iter().zip(&receipt.stages) {
        let seconds = Duration::from_nanos(figures.nanoseconds).as_secs_f64();
        let (rows, bytes) = (figures.rows, figures.bytes);
        match stages.iter_mut().find(|stage| stage.stage == *name) {
            Some(stage) => (stage.seconds, stage.rows, stage.bytes) = (stage.seconds + seconds, rows, bytes),
            None => stages.push(StageProfile { stage: name.clone(), seconds, rows, bytes }),
        }
    }
    stages
}

fn add(profile: &mut Vec<StageProfile>, stages: Vec<StageProfile>) {
    for one in stages {
        match profile.iter_mut().find(|stage| stage.stage == one.stage) {
            Some(stage) => {
                stage.seconds += one.seconds;
                stage.rows += one.rows;
                stage.bytes += one.bytes;
            }
            None => profile.push(one),
        }
    }
}

fn stage_name(point: &CountPoint) -> String {
    match point {
        CountPoint::Scanned => "scan".to_owned(),
        CountPoint::FilterIn(_) | CountPoint::Writer => "map".to_owned(),
        CountPoint::FilterOut(number) => format!("filter {}", number + 1),
    }
}

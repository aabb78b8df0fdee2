//! One split from its descriptor to its receipt.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::super::{Attempt, CountPoint, Totals};
use super::SplitJob;
use super::record::record;
use crate::error::{EngineError, ExitClass, Result};
use crate::record::under_schema;
use crate::stage::{
    Evidence, GATHERED, Receipt, Split, SplitCounts, SplitOutput, SplitTarget, SplitWriter, StageFigures,
};

/// Leave to read a split.
struct Permit<'a> {
    /// One a partition: its splits are read one after the other.
    _turn: SemaphorePermit<'a>,
    /// One of those that all partitions of all datasets share.
    _shared: SemaphorePermit<'a>,
}

impl<'a> Permit<'a> {
    async fn of(turn: &'a Semaphore, shared: &'a Semaphore) -> Result<Self> {
        let interrupted = |_| EngineError::interrupted();
        let _turn = turn.acquire().await.map_err(interrupted)?;
        Ok(Self { _turn, _shared: shared.acquire().await.map_err(interrupted)? })
    }
}

/// Writes one split, or takes over what an earlier attempt proves to have written. `turn` is that of the split's partition.
pub(super) async fn run_split(
    job: Arc<SplitJob>,
    plan: Arc<dyn ExecutionPlan>,
    split: Split,
    turn: Arc<Semaphore>,
    task: Arc<TaskContext>,
) -> Result<Receipt> {
    let mut permit = Permit::of(&turn, &job.permits).await?;
    let mut number = 1;
    if let Some((earlier, receipt)) = job.earlier.get(&split.id) {
        if let Some(receipt) = receipt
            && job.sink.prove(receipt).await?
        {
            job.budget.take_over(receipt.counts.rejected);
            job.progress.take_over(receipt);
            return Ok(receipt.clone());
        }
        number = earlier + 1;
    }
    let mut tries = 1;
    loop {
        let attempt = Arc::new(Attempt::new(job.points.len(), Arc::clone(&job.budget), Arc::clone(&job.progress)));
        let error = match write(&job, &plan, &split, &attempt, tries, &task, permit).await {
            Ok(receipt) => return record(&job, receipt, &attempt, number).await,
            Err(error) => error.context(format!("dataset {:?}, split {:?}", job.dataset.name, split.id)),
        };
        let Some(pause) = job.retry.pause(tries, &error) else { return Err(exhausted(error, tries)) };
        attempt.give_up();
        job.progress.retry(&error, tries, pause);
        tokio::time::sleep(pause).await;
        permit = Permit::of(&turn, &job.permits).await?;
        tries += 1;
    }
}

fn exhausted(error: EngineError, tries: u32) -> EngineError {
    if error.class() == ExitClass::Unreachable && error.hint().is_none() {
        return error.with_hint(format!(
            "tried {tries} times; what is already written is kept, run the same command again to resume"
        ));
    }
    error
}

async fn write(
    job: &SplitJob,
    plan: &Arc<dyn ExecutionPlan>,
    split: &Split,
    attempt: &Arc<Attempt>,
    tries: u32,
    task: &Arc<TaskContext>,
    permit: Permit<'_>,
) -> Result<Receipt> {
    let context = attempt.context(task);
    let plan = if tries == 1 { Arc::clone(plan) } else { fresh(plan)? };
    let mut rows = plan.execute(0, Arc::clone(&context))?;
    let target = SplitTarget {
        run: job.run.clone(),
        snapshot: job.snapshot.clone(),
        dataset: job.dataset.name.clone(),
        split: split.id.clone(),
        attempt: tries,
        schema: Arc::clone(&job.dataset.schema),
        task: context,
    };
    let mut writer = job.sink.begin(target).await?;
    let mut counts = SplitCounts::default();
    let mut writing = Duration::ZERO;
    while let Some(batch) = rows.next().await {
        let batch = under_schema(batch?, &job.dataset.schema)?;
        let began = Instant::now();
        take(writer.as_mut(), batch, attempt, &mut counts).await?;
        writing += began.elapsed();
    }
    drop(rows);
    // Ending a split is mostly waiting, and reading back: the next one is read meanwhile.
    drop(permit);
    let began = Instant::now();
    let output = writer.finish().await?;
    writing += began.elapsed();
    settle(job, attempt, &mut counts);
    let evidence = attempt.evidence();
    meet(job, &counts, &output, &evidence, split)?;
    let sink = StageFigures { nanoseconds: nanoseconds(writing), rows: counts.written, bytes: output.stored_bytes };
    Ok(Receipt {
        dataset: job.dataset.name.clone(),
        split: split.id.clone(),
        counts,
        output,
        evidence,
        rejects: None,
        stages: stages(&attempt.totals(), sink),
    })
}

/// Nodes that hold state must not be run twice.
fn fresh(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    Ok(datafusion::physical_plan::execution_plan::reset_plan_states(Arc::clone(plan))?)
}

async fn take(
    writer: &mut dyn SplitWriter,
    batch: arrow::array::RecordBatch,
    attempt: &Attempt,
    counts: &mut SplitCounts,
) -> Result<()> {
    let rows = batch.num_rows() as u64;
    let report = writer.write(batch).await?;
    let answered = report.written + report.skipped + report.rejects.len() as u64;
    if answered != rows {
        return Err(EngineError::failed(format!("the sink got {rows} rows and answered for {answered}")));
    }
    counts.written += report.written;
    counts.skipped += report.skipped;
    for reject in report.rejects {
        attempt.reject_writing(reject)?;
    }
    Ok(())
}

/// Fills in what the nodes of the plan have counted.
fn settle(job: &SplitJob, attempt: &Attempt, counts: &mut SplitCounts) {
    let totals = attempt.totals();
    let mut read = 0;
    let (mut filter_in, mut filter_out) = (0, 0);
    for (point, total) in job.points.iter().zip(&totals) {
        match point {
            CountPoint::Scanned => read += total.rows,
            CountPoint::FilterIn(_) => filter_in += total.rows,
            CountPoint::FilterOut(_) => filter_out += total.rows,
            CountPoint::Writer => counts.arrived += total.rows,
        }
    }
    let outside = attempt.rows_outside_ids();
    counts.rejected = attempt.rejected_reading() + attempt.rejected_writing();
    counts.scanned = read + outside + attempt.rejected_reading();
    counts.filtered = outside + u64::saturating_sub(filter_in, filter_out);
    counts.bytes_read = attempt.evidence().iter().map(|evidence| evidence.bytes).sum();
}

/// The counts must meet: silent loss is the worst thing that can happen.
fn meet(
    job: &SplitJob,
    counts: &SplitCounts,
    output: &SplitOutput,
    evidence: &[Evidence],
    split: &Split,
) -> Result<()> {
    let fail = |what: String| {
        Err(EngineError::failed(format!("counts do not meet: {what}"))
            .with_hint("nothing of this split was committed; please report this as a bug"))
    };
    if output.rows != counts.written {
        return fail(format!("{} rows were written, and {} were read back", counts.written, output.rows));
    }
    if job.exact {
        let accounted = counts.filtered + counts.written + counts.skipped + counts.rejected;
        if counts.scanned != accounted {
            return fail(format!(
                "scanned {} = filtered {} + written {} + skipped {} + rejected {} does not hold",
                counts.scanned, counts.filtered, counts.written, counts.skipped, counts.rejected
            ));
        }
        if split.id != GATHERED && evidence.len() != 1 {
            return fail(format!("{} proofs of the end for one split", evidence.len()));
        }
    }
    Ok(())
}

/// The figures of the scan, of each filter (with the projections below it), of what is above, and of the sink.
fn stages(totals: &[Totals], sink: StageFigures) -> Vec<StageFigures> {
    let mut below = Duration::ZERO;
    let mut stages = Vec::with_capacity(totals.len() + 1);
    for total in totals {
        let alone = nanoseconds(total.waited.saturating_sub(below));
        stages.push(StageFigures { nanoseconds: alone, rows: total.rows, bytes: total.bytes });
        below = below.max(total.waited);
    }
    stages.push(sink);
    stages
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

//! Writes the datasets of a run: a queue over all of them, with a bound on the splits that are open at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::intent::Begun;
use super::{OpenedPipeline, RunRequest};
use crate::compile::CompiledDataset;
use crate::error::{EngineError, ExitClass, Result};
use crate::exec::{RejectBudget, RetryPolicy, Shape, SinkExec, SplitJob, receipts_in};
use crate::stage::{DatasetOutcome, GATHERED, Receipt};

/// What all datasets of a run share while they are written.
#[derive(Debug)]
pub(super) struct Writing {
    pub compiled: Vec<CompiledDataset>,
    pub retry: RetryPolicy,
    pub budget: Arc<RejectBudget>,
    pub permits: Arc<Semaphore>,
}

/// Writes every dataset. One that fails for good does not stop the others.
pub(super) async fn write_all(
    request: &RunRequest<'_>,
    opened: &OpenedPipeline,
    begun: &Begun,
    writing: &Writing,
) -> Result<Vec<(DatasetOutcome, Option<EngineError>)>> {
    for dataset in &writing.compiled {
        request.progress.expect(dataset.source.rows.unwrap_or(0), expected_receipts(opened, dataset) as u64);
    }
    let away = AtomicBool::new(false);
    let outcomes = stream::iter(&writing.compiled)
        .map(|dataset| async {
            // Who stayed away through all retries of one dataset need not be waited for again: the run ends unfinished.
            if away.load(Relaxed) {
                return not_tried(dataset);
            }
            let earlier = begun.receipts.get(&dataset.sink.name).into_iter().flatten();
            let earlier = earlier.map(|(split, (number, receipt))| (split.clone(), (*number, Some(receipt.clone()))));
            let written = write_one(request, opened, begun, writing, dataset, earlier.collect()).await;
            if written.1.as_ref().is_some_and(|error| error.class() == ExitClass::Unreachable) {
                away.store(true, Relaxed);
            }
            written
        })
        .buffered(request.context.parallel.max(1))
        .collect::<Vec<_>>()
        .await;
    Ok(outcomes)
}

fn not_tried(dataset: &CompiledDataset) -> (DatasetOutcome, Option<EngineError>) {
    let message = "it was not tried: a server or store stayed away from another dataset";
    let error = EngineError::new(ExitClass::Unreachable, message);
    (
        DatasetOutcome { dataset: dataset.sink.clone(), receipts: Vec::new(), failure: Some(message.to_owned()) },
        Some(error),
    )
}

pub(super) fn gathered(opened: &OpenedPipeline, dataset: &CompiledDataset) -> bool {
    opened.sink.gathers() || matches!(dataset.shape, Shape::Gathered { .. })
}

fn expected_receipts(opened: &OpenedPipeline, dataset: &CompiledDataset) -> usize {
    if gathered(opened, dataset) { 1 } else { dataset.splits.len() }
}

/// Writes a dataset, or some splits of it. `earlier` has the receipts of earlier attempts with their numbers; none where the split must be
/// written again.
pub(super) async fn write_one(
    request: &RunRequest<'_>,
    opened: &OpenedPipeline,
    begun: &Begun,
    writing: &Writing,
    dataset: &CompiledDataset,
    earlier: BTreeMap<String, (u64, Option<Receipt>)>,
) -> (DatasetOutcome, Option<EngineError>) {
    let plan: Arc<dyn ExecutionPlan> = Arc::new(SinkExec::new(
        Arc::clone(&dataset.plan.plan),
        &dataset.shape,
        opened.sink.gathers(),
        Arc::new(SplitJob { earlier, ..job(request, opened, begun, writing, dataset) }),
    ));
    let receipts =
        collect(plan, opened.session.task_ctx()).await.and_then(|receipts| in_order(opened, dataset, receipts));
    let (receipts, error) = match receipts {
        Ok(receipts) => (receipts, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let failure = error.as_ref().map(ToString::to_string);
    (DatasetOutcome { dataset: dataset.sink.clone(), receipts, failure }, error)
}

fn job(
    request: &RunRequest<'_>,
    opened: &OpenedPipeline,
    begun: &Begun,
    writing: &Writing,
    dataset: &CompiledDataset,
) -> SplitJob {
    SplitJob {
        sink: Arc::clone(&opened.sink),
        state: opened.state.clone(),
        run: begun.intent.run_id.clone(),
        snapshot: begun.intent.snapshot_id.clone(),
        dataset: dataset.sink.clone(),
        points: dataset.plan.points.clone(),
        exact: matches!(dataset.shape, Shape::PerSplit { multiplies: false }),
        retry: writing.retry,
        budget: Arc::clone(&writing.budget),
        permits: Arc::clone(&writing.permits),
        progress: Arc::clone(&request.progress),
        earlier: BTreeMap::new(),
    }
}

/// Runs all partitions at once; the first error stops the others.
async fn collect(plan: Arc<dyn ExecutionPlan>, task: Arc<TaskContext>) -> Result<Vec<Receipt>> {
    let mut partitions = JoinSet::new();
    for partition in 0..plan.output_partitioning().partition_count() {
        let rows = plan.execute(partition, Arc::clone(&task))?;
        partitions.spawn(async move {
            let batches: Vec<_> = rows.try_collect().await?;
            let mut receipts = Vec::new();
            for batch in &batches {
                receipts.extend(receipts_in(batch)?);
            }
            Ok::<_, EngineError>(receipts)
        });
    }
    let mut receipts = Vec::new();
    while let Some(joined) = partitions.join_next().await {
        let part = joined.map_err(|error| EngineError::failed(format!("a worker of the run died: {error}")))?;
        receipts.extend(part?);
    }
    Ok(receipts)
}

/// Exactly one receipt for every split, in the order of the splits.
fn in_order(opened: &OpenedPipeline, dataset: &CompiledDataset, receipts: Vec<Receipt>) -> Result<Vec<Receipt>> {
    let mut by_split = BTreeMap::new();
    for receipt in receipts {
        let split = receipt.split.clone();
        if by_split.insert(split.clone(), receipt).is_some() {
            return Err(EngineError::failed(format!(
                "dataset {:?}: split {split:?} was written twice",
                dataset.sink.name
            )));
        }
    }
    let expected: Vec<&str> = if gathered(opened, dataset) {
        vec![GATHERED]
    } else {
        dataset.splits.iter().map(|split| split.id.as_str()).collect()
    };
    let mut ordered = Vec::with_capacity(expected.len());
    for split in &expected {
        let receipt = by_split.remove(*split).ok_or_else(|| {
            EngineError::failed(format!("dataset {:?}: split {split:?} has no receipt", dataset.sink.name))
        })?;
        ordered.push(receipt);
    }
    match by_split.into_keys().next() {
        None => Ok(ordered),
        Some(extra) => Err(EngineError::failed(format!(
            "dataset {:?}: a receipt for {extra:?}, which is no split",
            dataset.sink.name
        ))),
    }
}

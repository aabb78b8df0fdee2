//! `plan` and `run --dry-run`: everything that a run would do, without doing it.

use std::sync::Arc;

use futures::StreamExt;
use restow_spec::pipeline::Pipeline;
use serde::Serialize;

use crate::compile::{CompiledDataset, Compiler, Selection, StageColumns};
use crate::error::{EngineError, Result};
use crate::exec::{Attempt, RejectBudget, Shape};
use crate::progress::Progress;
use crate::run::{OpenedPipeline, open_pipeline};
use crate::stage::{Incoming, OpenContext, Pushdown, Registry};

/// What a run would do.
#[derive(Debug, Clone, Serialize)]
pub struct PlanReport {
    /// The pipeline's name.
    pub pipeline: String,
    /// The source and its address.
    pub source: String,
    /// How consistent the copy will be.
    pub consistency: String,
    /// The target.
    pub sink: String,
    /// Each dataset.
    pub datasets: Vec<DatasetPlan>,
    /// What the run would make and leave out at the target.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target: Vec<String>,
}

/// What a run would do with one dataset.
#[derive(Debug, Clone, Serialize)]
pub struct DatasetPlan {
    /// Its name.
    pub name: String,
    /// The columns after each stage.
    pub stages: Vec<StageColumns>,
    /// Filters that the source takes part in.
    pub pushed: Vec<PushedFilter>,
    /// What the source reads because of them, in its words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub at_source: Vec<String>,
    /// Filters that are evaluated here, on every row that the source gives.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evaluated_here: Vec<String>,
    /// Columns that are fetched.
    pub columns_read: Vec<String>,
    /// Columns that are never fetched.
    pub columns_left: Vec<String>,
    /// How many splits.
    pub splits: usize,
    /// Rows at the source, where it knows.
    pub rows: Option<u64>,
    /// Bytes at the source, where it knows.
    pub bytes: Option<u64>,
    /// Why splits are not written by themselves, where they are not.
    pub gathered: Option<String>,
    /// The physical plan below the sink.
    pub physical: String,
}

/// A filter and how far the source evaluates it.
#[derive(Debug, Clone, Serialize)]
pub struct PushedFilter {
    /// The filter.
    pub filter: String,
    /// How far.
    pub pushdown: Pushdown,
}

/// Opens source and sink, compiles every dataset, and runs nothing.
///
/// # Errors
/// The pipeline does not fit what is there.
pub async fn plan(
    pipeline: &Pipeline,
    registry: &Registry,
    context: &OpenContext,
    selection: &Selection,
) -> Result<PlanReport> {
    let (opened, compiled) = compile_all(pipeline, registry, context, selection).await?;
    let identity = opened.source.identity();
    let target = opened.sink.forecast(&incoming(&opened, &compiled)).await?;
    Ok(PlanReport {
        target,
        pipeline: pipeline.name.clone(),
        source: format!("{} {}", identity.kind, identity.address),
        consistency: identity.consistency,
        sink: opened.sink.describe(),
        datasets: compiled.into_iter().map(|dataset| dataset_plan(&opened, dataset)).collect(),
    })
}

/// Opens source and sink, creates nothing, and compiles every dataset.
///
/// # Errors
/// The pipeline does not fit what is there.
pub(crate) async fn compile_all(
    pipeline: &Pipeline,
    registry: &Registry,
    context: &OpenContext,
    selection: &Selection,
) -> Result<(OpenedPipeline, Vec<CompiledDataset>)> {
    let opened = open_pipeline(pipeline, registry, context).await?;
    let compiler = Compiler {
        registry,
        session: opened.session.clone(),
        stages: &pipeline.rows,
        selection,
        now: context.now,
        parallel: context.parallel,
    };
    let mut compiled = Vec::new();
    for dataset in opened.source.datasets().iter().filter(|dataset| selection.wants(&dataset.name)) {
        let splits = opened.source.splits(dataset, context.parallel).await?;
        compiled.push(compiler.dataset(&opened.source, dataset, splits, Some(opened.sink.as_ref())).await?);
    }
    opened.sink.check(&incoming(&opened, &compiled))?;
    Ok((opened, compiled))
}

/// What arrives at the sink.
pub(crate) fn incoming(opened: &OpenedPipeline, compiled: &[CompiledDataset]) -> Incoming {
    let datasets = compiled.iter().map(|dataset| dataset.sink.clone()).collect();
    Incoming { datasets, artifacts: opened.source.artifacts().to_vec() }
}

fn dataset_plan(opened: &OpenedPipeline, dataset: CompiledDataset) -> DatasetPlan {
    let because = match &dataset.shape {
        _ if opened.sink.gathers() => Some("the sink writes one file a dataset".to_owned()),
        Shape::Gathered { because } => Some(format!("{because} needs all rows")),
        Shape::PerSplit { .. } => None,
    };
    let left = dataset.source.schema.fields().iter().map(|field| field.name().clone());
    DatasetPlan {
        name: dataset.sink.name.clone(),
        pushed: dataset
            .pushed
            .iter()
            .map(|(filter, pushdown)| PushedFilter { filter: filter.clone(), pushdown: *pushdown })
            .collect(),
        at_source: dataset.at_source,
        evaluated_here: dataset.here,
        columns_left: left.filter(|name| !dataset.columns_read.contains(name)).collect(),
        columns_read: dataset.columns_read,
        splits: dataset.splits.len(),
        rows: dataset.source.rows,
        bytes: dataset.source.bytes,
        gathered: because.map(|because| format!("{because}: written as one stream, not resumable")),
        physical: datafusion::physical_plan::displayable(dataset.plan.plan.as_ref()).indent(false).to_string(),
        stages: dataset.stages,
    }
}

/// What a sample of one dataset showed.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// The dataset.
    pub dataset: String,
    /// Rows that would have reached the sink.
    pub rows: u64,
    /// Splits that were read for it.
    pub splits: usize,
    /// Things that were no rows.
    pub rejected: u64,
}

/// Reads real rows through the real plan, at most about `limit` a dataset, and writes nothing.
///
/// # Errors
/// Reading or a stage fails.
pub async fn sample(
    pipeline: &Pipeline,
    registry: &Registry,
    context: &OpenContext,
    selection: &Selection,
    limit: u64,
) -> Result<Vec<Sample>> {
    let (opened, compiled) = compile_all(pipeline, registry, context, selection).await?;
    let mut samples = Vec::new();
    for dataset in &compiled {
        samples.push(sample_one(&opened, dataset, limit).await?);
    }
    Ok(samples)
}

async fn sample_one(opened: &OpenedPipeline, dataset: &CompiledDataset, limit: u64) -> Result<Sample> {
    let budget = Arc::new(RejectBudget::new(u64::MAX));
    let attempt = Arc::new(Attempt::new(dataset.plan.points.len(), budget, Arc::new(Progress::default())));
    let mut sample = Sample { dataset: dataset.sink.name.clone(), rows: 0, splits: 0, rejected: 0 };
    let context = attempt.context(&opened.session.task_ctx());
    let whole = matches!(dataset.shape, Shape::Gathered { .. });
    let plans = if whole {
        vec![Ok(Arc::clone(&dataset.plan.plan))]
    } else {
        dataset.splits.iter().map(|split| crate::exec::rebind(&dataset.plan.plan, split)).collect()
    };
    for plan in plans {
        let mut rows = plan?.execute(0, Arc::clone(&context))?;
        sample.splits += 1;
        while sample.rows < limit {
            let Some(batch) = rows.next().await else { break };
            sample.rows += batch.map_err(EngineError::from)?.num_rows() as u64;
        }
        if sample.rows >= limit {
            break;
        }
    }
    sample.rejected = attempt.rejected_reading();
    Ok(sample)
}

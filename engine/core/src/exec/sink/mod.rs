//! The sink: every split gets its own output, receipt, retry and resume.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as PlanResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PlanProperties, ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt, stream};
use restow_store::repository::SnapshotId;
use restow_store::run_state::RunStateStore;
use tokio::sync::Semaphore;

use super::count::only_child;
use super::descriptor::splits_in;
use super::shape::leaf_of;
use super::{CountPoint, RejectBudget, Shape, rebind};
use crate::error::{EngineError, Result};
use crate::progress::Progress;
use crate::stage::{GATHERED, Receipt, Sink, SinkDataset, Split};

mod attempt;
mod record;
mod retry;

pub use record::receipt_of;
pub use retry::RetryPolicy;

/// Splits of a partition under way: one that is ending, and one that is read.
const AT_ONCE: usize = 2;

/// Everything that the splits of one dataset share.
pub struct SplitJob {
    /// The target.
    pub sink: Arc<dyn Sink>,
    /// Where receipts and rejects go.
    pub state: RunStateStore,
    /// The run.
    pub run: String,
    /// The snapshot that it makes.
    pub snapshot: SnapshotId,
    /// The dataset as the sink gets it.
    pub dataset: SinkDataset,
    /// What the counting nodes of the plan count.
    pub points: Vec<CountPoint>,
    /// Whether the counts in the middle must meet (not where rows are multiplied or gathered).
    pub exact: bool,
    /// How often and how long to retry.
    pub retry: RetryPolicy,
    /// How many rows the run may reject.
    pub budget: Arc<RejectBudget>,
    /// Bounds the splits of all datasets together that are being read; those that are ending are not counted.
    pub permits: Arc<Semaphore>,
    /// Live figures.
    pub progress: Arc<Progress>,
    /// Receipts of earlier attempts at the same run by split, each with its number; none where it no longer holds.
    pub earlier: BTreeMap<String, (u64, Option<Receipt>)>,
}

/// Writes what its input gives and yields one receipt a split, as JSON.
pub struct SinkExec {
    input: Arc<dyn ExecutionPlan>,
    job: Arc<SplitJob>,
    gathered: bool,
    properties: Arc<PlanProperties>,
}

impl SinkExec {
    /// The sink over a counted plan of the given shape. `gather` asks for one stream also where splits could be
    /// written by themselves.
    pub fn new(input: Arc<dyn ExecutionPlan>, shape: &Shape, gather: bool, job: Arc<SplitJob>) -> Self {
        let gathered = gather || matches!(shape, Shape::Gathered { .. });
        let input = if gathered && input.output_partitioning().partition_count() > 1 {
            Arc::new(CoalescePartitionsExec::new(input))
        } else {
            input
        };
        Self::with_input(input, gathered, job)
    }

    fn with_input(input: Arc<dyn ExecutionPlan>, gathered: bool, job: Arc<SplitJob>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(receipt_schema()),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { input, job, gathered, properties: Arc::new(properties) }
    }
}

impl fmt::Debug for SinkExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkExec")
            .field("dataset", &self.job.dataset.name)
            .field("gathered", &self.gathered)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for SinkExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SinkExec: dataset={}, to={}, gathered={}",
            self.job.dataset.name,
            self.job.sink.describe(),
            self.gathered
        )
    }
}

impl ExecutionPlan for SinkExec {
    fn name(&self) -> &'static str {
        "SinkExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> PlanResult<TreeNodeRecursion>,
    ) -> PlanResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::with_input(only_child(children)?, self.gathered, Arc::clone(&self.job))))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> PlanResult<SendableRecordBatchStream> {
        let receipts = if self.gathered {
            let all = Split { id: GATHERED.to_owned(), payload: serde_json::Value::Null, rows: None, bytes: None };
            let plan = Arc::clone(&self.input);
            let written = attempt::run_split(Arc::clone(&self.job), plan, all, Arc::new(Semaphore::new(1)), context);
            stream::once(written).boxed()
        } else {
            self.splits(partition, context)?
        };
        let batches = receipts.and_then(|receipt| async move { receipt_batch(&receipt) }).map_err(Into::into);
        Ok(Box::pin(RecordBatchStreamAdapter::new(receipt_schema(), batches)))
    }
}

impl SinkExec {
    /// One receipt after another for the splits of a partition. While one ends, the next is begun.
    fn splits(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<stream::BoxStream<'static, Result<Receipt>>> {
        let descriptors = leaf_of(&self.input)?.execute(partition, Arc::clone(&context))?;
        let (plan, job) = (Arc::clone(&self.input), Arc::clone(&self.job));
        let turn = Arc::new(Semaphore::new(1));
        Ok(descriptors
            .map(|batch| -> Result<_> { Ok(stream::iter(splits_in(&batch?)?).map(Ok)) })
            .try_flatten()
            .map_ok(move |split| {
                let (plan, job, context) = (Arc::clone(&plan), Arc::clone(&job), Arc::clone(&context));
                let turn = Arc::clone(&turn);
                async move {
                    let one = rebind(&plan, &split)?;
                    attempt::run_split(job, one, split, turn, context).await
                }
            })
            .try_buffered(AT_ONCE)
            .boxed())
    }
}

fn receipt_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("receipt", DataType::Utf8, false)]))
}

fn receipt_batch(receipt: &Receipt) -> Result<RecordBatch> {
    let text = serde_json::to_string(receipt).map_err(|error| EngineError::failed(format!("receipt: {error}")))?;
    let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
    Ok(RecordBatch::try_new(receipt_schema(), vec![column])?)
}

/// The receipts in a batch that a [`SinkExec`] has given.
///
/// # Errors
/// The batch is none of a sink's.
pub fn receipts_in(batch: &RecordBatch) -> Result<Vec<Receipt>> {
    let column = batch
        .column_by_name("receipt")
        .and_then(|column| column.as_any().downcast_ref::<StringArray>())
        .ok_or_else(|| EngineError::failed("the sink of the plan gave no receipts"))?;
    column
        .iter()
        .map(|text| {
            serde_json::from_str(text.unwrap_or_default())
                .map_err(|error| EngineError::failed(format!("a receipt cannot be read: {error}")))
        })
        .collect()
}

//! The scan: turns split descriptors into rows. An interior node, so that the identity of a split travels in data.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as PlanResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PlanProperties, ReplaceChildrenOptions,
};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use super::count::only_child;
use super::descriptor::splits_in;
use super::{Attempt, IdFilter};
use crate::error::{EngineError, Result};
use crate::record::under_schema;
use crate::stage::{Evidence, ReadRequest, Source, Split, SplitEvent, SplitStream};

/// What a scan reads, apart from the splits.
#[derive(Debug, Clone)]
pub(super) struct ScanSpec {
    pub source: Arc<dyn Source>,
    pub dataset: String,
    /// What the node gives.
    pub schema: SchemaRef,
    /// What the source is asked for: `schema`, and behind it the id column where `ids` needs it.
    pub read_schema: SchemaRef,
    pub filters: Vec<Expr>,
    pub ids: Option<Arc<IdFilter>>,
    pub limit: Option<usize>,
    pub batch_rows: usize,
    /// How many rows there are, where the source knows it and the scan gives all of them.
    pub rows: Option<usize>,
}

/// Reads the splits that its child lists.
#[derive(Debug)]
pub struct ScanExec {
    input: Arc<dyn ExecutionPlan>,
    spec: Arc<ScanSpec>,
    properties: Arc<PlanProperties>,
}

impl ScanExec {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, spec: Arc<ScanSpec>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&spec.schema)),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { input, spec, properties: Arc::new(properties) }
    }

    /// The filters that the source takes part in.
    pub fn pushed_filters(&self) -> &[Expr] {
        &self.spec.filters
    }

    /// The columns that are read.
    pub fn columns(&self) -> &SchemaRef {
        &self.spec.schema
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self.spec.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "ScanExec: dataset={}, columns=[{}]", self.spec.dataset, columns.join(", "))?;
        if !self.spec.filters.is_empty() {
            let filters: Vec<String> = self.spec.filters.iter().map(ToString::to_string).collect();
            write!(f, ", pushed=[{}]", filters.join(", "))?;
        }
        Ok(())
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &'static str {
        "ScanExec"
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
        Ok(Arc::new(Self::new(only_child(children)?, Arc::clone(&self.spec))))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    /// With the rows known, `count(*)` is answered without reading any.
    fn statistics_from_inputs(
        &self,
        _inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> PlanResult<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.spec.schema);
        if let (Some(rows), None) = (self.spec.rows, args.partition()) {
            statistics.num_rows = Precision::Exact(rows);
        }
        Ok(Arc::new(statistics))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> PlanResult<SendableRecordBatchStream> {
        let attempt = Attempt::of(&context)?;
        let spec = Arc::clone(&self.spec);
        let descriptors = self.input.execute(partition, Arc::clone(&context))?;
        let rows = descriptors
            .map(|batch| -> Result<_> { Ok(stream::iter(splits_in(&batch?)?).map(Ok)) })
            .try_flatten()
            .and_then(move |split| open(Arc::clone(&spec), split, Arc::clone(&context), Arc::clone(&attempt)))
            .try_flatten()
            .map_err(Into::into);
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.spec.schema), rows)))
    }
}

async fn open(
    spec: Arc<ScanSpec>,
    split: Split,
    task: Arc<TaskContext>,
    attempt: Arc<Attempt>,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let request = ReadRequest {
        dataset: spec.dataset.clone(),
        split: split.clone(),
        schema: Arc::clone(&spec.read_schema),
        filters: spec.filters.clone(),
        limit: if spec.ids.is_some() { None } else { spec.limit },
        batch_rows: spec.batch_rows,
        task,
    };
    let events = spec.source.read(request).await?;
    let reading = Reading { spec, split: split.id, events, attempt, seen: 0, ended: false };
    Ok(stream::try_unfold(
        reading,
        |mut reading| async move { Ok(reading.next().await?.map(|batch| (batch, reading))) },
    )
    .boxed())
}

/// A split being read. Holds the source to its word: the end is proven, and the counts meet.
struct Reading {
    spec: Arc<ScanSpec>,
    split: String,
    events: SplitStream,
    attempt: Arc<Attempt>,
    seen: u64,
    ended: bool,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            match self.events.next().await {
                Some(event) if self.ended => {
                    event?;
                    return Err(self.broken("gave more after it had said that this was the end"));
                }
                Some(Ok(SplitEvent::Rows(batch))) => {
                    self.seen += batch.num_rows() as u64;
                    return self.shape(batch).map(Some);
                }
                Some(Ok(SplitEvent::Reject(reject))) => {
                    self.seen += 1;
                    self.attempt.reject_reading(reject)?;
                }
                Some(Ok(SplitEvent::End(evidence))) => self.end(evidence)?,
                Some(Err(error)) => return Err(error),
                None if self.ended => return Ok(None),
                None => return Err(self.broken("stopped without a proof that this was the end")),
            }
        }
    }

    fn end(&mut self, evidence: Evidence) -> Result<()> {
        if let Some(rows) = evidence.rows
            && rows != self.seen
        {
            return Err(self.broken(&format!("counted {rows} rows, and {} arrived", self.seen)));
        }
        self.attempt.progress().add_bytes(evidence.bytes);
        self.attempt.prove(evidence);
        self.ended = true;
        Ok(())
    }

    /// Checks the columns, and takes the ids asked for.
    fn shape(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let wanted = &self.spec.read_schema;
        let fits = batch.num_columns() == wanted.fields().len()
            && batch
                .columns()
                .iter()
                .zip(wanted.fields())
                .all(|(column, field)| column.data_type() == field.data_type());
        if !fits {
            return Err(self.broken("gave columns that differ from the ones of its schema"));
        }
        let batch = under_schema(batch, wanted).map_err(|error| self.broken(error.message()))?;
        let Some(ids) = &self.spec.ids else { return Ok(batch) };
        let index = wanted.index_of(&ids.column)?;
        let mask = ids.mask(batch.column(index))?;
        let kept = filter_record_batch(&batch, &mask)?;
        self.attempt.outside_ids((batch.num_rows() - kept.num_rows()) as u64);
        let columns: Vec<usize> = (0..self.spec.schema.fields().len()).collect();
        under_schema(kept.project(&columns)?, &self.spec.schema)
    }

    fn broken(&self, what: &str) -> EngineError {
        EngineError::failed(format!("dataset {:?}, split {:?}: the source {what}", self.spec.dataset, self.split))
            .with_hint("nothing was committed; this is a fault of the source or its connector")
    }
}

//! Counting nodes: above the scan, on both sides of every filter, below the writer. Each counts by itself, so that the
//! figures can be held against each other; none is computed from the others.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as PlanResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use futures::{StreamExt, stream};
use serde::Serialize;

use super::{Attempt, ScanExec};
use crate::error::Result;

/// What a counting node counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CountPoint {
    /// Rows that come out of the scan.
    Scanned,
    /// Rows that go into a filter, numbered from the scan upwards.
    FilterIn(usize),
    /// Rows that come out of it.
    FilterOut(usize),
    /// Rows that go to the writer.
    Writer,
}

/// Passes batches on and counts them.
#[derive(Debug)]
pub struct CountExec {
    input: Arc<dyn ExecutionPlan>,
    point: CountPoint,
    number: usize,
}

/// A plan with its counting nodes, and what each of them counts.
#[derive(Debug, Clone)]
pub struct CountedPlan {
    /// The plan.
    pub plan: Arc<dyn ExecutionPlan>,
    /// What the node of each number counts.
    pub points: Vec<CountPoint>,
}

/// Puts counting nodes into an optimised plan.
///
/// # Errors
/// A node of the plan refuses new children.
pub fn count_plan(plan: Arc<dyn ExecutionPlan>) -> Result<CountedPlan> {
    let mut points = Vec::new();
    let mut filters = 0;
    let inner = insert(plan, &mut points, &mut filters)?;
    let plan = wrap(inner, CountPoint::Writer, &mut points);
    Ok(CountedPlan { plan, points })
}

fn insert(
    plan: Arc<dyn ExecutionPlan>,
    points: &mut Vec<CountPoint>,
    filters: &mut usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    if plan.downcast_ref::<ScanExec>().is_some() {
        return Ok(wrap(plan, CountPoint::Scanned, points));
    }
    let is_filter = plan.downcast_ref::<FilterExec>().is_some();
    let mut children = Vec::new();
    for child in plan.children() {
        children.push(insert(Arc::clone(child), points, filters)?);
    }
    if children.is_empty() {
        return Ok(plan);
    }
    let number = *filters;
    if is_filter {
        *filters += 1;
        children = children.into_iter().map(|child| wrap(child, CountPoint::FilterIn(number), points)).collect();
    }
    let plan = plan.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))?;
    Ok(if is_filter { wrap(plan, CountPoint::FilterOut(number), points) } else { plan })
}

fn wrap(input: Arc<dyn ExecutionPlan>, point: CountPoint, points: &mut Vec<CountPoint>) -> Arc<dyn ExecutionPlan> {
    let number = points.len();
    points.push(point);
    Arc::new(CountExec { input, point, number })
}

impl DisplayAs for CountExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CountExec: {:?}", self.point)
    }
}

impl ExecutionPlan for CountExec {
    fn name(&self) -> &'static str {
        "CountExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
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
        let input = only_child(children)?;
        Ok(Arc::new(Self { input, point: self.point, number: self.number }))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> PlanResult<SendableRecordBatchStream> {
        let attempt = Attempt::of(&context)?;
        let input = self.input.execute(partition, context)?;
        let schema: SchemaRef = input.schema();
        let number = self.number;
        let scanned = self.point == CountPoint::Scanned;
        let counted = stream::unfold((input, attempt), move |(mut input, attempt)| async move {
            let began = Instant::now();
            let item = input.next().await;
            if let Some(point) = attempt.point(number) {
                point.add_time(began.elapsed());
                if let Some(Ok(batch)) = &item {
                    point.add(batch.num_rows(), batch.get_array_memory_size());
                }
            }
            if scanned && let Some(Ok(batch)) = &item {
                attempt.progress().add_rows(batch.num_rows() as u64);
            }
            item.map(|item| (item, (input, attempt)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, counted)))
    }
}

/// The child of a node that has exactly one.
pub(super) fn only_child(children: Vec<Arc<dyn ExecutionPlan>>) -> PlanResult<Arc<dyn ExecutionPlan>> {
    let mut children = children.into_iter();
    match (children.next(), children.next()) {
        (Some(child), None) => Ok(child),
        _ => datafusion::common::internal_err!("this node has exactly one child"),
    }
}

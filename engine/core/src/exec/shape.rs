//! The shape of a plan below a sink: whether every split can be written by itself.

use std::sync::Arc;

use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties, ReplaceChildrenOptions,
};

use super::{CountExec, ScanExec, descriptor_leaf};
use crate::error::{EngineError, Result};
use crate::stage::Split;

/// Whether every split can be written by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// Only map nodes between scan and sink: every split has its own output, receipt, retry and resume.
    PerSplit {
        /// Whether rows are multiplied on the way (unnest), so that the counts in the middle do not meet by design.
        multiplies: bool,
    },
    /// This node needs all rows at once: one output, not resumable.
    Gathered {
        /// The node, for messages.
        because: String,
    },
}

impl Shape {
    /// What multiplies or merges rows between scan and sink, so that their numbers need not be the same. A node that only
    /// orders rows does not.
    pub fn changes_count(&self) -> Option<String> {
        match self {
            Self::PerSplit { multiplies: true } => Some("UnnestExec".to_owned()),
            Self::PerSplit { multiplies: false } => None,
            Self::Gathered { because } if ["SortExec", "SortPreservingMergeExec"].contains(&because.as_str()) => None,
            Self::Gathered { because } => Some(because.clone()),
        }
    }
}

/// Finds the shape of a plan. Only nodes that are known to map rows one by one count as such; anything else gathers.
pub fn shape_of(plan: &Arc<dyn ExecutionPlan>) -> Shape {
    let mut node = plan;
    let mut multiplies = false;
    loop {
        if node.downcast_ref::<ScanExec>().is_some() {
            return Shape::PerSplit { multiplies };
        }
        multiplies |= node.downcast_ref::<UnnestExec>().is_some();
        let children = node.children();
        let [child] = children.as_slice() else { return gathered(node) };
        let same_width = node.output_partitioning().partition_count() == child.output_partitioning().partition_count();
        if !maps_rows(node) || node.fetch().is_some() || !same_width {
            return gathered(node);
        }
        node = child;
    }
}

fn gathered(node: &Arc<dyn ExecutionPlan>) -> Shape {
    Shape::Gathered { because: node.name().to_owned() }
}

fn maps_rows(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.downcast_ref::<FilterExec>().is_some()
        || node.downcast_ref::<ProjectionExec>().is_some()
        || node.downcast_ref::<UnnestExec>().is_some()
        || node.downcast_ref::<CooperativeExec>().is_some()
        || node.downcast_ref::<CountExec>().is_some()
}

/// The leaf with the split descriptors below a plan of map nodes.
///
/// # Errors
/// The plan has no such leaf.
pub(super) fn leaf_of(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let mut node = Arc::clone(plan);
    loop {
        if node.downcast_ref::<DataSourceExec>().is_some() {
            return Ok(node);
        }
        let children = node.children();
        let [child] = children.as_slice() else { return Err(not_ours(&node)) };
        let child = Arc::clone(child);
        node = child;
    }
}

/// The same plan for one split only: fresh nodes over a leaf that holds one descriptor, to be run as partition 0.
///
/// # Errors
/// A node of the plan refuses new children.
pub fn rebind(plan: &Arc<dyn ExecutionPlan>, split: &Split) -> Result<Arc<dyn ExecutionPlan>> {
    if plan.downcast_ref::<DataSourceExec>().is_some() {
        return descriptor_leaf(std::slice::from_ref(split), 1);
    }
    let children = plan.children();
    let [child] = children.as_slice() else { return Err(not_ours(plan)) };
    let child = rebind(child, split)?;
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Ok(Arc::clone(plan).replace_children(vec![child], options)?)
}

fn not_ours(node: &Arc<dyn ExecutionPlan>) -> EngineError {
    EngineError::failed(format!(
        "plan node {} stands between a scan and a sink that writes split by split",
        node.name()
    ))
    .with_hint("this is a fault of restow; nothing was written")
}

//! The leaf of every plan: one row a split, in memory. A custom leaf would be run whole by every task of a cluster,
//! which duplicates rows without an error; this one can be cut.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::physical_plan::ExecutionPlan;

use crate::error::{EngineError, Result};
use crate::stage::Split;

/// The only column of the leaf: a [`Split`] as JSON.
pub const SPLIT_COLUMN: &str = "split";

/// A leaf that spreads the splits over at most `partitions` partitions.
///
/// # Errors
/// A split cannot be written as JSON.
pub fn descriptor_leaf(splits: &[Split], partitions: usize) -> Result<Arc<dyn ExecutionPlan>> {
    let width = partitions.min(splits.len()).max(1);
    let mut dealt = vec![Vec::new(); width];
    for (index, split) in splits.iter().enumerate() {
        let text = serde_json::to_string(split)
            .map_err(|error| EngineError::failed(format!("split {:?}: {error}", split.id)))?;
        if let Some(partition) = dealt.get_mut(index % width) {
            partition.push(text);
        }
    }
    let partitions = dealt.into_iter().map(batch).collect::<Result<Vec<_>>>()?;
    let leaf = MemorySourceConfig::try_new_exec(&partitions, leaf_schema(), None)?;
    Ok(leaf)
}

/// The splits in a batch of the leaf.
///
/// # Errors
/// The batch is none of ours.
pub(super) fn splits_in(batch: &RecordBatch) -> Result<Vec<Split>> {
    let column = batch
        .column_by_name(SPLIT_COLUMN)
        .and_then(|column| column.as_any().downcast_ref::<StringArray>())
        .ok_or_else(|| EngineError::failed("the leaf of the plan holds no splits"))?;
    column
        .iter()
        .map(|text| {
            serde_json::from_str(text.unwrap_or_default())
                .map_err(|error| EngineError::failed(format!("a split of the plan cannot be read: {error}")))
        })
        .collect()
}

fn leaf_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(SPLIT_COLUMN, DataType::Utf8, false)]))
}

/// All descriptors of a partition in one batch: plans stay small when they travel.
fn batch(texts: Vec<String>) -> Result<Vec<RecordBatch>> {
    let column: ArrayRef = Arc::new(StringArray::from(texts));
    Ok(vec![RecordBatch::try_new(leaf_schema(), vec![column])?])
}

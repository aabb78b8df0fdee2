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

/// A leaf that spreads the splits over at most `partitions` partitions, so that none of them has much more to read than another.
///
/// # Errors
/// A split cannot be written as JSON.
pub fn descriptor_leaf(splits: &[Split], partitions: usize) -> Result<Arc<dyn ExecutionPlan>> {
    let partitions = dealt(splits, partitions)
        .into_iter()
        .map(|splits| batch(splits.into_iter().map(text).collect::<Result<_>>()?))
        .collect::<Result<Vec<_>>>()?;
    let leaf = MemorySourceConfig::try_new_exec(&partitions, leaf_schema(), None)?;
    Ok(leaf)
}

/// The splits of each partition: the largest are dealt first, each to the partition that has the fewest rows so far. Within a partition they
/// keep their order. Where the rows of some are not known, all count the same.
fn dealt(splits: &[Split], partitions: usize) -> Vec<Vec<&Split>> {
    let width = partitions.min(splits.len()).max(1);
    let sizes: Option<Vec<u64>> = splits.iter().map(|split| split.rows).collect();
    let sizes = sizes.unwrap_or_else(|| vec![1; splits.len()]);
    let mut order: Vec<(usize, u64)> = sizes.into_iter().enumerate().collect();
    order.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
    // Rows, number of splits, and the places of these.
    let mut dealt: Vec<(u64, usize, Vec<usize>)> = vec![(0, 0, Vec::new()); width];
    for (index, rows) in order {
        if let Some((sum, count, own)) = dealt.iter_mut().min_by_key(|(sum, count, _)| (*sum, *count)) {
            *sum = sum.saturating_add(rows);
            *count += 1;
            own.push(index);
        }
    }
    let in_order = |(_, _, mut own): (u64, usize, Vec<usize>)| {
        own.sort_unstable();
        own.into_iter().filter_map(|index| splits.get(index)).collect()
    };
    dealt.into_iter().map(in_order).collect()
}

fn text(split: &Split) -> Result<String> {
    serde_json::to_string(split).map_err(|error| EngineError::failed(format!("split {:?}: {error}", split.id)))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn split(id: &str, rows: Option<u64>) -> Split {
        Split { id: id.to_owned(), payload: serde_json::Value::Null, rows, bytes: None }
    }

    fn ids(rows: &[Option<u64>], partitions: usize) -> Vec<String> {
        let splits: Vec<Split> = (0..).zip(rows).map(|(number, rows)| split(&format!("{number}"), *rows)).collect();
        let partitions = dealt(&splits, partitions).into_iter();
        partitions.map(|own| own.iter().map(|split| split.id.as_str()).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn no_partition_has_much_more_than_another() {
        assert_eq!(ids(&[Some(10), Some(10), Some(30), Some(20), Some(10)], 2), ["1 2", "0 3 4"]);
        assert_eq!(ids(&[Some(5); 5], 2), ["0 2 4", "1 3"]);
        assert_eq!(ids(&[Some(0); 4], 2), ["0 2", "1 3"]);
        // Without sizes: one after the other.
        assert_eq!(ids(&[Some(1_000), None, Some(1), Some(1)], 2), ["0 2", "1 3"]);
        assert_eq!(ids(&[Some(u64::MAX), Some(u64::MAX), Some(u64::MAX)], 2), ["0 2", "1"]);
        assert_eq!(ids(&[Some(1)], 8), ["0"]);
        assert_eq!(ids(&[], 8), [""]);
    }
}

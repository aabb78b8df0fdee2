//! Partitioned exports: rows go to folders that are named after values, `country=FR/`, as Hive does it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use restow_core::stage::SinkDataset;
use restow_core::{EngineError, Result};

use super::super::source::NULL;
use super::part;

/// Longest value that becomes the name of a folder, in bytes of the name: file systems take 255 for the whole of it.
const MAX_VALUE: usize = 200;

/// The columns that stand inside the files.
pub(super) fn inside(schema: &SchemaRef, by: &[String]) -> SchemaRef {
    let kept = schema.fields().iter().filter(|field| !by.contains(field.name())).cloned();
    Arc::new(Schema::new_with_metadata(kept.collect::<Vec<_>>(), schema.metadata().clone()))
}

/// Checks that a dataset can be partitioned.
///
/// # Errors
/// It lacks a column, the type of one has no exact text, or nothing else would be left.
pub(super) fn check(dataset: &SinkDataset, by: &[String]) -> Result<()> {
    for column in by {
        let wrong = |reason: String| {
            EngineError::usage(format!("dataset {:?} cannot be partitioned by {column:?}: {reason}", dataset.name))
        };
        let field = dataset.schema.field_with_name(column).map_err(|_| {
            let names: Vec<&str> = dataset.schema.fields().iter().map(|field| field.name().as_str()).collect();
            wrong("it has no such column".to_owned()).with_hint(format!("its columns are {}", names.join(", ")))
        })?;
        let exact = field.data_type().is_integer()
            || matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
            || matches!(field.data_type(), DataType::Boolean | DataType::Date32);
        if !exact {
            let reason = format!("its type {} has no exact text", restow_core::compile::type_name(field.data_type()));
            return Err(wrong(reason).with_hint("partition by text, whole numbers, dates or booleans; or cast it"));
        }
    }
    if by.len() >= dataset.schema.fields().len() {
        return Err(EngineError::usage(format!("dataset {:?}: partitioned by all of its columns", dataset.name))
            .with_hint("leave at least one column inside the files"));
    }
    Ok(())
}

/// The folder of rows without values, for a dataset without rows.
pub(super) fn empty_folder(by: &[String]) -> String {
    by.iter().map(|column| part(&format!("{column}={NULL}"))).collect::<Vec<_>>().join("/")
}

/// The rows of each folder, without the columns that name it.
///
/// # Errors
/// A value cannot be the name of a folder without loss.
pub(super) fn split(batch: RecordBatch, by: &[String]) -> Result<Vec<(String, RecordBatch)>> {
    if by.is_empty() {
        return Ok(vec![(String::new(), batch)]);
    }
    let mut rows: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (row, folder) in folders(&batch, by)?.into_iter().enumerate() {
        rows.entry(folder)
            .or_default()
            .push(u32::try_from(row).map_err(|_| EngineError::failed("a batch is too long"))?);
    }
    let schema = batch.schema();
    let kept: Vec<usize> = (0..schema.fields().len()).filter(|at| !by.contains(schema.field(*at).name())).collect();
    let batch = batch.project(&kept)?;
    let parts =
        rows.into_iter().map(|(folder, rows)| Ok((folder, take_record_batch(&batch, &UInt32Array::from(rows))?)));
    parts.collect()
}

/// The folder of each row.
fn folders(batch: &RecordBatch, by: &[String]) -> Result<Vec<String>> {
    let mut folders = vec![String::new(); batch.num_rows()];
    for column in by {
        let array = batch
            .column_by_name(column)
            .ok_or_else(|| EngineError::failed(format!("there is no column {column:?} to partition by")))?;
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(array.as_ref(), &options)?;
        for (row, folder) in folders.iter_mut().enumerate() {
            let name = match array.is_null(row) {
                true => format!("{column}={NULL}"),
                false => format!("{column}={}", value(column, formatter.value(row).try_to_string()?)?),
            };
            let gap = if folder.is_empty() { "" } else { "/" };
            let _ = write!(folder, "{gap}{}", part(&name));
        }
    }
    Ok(folders)
}

/// A value that is read back from a folder's name as it is.
fn value(column: &str, value: String) -> Result<String> {
    // Readers take out percent encoding once or twice, and take the one name for null.
    let reason = match value.as_str() {
        NULL => "it stands for null",
        text if text.contains('%') => "it has a percent sign",
        text if part(text).len() > MAX_VALUE => "it is too long",
        _ => return Ok(value),
    };
    Err(EngineError::failed(format!("column {column:?}: {value:?} cannot be the name of a folder: {reason}"))
        .with_hint("partition by another column, or filter these rows"))
}

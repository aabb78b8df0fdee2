//! Rows of a pipeline file as a table, and back.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::Schema;
use arrow::json::reader::{ReaderBuilder, infer_json_schema_from_iterator};
use arrow::json::writer::{LineDelimited, WriterBuilder};
use serde_json::Value;

use crate::error::{EngineError, Result};

/// One batch of the rows; types by inference, nested objects as JSON text.
pub(super) fn batch_of(rows: &[Value]) -> Result<RecordBatch> {
    let flat: Vec<Value> = rows.iter().map(flatten).collect();
    let schema = infer_json_schema_from_iterator(flat.iter().map(Ok::<_, arrow::error::ArrowError>))?;
    if schema.fields().is_empty() {
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        return Ok(RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?);
    }
    let schema = Arc::new(schema);
    let mut text = Vec::new();
    for row in &flat {
        serde_json::to_writer(&mut text, row)
            .map_err(|error| EngineError::usage(format!("a row of the test: {error}")))?;
        text.push(b'\n');
    }
    let reader = ReaderBuilder::new(Arc::clone(&schema)).with_batch_size(rows.len().max(1)).build(Cursor::new(text))?;
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

fn flatten(row: &Value) -> Value {
    let Value::Object(fields) = row else { return row.clone() };
    let flat = fields.iter().map(|(name, value)| {
        let value = if value.is_object() { Value::String(value.to_string()) } else { value.clone() };
        (name.clone(), value)
    });
    Value::Object(flat.collect())
}

/// The rows as JSON objects, nulls included.
pub(super) fn rows_of(batches: &[RecordBatch]) -> Result<Vec<Value>> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    let text = writer.into_inner();
    serde_json::Deserializer::from_slice(&text)
        .into_iter::<Value>()
        .map(|row| row.map_err(|error| EngineError::failed(format!("a row of the result: {error}"))))
        .collect()
}

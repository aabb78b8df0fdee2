//! How wide a row is, so that batches and row groups are sized in bytes: a row with an embedding is wide.

use arrow::datatypes::{DataType, Schema};

/// What a batch should hold in memory, in bytes.
const BATCH_BYTES: usize = 4 << 20;
/// Batches are never longer than this many rows, DataFusion's own default.
const MAX_BATCH_ROWS: usize = 8192;
/// Guess for values of variable length (text, JSON, binary), in bytes.
const VARIABLE_WIDTH: usize = 48;
/// Guess for the number of elements of a list of variable length.
const LIST_LENGTH: usize = 8;

/// An estimate of the bytes of one row in memory.
pub fn row_bytes(schema: &Schema) -> usize {
    schema.fields().iter().map(|field| width(field.data_type())).sum::<usize>().max(1)
}

/// How many rows make a batch of about 4 MiB; at least 16, at most 8192.
pub fn batch_rows(schema: &Schema) -> usize {
    (BATCH_BYTES / row_bytes(schema)).clamp(16, MAX_BATCH_ROWS)
}

fn width(data_type: &DataType) -> usize {
    match data_type {
        DataType::FixedSizeList(item, length) => width(item.data_type()) * usize::try_from(*length).unwrap_or(0),
        DataType::FixedSizeBinary(length) => usize::try_from(*length).unwrap_or(0),
        DataType::List(item) | DataType::LargeList(item) => LIST_LENGTH * width(item.data_type()),
        DataType::Struct(fields) => fields.iter().map(|field| width(field.data_type())).sum(),
        other => other.primitive_width().unwrap_or(VARIABLE_WIDTH),
    }
}

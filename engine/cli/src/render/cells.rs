//! Arrow values as text: for tables with long lists shortened, for CSV in full.

use arrow::array::{Array, ArrayRef, FixedSizeListArray, GenericListArray, OffsetSizeTrait, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::table::Table;

/// What stands for a null in a table.
const NULL: &str = "null";
/// Lists up to this length are shown whole.
const WHOLE_LIST: usize = 4;

/// An empty table with the columns of a schema.
pub fn table_of(schema: &SchemaRef) -> Table {
    Table::with_columns(schema.fields().iter().map(|field| (field.name().clone(), field.data_type().is_numeric())))
}

/// Adds the rows of a batch, lists in short: `[0.12, -0.30, … 384]`.
pub fn add_rows(table: &mut Table, batch: &RecordBatch) -> Result<(), ArrowError> {
    let options = FormatOptions::default().with_null(NULL);
    let formatters = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
    let formatters = formatters.collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        let mut cells = Vec::with_capacity(formatters.len());
        for (column, formatter) in batch.columns().iter().zip(&formatters) {
            cells.push(match short_list(column, row)? {
                Some(short) => short,
                None => formatter.value(row).try_to_string()?,
            });
        }
        table.row(cells);
    }
    Ok(())
}

/// A list that is too long to be shown whole.
fn short_list(column: &ArrayRef, row: usize) -> Result<Option<String>, ArrowError> {
    if column.is_null(row) {
        return Ok(None);
    }
    let any = column.as_any();
    let items = match column.data_type() {
        DataType::FixedSizeList(..) => any.downcast_ref::<FixedSizeListArray>().map(|lists| lists.value(row)),
        DataType::List(_) => items_of::<i32>(column, row),
        DataType::LargeList(_) => items_of::<i64>(column, row),
        _ => None,
    };
    let Some(items) = items.filter(|items| items.len() > WHOLE_LIST) else { return Ok(None) };
    let first = |index: usize| -> Result<String, ArrowError> {
        let item = items.slice(index, 1);
        match item.data_type() {
            DataType::Float16 | DataType::Float32 | DataType::Float64 if item.is_valid(0) => {
                let wide = arrow::compute::cast(&item, &DataType::Float64)?;
                let text = ArrayFormatter::try_new(&wide, &FormatOptions::default())?.value(0).try_to_string()?;
                Ok(text.parse::<f64>().map_or(text, |value| format!("{value:.2}")))
            }
            _ => ArrayFormatter::try_new(&item, &FormatOptions::default().with_null(NULL))?.value(0).try_to_string(),
        }
    };
    Ok(Some(format!("[{}, {}, … {}]", first(0)?, first(1)?, items.len())))
}

fn items_of<O: OffsetSizeTrait>(column: &ArrayRef, row: usize) -> Option<ArrayRef> {
    column.as_any().downcast_ref::<GenericListArray<O>>().map(|lists| lists.value(row))
}

/// The names of the columns as a line of CSV (RFC 4180, but with a bare line feed).
pub fn csv_header(schema: &SchemaRef) -> String {
    csv_line(schema.fields().iter().map(|field| Some(field.name().clone())))
}

/// The rows of a batch as CSV. A null is nothing, an empty text is `""`.
pub fn csv_rows(batch: &RecordBatch) -> Result<String, ArrowError> {
    let options = FormatOptions::default();
    let formatters = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
    let formatters = formatters.collect::<Result<Vec<_>, _>>()?;
    let mut out = String::new();
    for row in 0..batch.num_rows() {
        let mut cells = Vec::with_capacity(formatters.len());
        for (column, formatter) in batch.columns().iter().zip(&formatters) {
            cells.push(if column.is_null(row) { None } else { Some(formatter.value(row).try_to_string()?) });
        }
        out.push_str(&csv_line(cells));
    }
    Ok(out)
}

fn csv_line(cells: impl IntoIterator<Item = Option<String>>) -> String {
    let quoted = cells.into_iter().map(|cell| match cell {
        None => String::new(),
        Some(text) if text.is_empty() || text.contains([',', '"', '\n', '\r']) => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        Some(text) => text,
    });
    let mut line = quoted.collect::<Vec<_>>().join(",");
    line.push('\n');
    line
}

/// The rows of a batch as JSON values, nulls included.
pub fn json_rows(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let builder = arrow::json::WriterBuilder::new().with_explicit_nulls(true);
    let mut writer = builder.build::<_, arrow::json::writer::LineDelimited>(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{Field, Float32Type, Schema};

    use super::*;

    fn batch() -> RecordBatch {
        let vectors = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
            [Some([0.125, -0.3, 1.0, 2.0, 3.0].map(Some)), None],
            5,
        );
        let fields = [
            Field::new("n", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
            Field::new("v", vectors.data_type().clone(), true),
        ];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![Some(1), None])),
            Arc::new(StringArray::from(vec!["a,\"b\"", ""])),
            Arc::new(vectors),
        ];
        RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns).unwrap()
    }

    #[test]
    fn as_table() {
        let batch = batch();
        let mut table = table_of(&batch.schema());
        add_rows(&mut table, &batch).unwrap();
        let text = table.render();
        assert!(text.contains("[0.12, -0.30, … 5]") || text.contains("[0.13, -0.30, … 5]"), "{text}");
        assert!(text.lines().any(|line| line.starts_with("null")), "{text}");
    }

    #[test]
    fn as_csv_and_json() {
        let batch = batch().project(&[0, 1]).unwrap();
        assert_eq!(csv_header(&batch.schema()), "n,name\n");
        assert_eq!(csv_rows(&batch).unwrap(), "1,\"a,\"\"b\"\"\"\n,\"\"\n");
        let lines = String::from_utf8(json_rows(&batch).unwrap()).unwrap();
        assert_eq!(lines, "{\"n\":1,\"name\":\"a,\\\"b\\\"\"}\n{\"n\":null,\"name\":\"\"}\n");
    }
}

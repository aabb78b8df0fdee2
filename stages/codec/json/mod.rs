//! JSON lines and JSON arrays: rows to text that decodes to the same values.

mod value;

use arrow::array::{AsArray, ListArray, RecordBatch};
use arrow::datatypes::{DataType, Field, SchemaRef, UInt16Type};
use bytes::Bytes;
use restow_core::record::{EXPLICIT_NULLS, NULL_NUMBER, RESERVED_PREFIX, TEXT_PREFIX};
use restow_core::{EngineError, Result};

use super::compression::Compressor;
use super::encode::BatchWriter;
use super::options::StreamCompression;
use value::Printer;

pub(super) use value::unsupported;

/// Text that is handed to the compression at once, in bytes.
const CHUNK: usize = 256 << 10;

/// The writer of one file.
pub(super) struct JsonFile {
    output: Compressor,
    text: Vec<u8>,
    columns: Vec<Column>,
    array: bool,
    rows: u64,
}

/// A column that is written.
struct Column {
    at: usize,
    field: Field,
    /// `"name":`
    key: Vec<u8>,
    /// Where its texts are kept, if anywhere.
    text_at: Option<usize>,
    /// Its number among the explicit nulls.
    number: Option<u16>,
    /// Where those are.
    nulls_at: Option<usize>,
}

impl JsonFile {
    pub(super) fn new(
        schema: &SchemaRef,
        array: bool,
        compression: StreamCompression,
        level: Option<u32>,
    ) -> Result<Self> {
        let mut columns = Vec::new();
        for (at, field) in schema.fields().iter().enumerate() {
            if field.name().starts_with(RESERVED_PREFIX) {
                continue;
            }
            let mut key = serde_json::to_vec(field.name()).map_err(|error| EngineError::failed(error.to_string()))?;
            key.push(b':');
            columns.push(Column {
                at,
                key,
                text_at: schema.index_of(&format!("{TEXT_PREFIX}{}", field.name())).ok(),
                number: field.metadata().get(NULL_NUMBER).and_then(|number| number.parse().ok()),
                nulls_at: schema.index_of(EXPLICIT_NULLS).ok(),
                field: Field::clone(field),
            });
        }
        let output = Compressor::new(compression, level)?;
        Ok(Self { output, text: Vec::new(), columns, array, rows: 0 })
    }

    fn row(&mut self, row: usize, printers: &[Printer<'_>]) -> Result<(), String> {
        let separator: &[u8] = match (self.array, self.rows) {
            (false, _) => b"",
            (true, 0) => b"[\n",
            (true, _) => b",\n",
        };
        self.text.extend_from_slice(separator);
        self.text.push(b'{');
        let mut first = true;
        for (column, printer) in self.columns.iter().zip(printers) {
            if printer.is_absent(row) {
                continue;
            }
            if !std::mem::take(&mut first) {
                self.text.push(b',');
            }
            self.text.extend_from_slice(&column.key);
            printer
                .print(row, &mut self.text)
                .map_err(|reason| format!("column {:?}: {reason}", column.field.name()))?;
        }
        self.text.push(b'}');
        if !self.array {
            self.text.push(b'\n');
        }
        self.rows += 1;
        Ok(())
    }

    fn pass_on(&mut self) -> Result<()> {
        self.output.write(&self.text)?;
        self.text.clear();
        Ok(())
    }
}

impl BatchWriter for JsonFile {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let printers: Vec<Printer<'_>> =
            self.columns.iter().map(|column| printer(column, batch)).collect::<Result<_>>()?;
        for row in 0..batch.num_rows() {
            let number = self.rows + 1;
            self.row(row, &printers).map_err(|reason| {
                EngineError::failed(format!("row {number} of the file cannot be written as JSON: {reason}")).with_hint(
                    "use the codec parquet or arrow, which hold every value, or change the value in a transform",
                )
            })?;
            if self.text.len() >= CHUNK {
                self.pass_on()?;
            }
        }
        self.pass_on()
    }

    fn take(&mut self) -> Vec<Bytes> {
        vec![self.output.take().into()]
    }

    fn buffered(&self) -> usize {
        self.text.capacity()
    }

    fn finish(mut self: Box<Self>) -> Result<(Vec<Bytes>, Option<u64>)> {
        if self.array {
            self.text.extend_from_slice(if self.rows == 0 { b"[]\n" } else { b"\n]\n" });
        }
        self.pass_on()?;
        Ok((vec![self.output.finish()?.into()], None))
    }
}

fn printer<'a>(column: &Column, batch: &'a RecordBatch) -> Result<Printer<'a>> {
    let array = batch.columns().get(column.at).ok_or_else(|| EngineError::failed("a batch lacks a column"))?;
    let text = column.text_at.and_then(|at| batch.columns().get(at)).and_then(|array| array.as_string_opt::<i32>());
    let nulls = column.nulls_at.and_then(|at| batch.columns().get(at)).and_then(|array| array.as_list_opt::<i32>());
    let nulls = nulls.zip(column.number).filter(|(nulls, _)| is_null_list(nulls));
    Printer::new(&column.field, array, text, nulls)
        .map_err(|reason| EngineError::failed(format!("column {:?}: {reason}", column.field.name())))
}

fn is_null_list(nulls: &ListArray) -> bool {
    matches!(nulls.value_type(), DataType::UInt16) && nulls.values().as_primitive_opt::<UInt16Type>().is_some()
}

//! Values of objects, gathered into Arrow columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, FixedSizeListArray, Float32Array, Float64Builder, Int64Builder, ListArray,
    ListBuilder, RecordBatch, RecordBatchOptions, StringBuilder, TimestampMicrosecondBuilder,
    TimestampMillisecondBuilder,
};
use arrow::buffer::{MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef, TimeUnit};
use bytes::Bytes;
use restow_core::{EngineError, Result};

/// One value of an object, in the form of its column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// The object does not have it.
    Absent,
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// Milliseconds or microseconds, as the column counts.
    Moment(i64),
    Binary(Vec<u8>),
    Texts(Vec<String>),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Bools(Vec<bool>),
    /// Little-endian f32.
    Vector(Bytes),
    /// Little-endian f32, row after row, and the length of a row.
    Rows(Bytes, usize),
}

/// Columns that are being filled.
pub struct RowBuilder {
    schema: SchemaRef,
    columns: Vec<Builder>,
    rows: usize,
}

enum Builder {
    Text(StringBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Bool(BooleanBuilder),
    Millis(TimestampMillisecondBuilder),
    Micros(TimestampMicrosecondBuilder),
    Binary(BinaryBuilder),
    Texts(ListBuilder<StringBuilder>),
    Ints(ListBuilder<Int64Builder>),
    Floats(ListBuilder<Float64Builder>),
    Bools(ListBuilder<BooleanBuilder>),
    Vectors(Vectors),
}

/// Vectors of one column, singly or several in a value.
struct Vectors {
    values: MutableBuffer,
    present: Vec<bool>,
    /// Lengths of what each value holds: floats of a vector, or vectors of a list.
    lengths: Vec<usize>,
    /// Lengths of the vectors themselves, where several are in a value and their length varies.
    rows: Vec<usize>,
    kind: VectorKind,
}

#[derive(Clone)]
enum VectorKind {
    Fixed(FieldRef, usize),
    Varying(FieldRef),
    ManyFixed { outer: FieldRef, item: FieldRef, length: usize },
    ManyVarying { outer: FieldRef, item: FieldRef },
}

impl RowBuilder {
    /// Empty columns of a schema.
    ///
    /// # Errors
    /// It has a type that no object of Weaviate has.
    pub fn new(schema: &SchemaRef) -> Result<Self> {
        let columns = schema.fields().iter().map(|field| Builder::new(field)).collect::<Result<_>>()?;
        Ok(Self { schema: Arc::clone(schema), columns, rows: 0 })
    }

    /// Makes room for so many rows: vectors are long, and would be moved each time that their buffer grows.
    pub fn reserve(&mut self, rows: usize) {
        for column in &mut self.columns {
            if let Builder::Vectors(Vectors { values, kind: VectorKind::Fixed(_, length), .. }) = column {
                values.reserve(rows.saturating_mul(*length).saturating_mul(4));
            }
        }
    }

    /// Rows so far.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Adds a row: one cell a column.
    ///
    /// # Errors
    /// A cell has not the form of its column.
    pub fn push(&mut self, cells: Vec<Cell>) -> Result<()> {
        if cells.len() != self.columns.len() {
            return Err(EngineError::failed(format!("{} values for {} columns", cells.len(), self.columns.len())));
        }
        for ((builder, cell), field) in self.columns.iter_mut().zip(cells).zip(self.schema.fields()) {
            if !builder.push(cell) {
                return Err(EngineError::failed(format!(
                    "a value of {:?} has not the form of its column",
                    field.name()
                )));
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// The rows as a batch; the builder is empty then.
    ///
    /// # Errors
    /// The columns do not fit together.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let columns = self.columns.iter_mut().map(Builder::finish).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

impl Builder {
    fn new(field: &Field) -> Result<Self> {
        Ok(match field.data_type() {
            DataType::Utf8 => Self::Text(StringBuilder::new()),
            DataType::Int64 => Self::Int(Int64Builder::new()),
            DataType::Float64 => Self::Float(Float64Builder::new()),
            DataType::Boolean => Self::Bool(BooleanBuilder::new()),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Self::Millis(TimestampMillisecondBuilder::new().with_data_type(field.data_type().clone()))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Micros(TimestampMicrosecondBuilder::new().with_data_type(field.data_type().clone()))
            }
            DataType::Binary => Self::Binary(BinaryBuilder::new()),
            DataType::List(item) => match item.data_type() {
                DataType::Utf8 => Self::Texts(ListBuilder::new(StringBuilder::new()).with_field(Arc::clone(item))),
                DataType::Int64 => Self::Ints(ListBuilder::new(Int64Builder::new()).with_field(Arc::clone(item))),
                DataType::Float64 => Self::Floats(ListBuilder::new(Float64Builder::new()).with_field(Arc::clone(item))),
                DataType::Boolean => Self::Bools(ListBuilder::new(BooleanBuilder::new()).with_field(Arc::clone(item))),
                _ => Self::Vectors(Vectors::new(field)?),
            },
            DataType::FixedSizeList(..) => Self::Vectors(Vectors::new(field)?),
            other => return Err(EngineError::failed(format!("column {:?} has the type {other}", field.name()))),
        })
    }

    /// Whether the cell has the form of the column.
    fn push(&mut self, cell: Cell) -> bool {
        match (self, cell) {
            (Self::Vectors(builder), cell) => return builder.push(cell),
            (Self::Text(builder), Cell::Text(text)) => builder.append_value(text),
            (Self::Text(builder), Cell::Absent) => builder.append_null(),
            (Self::Int(builder), Cell::Int(value)) => builder.append_value(value),
            (Self::Int(builder), Cell::Absent) => builder.append_null(),
            (Self::Float(builder), Cell::Float(value)) => builder.append_value(value),
            (Self::Float(builder), Cell::Absent) => builder.append_null(),
            (Self::Bool(builder), Cell::Bool(value)) => builder.append_value(value),
            (Self::Bool(builder), Cell::Absent) => builder.append_null(),
            (Self::Millis(builder), Cell::Moment(value)) => builder.append_value(value),
            (Self::Millis(builder), Cell::Absent) => builder.append_null(),
            (Self::Micros(builder), Cell::Moment(value)) => builder.append_value(value),
            (Self::Micros(builder), Cell::Absent) => builder.append_null(),
            (Self::Binary(builder), Cell::Binary(value)) => builder.append_value(value),
            (Self::Binary(builder), Cell::Absent) => builder.append_null(),
            (Self::Texts(builder), Cell::Texts(values)) => builder.append_value(values.into_iter().map(Some)),
            (Self::Texts(builder), Cell::Absent) => builder.append_null(),
            (Self::Ints(builder), Cell::Ints(values)) => builder.append_value(values.into_iter().map(Some)),
            (Self::Ints(builder), Cell::Absent) => builder.append_null(),
            (Self::Floats(builder), Cell::Floats(values)) => builder.append_value(values.into_iter().map(Some)),
            (Self::Floats(builder), Cell::Absent) => builder.append_null(),
            (Self::Bools(builder), Cell::Bools(values)) => builder.append_value(values.into_iter().map(Some)),
            (Self::Bools(builder), Cell::Absent) => builder.append_null(),
            _ => return false,
        }
        true
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(match self {
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Millis(builder) => Arc::new(builder.finish()),
            Self::Micros(builder) => Arc::new(builder.finish()),
            Self::Binary(builder) => Arc::new(builder.finish()),
            Self::Texts(builder) => Arc::new(builder.finish()),
            Self::Ints(builder) => Arc::new(builder.finish()),
            Self::Floats(builder) => Arc::new(builder.finish()),
            Self::Bools(builder) => Arc::new(builder.finish()),
            Self::Vectors(builder) => builder.finish()?,
        })
    }
}

impl Vectors {
    fn new(field: &Field) -> Result<Self> {
        let unknown = || EngineError::failed(format!("column {:?} has the type {}", field.name(), field.data_type()));
        let kind = match field.data_type() {
            DataType::FixedSizeList(item, length) if *item.data_type() == DataType::Float32 => {
                VectorKind::Fixed(Arc::clone(item), usize::try_from(*length).map_err(|_| unknown())?)
            }
            DataType::List(outer) => match outer.data_type() {
                DataType::Float32 => VectorKind::Varying(Arc::clone(outer)),
                DataType::FixedSizeList(item, length) if *item.data_type() == DataType::Float32 => {
                    let length = usize::try_from(*length).map_err(|_| unknown())?;
                    VectorKind::ManyFixed { outer: Arc::clone(outer), item: Arc::clone(item), length }
                }
                DataType::List(item) if *item.data_type() == DataType::Float32 => {
                    VectorKind::ManyVarying { outer: Arc::clone(outer), item: Arc::clone(item) }
                }
                _ => return Err(unknown()),
            },
            _ => return Err(unknown()),
        };
        let (values, present, lengths, rows) = (MutableBuffer::new(0), Vec::new(), Vec::new(), Vec::new());
        Ok(Self { values, present, lengths, rows, kind })
    }

    fn push(&mut self, cell: Cell) -> bool {
        match (&self.kind, cell) {
            (VectorKind::Fixed(_, length), Cell::Absent) => {
                self.values.extend_zeros(length * 4);
                self.present.push(false);
            }
            (_, Cell::Absent) => {
                self.present.push(false);
                self.lengths.push(0);
            }
            (VectorKind::Fixed(_, length), Cell::Vector(bytes)) if bytes.len() == length * 4 => {
                self.values.extend_from_slice(&bytes);
                self.present.push(true);
            }
            (VectorKind::Varying(_), Cell::Vector(bytes)) if bytes.len() % 4 == 0 => {
                self.values.extend_from_slice(&bytes);
                self.present.push(true);
                self.lengths.push(bytes.len() / 4);
            }
            (VectorKind::ManyFixed { length, .. }, Cell::Rows(bytes, row)) if row == *length && row > 0 => {
                if bytes.len() % (row * 4) != 0 {
                    return false;
                }
                self.values.extend_from_slice(&bytes);
                self.present.push(true);
                self.lengths.push(bytes.len() / (row * 4));
            }
            (VectorKind::ManyVarying { .. }, Cell::Rows(bytes, row)) if row > 0 => {
                if bytes.len() % (row * 4) != 0 {
                    return false;
                }
                let count = bytes.len() / (row * 4);
                self.values.extend_from_slice(&bytes);
                self.present.push(true);
                self.lengths.push(count);
                self.rows.extend(std::iter::repeat_n(row, count));
            }
            _ => return false,
        }
        true
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        // The wire and the hosts that restow runs on are little-endian.
        let floats = |values: &mut MutableBuffer| {
            let buffer = std::mem::replace(values, MutableBuffer::new(0));
            Float32Array::new(ScalarBuffer::from(arrow::buffer::Buffer::from(buffer)), None)
        };
        let nulls = Some(NullBuffer::from(std::mem::take(&mut self.present)));
        let lengths = std::mem::take(&mut self.lengths);
        let values = floats(&mut self.values);
        Ok(match &self.kind {
            VectorKind::Fixed(item, length) => {
                let size = i32::try_from(*length).unwrap_or(i32::MAX);
                Arc::new(FixedSizeListArray::try_new(Arc::clone(item), size, Arc::new(values), nulls)?)
            }
            VectorKind::Varying(item) => {
                let offsets = OffsetBuffer::from_lengths(lengths);
                Arc::new(ListArray::try_new(Arc::clone(item), offsets, Arc::new(values), nulls)?)
            }
            VectorKind::ManyFixed { outer, item, length } => {
                let size = i32::try_from(*length).unwrap_or(i32::MAX);
                let inner = FixedSizeListArray::try_new(Arc::clone(item), size, Arc::new(values), None)?;
                let offsets = OffsetBuffer::from_lengths(lengths);
                Arc::new(ListArray::try_new(Arc::clone(outer), offsets, Arc::new(inner), nulls)?)
            }
            VectorKind::ManyVarying { outer, item } => {
                let rows = OffsetBuffer::from_lengths(std::mem::take(&mut self.rows));
                let inner = ListArray::try_new(Arc::clone(item), rows, Arc::new(values), None)?;
                let offsets = OffsetBuffer::from_lengths(lengths);
                Arc::new(ListArray::try_new(Arc::clone(outer), offsets, Arc::new(inner), nulls)?)
            }
        })
    }
}

#[cfg(target_endian = "big")]
compile_error!("vectors travel as little-endian floats, and are taken as they come");

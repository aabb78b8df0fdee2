//! One file: rows into row groups, row groups into bytes.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::SchemaDescriptor;
use restow_core::{EngineError, Result};

use super::super::encode::BatchWriter;
use super::super::options::ParquetOptions;
use super::pieces::Pieces;
use super::properties::writer_properties;
use super::vectors::Vectors;

/// Bytes of a row group where nobody chose: vectors hardly compress, and all of a group are held until it ends. Other tables become small when they
/// are encoded, and smaller in large groups.
const WITH_VECTORS: u64 = 8 << 20;
const WITHOUT_VECTORS: u64 = 64 << 20;

/// The writer of one file.
pub(in crate::codec) struct ParquetFile {
    file: SerializedFileWriter<Pieces>,
    columns: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    options: ParquetOptions,
    /// Bytes of a row group, as Arrow arrays, and its rows, at most.
    max_bytes: usize,
    max_rows: usize,
    open: Option<RowGroup>,
}

/// The row group that is filled.
struct RowGroup {
    columns: Vec<Column>,
    bytes: usize,
    rows: usize,
}

/// The writer of one column of the table.
enum Column {
    Vectors(Box<Vectors>),
    /// Any other, leaf by leaf.
    Leaves(Vec<ArrowColumnWriter>),
}

impl ParquetFile {
    pub(in crate::codec) fn new(options: &ParquetOptions, schema: &SchemaRef) -> Result<Self> {
        let row_group = options.row_group.map_or_else(|| usual_bytes(schema), |chosen| chosen.bytes());
        let max_bytes = usize::try_from(row_group).unwrap_or(usize::MAX).max(1);
        let max_rows = usize::try_from(options.max_rows).unwrap_or(usize::MAX).max(1);
        let properties = writer_properties(options, schema, max_rows.min(fitting_rows(schema, max_bytes)))?;
        let options_ = ArrowWriterOptions::new().with_properties(properties);
        let writer = ArrowWriter::try_new_with_options(Pieces::default(), SchemaRef::clone(schema), options_)?;
        let (file, columns) = writer.into_serialized_writer()?;
        let (schema, options) = (SchemaRef::clone(schema), options.clone());
        Ok(Self { file, columns, schema, options, max_bytes, max_rows, open: None })
    }

    fn open(&mut self) -> Result<&mut RowGroup> {
        let group = match self.open.take() {
            Some(group) => group,
            None => {
                let number = self.file.flushed_row_groups().len();
                let columns = self.columns.create_column_writers(number)?;
                RowGroup::new(columns, self.file.schema_descr(), &self.schema, &self.options)?
            }
        };
        Ok(self.open.insert(group))
    }

    fn end_row_group(&mut self) -> Result<()> {
        if let Some(group) = self.open.take() {
            group.write(self.file.next_row_group()?)?;
        }
        Ok(())
    }
}

impl BatchWriter for ParquetFile {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let width = (batch_bytes(batch) / batch.num_rows().max(1)).max(1);
        let (max_bytes, max_rows) = (self.max_bytes, self.max_rows);
        let mut from = 0;
        while from < batch.num_rows() {
            let schema = SchemaRef::clone(&self.schema);
            let group = self.open()?;
            let fit = (max_bytes.saturating_sub(group.bytes) / width).max(1);
            let rows = fit.min(max_rows - group.rows).min(batch.num_rows() - from);
            group.push(&batch.slice(from, rows), &schema)?;
            group.bytes = group.bytes.saturating_add(rows.saturating_mul(width));
            group.rows += rows;
            from += rows;
            if group.bytes >= max_bytes || group.rows >= max_rows {
                self.end_row_group()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.end_row_group()
    }

    fn take(&mut self) -> Vec<Bytes> {
        self.file.inner_mut().take()
    }

    fn buffered(&self) -> usize {
        self.open.as_ref().map_or(0, RowGroup::buffered)
    }

    fn finish(mut self: Box<Self>) -> Result<(Vec<Bytes>, Option<u64>)> {
        self.end_row_group()?;
        self.file.finish()?;
        let pieces = self.take();
        let mut tail: Vec<u8> = pieces.iter().rev().flat_map(|piece| piece.iter().rev()).take(8).copied().collect();
        tail.reverse();
        Ok((pieces, footer_bytes(&tail)))
    }
}

impl RowGroup {
    /// Parquet's leaves lie in the order of the columns.
    fn new(
        leaves: Vec<ArrowColumnWriter>,
        stored: &SchemaDescriptor,
        schema: &SchemaRef,
        options: &ParquetOptions,
    ) -> Result<Self> {
        let (expected, found) = (schema.fields().iter().map(leaves_of).sum::<usize>(), leaves.len());
        if expected != found {
            return Err(EngineError::failed(format!("Parquet has {found} columns for a table of {expected}")));
        }
        let (mut leaves, mut at) = (leaves.into_iter(), 0);
        let columns = schema.fields().iter().map(|field| {
            let own: Vec<ArrowColumnWriter> = leaves.by_ref().take(leaves_of(field)).collect();
            let vectors = Vectors::of(field, &stored.column(at), options)?;
            at += own.len();
            Ok(vectors.map_or(Column::Leaves(own), |vectors| Column::Vectors(Box::new(vectors))))
        });
        Ok(Self { columns: columns.collect::<Result<_>>()?, bytes: 0, rows: 0 })
    }

    fn push(&mut self, batch: &RecordBatch, schema: &SchemaRef) -> Result<()> {
        for ((column, array), field) in self.columns.iter_mut().zip(batch.columns()).zip(schema.fields()) {
            column.push(array, field)?;
        }
        Ok(())
    }

    fn buffered(&self) -> usize {
        let sizes = self.columns.iter().map(|column| match column {
            Column::Vectors(vectors) => vectors.bytes(),
            Column::Leaves(leaves) => leaves.iter().map(ArrowColumnWriter::memory_size).sum(),
        });
        sizes.sum()
    }

    fn write(self, mut to: SerializedRowGroupWriter<'_, Pieces>) -> Result<()> {
        for column in self.columns {
            match column {
                Column::Vectors(vectors) => vectors.write(&mut to)?,
                Column::Leaves(leaves) => {
                    for leaf in leaves {
                        leaf.close()?.append_to_row_group(&mut to)?;
                    }
                }
            }
        }
        to.close()?;
        Ok(())
    }
}

impl Column {
    fn push(&mut self, array: &ArrayRef, field: &FieldRef) -> Result<()> {
        match self {
            Self::Vectors(vectors) => vectors.push(array.as_fixed_size_list())?,
            Self::Leaves(writers) => {
                for (writer, leaf) in writers.iter_mut().zip(compute_leaves(field, array)?) {
                    writer.write(&leaf)?;
                }
            }
        }
        Ok(())
    }
}

fn usual_bytes(schema: &SchemaRef) -> u64 {
    let with_vectors = schema.fields().iter().any(|field| holds_vectors(field.data_type()));
    if with_vectors { WITH_VECTORS } else { WITHOUT_VECTORS }
}

/// Lists of one length, and lists of the floats that embeddings are made of.
fn holds_vectors(data_type: &DataType) -> bool {
    match data_type {
        DataType::FixedSizeList(..) => true,
        DataType::List(item) | DataType::LargeList(item) => {
            matches!(item.data_type(), DataType::Float16 | DataType::Float32) || holds_vectors(item.data_type())
        }
        _ => false,
    }
}

/// The most rows that a row group of so many bytes can have.
fn fitting_rows(schema: &SchemaRef, max_bytes: usize) -> usize {
    let least: usize = schema.fields().iter().map(|field| least_bytes(field.data_type())).sum();
    (max_bytes / least.max(1)).saturating_add(1)
}

/// Bytes that a value takes as an Arrow array, whatever it is.
fn least_bytes(data_type: &DataType) -> usize {
    match data_type {
        DataType::FixedSizeList(item, length) => {
            usize::try_from(*length).unwrap_or_default().saturating_mul(least_bytes(item.data_type()))
        }
        other => other.primitive_width().unwrap_or_default(),
    }
}

/// How many columns of Parquet a column of the table is.
fn leaves_of(field: &FieldRef) -> usize {
    match field.data_type() {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => leaves_of(item),
        DataType::Struct(fields) => fields.iter().map(leaves_of).sum(),
        _ => 1,
    }
}

/// Bytes of the rows of a batch, without what its buffers hold beyond them.
pub(in crate::codec) fn batch_bytes(batch: &RecordBatch) -> usize {
    let sizes = batch.columns().iter().map(|column| {
        let data = column.to_data();
        data.get_slice_memory_size().unwrap_or_else(|_| data.get_array_memory_size())
    });
    sizes.sum()
}

/// A Parquet file ends with its metadata, the length of that (u32, little-endian) and `PAR1`.
fn footer_bytes(tail: &[u8]) -> Option<u64> {
    let (rest, _magic) = tail.split_last_chunk::<4>()?;
    let (_, length) = rest.split_last_chunk::<4>()?;
    Some(u64::from(u32::from_le_bytes(*length)) + 8)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{FixedSizeListArray, StringArray};
    use arrow::datatypes::Float32Type;
    use parquet::file::metadata::ParquetMetaDataReader;
    use restow_spec::units::ByteSize;

    use super::*;

    #[test]
    fn vectors_are_known_by_their_types() {
        let list = |item: DataType| DataType::new_list(item, true);
        let fixed = DataType::new_fixed_size_list(DataType::Float32, 4, true);
        let vectors = [fixed.clone(), list(DataType::Float32), list(fixed), list(list(DataType::Float16))];
        assert!(vectors.iter().all(holds_vectors));
        let others = [DataType::Float32, DataType::Utf8, list(DataType::Float64), list(list(DataType::Utf8))];
        assert!(!others.iter().any(holds_vectors));
    }

    /// What bloom filters are laid out for.
    #[test]
    fn row_groups_have_no_more_rows_than_fit() {
        let length = 300;
        let vectors = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
            (0..5_000).map(|row| Some((0..length).map(move |index| Some((row * index) as f32)))),
            length,
        );
        let ids = StringArray::from_iter_values((0..5_000).map(|_| ""));
        let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("v", Arc::new(vectors))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let options = ParquetOptions { row_group: Some(ByteSize(1 << 20)), ..ParquetOptions::default() };
        let mut file = Box::new(ParquetFile::new(&options, &batch.schema()).unwrap());
        for from in (0..5_000).step_by(625) {
            file.write(&batch.slice(from, 625)).unwrap();
        }
        let bytes = Bytes::from(file.finish().unwrap().0.concat());
        let footer = ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
        let rows: Vec<usize> = footer.row_groups().iter().map(|group| group.num_rows() as usize).collect();
        let most = fitting_rows(&batch.schema(), 1 << 20);
        assert_eq!((rows.iter().sum::<usize>(), most), (5_000, (1 << 20) / 1_200 + 1));
        assert!(rows.len() > 4 && rows.iter().all(|rows| *rows <= most), "{rows:?}");
    }
}

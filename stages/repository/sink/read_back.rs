//! Reads a Parquet object back from its store and decodes all of it: every page decompressed, every level and every value decoded, and the
//! rows of each column counted. Arrow arrays are not built: what they would add is memory and time, not proof.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::{Buf, Bytes, buf::Reader};
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use restow_core::record::batch_rows;
use restow_core::{EngineError, ExitClass, Result};

use crate::repository::read::footer;

/// Bytes of neighbouring columns that are fetched by one request: a store is not asked for each of many small ones by itself.
const TOGETHER: u64 = 16 << 20;

/// Rows of an object of `bytes` plain bytes that was just written with this schema.
///
/// # Errors
/// It cannot be read, or does not hold what its footer says: other columns, or columns of other lengths.
pub(super) async fn rows_of(store: &Arc<dyn ObjectStore>, path: &Path, bytes: u64, schema: &SchemaRef) -> Result<u64> {
    let footer = footer(store, path, bytes).await?;
    let wrong = |what: String| {
        EngineError::new(ExitClass::Tampered, format!("{path}: what was just written reads back with {what}"))
            .with_hint("nothing was committed; run it again, and if it comes again, look at the memory and the disk of this machine")
    };
    if let Some(what) = other_columns(&footer, schema)? {
        return Err(wrong(what));
    }
    let mut rows = 0;
    for group in footer.row_groups() {
        let expected = u64::try_from(group.num_rows()).unwrap_or(u64::MAX);
        for columns in together(group.columns()) {
            let ranges: Vec<Range<u64>> = columns.iter().map(range_of).collect();
            let bytes = store.get_ranges(path, &ranges).await?;
            for ((column, range), bytes) in columns.iter().zip(ranges).zip(bytes) {
                let found = column_rows(Chunk { bytes, range }, group, column, batch_rows(schema)).await?;
                if found != expected {
                    let name = column.column_path().string();
                    return Err(wrong(format!("{found} rows in column {name:?}, and {expected} in its row group")));
                }
            }
        }
        rows += expected;
    }
    match u64::try_from(footer.file_metadata().num_rows()) {
        Ok(said) if said == rows => Ok(rows),
        said => Err(wrong(format!("{rows} rows, and a footer that says {}", said.unwrap_or_default()))),
    }
}

/// What is different about the columns, if anything is.
fn other_columns(footer: &ParquetMetaData, schema: &SchemaRef) -> Result<Option<String>> {
    let file = footer.file_metadata();
    let found = parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata())?;
    if found.fields().len() != schema.fields().len() {
        return Ok(Some(format!("{} columns instead of {}", found.fields().len(), schema.fields().len())));
    }
    let mut pairs = found.fields().iter().zip(schema.fields());
    let other = pairs.find(|(found, asked)| found.name() != asked.name() || found.data_type() != asked.data_type());
    Ok(other.map(|(found, asked)| {
        let (name, kind) = (asked.name(), asked.data_type());
        format!("column {:?} ({}) in the place of {name:?} ({kind})", found.name(), found.data_type())
    }))
}

/// Neighbours that are fetched at once: as many as fit, and one in any case.
fn together(columns: &[ColumnChunkMetaData]) -> Vec<&[ColumnChunkMetaData]> {
    let (mut all, mut from, mut bytes) = (Vec::new(), 0, 0_u64);
    for (index, column) in columns.iter().enumerate() {
        let (_, length) = column.byte_range();
        if index > from && bytes.saturating_add(length) > TOGETHER {
            all.extend(columns.get(from..index));
            (from, bytes) = (index, 0);
        }
        bytes = bytes.saturating_add(length);
    }
    all.extend(columns.get(from..).filter(|rest| !rest.is_empty()));
    all
}

fn range_of(column: &ColumnChunkMetaData) -> Range<u64> {
    let (start, length) = column.byte_range();
    start..start.saturating_add(length)
}

/// Rows of one column of a row group, all of them decoded.
async fn column_rows(
    chunk: Chunk,
    group: &RowGroupMetaData,
    column: &ColumnChunkMetaData,
    at_once: usize,
) -> Result<u64> {
    let rows = usize::try_from(group.num_rows()).unwrap_or(usize::MAX);
    let pages = SerializedPageReader::new(Arc::new(chunk), column, rows, None)?;
    match get_column_reader(column.column_descr_ptr(), Box::new(pages)) {
        ColumnReader::BoolColumnReader(reader) => decoded(reader, at_once).await,
        ColumnReader::Int32ColumnReader(reader) => decoded(reader, at_once).await,
        ColumnReader::Int64ColumnReader(reader) => decoded(reader, at_once).await,
        ColumnReader::Int96ColumnReader(reader) => decoded(reader, at_once).await,
        ColumnReader::FloatColumnReader(reader) => decoded(reader, at_once).await,
        ColumnReader::DoubleColumnReader(reader) => decoded(reader, at_once).await,
        ColumnReader::ByteArrayColumnReader(reader) => decoded(reader, at_once).await,
        ColumnReader::FixedLenByteArrayColumnReader(reader) => decoded(reader, at_once).await,
    }
}

/// Decodes so many rows at a time into the same buffers, and lets others work in between.
async fn decoded<T: DataType>(mut reader: ColumnReaderImpl<T>, at_once: usize) -> Result<u64> {
    let (mut definitions, mut repetitions, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let mut rows = 0;
    loop {
        definitions.clear();
        repetitions.clear();
        values.clear();
        let (records, _, levels) =
            reader.read_records(at_once, Some(&mut definitions), Some(&mut repetitions), &mut values)?;
        if records == 0 && levels == 0 {
            return Ok(rows);
        }
        rows += records as u64;
        tokio::task::yield_now().await;
    }
}

/// The bytes of a column, at their place in the file.
struct Chunk {
    bytes: Bytes,
    range: Range<u64>,
}

impl Chunk {
    fn slice(&self, start: u64, length: Option<usize>) -> Result<Bytes, ParquetError> {
        let from = start.checked_sub(self.range.start).and_then(|from| usize::try_from(from).ok());
        let inside = from.and_then(|from| {
            let to = length.map_or(Some(self.bytes.len()), |length| from.checked_add(length))?;
            (from <= to && to <= self.bytes.len()).then(|| self.bytes.slice(from..to))
        });
        inside.ok_or_else(|| ParquetError::EOF(format!("a page at {start} is outside of its column")))
    }
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.range.end
    }
}

impl ChunkReader for Chunk {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.slice(start, None)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.slice(start, Some(length))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, FixedSizeListArray, Int64Array, ListArray, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field, Float32Type, Int64Type, Schema};
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;

    fn batch(rows: usize) -> RecordBatch {
        let vectors = (0..rows).map(|row| (row % 3 > 0).then_some([Some(row as f32), None, Some(1.0)]));
        let lists = (0..rows).map(|row| (row % 4 > 0).then(|| vec![Some(1); row % 7]));
        let columns: [(&str, ArrayRef); 4] = [
            ("id", Arc::new(StringArray::from_iter((0..rows).map(|row| Some(format!("id {row}")))))),
            ("number", Arc::new(Int64Array::from_iter((0..rows).map(|row| (row % 2 > 0).then_some(1))))),
            ("vector", Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 3))),
            ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
    }

    async fn stored(batch: &RecordBatch) -> (Arc<dyn ObjectStore>, Path, u64) {
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(300)).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(batch).unwrap();
        let bytes = writer.into_inner().unwrap();
        let (store, path, length) = (InMemory::new(), Path::from("part.parquet"), bytes.len() as u64);
        store.put(&path, bytes.into()).await.unwrap();
        (Arc::new(store), path, length)
    }

    #[tokio::test]
    async fn every_row_of_every_column_is_counted() {
        for rows in [0, 1, 300, 1_001] {
            let batch = batch(rows);
            let (store, path, length) = stored(&batch).await;
            assert_eq!(rows_of(&store, &path, length, &batch.schema()).await.unwrap(), rows as u64);
        }
    }

    #[tokio::test]
    async fn small_columns_come_together_and_none_is_left_out() {
        let batch = batch(1_001);
        let (store, path, length) = stored(&batch).await;
        let footer = footer(&store, &path, length).await.unwrap();
        for group in footer.row_groups() {
            let parts = together(group.columns());
            assert_eq!(parts.len(), 1);
            assert_eq!(parts.concat(), group.columns());
        }
        assert!(together(&[]).is_empty());
    }

    #[tokio::test]
    async fn other_columns_are_no_proof() {
        let batch = batch(10);
        let (store, path, length) = stored(&batch).await;
        let other = Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, true)]));
        let error = rows_of(&store, &path, length, &other).await.unwrap_err();
        assert_eq!(error.class(), ExitClass::Tampered);
        assert!(error.to_string().contains("4 columns instead of 1"), "{error}");
        let mut fields: Vec<Field> = batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        fields[1] = Field::new("number", DataType::Int32, true);
        let error = rows_of(&store, &path, length, &Arc::new(Schema::new(fields))).await.unwrap_err();
        assert!(error.to_string().contains(r#"column "number" (Int64) in the place of "number" (Int32)"#), "{error}");
    }

    #[tokio::test]
    async fn a_page_that_is_damaged_is_an_error() {
        let batch = batch(1_001);
        let (store, path, length) = stored(&batch).await;
        let mut bytes = store.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
        // The header of the first page.
        bytes[4..20].fill(0xff);
        store.put(&path, bytes.into()).await.unwrap();
        assert!(rows_of(&store, &path, length, &batch.schema()).await.is_err());
    }
}

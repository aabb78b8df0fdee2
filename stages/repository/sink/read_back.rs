//! Reads a Parquet object back from its store and decodes all of it: every page decompressed, every level and every value decoded, and the
//! rows of each column counted. Arrow arrays are not built: what they would add is memory and time, not proof. Elements of vectors are numbers
//! whatever their bytes are, so of these the bytes are counted ([`super::vector_pages`]).

use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::{Buf, Bytes, BytesMut, buf::Reader};
use futures::{Stream, TryStreamExt};
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

use super::vector_pages::Vectors;

/// Rows of a Parquet object that was just written with this schema, as its plain bytes tell from the first to the last.
///
/// # Errors
/// It cannot be read, or does not hold what its footer says: other columns, or columns of other lengths.
pub(super) async fn rows_of(
    path: &Path,
    footer: &ParquetMetaData,
    plain: impl Stream<Item = Result<Bytes>> + Send,
    schema: &SchemaRef,
) -> Result<u64> {
    let wrong = |what: String| {
        EngineError::new(ExitClass::Tampered, format!("{path}: what was just written reads back with {what}"))
            .with_hint("nothing was committed; run it again, and if it comes again, look at the memory and the disk of this machine")
    };
    if let Some(what) = other_columns(footer, schema)? {
        return Err(wrong(what));
    }
    let mut plain = Plain { pieces: pin!(plain), piece: Bytes::new(), at: 0 };
    let mut rows = 0;
    for (at, group) in footer.row_groups().iter().enumerate() {
        let expected = u64::try_from(group.num_rows()).unwrap_or(u64::MAX);
        for (column_at, column) in group.columns().iter().enumerate() {
            let name = column.column_path().string();
            let nowhere = |range: &Range<u64>, end: u64| {
                wrong(format!("column {name:?} at {range:?}, which is no place behind byte {end} of it"))
            };
            let found = if let Some(mut vectors) = Vectors::of(footer, at, column_at, schema)? {
                while let Some(range) = vectors.next() {
                    let bytes = plain.cut(&range).await?.ok_or_else(|| nowhere(&range, plain.at))?;
                    vectors.count(Chunk { bytes, range })?;
                    tokio::task::yield_now().await;
                }
                vectors.finish()?
            } else {
                let range = range_of(column);
                let bytes = plain.cut(&range).await?.ok_or_else(|| nowhere(&range, plain.at))?;
                column_rows(Chunk { bytes, range }, group, column, batch_rows(schema)).await?
            };
            if found != expected {
                return Err(wrong(format!("{found} rows in column {name:?}, and {expected} in its row group")));
            }
        }
        rows += expected;
    }
    // Only the end of it proves that these are the bytes that were written.
    while plain.pieces.try_next().await?.is_some() {}
    match u64::try_from(footer.file_metadata().num_rows()) {
        Ok(said) if said == rows => Ok(rows),
        said => Err(wrong(format!("{rows} rows, and a footer that says {}", said.unwrap_or_default()))),
    }
}

/// The bytes of an object, in their order.
struct Plain<'a, S> {
    pieces: Pin<&'a mut S>,
    /// What is left of the last piece; it begins at `at` in the object.
    piece: Bytes,
    at: u64,
}

impl<S: Stream<Item = Result<Bytes>>> Plain<'_, S> {
    /// The bytes of a range, in one piece; `None` where it lies before what was given out last, or behind the end.
    async fn cut(&mut self, range: &Range<u64>) -> Result<Option<Bytes>> {
        let (Some(mut skip), Ok(length)) =
            (range.start.checked_sub(self.at), usize::try_from(range.end.saturating_sub(range.start)))
        else {
            return Ok(None);
        };
        let mut cut = BytesMut::new();
        loop {
            let skipped = self.piece.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
            self.piece.advance(skipped);
            skip -= skipped as u64;
            let taken = self.piece.split_to(self.piece.len().min(length - cut.len()));
            self.at += (skipped + taken.len()) as u64;
            if taken.len() == length {
                return Ok(Some(taken));
            }
            // Room for what its footer says only where there are bytes of it.
            if cut.is_empty() && !taken.is_empty() {
                cut.reserve(length);
            }
            cut.extend_from_slice(&taken);
            if cut.len() == length {
                return Ok(Some(cut.freeze()));
            }
            match self.pieces.try_next().await? {
                Some(piece) => self.piece = piece,
                None => return Ok(None),
            }
        }
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

pub(super) fn range_of(column: &ColumnChunkMetaData) -> Range<u64> {
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
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    pub(super) range: Range<u64>,
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
    use arrow::compute::concat_batches;
    use arrow::datatypes::{DataType, Field, Float32Type, Int64Type, Schema};
    use futures::stream;
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
    use parquet::file::properties::WriterProperties;

    use crate::codec::{Codec, MemoryOutput, ParquetOptions};

    use super::*;

    const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

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

    fn stored(batch: &RecordBatch) -> Vec<u8> {
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(300)).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(batch).unwrap();
        writer.into_inner().unwrap()
    }

    fn footer(bytes: &Bytes) -> ParquetMetaData {
        let reader = ParquetMetaDataReader::new().with_offset_index_policy(PageIndexPolicy::Optional);
        reader.parse_and_finish(bytes).unwrap()
    }

    /// Reads it back in pieces of so many bytes.
    async fn rows(bytes: Vec<u8>, piece: usize, schema: &SchemaRef) -> Result<u64> {
        let bytes = Bytes::from(bytes);
        let footer = footer(&bytes);
        let pieces: Vec<_> = bytes.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        rows_of(&Path::from("part.parquet"), &footer, stream::iter(pieces), schema).await
    }

    #[tokio::test]
    async fn every_row_of_every_column_is_counted() {
        for count in [0, 1, 300, 1_001] {
            let batch = batch(count);
            for piece in [7, 1_000, 1 << 20] {
                assert_eq!(rows(stored(&batch), piece, &batch.schema()).await.unwrap(), count as u64);
            }
        }
    }

    /// As the repository's own codec writes them, which has another way for vectors.
    async fn encoded(batch: &RecordBatch) -> Vec<u8> {
        let output = MemoryOutput::default();
        let codec = Codec::Parquet(ParquetOptions { max_rows: 300, ..ParquetOptions::default() });
        let mut encoder = codec.encoder(batch.schema(), Box::new(output.clone())).unwrap();
        encoder.write(batch).await.unwrap();
        encoder.finish().await.unwrap();
        output.bytes().to_vec()
    }

    #[tokio::test]
    async fn every_vector_is_counted_and_a_damaged_page_is_seen() {
        let batch = batch(1_001);
        let (bytes, schema) = (encoded(&batch).await, batch.schema());
        assert_eq!(rows(bytes.clone(), 1_000, &schema).await.unwrap(), 1_001);
        let footer = footer(&bytes.clone().into());
        assert!(Vectors::of(&footer, 1, 2, &schema).unwrap().is_some());
        assert!(Vectors::of(&footer, 1, 1, &schema).unwrap().is_none());
        let (start, length) = footer.row_group(1).column(2).byte_range();
        let mut seen = 0;
        for at in start..start + length {
            let mut other = bytes.clone();
            other[at as usize] ^= 0x10;
            seen += u64::from(rows(other, 1_000, &schema).await.is_err());
        }
        // What is left are elements that are other numbers: the digest and the cipher see those.
        assert!(seen > 50 && seen < length, "{seen} of {length}");
    }

    /// Whatever passes is read as it was by one who goes from header to header.
    #[tokio::test]
    async fn every_value_of_a_pages_header_is_looked_at() {
        let batch = batch(1_001);
        let (bytes, schema) = (encoded(&batch).await, batch.schema());
        let (start, length) = footer(&bytes.clone().into()).row_group(1).column(2).byte_range();
        let column = &bytes[start as usize..(start + length) as usize];
        let header = column.windows(4).position(|four| four == ZSTD_MAGIC).unwrap();
        let mut seen = 0;
        for (at, bit) in (0..header).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut other = bytes.clone();
            other[start as usize + at] ^= 1 << bit;
            if rows(other.clone(), 1_000, &schema).await.is_err() {
                seen += 1;
                continue;
            }
            // The types of fields are read over, here as there.
            let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(other)).unwrap().build().unwrap();
            let found: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
            assert_eq!(concat_batches(&schema, &found).unwrap(), batch, "bit {bit} of byte {at}");
        }
        assert!(seen > 8 * header / 2, "{seen} bits of {header} bytes");
    }

    #[tokio::test]
    async fn other_columns_are_no_proof() {
        let batch = batch(10);
        let other = Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, true)]));
        let error = rows(stored(&batch), 100, &other).await.unwrap_err();
        assert_eq!(error.class(), ExitClass::Tampered);
        assert!(error.to_string().contains("4 columns instead of 1"), "{error}");
        let mut fields: Vec<Field> = batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        fields[1] = Field::new("number", DataType::Int32, true);
        let error = rows(stored(&batch), 100, &Arc::new(Schema::new(fields))).await.unwrap_err();
        assert!(error.to_string().contains(r#"column "number" (Int64) in the place of "number" (Int32)"#), "{error}");
    }

    #[tokio::test]
    async fn a_page_that_is_damaged_is_an_error() {
        let batch = batch(1_001);
        let mut bytes = stored(&batch);
        // The header of the first page.
        bytes[4..20].fill(0xff);
        assert!(rows(bytes, 1_000, &batch.schema()).await.is_err());
    }

    #[tokio::test]
    async fn an_object_that_ends_early_or_is_refused_at_its_end_is_no_proof() {
        let batch = batch(1_001);
        let bytes = Bytes::from(stored(&batch));
        let footer = footer(&bytes);
        let path = Path::from("part.parquet");
        let half = stream::iter([Ok(bytes.slice(..bytes.len() / 2))]);
        let error = rows_of(&path, &footer, half, &batch.schema()).await.unwrap_err();
        assert_eq!(error.class(), ExitClass::Tampered);
        assert!(error.to_string().contains("which is no place behind byte"), "{error}");
        let refused = stream::iter([Ok(bytes.clone()), Err(EngineError::new(ExitClass::Tampered, "another SHA-256"))]);
        let error = rows_of(&path, &footer, refused, &batch.schema()).await.unwrap_err();
        assert!(error.to_string().contains("another SHA-256"), "{error}");
    }
}

//! A column of embeddings, written page by page as it comes.
//!
//! The way for all types (`ArrowColumnWriter`) makes an index of 8 bytes for each element, gathers the elements by it, finds out element
//! by element where a vector begins, and copies each element twice before it is compressed. Of vectors that is known beforehand, so their
//! pages are made here: levels as runs, the bytes of the elements by plane (`BYTE_STREAM_SPLIT`), compressed. What is held of a row group is
//! its encoded pages. Pages that somebody wants in gzip, LZ4 or Snappy go the way for all types.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Mutex, PoisonError};

use arrow::array::{Array, AsArray, FixedSizeListArray, Float32Array};
use arrow::datatypes::{DataType, Field, Float32Type};
use bytes::{Buf, Bytes};
use parquet::basic::{Compression, Encoding, PageType, Type, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use super::super::options::{PageCompression, ParquetOptions};
use super::levels::{Levels, take_levels, take_vectors};

/// Elements of a page in bytes, and its vectors, at most: what Parquet writers agree on.
const PAGE_BYTES: usize = 1 << 20;
const PAGE_VECTORS: usize = 20_000;
/// Bytes of an element, which are as many planes.
const PLANES: usize = size_of::<f32>();
/// The longest header of a page without statistics.
const PAGE_HEADER: usize = 128;
/// Where nobody chose a level: the planes of a vector's bytes are noise, or nearly constant. zstd's first level makes as much of them as the
/// third, and twice as fast where it remembers few places (2 to the power of this) to compare with: in a plane of exponents everything of
/// seven bytes was there before, which saves nothing that their frequencies alone would not.
const HASH_LOG: u32 = 8;

/// The vectors of a row group.
pub(super) struct Vectors {
    column: ColumnDescPtr,
    length: usize,
    /// Levels of an element that is there.
    present: u8,
    compression: Compression,
    compressor: Option<Compressor<'static>>,
    /// Bytes that it works with.
    context: usize,
    /// What does not fill a page yet, and its vectors.
    open: Vec<FixedSizeListArray>,
    vectors: usize,
    /// Headers and data of pages, in turn.
    pages: VecDeque<Bytes>,
    /// Bytes that they take in memory.
    held: usize,
    totals: Totals,
    offsets: OffsetIndexBuilder,
    /// The page that is made, before compression: kept for its memory.
    plain: Vec<u8>,
}

/// Of the pages of a column chunk.
#[derive(Default)]
struct Totals {
    pages: i32,
    rows: u64,
    levels: u64,
    compressed: u64,
    uncompressed: u64,
}

impl Vectors {
    /// For a column of vectors of 32-bit floats, in pages that zstd compresses, or nobody; `None` for another.
    ///
    /// # Errors
    /// zstd does not have this level.
    pub(super) fn of(field: &Field, column: &ColumnDescPtr, options: &ParquetOptions) -> Result<Option<Self>> {
        let DataType::FixedSizeList(item, length) = field.data_type() else { return Ok(None) };
        let length = usize::try_from(*length).unwrap_or_default();
        // Levels of an element that is there: one for the list, and one for each of vector and element that may be absent.
        let present = 1 + u8::from(field.is_nullable()) + u8::from(item.is_nullable());
        let described = (column.physical_type(), column.max_rep_level(), column.max_def_level());
        if length == 0 || *item.data_type() != DataType::Float32 || described != (Type::FLOAT, 1, i16::from(present)) {
            return Ok(None);
        }
        let (compression, compressor) = match (options.compression, options.level) {
            (PageCompression::None, _) => (Compression::UNCOMPRESSED, None),
            (PageCompression::Zstd, level) => {
                let level = level.map_or(1, |level| i32::try_from(level).unwrap_or(i32::MAX));
                let mut compressor = Compressor::new(level)?;
                if options.level.is_none() {
                    compressor.set_parameter(CParameter::HashLog(HASH_LOG))?;
                }
                (Compression::ZSTD(ZstdLevel::try_new(level)?), Some(compressor))
            }
            _ => return Ok(None),
        };
        Ok(Some(Self {
            column: ColumnDescPtr::clone(column),
            length,
            present,
            compression,
            compressor,
            context: 0,
            open: Vec::new(),
            vectors: 0,
            pages: VecDeque::new(),
            held: 0,
            totals: Totals::default(),
            offsets: OffsetIndexBuilder::new(),
            plain: Vec::new(),
        }))
    }

    /// Adds the vectors of a batch.
    ///
    /// # Errors
    /// They cannot be compressed.
    pub(super) fn push(&mut self, vectors: &FixedSizeListArray) -> Result<()> {
        let full = (PAGE_BYTES / (self.length * PLANES)).clamp(1, PAGE_VECTORS);
        let mut from = 0;
        while from < vectors.len() {
            let some = vectors.slice(from, (full - self.vectors).min(vectors.len() - from));
            from += some.len();
            self.vectors += some.len();
            self.open.push(some);
            if self.vectors == full {
                self.end_page()?;
            }
        }
        Ok(())
    }

    /// Bytes that are held: pages, batches of which some is in no page yet, and what zstd works with.
    pub(super) fn bytes(&self) -> usize {
        let open: usize = self.open.iter().map(|array| array.values().get_buffer_memory_size()).sum();
        self.held + open + self.plain.capacity() + self.context
    }

    /// Writes all of them as the next column chunk.
    ///
    /// # Errors
    /// The next column is another.
    pub(super) fn write<W: Write + Send>(mut self, to: &mut SerializedRowGroupWriter<'_, W>) -> Result<()> {
        self.end_page()?;
        let Totals { pages, rows, levels, compressed, uncompressed } = self.totals;
        let encodings = [Encoding::RLE, Encoding::BYTE_STREAM_SPLIT];
        let stats = PageEncodingStats { page_type: PageType::DATA_PAGE, encoding: encodings[1], count: pages };
        let metadata = ColumnChunkMetaData::builder(self.column)
            .set_compression(self.compression)
            .set_encodings(encodings.to_vec())
            .set_page_encoding_stats(vec![stats])
            .set_total_compressed_size(signed(compressed)?)
            .set_total_uncompressed_size(signed(uncompressed)?)
            .set_num_values(signed(levels)?)
            .set_data_page_offset(0)
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: compressed,
            rows_written: rows,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(self.offsets.build()),
        };
        to.append_column(&Pages { pages: Mutex::new(self.pages), bytes: compressed }, close)
    }

    /// Encodes what was not in a page yet.
    fn end_page(&mut self) -> Result<()> {
        let (vectors, rows) = (std::mem::take(&mut self.open), std::mem::take(&mut self.vectors));
        if rows == 0 {
            return Ok(());
        }
        self.plain.clear();
        let levels = self.levels(&vectors);
        self.planes(&vectors);
        let mut data = match &mut self.compressor {
            Some(compressor) => {
                let data = compressor.compress(&self.plain)?;
                self.context = compressor.context_mut().sizeof();
                data
            }
            None => self.plain.clone(),
        };
        // There was room for all of it: what became much less must not hold that.
        if data.len() < data.capacity() / 2 {
            data.shrink_to_fit();
        }
        self.held += data.capacity() + PAGE_HEADER;
        let data = Bytes::from(data);
        let page = Page::DataPage {
            buf: data.clone(),
            num_values: u32::try_from(levels).map_err(|_| too_large("a page", levels))?,
            encoding: Encoding::BYTE_STREAM_SPLIT,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let mut front = TrackedWrite::new(Front::default());
        let written = SerializedPageWriter::new(&mut front).write_page(CompressedPage::new(page, self.plain.len()))?;
        let (header, size) = (front.into_inner()?.before(&data)?, written.bytes_written);
        self.offsets.append_row_count(signed(rows as u64)?);
        let stored = i32::try_from(size).map_err(|_| too_large("a page", size))?;
        self.offsets.append_offset_and_size(signed(self.totals.compressed)?, stored);
        self.totals.pages += 1;
        self.totals.rows += rows as u64;
        self.totals.levels += levels as u64;
        self.totals.compressed += size;
        self.totals.uncompressed += written.uncompressed_size as u64;
        self.pages.extend([header, data]);
        Ok(())
    }

    /// Appends the levels of a page, and says how many there are.
    fn levels(&mut self, vectors: &[FixedSizeListArray]) -> usize {
        let (mut repetition, mut definition) = (Levels::up_to(1), Levels::up_to(self.present));
        let mut count = 0;
        for array in vectors {
            let elements = array.values().nulls().filter(|nulls| nulls.null_count() > 0);
            for row in 0..array.len() {
                repetition.push(0, 1);
                count += 1;
                if array.is_null(row) {
                    definition.push(0, 1);
                    continue;
                }
                repetition.push(1, self.length - 1);
                count += self.length - 1;
                match elements {
                    None => definition.push(self.present, self.length),
                    Some(nulls) => (row * self.length..(row + 1) * self.length)
                        .for_each(|index| definition.push(self.present - u8::from(nulls.is_null(index)), 1)),
                }
            }
        }
        repetition.finish(&mut self.plain);
        definition.finish(&mut self.plain);
        count
    }

    /// Appends the elements of a page that are there: the first byte of each, then the second of each, and so on.
    fn planes(&mut self, vectors: &[FixedSizeListArray]) {
        let elements: Vec<Float32Array> = vectors.iter().flat_map(|array| self.elements(array)).collect();
        let count = elements.iter().map(Float32Array::len).sum::<usize>();
        let start = self.plain.len();
        self.plain.resize(start + count * PLANES, 0);
        let (_, planes) = self.plain.split_at_mut(start);
        let mut at = 0;
        for elements in &elements {
            // Plane by plane into a slice of it: so the compiler makes it vector instructions.
            for (plane, shift) in planes.chunks_exact_mut(count.max(1)).zip((0_u32..).step_by(8)) {
                let bytes = plane.get_mut(at..at + elements.len()).unwrap_or_default();
                bytes
                    .iter_mut()
                    .zip(elements.values())
                    .for_each(|(byte, value)| *byte = (value.to_bits() >> shift) as u8);
            }
            at += elements.len();
        }
    }

    /// The elements of an array that are there.
    fn elements(&self, array: &FixedSizeListArray) -> Vec<Float32Array> {
        let all = array.values().as_primitive::<Float32Type>();
        let (mut found, mut from) = (Vec::new(), 0);
        while from < array.len() {
            let is_null = array.is_null(from);
            let alike = (from..array.len()).take_while(|row| array.is_null(*row) == is_null).count();
            if !is_null {
                let some = all.slice(from * self.length, alike * self.length);
                found.push(if some.null_count() > 0 {
                    Float32Array::from_iter_values(some.iter().flatten())
                } else {
                    some
                });
            }
            from += alike;
        }
        found
    }
}

/// What a page of vectors holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VectorPage {
    /// Vectors, those that are absent among them.
    pub rows: u64,
    /// Levels, which is what Parquet counts as values.
    pub levels: u64,
}

impl VectorPage {
    /// A page of vectors of so many elements, decompressed, where its rows are vectors of that length or absent, and its elements as many as
    /// its levels say; `None` for any other page.
    pub(crate) fn of(column: &ColumnDescPtr, length: usize, page: &Page) -> Option<Self> {
        let Page::DataPage { buf, num_values, encoding, def_level_encoding, rep_level_encoding, .. } = page else {
            return None;
        };
        let run_lengths = [*def_level_encoding, *rep_level_encoding] == [Encoding::RLE; 2];
        if *encoding != Encoding::BYTE_STREAM_SPLIT || !run_lengths {
            return None;
        }
        let (mut rest, levels) = (&buf[..], usize::try_from(*num_values).ok()?);
        let present = u8::try_from(column.max_def_level()).ok()?;
        let (rows, alone) = take_vectors(&mut rest, length, levels)?;
        let definitions = take_levels(&mut rest, present, levels)?;
        let (absent, values) = (definitions.first()?, *definitions.get(usize::from(present))?);
        let all_there = Some(rest.len()) == values.checked_mul(PLANES);
        let as_absent = length == 1 || alone == *absent;
        (all_there && as_absent).then_some(Self { rows: rows as u64, levels: levels as u64 })
    }
}

/// Takes what a page begins with, its header, and nothing more: what follows is there already, and stays where it is.
#[derive(Default)]
struct Front {
    bytes: Vec<u8>,
    written: usize,
}

impl Front {
    /// What was written before `data`, which was written last.
    fn before(mut self, data: &[u8]) -> Result<Bytes> {
        let length = self.written.saturating_sub(data.len());
        if length > self.bytes.len() {
            return Err(too_large("the header of a page", length));
        }
        self.bytes.truncate(length);
        Ok(self.bytes.into())
    }
}

impl Write for Front {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PAGE_HEADER - self.bytes.len();
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        self.written += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The pages of a column chunk, each given up when it was read.
struct Pages {
    pages: Mutex<VecDeque<Bytes>>,
    bytes: u64,
}

impl Length for Pages {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Pages {
    type T = PagesReader;

    /// Parquet reads a column chunk that is handed over once, from its start.
    fn get_read(&self, start: u64) -> Result<PagesReader> {
        let pages = std::mem::take(&mut *self.pages.lock().unwrap_or_else(PoisonError::into_inner));
        match start {
            0 => Ok(PagesReader(pages)),
            _ => Err(ParquetError::General(format!("the pages of a column are asked for from byte {start}"))),
        }
    }

    fn get_bytes(&self, start: u64, _: usize) -> Result<Bytes> {
        Err(ParquetError::General(format!("a page of a column is asked for at byte {start}")))
    }
}

struct PagesReader(VecDeque<Bytes>);

impl Read for PagesReader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.0.front().is_some_and(|page| page.is_empty()) {
            self.0.pop_front();
        }
        let Some(page) = self.0.front_mut() else { return Ok(0) };
        let length = page.len().min(to.len());
        page.split_to(length).copy_to_slice(to.get_mut(..length).unwrap_or_default());
        Ok(length)
    }
}

fn signed(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_| too_large("a column", value))
}

fn too_large(what: &str, size: impl std::fmt::Display) -> ParquetError {
    ParquetError::General(format!("{what} of {size} is larger than Parquet can say"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::RecordBatch;
    use arrow::compute::concat_batches;
    use arrow::datatypes::Schema;
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::{
        ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
    };
    use parquet::file::metadata::PageIndexPolicy;

    use super::super::super::encode::BatchWriter;
    use super::super::super::options::ParquetOptions;
    use super::super::ParquetFile;
    use super::*;

    /// Vectors of a length, some of them absent, some with elements that are absent, as the field allows.
    fn batch(rows: usize, length: i32, may_lack: bool, may_have_nulls: bool) -> RecordBatch {
        let vectors = (0..rows).map(|row| {
            let elements = (0..length).map(move |index| {
                let value = (row * 31) as f32 + index as f32;
                (!may_have_nulls || row % 5 > 0 || index % 2 > 0).then_some(value)
            });
            (!may_lack || row % 3 > 0).then(|| elements.collect::<Vec<_>>())
        });
        let array = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, length);
        let item = Arc::new(Field::new("item", DataType::Float32, may_have_nulls));
        let (_, _, values, nulls) = array.into_parts();
        let nulls = nulls.filter(|_| may_lack);
        // Elements of absent vectors are null where the builder made them so; without nulls they are some number.
        let values = match may_have_nulls {
            true => values,
            false => Arc::new(Float32Array::new(values.as_primitive::<Float32Type>().values().clone(), None)),
        };
        let array = FixedSizeListArray::new(Arc::clone(&item), length, values, nulls);
        let field = Field::new("v", DataType::FixedSizeList(item, length), may_lack);
        RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(array)]).unwrap()
    }

    fn written(batch: &RecordBatch, options: &ParquetOptions, slices: usize) -> Bytes {
        let mut file = Box::new(ParquetFile::new(options, &batch.schema()).unwrap());
        let mut bytes = Vec::new();
        for from in (0..batch.num_rows()).step_by(slices) {
            file.write(&batch.slice(from, slices.min(batch.num_rows() - from))).unwrap();
            bytes.extend(file.take().concat());
        }
        bytes.extend(file.finish().unwrap().0.concat());
        bytes.into()
    }

    #[test]
    fn vectors_come_back_whatever_they_lack() {
        let small = ParquetOptions { max_rows: 100, ..ParquetOptions::default() };
        let plain = ParquetOptions { compression: PageCompression::None, ..ParquetOptions::default() };
        let high = ParquetOptions { level: Some(19), ..ParquetOptions::default() };
        for (may_lack, may_have_nulls) in [(false, false), (true, false), (false, true), (true, true)] {
            for (rows, length) in
                [(1, 1), (9, 1), (20_001, 1), (1_000, 2), (250, 3), (8, 7), (9, 8), (7, 9), (40, 20_000), (0, 4)]
            {
                let batch = batch(rows, length, may_lack, may_have_nulls);
                for (options, slices) in [(&ParquetOptions::default(), 1_000), (&small, 7), (&plain, 300), (&high, 77)]
                {
                    let bytes = written(&batch, options, slices);
                    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
                    let found: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
                    let found = concat_batches(&batch.schema(), &found).unwrap();
                    assert_eq!(found, batch, "{rows} x {length}, {may_lack}, {may_have_nulls}, {slices}");
                }
            }
        }
    }

    /// A row of a page is found by the number of the page's first row.
    #[test]
    fn rows_are_found_by_the_places_of_pages() {
        let batch = batch(20_001, 100, true, false);
        let bytes = written(&batch, &ParquetOptions::default(), 3_000);
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        for row in [0, 2_620, 2_621, 2_622, 9_999, 20_000] {
            let selection = RowSelection::from(vec![RowSelector::skip(row), RowSelector::select(1)]);
            let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), options.clone()).unwrap();
            let found: Vec<RecordBatch> =
                reader.with_row_selection(selection).build().unwrap().map(Result::unwrap).collect();
            assert_eq!(found, [batch.slice(row, 1)], "{row}");
        }
    }
}

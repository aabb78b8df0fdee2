//! Reads a column of vectors back page by page: no more than one page of it is in memory.
//!
//! The elements are bytes by plane, which are numbers whatever they are. What can be wrong is everything around them: where a page lies and what its
//! header says, which rows it begins with, and where a vector begins and ends.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;
use bytes::buf::Reader;
use parquet::basic::{Encoding, Type};
use parquet::column::page::PageReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use restow_core::Result;

use super::read_back::{Chunk, range_of};
use crate::codec::VectorPage;

/// A column of vectors of a row group: each page decompressed, all its levels decoded, and as many elements there as these say.
pub(super) struct Vectors<'a> {
    column: &'a ColumnChunkMetaData,
    /// Elements of a vector.
    length: usize,
    pages: VecDeque<PageLocation>,
    /// Number of the first row of the page that comes.
    first_row: i64,
    page: Arc<OnePage>,
    reader: SerializedPageReader<OnePage>,
    rows: u64,
    levels: u64,
}

impl<'a> Vectors<'a> {
    /// The vectors of a column, by its numbers in the file; `None` where it is no such column, or where nobody says where its pages lie.
    ///
    /// # Errors
    /// Its compression is unknown.
    pub(super) fn of(
        footer: &'a ParquetMetaData,
        group: usize,
        column: usize,
        schema: &SchemaRef,
    ) -> Result<Option<Self>> {
        let index = footer.offset_index().and_then(|groups| groups.get(group)?.get(column));
        let group = footer.row_groups().get(group);
        let Some((index, group, column)) = index.zip(group).and_then(|(index, group)| {
            let column = group.columns().get(column)?;
            Some((index, group, column))
        }) else {
            return Ok(None);
        };
        let pages = index.page_locations();
        let Some(length) = length_of(column, schema).filter(|_| are_all_of(column, pages)) else { return Ok(None) };
        let rows = usize::try_from(group.num_rows()).unwrap_or(usize::MAX);
        let page = Arc::new(OnePage(Mutex::new(Chunk { bytes: Bytes::new(), range: 0..0 })));
        // Without the places of the pages: so it goes by their headers, which have to be right for all who read like that.
        let reader = SerializedPageReader::new(Arc::clone(&page), column, rows, None)?;
        let pages = pages.clone().into();
        Ok(Some(Self { column, length, pages, first_row: 0, page, reader, rows: 0, levels: 0 }))
    }

    /// Where the next page is.
    pub(super) fn next(&mut self) -> Option<Range<u64>> {
        let page = self.pages.pop_front()?;
        self.first_row = page.first_row_index;
        range_of_page(&page)
    }

    /// Counts the page that lies there.
    ///
    /// # Errors
    /// It is damaged, or holds something else than its header, its levels and its place say.
    pub(super) fn count(&mut self, page: Chunk) -> Result<()> {
        *self.page.lock() = page;
        let column = self.column.column_descr_ptr();
        let page = self.reader.get_next_page()?;
        let page = page.and_then(|page| VectorPage::of(&column, self.length, &page));
        let page = page.ok_or_else(|| self.wrong("holds other elements than its levels say"))?;
        if u64::try_from(self.first_row) != Ok(self.rows) {
            return Err(self
                .wrong(&format!("begins at row {} and is said to at {}", self.rows, self.first_row))
                .into());
        }
        self.rows += page.rows;
        self.levels += page.levels;
        Ok(())
    }

    /// Rows of all pages.
    ///
    /// # Errors
    /// There is another page, or other values than the file says.
    pub(super) fn finish(mut self) -> Result<u64> {
        if self.reader.get_next_page()?.is_some() {
            return Err(self.wrong("follows the last one").into());
        }
        if u64::try_from(self.column.num_values()) != Ok(self.levels) {
            let said = self.column.num_values();
            return Err(self.wrong(&format!("is the last, and there are {} values of {said}", self.levels)).into());
        }
        Ok(self.rows)
    }

    fn wrong(&self, what: &str) -> ParquetError {
        ParquetError::General(format!("a page of {} {what}", self.column.column_path()))
    }
}

/// The length of the vectors, where they are vectors, without a dictionary.
fn length_of(column: &ColumnChunkMetaData, schema: &SchemaRef) -> Option<usize> {
    let described = column.column_descr();
    let of_vectors = described.physical_type() == Type::FLOAT
        && described.max_rep_level() == 1
        && column.dictionary_page_offset().is_none()
        && column.encodings().all(|encoding| matches!(encoding, Encoding::RLE | Encoding::BYTE_STREAM_SPLIT));
    match schema.field_with_name(column.column_path().parts().first()?).ok()?.data_type() {
        DataType::FixedSizeList(item, length) if of_vectors && *item.data_type() == DataType::Float32 => {
            usize::try_from(*length).ok()
        }
        _ => None,
    }
}

/// Whether these pages, one after the other, are all of a column.
fn are_all_of(column: &ColumnChunkMetaData, pages: &[PageLocation]) -> bool {
    let Range { start, end } = range_of(column);
    let behind = pages.iter().try_fold(start, |at, page| {
        let range = range_of_page(page)?;
        (range.start == at && range.end > at).then_some(range.end)
    });
    behind == Some(end)
}

fn range_of_page(page: &PageLocation) -> Option<Range<u64>> {
    let (start, length) = (u64::try_from(page.offset).ok()?, u64::try_from(page.compressed_page_size).ok()?);
    Some(start..start.checked_add(length)?)
}

/// The page that is decoded, for a reader that asks for one after the other.
struct OnePage(Mutex<Chunk>);

impl OnePage {
    fn lock(&self) -> MutexGuard<'_, Chunk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Length for OnePage {
    fn len(&self) -> u64 {
        self.lock().len()
    }
}

impl ChunkReader for OnePage {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        self.lock().get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.lock().get_bytes(start, length)
    }
}

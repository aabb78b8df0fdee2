//! The folder of an export, on this machine or a store, and the Parquet files in it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, RowSelection, RowSelector};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use restow_core::stage::OpenContext;
use restow_core::{EngineError, Result};
use restow_store::location::Location;

/// Bytes that are read from the end of a file to get its footer in one request.
const FOOTER_HINT: u64 = 64 << 10;

/// A folder.
#[derive(Clone)]
pub struct Folder {
    location: Location,
    /// As the user wrote it, or the server.
    pub shown: String,
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Folder").field(&self.shown).finish()
    }
}

/// Rows of one row group of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The row group.
    pub group: usize,
    /// Rows of it that are passed over.
    pub from: u64,
    /// Rows that are read.
    pub rows: u64,
}

impl Folder {
    /// Opens a path or an address, below a connection of kind `files` where one is named.
    ///
    /// # Errors
    /// It is no usable address, or there is no such connection.
    pub fn open(path: &str, connection: Option<&str>, context: &OpenContext) -> Result<Self> {
        let (location, shown) = crate::files::folder(path, connection, context)?;
        Ok(Self { location, shown })
    }

    /// A folder of it.
    ///
    /// # Errors
    /// The name is none.
    pub fn join(&self, name: &str) -> Result<Self> {
        let location = self.location.join(name).map_err(|error| EngineError::usage(error.to_string()))?;
        Ok(Self { location, shown: self.show(name) })
    }

    /// The name of something in it, as the user would write it.
    pub fn show(&self, relative: &str) -> String {
        format!("{}/{relative}", self.shown.trim_end_matches('/'))
    }

    /// Everything in it, by its path below it; sorted.
    ///
    /// # Errors
    /// The store cannot be asked, or cannot list.
    pub async fn list(&self) -> Result<Vec<(String, ObjectMeta)>> {
        if !self.location.lists {
            return Err(EngineError::usage(format!("{:?} is on a server that cannot list its files", self.shown)));
        }
        let listed: Vec<ObjectMeta> = self
            .location
            .store
            .list(Some(&self.location.root))
            .try_collect()
            .await
            .map_err(|error| EngineError::from(error).context(format!("{:?} cannot be listed", self.shown)))?;
        let mut found: Vec<(String, ObjectMeta)> = listed
            .into_iter()
            .filter_map(|meta| Some((self.location.relative(&meta.location)?.to_owned(), meta)))
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    /// A small file; `None` where there is none.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn bytes(&self, relative: &str) -> Result<Option<Bytes>> {
        let failed = |error: object_store::Error| {
            EngineError::from(error).context(format!("{:?} cannot be read", self.show(relative)))
        };
        match self.location.store.get(&self.path(relative)?).await {
            Ok(found) => found.bytes().await.map(Some).map_err(failed),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// What the store says of a file now.
    ///
    /// # Errors
    /// It is gone, or the store cannot be asked.
    pub async fn head(&self, relative: &str) -> Result<ObjectMeta> {
        let found = self.location.store.head(&self.path(relative)?).await;
        found.map_err(|error| EngineError::from(error).context(format!("{:?} cannot be read", self.show(relative))))
    }

    fn path(&self, relative: &str) -> Result<object_store::path::Path> {
        self.location.path(relative).map_err(|error| EngineError::failed(error.to_string()))
    }

    /// The footer of a file.
    ///
    /// # Errors
    /// It is no Parquet file, is cut off, or the store cannot be asked.
    pub async fn footer(&self, relative: &str, meta: &ObjectMeta) -> Result<ParquetMetaData> {
        let mut reader = self.reader(meta);
        reader.load(PageIndexPolicy::Skip).await.map_err(|error| self.unreadable(relative, error))
    }

    /// Rows of a file, and a count of the bytes fetched for them. Only these columns, and of large groups only the pages that
    /// hold the rows.
    ///
    /// # Errors
    /// The file cannot be read as Parquet.
    pub async fn rows(
        &self,
        relative: &str,
        meta: &ObjectMeta,
        part: &Part,
        columns: &[&str],
        batch_rows: usize,
    ) -> Result<(ParquetRecordBatchStream<StoreReader>, Arc<AtomicU64>)> {
        let reader = self.reader(meta);
        let fetched = Arc::clone(&reader.fetched);
        let builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, ArrowReaderOptions::new())
            .await
            .map_err(|error| self.unreadable(relative, error))?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        let count = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
        let selection =
            RowSelection::from(vec![RowSelector::skip(count(part.from)), RowSelector::select(count(part.rows))]);
        let stream = builder
            .with_row_groups(vec![part.group])
            .with_row_selection(selection)
            .with_projection(mask)
            .with_batch_size(batch_rows.max(1))
            .build()
            .map_err(|error| self.unreadable(relative, error))?;
        Ok((stream, fetched))
    }

    /// The error of a file that is no Parquet, or damaged.
    pub fn unreadable(&self, relative: &str, error: ParquetError) -> EngineError {
        EngineError::from(error)
            .context(format!("{:?} cannot be read as Parquet", self.show(relative)))
            .with_hint("it is damaged or was cut off: copy the export again, or make a new one; it was only read")
    }

    fn reader(&self, meta: &ObjectMeta) -> StoreReader {
        StoreReader { store: Arc::clone(&self.location.store), meta: meta.clone(), fetched: Arc::default() }
    }
}

/// Changes when a file changes: its version where the store has one, else the time of the last change.
pub fn version(meta: &ObjectMeta) -> String {
    let bare = |tag: &String| tag.trim_start_matches("W/").trim_matches('"').to_owned();
    let tag = meta.e_tag.as_ref().map(bare).or_else(|| meta.version.clone());
    tag.unwrap_or_else(|| meta.last_modified.to_rfc3339())
}

/// Ranges of a file on an object store.
pub struct StoreReader {
    store: Arc<dyn ObjectStore>,
    meta: ObjectMeta,
    fetched: Arc<AtomicU64>,
}

impl StoreReader {
    async fn load(&mut self, pages: PageIndexPolicy) -> Result<ParquetMetaData, ParquetError> {
        let size = self.meta.size;
        let hint = usize::try_from(FOOTER_HINT.min(size)).ok();
        let reader = ParquetMetaDataReader::new().with_prefetch_hint(hint).with_page_index_policy(pages);
        reader.load_and_finish(self, size).await
    }
}

impl AsyncFileReader for StoreReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move {
            self.fetched.fetch_add(range.end.saturating_sub(range.start), Ordering::Relaxed);
            self.store.get_range(&self.meta.location, range).await.map_err(external)
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move {
            let bytes: u64 = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
            self.fetched.fetch_add(bytes, Ordering::Relaxed);
            self.store.get_ranges(&self.meta.location, &ranges).await.map_err(external)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        // With the index of pages a part of a group needs only its own pages.
        async move { self.load(PageIndexPolicy::Optional).await.map(Arc::new) }.boxed()
    }
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

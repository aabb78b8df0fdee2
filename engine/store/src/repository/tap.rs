//! Counting and hashing of stored bytes while they are written or read: a store layer **under** encryption and block
//! digests.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use sha2::{Digest, Sha256};

use crate::container::HEADER;

/// What was stored at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Bytes on the store.
    pub bytes: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
    /// The first bytes, as many as a container header has, or fewer where the object is shorter.
    pub head: Vec<u8>,
}

/// Records what is written through it, and what reads of whole objects have passed on. Made for one writer or one
/// proof: it remembers every object.
#[derive(Debug)]
pub struct DigestTap {
    inner: Arc<dyn ObjectStore>,
    seen: Arc<Mutex<HashMap<Path, Stored>>>,
    read: Arc<Mutex<HashMap<Path, Meter>>>,
}

impl DigestTap {
    /// A layer over `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, seen: Arc::default(), read: Arc::default() }
    }

    /// What was stored at `path` by the last write that succeeded.
    pub fn stored(&self, path: &Path) -> Option<Stored> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// What the last read of the whole object at `path` has passed on so far. Reads of ranges do not count.
    pub fn passed(&self, path: &Path) -> Option<Stored> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned().map(Meter::finish)
    }
}

#[derive(Debug, Clone, Default)]
struct Meter {
    hash: Sha256,
    bytes: u64,
    head: Vec<u8>,
}

impl Meter {
    fn add(&mut self, piece: &[u8]) {
        self.hash.update(piece);
        self.bytes += piece.len() as u64;
        self.head.extend(piece.iter().take(HEADER.saturating_sub(self.head.len())));
    }

    fn finish(self) -> Stored {
        Stored { bytes: self.bytes, sha256: self.hash.finalize().into(), head: self.head }
    }
}

impl fmt::Display for DigestTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DigestTap({})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for DigestTap {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let mut meter = Meter::default();
        payload.iter().for_each(|piece| meter.add(piece));
        let result = self.inner.put_opts(location, payload, opts).await?;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(location.clone(), meter.finish());
        Ok(result)
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(TappedUpload {
            inner: self.inner.put_multipart_opts(location, opts).await?,
            meter: Meter::default(),
            path: location.clone(),
            seen: Arc::clone(&self.seen),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let whole = options.range.is_none() && !options.head;
        let mut found = self.inner.get_opts(location, options).await?;
        if !whole {
            return Ok(found);
        }
        let (meta, range, attributes) =
            (found.meta.clone(), found.range.clone(), std::mem::take(&mut found.attributes));
        let (read, path) = (Arc::clone(&self.read), location.clone());
        read.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), Meter::default());
        let stream = found.into_stream().inspect_ok(move |piece| {
            read.lock().unwrap_or_else(PoisonError::into_inner).entry(path.clone()).or_default().add(piece);
        });
        Ok(GetResult { payload: GetResultPayload::Stream(stream.boxed()), meta, range, attributes })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct TappedUpload {
    inner: Box<dyn MultipartUpload>,
    meter: Meter,
    path: Path,
    seen: Arc<Mutex<HashMap<Path, Stored>>>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for TappedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        data.iter().for_each(|piece| self.meter.add(piece));
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await?;
        let stored = std::mem::take(&mut self.meter).finish();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(self.path.clone(), stored);
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

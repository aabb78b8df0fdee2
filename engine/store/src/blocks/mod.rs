//! Block digests for plain repositories: a store layer that makes them on writing and checks them on every read.
//!
//! Parquet files written by parquet-rs have no page checksums, so a flipped bit in a float is a wrong value without an
//! error. Beside every data object `x` lies `x.sha256` with the SHA-256 of each block of 1 MiB ([`BlockDigests`]).
//! Range reads are widened to blocks; a block is passed on only after its digest was compared.
//!
//! Encrypted repositories do not need this layer: the container authenticates each chunk.

mod digests;
mod read;
mod upload;

#[cfg(test)]
mod tests;

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
    CopyMode, CopyOptions, Error, GetOptions, GetRange, GetResult, ListResult, MultipartUpload,
    OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, RenameTargetMode, Result, coalesce_ranges,
};
use sha2::{Digest, Sha256};

use crate::location::relative_to;
use crate::repository::small;
use digests::BlockHasher;
pub use digests::{BLOCK, BlockDigests, BlockError};
use upload::HashedUpload;

/// Ending of the name of a digest object.
pub const DIGEST_SUFFIX: &str = ".sha256";

/// Digest objects kept in memory: with 32 bytes a MiB this many bytes describe 1 TiB.
const CACHE_BYTES: usize = 32 << 20;

/// No digest object is longer: it would be that of 8 TiB, more than the stores take.
const LARGEST_DIGESTS: u64 = 256 << 20;

/// Checks data objects block by block. Digest objects are not visible through it.
#[derive(Debug, Clone)]
pub struct BlockVerifiedStore {
    inner: Arc<dyn ObjectStore>,
    root: Path,
    is_data: fn(&str) -> bool,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// SHA-256 of digest objects, as manifests name them.
    expected: HashMap<Path, [u8; 32]>,
    cached: HashMap<Path, Arc<BlockDigests>>,
    cached_bytes: usize,
}

impl BlockVerifiedStore {
    /// A layer over `inner` in which the objects below `root` for whose relative path `is_data` holds have digests.
    pub fn new(inner: Arc<dyn ObjectStore>, root: Path, is_data: fn(&str) -> bool) -> Self {
        Self { inner, root, is_data, shared: Arc::default() }
    }

    /// Says what SHA-256 the digest object of the data object at `path` has, so that a data object and its digests
    /// cannot be exchanged together.
    pub fn expect(&self, path: Path, digest: [u8; 32]) {
        self.forget(&path);
        self.lock().expected.insert(path, digest);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn covers(&self, path: &Path) -> bool {
        relative_to(&self.root, path).is_some_and(|relative| (self.is_data)(relative))
    }

    /// Whether the object is the digest object of a data object.
    fn is_digest(&self, path: &Path) -> bool {
        let data = relative_to(&self.root, path).and_then(|relative| relative.strip_suffix(DIGEST_SUFFIX));
        data.is_some_and(|data| (self.is_data)(data))
    }

    fn forget(&self, path: &Path) {
        let mut shared = self.lock();
        shared.expected.remove(path);
        if let Some(old) = shared.cached.remove(path) {
            shared.cached_bytes = shared.cached_bytes.saturating_sub(old.weight());
        }
    }

    /// The digests of a data object, from memory or from the store.
    async fn digests(&self, path: &Path) -> Result<Arc<BlockDigests>> {
        if let Some(found) = self.lock().cached.get(path) {
            return Ok(Arc::clone(found));
        }
        let bytes = match self.inner.get(&digest_path(path)?).await {
            Ok(found) => small::collect(found, LARGEST_DIGESTS).await?,
            Err(Error::NotFound { .. }) => return Err(damaged(BlockError::Missing { path: path.to_string() })),
            Err(e) => return Err(e),
        };
        let expected = self.lock().expected.get(path).copied();
        if expected.is_some_and(|expected| expected != *Sha256::digest(&bytes)) {
            let problem = "it is not the object that the manifest names";
            return Err(damaged(BlockError::Digests { path: path.to_string(), problem }));
        }
        let digests = Arc::new(BlockDigests::decode(path.as_ref(), &bytes).map_err(damaged)?);
        let mut shared = self.lock();
        if shared.cached_bytes + digests.weight() > CACHE_BYTES {
            shared.cached.clear();
            shared.cached_bytes = 0;
        }
        shared.cached_bytes += digests.weight();
        shared.cached.insert(path.clone(), Arc::clone(&digests));
        Ok(digests)
    }

    async fn write_digests(&self, path: &Path, digests: &BlockDigests) -> Result<()> {
        let result = self.inner.put(&digest_path(path)?, digests.encode().into()).await;
        self.forget(path);
        result.map(|_| ())
    }

    fn without_digests(
        &self,
        listing: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let layer = self.clone();
        listing.try_filter(move |meta| futures::future::ready(!layer.is_digest(&meta.location))).boxed()
    }
}

/// Where the digests of a data object lie.
pub fn digest_path(path: &Path) -> Result<Path> {
    Ok(Path::parse(format!("{path}{DIGEST_SUFFIX}"))?)
}

/// Carries a [`BlockError`] through the store interface; [`crate::repository::exit_class_of`] finds it there.
fn damaged(error: BlockError) -> Error {
    Error::Generic { store: "BlockVerifiedStore", source: error.into() }
}

impl fmt::Display for BlockVerifiedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockVerifiedStore({})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for BlockVerifiedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if !self.covers(location) {
            return self.inner.put_opts(location, payload, opts).await;
        }
        if matches!(opts.mode, PutMode::Update(_)) {
            return Err(Error::NotImplemented {
                operation: "`put_opts` with mode `PutMode::Update` on a data object".to_owned(),
                implementer: self.to_string(),
            });
        }
        let mut hasher = BlockHasher::default();
        payload.iter().for_each(|piece| hasher.update(piece));
        let result = self.inner.put_opts(location, payload, opts).await?;
        self.write_digests(location, &hasher.finish()).await?;
        Ok(result)
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(location, opts).await?;
        if !self.covers(location) {
            return Ok(upload);
        }
        Ok(Box::new(HashedUpload::new(self.clone(), upload, location.clone())))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if self.is_digest(location) {
            return Err(Error::NotFound { path: location.to_string(), source: "digests are not visible here".into() });
        }
        if options.head || !self.covers(location) {
            return self.inner.get_opts(location, options).await;
        }
        self.read(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if !self.covers(location) {
            return self.inner.get_ranges(location, ranges).await;
        }
        // Ranges that are read as one are cut out of it: one that begins behind the end has to be refused before.
        let length = self.digests_of(location).await?.object_len();
        let inside = |range: &Range<u64>| {
            let inside = GetRange::Bounded(range.clone()).as_range(length);
            inside.map_err(|e| Error::Generic { store: "BlockVerifiedStore", source: e.into() })
        };
        let ranges = ranges.iter().map(inside).collect::<Result<Vec<_>>>()?;
        coalesce_ranges(&ranges, |range| self.get_range(location, range), OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let layer = self.clone();
        locations
            .map(move |location| {
                let layer = layer.clone();
                async move {
                    let location = location?;
                    layer.inner.delete(&location).await?;
                    if layer.covers(&location) {
                        layer.forget(&location);
                        match layer.inner.delete(&digest_path(&location)?).await {
                            Ok(()) | Err(Error::NotFound { .. }) => {}
                            Err(e) => return Err(e),
                        }
                    }
                    Ok(location)
                }
            })
            .buffered(10)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.without_digests(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.without_digests(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut found = self.inner.list_with_delimiter(prefix).await?;
        found.objects.retain(|meta| !self.is_digest(&meta.location));
        Ok(found)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match (self.covers(from), self.covers(to)) {
            (false, false) => self.inner.copy_opts(from, to, options).await,
            (true, true) => {
                self.inner.copy_opts(from, to, options).await?;
                self.forget(to);
                self.inner.copy(&digest_path(from)?, &digest_path(to)?).await
            }
            _ => Err(Error::NotSupported { source: format!("{from} and {to} are not both data objects").into() }),
        }
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        if !self.covers(from) && !self.covers(to) {
            return self.inner.rename_opts(from, to, options).await;
        }
        let mode = match options.target_mode {
            RenameTargetMode::Create => CopyMode::Create,
            RenameTargetMode::Overwrite => CopyMode::Overwrite,
        };
        self.copy_opts(from, to, CopyOptions { mode, extensions: options.extensions }).await?;
        self.delete(from).await
    }
}

//! The local file system as an object store whose writes survive a power cut.
//!
//! `object_store`'s own `LocalFileSystem` does not sync, and syncing after its hard link is too late. So reads are its,
//! and writes are ours: a temporary file in `tmp/` under the store, write, fsync, hard link (create) or rename
//! (overwrite), fsync of the directory and of new parents.
//!
//! Object paths are absolute file system paths without the leading slash, like the keys of a bucket: a location's root
//! says where a repository or a set of files begins. Writes outside the base directory are refused, also through
//! symbolic links.

mod error;
pub mod fs;
mod read;
mod upload;
mod write;

#[cfg(test)]
pub(crate) mod power_cut;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, RenameTargetMode,
    Result,
};

pub use error::{LocalError, is_no_space};
use fs::{Fs, RealFs, TEMP_PREFIX};
pub(crate) use read::stored_stream;
use upload::LocalUpload;
use write::{DurableWriter, Publish};

/// A directory of the local file system, written durably.
#[derive(Debug)]
pub struct LocalStore {
    read: LocalFileSystem,
    write: Arc<DurableWriter>,
    base: PathBuf,
    temp: Path,
}

impl LocalStore {
    /// A store that writes below `base`, an absolute path without links. The directory need not exist: the first write
    /// creates it.
    pub fn new(base: impl Into<PathBuf>) -> Result<Self, LocalError> {
        Self::with_fs(base, Arc::new(RealFs))
    }

    /// The same over another file system, for tests of durability.
    pub fn with_fs(base: impl Into<PathBuf>, fs: Arc<dyn Fs>) -> Result<Self, LocalError> {
        let base = base.into();
        let write = DurableWriter::new(fs, base.clone());
        let temp = Path::from_absolute_path(write.temp_dir())
            .map_err(|e| LocalError::io("use", &base)(std::io::Error::other(e)))?;
        Ok(Self { read: LocalFileSystem::new(), write: Arc::new(write), base, temp })
    }

    /// The directory below which this store writes.
    pub fn base(&self) -> &FsPath {
        &self.base
    }

    fn file(&self, location: &Path) -> Result<PathBuf> {
        self.read.path_to_filesystem(location)
    }

    async fn written(&self, location: &Path) -> Result<PutResult> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let meta = self.read.get_opts(location, options).await?.meta;
        Ok(PutResult { e_tag: meta.e_tag, version: None })
    }

    /// Our own temporary files are no objects.
    fn is_object(temp: &Path, location: &Path) -> bool {
        !(location.prefix_matches(temp) && location.filename().is_some_and(|n| n.starts_with(TEMP_PREFIX)))
    }

    fn without_temp(&self, listing: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
        let temp = self.temp.clone();
        listing.try_filter(move |meta| futures::future::ready(Self::is_object(&temp, &meta.location))).boxed()
    }
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        self.write.tidy();
    }
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalStore({})", self.base.display())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for LocalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let mode = match opts.mode {
            PutMode::Create => Publish::Create,
            PutMode::Overwrite => Publish::Overwrite,
            PutMode::Update(_) => return Err(self.not_implemented("`put_opts` with mode `PutMode::Update`")),
        };
        if !opts.attributes.is_empty() {
            return Err(self.not_implemented("`put_opts` with attributes"));
        }
        let target = self.file(location)?;
        let writer = Arc::clone(&self.write);
        blocking(move || {
            let staged = writer.stage()?;
            let mut offset = 0;
            for piece in &payload {
                staged.write_at(offset, piece)?;
                offset += piece.len() as u64;
            }
            writer.publish(staged, &target, mode)
        })
        .await?;
        self.written(location).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        if !opts.attributes.is_empty() {
            return Err(self.not_implemented("`put_multipart_opts` with attributes"));
        }
        let target = self.file(location)?;
        let writer = Arc::clone(&self.write);
        let staged = blocking(move || writer.stage()).await?;
        Ok(Box::new(LocalUpload::new(Arc::clone(&self.write), staged, target)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let whole = options.range.is_none() && !options.head;
        let mut found = self.read.get_opts(location, options).await?;
        if whole {
            let (meta, range, attributes) =
                (found.meta.clone(), found.range.clone(), std::mem::take(&mut found.attributes));
            found = GetResult { payload: GetResultPayload::Stream(stored_stream(found)), meta, range, attributes };
        }
        Ok(found)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.read.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let read = self.read.clone();
        let writer = Arc::clone(&self.write);
        locations
            .map(move |location| {
                let (read, writer) = (read.clone(), Arc::clone(&writer));
                async move {
                    let location = location?;
                    let file = read.path_to_filesystem(&location)?;
                    blocking(move || writer.remove(&file)).await?;
                    Ok(location)
                }
            })
            .buffered(10)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.without_temp(self.read.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.without_temp(self.read.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut found = self.read.list_with_delimiter(prefix).await?;
        found.objects.retain(|meta| Self::is_object(&self.temp, &meta.location));
        if found.common_prefixes.contains(&self.temp) {
            let inside = self.read.list_with_delimiter(Some(&self.temp)).await?;
            let foreign = inside.objects.iter().any(|meta| Self::is_object(&self.temp, &meta.location));
            if !foreign && inside.common_prefixes.is_empty() {
                found.common_prefixes.retain(|p| *p != self.temp);
            }
        }
        Ok(found)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let mode = match options.mode {
            CopyMode::Create => Publish::Create,
            CopyMode::Overwrite => Publish::Overwrite,
        };
        let (source, target) = (self.file(from)?, self.file(to)?);
        // A missing source and a missing target directory give the same system error.
        self.written(from).await?;
        let writer = Arc::clone(&self.write);
        blocking(move || writer.copy(&source, &target, mode)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let (source, target) = (self.file(from)?, self.file(to)?);
        self.written(from).await?;
        let writer = Arc::clone(&self.write);
        blocking(move || match options.target_mode {
            RenameTargetMode::Overwrite => writer.rename(&source, &target),
            RenameTargetMode::Create => {
                writer.copy(&source, &target, Publish::Create)?;
                writer.remove(&source)
            }
        })
        .await
    }
}

impl LocalStore {
    fn not_implemented(&self, operation: &str) -> object_store::Error {
        object_store::Error::NotImplemented { operation: operation.to_owned(), implementer: self.to_string() }
    }
}

/// Runs file system work on a blocking thread, or in place where no tokio runtime is there.
async fn blocking<T, F>(work: F) -> Result<T>
where
    F: FnOnce() -> Result<T, LocalError> + Send + 'static,
    T: Send + 'static,
{
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => Ok(runtime.spawn_blocking(work).await??),
        Err(_) => Ok(work()?),
    }
}

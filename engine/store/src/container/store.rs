//! The object store layer: what is written through it is sealed, what is read through it was opened and proven.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, RenameTargetMode,
    Result,
};

use super::format::{HEADER, checked_plain_len};
use super::headers::{Headers, KnownHeader};
use super::upload::{EncryptedUpload, seal_payload};
use super::{ContainerError, ObjectCipher};
use crate::keys::Keys;
use crate::location::REMOTE_PART;

/// Decides from a path relative to the repository whether its object is stored in clear.
pub type ClearRule = fn(&str) -> bool;

/// A create-if-absent copy has to hold the whole object in memory; larger ones are refused.
const MAX_CREATE_COPY: u64 = 256 * 1024 * 1024;

/// An encrypted repository over any object store. Sizes are plain sizes; ranges are plain ranges; payloads are always
/// streams. Clones share keys and known headers.
#[derive(Clone)]
pub struct EncryptedStore {
    pub(super) inner: Arc<dyn ObjectStore>,
    root: Path,
    pub(super) keys: Keys,
    clear: ClearRule,
    bind_paths: bool,
    part_bytes: usize,
    pub(super) headers: Arc<Headers>,
}

impl EncryptedStore {
    /// `root` is the repository's root inside `inner`; keys are derived with paths relative to it. Locations outside of it
    /// are refused, and left out of listings. `is_clear` is [`super::is_clear`] for a repository.
    pub fn new(inner: Arc<dyn ObjectStore>, root: Path, keys: Keys, is_clear: ClearRule) -> Self {
        Self { inner, root, keys, clear: is_clear, bind_paths: true, part_bytes: REMOTE_PART, headers: Arc::default() }
    }

    /// Binds the empty path instead of each object's own, so that files may be moved: for `files` sinks only.
    #[must_use]
    pub fn with_movable_files(mut self) -> Self {
        self.bind_paths = false;
        self
    }

    /// Stored bytes of every part of an upload but the last, whatever the caller's parts are. Default: [`REMOTE_PART`].
    #[must_use]
    pub fn with_parts_of(mut self, bytes: usize) -> Self {
        self.part_bytes = bytes.max(1);
        self
    }

    /// Makes a header known that a receipt or manifest keeps: range reads of the object then need no request more, and
    /// every read of it checks stored length and header.
    pub fn remember_header(&self, path: &Path, header: [u8; HEADER], stored_len: u64) {
        self.headers.name(path.clone(), KnownHeader { header, stored_len });
    }

    /// Reads the header of a sealed object from the store, never from memory: for receipts.
    pub async fn header(&self, path: &Path) -> Result<KnownHeader> {
        match self.place(path)? {
            Some(place) => Ok(self.fetch_header(path, &place, &GetOptions::default()).await?.known),
            None => Err(ContainerError::NotAContainer { path: path.to_string() }.into()),
        }
    }

    /// The keys of the repository.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Where a location stands: `None` in clear, else sealed.
    pub(super) fn place(&self, location: &Path) -> Result<Option<Place>, ContainerError> {
        let Some(relative) = self.relative(location) else {
            return Err(ContainerError::Outside { path: location.to_string(), root: self.root.to_string() });
        };
        if (self.clear)(relative) {
            return Ok(None);
        }
        let bound = if self.bind_paths { relative.to_owned() } else { String::new() };
        Ok(Some(Place { relative: relative.to_owned(), bound }))
    }

    fn relative<'a>(&self, location: &'a Path) -> Option<&'a str> {
        if self.root.is_root() {
            return Some(location.as_ref()).filter(|text| !text.is_empty());
        }
        location.as_ref().strip_prefix(self.root.as_ref())?.strip_prefix('/')
    }

    pub(super) fn create_cipher(&self, place: &Place) -> Result<ObjectCipher, ContainerError> {
        ObjectCipher::create_as(&self.keys, &place.bound, &place.relative)
    }

    pub(super) fn open_cipher(&self, place: &Place, header: &[u8; HEADER]) -> Result<ObjectCipher, ContainerError> {
        ObjectCipher::open_as(&self.keys, &place.bound, &place.relative, header)
    }

    /// The metadata with the plain size.
    pub(super) fn plain_meta(&self, mut meta: ObjectMeta) -> Result<ObjectMeta> {
        if let Some(place) = self.place(&meta.location)? {
            self.headers.check_size(&meta.location, &place.relative, meta.size)?;
            meta.size = checked_plain_len(meta.size, &place.relative)?;
        }
        Ok(meta)
    }

    /// Listed objects below the root, with plain sizes.
    fn plain_list(&self, listed: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        listed
            .filter_map(move |meta| {
                let meta = match meta {
                    Ok(meta) if store.relative(&meta.location).is_none() => None,
                    Ok(meta) => Some(store.plain_meta(meta)),
                    Err(e) => Some(Err(e)),
                };
                futures::future::ready(meta)
            })
            .boxed()
    }

    /// The narrowest prefix that holds what is asked for below the root; `None` if nothing can.
    fn scope(&self, prefix: Option<&Path>) -> Option<Option<Path>> {
        match prefix {
            _ if self.root.is_root() => Some(prefix.cloned()),
            Some(prefix) if prefix.prefix_matches(&self.root) => Some(Some(prefix.clone())),
            Some(prefix) if !self.root.prefix_matches(prefix) => None,
            _ => Some(Some(self.root.clone())),
        }
    }

    /// Opens the source and seals it again for the target's path.
    async fn copy_through(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let source = self.get_opts(from, GetOptions::default()).await?;
        let size = source.meta.size;
        let (attributes, extensions) = (source.attributes.clone(), options.extensions);
        let small = u64::try_from(self.part_bytes).unwrap_or(0);
        if options.mode == CopyMode::Create && size > MAX_CREATE_COPY {
            let problem = format!("copying {size} bytes to {to} with create-if-absent; at most {MAX_CREATE_COPY} are");
            return Err(Error::NotSupported { source: problem.into() });
        }
        if options.mode == CopyMode::Create || size <= small {
            let mode = if options.mode == CopyMode::Create { PutMode::Create } else { PutMode::Overwrite };
            let options = PutOptions { mode, attributes, extensions, ..PutOptions::default() };
            let bytes = source.bytes().await?;
            self.put_opts(to, bytes.into(), options).await?;
            return Ok(());
        }
        let options = PutMultipartOptions { attributes, extensions, ..PutMultipartOptions::default() };
        let mut upload = self.put_multipart_opts(to, options).await?;
        let copied = pour(source.into_stream(), upload.as_mut()).await;
        if copied.is_err() {
            // The error that stopped the copy is the one to report; an upload left over is invisible.
            upload.abort().await.ok();
        }
        copied
    }
}

/// A sealed object's place.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Path relative to the repository, for errors.
    pub relative: String,
    /// Path that key and commitment are bound to.
    pub bound: String,
}

async fn pour(mut source: BoxStream<'static, Result<Bytes>>, upload: &mut dyn MultipartUpload) -> Result<()> {
    while let Some(piece) = source.next().await {
        upload.put_part(piece?.into()).await?;
    }
    upload.complete().await.map(|_| ())
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for EncryptedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let Some(place) = self.place(location)? else {
            return self.inner.put_opts(location, payload, opts).await;
        };
        let sealed = seal_payload(self.create_cipher(&place)?, &payload).await?;
        let result = self.inner.put_opts(location, sealed, opts).await?;
        self.headers.forget(location);
        Ok(result)
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let Some(place) = self.place(location)? else {
            return self.inner.put_multipart_opts(location, opts).await;
        };
        let cipher = self.create_cipher(&place)?;
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(EncryptedUpload::new(inner, self.part_bytes, cipher, location.clone(), Arc::clone(&self.headers))))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.place(location)? {
            Some(place) => self.get_sealed(location, &place, options).await,
            None => self.get_clear(location, options).await,
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<Bytes>> {
        match self.place(location)? {
            Some(place) => self.get_sealed_ranges(location, &place, ranges).await,
            None => self.inner.get_ranges(location, ranges).await,
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let inside = locations.map(move |location| {
            let location = location?;
            store.place(&location)?;
            store.headers.forget(&location);
            Ok(location)
        });
        self.inner.delete_stream(inside.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.scope(prefix) {
            Some(scope) => self.plain_list(self.inner.list(scope.as_ref())),
            None => stream::empty().boxed(),
        }
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.scope(prefix) {
            Some(scope) => self.plain_list(self.inner.list_with_offset(scope.as_ref(), offset)),
            None => stream::empty().boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        let root = &self.root;
        listed.common_prefixes.retain(|p| p.prefix_matches(root) || root.prefix_matches(p));
        listed.objects.retain(|meta| self.relative(&meta.location).is_some());
        let objects = listed.objects.into_iter().map(|meta| self.plain_meta(meta)).collect::<Result<_>>()?;
        Ok(ListResult { common_prefixes: listed.common_prefixes, objects })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match (self.place(from)?, self.place(to)?) {
            (None, None) => self.inner.copy_opts(from, to, options).await,
            (Some(_), None) => Err(ContainerError::WouldExpose { from: from.to_string(), to: to.to_string() }.into()),
            (_, Some(_)) => self.copy_through(from, to, options).await,
        }
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        if self.place(from)?.is_none() && self.place(to)?.is_none() {
            return self.inner.rename_opts(from, to, options).await;
        }
        let mode = match options.target_mode {
            RenameTargetMode::Overwrite => CopyMode::Overwrite,
            RenameTargetMode::Create => CopyMode::Create,
        };
        self.copy_opts(from, to, CopyOptions { mode, extensions: options.extensions }).await?;
        self.delete(from).await
    }
}

impl fmt::Display for EncryptedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptedStore({})", self.inner)
    }
}

impl fmt::Debug for EncryptedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedStore")
            .field("inner", &self.inner)
            .field("root", &self.root)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

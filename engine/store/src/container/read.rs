//! Reading: plain ranges to stored ranges, one request where the header is known.

use std::ops::Range;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, GetResult, GetResultPayload, OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore,
    ObjectStoreExt, Result, coalesce_ranges,
};

use super::format::{HEADER, HEADER_U64, checked_plain_len, chunk_offset};
use super::headers::{Entry, KnownHeader, Origin};
use super::store::Place;
use super::stream::{Opener, chunk_range, split_header};
use super::{ContainerError, EncryptedStore, container_error};
use crate::local::stored_stream;

/// Ranges up to this length come in one piece: who asks for a range wants it as a whole, and pieces would be copied to be joined.
const IN_ONE_PIECE: u64 = 32 * 1024 * 1024;
/// How often a read starts again where the object was written anew between two requests.
const ATTEMPTS: usize = 4;

impl EncryptedStore {
    pub(super) async fn get_clear(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let result = self.inner.get_opts(location, options).await?;
        let (meta, range, attributes) = (result.meta.clone(), result.range.clone(), result.attributes.clone());
        Ok(GetResult { payload: GetResultPayload::Stream(stored_stream(result)), meta, range, attributes })
    }

    pub(super) async fn get_sealed(&self, location: &Path, place: &Place, options: GetOptions) -> Result<GetResult> {
        if options.head {
            return self.get_nothing(location, options).await;
        }
        match options.range.clone() {
            None => self.get_whole(location, place, options).await,
            Some(range) => self.get_part(location, place, options, range).await,
        }
    }

    /// Metadata only. The range is the one asked for, without its bytes.
    async fn get_nothing(&self, location: &Path, mut options: GetOptions) -> Result<GetResult> {
        let range = options.range.take();
        options.head = true;
        let result = self.inner.get_opts(location, options).await?;
        let meta = self.plain_meta(result.meta)?;
        let range = match range {
            Some(range) => range.as_range(meta.size).map_err(invalid_range)?,
            None => 0..meta.size,
        };
        let payload = GetResultPayload::Stream(stream::empty().boxed());
        Ok(GetResult { payload, meta, range, attributes: result.attributes })
    }

    /// The whole object, by its own header.
    async fn get_whole(&self, location: &Path, place: &Place, options: GetOptions) -> Result<GetResult> {
        let mut result = self.inner.get_opts(location, options).await?;
        let stored = result.meta.size;
        let meta = self.plain_meta(result.meta.clone())?;
        let attributes = std::mem::take(&mut result.attributes);
        let mut source = stored_stream(result);
        let (header, rest) = split_header(&mut source, &place.relative, stored).await?;
        self.headers.check_header(location, &place.relative, &header)?;
        let cipher = self.open_cipher(place, &header)?;
        let range = 0..meta.size;
        let opened = Opener::new(cipher, source, rest, meta.size, &range);
        Ok(GetResult { payload: GetResultPayload::Stream(opened.into_stream()), meta, range, attributes })
    }

    /// A range: the chunks that hold it, in one request.
    async fn get_part(
        &self,
        location: &Path,
        place: &Place,
        options: GetOptions,
        range: GetRange,
    ) -> Result<GetResult> {
        for _ in 0..ATTEMPTS {
            let known = if options.version.is_some() { None } else { self.headers.get(location) };
            let fresh = known.is_none();
            let entry = match known {
                Some(entry) => entry,
                None => self.fetch_header(location, place, &options).await?,
            };
            let plain = checked_plain_len(entry.known.stored_len, &place.relative)?;
            let wanted = match range.as_range(plain) {
                Ok(wanted) => wanted,
                // What was read before may be old; what is new or named by a manifest is not.
                Err(_) if !fresh && entry.origin != Origin::Named => {
                    self.headers.forget_found(location);
                    continue;
                }
                Err(e) => return Err(self.refuse_range(location, place, plain, e).await),
            };
            if wanted.is_empty() {
                let options = GetOptions { range: None, ..options };
                return if plain == 0 {
                    self.get_whole(location, place, options).await
                } else {
                    let nothing = self.get_nothing(location, options).await?;
                    Ok(GetResult { range: wanted, ..nothing })
                };
            }
            if let Some(result) = self.get_chunks(location, place, &options, &entry, plain, wanted).await? {
                return Ok(result);
            }
            self.headers.forget_found(location);
        }
        Err(ContainerError::Unstable { path: place.relative.clone() }.into())
    }

    /// The error for a range behind the end. The end is proven first: only the last chunk says that the length is right,
    /// and an object that was cut should be called damaged.
    async fn refuse_range(
        &self,
        location: &Path,
        place: &Place,
        plain: u64,
        invalid: impl std::error::Error + Send + Sync + 'static,
    ) -> Error {
        let end = if plain == 0 { None } else { Some(GetRange::Bounded(plain.saturating_sub(1)..plain)) };
        let options = GetOptions { range: end, ..GetOptions::default() };
        let proven = match Box::pin(self.get_sealed(location, place, options)).await {
            Ok(result) => result.bytes().await.map(|_| ()),
            Err(e) => Err(e),
        };
        match proven {
            Err(e) if container_error(&e).is_some() => e,
            _ => invalid_range(invalid),
        }
    }

    /// Requests the chunks of a range; `None` where the object is not the one that the header was read from.
    async fn get_chunks(
        &self,
        location: &Path,
        place: &Place,
        options: &GetOptions,
        entry: &Entry,
        plain: u64,
        wanted: Range<u64>,
    ) -> Result<Option<GetResult>> {
        let stored = entry.known.stored_len;
        let cipher = self.open_cipher(place, &entry.known.header)?;
        let covering = chunk_range(&wanted);
        let bytes = chunk_offset(covering.start)..chunk_offset(covering.end).min(stored);
        let request = GetOptions { range: Some(GetRange::Bounded(bytes)), ..options.clone() };
        let mut result = match self.inner.get_opts(location, request).await {
            Ok(result) => result,
            Err(e) => return self.explain(location, place, entry, e).await,
        };
        if !self.unchanged(location, place, entry, &result.meta)? {
            return Ok(None);
        }
        let meta = ObjectMeta { size: plain, ..result.meta.clone() };
        let attributes = std::mem::take(&mut result.attributes);
        let opened = Opener::new(cipher, stored_stream(result), bytes::BytesMut::new(), plain, &wanted);
        let payload = GetResultPayload::Stream(match wanted.end.saturating_sub(wanted.start) {
            length if length <= IN_ONE_PIECE => opened.into_piece(),
            _ => opened.into_stream(),
        });
        Ok(Some(GetResult { payload, meta, range: wanted, attributes }))
    }

    /// Whether an answer belongs to the object that the header was read from; for a header that a manifest names, a
    /// difference is an error.
    fn unchanged(&self, location: &Path, place: &Place, entry: &Entry, meta: &ObjectMeta) -> Result<bool> {
        self.headers.check_size(location, &place.relative, meta.size)?;
        Ok(match &entry.origin {
            Origin::Named => true,
            Origin::Found { e_tag } => meta.size == entry.known.stored_len && meta.e_tag == *e_tag,
        })
    }

    /// A store refuses a range behind the end of an object that was cut. The size tells whether that is so.
    async fn explain(&self, location: &Path, place: &Place, entry: &Entry, error: Error) -> Result<Option<GetResult>> {
        if refused_for_good(&error) {
            return Err(error);
        }
        match self.inner.head(location).await {
            Ok(meta) if !self.unchanged(location, place, entry, &meta)? => Ok(None),
            _ => Err(error),
        }
    }

    /// Reads the header and keeps it, unless a certain version was asked for.
    pub(super) async fn fetch_header(&self, location: &Path, place: &Place, options: &GetOptions) -> Result<Entry> {
        let request = GetOptions { range: Some(GetRange::Bounded(0..HEADER_U64)), head: false, ..options.clone() };
        let result = match self.inner.get_opts(location, request).await {
            Ok(result) => result,
            Err(e) if refused_for_good(&e) => return Err(e),
            // Most stores refuse any range of an empty object.
            Err(e) => {
                if let Ok(meta) = self.inner.head(location).await {
                    self.plain_meta(meta)?;
                }
                return Err(e);
            }
        };
        let (stored_len, e_tag) = (result.meta.size, result.meta.e_tag.clone());
        self.plain_meta(result.meta.clone())?;
        let mut source = stored_stream(result);
        let (header, _) = split_header(&mut source, &place.relative, stored_len).await?;
        self.headers.check_header(location, &place.relative, &header)?;
        self.open_cipher(place, &header)?;
        let known = KnownHeader { header, stored_len };
        if options.version.is_none() {
            self.headers.find(location.clone(), known.clone(), e_tag.clone());
        }
        Ok(Entry { known, origin: Origin::Found { e_tag } })
    }

    /// Ranges that are less than 1 MiB apart become one request; at most ten run at once.
    pub(super) async fn get_sealed_ranges(
        &self,
        location: &Path,
        place: &Place,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>> {
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        let entry = match self.headers.get(location) {
            Some(entry) => entry,
            None => self.fetch_header(location, place, &GetOptions::default()).await?,
        };
        let plain = checked_plain_len(entry.known.stored_len, &place.relative)?;
        let mut inside = Vec::with_capacity(ranges.len());
        for range in ranges {
            match GetRange::Bounded(range.clone()).as_range(plain) {
                Ok(range) => inside.push(range),
                Err(e) => return Err(self.refuse_range(location, place, plain, e).await),
            }
        }
        let fetch = |range: Range<u64>| async move {
            let bytes = self.get_range(location, range.clone()).await?;
            // Shorter than asked for: the object was written anew, and slicing would not fit.
            if u64::try_from(bytes.len()).ok() != range.end.checked_sub(range.start) {
                return Err(Error::from(ContainerError::Unstable { path: place.relative.clone() }));
            }
            Ok(bytes)
        };
        coalesce_ranges(&inside, fetch, OBJECT_STORE_COALESCE_DEFAULT).await
    }
}

/// Errors that say nothing about the length of the object.
fn refused_for_good(error: &Error) -> bool {
    !matches!(error, Error::Generic { .. } | Error::NotSupported { .. })
}

fn invalid_range(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: "encrypted repository", source: Box::new(error) }
}

const _: () = assert!(HEADER == 80, "the header has 80 bytes throughout format 1");

//! Plain web servers: read-only, without listings, with or without range requests.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, Result, coalesce_ranges,
};

/// `object_store`'s http store speaks WebDAV; this lets through what every web server can do.
#[derive(Debug)]
pub(super) struct HttpReadOnly<S> {
    inner: Arc<S>,
}

impl<S: ObjectStore> HttpReadOnly<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// A range of a server that ignores range requests: the whole object is streamed and the rest thrown away.
    async fn cut(&self, location: &Path, mut options: GetOptions) -> Result<GetResult> {
        let wanted = options.range.take();
        let mut whole = self.inner.get_opts(location, options).await?;
        let range = match wanted {
            Some(range) => range.as_range(whole.meta.size).map_err(|e| generic(Box::new(e)))?,
            None => 0..whole.meta.size,
        };
        let (meta, attributes) = (whole.meta.clone(), std::mem::take(&mut whole.attributes));
        let payload = GetResultPayload::Stream(window(whole.into_stream(), range.clone()));
        Ok(GetResult { payload, meta, range, attributes })
    }
}

/// Passes the bytes of `range` of a stream that begins at 0, and stops after them.
fn window(stream: BoxStream<'static, Result<Bytes>>, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
    futures::stream::try_unfold((stream, 0u64), move |(mut stream, mut at)| {
        let range = range.clone();
        async move {
            while at < range.end {
                let Some(mut piece) = stream.try_next().await? else { break };
                let begin = at;
                at += piece.len() as u64;
                if at > range.end {
                    piece.truncate(piece.len().saturating_sub(usize::try_from(at - range.end).unwrap_or(usize::MAX)));
                }
                if begin < range.start {
                    let skip = usize::try_from(range.start - begin).unwrap_or(usize::MAX).min(piece.len());
                    piece = piece.slice(skip..);
                }
                if !piece.is_empty() {
                    return Ok(Some((piece, (stream, at))));
                }
            }
            Ok(None)
        }
    })
    .boxed()
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic { store: "HTTP", source }
}

fn read_only(operation: &str) -> Error {
    Error::NotSupported {
        source: format!("a plain http server is read-only, so it cannot {operation}; use another store address").into(),
    }
}

fn no_listing() -> Error {
    Error::NotSupported { source: "plain http servers do not list their objects; name the object explicitly".into() }
}

impl<S: ObjectStore> fmt::Display for HttpReadOnly<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpReadOnly({})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: ObjectStore> ObjectStore for HttpReadOnly<S> {
    async fn put_opts(&self, _location: &Path, _payload: PutPayload, _opts: PutOptions) -> Result<PutResult> {
        Err(read_only("be written"))
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(read_only("be written"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let ranged = options.range.is_some();
        match self.inner.get_opts(location, options.clone()).await {
            Err(Error::NotSupported { .. }) if ranged => self.cut(location, options).await,
            other => other,
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let fetch = |range: Range<u64>| async move {
            let bytes = self.get_range(location, range.clone()).await?;
            // Several ranges are cut out of one answer: out of a shorter one they cannot be.
            if (bytes.len() as u64) < range.end.saturating_sub(range.start) {
                return Err(generic(format!("{location} ends before byte {}", range.end).into()));
            }
            Ok(bytes)
        };
        coalesce_ranges(ranges, fetch, OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn delete_stream(&self, _locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        futures::stream::once(async { Err(read_only("delete")) }).boxed()
    }

    fn list(&self, _prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        futures::stream::once(async { Err(no_listing()) }).boxed()
    }

    fn list_with_offset(&self, _prefix: Option<&Path>, _offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        futures::stream::once(async { Err(no_listing()) }).boxed()
    }

    async fn list_with_delimiter(&self, _prefix: Option<&Path>) -> Result<ListResult> {
        Err(no_listing())
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> Result<()> {
        Err(read_only("copy"))
    }

    async fn rename_opts(&self, _from: &Path, _to: &Path, _options: RenameOptions) -> Result<()> {
        Err(read_only("rename"))
    }
}

//! A memory store that writes down what is asked of it.

use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use futures::FutureExt;
use futures::stream::BoxStream;
use object_store::*;

use super::*;

#[derive(Debug, Default)]
pub(super) struct Spy {
    inner: InMemory,
    log: Arc<Log>,
}

#[derive(Debug, Default)]
struct Log {
    gets: Mutex<Vec<String>>,
    parts: Mutex<Vec<usize>>,
    fail: Mutex<Option<usize>>,
}

impl Spy {
    pub(super) fn clear(&self) {
        self.log.gets.lock().unwrap().clear();
    }

    pub(super) fn gets(&self) -> Vec<String> {
        self.log.gets.lock().unwrap().clone()
    }

    pub(super) fn parts(&self) -> Vec<usize> {
        self.log.parts.lock().unwrap().clone()
    }

    pub(super) fn fail_part(&self, part: usize) {
        *self.log.fail.lock().unwrap() = Some(part);
    }
}

#[derive(Debug)]
struct SpyUpload {
    inner: Box<dyn MultipartUpload>,
    log: Arc<Log>,
}

#[async_trait]
impl MultipartUpload for SpyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let mut parts = self.log.parts.lock().unwrap();
        parts.push(data.content_length());
        if *self.log.fail.lock().unwrap() == Some(parts.len() - 1) {
            return async { Err(Error::Generic { store: "spy", source: "no".into() }) }.boxed();
        }
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[async_trait]
impl ObjectStore for Spy {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(SpyUpload { inner, log: Arc::clone(&self.log) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if !options.head {
            self.log.gets.lock().unwrap().push(format!("{:?}", options.range));
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

impl fmt::Display for Spy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spy")
    }
}

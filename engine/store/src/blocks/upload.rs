//! A multipart upload that makes block digests.

use async_trait::async_trait;
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::{BlockHasher, BlockVerifiedStore};

/// Hashes the parts in the order of the object while the inner upload sends them.
#[derive(Debug)]
pub(super) struct HashedUpload {
    layer: BlockVerifiedStore,
    inner: Box<dyn MultipartUpload>,
    path: Path,
    hasher: BlockHasher,
}

impl HashedUpload {
    pub(super) fn new(layer: BlockVerifiedStore, inner: Box<dyn MultipartUpload>, path: Path) -> Self {
        Self { layer, inner, path, hasher: BlockHasher::default() }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for HashedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        data.iter().for_each(|piece| self.hasher.update(piece));
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await?;
        let digests = std::mem::take(&mut self.hasher).finish();
        self.layer.write_digests(&self.path, &digests).await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

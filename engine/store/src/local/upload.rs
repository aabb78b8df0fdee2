//! A multipart upload into one temporary file.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::FutureExt;
use object_store::{Error, MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::blocking;
use super::write::{DurableWriter, Publish, Staged};

/// Parts land at the offset given by the order of `put_part`; nothing has a name before `complete`.
#[derive(Debug)]
pub(super) struct LocalUpload {
    writer: Arc<DurableWriter>,
    staged: Option<Arc<Staged>>,
    target: PathBuf,
    offset: u64,
    written: Arc<AtomicU64>,
}

impl LocalUpload {
    pub(super) fn new(writer: Arc<DurableWriter>, staged: Staged, target: PathBuf) -> Self {
        Self { writer, staged: Some(Arc::new(staged)), target, offset: 0, written: Arc::default() }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for LocalUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let Some(staged) = self.staged.clone() else {
            return futures::future::ready(Err(gone())).boxed();
        };
        let mut offset = self.offset;
        let length = data.content_length() as u64;
        self.offset += length;
        let written = Arc::clone(&self.written);
        blocking(move || {
            for piece in &data {
                staged.write_at(offset, piece)?;
                offset += piece.len() as u64;
            }
            written.fetch_add(length, Ordering::AcqRel);
            Ok(())
        })
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let staged = self.staged.take().ok_or_else(gone)?;
        // A part that failed, or is still being written: completing now would publish a torn object.
        let whole = self.written.load(Ordering::Acquire) == self.offset;
        let staged = Arc::into_inner(staged).filter(|_| whole).ok_or_else(|| Error::Generic {
            store: "LocalStore",
            source: "the upload was completed although not all of its parts were written".into(),
        })?;
        let (writer, target) = (Arc::clone(&self.writer), self.target.clone());
        blocking(move || writer.publish(staged, &target, Publish::Overwrite)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        let staged = self.staged.take().ok_or_else(gone)?;
        blocking(move || {
            drop(staged);
            Ok(())
        })
        .await
    }
}

fn gone() -> Error {
    Error::Generic { store: "LocalStore", source: "the upload was already completed or aborted".into() }
}

//! The bytes of one file on their way to the store, and the proof that they arrived.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use restow_core::{EngineError, Result};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::runtime::Handle;

use super::super::hex;
use crate::codec::ByteOutput;

/// Bytes of one part of an upload. At most two parts are in memory.
const PART_BYTES: usize = 8 << 20;

/// Uploads the bytes of one file. Nothing is visible before `finish`; dropping it gives the upload up.
pub(super) struct StoreOutput {
    upload: Option<BufWriter>,
}

impl StoreOutput {
    /// An upload to a path.
    pub fn new(store: Arc<dyn ObjectStore>, path: Path) -> Self {
        Self { upload: Some(BufWriter::with_capacity(store, path, PART_BYTES).with_max_concurrency(1)) }
    }
}

#[async_trait]
impl ByteOutput for StoreOutput {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match &mut self.upload {
            Some(upload) => Ok(upload.put(bytes).await?),
            None => Err(EngineError::failed("the upload has ended already")),
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        let Some(upload) = &mut self.upload else { return Ok(()) };
        upload.shutdown().await.map_err(store_error)?;
        self.upload = None;
        Ok(())
    }
}

impl Drop for StoreOutput {
    fn drop(&mut self) {
        // A store that keeps parts of unfinished uploads charges for them.
        if let (Some(mut upload), Ok(runtime)) = (self.upload.take(), Handle::try_current()) {
            runtime.spawn(async move { upload.abort().await.ok() });
        }
    }
}

/// The error of the store inside one of the standard library.
fn store_error(error: std::io::Error) -> EngineError {
    match error.downcast::<object_store::Error>() {
        Ok(own) => own.into(),
        Err(error) => EngineError::failed(format!("the file cannot be stored: {error}")).with_source(error),
    }
}

/// Size and SHA-256 (hex) of what the store holds at a path; `None` where there is nothing.
///
/// # Errors
/// The store cannot be asked, or fails while it is read.
pub(super) async fn stored(store: &dyn ObjectStore, path: &Path) -> Result<Option<(u64, String)>> {
    let found = match store.get(path).await {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (mut digest, mut bytes) = (Sha256::new(), 0);
    let mut pieces = found.into_stream();
    while let Some(piece) = pieces.try_next().await? {
        bytes += piece.len() as u64;
        digest.update(&piece);
    }
    Ok(Some((bytes, hex(&digest.finalize()))))
}

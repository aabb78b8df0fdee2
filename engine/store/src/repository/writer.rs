//! Writing one object in bounded memory, and knowing exactly what was stored.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use data_encoding::{BASE64, HEXLOWER};
use object_store::path::Path;
use object_store::{Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, Result};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::manifest::{FileEntry, ObjectRef};
use super::tap::{DigestTap, Stored};
use crate::blocks::DIGEST_SUFFIX;
use crate::container::HEADER;

/// Bytes that are handed to encryption at once, which cuts the parts by itself: what waits for it is held twice.
const SEAL_BYTES: usize = 1 << 20;

/// Parts that may be under way at once.
const PARTS_IN_FLIGHT: usize = 2;

/// What was written: everything that a receipt has to say of an object's bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenObject {
    /// Path below the root of the repository or state.
    pub path: String,
    /// Bytes on the store.
    pub stored_bytes: u64,
    /// Bytes before encryption.
    pub plain_bytes: u64,
    /// SHA-256 of the stored bytes, in hex.
    pub sha256: String,
    /// The container header in base64; none where not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The block digests; none where encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<ObjectRef>,
}

impl WrittenObject {
    /// The manifest's entry for this object. Split, rows and footer length are the caller's.
    pub fn file_entry(&self) -> FileEntry {
        FileEntry {
            path: self.path.clone(),
            stored_bytes: self.stored_bytes,
            plain_bytes: self.plain_bytes,
            sha256: self.sha256.clone(),
            header: self.header.clone(),
            blocks: self.blocks.clone(),
            ..FileEntry::default()
        }
    }
}

/// Writes one object: at most two parts ([`crate::location::Location::part_bytes`]) are under way beside the one that fills. Nothing is visible before
/// [`Self::finish`]; dropping the writer aborts the upload.
///
/// Use from one task. After an error only [`Self::abort`] or drop make sense.
pub struct ObjectWriter {
    store: Arc<dyn ObjectStore>,
    tap: Arc<DigestTap>,
    path: Path,
    relative: String,
    part_bytes: usize,
    encrypted: bool,
    pending: Vec<Bytes>,
    pending_bytes: usize,
    plain_bytes: u64,
    upload: Option<Box<dyn MultipartUpload>>,
    parts: JoinSet<Result<()>>,
}

impl ObjectWriter {
    /// A writer of `path` through `store`, which has to be a stack of layers over `tap`.
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        tap: Arc<DigestTap>,
        path: Path,
        relative: String,
        part_bytes: usize,
        encrypted: bool,
    ) -> Self {
        Self {
            store,
            tap,
            path,
            relative,
            part_bytes,
            encrypted,
            pending: Vec::new(),
            pending_bytes: 0,
            plain_bytes: 0,
            upload: None,
            parts: JoinSet::new(),
        }
    }

    /// The object's path on the store.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes given to [`Self::write`] so far.
    pub fn plain_bytes(&self) -> u64 {
        self.plain_bytes
    }

    /// Appends bytes. Waits while two parts are under way.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        self.plain_bytes += bytes.len() as u64;
        while self.pending_bytes + bytes.len() > self.most() {
            let now = bytes.split_to(self.most().saturating_sub(self.pending_bytes));
            self.push(now);
            self.send_part().await?;
        }
        self.push(bytes);
        Ok(())
    }

    /// Writes what is left and makes the object visible. Says what was stored; see [`super::Repository::read_back`].
    pub async fn finish(&mut self) -> Result<WrittenObject> {
        if self.upload.is_none() {
            let payload = self.take_pending();
            self.store.put(&self.path, payload).await?;
        } else {
            if self.pending_bytes > 0 {
                self.send_part().await?;
            }
            while let Some(part) = self.parts.join_next().await {
                part??;
            }
            if let Some(upload) = &mut self.upload {
                upload.complete().await?;
            }
            self.upload = None;
        }
        self.written()
    }

    /// Gives the upload up and removes what the store kept of it.
    pub async fn abort(mut self) -> Result<()> {
        self.parts.shutdown().await;
        match self.upload.take() {
            Some(mut upload) => upload.abort().await,
            None => Ok(()),
        }
    }

    /// Bytes that wait for more at most.
    fn most(&self) -> usize {
        if self.encrypted && self.upload.is_some() { SEAL_BYTES.min(self.part_bytes) } else { self.part_bytes }
    }

    fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.pending_bytes += bytes.len();
            self.pending.push(bytes);
        }
    }

    fn take_pending(&mut self) -> PutPayload {
        self.pending_bytes = 0;
        let pieces = std::mem::take(&mut self.pending);
        // Writers of many tiny pieces must not make a request of thousands of buffers.
        if pieces.len() <= 64 {
            return pieces.into_iter().collect();
        }
        let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
        pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
        whole.freeze().into()
    }

    async fn send_part(&mut self) -> Result<()> {
        if self.upload.is_none() {
            self.upload = Some(self.store.put_multipart(&self.path).await?);
        }
        while self.parts.len() >= PARTS_IN_FLIGHT {
            if let Some(part) = self.parts.join_next().await {
                part??;
            }
        }
        let payload = self.take_pending();
        if let Some(upload) = &mut self.upload {
            self.parts.spawn(upload.put_part(payload));
        }
        Ok(())
    }

    fn written(&self) -> Result<WrittenObject> {
        let lost = || Error::Generic { store: "restow", source: "the written object was not recorded".into() };
        let stored = self.tap.stored(&self.path).ok_or_else(lost)?;
        let blocks = Path::parse(format!("{}{DIGEST_SUFFIX}", self.path)).ok().and_then(|p| self.tap.stored(&p));
        Ok(WrittenObject {
            path: self.relative.clone(),
            stored_bytes: stored.bytes,
            plain_bytes: self.plain_bytes,
            sha256: HEXLOWER.encode(&stored.sha256),
            header: self.encrypted.then(|| header(&stored)),
            blocks: blocks.map(|stored| ObjectRef {
                path: format!("{}{DIGEST_SUFFIX}", self.relative),
                stored_bytes: stored.bytes,
                sha256: HEXLOWER.encode(&stored.sha256),
            }),
        })
    }
}

fn header(stored: &Stored) -> String {
    BASE64.encode(stored.head.get(..HEADER).unwrap_or(&stored.head))
}

impl Drop for ObjectWriter {
    fn drop(&mut self) {
        let Some(mut upload) = self.upload.take() else { return };
        let mut parts = std::mem::take(&mut self.parts);
        // Without a runtime nothing can be sent; local stores clean up when the upload itself is dropped.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(async move {
                parts.shutdown().await;
                upload.abort().await
            }));
        }
    }
}

impl fmt::Debug for ObjectWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectWriter")
            .field("path", &self.path)
            .field("plain_bytes", &self.plain_bytes)
            .finish_non_exhaustive()
    }
}

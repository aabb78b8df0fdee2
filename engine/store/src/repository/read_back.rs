//! Proof that what was written is on the store: read again, hashed and decrypted.

use std::sync::Arc;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::{Error, ObjectStoreExt};
use sha2::{Digest, Sha256};

use super::tap::Stored;
use super::{DigestTap, ExitClass, Layer, Repository, RepositoryError, WrittenObject, exit_class_of};

/// The plain bytes of an object that was written, read again from its first to its last stored byte, once. The stream ends only where the
/// length and the SHA-256 of what is stored are those of what was written; decrypting authenticates every chunk (in a plain
/// repository: every block).
pub type ReadBack = BoxStream<'static, Result<Bytes, RepositoryError>>;

impl Repository {
    /// Begins to read an object again, as [`ReadBack`] says. Bounded memory.
    pub async fn begin_read_back(&self, written: &WrittenObject) -> Result<ReadBack, RepositoryError> {
        let object = &written.path;
        // A stack of its own, which knows no header: the one that is stored has to be right too.
        let tap = Arc::new(DigestTap::new(Arc::clone(&self.location().store)));
        let layer = Layer::over(Arc::clone(&tap) as _, self.location(), self.keys());
        let plain = match layer.store().get(&self.path(object)?).await {
            Ok(found) => found.into_stream(),
            Err(e) => return Err(self.unreadable(object, e)),
        };
        let reading = Reading { repository: self.clone(), written: written.clone(), tap, plain, bytes: 0 };
        Ok(stream::try_unfold(
            reading,
            |mut reading| async move { Ok(reading.next().await?.map(|piece| (piece, reading))) },
        )
        .boxed())
    }

    /// Reads an object again to the end of [`Self::begin_read_back`]. The object's header or digests are known to
    /// [`Self::objects`] afterwards, so that what is read there is the same.
    pub async fn read_back(&self, written: &WrittenObject) -> Result<(), RepositoryError> {
        let mut plain = self.begin_read_back(written).await?;
        while plain.try_next().await?.is_some() {}
        self.remember(&written.file_entry())
    }

    fn compare_all(&self, written: &WrittenObject, tap: &DigestTap) -> Result<(), RepositoryError> {
        let passed = tap.passed(&self.path(&written.path)?);
        self.compare(&written.path, passed, written.stored_bytes, &written.sha256)?;
        match &written.blocks {
            Some(blocks) => {
                let passed = tap.passed(&self.path(&blocks.path)?);
                self.compare(&blocks.path, passed, blocks.stored_bytes, &blocks.sha256)
            }
            None => Ok(()),
        }
    }

    /// Reads all stored bytes of an object again and checks length and SHA-256. Needs no key: this is how a receipt is
    /// proven on resume.
    pub async fn check_stored(&self, written: &WrittenObject) -> Result<(), RepositoryError> {
        self.check_object(&written.path, written.stored_bytes, &written.sha256).await?;
        match &written.blocks {
            Some(blocks) => self.check_object(&blocks.path, blocks.stored_bytes, &blocks.sha256).await,
            None => Ok(()),
        }
    }

    async fn check_object(&self, object: &str, length: u64, sha256: &str) -> Result<(), RepositoryError> {
        let mut stored = match self.location().store.get(&self.path(object)?).await {
            Ok(found) => found.into_stream(),
            Err(e) => return Err(self.unreadable(object, e)),
        };
        let (mut hash, mut bytes) = (Sha256::new(), 0u64);
        while let Some(piece) = stored.try_next().await.map_err(self.failed("read back", object))? {
            hash.update(&piece);
            bytes += piece.len() as u64;
            // It is another object already; whether it ever ends is not waited for.
            if bytes > length {
                break;
            }
        }
        let stored = Stored { bytes, sha256: hash.finalize().into(), head: Vec::new() };
        self.compare(object, Some(stored), length, sha256)
    }

    fn compare(&self, object: &str, found: Option<Stored>, length: u64, sha256: &str) -> Result<(), RepositoryError> {
        let found = found.ok_or_else(|| self.internal(&format!("{object} was not read as a whole")))?;
        if found.bytes != length {
            return Err(self.differs(object, format!("it had {} bytes instead of {length}", found.bytes)));
        }
        match HEXLOWER.encode(&found.sha256) == sha256 {
            true => Ok(()),
            false => Err(self.differs(object, "its bytes had another SHA-256".to_owned())),
        }
    }

    /// What a layer refuses is damage; what the store fails to answer is not.
    fn unreadable(&self, object: &str, error: Error) -> RepositoryError {
        match (&error, exit_class_of(&error)) {
            (Error::NotFound { .. }, _) => self.differs(object, "it was gone".to_owned()),
            (_, ExitClass::Tampered) => self.differs(object, error.to_string()),
            _ => self.failed("read back", object)(error),
        }
    }

    fn differs(&self, object: &str, problem: String) -> RepositoryError {
        RepositoryError::ReadBack { url: self.location().url.clone(), object: object.to_owned(), problem }
    }
}

/// An object that is being read back.
struct Reading {
    repository: Repository,
    written: WrittenObject,
    tap: Arc<DigestTap>,
    plain: BoxStream<'static, object_store::Result<Bytes>>,
    /// Plain bytes so far.
    bytes: u64,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, RepositoryError> {
        let Self { repository, written, .. } = self;
        if let Some(piece) = self.plain.try_next().await.map_err(|e| repository.unreadable(&written.path, e))? {
            self.bytes += piece.len() as u64;
            return Ok(Some(piece));
        }
        if self.bytes != written.plain_bytes {
            let problem = format!("it had {} plain bytes instead of {}", self.bytes, written.plain_bytes);
            return Err(repository.differs(&written.path, problem));
        }
        repository.compare_all(written, &self.tap)?;
        Ok(None)
    }
}

//! Proof that what was written is on the store: read again, hashed and decrypted.

use data_encoding::HEXLOWER;
use futures::TryStreamExt;
use object_store::{Error, ObjectStoreExt};
use sha2::{Digest, Sha256};

use super::{Repository, RepositoryError, WrittenObject};

impl Repository {
    /// Reads all stored bytes of an object again, checks length and SHA-256, then reads it in plain text, which
    /// authenticates every chunk or block. Bounded memory. The object's header or digests are known to
    /// [`Self::objects`] afterwards.
    ///
    /// A caller that decodes the whole object itself may call [`Self::check_stored`] instead.
    pub async fn read_back(&self, written: &WrittenObject) -> Result<(), RepositoryError> {
        self.check_stored(written).await?;
        self.remember(&written.file_entry())?;
        let object = &written.path;
        let mut plain = self
            .objects()
            .get(&self.path(object)?)
            .await
            .map_err(self.failed("read back", object))?
            .into_stream();
        let mut bytes = 0u64;
        while let Some(piece) = plain.try_next().await.map_err(self.failed("read back", object))? {
            bytes += piece.len() as u64;
        }
        match bytes == written.plain_bytes {
            true => Ok(()),
            false => Err(self.differs(object, format!("it had {bytes} plain bytes instead of {}", written.plain_bytes))),
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
            Err(Error::NotFound { .. }) => return Err(self.differs(object, "it was gone".to_owned())),
            Err(e) => return Err(self.failed("read back", object)(e)),
        };
        let (mut hash, mut bytes) = (Sha256::new(), 0u64);
        while let Some(piece) = stored.try_next().await.map_err(self.failed("read back", object))? {
            hash.update(&piece);
            bytes += piece.len() as u64;
        }
        if bytes != length {
            return Err(self.differs(object, format!("it had {bytes} bytes instead of {length}")));
        }
        match HEXLOWER.encode(&hash.finalize()) == sha256 {
            true => Ok(()),
            false => Err(self.differs(object, "its bytes had another SHA-256".to_owned())),
        }
    }

    fn differs(&self, object: &str, problem: String) -> RepositoryError {
        RepositoryError::ReadBack { url: self.location().url.clone(), object: object.to_owned(), problem }
    }
}

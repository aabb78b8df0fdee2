//! Sealing and opening of one object's chunks.

use std::fmt;

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use subtle::ConstantTimeEq;

use super::ContainerError;
use super::format::{Fields, HEADER, TAG, chunk_offset, read_header, write_header};
use crate::keys::{KeyError, Keys, Kind};

/// Key, nonce prefix and header of one object. The key is zeroed on drop.
pub struct ObjectCipher {
    aead: Aes256Gcm,
    prefix: [u8; 7],
    header: [u8; HEADER],
    path: String,
}

impl ObjectCipher {
    /// For a new object at this path (relative to the repository): newest epoch, new random salt.
    pub fn create(keys: &Keys, path: &str) -> Result<Self, ContainerError> {
        Self::create_as(keys, path, path)
    }

    /// [`Self::create`] for an object that is bound to one path and called by another in errors.
    pub(super) fn create_as(keys: &Keys, bound: &str, label: &str) -> Result<Self, ContainerError> {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(|source| in_keys(label, KeyError::Random { source }))?;
        let mut cipher = Self::with_salt(keys, bound, keys.epoch(), salt)?;
        label.clone_into(&mut cipher.path);
        Ok(cipher)
    }

    /// For a new object with a given salt. A salt used twice at one path with different content breaks AES-GCM, so only
    /// [`Self::create`] and the test vectors call this.
    pub(super) fn with_salt(keys: &Keys, path: &str, epoch: u32, salt: [u8; 32]) -> Result<Self, ContainerError> {
        let (_, commit) = Kind::of_path(path);
        let commitment = keys.commitment(epoch, &salt, commit, path).map_err(|e| in_keys(path, e))?;
        Self::build(keys, path, path, &Fields { epoch, salt, commitment })
    }

    /// For an object that exists: its header must be one of this version, of a known epoch, and committed to this path.
    pub fn open(keys: &Keys, path: &str, header: &[u8; HEADER]) -> Result<Self, ContainerError> {
        Self::open_as(keys, path, path, header)
    }

    /// [`Self::open`] for an object that is bound to one path and called by another in errors.
    pub(super) fn open_as(
        keys: &Keys,
        bound: &str,
        label: &str,
        header: &[u8; HEADER],
    ) -> Result<Self, ContainerError> {
        let fields = read_header(header, label)?;
        let (_, commit) = Kind::of_path(bound);
        let expected = match keys.commitment(fields.epoch, &fields.salt, commit, bound) {
            Ok(expected) => expected,
            Err(KeyError::UnknownEpoch { epoch, highest }) => {
                return Err(ContainerError::Epoch { path: label.to_owned(), epoch, highest });
            }
            Err(e) => return Err(in_keys(label, e)),
        };
        if !bool::from(expected.ct_eq(&fields.commitment)) {
            return Err(ContainerError::Commitment { path: label.to_owned() });
        }
        Self::build(keys, bound, label, &fields)
    }

    fn build(keys: &Keys, bound: &str, label: &str, fields: &Fields) -> Result<Self, ContainerError> {
        let (kind, _) = Kind::of_path(bound);
        let derived = keys.derive(fields.epoch, &fields.salt, kind, bound).map_err(|e| in_keys(label, e))?;
        let aead = Aes256Gcm::new((&*derived.key).into());
        Ok(Self { aead, prefix: derived.prefix, header: write_header(fields), path: label.to_owned() })
    }

    /// The header, first bytes of the stored object and associated data of every chunk.
    pub fn header(&self) -> &[u8; HEADER] {
        &self.header
    }

    /// The path of the object, as errors name it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Appends the sealed chunk to `out`. About 20 microseconds for a whole chunk.
    pub(super) fn seal_chunk(
        &self,
        chunk: u64,
        last: bool,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), ContainerError> {
        let nonce = self.nonce(chunk, last)?;
        let start = out.len();
        out.extend_from_slice(plain);
        let body = out.get_mut(start..).unwrap_or_default();
        let tag = self
            .aead
            .encrypt_inout_detached(&nonce, &self.header, body.into())
            .map_err(|_| in_keys(&self.path, KeyError::Internal { what: "aes-gcm" }))?;
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// Appends the plain bytes of a sealed chunk to `out`; nothing is appended where the tag does not match.
    pub(crate) fn open_chunk(
        &self,
        chunk: u64,
        last: bool,
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), ContainerError> {
        let damaged = || ContainerError::Chunk { path: self.path.clone(), chunk, offset: chunk_offset(chunk) };
        let (body, tag) = sealed.split_last_chunk::<TAG>().ok_or_else(damaged)?;
        let nonce = self.nonce(chunk, last)?;
        let tag: Tag = (*tag).into();
        let start = out.len();
        out.resize(start.saturating_add(body.len()), 0);
        let target = out.get_mut(start..).unwrap_or_default();
        let opened = InOutBuf::new(body, target)
            .is_ok_and(|buffer| self.aead.decrypt_inout_detached(&nonce, &self.header, buffer, &tag).is_ok());
        if !opened {
            out.truncate(start);
            return Err(damaged());
        }
        Ok(())
    }

    /// Prefix 7, chunk u32 big-endian, last flag 1.
    pub(super) fn nonce(&self, chunk: u64, last: bool) -> Result<Nonce<aes_gcm::aead::consts::U12>, ContainerError> {
        let Ok(chunk) = u32::try_from(chunk) else {
            return Err(ContainerError::TooLarge { path: self.path.clone() });
        };
        let (counter, flag) = (chunk.to_be_bytes(), [u8::from(last)]);
        let mut nonce = [0; 12];
        for (to, from) in nonce.iter_mut().zip(self.prefix.iter().chain(&counter).chain(&flag)) {
            *to = *from;
        }
        Ok(nonce.into())
    }
}

fn in_keys(path: &str, source: KeyError) -> ContainerError {
    ContainerError::Keys { path: path.to_owned(), source }
}

impl fmt::Debug for ObjectCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectCipher").field("path", &self.path).finish_non_exhaustive()
    }
}

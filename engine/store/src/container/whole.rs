//! Whole containers in memory: bodies of manifests, and small objects.

use super::format::{CHUNK, HEADER, SEALED_CHUNK, chunks, stored_len};
use super::{ContainerError, ObjectCipher};
use crate::keys::Keys;

/// Seals bytes as the container that would be stored at this path.
pub fn seal_bytes(keys: &Keys, path: &str, plain: &[u8]) -> Result<Vec<u8>, ContainerError> {
    seal_with(&ObjectCipher::create(keys, path)?, plain)
}

/// Opens the container that was sealed for this path, every byte of it.
pub fn open_bytes(keys: &Keys, path: &str, stored: &[u8]) -> Result<Vec<u8>, ContainerError> {
    let stored_bytes = u64::try_from(stored.len()).unwrap_or(u64::MAX);
    let Some((header, body)) = stored.split_first_chunk::<HEADER>() else {
        return Err(ContainerError::Length { path: path.to_owned(), stored: stored_bytes });
    };
    let cipher = ObjectCipher::open(keys, path, header)?;
    let plain = super::format::checked_plain_len(stored_bytes, path)?;
    let last = chunks(plain).saturating_sub(1);
    let mut out = Vec::with_capacity(body.len());
    for (chunk, sealed) in (0..).zip(body.chunks(SEALED_CHUNK)) {
        cipher.open_chunk(chunk, chunk == last, sealed, &mut out)?;
    }
    Ok(out)
}

pub(super) fn seal_with(cipher: &ObjectCipher, plain: &[u8]) -> Result<Vec<u8>, ContainerError> {
    let length = u64::try_from(plain.len()).unwrap_or(u64::MAX);
    let last = chunks(length).saturating_sub(1);
    let mut out = Vec::with_capacity(usize::try_from(stored_len(length)).unwrap_or(0));
    out.extend_from_slice(cipher.header());
    if plain.is_empty() {
        cipher.seal_chunk(0, true, &[], &mut out)?;
    }
    for (chunk, bytes) in (0..).zip(plain.chunks(CHUNK)) {
        cipher.seal_chunk(chunk, chunk == last, bytes, &mut out)?;
    }
    Ok(out)
}

impl Keys {
    /// [`seal_bytes`] with these keys.
    pub fn seal_bytes(&self, path: &str, plain: &[u8]) -> Result<Vec<u8>, ContainerError> {
        seal_bytes(self, path, plain)
    }

    /// [`open_bytes`] with these keys.
    pub fn open_bytes(&self, path: &str, stored: &[u8]) -> Result<Vec<u8>, ContainerError> {
        open_bytes(self, path, stored)
    }
}

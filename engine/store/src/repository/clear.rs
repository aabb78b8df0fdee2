//! Clear metadata: one JSON object that ends with its own SHA-256.
//!
//! The last 78 bytes of such an object are `,"sha256":"`, 64 lower-case hex digits, `"}` and a line feed; the digits are
//! the SHA-256 of all bytes before those 78. This stays so in later formats: a reader can tell a damaged object from a
//! newer one.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

const TAIL: usize = 78;

/// Why clear metadata is not what was written.
#[derive(Debug, thiserror::Error)]
pub enum ClearError {
    /// The digest does not match.
    #[error("its own SHA-256 does not match")]
    Digest,
    /// It is longer than any metadata object.
    #[error("it has {0} bytes; no metadata object of restow is that long")]
    TooLong(u64),
    /// The store sends more than it says that there is.
    #[error("it goes on after its {0} bytes")]
    Trailing(u64),
    /// The text is not what this object should hold.
    #[error("it cannot be read: {0}")]
    Json(#[from] serde_json::Error),
}

fn tail(body: &[u8]) -> Vec<u8> {
    format!(",\"sha256\":\"{}\"}}\n", HEXLOWER.encode(&Sha256::digest(body))).into_bytes()
}

/// The bytes of a clear object. `value` must serialise to a JSON object with at least one member.
pub fn encode<T: Serialize>(value: &T) -> Result<Bytes, ClearError> {
    let mut bytes = serde_json::to_vec(value)?;
    bytes.pop();
    let end = tail(&bytes);
    bytes.extend_from_slice(&end);
    Ok(bytes.into())
}

/// Checks the digest of a clear object and reads it.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ClearError> {
    check(bytes)?;
    Ok(serde_json::from_slice(bytes)?)
}

/// Checks the digest of a clear object.
pub fn check(bytes: &[u8]) -> Result<(), ClearError> {
    let (body, end) =
        bytes.len().checked_sub(TAIL).and_then(|at| bytes.split_at_checked(at)).ok_or(ClearError::Digest)?;
    if end == tail(body) { Ok(()) } else { Err(ClearError::Digest) }
}

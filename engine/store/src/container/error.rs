//! What can be wrong with a container.

use std::error::Error;

use crate::keys::KeyError;

/// A container that cannot be read or written. Every variant names the object's path.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The stored length is one that no container has.
    #[error(
        "object {path} has {stored} bytes, which is no length of an encrypted object; it was truncated, extended or replaced"
    )]
    Length {
        /// Path relative to the repository.
        path: String,
        /// Stored length in bytes.
        stored: u64,
    },
    /// It does not begin with the magic.
    #[error("object {path} is not an encrypted object of restow; it was damaged or replaced")]
    NotAContainer {
        /// Path relative to the repository.
        path: String,
    },
    /// A format version that this program does not know.
    #[error("object {path} has container version {version}, this restow reads version 1; use a newer restow")]
    TooNew {
        /// Path relative to the repository.
        path: String,
        /// Version byte of the header.
        version: u8,
    },
    /// Reserved bytes of the header are not zero.
    #[error("object {path} has a damaged header (reserved bytes are not zero)")]
    Reserved {
        /// Path relative to the repository.
        path: String,
    },
    /// The header names an epoch that the keyring does not have.
    #[error(
        "object {path} was encrypted under key epoch {epoch}, the keyring has epochs 1 to {highest}; \
             the keyring was rolled back, or the object is damaged"
    )]
    Epoch {
        /// Path relative to the repository.
        path: String,
        /// Epoch of the header.
        epoch: u32,
        /// Newest epoch of the keyring.
        highest: u32,
    },
    /// The commitment is not that of this key, salt and path.
    #[error(
        "object {path} was not encrypted for this path with this repository's keys (commitment differs); \
             it was damaged, or swapped with another object"
    )]
    Commitment {
        /// Path relative to the repository.
        path: String,
    },
    /// A chunk fails its tag.
    #[error("object {path} is damaged at stored bytes {offset} to {end} (chunk {chunk} fails its tag)", end = offset + 65_551)]
    Chunk {
        /// Path relative to the repository.
        path: String,
        /// Index of the chunk, from 0.
        chunk: u64,
        /// Offset of the chunk in the stored object.
        offset: u64,
    },
    /// The bytes end before the object does.
    #[error("object {path} ends after {found} of {expected} stored bytes")]
    Truncated {
        /// Path relative to the repository.
        path: String,
        /// Bytes that arrived.
        found: u64,
        /// Bytes that should have.
        expected: u64,
    },
    /// There are bytes after the last chunk.
    #[error("object {path} goes on after its {expected} stored bytes")]
    Trailing {
        /// Path relative to the repository.
        path: String,
        /// Bytes that it should have.
        expected: u64,
    },
    /// The stored size is not the one that a receipt or manifest names.
    #[error(
        "object {path} has {found} stored bytes where the manifest names {expected}; it was truncated, extended or replaced"
    )]
    Size {
        /// Path relative to the repository.
        path: String,
        /// Stored bytes found.
        found: u64,
        /// Stored bytes named.
        expected: u64,
    },
    /// The header is not the one that a receipt or manifest names.
    #[error("object {path} has another header than the manifest names; it was replaced")]
    Replaced {
        /// Path relative to the repository.
        path: String,
    },
    /// The object changed under the reader, again and again.
    #[error("object {path} changed while it was read; objects of a repository are never rewritten")]
    Unstable {
        /// Path relative to the repository.
        path: String,
    },
    /// More chunks than the counter of the nonce has.
    #[error("object {path} would be larger than 256 TiB, the bound of the container")]
    TooLarge {
        /// Path relative to the repository.
        path: String,
    },
    /// A path that is not below the root of the repository.
    #[error("path {path} is not below the repository {root}")]
    Outside {
        /// The whole path.
        path: String,
        /// Root of the repository in the store.
        root: String,
    },
    /// A copy that would store the plaintext of a sealed object in clear.
    #[error("copying {from} to {to} would store its content unencrypted")]
    WouldExpose {
        /// Sealed source.
        from: String,
        /// Clear target.
        to: String,
    },
    /// Completing an upload with parts that were never stored.
    #[error(
        "the upload of {path} was completed while {missing} of its parts were not stored; nothing was made visible"
    )]
    Incomplete {
        /// Path relative to the repository.
        path: String,
        /// Parts that are missing.
        missing: u64,
    },
    /// Keys or random numbers failed.
    #[error("object {path}: {source}")]
    Keys {
        /// Path relative to the repository.
        path: String,
        /// Cause.
        source: KeyError,
    },
}

impl ContainerError {
    /// Exit code of design section 9 that this error stands for: 13 for what is tampered with or rolled back, 14 for a
    /// newer format, 1 for a use of this layer that makes no sense.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::TooNew { .. } => 14,
            Self::TooLarge { .. } | Self::Outside { .. } | Self::WouldExpose { .. } | Self::Incomplete { .. } => 1,
            Self::Keys { source, .. } => source.exit_code(),
            _ => 13,
        }
    }
}

impl From<ContainerError> for object_store::Error {
    fn from(error: ContainerError) -> Self {
        Self::Generic { store: "encrypted repository", source: Box::new(error) }
    }
}

/// The container error behind any error, however often it was wrapped (object_store, std::io, parquet, DataFusion).
pub fn container_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a ContainerError> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref::<ContainerError>() {
            return Some(found);
        }
        // An io::Error that carries an error reports that one's source as its own, and so leaves it out.
        let inner = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => current.source(),
        };
    }
    None
}

//! The block digests of one object: the bytes of `<object>.sha256`.

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Bytes of a block; the last one of an object may be shorter.
pub const BLOCK: u64 = 1 << 20;

/// First bytes of every digest object: name and version of the layout.
const MAGIC: &[u8; 8] = b"RSTWBLK1";
/// Magic, block size u32, zero u32, object length u64.
const HEAD: usize = 24;
const HASH: usize = 32;

/// SHA-256 of each block of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDigests {
    length: u64,
    hashes: Bytes,
}

/// Why block digests, or the data under them, are not what was written. Exit code 13.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// A block differs from its digest.
    #[error(
        "{path} is damaged: the {length} bytes from offset {offset} do not have the SHA-256 that was recorded; the rest of the object may be intact"
    )]
    Damaged {
        /// Path of the data object on the store.
        path: String,
        /// First byte of the block.
        offset: u64,
        /// Bytes of the block.
        length: u64,
    },
    /// The object was truncated or extended.
    #[error("{path} is damaged: it has {actual} bytes, and {expected} were recorded")]
    Length {
        /// Path of the data object on the store.
        path: String,
        /// Recorded bytes.
        expected: u64,
        /// Bytes on the store.
        actual: u64,
    },
    /// The digest object is gone.
    #[error("{path} has no block digests: {path}.sha256 is missing, so that the object cannot be checked")]
    Missing {
        /// Path of the data object on the store.
        path: String,
    },
    /// The digest object is not what was written.
    #[error("{path}.sha256 is damaged: {problem}")]
    Digests {
        /// Path of the data object on the store.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl BlockDigests {
    /// Bytes of the object that the digests describe.
    pub fn object_len(&self) -> u64 {
        self.length
    }

    /// Whether `block` is what was written as block number `index`.
    pub(crate) fn matches(&self, index: u64, block: &[u8]) -> bool {
        let at = usize::try_from(index).ok().and_then(|i| i.checked_mul(HASH));
        let expected = at.and_then(|at| self.hashes.get(at..at.checked_add(HASH)?));
        expected.is_some_and(|hash| hash == Sha256::digest(block).as_slice())
    }

    /// The bytes of the digest object. All numbers are big-endian; the last 32 bytes are the SHA-256 of those before.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.hashes.len() + HASH);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&(BLOCK as u32).to_be_bytes());
        bytes.extend_from_slice(&0u32.to_be_bytes());
        bytes.extend_from_slice(&self.length.to_be_bytes());
        bytes.extend_from_slice(&self.hashes);
        let own = Sha256::digest(&bytes);
        bytes.extend_from_slice(&own);
        bytes
    }

    /// Reads a digest object. `path` is the data object's, for messages.
    pub fn decode(path: &str, bytes: &Bytes) -> Result<Self, BlockError> {
        let fail = |problem| BlockError::Digests { path: path.to_owned(), problem };
        let body = bytes.len().checked_sub(HASH).ok_or_else(|| fail("it is too short"))?;
        let (text, own) = bytes.split_at_checked(body).ok_or_else(|| fail("it is too short"))?;
        if own != Sha256::digest(text).as_slice() {
            return Err(fail("its own SHA-256 does not match"));
        }
        let (head, _) = text.split_at_checked(HEAD).ok_or_else(|| fail("it is too short"))?;
        let (fixed, length) = head.split_at_checked(16).ok_or_else(|| fail("it is too short"))?;
        let mut expected = MAGIC.to_vec();
        expected.extend_from_slice(&(BLOCK as u32).to_be_bytes());
        expected.extend_from_slice(&0u32.to_be_bytes());
        if fixed != expected {
            return Err(fail("it has another layout than RSTWBLK1 with blocks of 1 MiB"));
        }
        let length = length.try_into().map(u64::from_be_bytes).map_err(|_| fail("it is too short"))?;
        let hashes = bytes.slice(HEAD..body);
        if hashes.len() as u64 != length.div_ceil(BLOCK).saturating_mul(HASH as u64) {
            return Err(fail("the number of digests does not fit the length of the object"));
        }
        Ok(Self { length, hashes })
    }
}

/// Makes the digests of an object while it is written.
#[derive(Debug, Default)]
pub(super) struct BlockHasher {
    block: Sha256,
    filled: u64,
    length: u64,
    hashes: Vec<u8>,
}

impl BlockHasher {
    pub(super) fn update(&mut self, mut data: &[u8]) {
        self.length += data.len() as u64;
        while !data.is_empty() {
            let room = usize::try_from(BLOCK - self.filled).unwrap_or(usize::MAX);
            let (now, rest) = data.split_at_checked(room).unwrap_or((data, &[]));
            self.block.update(now);
            self.filled += now.len() as u64;
            if self.filled == BLOCK {
                self.close_block();
            }
            data = rest;
        }
    }

    pub(super) fn finish(mut self) -> BlockDigests {
        if self.filled > 0 {
            self.close_block();
        }
        BlockDigests { length: self.length, hashes: self.hashes.into() }
    }

    fn close_block(&mut self) {
        self.hashes.extend_from_slice(&self.block.finalize_reset());
        self.filled = 0;
    }
}

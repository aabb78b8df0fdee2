//! The pieces of an object that prove themselves: chunks of a container, blocks of a plain data file.

use crate::blocks::{BLOCK, BlockDigests};
use crate::container::{HEADER, ObjectCipher, SEALED_CHUNK};

/// How an object is cut, and what proves a piece.
pub(super) enum Pieces {
    /// Nothing but the digest of the whole.
    None,
    /// Blocks of a plain data file.
    Blocks(BlockDigests),
    /// Chunks of a container, behind its header.
    Chunks(Box<ObjectCipher>),
}

/// How an object of so many stored bytes is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// Stored bytes before the first piece.
    pub head: u64,
    /// Stored bytes of every piece but the last.
    pub piece: u64,
}

impl Cut {
    /// Of a container.
    pub const CHUNKS: Self = Self { head: HEADER as u64, piece: SEALED_CHUNK as u64 };
    /// Of a plain data file.
    pub const BLOCKS: Self = Self { head: 0, piece: BLOCK };

    /// How many pieces there are.
    pub fn count(self, stored: u64) -> u64 {
        stored.saturating_sub(self.head).div_ceil(self.piece)
    }

    /// First and behind-last stored byte of the pieces `from..to`.
    pub fn range(self, from: u64, to: u64, stored: u64) -> std::ops::Range<u64> {
        let at = |piece: u64| piece.saturating_mul(self.piece).saturating_add(self.head).min(stored);
        at(from)..at(to)
    }
}

impl Pieces {
    /// Whether a piece is what was written.
    pub fn hold(&self, index: u64, last: bool, stored: &[u8], plain: &mut Vec<u8>) -> bool {
        plain.clear();
        match self {
            Self::None => true,
            Self::Blocks(digests) => digests.matches(index, stored),
            Self::Chunks(cipher) => cipher.open_chunk(index, last, stored, plain).is_ok(),
        }
    }
}

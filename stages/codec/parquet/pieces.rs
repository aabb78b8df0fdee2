//! The bytes of a file in pieces of one size: what one of them leaves free serves the next, and a row group is nowhere in one piece.

use std::io::{self, Write};

use bytes::Bytes;

/// Bytes of a piece.
const PIECE: usize = 1 << 20;

/// What was written and not taken yet.
#[derive(Default)]
pub(super) struct Pieces {
    whole: Vec<Bytes>,
    open: Vec<u8>,
}

impl Pieces {
    /// Takes all of it, in order.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        self.end_piece();
        std::mem::take(&mut self.whole)
    }

    fn end_piece(&mut self) {
        if !self.open.is_empty() {
            self.whole.push(std::mem::take(&mut self.open).into());
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.open.len() >= PIECE {
            self.end_piece();
        }
        // A small file needs no whole piece.
        if self.open.is_empty() && !self.whole.is_empty() {
            self.open.reserve_exact(PIECE);
        }
        let some = bytes.get(..PIECE - self.open.len()).unwrap_or(bytes);
        self.open.extend_from_slice(some);
        Ok(some.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_what_was_written() {
        let bytes: Vec<u8> = (0..3 * PIECE + 5).map(|index| (index % 251) as u8).collect();
        for step in [1_000, PIECE - 1, PIECE, 2 * PIECE + 7] {
            let mut pieces = Pieces::default();
            let mut found = Vec::new();
            for (index, some) in bytes.chunks(step).enumerate() {
                pieces.write_all(some).unwrap();
                if index == 1 {
                    found.extend(pieces.take());
                }
            }
            found.extend(pieces.take());
            assert!(found.iter().all(|piece| !piece.is_empty() && piece.len() <= PIECE), "{step}");
            assert_eq!(found.concat(), bytes, "{step}");
            assert!(pieces.take().is_empty());
        }
    }
}

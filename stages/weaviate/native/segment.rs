//! A segment of the `objects` bucket: entries sorted by id, written once (`segmentindex/header.go`, `segment_file.go` and
//! `segment_serialization.go` in `adapters/repos/db/lsmkv` of the server). Numbers are little-endian, but for the checksum.
//!
//! ```text
//! u16 level · u16 version · u16 secondary keys of each entry · u16 strategy, 0 = replace · u64 end of the entries
//! entries, from byte 16:
//!     u8 deleted · u64 n · n bytes value · u32 16 · 16 bytes id · for each secondary key: u32 n · n bytes
//! indexes, which sequential reading does not need
//! version 1: u32 big-endian, the CRC-32 of all that follows the header, and then of the header
//! ```

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use flate2::Crc;

use super::error::{NativeError, Result};
use super::objects_file::ObjectsFile;

/// Bytes that are read at once.
const BUFFER: usize = 64 << 10;
/// Bytes of the header.
const HEADER: usize = 16;
/// Bytes of the checksum of version 1.
const CHECKSUM: usize = 4;
/// Bytes of an id, the key of each entry.
pub(super) const ID: usize = 16;

/// What a file says of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: [u8; ID],
    /// Where the object is; `None` if it was deleted.
    pub(super) value: Option<Span>,
}

/// A range of bytes of a file, inside the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) length: u64,
}

/// A segment that is read front to back.
#[derive(Debug)]
pub(super) struct Segment {
    name: String,
    reader: BufReader<File>,
    /// Where the reader is.
    at: u64,
    /// Where the entries end.
    end: u64,
    secondary_keys: u16,
    last: Option<[u8; ID]>,
}

/// The fields of a header.
struct Header {
    version: u16,
    secondary_keys: u16,
    strategy: u16,
    end: u64,
}

impl Segment {
    /// Opens a segment and verifies its checksum, where it has one, over the whole file.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub(super) fn open(file: &ObjectsFile) -> Result<Self> {
        let read = |error: io::Error| NativeError::io("read", &file.path, error);
        let mut reader = BufReader::with_capacity(BUFFER, File::open(&file.path).map_err(read)?);
        let length = reader.get_ref().metadata().map_err(read)?.len();
        let damaged = |at: u64, reason: &str| NativeError::damaged(&file.name, at, reason);
        let mut start = [0; HEADER];
        reader.read_exact(&mut start).map_err(|error| damaged(0, &format!("its header cannot be read: {error}")))?;
        let header = Header::parse(start);
        let trailer = match header.version {
            0 => 0,
            1 => CHECKSUM as u64,
            version => return Err(damaged(2, &format!("version {version} of segments is not known"))),
        };
        if header.strategy != 0 {
            return Err(damaged(6, &format!("its strategy is {}, and objects have 0", header.strategy)));
        }
        if header.end < HEADER as u64 || header.end > length.saturating_sub(trailer) {
            return Err(damaged(8, &format!("entries up to byte {} do not fit {length} bytes", header.end)));
        }
        if header.version == 1 {
            verify(&mut reader, &start, length - (HEADER + CHECKSUM) as u64)
                .map_err(|error| damaged(length - CHECKSUM as u64, &error.to_string()))?;
            reader.seek(SeekFrom::Start(HEADER as u64)).map_err(read)?;
        }
        let (end, secondary_keys) = (header.end, header.secondary_keys);
        Ok(Self { name: file.name.clone(), reader, at: HEADER as u64, end, secondary_keys, last: None })
    }

    /// The next entry; `None` behind the last.
    ///
    /// # Errors
    /// It cannot be read, is damaged, or is not behind the one before.
    pub(super) fn next(&mut self) -> Result<Option<Found>> {
        if self.at == self.end {
            return Ok(None);
        }
        let start = self.at;
        let deleted = u8::from_le_bytes(self.array()?);
        if deleted > 1 {
            return Err(self.damaged(start, "the mark of a deletion is neither 0 nor 1"));
        }
        let length = u64::from_le_bytes(self.array()?);
        let value = Span { start: self.at, length };
        self.skip(length)?;
        let key_length = u32::from_le_bytes(self.array()?);
        if key_length as usize != ID {
            return Err(self.damaged(self.at, "an id has not 16 bytes"));
        }
        let id = self.array()?;
        for _ in 0..self.secondary_keys {
            let length = u32::from_le_bytes(self.array()?);
            self.skip(length.into())?;
        }
        if self.last.is_some_and(|last| last >= id) {
            return Err(self.damaged(start, "the ids are not sorted"));
        }
        self.last = Some(id);
        Ok(Some(Found { id, value: (deleted == 0).then_some(value) }))
    }

    fn damaged(&self, at: u64, reason: &str) -> NativeError {
        NativeError::damaged(&self.name, at, reason)
    }

    /// Claims bytes of the entries.
    fn advance(&mut self, length: u64) -> Result<()> {
        if length > self.end - self.at {
            return Err(self.damaged(self.at, "an entry does not end where the entries end"));
        }
        self.at += length;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let at = self.at;
        self.advance(N as u64)?;
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(|error| self.damaged(at, &error.to_string()))?;
        Ok(bytes)
    }

    fn skip(&mut self, length: u64) -> Result<()> {
        let at = self.at;
        self.advance(length)?;
        self.reader.seek_relative(length.cast_signed()).map_err(|error| self.damaged(at, &error.to_string()))
    }
}

impl Header {
    fn parse(bytes: [u8; HEADER]) -> Self {
        let [_, _, v0, v1, k0, k1, s0, s1, end @ ..] = bytes;
        Self {
            version: u16::from_le_bytes([v0, v1]),
            secondary_keys: u16::from_le_bytes([k0, k1]),
            strategy: u16::from_le_bytes([s0, s1]),
            end: u64::from_le_bytes(end),
        }
    }
}

/// Reads `length` bytes and the checksum that follows them.
fn verify(reader: &mut impl Read, header: &[u8], length: u64) -> io::Result<()> {
    let mut sum = Crc::new();
    let mut buffer = vec![0; BUFFER];
    let mut content = reader.by_ref().take(length);
    loop {
        let read = content.read(&mut buffer)?;
        match buffer.get(..read) {
            Some([]) | None => break,
            Some(bytes) => sum.update(bytes),
        }
    }
    sum.update(header);
    let mut expected = [0; CHECKSUM];
    reader.read_exact(&mut expected)?;
    if sum.sum() == u32::from_be_bytes(expected) { Ok(()) } else { Err(io::Error::other("the checksum is wrong")) }
}

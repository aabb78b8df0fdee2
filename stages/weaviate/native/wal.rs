//! A write-ahead log of the `objects` bucket: entries in the order of the writes (`commitlogger.go`,
//! `commitlogger_parser.go` in `adapters/repos/db/lsmkv` of the server). Only inactive tenants have one in a backup; the
//! others are flushed to segments before. Numbers are little-endian, but for the checksum.
//!
//! ```text
//! u8 0 = replace · u8 version
//! version 1: u32 n · n bytes entry · u32 big-endian checksum
//! version 0, in 1.26 and early patches of 1.27 and 1.28: entry
//! ```
//!
//! An entry is that of a segment. The checksum is the CRC-32 of all records so far without their checksums. A version 0
//! record does not say how many secondary keys its entry has.
//!
//! The last record may be cut short, when the server was: it was never acknowledged, and the server passes over it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};

use flate2::Crc;

use super::error::{NativeError, Result};
use super::objects_file::ObjectsFile;
use super::segment::{Found, ID, Span};

/// Bytes that are read at once.
const BUFFER: usize = 64 << 10;
/// Bytes of an entry without value and secondary keys.
const FIXED: u64 = 1 + 8 + 4 + ID as u64;
/// More than the secondary keys of an entry take: the number of the object, 8 bytes, and up to 1.34 a token and the id, 24
/// bytes, each after its length.
const MAX_SECONDARY: u64 = 64;
/// Bytes of the checksum of version 1.
const CHECKSUM: usize = 4;
/// More than an object takes: a version 1 record cannot hold more.
const MAX_VALUE: u64 = u32::MAX as u64;
/// The numbers of secondary keys that there may be.
const SECONDARY_KEYS: [u16; 3] = [2, 1, 0];

/// What a log says last of each id.
pub(super) type Wal = BTreeMap<[u8; ID], Option<Span>>;

/// Reads a log, and keeps where its objects are.
///
/// # Errors
/// It cannot be read, or is damaged otherwise than by a last record that is cut short.
pub(super) fn read(file: &ObjectsFile) -> Result<Wal> {
    let mut best: Option<(u64, Wal)> = None;
    let mut failure = None;
    for secondary_keys in SECONDARY_KEYS {
        let mut parser = Parser::open(file, secondary_keys)?;
        match parser.run() {
            Ok(()) if !parser.is_v0 => return Ok(parser.found),
            // A wrong number of keys may look like a log that is cut short, but not after as many records.
            Ok(()) if best.as_ref().is_none_or(|(records, _)| parser.records > *records) => {
                best = Some((parser.records, parser.found));
            }
            Ok(()) => {}
            Err(error) if !parser.is_v0 => return Err(error),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match (best, failure) {
        (Some((_, found)), _) => Ok(found),
        (None, Some(error)) => Err(error),
        (None, None) => Ok(Wal::new()),
    }
}

/// Why a record was not read.
enum Stop {
    /// The bytes that it may take end inside it.
    Short,
    /// The log ends inside it.
    Torn,
    Damaged(u64, &'static str),
    Io(io::Error),
}

struct Parser {
    name: String,
    reader: BufReader<File>,
    /// The same file, to look at a place again.
    again: File,
    at: u64,
    length: u64,
    /// Of all records before the current one, and of the current one so far.
    sums: (Crc, Crc),
    secondary_keys: u16,
    /// Whether there were version 0 records.
    is_v0: bool,
    records: u64,
    found: Wal,
}

impl Parser {
    fn open(file: &ObjectsFile, secondary_keys: u16) -> Result<Self> {
        let read = |error: io::Error| NativeError::io("read", &file.path, error);
        let again = File::open(&file.path).map_err(read)?;
        let length = again.metadata().map_err(read)?.len();
        Ok(Self {
            name: file.name.clone(),
            reader: BufReader::with_capacity(BUFFER, File::open(&file.path).map_err(read)?),
            again,
            at: 0,
            length,
            sums: (Crc::new(), Crc::new()),
            secondary_keys,
            is_v0: false,
            records: 0,
            found: Wal::new(),
        })
    }

    fn run(&mut self) -> Result<()> {
        while self.at < self.length {
            let start = self.at;
            let stop = match self.record() {
                Ok(entry) => {
                    self.records += 1;
                    self.found.insert(entry.id, entry.value);
                    continue;
                }
                Err(Stop::Short) => match self.is_torn(start) {
                    Ok(true) => Stop::Torn,
                    Ok(false) => Stop::Damaged(start, "a record does not end where the log ends"),
                    Err(error) => Stop::Io(error),
                },
                Err(stop) => stop,
            };
            return match stop {
                Stop::Short | Stop::Torn => Ok(()),
                Stop::Damaged(at, reason) => Err(NativeError::damaged(&self.name, at, reason)),
                Stop::Io(error) => Err(NativeError::damaged(&self.name, start, error.to_string())),
            };
        }
        Ok(())
    }

    fn record(&mut self) -> Result<Found, Stop> {
        let start = self.at;
        match self.array(self.length)? {
            [0, 1] => self.record_v1(start),
            [0, 0] if self.rest_is_zero(start).map_err(Stop::Io)? => Err(Stop::Torn),
            [0, 0] if self.is_v0 || self.records == 0 => self.record_v0(),
            // A server that writes version 1 writes no version 0, so that behind others it is another one, damaged.
            [0, _] => Err(Stop::Damaged(start + 1, "the version of a record is not the one it should be")),
            _ => Err(Stop::Damaged(start, "a record is not one of objects")),
        }
    }

    fn record_v1(&mut self, start: u64) -> Result<Found, Stop> {
        let length = u64::from(u32::from_le_bytes(self.array(self.length)?));
        let end = self.at + length;
        if end + CHECKSUM as u64 > self.length {
            return Err(Stop::Short);
        }
        let entry = self.entry_v1(end).map_err(|stop| match stop {
            Stop::Short => Stop::Damaged(start, "a record does not end where it should"),
            other => other,
        })?;
        let (sum, record) = &mut self.sums;
        sum.combine(record);
        record.reset();
        let mut expected = [0; CHECKSUM];
        self.reader.read_exact(&mut expected).map_err(Stop::Io)?;
        self.at += CHECKSUM as u64;
        if self.sums.0.sum() == u32::from_be_bytes(expected) {
            return Ok(entry);
        }
        Err(Stop::Damaged(start, "the checksum of a record is wrong"))
    }

    fn entry_v1(&mut self, end: u64) -> Result<Found, Stop> {
        let entry = self.entry(end)?;
        while self.at < end {
            self.secondary_key(end)?;
        }
        Ok(entry)
    }

    fn record_v0(&mut self) -> Result<Found, Stop> {
        self.is_v0 = true;
        let entry = self.entry(self.length)?;
        for _ in 0..self.secondary_keys {
            self.secondary_key(self.length)?;
        }
        Ok(entry)
    }

    /// An entry up to its secondary keys.
    fn entry(&mut self, end: u64) -> Result<Found, Stop> {
        let start = self.at;
        let deleted = u8::from_le_bytes(self.array(end)?);
        if deleted > 1 {
            return Err(Stop::Damaged(start, "the mark of a deletion is neither 0 nor 1"));
        }
        let length = u64::from_le_bytes(self.array(end)?);
        let value = Span { start: self.at, length };
        self.skip(length, end)?;
        let at = self.at;
        if u32::from_le_bytes(self.array(end)?) as usize != ID {
            return Err(Stop::Damaged(at, "an id has not 16 bytes"));
        }
        let id = self.array(end)?;
        Ok(Found { id, value: (deleted == 0).then_some(value) })
    }

    fn secondary_key(&mut self, end: u64) -> Result<(), Stop> {
        let length = u32::from_le_bytes(self.array(end)?);
        self.skip(length.into(), end)
    }

    fn array<const N: usize>(&mut self, end: u64) -> Result<[u8; N], Stop> {
        if N as u64 > end - self.at {
            return Err(Stop::Short);
        }
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(Stop::Io)?;
        self.sums.1.update(&bytes);
        self.at += N as u64;
        Ok(bytes)
    }

    /// Reads past bytes, which still count for the checksum.
    fn skip(&mut self, length: u64, end: u64) -> Result<(), Stop> {
        if length > end - self.at {
            return Err(Stop::Short);
        }
        let mut left = length;
        while left > 0 {
            let buffer = self.reader.fill_buf().map_err(Stop::Io)?;
            let read = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                return Err(Stop::Io(ErrorKind::UnexpectedEof.into()));
            };
            self.sums.1.update(bytes);
            self.reader.consume(read);
            left -= read as u64;
        }
        self.at += length;
        Ok(())
    }

    /// Whether a record that does not fit is the start of a whole one. A length that was changed would otherwise hide all that
    /// follows it.
    fn is_torn(&mut self, start: u64) -> io::Result<bool> {
        let mut record = Vec::new();
        self.again.seek(SeekFrom::Start(start))?;
        self.again.by_ref().take(32).read_to_end(&mut record)?;
        Ok(match record.split_first_chunk() {
            None => true,
            Some(([_, 0], entry)) => begins_entry(entry, None),
            Some((_, entry)) => match entry.split_first_chunk() {
                None => true,
                Some((length, entry)) => {
                    begins_entry(entry, Some(u32::from_le_bytes(*length).into())) && !self.ends_with_log(start)?
                }
            },
        })
    }

    /// Whether a version 1 record is whole when its length is taken to be what is left of the log.
    fn ends_with_log(&mut self, start: u64) -> io::Result<bool> {
        let rest = (self.length - start).checked_sub((2 + 4 + CHECKSUM) as u64);
        let Some(length) = rest.and_then(|rest| u32::try_from(rest).ok()) else { return Ok(false) };
        let (sum, record) = &mut self.sums;
        record.reset();
        record.update(&[0, 1]);
        record.update(&length.to_le_bytes());
        self.again.seek(SeekFrom::Start(start + 2 + 4))?;
        let mut entry = BufReader::with_capacity(BUFFER, self.again.by_ref().take(length.into()));
        loop {
            let bytes = entry.fill_buf()?;
            if bytes.is_empty() {
                break;
            }
            record.update(bytes);
            let read = bytes.len();
            entry.consume(read);
        }
        // Nothing is read behind this record, so that the sum may take it in.
        sum.combine(record);
        let mut expected = [0; CHECKSUM];
        self.again.read_exact(&mut expected)?;
        Ok(sum.sum() == u32::from_be_bytes(expected))
    }

    /// Whether there are only zeros from here on, which is what some file systems leave of a write that was under way.
    fn rest_is_zero(&mut self, start: u64) -> io::Result<bool> {
        self.again.seek(SeekFrom::Start(start))?;
        let mut buffer = [0; 512];
        loop {
            let read = self.again.read(&mut buffer)?;
            match buffer.get(..read) {
                Some([]) | None => return Ok(true),
                Some(bytes) if bytes.iter().all(|byte| *byte == 0) => {}
                Some(_) => return Ok(false),
            }
        }
    }
}

/// Whether these may be the first bytes of an entry, of this many bytes where that is known.
fn begins_entry(bytes: &[u8], entry: Option<u64>) -> bool {
    let Some((deleted, bytes)) = bytes.split_first() else { return true };
    let Some((length, value)) = bytes.split_first_chunk() else { return *deleted <= 1 };
    let length = u64::from_le_bytes(*length);
    let fits = match entry {
        Some(entry) => length <= MAX_VALUE && (FIXED + length..=FIXED + length + MAX_SECONDARY).contains(&entry),
        None => length <= MAX_VALUE,
    };
    // Objects and the times of deletions both begin with version 1.
    *deleted <= 1 && fits && (length == 0 || value.first().is_none_or(|version| *version == 1))
}

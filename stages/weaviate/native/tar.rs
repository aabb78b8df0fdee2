//! Tar archives as Go's `archive/tar` writes them: ustar headers, PAX records in front of some, GNU long names.
//!
//! A large file may be split: each part is an entry of its own with the file's name, and the PAX record
//! `WEAVIATE.fileOffset` says where it belongs (`usecases/backup/zip.go` of the server).

use std::io::{self, ErrorKind, Read};

use super::error::{NativeError, Result};

/// Bytes of a header, and the unit that all sizes are rounded up to.
const BLOCK: usize = 512;
/// The most that PAX records or a long name of one entry may take; Go's limit.
const MAX_EXTENSION: u64 = 1 << 20;
/// The PAX record of a part of a file: decimal bytes from the start of the whole file.
const SPLIT: &str = "WEAVIATE.fileOffset";

/// A tar archive, read front to back.
pub(super) struct Tar<R> {
    inner: R,
    /// What the archive is called in errors.
    name: String,
    /// Bytes read so far.
    at: u64,
    /// Bytes of the current entry that were not read yet.
    left: u64,
    /// Zeros after the current entry.
    padding: u64,
}

/// A file of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Bytes of this entry.
    pub(super) size: u64,
    /// Where this part begins in its file; `None` for a whole file.
    pub(super) part: Option<u64>,
    /// Whether it is a regular file, and no folder or link.
    pub(super) regular: bool,
    /// Where its header begins in the archive.
    pub(super) at: u64,
}

/// What stands in front of a header and changes it.
#[derive(Debug, Default)]
struct Extension {
    path: Option<String>,
    size: Option<u64>,
    part: Option<u64>,
}

impl<R: Read> Tar<R> {
    pub(super) fn new(inner: R, name: String) -> Self {
        Self { inner, name, at: 0, left: 0, padding: 0 }
    }

    /// The next file, whose content [`Read`] gives then; `None` at the end mark.
    ///
    /// # Errors
    /// The archive cannot be unpacked, is damaged, or ends without its end mark.
    pub(super) fn next(&mut self) -> Result<Option<Entry>> {
        let mut extension = Extension::default();
        loop {
            self.skip_entry()?;
            let at = self.at;
            let header = self.block()?;
            if header.iter().all(|byte| *byte == 0) {
                return self.end().map(|()| None);
            }
            let header = Header(&header);
            if !header.is_intact() {
                return Err(self.damaged(at, "the checksum of an entry's header is wrong"));
            }
            let size = header.size().ok_or_else(|| self.damaged(at, "an entry has no readable size"))?;
            match header.kind() {
                b'x' => self.pax_records(at, size, &mut extension)?,
                b'L' => extension.path = Some(self.long_name(at, size)?),
                // A global header or a long name of a link: nothing of it is needed.
                b'g' | b'K' => self.begin(at, size)?,
                kind => {
                    let size = extension.size.unwrap_or(size);
                    self.begin(at, size)?;
                    let name = extension.path.unwrap_or_else(|| header.name());
                    let regular = matches!(kind, b'0' | 0);
                    return Ok(Some(Entry { name, size, part: extension.part, regular, at }));
                }
            }
        }
    }

    fn damaged(&self, at: u64, reason: impl Into<String>) -> NativeError {
        NativeError::damaged(&self.name, at, reason)
    }

    /// Makes the bytes that follow the content of an entry.
    fn begin(&mut self, at: u64, size: u64) -> Result<()> {
        // Room for the padding, so that no sum of positions overflows.
        if size > i64::MAX.cast_unsigned() - BLOCK as u64 {
            return Err(self.damaged(at, format!("an entry is said to have {size} bytes")));
        }
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
        Ok(())
    }

    /// Reads past what is left of the entry.
    fn skip_entry(&mut self) -> Result<()> {
        let wanted = self.left.saturating_add(self.padding);
        (self.left, self.padding) = (0, 0);
        let found = io::copy(&mut self.inner.by_ref().take(wanted), &mut io::sink())
            .map_err(|error| self.damaged(self.at, error.to_string()))?;
        self.at = self.at.saturating_add(found);
        if found == wanted { Ok(()) } else { Err(self.damaged(self.at, "the archive ends inside an entry")) }
    }

    fn block(&mut self) -> Result<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        match self.inner.read_exact(&mut block) {
            Ok(()) => self.at = self.at.saturating_add(BLOCK as u64),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(self.damaged(self.at, "the archive ends without its end mark"));
            }
            Err(error) => return Err(self.damaged(self.at, error.to_string())),
        }
        Ok(block)
    }

    /// The second block of the end mark, and then to the end, so that the checksum of the compression is verified too.
    fn end(&mut self) -> Result<()> {
        if self.block()?.iter().any(|byte| *byte != 0) {
            return Err(self.damaged(self.at, "the end mark of the archive is only half there"));
        }
        io::copy(&mut self.inner, &mut io::sink()).map_err(|error| self.damaged(self.at, error.to_string()))?;
        Ok(())
    }

    /// The content of an entry that describes the next one.
    fn extension(&mut self, at: u64, size: u64) -> Result<Vec<u8>> {
        if size > MAX_EXTENSION {
            return Err(self.damaged(at, format!("the description of an entry has {size} bytes")));
        }
        self.begin(at, size)?;
        let mut content = Vec::new();
        self.read_to_end(&mut content).map_err(|error| self.damaged(at, error.to_string()))?;
        Ok(content)
    }

    fn long_name(&mut self, at: u64, size: u64) -> Result<String> {
        let content = self.extension(at, size)?;
        let name = content.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    /// PAX records: each `<length> <key>=<value>\n`, where the length counts the whole record.
    fn pax_records(&mut self, at: u64, size: u64, extension: &mut Extension) -> Result<()> {
        let content = self.extension(at, size)?;
        let mut rest = content.as_slice();
        while !rest.is_empty() {
            let (key, value, after) =
                pax_record(rest).ok_or_else(|| self.damaged(at, "a PAX record cannot be understood"))?;
            rest = after;
            let number =
                || value.parse().map_err(|_| self.damaged(at, format!("the PAX record {key} is no number: {value:?}")));
            match key {
                "path" => extension.path = Some(value.to_owned()),
                "size" => extension.size = Some(number()?),
                SPLIT => extension.part = Some(number()?),
                // A hole would shift all that follows it.
                key if key.starts_with("GNU.sparse.") => {
                    return Err(self.damaged(at, "sparse files are not supported"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The first record, and what follows it.
fn pax_record(records: &[u8]) -> Option<(&str, &str, &[u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length: usize = str::from_utf8(records.get(..space)?).ok()?.parse().ok()?;
    let (record, after) = records.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let (key, value) = str::from_utf8(record).ok()?.split_once('=')?;
    Some((key, value, after))
}

/// The content of the current entry.
impl<R: Read> Read for Tar<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let found = self.inner.by_ref().take(self.left).read(buffer)?;
        if found == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the archive ends inside an entry"));
        }
        self.left = self.left.saturating_sub(found as u64);
        self.at = self.at.saturating_add(found as u64);
        Ok(found)
    }
}

/// The header of an entry.
struct Header<'a>(&'a [u8; BLOCK]);

impl Header<'_> {
    fn field(&self, start: usize, length: usize) -> &[u8] {
        self.0.get(start..start + length).unwrap_or_default()
    }

    /// A text field, which ends at a zero or with the field.
    fn text(&self, start: usize, length: usize) -> String {
        let text = self.field(start, length).split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    /// Whether the sum of all bytes is the one of the checksum field, which itself counts as blanks.
    fn is_intact(&self) -> bool {
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        let blanks = 8 * u64::from(b' ');
        octal(self.field(148, 8)) == Some(sum(self.0) - sum(self.field(148, 8)) + blanks)
    }

    fn kind(&self) -> u8 {
        self.field(156, 1).first().copied().unwrap_or_default()
    }

    /// The size: octal digits, or after a set top bit a big-endian number, for files of 8 GiB and more.
    fn size(&self) -> Option<u64> {
        let field = self.field(124, 12);
        let (first, rest) = field.split_first()?;
        if first & 0x80 == 0 {
            return octal(field);
        }
        let (high, low) = rest.split_last_chunk::<8>()?;
        let is_small = *first == 0x80 && high.iter().all(|byte| *byte == 0);
        is_small.then(|| u64::from_be_bytes(*low))
    }

    fn name(&self) -> String {
        let name = self.text(0, 100);
        // Old GNU headers have other fields where ustar has the folder.
        let folder = if self.field(257, 6) == b"ustar\0" { self.text(345, 155) } else { String::new() };
        if folder.is_empty() { name } else { format!("{folder}/{name}") }
    }
}

/// Octal digits between blanks and zeros; nothing at all is zero.
fn octal(field: &[u8]) -> Option<u64> {
    let text = str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

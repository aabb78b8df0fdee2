//! Lengths and the header layout.

use super::ContainerError;

/// Length of the header in bytes.
pub const HEADER: usize = 80;
/// Plain bytes of every chunk but the last.
pub const CHUNK: usize = 65_536;
/// Length of a chunk's tag.
pub const TAG: usize = 16;
/// Stored bytes of every chunk but the last.
pub const SEALED_CHUNK: usize = CHUNK + TAG;
/// First seven bytes of every container.
pub const MAGIC: [u8; 7] = *b"restow\0";
/// Eighth byte: the version of the container.
pub const VERSION: u8 = 1;

pub(super) const HEADER_U64: u64 = HEADER as u64;
pub(super) const CHUNK_U64: u64 = CHUNK as u64;
const TAG_U64: u64 = TAG as u64;
pub(super) const SEALED_U64: u64 = SEALED_CHUNK as u64;

/// Number of chunks of so many plain bytes: one for none.
pub(super) fn chunks(plain: u64) -> u64 {
    plain.div_ceil(CHUNK_U64).max(1)
}

/// Stored length of a container with so many plain bytes: 80 + plain + 16 n. Saturates near 2^64, far above the 2^48 that
/// a container can hold.
pub fn stored_len(plain: u64) -> u64 {
    plain.saturating_add(chunks(plain).saturating_mul(TAG_U64)).saturating_add(HEADER_U64)
}

/// Plain length of a container with so many stored bytes; an error (that can name no path) where no container has that
/// length.
pub fn plain_len(stored: u64) -> Result<u64, ContainerError> {
    checked_plain_len(stored, "")
}

/// With b = stored - 80 and n = ceil(b / 65552): valid if b = 16, or if the last chunk has at least one byte and a tag.
pub(super) fn checked_plain_len(stored: u64, path: &str) -> Result<u64, ContainerError> {
    let invalid = || ContainerError::Length { path: path.to_owned(), stored };
    let body = stored.checked_sub(HEADER_U64).ok_or_else(invalid)?;
    let n = body.div_ceil(SEALED_U64);
    if body == TAG_U64 {
        return Ok(0);
    }
    let last = body.saturating_sub(SEALED_U64.saturating_mul(n.saturating_sub(1)));
    if n == 0 || last <= TAG_U64 {
        return Err(invalid());
    }
    Ok(body.saturating_sub(TAG_U64.saturating_mul(n)))
}

/// Stored offset of a chunk.
pub(super) fn chunk_offset(chunk: u64) -> u64 {
    chunk.saturating_mul(SEALED_U64).saturating_add(HEADER_U64)
}

/// The fields of a header, still unproven.
pub(super) struct Fields {
    pub epoch: u32,
    pub salt: [u8; 32],
    pub commitment: [u8; 32],
}

/// Magic 7, version 1, epoch u32, zero u32, salt 32, commitment 32; integers big-endian.
pub(super) fn write_header(fields: &Fields) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let parts = [&MAGIC[..], &[VERSION], &fields.epoch.to_be_bytes(), &[0; 4], &fields.salt, &fields.commitment];
    for (to, from) in header.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    header
}

/// Splits a header and checks what needs no key.
pub(super) fn read_header(header: &[u8; HEADER], path: &str) -> Result<Fields, ContainerError> {
    let (magic, rest) = take::<7>(header);
    let (version, rest) = take::<1>(rest);
    let (epoch, rest) = take::<4>(rest);
    let (zero, rest) = take::<4>(rest);
    let (salt, rest) = take::<32>(rest);
    let (commitment, _) = take::<32>(rest);
    if magic != MAGIC {
        return Err(ContainerError::NotAContainer { path: path.to_owned() });
    }
    let [version] = version;
    if version == 0 {
        return Err(ContainerError::NotAContainer { path: path.to_owned() });
    }
    if version != VERSION {
        return Err(ContainerError::TooNew { path: path.to_owned(), version });
    }
    if zero != [0; 4] {
        return Err(ContainerError::Reserved { path: path.to_owned() });
    }
    Ok(Fields { epoch: u32::from_be_bytes(epoch), salt, commitment })
}

/// The first N bytes and the rest; zeros where there are none, which the fixed length of a header rules out.
fn take<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    match bytes.split_first_chunk::<N>() {
        Some((first, rest)) => (*first, rest),
        None => ([0; N], &[]),
    }
}

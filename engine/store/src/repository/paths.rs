//! Where objects lie in a repository, and what follows from a path alone.

use std::borrow::Cow;
use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::SnapshotId;

/// The object that makes a place a repository.
pub const REPOSITORY_OBJECT: &str = "repository.json";

/// Whether the object at `relative` has block digests in a plain repository.
pub fn is_data(relative: &str) -> bool {
    relative.starts_with("data/") || relative.starts_with("changes/")
}

/// The manifest of a snapshot.
pub fn manifest(id: &SnapshotId) -> String {
    format!("snapshots/{id}/manifest.json")
}

/// The mark of a deleted snapshot.
pub fn deleted(id: &SnapshotId) -> String {
    format!("control/deleted/{id}")
}

/// An object of a snapshot's folder.
pub fn in_snapshot(id: &SnapshotId, name: &str) -> String {
    format!("snapshots/{id}/{name}")
}

/// A generation of the keyring.
pub fn keyring(generation: u64) -> String {
    format!("keys/{generation}.json")
}

/// The note that the recovery key of the slot with this mark has opened the repository.
pub fn recovery_proven(mark: &str) -> String {
    format!("control/recovery-proven/{mark}.json")
}

/// Escaped names longer than this are cut, and told apart by a digest.
const LONGEST: usize = 120;

/// A name of the source as one path part of a plain repository: letters, digits, `_`, `-` and inner `.` stay, every
/// other byte of the UTF-8 text is `!` and two hex digits, the empty name is `!`. A result of more than 120 characters
/// is cut to 80 (never inside an escape) and gets `!!` and the first 32 hex digits of the name's SHA-256.
pub fn escape(name: &str) -> Cow<'_, str> {
    let plain = |i: usize, b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-' || (b == b'.' && i > 0);
    if name.is_empty() {
        return Cow::Borrowed("!");
    }
    if name.len() <= LONGEST && name.bytes().enumerate().all(|(i, b)| plain(i, b)) {
        return Cow::Borrowed(name);
    }
    let mut escaped = String::with_capacity(name.len() * 3);
    let mut cut = 0;
    for (i, b) in name.bytes().enumerate() {
        if escaped.len() <= 80 {
            cut = escaped.len();
        }
        if plain(i, b) {
            escaped.push(char::from(b));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "!{b:02x}");
        }
    }
    if escaped.len() > LONGEST {
        escaped.truncate(cut);
        let digest = HEXLOWER.encode(&Sha256::digest(name.as_bytes()));
        let _ = write!(escaped, "!!{}", digest.get(..32).unwrap_or(&digest));
    }
    Cow::Owned(escaped)
}

//! The file that a recovery key goes to. It is written before the key counts, whole or not at all, and never overwritten: what
//! an attempt that was killed left there is taken up by the next one.

use std::path::Path;

use bytes::Bytes;

use super::RepositoryError;
use super::create::blocking;
use super::open::{load, open_keys};
use crate::keys::{KeyError, KeyFileState, KeySource, RecoveryKey, SlotKind, Staged};
use crate::location::Location;

/// What the file holds.
pub(super) enum Held {
    /// It does not exist.
    Nothing,
    /// The recovery key of the newest generation.
    Current(KeySource),
    /// A key that has never opened anything here, as an attempt leaves it that was killed before its key counted.
    Unused(RecoveryKey),
}

/// Writes a key to its file, which must not exist.
pub(super) fn write(path: &Path, key: &RecoveryKey) -> Result<(), RepositoryError> {
    match Staged::new(path, &key.text()).and_then(Staged::publish) {
        Ok(KeyFileState::Created) => Ok(()),
        Ok(_) => Err(taken(path, "was made by another process in this moment")),
        Err(source) => Err(RepositoryError::RecoveryFile { source }),
    }
}

/// Removes a file whose key opens nothing. Where that fails it stays, and still opens nothing.
pub(super) fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

/// What the file holds for the keyring of these generations.
///
/// # Errors
/// Something that no attempt of ours has left.
pub(super) async fn held(
    location: &Location,
    path: &Path,
    generations: &[(u64, Bytes)],
) -> Result<Held, RepositoryError> {
    let file = path.to_owned();
    if !blocking(move || std::fs::symlink_metadata(file).is_ok()).await? {
        return Ok(Held::Nothing);
    }
    let source = KeySource::KeyFile { path: path.to_owned(), create: false };
    let unlocker = load(location, &source).await.map_err(|_| taken(path, "holds no key"))?;
    if generations.is_empty() {
        return Err(taken(path, "holds a key of something else"));
    }
    match open_keys(location, generations.to_vec(), unlocker.clone()).await {
        Ok((keys, _)) if keys.opened_by().kind == SlotKind::Recovery => Ok(Held::Current(source)),
        Ok(_) => Err(taken(path, "holds a key that is no recovery key of this repository")),
        Err(RepositoryError::Key { source: KeyError::Wrong { .. }, .. }) => {
            RecoveryKey::of(unlocker).map(Held::Unused).ok_or_else(|| taken(path, "holds no key"))
        }
        Err(RepositoryError::Key { source: KeyError::Removed { .. }, .. }) => {
            Err(taken(path, "holds a key that was removed from this repository"))
        }
        Err(error) => Err(error),
    }
}

pub(super) fn taken(path: &Path, problem: &str) -> RepositoryError {
    RepositoryError::RecoveryFileTaken { path: path.to_owned(), problem: problem.to_owned() }
}

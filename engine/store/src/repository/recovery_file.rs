//! The file that a recovery key goes to. A file that exists is never overwritten. One that an interrupted attempt left is
//! known by its key: it opens the recovery slot of this keyring.

use std::path::Path;

use bytes::Bytes;

use super::RepositoryError;
use super::create::{blocking, key_error};
use super::open::{load, open_keys};
use crate::keys::{KeySource, RecoveryKey, SlotKind, Staged};
use crate::location::Location;

/// Writes a key to a temporary file beside `path`.
pub(super) fn stage(path: &Path, key: &RecoveryKey) -> Result<Staged, RepositoryError> {
    Staged::new(path, &key.text()).map_err(|source| RepositoryError::RecoveryFile { source })
}

/// Gives a staged file its name.
pub(super) fn publish(staged: Staged, path: &Path) -> Result<(), RepositoryError> {
    match staged.publish() {
        Ok(crate::keys::KeyFileState::Created) => Ok(()),
        Ok(_) => Err(taken(path, "was made by another process in this moment")),
        Err(source) => Err(RepositoryError::RecoveryFile { source }),
    }
}

/// The secret of a file that exists, where it opens the recovery slot of the newest generation.
///
/// # Errors
/// The file exists and does not.
pub(super) async fn held(
    location: &Location,
    path: &Path,
    generations: &[(u64, Bytes)],
) -> Result<Option<KeySource>, RepositoryError> {
    let file = path.to_owned();
    let there = blocking(move || std::fs::symlink_metadata(file).is_ok()).await?;
    if !there {
        return Ok(None);
    }
    let source = KeySource::KeyFile { path: path.to_owned(), create: false };
    let unlocker = load(location, &source).await.map_err(|_| taken(path, "holds no key"))?;
    if generations.is_empty() {
        return Err(taken(path, "holds a key of something else"));
    }
    match open_keys(location, generations.to_vec(), unlocker).await {
        Ok((keys, _)) if keys.opened_by().kind == SlotKind::Recovery => Ok(Some(source)),
        Ok(_) => Err(taken(path, "holds a key that is no recovery key of this repository")),
        Err(RepositoryError::Key { source: error, .. }) if error.exit_code() == 12 => {
            Err(taken(path, "holds a key that does not open this repository"))
        }
        Err(RepositoryError::Key { source, .. }) => Err(key_error(location)(source)),
        Err(error) => Err(error),
    }
}

pub(super) fn taken(path: &Path, problem: &str) -> RepositoryError {
    RepositoryError::RecoveryFileTaken { path: path.to_owned(), problem: problem.to_owned() }
}

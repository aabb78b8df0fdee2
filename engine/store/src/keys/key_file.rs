//! The key file: made once, whole or not at all, and on disk before anything is encrypted with it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use super::material::fill;
use super::{KeyError, RepositoryKey};

/// A key file is one line of 48 characters; what is longer than this is not one.
const MAX_KEY_FILE: u64 = 4096;

/// What [`super::KeySource::create_file_if_wanted`] found or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFileState {
    /// The source is no file.
    NoFile,
    /// The file was there.
    Existing,
    /// The file was made just now: tell the user what losing it means.
    Created,
}

/// Makes the file. Another process that was faster wins, and its file counts as existing.
pub(super) fn create(path: &Path) -> Result<KeyFileState, KeyError> {
    Staged::new(path, &RepositoryKey::random()?.text())?.publish()
}

/// A secret on disk under a temporary name beside its own: what rests on it can be made now, and the name is taken after
/// that. Where the process dies between, the file with the temporary name has it.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    temporary: PathBuf,
}

impl Staged {
    /// Writes one line to a temporary file beside `path`, and syncs it. Where that fails nothing is left.
    pub fn new(path: &Path, text: &str) -> Result<Self, KeyError> {
        create_parents(&parent_of(path))?;
        let temporary = temporary_name(path)?;
        let line = Zeroizing::new(format!("{text}\n"));
        if let Err(error) = write_private(&temporary, line.as_bytes()) {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        Ok(Self { path: path.to_owned(), temporary })
    }

    /// Links the file to its name, which fails if the name is taken, and syncs the directory.
    pub fn publish(self) -> Result<KeyFileState, KeyError> {
        let line = read(&self.temporary)?.unwrap_or_default();
        let state = publish(&self.temporary, &self.path, line.as_bytes());
        // The temporary name is a second link to the secret: remove it in every case.
        let removed = fs::remove_file(&self.temporary);
        let state = state?;
        removed.map_err(|source| KeyError::KeyFile { action: "tidy up after", path: self.temporary, source })?;
        sync_directory(&parent_of(&self.path))?;
        Ok(state)
    }

    /// Removes it. Where that fails it stays, and opens nothing.
    pub fn remove(self) {
        let _ = fs::remove_file(&self.temporary);
    }
}

/// The file's text, or `None` if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, KeyError> {
    let problem = |source| KeyError::KeyFile { action: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(problem(e)),
    };
    let mut text = Zeroizing::new(String::with_capacity(64));
    file.take(MAX_KEY_FILE).read_to_string(&mut text).map_err(problem)?;
    Ok(Some(text))
}

/// Whether something has this name; a dangling symbolic link counts as something.
pub(super) fn exists(path: &Path) -> Result<bool, KeyError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(KeyError::KeyFile { action: "look for", path: path.to_owned(), source }),
    }
}

fn publish(temporary: &Path, path: &Path, line: &[u8]) -> Result<KeyFileState, KeyError> {
    match fs::hard_link(temporary, path) {
        Ok(()) => Ok(KeyFileState::Created),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(KeyFileState::Existing),
        // File systems without hard links (FAT, some network mounts): the name is still taken exclusively.
        Err(e) if matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
            match write_private(path, line) {
                Ok(()) => Ok(KeyFileState::Created),
                Err(KeyError::KeyFile { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {
                    Ok(KeyFileState::Existing)
                }
                Err(e) => Err(e),
            }
        }
        Err(source) => Err(KeyError::KeyFile { action: "create", path: path.to_owned(), source }),
    }
}

/// Creates the file for its owner alone (0600 from the first moment), writes and syncs it.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let problem = |source| KeyError::KeyFile { action: "create", path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(problem)?;
    file.write_all(bytes).map_err(problem)?;
    file.sync_all().map_err(problem)
}

/// Creates missing directories from the top and syncs the directory above each of them.
fn create_parents(directory: &Path) -> Result<(), KeyError> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|d| !d.as_os_str().is_empty() && !d.exists()).collect();
    for new in missing.into_iter().rev() {
        match fs::create_dir(new) {
            Ok(()) => sync_directory(&parent_of(new))?,
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(source) => {
                return Err(KeyError::KeyFile { action: "create the directory of", path: new.to_owned(), source });
            }
        }
    }
    Ok(())
}

fn sync_directory(directory: &Path) -> Result<(), KeyError> {
    #[cfg(unix)]
    File::open(directory).and_then(|d| d.sync_all()).map_err(|source| KeyError::KeyFile {
        action: "sync the directory of",
        path: directory.to_owned(),
        source,
    })?;
    Ok(())
}

fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn temporary_name(path: &Path) -> Result<PathBuf, KeyError> {
    let mut random = [0; 8];
    fill(&mut random)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", HEXLOWER.encode(&random)));
    Ok(path.with_file_name(name))
}

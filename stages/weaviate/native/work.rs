//! The folder that files of a backup are unpacked into.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{NativeError, Result};

/// Makes the names of the folders of one process differ.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A fresh folder, removed with all it holds when it is dropped. Where the system has modes, it is 0700 and its files 0600:
/// a backup may be less open than the place that was named for scratch files.
#[derive(Debug)]
pub(super) struct WorkFolder {
    path: PathBuf,
}

impl WorkFolder {
    /// Makes a folder inside `parent`.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn new(parent: &Path) -> Result<Self> {
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("weaviate-backup-{}-{number}", process::id()));
            match builder().create(&path) {
                Ok(()) => return Ok(Self { path }),
                // What a process of the same number left behind.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(NativeError::io("create", &path, error)),
            }
        }
    }

    /// The path that a file of this name has.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // Nothing can be done about a folder that does not go, and nothing that was read is wrong for it.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Opens a file for writing, and makes it where it is not there.
///
/// # Errors
/// The system refuses.
pub(super) fn create(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| NativeError::io("create", path, error))
}

fn builder() -> DirBuilder {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "modes are of unix"))]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

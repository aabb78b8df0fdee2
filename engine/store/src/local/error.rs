//! What can go wrong on a local file system, and how the rest of the program recognises it.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

/// An error of [`super::LocalStore`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// A system call failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause. [`is_no_space`] finds a full disk here.
        #[source]
        source: io::Error,
    },
    /// A symbolic link led out of the store.
    #[error("{} lies outside the store {}: a symbolic link leads out of it; nothing was written", path.display(), base.display())]
    Escape {
        /// The directory that was to be written.
        path: PathBuf,
        /// The directory of the store.
        base: PathBuf,
    },
    /// The file system cannot create a file only where none exists.
    #[error(
        "the file system of {} has no hard links, which restow needs to create a file only where none exists: {source}; use another file system or an object store", path.display()
    )]
    NoHardLinks {
        /// The file that was to be created.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The store was given an unusable path.
    #[error("{} has no parent directory", path.display())]
    NoParent {
        /// The path.
        path: PathBuf,
    },
}

impl LocalError {
    /// Names the action and the path of a failed system call.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

impl From<LocalError> for object_store::Error {
    fn from(error: LocalError) -> Self {
        let (kind, path) = match &error {
            LocalError::Io { source, path, .. } => (source.kind(), path.display().to_string()),
            LocalError::Escape { path, .. } => (io::ErrorKind::PermissionDenied, path.display().to_string()),
            LocalError::NoHardLinks { .. } => return Self::NotSupported { source: error.into() },
            LocalError::NoParent { .. } => (io::ErrorKind::Other, String::new()),
        };
        match kind {
            io::ErrorKind::NotFound => Self::NotFound { path, source: error.into() },
            io::ErrorKind::AlreadyExists => Self::AlreadyExists { path, source: error.into() },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::PermissionDenied { path, source: error.into() }
            }
            _ => Self::Generic { store: "LocalStore", source: error.into() },
        }
    }
}

/// Whether an error, or any cause of it, says that the disk or the quota is full (exit code 6). Servers that store on a
/// full disk are recognised too, by HTTP status 507 or MinIO's error code.
pub fn is_no_space(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(e) = next {
        if let Some(io) = e.downcast_ref::<io::Error>() {
            if matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
                return true;
            }
            // `io::Error` hides the source that it wraps behind that one's own source.
            if let Some(inner) = io.get_ref()
                && is_no_space(inner)
            {
                return true;
            }
        }
        next = e.source();
    }
    let text = error.to_string();
    text.contains("status code: 507") || text.contains("XMinioStorageFull")
}

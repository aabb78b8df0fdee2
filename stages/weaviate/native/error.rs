//! What can be wrong with a native backup.

use std::io;
use std::path::{Path, PathBuf};

/// Result of this module.
pub type Result<T, E = NativeError> = std::result::Result<T, E>;

/// Why a native backup cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NativeError {
    /// The operating system refused.
    #[error("cannot {action} {path:?}: {source}")]
    Io {
        /// What was tried: "read", "write", "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder holds no `backup_config.json`.
    #[error("{folder:?} is no native backup of Weaviate: it has no backup_config.json")]
    NotABackup {
        /// The folder that was given.
        folder: PathBuf,
    },
    /// A backup whose only descriptor is that of a node, as those of a single node once were.
    #[error("{folder:?} is a backup of the old form for a single node, which is not supported")]
    SingleNode {
        /// The folder that was given.
        folder: PathBuf,
    },
    /// The backup failed, was cancelled or is still being made.
    #[error("the backup at {path:?} has status {status}, not SUCCESS{because}")]
    NotSuccessful {
        /// The descriptor that says so.
        path: PathBuf,
        /// The status as it stands there.
        status: String,
        /// The server's reason after ": ", or nothing.
        because: String,
    },
    /// A format that this module does not know.
    #[error("the backup at {path:?} has format {version:?}; 2.x is supported")]
    Version {
        /// The descriptor that says so.
        path: PathBuf,
        /// The version as it stands there.
        version: String,
    },
    /// A descriptor is no JSON, or not of the form it should have.
    #[error("{path:?} cannot be understood: {reason}")]
    Descriptor {
        /// The descriptor.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An incremental backup without the backup it builds on.
    #[error("the incremental backup {id:?} needs its base backup {base:?}, and {path:?} cannot be read")]
    NoBase {
        /// The backup that was opened.
        id: String,
        /// The backup that holds some of its files.
        base: String,
        /// The file of the base that was looked for.
        path: PathBuf,
    },
    /// The class is not in the backup.
    #[error("class {class:?} is not in the backup")]
    NoClass {
        /// The name that was asked for.
        class: String,
    },
    /// The class has no such shard or tenant.
    #[error("class {class:?} has no shard or tenant {shard:?} in the backup")]
    NoShard {
        /// The class.
        class: String,
        /// The name that was asked for.
        shard: String,
    },
    /// The shard is known to the backup, but its files are not in it.
    #[error("the backup holds no data of {shard:?} of class {class:?}{place}")]
    NoData {
        /// The class.
        class: String,
        /// The shard or tenant.
        shard: String,
        /// What is known of it: " on node n1", or " (status FROZEN)", or nothing.
        place: String,
    },
    /// The shard was not among those that were extracted.
    #[error("{shard:?} of class {class:?} was not extracted")]
    NotExtracted {
        /// The class.
        class: String,
        /// The shard or tenant.
        shard: String,
    },
    /// The files of a shard lie elsewhere than servers since 1.23 put them.
    #[error("the files of {shard:?} of class {class:?} are laid out as before Weaviate 1.23, such as {file:?}")]
    OldLayout {
        /// The class.
        class: String,
        /// The shard.
        shard: String,
        /// A file that shows it.
        file: String,
    },
    /// A file that the descriptor lists is in none of the chunks.
    #[error("{file:?} is listed by {descriptor:?}, and is in none of its chunks")]
    Missing {
        /// The file, relative to the data folder of the server.
        file: String,
        /// The descriptor.
        descriptor: PathBuf,
    },
    /// A file is not what it should be.
    #[error("{file:?} is damaged at byte {offset}: {reason}")]
    Damaged {
        /// A chunk of the backup, or a file inside one, relative to the data folder of the server.
        file: String,
        /// Bytes from its start; in a chunk, of what it unpacks to.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
}

impl NativeError {
    /// A failure of the operating system on a file.
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// Damage at a place.
    pub(super) fn damaged(file: &str, offset: u64, reason: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), offset, reason: reason.into() }
    }

    /// A descriptor that cannot be used.
    pub(super) fn descriptor(path: &Path, reason: impl Into<String>) -> Self {
        Self::Descriptor { path: path.to_owned(), reason: reason.into() }
    }
}

//! What can go wrong with a repository, and which exit code it stands for.

use std::error::Error as StdError;
use std::path::PathBuf;

use super::clear::ClearError;
use super::small::NotKept;
use super::{FORMAT, SnapshotId};
use crate::blocks::BlockError;
use crate::container::ContainerError;
use crate::fault::Injected;
use crate::keys::KeyError;
use crate::local::is_no_space;
use crate::location::LocationError;

/// What an error means to whoever called the program (design section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitClass {
    /// 4: verification found damage in data.
    Damaged,
    /// 10: no such repository, snapshot or object.
    NotFound,
    /// 12: wrong or missing key.
    WrongKey,
    /// 13: tampered with, damaged or rolled back.
    Tampered,
    /// 14: the format is too new.
    TooNew,
    /// 11: another process was faster.
    LostRace,
    /// 6: no space.
    NoSpace,
    /// 75: the store was unreachable after retries.
    Unreachable,
    /// 7: refused for safety.
    Refused,
    /// 2: a mistake in the configuration.
    Usage,
    /// 1: anything else.
    Failed,
}

impl ExitClass {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Damaged => 4,
            Self::NoSpace => 6,
            Self::Refused => 7,
            Self::NotFound => 10,
            Self::LostRace => 11,
            Self::WrongKey => 12,
            Self::Tampered => 13,
            Self::TooNew => 14,
            Self::Unreachable => 75,
        }
    }
}

/// An error of [`super::Repository`] or of run state.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// There is no repository.
    #[error(
        "no repository at {url}: repository.json is not there; check the address, or make one with `restow repository create`"
    )]
    NotFound {
        /// The address.
        url: String,
    },
    /// There is one already.
    #[error("a repository exists at {url}; nothing was changed; choose another address, or use it as it is")]
    Exists {
        /// The address.
        url: String,
    },
    /// No snapshot fits.
    #[error("no snapshot {selector} in {url}{reason}")]
    SnapshotNotFound {
        /// What was asked for.
        selector: String,
        /// The address.
        url: String,
        /// Empty, or `: ` and why not.
        reason: String,
    },
    /// A prefix fits more than one snapshot.
    #[error("{prefix:?} fits {count} snapshots in {url}, among them {first} and {second}; write more characters")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// How many fit.
        count: usize,
        /// One that fits.
        first: SnapshotId,
        /// Another.
        second: SnapshotId,
        /// The address.
        url: String,
    },
    /// A store without listings cannot say what there is.
    #[error("{url} cannot list its objects, so {what} is not possible; give the full snapshot id")]
    NeedsListing {
        /// The address.
        url: String,
        /// What was to be done.
        what: &'static str,
    },
    /// A read-only store was to be written.
    #[error("{url} is read-only; nothing was written; use the address of the store itself")]
    ReadOnly {
        /// The address.
        url: String,
    },
    /// A key was given for a repository without encryption.
    #[error(
        "a key was given, but the repository at {url} is not encrypted; nothing was read or written; leave the key out if that is meant, else check the address: somebody may have replaced the repository"
    )]
    KeyForPlain {
        /// The address.
        url: String,
    },
    /// Keys were to be changed where there are none.
    #[error(
        "the repository at {url} is not encrypted, so it has no keys; nothing was changed; encryption is chosen when a repository is made"
    )]
    NoKeys {
        /// The address.
        url: String,
    },
    /// The keyring.
    #[error("{url}: {source}")]
    Key {
        /// The address.
        url: String,
        /// The cause.
        #[source]
        source: KeyError,
    },
    /// An object is not what was written.
    #[error(
        "{url}/{object} was damaged or tampered with: {problem}; restore it from a replica; other snapshots remain valid"
    )]
    Tampered {
        /// The address.
        url: String,
        /// Path below the root.
        object: String,
        /// What does not hold.
        problem: String,
    },
    /// An object of another version of the format.
    #[error("{url}/{object} needs another restow: {problem}; this one reads format {FORMAT}")]
    TooNew {
        /// The address.
        url: String,
        /// Path below the root.
        object: String,
        /// The version or feature.
        problem: String,
    },
    /// Another process made the object.
    #[error("lost the race for {url}/{object}: {problem}")]
    LostRace {
        /// The address.
        url: String,
        /// Path below the root.
        object: String,
        /// Who won, and what is safe.
        problem: String,
    },
    /// The store breaks the promise on which commits rest.
    #[error(
        "{url} cannot create an object only where none exists ({problem}); concurrent runs could destroy each other's snapshots; use a store with conditional writes (S3, GCS, Azure, MinIO, a local disk)"
    )]
    NoCreateIfAbsent {
        /// The address.
        url: String,
        /// What the probe saw.
        problem: String,
    },
    /// An object that the run has reported is not there, or has another size.
    #[error("{url}/{object} was to be committed, but {problem}; nothing was committed; run again to write it anew")]
    NotCommittable {
        /// The address.
        url: String,
        /// Path below the root.
        object: String,
        /// What does not hold.
        problem: String,
    },
    /// What was read back is not what was written.
    #[error(
        "{url}/{object} is not what was written when it is read back: {problem}; the store or this machine damages data; nothing was committed"
    )]
    ReadBack {
        /// The address.
        url: String,
        /// Path below the root.
        object: String,
        /// What differs.
        problem: String,
    },
    /// The recovery key could not be kept.
    #[error("the recovery key is not kept: {source}; no repository was made or changed")]
    RecoveryFile {
        /// The file and the cause.
        #[source]
        source: KeyError,
    },
    /// The file for the recovery key is there already, and is not ours to use.
    #[error("{} exists and {problem}; nothing was changed; name a new file for the recovery key, or move this one away", path.display())]
    RecoveryFileTaken {
        /// The file.
        path: PathBuf,
        /// What is in it.
        problem: String,
    },
    /// A store operation failed.
    #[error("cannot {action} {url}/{object}: {source}")]
    Store {
        /// What was tried, as a verb.
        action: &'static str,
        /// The address.
        url: String,
        /// Path below the root.
        object: String,
        /// The cause.
        #[source]
        source: Box<object_store::Error>,
    },
    /// An address or a path is not usable.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// A request makes no sense.
    #[error("{problem}")]
    Usage {
        /// What is wrong and what to do.
        problem: String,
    },
    /// The operating system or the program itself failed.
    #[error("internal error: {problem}; please report it")]
    Internal {
        /// What failed.
        problem: String,
    },
}

impl RepositoryError {
    /// Which exit code the error stands for.
    pub fn exit_class(&self) -> ExitClass {
        match self {
            Self::NotFound { .. } | Self::SnapshotNotFound { .. } | Self::Ambiguous { .. } => ExitClass::NotFound,
            Self::Key { source, .. } | Self::RecoveryFile { source } => key_class(source),
            Self::Tampered { .. } | Self::ReadBack { .. } => ExitClass::Tampered,
            Self::TooNew { .. } => ExitClass::TooNew,
            Self::LostRace { .. } => ExitClass::LostRace,
            Self::Exists { .. }
            | Self::KeyForPlain { .. }
            | Self::NoKeys { .. }
            | Self::RecoveryFileTaken { .. }
            | Self::NoCreateIfAbsent { .. } => ExitClass::Refused,
            Self::NeedsListing { .. } | Self::ReadOnly { .. } | Self::Location(_) | Self::Usage { .. } => {
                ExitClass::Usage
            }
            Self::Store { source, .. } => exit_class_of(source.as_ref()),
            Self::NotCommittable { .. } | Self::Internal { .. } => ExitClass::Failed,
        }
    }
}

/// 12 comes only from the keyring and from a secret that cannot be had: a file that cannot be written is none of these.
fn key_class(error: &KeyError) -> ExitClass {
    match error {
        KeyError::KeyFile { source, .. } if is_no_space(source) => ExitClass::NoSpace,
        KeyError::KeyFile { action, .. } if *action != "read" && *action != "look for" => ExitClass::Failed,
        other => class_of_code(other.exit_code()),
    }
}

fn class_of_code(code: u8) -> ExitClass {
    match code {
        2 => ExitClass::Usage,
        12 => ExitClass::WrongKey,
        13 => ExitClass::Tampered,
        14 => ExitClass::TooNew,
        _ => ExitClass::Failed,
    }
}

/// What any error means in whose chain of causes a store error, a layer's error or a repository error may be: for
/// errors that come back through DataFusion or Parquet.
pub fn exit_class_of(error: &(dyn StdError + 'static)) -> ExitClass {
    let mut outer = None;
    let mut next = Some(error);
    while let Some(e) = next {
        if let Some(found) = certain_class(e) {
            return found;
        }
        if let Some(store) = e.downcast_ref::<object_store::Error>() {
            outer = outer.or(Some(store_class(store)));
        }
        // `io::Error` hides what it wraps behind that one's own source.
        if let Some(inner) = e.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            let found = exit_class_of(inner);
            if found != ExitClass::Failed {
                return found;
            }
        }
        next = e.source();
    }
    match outer {
        _ if is_no_space(error) => ExitClass::NoSpace,
        Some(class) => class,
        None => ExitClass::Failed,
    }
}

/// The class of our own errors, which is more precise than that of the store error that may carry them.
fn certain_class(error: &(dyn StdError + 'static)) -> Option<ExitClass> {
    if let Some(e) = error.downcast_ref::<RepositoryError>() {
        return Some(e.exit_class());
    }
    if let Some(e) = error.downcast_ref::<KeyError>() {
        return Some(key_class(e));
    }
    if let Some(e) = error.downcast_ref::<ContainerError>() {
        return Some(class_of_code(e.exit_code()));
    }
    if let Some(e) = error.downcast_ref::<Injected>() {
        return Some(e.class());
    }
    (error.is::<BlockError>() || error.is::<ClearError>() || error.is::<NotKept>()).then_some(ExitClass::Tampered)
}

fn store_class(error: &object_store::Error) -> ExitClass {
    match error {
        object_store::Error::NotFound { .. } => ExitClass::NotFound,
        // What the remote stores could not map after their retries: no connection, no answer, a server's failure.
        object_store::Error::Generic { store, source }
            if matches!(*store, "S3" | "GCS" | "MicrosoftAzure" | "HTTP") =>
        {
            let refused = source.to_string().contains("status code: 4");
            if refused { ExitClass::Failed } else { ExitClass::Unreachable }
        }
        _ => ExitClass::Failed,
    }
}

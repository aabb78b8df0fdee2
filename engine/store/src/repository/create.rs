//! Making a repository.
//!
//! Order: probe of the store, key file (synced), `keys/1.json`, recovery key, `repository.json`. A crash leaves no
//! repository; running again uses what exists, and replaces the recovery slot, whose key nobody may have seen.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::header::Header;
use super::open::{generations, load, open_keys};
use super::paths::{self, REPOSITORY_OBJECT};
use super::recovery_file::Held;
use super::small::{self, Creation};
use super::{Repository, RepositoryError, failed, probe, recovery_file, tampered};
use crate::keys::{self, KeyError, KeyFileState, KeySource, Keys, RecoveryKey, RepositoryId, Unlocker};
use crate::location::Location;

/// Where the recovery key of a new encrypted repository goes.
#[derive(Clone, Default)]
pub enum RecoveryOutput {
    /// [`Created::recovery_key`] has it. A process that dies before it shows it has lost it; see [`Self::With`].
    #[default]
    Show,
    /// A new file, readable by its owner alone.
    File(PathBuf),
    /// This function shows it, before the repository exists: it cannot be lost to a crash.
    With(Arc<dyn Fn(&RecoveryKey) + Send + Sync>),
}

/// How to make a repository.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// The key of an encrypted repository; none for a plain one. Fixed for the life of the repository.
    pub encryption: Option<KeySource>,
    /// Where the recovery key goes.
    pub recovery: RecoveryOutput,
}

/// A new repository.
#[derive(Debug)]
pub struct Created {
    /// It, open.
    pub repository: Repository,
    /// The key file, where this call made it.
    pub key_file_created: Option<PathBuf>,
    /// The recovery key of an encrypted repository, for [`RecoveryOutput::Show`].
    pub recovery_key: Option<RecoveryKey>,
}

impl Repository {
    /// Makes a repository. Refuses where one exists, and where the store cannot create an object only where none exists.
    pub async fn create(location: Location, options: CreateOptions) -> Result<Created, RepositoryError> {
        if !location.writable {
            return Err(RepositoryError::ReadOnly { url: location.url.clone() });
        }
        if Self::exists(&location).await? {
            return Err(RepositoryError::Exists { url: location.url.clone() });
        }
        probe::create_if_absent(&location).await?;
        let present = generations(&location).await?;
        match &options.encryption {
            Some(source) => encrypted(location, source.clone(), &options.recovery, present).await,
            None if present.is_empty() => {
                let id = RepositoryId::random().map_err(key_error(&location))?;
                Ok(Created {
                    repository: finish(location, id, None, Vec::new()).await?,
                    key_file_created: None,
                    recovery_key: None,
                })
            }
            None => Err(tampered(
                &location,
                "keys",
                "a keyring is there, so an encrypted repository was begun here; give its key, or use another address",
            )),
        }
    }

    /// Whether there is a repository.
    pub async fn exists(location: &Location) -> Result<bool, RepositoryError> {
        Ok(Self::made(location).await?.is_some())
    }

    /// When the store says that the repository was made, where there is one.
    pub async fn made(location: &Location) -> Result<Option<DateTime<Utc>>, RepositoryError> {
        small::modified(location.store.as_ref(), &location.path(REPOSITORY_OBJECT)?).await.map_err(failed(
            location,
            "look for",
            REPOSITORY_OBJECT,
        ))
    }

    /// Tries whether the store creates an object only where none exists, with a small object that it removes again; gives
    /// the store's time of it.
    pub async fn try_store(location: &Location) -> Result<DateTime<Utc>, RepositoryError> {
        if !location.writable {
            return Err(RepositoryError::ReadOnly { url: location.url.clone() });
        }
        probe::create_if_absent(location).await
    }
}

pub(super) fn key_error(location: &Location) -> impl Fn(KeyError) -> RepositoryError + '_ {
    |source| RepositoryError::Key { url: location.url.clone(), source }
}

async fn encrypted(
    location: Location,
    source: KeySource,
    recovery: &RecoveryOutput,
    present: Vec<(u64, Bytes)>,
) -> Result<Created, RepositoryError> {
    let handed_over = match recovery {
        RecoveryOutput::File(path) => match recovery_file::held(&location, path, &present).await? {
            Held::Nothing => false,
            Held::Current(_) => true,
            // A creation writes the file after the keyring.
            Held::Unused(_) => return Err(recovery_file::taken(path, "holds a key of something else")),
        },
        _ => false,
    };
    // A key file that is gone while a keyring is there must not be made anew: it would not open that keyring.
    let begun = !present.is_empty();
    let wanted = source.clone();
    let state = blocking(move || wanted.create_file_if_wanted(begun)).await?.map_err(key_error(&location))?;
    let key_file_created = match (&source, state) {
        (KeySource::KeyFile { path, .. }, KeyFileState::Created) => Some(path.clone()),
        _ => None,
    };
    let unlocker = load(&location, &source).await?;
    let (keys, recovery_key) = if handed_over {
        // An earlier attempt came as far as this.
        (begun_keys(&location, unlocker, present).await?, None)
    } else {
        let (keys, recovery_key) = keyring(&location, unlocker, present).await?;
        hand_over(recovery, &recovery_key)?;
        (keys, Some(recovery_key))
    };
    let id = keys.repository_id();
    let repository = finish(location, id, Some(keys), Vec::new()).await?;
    let shown = recovery_key.filter(|_| matches!(recovery, RecoveryOutput::Show));
    Ok(Created { repository, key_file_created, recovery_key: shown })
}

/// The keyring that an earlier attempt left.
async fn begun_keys(
    location: &Location,
    unlocker: Unlocker,
    present: Vec<(u64, Bytes)>,
) -> Result<Keys, RepositoryError> {
    let (keys, _) = open_keys(location, present, unlocker).await?;
    keys.require_intact_chain().map_err(key_error(location))?;
    Ok(keys)
}

/// Creates the first generation, or opens what an earlier attempt left and replaces its recovery slot.
async fn keyring(
    location: &Location,
    unlocker: Unlocker,
    mut present: Vec<(u64, Bytes)>,
) -> Result<(Keys, RecoveryKey), RepositoryError> {
    // Another process may be creating the same repository: whoever loses looks again.
    for _ in 0..8 {
        let (generation, (bytes, keys, recovery)) = if present.is_empty() {
            let id = RepositoryId::random().map_err(key_error(location))?;
            let unlocker = unlocker.clone();
            let (bytes, keys, recovery) =
                blocking(move || keys::create_first(id, &unlocker, true)).await?.map_err(key_error(location))?;
            let recovery = recovery.ok_or_else(|| internal("no recovery key was made"))?;
            (1, (bytes, keys, recovery))
        } else {
            let keys = begun_keys(location, unlocker.clone(), present).await?;
            let next = blocking(move || keys::replace_recovery_slot(&keys)).await?.map_err(key_error(location))?;
            (next.1.generation(), next)
        };
        let object = paths::keyring(generation);
        let bytes = Bytes::from(bytes);
        let made = small::create(location.store.as_ref(), &location.path(&object)?, &bytes)
            .await
            .map_err(failed(location, "create", &object))?;
        match made {
            Creation::Created => return Ok((keys, recovery)),
            Creation::Exists(found) if found == bytes => return Ok((keys, recovery)),
            Creation::Exists(_) => present = generations(location).await?,
        }
    }
    Err(RepositoryError::LostRace {
        url: location.url.clone(),
        object: "keys".to_owned(),
        problem: "other processes keep changing the keyring; nothing was lost; run again when they are done".to_owned(),
    })
}

/// Puts the recovery key where it was asked for; a file is written whole and synced, or not at all.
fn hand_over(recovery: &RecoveryOutput, key: &RecoveryKey) -> Result<(), RepositoryError> {
    match recovery {
        RecoveryOutput::Show => Ok(()),
        RecoveryOutput::With(show) => {
            show(key);
            Ok(())
        }
        RecoveryOutput::File(path) => recovery_file::write(path, key),
    }
}

/// Creates `repository.json`: from here on there is a repository.
async fn finish(
    location: Location,
    id: RepositoryId,
    keys: Option<Keys>,
    warnings: Vec<String>,
) -> Result<Repository, RepositoryError> {
    let header = Header::new(id, keys.is_some(), Utc::now());
    let bytes = header.encode().map_err(|e| internal(&e.to_string()))?;
    let made = small::create(location.store.as_ref(), &location.path(REPOSITORY_OBJECT)?, &bytes)
        .await
        .map_err(failed(&location, "create", REPOSITORY_OBJECT))?;
    let ours = match made {
        Creation::Created => true,
        // Two processes that began with one keyring make one repository: its id is the keyring's.
        Creation::Exists(found) => {
            let found = Header::decode(&location.url, &found)?;
            found.id == id && found.encrypted == keys.is_some()
        }
    };
    if !ours {
        return Err(RepositoryError::LostRace {
            url: location.url.clone(),
            object: REPOSITORY_OBJECT.to_owned(),
            problem: "another process made a repository there at the same moment; open that one".to_owned(),
        });
    }
    Repository::new(location, id, keys, warnings).anchored().await
}

pub(super) fn internal(problem: &str) -> RepositoryError {
    RepositoryError::Internal { problem: problem.to_owned() }
}

/// Runs what reads files, runs commands or computes argon2id on a blocking thread.
pub(super) async fn blocking<T, F>(work: F) -> Result<T, RepositoryError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(|e| internal(&e.to_string()))
}

impl fmt::Debug for RecoveryOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Show => f.write_str("Show"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::With(_) => f.write_str("With(..)"),
        }
    }
}

//! Encrypted exports: the keyring `_restow_keys.json` beside the files, and the layer that opens them.
//!
//! The keyring is a single generation with its own random id. The files bind no path, so that they may be moved together
//! with it.

use std::collections::{HashMap, HashSet};
use std::path::Path as FsPath;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use restow_core::stage::{OpenContext, SinkContext};
use restow_core::{EngineError, ExitClass, Result};
use restow_store::container::{EncryptedStore, MAGIC, plain_len};
use restow_store::keys::{self, KeyError, KeyFileState, KeySource, Keys, RepositoryId, Staged, Unlocker};
use restow_store::location::Location;

use super::error::FilesError;
use super::find::FoundFile;
use crate::encrypt::Unlock;

/// The keyring of an encrypted export.
pub(super) const KEYS: &str = "_restow_keys.json";
/// How many folders above a file may hold its keyring: an export has one level of folders.
const LEVELS: usize = 2;

/// Whether an object of an export is stored in clear.
fn is_clear(relative: &str) -> bool {
    relative == KEYS || relative == super::export::EXPORT
}

/// The layers of the exports that were unlocked, by the folder of their files.
#[derive(Debug, Default)]
pub(super) struct Unlocked {
    layers: HashMap<(String, Path), Arc<EncryptedStore>>,
    in_clear: HashSet<(String, Path)>,
}

impl Unlocked {
    /// The file as it is to be read: decrypted where a key is given. `place` is what the file was found by.
    ///
    /// # Errors
    /// It is encrypted and no key is given, the key is wrong, or there is no keyring.
    pub async fn file(
        &mut self,
        mut file: FoundFile,
        place: &Location,
        unlock: Option<&Unlock>,
        context: &OpenContext,
    ) -> Result<FoundFile> {
        let folder = (place.url.clone(), file.meta.location.parent().unwrap_or_default());
        let Some(unlock) = unlock else {
            // The files of one folder are all encrypted or all in clear: one look is enough.
            if self.in_clear.insert(folder) && is_container(&file).await? {
                return Err(FilesError::Locked { file: file.shown }.into());
            }
            return Ok(file);
        };
        if !self.layers.contains_key(&folder) {
            let layer = open_layer(&file, unlock, context).await?;
            self.layers.insert(folder.clone(), Arc::new(layer));
        }
        if let Some(layer) = self.layers.get(&folder) {
            file.meta.size = plain_len(file.meta.size)
                .map_err(|error| EngineError::new(ExitClass::Tampered, format!("{:?}: {error}", file.shown)))?;
            file.store = Arc::clone(layer) as _;
        }
        Ok(file)
    }
}

/// Whether a file begins like a container.
async fn is_container(file: &FoundFile) -> Result<bool> {
    let length = MAGIC.len() as u64;
    if file.meta.size < length {
        return Ok(false);
    }
    let begin = file.store.get_range(&file.meta.location, 0..length).await?;
    Ok(begin.as_ref() == MAGIC)
}

async fn open_layer(file: &FoundFile, unlock: &Unlock, context: &OpenContext) -> Result<EncryptedStore> {
    let mut folder = file.meta.location.parent();
    for _ in 0..=LEVELS {
        let Some(at) = folder else { break };
        if let Some(bytes) = read_keys(file.store.as_ref(), &at).await? {
            let source = unlock.key_source(context)?;
            let unlocker = blocking(move || source.load()).await?;
            let keys = open_keys(bytes, unlocker).await?;
            return Ok(layer(Arc::clone(&file.store), at, keys));
        }
        folder = at.parent();
    }
    Err(FilesError::NoKeyring { file: file.shown.clone() }.into())
}

/// The layer of an export's folder.
pub(super) fn layer(store: Arc<dyn ObjectStore>, folder: Path, keys: Keys) -> EncryptedStore {
    EncryptedStore::new(store, folder, keys, is_clear).with_movable_files()
}

/// Opens the keyring of a target, or makes one where there is none.
///
/// # Errors
/// The key is wrong or missing, or the keyring cannot be stored.
pub(super) async fn create_or_open(target: &Location, unlock: &Unlock, context: &SinkContext) -> Result<Keys> {
    let source = unlock.key_source(&context.open)?;
    let present = read_keys(target.store.as_ref(), &target.root).await?;
    if let (KeySource::KeyFile { path, .. }, KeyFileState::Created) =
        (&source, key_file(&source, present.is_some()).await?)
    {
        context.progress.say(&format!(
            "made the key file {}: keep a copy in another place, without it (or a recovery key) the export cannot be read",
            path.display()
        ));
    }
    let unlocker = blocking(move || source.load()).await?;
    let recovery_file = unlock.recovery_key_file.as_ref().map(|file| context.open.directory.join(file));
    if let Some(bytes) = present {
        if let Some(missing) = recovery_file.filter(|path| !path.exists()) {
            context.progress.say(&format!(
                "the export was begun by a run that was interrupted before it wrote the recovery key to {}: keep its key",
                missing.display()
            ));
        }
        return open_keys(bytes, unlocker).await;
    }
    let with_recovery = recovery_file.is_some();
    let making = unlocker.clone();
    let (bytes, keys, recovery) =
        blocking(move || keys::create_first(RepositoryId::random()?, &making, with_recovery)).await?;
    let staged = match (&recovery_file, recovery) {
        (Some(path), Some(recovery)) => Some((stage(path, &recovery.text())?, path)),
        _ => None,
    };
    let path = target.root.clone().join(KEYS);
    match target.store.put_opts(&path, bytes.into(), PutMode::Create.into()).await {
        Ok(_) => {}
        // Another process was faster, or the reply of an earlier attempt was lost: what is there decides.
        Err(object_store::Error::AlreadyExists { .. }) => {
            if let Some((staged, _)) = staged {
                staged.remove();
            }
            let there = read_keys(target.store.as_ref(), &target.root).await?.unwrap_or_default();
            return open_keys(there, unlocker).await;
        }
        Err(error) => {
            if let Some((staged, _)) = staged {
                staged.remove();
            }
            return Err(error.into());
        }
    }
    if let Some((staged, path)) = staged {
        if staged.publish()? == KeyFileState::Existing {
            return Err(taken(path));
        }
        context.progress.say(&format!("wrote the recovery key of the export to {}", path.display()));
    }
    Ok(keys)
}

/// Writes the recovery key beside its file, which must not exist: nothing is overwritten.
fn stage(path: &FsPath, text: &str) -> Result<Staged> {
    match path.symlink_metadata() {
        Ok(_) => Err(taken(path)),
        Err(_) => Ok(Staged::new(path, text)?),
    }
}

fn taken(path: &FsPath) -> EngineError {
    EngineError::usage(format!("the recovery key file {} exists already", path.display()))
        .with_hint("nothing was exported; name a file that does not exist yet")
}

async fn key_file(source: &KeySource, exists: bool) -> Result<KeyFileState> {
    let source = source.clone();
    blocking(move || source.create_file_if_wanted(exists)).await
}

async fn read_keys(store: &dyn ObjectStore, folder: &Path) -> Result<Option<Bytes>> {
    match store.get(&folder.clone().join(KEYS)).await {
        Ok(found) if found.meta.size > keys::MAX_KEYRING_BYTES as u64 => Err(EngineError::new(
            ExitClass::Tampered,
            format!("{KEYS} has {} bytes, and is no keyring", found.meta.size),
        )),
        Ok(found) => Ok(Some(found.bytes().await?)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn open_keys(bytes: Bytes, unlocker: Unlocker) -> Result<Keys> {
    let (keys, _) = blocking(move || keys::open_chain(&[(1, bytes)], &unlocker)).await?;
    keys.require_intact_chain()?;
    Ok(keys)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, KeyError> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(EngineError::from),
        Err(error) => Err(EngineError::failed(format!("a task ended unexpectedly: {error}"))),
    }
}

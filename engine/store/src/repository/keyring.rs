//! The keyring of a repository, listed and changed.
//!
//! Every change is a new generation, created only where none has its number. Who loses that race reads the keyring again and
//! makes the same change to what is there now, so that concurrent changes all land and none is undone by another.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::create::{blocking, internal, key_error};
use super::open::{generations, load, open_keys};
use super::recovery_file::Held;
use super::small::{self, Creation};
use super::{
    ExitClass, RecoveryOutput, Repository, RepositoryError, failed, paths, random_hex, recovery_file, tampered,
};
use crate::keys::{
    self, KeyError, KeyFileState, KeySource, Keys, RecoveryKey, SlotHistory, SlotInfo, SlotKind, Unlocker,
};

/// Lost races after which a change gives up. In every race somebody wins, so this many others changed the keyring meanwhile.
const ATTEMPTS: u32 = 40;

/// A slot of the keyring, without anything secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySlot {
    /// What the keyring says.
    pub slot: SlotHistory,
    /// When it was added, by the store's clock.
    pub created: Option<DateTime<Utc>>,
    /// Whether this repository was opened by it.
    pub opened: bool,
}

/// What came of a change of the keyring.
#[derive(Debug)]
pub struct KeyChange {
    /// The repository with its new keyring.
    pub repository: Repository,
    /// The slot that was added, removed or wrapped again; none for a rotation.
    pub slot: Option<SlotInfo>,
    /// The key file, where this call made it.
    pub key_file_created: Option<PathBuf>,
    /// Whether there is a new recovery key; the one before opens nothing that comes from now on.
    pub recovery_replaced: bool,
    /// It, for [`RecoveryOutput::Show`].
    pub recovery_key: Option<RecoveryKey>,
}

/// The bytes of a generation, the keys of it, and what the change gives.
type Next<T> = Result<(Vec<u8>, Keys, T), KeyError>;

impl Repository {
    /// The keys, which only an encrypted repository has.
    pub(super) fn encrypted(&self) -> Result<&Keys, RepositoryError> {
        self.keys().ok_or_else(|| RepositoryError::NoKeys { url: self.location().url.clone() })
    }

    /// The slots of the newest generation.
    pub async fn key_slots(&self) -> Result<Vec<KeySlot>, RepositoryError> {
        let keys = self.encrypted()?;
        let present = generations(self.location()).await?;
        let mut slots = Vec::new();
        for slot in keys.slot_history(&present) {
            let object = paths::keyring(slot.added);
            let created = small::modified(self.location().store.as_ref(), &self.path(&object)?)
                .await
                .map_err(self.failed("look for", &object))?;
            slots.push(KeySlot { opened: keys.opened_by().id == slot.info.id, slot, created });
        }
        Ok(slots)
    }

    /// Adds a slot for another key or passphrase. A key file with `create: true` that does not exist is made first, and is on
    /// disk before the keyring knows its key.
    ///
    /// `unlock`, here and below, is what opened this repository: it is read again only where another process was faster.
    pub async fn add_key(&self, unlock: &KeySource, new: &KeySource) -> Result<KeyChange, RepositoryError> {
        self.changeable()?;
        let (key_file_created, secret) = self.new_secret(new).await?;
        let (repository, slot) = self.change_keyring(unlock, move |keys| keys::add_slot(keys, &secret)).await?;
        Ok(KeyChange { key_file_created, slot: Some(slot), ..KeyChange::of(repository) })
    }

    /// Takes a slot out of the coming generations. Who kept an old generation and its secret still opens what exists.
    pub async fn remove_key(&self, unlock: &KeySource, slot: u32) -> Result<KeyChange, RepositoryError> {
        let keys = self.changeable()?;
        let meant = Meant::of(keys, slot);
        let info = keys.keyring().slots().into_iter().find(|of| of.id == slot);
        let change = move |keys: &Keys| {
            meant.check(keys)?;
            keys::remove_slot(keys, slot).map(|(bytes, keys)| (bytes, keys, ()))
        };
        let (repository, ()) = self.change_keyring(unlock, change).await?;
        Ok(KeyChange { slot: info, ..KeyChange::of(repository) })
    }

    /// Wraps the masters of a slot anew: under another secret, or without one under that of `unlock`, at today's cost of
    /// argon2id.
    pub async fn rewrap_key(
        &self,
        unlock: &KeySource,
        slot: u32,
        new: Option<&KeySource>,
    ) -> Result<KeyChange, RepositoryError> {
        let meant = Meant::of(self.changeable()?, slot);
        let (key_file_created, secret) = match new {
            Some(new) => self.new_secret(new).await?,
            None => (None, load(self.location(), unlock).await?),
        };
        let change = move |keys: &Keys| {
            meant.check(keys)?;
            keys::rewrap_slot(keys, slot, &secret)
        };
        let (repository, slot) = self.change_keyring(unlock, change).await?;
        Ok(KeyChange { key_file_created, slot: Some(slot), ..KeyChange::of(repository) })
    }

    /// Begins a new epoch: what is written by whoever opens the repository from now on is encrypted under a new master, and
    /// what exists stays readable. `others` are the secrets of the other slots; all of them are needed but the recovery
    /// key's, which is replaced where it is not given.
    pub async fn rotate_keys(
        &self,
        unlock: &KeySource,
        others: &[KeySource],
        recovery: &RecoveryOutput,
    ) -> Result<KeyChange, RepositoryError> {
        let keys = self.changeable()?.clone();
        let mut secrets = vec![load(self.location(), unlock).await?];
        for other in others {
            secrets.push(load(self.location(), other).await?);
        }
        let held = self.held(recovery).await?;
        if let Held::Current(source) = &held {
            // As a rotation leaves it that was killed before it could say so: it stays.
            secrets.push(load(self.location(), source).await?);
        }
        let given = secrets.clone();
        let replaces = blocking(move || keys::rotation_replaces_recovery(&keys, &given)).await?;
        let replaces = replaces.map_err(key_error(self.location()))?;
        let change = move |keys: &Keys, key: &RecoveryKey| match keys::rotate_with(keys, &secrets, key)? {
            (_, _, true) if !replaces => Err(changed_meanwhile("the recovery slot")),
            made => Ok(made),
        };
        let made = self.change_with_recovery(unlock, (recovery, held), replaces, change).await?;
        if !made.recovery_replaced {
            made.repository.note_given_recovery().await;
        }
        Ok(made)
    }

    /// Makes a new recovery key; the one before opens nothing that comes from now on.
    pub async fn replace_recovery_key(
        &self,
        unlock: &KeySource,
        recovery: &RecoveryOutput,
    ) -> Result<KeyChange, RepositoryError> {
        self.changeable()?;
        let held = self.held(recovery).await?;
        if let (RecoveryOutput::File(path), Held::Current(_)) = (recovery, &held) {
            return Err(recovery_file::taken(path, "holds the recovery key of now"));
        }
        let change = |keys: &Keys, key: &RecoveryKey| {
            keys::replace_recovery_slot_with(keys, key).map(|(bytes, keys, _)| (bytes, keys, true))
        };
        let made = self.change_with_recovery(unlock, (recovery, held), true, change).await?;
        Ok(KeyChange { slot: made.repository.recovery_slot(), ..made })
    }

    /// What the file for a new recovery key holds.
    async fn held(&self, recovery: &RecoveryOutput) -> Result<Held, RepositoryError> {
        match recovery {
            RecoveryOutput::File(path) => {
                recovery_file::held(self.location(), path, &generations(self.location()).await?).await
            }
            _ => Ok(Held::Nothing),
        }
    }

    /// A change that may need a new recovery key. It is in its file before the old one is replaced: at no moment is there
    /// none. The file is removed again where the change was not made for certain.
    async fn change_with_recovery(
        &self,
        unlock: &KeySource,
        (recovery, held): (&RecoveryOutput, Held),
        needed: bool,
        change: impl Fn(&Keys, &RecoveryKey) -> Next<bool> + Send + Sync + 'static,
    ) -> Result<KeyChange, RepositoryError> {
        let (key, kept) = match held {
            Held::Unused(key) => (key, true),
            _ => (RecoveryKey::random().map_err(key_error(self.location()))?, false),
        };
        let file = match recovery {
            RecoveryOutput::File(path) if needed && !kept => {
                recovery_file::write(path, &key)?;
                Some(path)
            }
            _ => None,
        };
        let own = key.clone();
        let made = self.change_keyring(unlock, move |keys| change(keys, &own)).await;
        let used = made.as_ref().is_ok_and(|(_, used)| *used);
        let unknown = made.as_ref().is_err_and(|e| e.exit_class() == ExitClass::Unreachable);
        if let Some(path) = file.filter(|_| !used && !unknown) {
            recovery_file::remove(path);
        }
        let (repository, used) = made?;
        let mut change = KeyChange { recovery_replaced: used, ..KeyChange::of(repository) };
        match recovery {
            RecoveryOutput::Show => change.recovery_key = used.then_some(key),
            RecoveryOutput::With(show) if used => show(&key),
            _ => {}
        }
        Ok(change)
    }

    /// The recovery slot, where there is one.
    fn recovery_slot(&self) -> Option<SlotInfo> {
        self.keys()?.keyring().slots().into_iter().find(|slot| slot.kind == SlotKind::Recovery)
    }

    /// A recovery key that was given to a rotation has proven itself; the new wrapping need not be tried again.
    async fn note_given_recovery(&self) {
        if let (Some(keys), Some(slot)) = (self.keys(), self.recovery_slot()) {
            self.note_recovery_slot(keys, slot).await;
        }
    }

    fn changeable(&self) -> Result<&Keys, RepositoryError> {
        let keys = self.encrypted()?;
        self.writable()?;
        Ok(keys)
    }

    async fn new_secret(&self, new: &KeySource) -> Result<(Option<PathBuf>, Unlocker), RepositoryError> {
        let wanted = new.clone();
        let state = blocking(move || wanted.create_file_if_wanted(false)).await?;
        let made = match (new, state.map_err(key_error(self.location()))?) {
            (KeySource::KeyFile { path, .. }, KeyFileState::Created) => Some(path.clone()),
            _ => None,
        };
        Ok((made, load(self.location(), new).await?))
    }

    /// Makes a change to the newest keyring until it lands.
    async fn change_keyring<T: Send + 'static>(
        &self,
        unlock: &KeySource,
        change: impl Fn(&Keys) -> Next<T> + Send + Sync + 'static,
    ) -> Result<(Self, T), RepositoryError> {
        let location = self.location();
        let (change, mut secret) = (Arc::new(change), None);
        let mut keys = self.changeable()?.clone();
        for attempt in 1..=ATTEMPTS {
            let work = Arc::clone(&change);
            let (bytes, changed, outcome) = blocking(move || work(&keys)).await?.map_err(key_error(location))?;
            let (object, bytes) = (paths::keyring(changed.generation()), Bytes::from(bytes));
            let made = small::create(location.store.as_ref(), &self.path(&object)?, &bytes)
                .await
                .map_err(failed(location, "create", &object))?;
            match made {
                Creation::Exists(found) if found != bytes => {}
                // Ours, also where the reply to an earlier attempt was lost.
                _ => {
                    let changed = Self::new(location.clone(), self.id(), Some(changed), Vec::new());
                    return Ok((changed.changed_here(), outcome));
                }
            }
            pause(attempt).await?;
            keys = self.reopened(unlock, &mut secret).await?;
        }
        Err(RepositoryError::LostRace {
            url: location.url.clone(),
            object: "keys".to_owned(),
            problem: "other processes keep changing the keyring; this change was not made, and no other was undone; \
                      run again when they are done"
                .to_owned(),
        })
    }

    /// The keyring as it is now. It must hold, and must still have the generation that this repository was opened with.
    async fn reopened(&self, unlock: &KeySource, secret: &mut Option<Unlocker>) -> Result<Keys, RepositoryError> {
        let location = self.location();
        let unlocker = match secret {
            Some(secret) => secret.clone(),
            None => secret.insert(load(location, unlock).await?).clone(),
        };
        let (keys, _) = open_keys(location, generations(location).await?, unlocker).await?;
        if keys.repository_id() != self.id() {
            return Err(tampered(location, "keys", "the keyring is that of another repository"));
        }
        let before = self.encrypted()?;
        keys.require_intact_chain()
            .and_then(|()| keys.check_named(before.generation(), &before.digest(), "this command"))
            .map_err(key_error(location))?;
        Ok(keys)
    }
}

impl KeyChange {
    fn of(repository: Repository) -> Self {
        Self { repository, slot: None, key_file_created: None, recovery_replaced: false, recovery_key: None }
    }
}

/// The slot that the user has seen under a number. Another process may remove or change it meanwhile.
struct Meant {
    slot: u32,
    mark: Option<String>,
}

impl Meant {
    fn of(keys: &Keys, slot: u32) -> Self {
        Self { slot, mark: keys.slot_mark(slot) }
    }

    fn check(&self, keys: &Keys) -> Result<(), KeyError> {
        match self.mark == keys.slot_mark(self.slot) {
            true => Ok(()),
            false => Err(changed_meanwhile(&format!("slot {}", self.slot))),
        }
    }
}

fn changed_meanwhile(what: &str) -> KeyError {
    KeyError::Change { problem: format!("another process has changed {what} meanwhile; look again") }
}

/// Waits a little, at random: who lost one race together should not meet again.
async fn pause(attempt: u32) -> Result<(), RepositoryError> {
    let random = random_hex().map_err(|e| internal(&e.to_string()))?;
    let share = u64::from_str_radix(random.get(..2).unwrap_or("0"), 16).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(u64::from(attempt.min(10)) * share / 10)).await;
    Ok(())
}

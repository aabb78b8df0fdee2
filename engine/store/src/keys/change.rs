//! Changes of the keyring, each a pure function from the newest generation to the bytes of the next. The caller creates
//! `keys/<generation>.json` with them, if absent; who loses that race opens the chain again and repeats the change.

use super::keyring::{Body, Keyring, Unreadable};
use super::material::RepositoryKey;
use super::slot::{Argon2Parameters, Masters, Slot, Wallet};
use super::{KeyError, Keys, MasterKey, RecoveryKey, RepositoryId, SlotInfo, SlotKind, Unlocker};

/// Makes generation 1 with a new master of epoch 1 and a slot for `unlocker`; `with_recovery` adds a recovery slot and
/// returns its key, which is in no other place.
pub fn create_first(
    id: RepositoryId,
    unlocker: &Unlocker,
    with_recovery: bool,
) -> Result<(Vec<u8>, Keys, Option<RecoveryKey>), KeyError> {
    create_with(id, unlocker, with_recovery, Argon2Parameters::default())
}

/// [`create_first`] with a cost of argon2id other than the default.
pub(super) fn create_with(
    id: RepositoryId,
    unlocker: &Unlocker,
    with_recovery: bool,
    parameters: Argon2Parameters,
) -> Result<(Vec<u8>, Keys, Option<RecoveryKey>), KeyError> {
    let masters = Masters::from([(1, MasterKey::random()?)]);
    let opened_by = SlotInfo { id: 1, kind: kind_of(unlocker) };
    let mut slots = vec![Slot::seal(&id, opened_by, unlocker, parameters, &masters)?];
    let recovery = if with_recovery {
        let key = RecoveryKey(RepositoryKey::random()?);
        let info = SlotInfo { id: 2, kind: SlotKind::Recovery };
        slots.push(Slot::seal(&id, info, &key.unlocker(), parameters, &masters)?);
        Some(key)
    } else {
        None
    };
    let bytes = Body::new(id, 1, None, 1, slots).encode(&masters)?;
    let ring = reread(1, &bytes)?;
    let digests = [(1, ring.digest())].into();
    Ok((bytes, Keys::new(ring, masters, opened_by, digests, None)?, recovery))
}

/// Takes all recovery slots out and puts a new one in: the recovery key before opens no later generation.
pub fn replace_recovery_slot(keys: &Keys) -> Result<(Vec<u8>, Keys, RecoveryKey), KeyError> {
    let key = RecoveryKey(RepositoryKey::random()?);
    let mut slots = keys.keyring().body().slots.clone();
    let info = SlotInfo { id: next_slot(&slots), kind: SlotKind::Recovery };
    let opened_by_recovery = keys.opened_by().kind == SlotKind::Recovery;
    slots.retain(|slot| slot.kind != SlotKind::Recovery);
    slots.push(Slot::seal(&keys.repository_id(), info, &key.unlocker(), Argon2Parameters::default(), keys.masters())?);
    let opened_by = if opened_by_recovery { info } else { keys.opened_by() };
    let (bytes, keys) = next(keys, slots, keys.masters().clone(), opened_by)?;
    Ok((bytes, keys, key))
}

/// Adds a slot for another key or passphrase.
pub fn add_slot(keys: &Keys, unlocker: &Unlocker) -> Result<(Vec<u8>, Keys, SlotInfo), KeyError> {
    let mut slots = keys.keyring().body().slots.clone();
    let mut wallet = Wallet::new(unlocker);
    for slot in &slots {
        if wallet.open(&keys.repository_id(), slot)?.is_some() {
            return Err(change(format!("this secret already opens slot {} ({})", slot.id, slot.kind)));
        }
    }
    let info = SlotInfo { id: next_slot(&slots), kind: kind_of(unlocker) };
    slots.push(Slot::seal(&keys.repository_id(), info, unlocker, Argon2Parameters::default(), keys.masters())?);
    let (bytes, keys) = next(keys, slots, keys.masters().clone(), keys.opened_by())?;
    Ok((bytes, keys, info))
}

/// Takes a slot out of the coming generations. Who kept an old generation and the secret still opens what exists:
/// [`rotate`] afterwards, for new data. The slot that these keys were opened with stays.
pub fn remove_slot(keys: &Keys, slot: u32) -> Result<(Vec<u8>, Keys), KeyError> {
    if keys.opened_by().id == slot {
        return Err(change(format!("slot {slot} is the one that opened the keyring; open it with another key")));
    }
    let mut slots = keys.keyring().body().slots.clone();
    let before = slots.len();
    slots.retain(|s| s.id != slot);
    if slots.len() == before {
        return Err(change(format!("there is no slot {slot}")));
    }
    next(keys, slots, keys.masters().clone(), keys.opened_by())
}

/// Begins a new epoch: new data is encrypted under a new master.
///
/// A slot takes part only with its secret: wrapping a master without it would need a copy of the slot's key under the old
/// master, which whoever was removed before still has. So `secrets` holds the secret of every slot but the recovery slot
/// (which gets a new key); a slot whose secret is not given is an error that names it.
pub fn rotate(keys: &Keys, secrets: &[Unlocker]) -> Result<(Vec<u8>, Keys, Option<RecoveryKey>), KeyError> {
    let id = keys.repository_id();
    let epoch = keys.epoch().checked_add(1).ok_or_else(|| change("there are no more epochs".to_owned()))?;
    let mut masters = keys.masters().clone();
    masters.insert(epoch, MasterKey::random()?);
    let mut recovery = None;
    let (mut slots, mut absent) = (Vec::new(), Vec::new());
    for slot in &keys.keyring().body().slots {
        let info = SlotInfo { id: slot.id, kind: slot.kind };
        let parameters = slot.argon2id.unwrap_or_default();
        let mut given = None;
        for secret in secrets {
            if Wallet::new(secret).open(&id, slot)?.is_some() {
                given = Some(secret.clone());
            }
        }
        if given.is_none() && slot.kind == SlotKind::Recovery {
            let key = RecoveryKey(RepositoryKey::random()?);
            given = Some(key.unlocker());
            recovery = Some(key);
        }
        match given {
            Some(secret) => slots.push(Slot::seal(&id, info, &secret, parameters, &masters)?),
            None => absent.push(format!("{} ({})", slot.id, slot.kind)),
        }
    }
    if !absent.is_empty() {
        let absent = absent.join(", ");
        return Err(change(format!("the secret of slot {absent} was not given; give it, or remove the slot first")));
    }
    let (bytes, keys) = next(keys, slots, masters, keys.opened_by())?;
    Ok((bytes, keys, recovery))
}

/// The generation after `keys`, under the highest master of that one.
fn next(keys: &Keys, slots: Vec<Slot>, masters: Masters, opened_by: SlotInfo) -> Result<(Vec<u8>, Keys), KeyError> {
    keys.require_intact_chain()?;
    let tip = keys.keyring();
    let number = tip.generation().checked_add(1).ok_or_else(|| change("there are no more generations".to_owned()))?;
    let body = Body::new(tip.repository_id(), number, Some(tip.digest()), tip.highest_epoch(), slots);
    let bytes = body.encode(&masters)?;
    let ring = reread(number, &bytes)?;
    let mut digests = keys.digests().clone();
    digests.insert(number, ring.digest());
    Ok((bytes, Keys::new(ring, masters, opened_by, digests, None)?))
}

/// What was written is read as a stranger would read it, before anybody stores it.
fn reread(number: u64, bytes: &[u8]) -> Result<Keyring, KeyError> {
    Keyring::parse(number, bytes).map_err(|unreadable| match unreadable {
        Unreadable::Damaged(problem) | Unreadable::TooNew(problem) => change(problem),
    })
}

fn next_slot(slots: &[Slot]) -> u32 {
    slots.iter().map(|s| s.id).max().unwrap_or(0).saturating_add(1)
}

fn kind_of(unlocker: &Unlocker) -> SlotKind {
    match unlocker {
        Unlocker::Key(_) => SlotKind::Key,
        Unlocker::Passphrase(_) => SlotKind::Passphrase,
    }
}

fn change(problem: String) -> KeyError {
    KeyError::Change { problem }
}

//! Changes of the keyring, each a pure function from the newest generation to the bytes of the next. The caller creates
//! `keys/<generation>.json` with them, if absent; who loses that race opens the chain again and repeats the change.

use super::keyring::{Body, Keyring, Unreadable};
use super::opened::Chain;
use super::slot::{Argon2Parameters, MAX_PASSPHRASES, Masters, Slot, Wallet};
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
        let key = RecoveryKey::random()?;
        let info = SlotInfo { id: 2, kind: SlotKind::Recovery };
        slots.push(Slot::seal(&id, info, &key.unlocker(), parameters, &masters)?);
        Some(key)
    } else {
        None
    };
    let bytes = Body::new(id, 1, None, 1, slots).encode(&masters)?;
    let ring = reread(1, &bytes)?;
    let chain = Chain::default().and(&ring);
    Ok((bytes, Keys::new(ring, masters, opened_by, chain, None)?, recovery))
}

/// Takes all recovery slots out and puts a new one in: the recovery key before opens no later generation.
pub fn replace_recovery_slot(keys: &Keys) -> Result<(Vec<u8>, Keys, RecoveryKey), KeyError> {
    let key = RecoveryKey::random()?;
    let (bytes, keys, _) = replace_recovery_slot_with(keys, &key)?;
    Ok((bytes, keys, key))
}

/// [`replace_recovery_slot`] with a key that was made before.
pub fn replace_recovery_slot_with(keys: &Keys, key: &RecoveryKey) -> Result<(Vec<u8>, Keys, SlotInfo), KeyError> {
    let mut slots = keys.keyring().body().slots.clone();
    let info = SlotInfo { id: next_slot(keys)?, kind: SlotKind::Recovery };
    let opened_by_recovery = keys.opened_by().kind == SlotKind::Recovery;
    slots.retain(|slot| slot.kind != SlotKind::Recovery);
    slots.push(Slot::seal(&keys.repository_id(), info, &key.unlocker(), Argon2Parameters::default(), keys.masters())?);
    let opened_by = if opened_by_recovery { info } else { keys.opened_by() };
    let (bytes, keys) = next(keys, slots, keys.masters().clone(), opened_by)?;
    Ok((bytes, keys, info))
}

/// Adds a slot for another key or passphrase.
pub fn add_slot(keys: &Keys, unlocker: &Unlocker) -> Result<(Vec<u8>, Keys, SlotInfo), KeyError> {
    let mut slots = keys.keyring().body().slots.clone();
    opens_none(keys, &slots, unlocker)?;
    let info = SlotInfo { id: next_slot(keys)?, kind: kind_of(unlocker) };
    slots.push(Slot::seal(&keys.repository_id(), info, unlocker, Argon2Parameters::default(), keys.masters())?);
    let (bytes, keys) = next(keys, slots, keys.masters().clone(), keys.opened_by())?;
    Ok((bytes, keys, info))
}

/// Wraps all masters of a slot anew: under another secret, or under the same one at the cost that argon2id has today. The
/// slot keeps its number. Who kept an old generation and the old secret still opens what exists.
pub fn rewrap_slot(keys: &Keys, slot: u32, unlocker: &Unlocker) -> Result<(Vec<u8>, Keys, SlotInfo), KeyError> {
    let old = keys.keyring().slot(slot).ok_or_else(|| no_slot(slot))?;
    if old.kind == SlotKind::Recovery {
        return Err(change(format!("slot {slot} is that of the recovery key; replace the recovery key instead")));
    }
    let mut slots = keys.keyring().body().slots.clone();
    let others: Vec<Slot> = slots.iter().filter(|s| s.id != slot).cloned().collect();
    opens_none(keys, &others, unlocker)?;
    let parameters = old.argon2id.unwrap_or_default().at_least(Argon2Parameters::default());
    let info = SlotInfo { id: slot, kind: kind_of(unlocker) };
    let sealed = Slot::seal(&keys.repository_id(), info, unlocker, parameters, keys.masters())?;
    if let Some(place) = slots.iter_mut().find(|s| s.id == slot) {
        *place = sealed;
    }
    let opened_by = if keys.opened_by().id == slot { info } else { keys.opened_by() };
    let (bytes, keys) = next(keys, slots, keys.masters().clone(), opened_by)?;
    Ok((bytes, keys, info))
}

/// Takes a slot out of the coming generations. Who kept an old generation and the secret still opens what exists:
/// [`rotate`] afterwards, for new data. The slot that these keys were opened with stays, and so does the last one that is
/// not the recovery key's: a keyring is never left to the key that lies in a safe.
pub fn remove_slot(keys: &Keys, slot: u32) -> Result<(Vec<u8>, Keys), KeyError> {
    let mut slots = keys.keyring().body().slots.clone();
    let found = keys.keyring().slot(slot).ok_or_else(|| no_slot(slot))?;
    let usable = slots.iter().filter(|s| s.kind != SlotKind::Recovery).count();
    if found.kind != SlotKind::Recovery && usable == 1 {
        return Err(change(format!("slot {slot} is the last one besides the recovery key; add another key first")));
    }
    if keys.opened_by().id == slot {
        return Err(change(format!("slot {slot} is the one that opened the keyring; open it with another key")));
    }
    slots.retain(|s| s.id != slot);
    next(keys, slots, keys.masters().clone(), keys.opened_by())
}

/// Begins a new epoch: new data is encrypted under a new master.
///
/// A slot takes part only with its secret: wrapping a master without it would need a copy of the slot's key under the old
/// master, which whoever was removed before still has. So `secrets` holds the secret of every slot but the recovery slot
/// (which gets a new key); a slot whose secret is not given is an error that names it.
pub fn rotate(keys: &Keys, secrets: &[Unlocker]) -> Result<(Vec<u8>, Keys, Option<RecoveryKey>), KeyError> {
    let key = RecoveryKey::random()?;
    let (bytes, keys, used) = rotate_with(keys, secrets, &key)?;
    Ok((bytes, keys, used.then_some(key)))
}

/// [`rotate`] with a recovery key that was made before, and whether it was needed.
pub fn rotate_with(
    keys: &Keys,
    secrets: &[Unlocker],
    recovery: &RecoveryKey,
) -> Result<(Vec<u8>, Keys, bool), KeyError> {
    let id = keys.repository_id();
    let epoch = keys.epoch().checked_add(1).ok_or_else(|| change("there are no more epochs".to_owned()))?;
    let mut masters = keys.masters().clone();
    masters.insert(epoch, MasterKey::random()?);
    let given = secrets_of_slots(keys, secrets)?;
    let mut used = false;
    let (mut slots, mut absent) = (Vec::new(), Vec::new());
    for (slot, given) in keys.keyring().body().slots.iter().zip(given) {
        let info = SlotInfo { id: slot.id, kind: slot.kind };
        let parameters = slot.argon2id.unwrap_or_default();
        let secret = match given {
            Some(secret) => secret.clone(),
            None if slot.kind == SlotKind::Recovery => {
                used = true;
                recovery.unlocker()
            }
            None => {
                absent.push(format!("{} ({})", slot.id, slot.kind));
                continue;
            }
        };
        slots.push(Slot::seal(&id, info, &secret, parameters, &masters)?);
    }
    if !absent.is_empty() {
        let absent = absent.join(", ");
        return Err(change(format!("the secret of slot {absent} was not given; give it, or remove the slot first")));
    }
    let (bytes, keys) = next(keys, slots, masters, keys.opened_by())?;
    Ok((bytes, keys, used))
}

/// Whether a rotation with these secrets gives the recovery slot a new key.
pub fn rotation_replaces_recovery(keys: &Keys, secrets: &[Unlocker]) -> Result<bool, KeyError> {
    let given = secrets_of_slots(keys, secrets)?;
    let mut slots = keys.keyring().body().slots.iter().zip(given);
    Ok(slots.any(|(slot, given)| slot.kind == SlotKind::Recovery && given.is_none()))
}

/// The secret of each slot, in the order of the slots. One that opens no slot is an error: it was given for a reason.
fn secrets_of_slots<'a>(keys: &Keys, secrets: &'a [Unlocker]) -> Result<Vec<Option<&'a Unlocker>>, KeyError> {
    let slots = &keys.keyring().body().slots;
    let mut given = vec![None; slots.len()];
    for secret in secrets {
        let mut wallet = Wallet::new(secret);
        let mut opens = false;
        for (slot, given) in slots.iter().zip(&mut given) {
            if wallet.open(&keys.repository_id(), slot)?.is_some() {
                *given = Some(secret);
                opens = true;
            }
        }
        if !opens {
            return Err(change("one of the secrets that were given opens no slot".to_owned()));
        }
    }
    Ok(given)
}

/// One secret opens one slot at most, else nobody could say who opened a keyring.
fn opens_none(keys: &Keys, slots: &[Slot], unlocker: &Unlocker) -> Result<(), KeyError> {
    let mut wallet = Wallet::new(unlocker);
    for slot in slots {
        if wallet.open(&keys.repository_id(), slot)?.is_some() {
            return Err(change(format!("this secret already opens slot {} ({})", slot.id, slot.kind)));
        }
    }
    Ok(())
}

/// The generation after `keys`, under the highest master of that one.
fn next(keys: &Keys, slots: Vec<Slot>, masters: Masters, opened_by: SlotInfo) -> Result<(Vec<u8>, Keys), KeyError> {
    keys.require_intact_chain()?;
    let tip = keys.keyring();
    let number = tip.generation().checked_add(1).ok_or_else(|| change("there are no more generations".to_owned()))?;
    let body = Body::new(tip.repository_id(), number, Some(tip.digest()), tip.highest_epoch(), slots);
    let bytes = body.encode(&masters)?;
    let ring = reread(number, &bytes)?;
    let chain = keys.chain().clone().and(&ring);
    // A passphrase must stay good: opening by one computes argon2id for every salt there ever was, and stops at the bound.
    if chain.passphrases.len() > MAX_PASSPHRASES && chain.passphrases.len() > keys.chain().passphrases.len() {
        return Err(change(format!(
            "passphrases have been wrapped {MAX_PASSPHRASES} times over all its generations, which is the bound; remove \
             the passphrase slots and use keys"
        )));
    }
    Ok((bytes, Keys::new(ring, masters, opened_by, chain, None)?))
}

/// What was written is read as a stranger would read it, before anybody stores it.
fn reread(number: u64, bytes: &[u8]) -> Result<Keyring, KeyError> {
    Keyring::parse(number, bytes).map_err(|unreadable| match unreadable {
        Unreadable::Damaged(problem) | Unreadable::TooNew(problem) => change(problem),
    })
}

/// A number that no slot ever had: a command that names a slot must not meet another one under its number.
fn next_slot(keys: &Keys) -> Result<u32, KeyError> {
    keys.chain().highest_slot.checked_add(1).ok_or_else(|| change("there are no more numbers for slots".to_owned()))
}

fn no_slot(slot: u32) -> KeyError {
    change(format!("there is no slot {slot}"))
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

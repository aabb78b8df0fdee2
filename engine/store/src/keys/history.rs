//! Where a slot of the newest generation comes from: what `restow key list` shows.

use bytes::Bytes;
use data_encoding::HEXLOWER;

use super::derive::sha256;
use super::{Argon2Parameters, Keyring, Keys, SlotInfo};

/// A slot of the newest generation, and since when it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotHistory {
    /// Number and kind.
    pub info: SlotInfo,
    /// Names this wrapping of the slot and no other, as 64 hex digits: its salt, which is public and made anew whenever the
    /// slot is wrapped again.
    pub mark: String,
    /// The epochs that it wraps: 1 to this.
    pub epochs: u32,
    /// Cost of a passphrase.
    pub argon2id: Option<Argon2Parameters>,
    /// The oldest generation that still is there and has a slot of this number.
    pub added: u64,
    /// The oldest generation that still is there and has this wrapping of it.
    pub wrapped: u64,
}

impl Keys {
    /// The slots of the newest generation. `generations` are the stored ones; those that are not a part of the chain that
    /// these keys have proven are not looked at.
    pub fn slot_history(&self, generations: &[(u64, Bytes)]) -> Vec<SlotHistory> {
        let proven = |(number, bytes): &&(u64, Bytes)| self.chain().digests.get(number) == Some(&sha256(bytes));
        let rings = generations.iter().filter(proven);
        let rings: Vec<Keyring> = rings.filter_map(|(number, bytes)| Keyring::parse(*number, bytes).ok()).collect();
        let first = |holds: &dyn Fn(&Keyring) -> bool| {
            let with = rings.iter().filter(|ring| holds(ring)).map(Keyring::generation);
            with.min().unwrap_or_else(|| self.generation())
        };
        let slots = self.keyring().body().slots.iter().map(|slot| SlotHistory {
            info: SlotInfo { id: slot.id, kind: slot.kind },
            mark: HEXLOWER.encode(&slot.salt.0),
            epochs: self.epoch(),
            argon2id: slot.argon2id,
            added: first(&|ring| ring.slot(slot.id).is_some()),
            wrapped: first(&|ring| ring.slot(slot.id).is_some_and(|of| of.salt == slot.salt)),
        });
        slots.collect()
    }

    /// The mark of a slot ([`SlotHistory::mark`]) in the newest generation.
    pub fn slot_mark(&self, slot: u32) -> Option<String> {
        self.keyring().slot(slot).map(|slot| HEXLOWER.encode(&slot.salt.0))
    }
}

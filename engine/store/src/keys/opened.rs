//! An opened keyring: the master keys and what is derived from them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use super::derive::{NO_SALT, derive, derive_key, hmac_sha256};
use super::slot::Masters;
use super::{DerivedKey, KeyError, Keyring, Kind, MasterKey, RepositoryId, SlotInfo};
use crate::repository::KeyringRef;

/// The opened keys of a repository. Clones share the masters, which are zeroed when the last clone goes.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    tip: Keyring,
    masters: Masters,
    opened_by: SlotInfo,
    chain: Chain,
    /// What is wrong with the chain, if anything; writers stop then.
    broken: Option<String>,
    name_key: Zeroizing<[u8; 32]>,
}

/// What is kept of all generations that hold.
#[derive(Clone, Default)]
pub(super) struct Chain {
    /// Their digests, by number.
    pub(super) digests: BTreeMap<u64, [u8; 32]>,
    /// Highest number of a slot: numbers are not used again.
    pub(super) highest_slot: u32,
    /// Salts of passphrase slots. Whoever opens the keyring by a passphrase computes argon2id for each.
    pub(super) passphrases: BTreeSet<[u8; 32]>,
}

impl Chain {
    /// With one more generation.
    pub(super) fn and(mut self, ring: &Keyring) -> Self {
        self.digests.insert(ring.generation(), ring.digest());
        for slot in &ring.body().slots {
            self.highest_slot = self.highest_slot.max(slot.id);
            if slot.argon2id.is_some() {
                self.passphrases.insert(slot.salt.0);
            }
        }
        self
    }
}

impl Keys {
    pub(super) fn new(
        tip: Keyring,
        masters: Masters,
        opened_by: SlotInfo,
        chain: Chain,
        broken: Option<String>,
    ) -> Result<Self, KeyError> {
        let first = masters.get(&1).ok_or(KeyError::UnknownEpoch { epoch: 1, highest: tip.highest_epoch() })?;
        let name_key = derive::<32>(&first.0, &NO_SALT, Kind::Name, &tip.repository_id(), "")?;
        Ok(Self(Arc::new(Inner { tip, masters, opened_by, chain, broken, name_key })))
    }

    /// The repository that these keys belong to.
    pub fn repository_id(&self) -> RepositoryId {
        self.0.tip.repository_id()
    }

    /// Epoch under which new objects are encrypted: the newest.
    pub fn epoch(&self) -> u32 {
        self.0.tip.highest_epoch()
    }

    /// Number of the newest generation that holds.
    pub fn generation(&self) -> u64 {
        self.0.tip.generation()
    }

    /// SHA-256 of the bytes of that generation, as 64 hex digits; intents and manifests name it.
    pub fn digest(&self) -> String {
        HEXLOWER.encode(&self.0.tip.digest())
    }

    /// Number and digest of that generation, as intents and manifests name them.
    pub fn named(&self) -> KeyringRef {
        KeyringRef { generation: self.generation(), digest: self.digest() }
    }

    /// The slot that the secret opened, in the newest generation.
    pub fn opened_by(&self) -> SlotInfo {
        self.0.opened_by
    }

    /// The newest generation.
    pub fn keyring(&self) -> &Keyring {
        &self.0.tip
    }

    /// To be asked before anything is written: an error (13) where a generation is missing, damaged or breaks the chain.
    pub fn require_intact_chain(&self) -> Result<(), KeyError> {
        match &self.0.broken {
            None => Ok(()),
            Some(problem) => Err(KeyError::ChainBroken { problem: problem.clone() }),
        }
    }

    /// Checks a generation that an intent, a manifest or a catalog names: it must be present with that digest, else the
    /// keyring was rolled back or replaced (13). `object` names who says so.
    pub fn check_named(&self, generation: u64, digest: &str, object: &str) -> Result<(), KeyError> {
        let rolled_back = |problem: String| KeyError::RolledBack { object: object.to_owned(), generation, problem };
        match self.0.chain.digests.get(&generation) {
            Some(known) if HEXLOWER.encode(known) == digest => Ok(()),
            Some(_) => Err(rolled_back("its digest is another".to_owned())),
            None if generation > self.generation() => {
                Err(rolled_back(format!("the newest that holds is {}", self.generation())))
            }
            None => Err(rolled_back("it is missing or damaged".to_owned())),
        }
    }

    /// Key and nonce prefix of one object: HKDF-SHA256 of the epoch's master with the object's salt.
    pub fn derive(&self, epoch: u32, salt: &[u8; 32], kind: Kind, path: &str) -> Result<DerivedKey, KeyError> {
        derive_key(&self.master(epoch)?.0, salt, kind, &self.repository_id(), path)
    }

    /// Commitment of one object.
    pub fn commitment(&self, epoch: u32, salt: &[u8; 32], kind: Kind, path: &str) -> Result<[u8; 32], KeyError> {
        Ok(*derive::<32>(&self.master(epoch)?.0, salt, kind, &self.repository_id(), path)?)
    }

    /// What stands in a path for a name that comes from the source: the first 128 bits of HMAC-SHA256 under the name key,
    /// as 32 hex digits. The name key is of epoch 1, so that a name keeps its place over rotations.
    pub fn name_hmac(&self, part: &str) -> String {
        let mut text = HEXLOWER.encode(&hmac_sha256(&self.0.name_key, part.as_bytes()));
        text.truncate(32);
        text
    }

    pub(super) fn masters(&self) -> &Masters {
        &self.0.masters
    }

    pub(super) fn chain(&self) -> &Chain {
        &self.0.chain
    }

    fn master(&self, epoch: u32) -> Result<&MasterKey, KeyError> {
        self.0.masters.get(&epoch).ok_or(KeyError::UnknownEpoch { epoch, highest: self.epoch() })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("repository", &self.repository_id())
            .field("generation", &self.generation())
            .field("epoch", &self.epoch())
            .field("opened_by", &self.0.opened_by)
            .finish_non_exhaustive()
    }
}

//! One generation of the keyring as bytes: `keys/<generation>.json`.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::derive::{Kind, NO_SALT, derive, hmac_matches, hmac_sha256, sha256};
use super::material::fill;
use super::slot::{HexBytes, Masters, Slot, Wallet};
use super::{KeyError, MasterKey, SlotInfo, SlotKind};

/// The keyring's format version; a reader refuses any other.
pub const KEYRING_FORMAT: &str = "1";
/// A generation is never longer; a reader refuses what is.
pub const MAX_KEYRING_BYTES: usize = 1024 * 1024;

const NAME: &str = "restow-keyring";
const MAX_SLOTS: usize = 64;
/// The members that end the file, after the body without its closing brace.
const HMAC_MEMBER: &[u8] = b",\"hmac\":\"";
const SHA_MEMBER: &[u8] = b"\",\"sha256\":\"";
const END: &[u8] = b"\"}\n";

/// A repository's id: 16 random bytes, written as 32 lower-case hex digits. Every derivation binds it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryId([u8; 16]);

impl RepositoryId {
    /// The id with these bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A new random id.
    pub fn random() -> Result<Self, KeyError> {
        let mut bytes = [0; 16];
        fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for RepositoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for RepositoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RepositoryId({self})")
    }
}

impl FromStr for RepositoryId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        HexBytes::<16>::parse(text).map(|bytes| Self(bytes.0))
    }
}

impl Serialize for RepositoryId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        HexBytes(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RepositoryId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        HexBytes::<16>::deserialize(deserializer).map(|bytes| Self(bytes.0))
    }
}

/// One parsed generation. Its HMAC is not checked yet: that takes a master key ([`super::open_chain`]).
#[derive(Clone, Debug)]
pub struct Keyring {
    body: Body,
    /// The bytes that the HMAC covers.
    authenticated: Vec<u8>,
    hmac: [u8; 32],
    digest: [u8; 32],
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    format: String,
    version: String,
    pub(super) repository: RepositoryId,
    pub(super) generation: u64,
    flags: Vec<String>,
    /// SHA-256 of all bytes of the generation before; absent in the first.
    pub(super) previous: Option<HexBytes<32>>,
    /// Epoch of the master that the HMAC is under.
    pub(super) mac_epoch: u32,
    pub(super) slots: Vec<Slot>,
}

/// The members that decide whether this program may read the rest.
#[derive(Deserialize)]
struct Probe {
    format: String,
    version: String,
    #[serde(default)]
    flags: Vec<String>,
}

/// Why bytes are not a generation that this program reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    Damaged(String),
    TooNew(String),
}

impl Body {
    pub(super) fn new(
        repository: RepositoryId,
        generation: u64,
        previous: Option<[u8; 32]>,
        mac_epoch: u32,
        slots: Vec<Slot>,
    ) -> Self {
        Self {
            format: NAME.to_owned(),
            version: KEYRING_FORMAT.to_owned(),
            repository,
            generation,
            flags: Vec::new(),
            previous: previous.map(HexBytes),
            mac_epoch,
            slots,
        }
    }

    /// The bytes of the generation: the body, its HMAC under the master of `mac_epoch`, their SHA-256.
    pub(super) fn encode(&self, masters: &Masters) -> Result<Vec<u8>, KeyError> {
        let highest = masters.keys().next_back().copied().unwrap_or(0);
        let epoch = self.mac_epoch;
        let master = masters.get(&epoch).ok_or(KeyError::UnknownEpoch { epoch, highest })?;
        let mut bytes = serde_json::to_vec(self).map_err(|_| KeyError::Internal { what: "keyring" })?;
        bytes.pop(); // the closing brace, which `END` brings back
        let key = mac_key(master, &self.repository)?;
        let hmac = HEXLOWER.encode(&hmac_sha256(&key, &bytes));
        bytes.extend_from_slice(HMAC_MEMBER);
        bytes.extend_from_slice(hmac.as_bytes());
        let sha = HEXLOWER.encode(&sha256(&[bytes.as_slice(), b"\""].concat()));
        bytes.extend_from_slice(SHA_MEMBER);
        bytes.extend_from_slice(sha.as_bytes());
        bytes.extend_from_slice(END);
        Ok(bytes)
    }

    fn check(&self, number: u64) -> Result<(), String> {
        if self.generation != number {
            return Err(format!("it says that it is generation {}", self.generation));
        }
        if self.previous.is_some() == (number == 1) {
            return Err("all generations but the first name the digest of the one before".to_owned());
        }
        if self.slots.is_empty() || self.slots.len() > MAX_SLOTS {
            return Err(format!("it has {} slots, not 1 to {MAX_SLOTS}", self.slots.len()));
        }
        let epochs = self.highest_epoch();
        if epochs == 0 || self.mac_epoch == 0 || self.mac_epoch > epochs {
            return Err("its epochs are not 1, 2, 3 without gaps".to_owned());
        }
        let mut ids: Vec<u32> = self.slots.iter().map(|s| s.id).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() != self.slots.len() {
            return Err("two slots have the same number".to_owned());
        }
        self.slots.iter().try_for_each(|slot| check_slot(slot, epochs))
    }

    pub(super) fn highest_epoch(&self) -> u32 {
        self.slots.first().and_then(|s| u32::try_from(s.wraps.len()).ok()).unwrap_or(0)
    }
}

fn check_slot(slot: &Slot, epochs: u32) -> Result<(), String> {
    if !slot.wraps.iter().map(|w| w.epoch).eq(1..=epochs) {
        return Err(format!("slot {} does not wrap the epochs 1 to {epochs}", slot.id));
    }
    match (slot.kind, slot.argon2id) {
        (SlotKind::Passphrase, Some(p)) => p.check().map(|_| ()).map_err(|e| format!("slot {}: {e}", slot.id)),
        (SlotKind::Key | SlotKind::Recovery, None) => Ok(()),
        _ => Err(format!("slot {}: argon2id parameters belong to passphrase slots, and only to them", slot.id)),
    }
}

impl Keyring {
    /// Reads the bytes of generation `number`: its own digest, the version and flags, and the shape.
    pub(super) fn parse(number: u64, bytes: &[u8]) -> Result<Self, Unreadable> {
        let damaged = |text: &str| Unreadable::Damaged(text.to_owned());
        if bytes.len() > MAX_KEYRING_BYTES {
            return Err(Unreadable::Damaged(format!("it is longer than {MAX_KEYRING_BYTES} bytes")));
        }
        let tail = || damaged("it does not end with its hmac and sha256 members");
        let rest = bytes.strip_suffix(END).ok_or_else(tail)?;
        let (rest, sha) = split_hex(rest).ok_or_else(tail)?;
        let rest = rest.strip_suffix(SHA_MEMBER).ok_or_else(tail)?;
        let hashed = bytes.get(..=rest.len()).ok_or_else(tail)?;
        if sha256(hashed) != sha {
            return Err(damaged("its own sha256 does not match"));
        }
        let (rest, hmac) = split_hex(rest).ok_or_else(tail)?;
        let authenticated = rest.strip_suffix(HMAC_MEMBER).ok_or_else(tail)?.to_vec();
        let json = [authenticated.as_slice(), b"}"].concat();
        let probe: Probe =
            serde_json::from_slice(&json).map_err(|e| Unreadable::Damaged(format!("it is no keyring: {e}")))?;
        if probe.format != NAME {
            return Err(Unreadable::Damaged(format!("its format is not `{NAME}`")));
        }
        if probe.version != KEYRING_FORMAT {
            return Err(Unreadable::TooNew(format!("its version is `{}`, not `{KEYRING_FORMAT}`", probe.version)));
        }
        if let Some(flag) = probe.flags.first() {
            return Err(Unreadable::TooNew(format!("its flag `{flag}` is unknown")));
        }
        let body: Body =
            serde_json::from_slice(&json).map_err(|e| Unreadable::Damaged(format!("it is no keyring: {e}")))?;
        body.check(number).map_err(Unreadable::Damaged)?;
        Ok(Self { body, authenticated, hmac, digest: sha256(bytes) })
    }

    /// Number of the generation, from 1.
    pub fn generation(&self) -> u64 {
        self.body.generation
    }

    /// The repository that it belongs to.
    pub fn repository_id(&self) -> RepositoryId {
        self.body.repository
    }

    /// SHA-256 of all its bytes.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Newest epoch; new data is encrypted under it.
    pub fn highest_epoch(&self) -> u32 {
        self.body.highest_epoch()
    }

    /// The slots, without anything secret.
    pub fn slots(&self) -> Vec<SlotInfo> {
        self.body.slots.iter().map(|s| SlotInfo { id: s.id, kind: s.kind }).collect()
    }

    /// The slot with this number.
    pub(super) fn slot(&self, id: u32) -> Option<&Slot> {
        self.body.slots.iter().find(|slot| slot.id == id)
    }

    pub(super) fn body(&self) -> &Body {
        &self.body
    }

    /// The masters and the slot that gave them, where the secret opens one.
    pub(super) fn open(&self, wallet: &mut Wallet<'_>) -> Result<Option<(SlotInfo, Masters)>, KeyError> {
        for slot in &self.body.slots {
            if let Some(masters) = wallet.open(&self.body.repository, slot)? {
                return Ok(Some((SlotInfo { id: slot.id, kind: slot.kind }, masters)));
            }
        }
        Ok(None)
    }

    /// Whether the HMAC is right under this master.
    pub(super) fn authentic(&self, master: &MasterKey) -> Result<bool, KeyError> {
        let key = mac_key(master, &self.body.repository)?;
        Ok(hmac_matches(&key, &self.authenticated, &self.hmac))
    }
}

fn mac_key(master: &MasterKey, id: &RepositoryId) -> Result<zeroize::Zeroizing<[u8; 32]>, KeyError> {
    derive::<32>(&master.0, &NO_SALT, Kind::Keyring, id, "")
}

/// Takes 64 hex digits off the end.
fn split_hex(bytes: &[u8]) -> Option<(&[u8], [u8; 32])> {
    let (rest, hex) = bytes.split_at_checked(bytes.len().checked_sub(64)?)?;
    Some((rest, HexBytes::parse(std::str::from_utf8(hex).ok()?).ok()?.0))
}

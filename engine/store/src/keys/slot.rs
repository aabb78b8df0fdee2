//! A slot of the keyring: one secret, and every master key wrapped with it.

use std::collections::BTreeMap;
use std::fmt;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::derive::{Kind, derive};
use super::material::fill;
use super::{KeyError, MasterKey, RepositoryId, Unlocker};

/// Different argon2id computations (salt and parameters) that opening one keyring may cost.
pub(super) const MAX_PASSPHRASES: usize = 32;

/// Master keys by epoch.
pub(super) type Masters = BTreeMap<u32, MasterKey>;

/// What kind of secret opens a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotKind {
    /// A `rsk1_` key of the user.
    Key,
    /// A passphrase, by argon2id.
    Passphrase,
    /// The recovery key, a `rsk1_` key too.
    Recovery,
}

impl fmt::Display for SlotKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "key",
            Self::Passphrase => "passphrase",
            Self::Recovery => "recovery",
        })
    }
}

/// What may be shown of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    /// Number of the slot, unique in its generation.
    pub id: u32,
    /// Kind of its secret.
    pub kind: SlotKind,
}

/// Cost of argon2id (RFC 9106, version 0x13). The default is the RFC's second recommendation: 64 MiB, 3 passes, 4 lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Argon2Parameters {
    /// Memory in KiB; at most 262,144 (256 MiB).
    pub memory_kib: u32,
    /// Passes over the memory, 1 to 16.
    pub passes: u32,
    /// Lanes, 1 to 16.
    pub lanes: u32,
}

impl Default for Argon2Parameters {
    fn default() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 }
    }
}

impl Argon2Parameters {
    /// The higher cost of both, in each measure.
    pub(super) fn at_least(self, other: Self) -> Self {
        Self {
            memory_kib: self.memory_kib.max(other.memory_kib),
            passes: self.passes.max(other.passes),
            lanes: self.lanes.max(other.lanes),
        }
    }

    /// Refuses what would take the reader's memory or time (design section 7: more than 256 MiB).
    pub(super) fn check(&self) -> Result<Params, KeyError> {
        let Self { memory_kib, passes, lanes } = *self;
        let bounds = || KeyError::Argon2Bounds { memory_kib, passes, lanes };
        if !(8..=256 * 1024).contains(&memory_kib) || !(1..=16).contains(&passes) || !(1..=16).contains(&lanes) {
            return Err(bounds());
        }
        Params::new(memory_kib, passes, lanes, Some(32)).map_err(|_| bounds())
    }

    fn stretch(&self, passphrase: &[u8], salt: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        let mut out = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.check()?)
            .hash_password_into(passphrase, salt, &mut *out)
            .map_err(|e| KeyError::Argon2 { problem: e.to_string() })?;
        Ok(out)
    }
}

/// A slot as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slot {
    pub id: u32,
    pub kind: SlotKind,
    /// Salt of the key encryption key, and of argon2id.
    pub salt: HexBytes<32>,
    /// Exactly where the kind is `passphrase`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argon2id: Option<Argon2Parameters>,
    /// One wrap an epoch, in the order of epochs from 1.
    pub wraps: Vec<Wrap>,
}

/// One master, wrapped.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wrap {
    pub epoch: u32,
    /// Nonce 12, ciphertext 32, tag 16.
    pub wrapped: HexBytes<60>,
}

impl Slot {
    /// A slot for this secret with a new random salt, wrapping all masters.
    pub(super) fn seal(
        id: &RepositoryId,
        info: SlotInfo,
        unlocker: &Unlocker,
        parameters: Argon2Parameters,
        masters: &Masters,
    ) -> Result<Self, KeyError> {
        let mut salt = [0; 32];
        fill(&mut salt)?;
        let argon2id = matches!(unlocker, Unlocker::Passphrase(_)).then_some(parameters);
        let mut slot = Self { id: info.id, kind: info.kind, salt: HexBytes(salt), argon2id, wraps: Vec::new() };
        let secret = Wallet::new(unlocker).secret(&slot)?.ok_or(KeyError::Internal { what: "slot" })?;
        let cipher = slot.cipher(id, &secret)?;
        for (epoch, master) in masters {
            let mut wrapped = [0; 60];
            let (nonce, rest) = wrapped.split_at_mut(12);
            let (body, tag) = rest.split_at_mut(32);
            fill(nonce)?;
            body.copy_from_slice(&master.0);
            let nonce: &Nonce<_> = (&*nonce).try_into().map_err(|_| KeyError::Internal { what: "nonce" })?;
            let sealed = cipher.encrypt_inout_detached(nonce, &aad(id, slot.id, *epoch), body.into());
            tag.copy_from_slice(&sealed.map_err(|_| KeyError::Internal { what: "aes-gcm" })?);
            slot.wraps.push(Wrap { epoch: *epoch, wrapped: HexBytes(wrapped) });
        }
        Ok(slot)
    }

    fn cipher(&self, id: &RepositoryId, secret: &[u8; 32]) -> Result<Aes256Gcm, KeyError> {
        let kek = derive::<32>(secret, &self.salt.0, Kind::Wrap, id, "")?;
        Ok(Aes256Gcm::new((&*kek).into()))
    }

    fn unwrap(&self, id: &RepositoryId, secret: &[u8; 32]) -> Result<Option<Masters>, KeyError> {
        let cipher = self.cipher(id, secret)?;
        let mut masters = Masters::new();
        for wrap in &self.wraps {
            let (nonce, rest) = wrap.wrapped.0.split_at(12);
            let (body, tag) = rest.split_at(32);
            let (Ok(nonce), Ok(tag)) = (<&Nonce<_>>::try_from(nonce), <&Tag>::try_from(tag)) else {
                return Err(KeyError::Internal { what: "nonce" });
            };
            let mut master = MasterKey([0; 32]);
            master.0.copy_from_slice(body);
            let aad = aad(id, self.id, wrap.epoch);
            if cipher.decrypt_inout_detached(nonce, &aad, master.0.as_mut_slice().into(), tag).is_err() {
                return Ok(None);
            }
            masters.insert(wrap.epoch, master);
        }
        Ok(Some(masters))
    }
}

/// Associated data of a wrap: repository id 16, slot u32, epoch u32, big-endian.
fn aad(id: &RepositoryId, slot: u32, epoch: u32) -> [u8; 24] {
    let mut aad = [0; 24];
    let (a, rest) = aad.split_at_mut(16);
    let (b, c) = rest.split_at_mut(4);
    a.copy_from_slice(id.as_bytes());
    b.copy_from_slice(&slot.to_be_bytes());
    c.copy_from_slice(&epoch.to_be_bytes());
    aad
}

/// A secret that is tried on slots; argon2id is computed once for each salt and cost.
pub(super) struct Wallet<'a> {
    unlocker: &'a Unlocker,
    stretched: Vec<(HexBytes<32>, Argon2Parameters, Zeroizing<[u8; 32]>)>,
}

impl<'a> Wallet<'a> {
    pub(super) fn new(unlocker: &'a Unlocker) -> Self {
        Self { unlocker, stretched: Vec::new() }
    }

    /// The masters of the slot, or `None` where the secret does not open it whole.
    pub(super) fn open(&mut self, id: &RepositoryId, slot: &Slot) -> Result<Option<Masters>, KeyError> {
        match self.secret(slot)? {
            Some(secret) => slot.unwrap(id, &secret),
            None => Ok(None),
        }
    }

    fn secret(&mut self, slot: &Slot) -> Result<Option<Zeroizing<[u8; 32]>>, KeyError> {
        match (self.unlocker, slot.argon2id) {
            (Unlocker::Key(key), None) => Ok(Some(Zeroizing::new(key.0))),
            (Unlocker::Passphrase(passphrase), Some(parameters)) => {
                let known = self.stretched.iter().find(|(salt, p, _)| *salt == slot.salt && *p == parameters);
                if let Some((_, _, secret)) = known {
                    return Ok(Some(secret.clone()));
                }
                if self.stretched.len() >= MAX_PASSPHRASES {
                    return Err(KeyError::TooManyPassphrases { limit: MAX_PASSPHRASES });
                }
                let secret = parameters.stretch(passphrase.0.as_bytes(), &slot.salt.0)?;
                self.stretched.push((slot.salt.clone(), parameters, secret.clone()));
                Ok(Some(secret))
            }
            _ => Ok(None),
        }
    }
}

/// Bytes of a fixed length, lower-case hex in JSON.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct HexBytes<const N: usize>(pub [u8; N]);

impl<const N: usize> HexBytes<N> {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let problem = || format!("expected {} lower-case hex digits", 2 * N);
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| problem())?;
        <[u8; N]>::try_from(bytes.as_slice()).map(Self).map_err(|_| problem())
    }
}

impl<const N: usize> fmt::Debug for HexBytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl<const N: usize> Serialize for HexBytes<N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(&self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for HexBytes<N> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

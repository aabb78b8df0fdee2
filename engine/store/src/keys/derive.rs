//! Derivation: HKDF-SHA256 (RFC 5869) with one info layout for every purpose.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::{KeyError, RepositoryId};

/// What a derived key is for. The name is a part of the HKDF info, so that no two purposes share a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Key and nonce prefix of a container.
    Object,
    /// Commitment of a container.
    Commit,
    /// Key and nonce prefix of a container of run state (`runs/...`).
    State,
    /// Commitment of a container of run state.
    StateCommit,
    /// Key encryption key of a slot; the secret is the user's, not a master.
    Wrap,
    /// Key of the HMAC of a keyring generation.
    Keyring,
    /// Key of the HMAC of names.
    Name,
}

impl Kind {
    /// The name in the HKDF info.
    pub fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Commit => "commit",
            Self::State => "state",
            Self::StateCommit => "state-commit",
            Self::Wrap => "wrap",
            Self::Keyring => "keyring",
            Self::Name => "name",
        }
    }

    /// The kinds of key and commitment that the container at a path uses: run state has its own.
    pub fn of_path(relative: &str) -> (Self, Self) {
        match relative.starts_with("runs/") {
            true => (Self::State, Self::StateCommit),
            false => (Self::Object, Self::Commit),
        }
    }
}

/// 32 bytes of key and 7 bytes of nonce prefix, zeroed on drop.
pub struct DerivedKey {
    /// AES-256 key.
    pub key: Zeroizing<[u8; 32]>,
    /// First 7 bytes of every nonce of the object.
    pub prefix: [u8; 7],
}

impl std::fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DerivedKey(redacted)")
    }
}

/// Salt of the derivations that have none: 32 zero bytes, which is also HKDF's own default.
pub(super) const NO_SALT: [u8; 32] = [0; 32];

/// HKDF-SHA256(secret, salt, `restow/1/` kind 0x00 repository-id path).
pub(super) fn derive<const N: usize>(
    secret: &[u8; 32],
    salt: &[u8; 32],
    kind: Kind,
    id: &RepositoryId,
    path: &str,
) -> Result<Zeroizing<[u8; N]>, KeyError> {
    let mut out = Zeroizing::new([0; N]);
    Hkdf::<Sha256>::new(Some(salt), secret)
        .expand_multi_info(&[b"restow/1/", kind.name().as_bytes(), &[0], id.as_bytes(), path.as_bytes()], &mut *out)
        .map_err(|_| KeyError::Internal { what: "hkdf" })?;
    Ok(out)
}

/// 39 bytes of [`derive`], split into key and nonce prefix.
pub(super) fn derive_key(
    secret: &[u8; 32],
    salt: &[u8; 32],
    kind: Kind,
    id: &RepositoryId,
    path: &str,
) -> Result<DerivedKey, KeyError> {
    let okm = derive::<39>(secret, salt, kind, id, path)?;
    let mut derived = DerivedKey { key: Zeroizing::new([0; 32]), prefix: [0; 7] };
    for (to, from) in derived.key.iter_mut().chain(derived.prefix.iter_mut()).zip(okm.iter()) {
        *to = *from;
    }
    Ok(derived)
}

/// HMAC-SHA256 of the bytes.
pub(super) fn hmac_sha256(key: &[u8; 32], bytes: &[u8]) -> [u8; 32] {
    hmac_of(key, bytes).finalize().into_bytes().into()
}

/// Compares an HMAC-SHA256 in constant time.
pub(super) fn hmac_matches(key: &[u8; 32], bytes: &[u8], expected: &[u8; 32]) -> bool {
    hmac_of(key, bytes).verify_slice(expected).is_ok()
}

fn hmac_of(key: &[u8; 32], bytes: &[u8]) -> Hmac<Sha256> {
    // RFC 2104: a key is padded with zeros to the block of 64 bytes, so this is the HMAC of the 32-byte key.
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    block.zeroize();
    mac.update(bytes);
    mac
}

/// SHA-256 of the bytes.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

//! Secrets in memory: zeroed on drop, never printed.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::KeyError;

/// What every key text begins with: "restow key, version 1".
pub const KEY_PREFIX: &str = "rsk1_";
/// Characters of base64url, without padding, for 32 bytes.
const KEY_TEXT: usize = 43;

/// What opens a keyring: the 32 bytes of a key, or a passphrase.
#[derive(Clone, Debug)]
pub enum Unlocker {
    /// A `rsk1_` key: the repository's own, or its recovery key.
    Key(RepositoryKey),
    /// A passphrase, taken byte by byte as it was given.
    Passphrase(Passphrase),
}

impl Unlocker {
    /// Whether both are the same secret, compared in constant time.
    pub fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Key(a), Self::Key(b)) => a.0.ct_eq(&b.0).into(),
            (Self::Passphrase(a), Self::Passphrase(b)) => a.0.as_bytes().ct_eq(b.0.as_bytes()).into(),
            _ => false,
        }
    }
}

/// A master key: 32 random bytes that live only wrapped in the keyring. One an epoch.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey(pub(super) [u8; 32]);

/// The user's key: 32 bytes from which the key encryption keys of the slots are derived.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RepositoryKey(pub(super) [u8; 32]);

/// A passphrase; argon2id makes 32 bytes of it, per slot.
#[derive(Clone)]
pub struct Passphrase(pub(super) Zeroizing<String>);

/// A freshly made recovery key, to be shown once and never stored by restow.
#[derive(Clone, Debug)]
pub struct RecoveryKey(pub(super) RepositoryKey);

impl MasterKey {
    pub(super) fn random() -> Result<Self, KeyError> {
        let mut key = Self([0; 32]);
        fill(&mut key.0)?;
        Ok(key)
    }

    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl RepositoryKey {
    /// A new key from the operating system's random numbers.
    pub fn random() -> Result<Self, KeyError> {
        let mut key = Self([0; 32]);
        fill(&mut key.0)?;
        Ok(key)
    }

    /// The key as the user keeps it: `rsk1_` and 43 characters.
    pub fn text(&self) -> Zeroizing<String> {
        format_key(&self.0)
    }
}

impl Passphrase {
    /// Takes a passphrase; an empty one is refused.
    pub fn new(text: Zeroizing<String>) -> Result<Self, KeyError> {
        if text.is_empty() { Err(KeyError::EmptyPassphrase) } else { Ok(Self(text)) }
    }
}

impl RecoveryKey {
    /// A new recovery key; it opens nothing before a slot is made for it.
    pub fn random() -> Result<Self, KeyError> {
        RepositoryKey::random().map(Self)
    }

    /// The key of an unlocker that is no passphrase: one that was made before, and lies in a file.
    pub fn of(unlocker: Unlocker) -> Option<Self> {
        match unlocker {
            Unlocker::Key(key) => Some(Self(key)),
            Unlocker::Passphrase(_) => None,
        }
    }

    /// The key as it is shown: `rsk1_` and 43 characters.
    pub fn text(&self) -> Zeroizing<String> {
        self.0.text()
    }

    /// The recovery key as an unlocker, to prove it before it is shown.
    pub fn unlocker(&self) -> Unlocker {
        Unlocker::Key(self.0.clone())
    }
}

/// `rsk1_` and the base64url text (RFC 4648, no padding) of 32 bytes.
pub fn format_key(key: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(KEY_PREFIX.len() + KEY_TEXT));
    text.push_str(KEY_PREFIX);
    BASE64URL_NOPAD.encode_append(key, &mut text);
    text
}

/// Reads the text of a key. `origin` (`the key`, `key file .restow/k`) goes into the error; the text never does.
/// White space around the key is ignored, so that a file may end with a line feed.
pub fn parse_key(text: &str, origin: &str) -> Result<RepositoryKey, KeyError> {
    let problem = |problem: String| KeyError::Format { origin: origin.to_owned(), problem };
    let text = text.trim();
    if text.is_empty() {
        return Err(problem("it is empty".to_owned()));
    }
    let Some(body) = text.strip_prefix(KEY_PREFIX) else {
        return Err(problem(format!("it does not begin with `{KEY_PREFIX}`")));
    };
    let count = body.chars().count();
    if count != KEY_TEXT {
        return Err(problem(format!("it has {count} characters after `{KEY_PREFIX}`, not {KEY_TEXT}")));
    }
    let Ok(decoded) = BASE64URL_NOPAD.decode(body.as_bytes()).map(Zeroizing::new) else {
        return Err(problem("it has characters that are not base64url, or stray bits at its end".to_owned()));
    };
    let Ok(bytes) = <[u8; 32]>::try_from(decoded.as_slice()) else {
        return Err(problem(format!("it stands for {} bytes, not 32", decoded.len())));
    };
    Ok(RepositoryKey(bytes))
}

/// Random bytes of the operating system.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), KeyError> {
    getrandom::fill(bytes).map_err(|source| KeyError::Random { source })
}

macro_rules! redacted {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    )*};
}
redacted!(MasterKey, RepositoryKey, Passphrase);

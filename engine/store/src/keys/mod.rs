//! Keys of an encrypted repository: where a user's secret comes from, the keyring that wraps the master keys with it,
//! and what is derived from the masters.
//!
//! Normative bytes: `schemas/repository-format.md`, headings "Keyring" and "Container". Everything here that reads a
//! file, runs a command or computes argon2id blocks: call it from `tokio::task::spawn_blocking`.

mod chain;
mod change;
mod derive;
mod error;
mod history;
mod key_file;
mod keyring;
mod material;
mod opened;
mod slot;
mod source;

pub(crate) use chain::damaged_generations;
pub use chain::{Warning, open_chain};
pub use change::{
    add_slot, create_first, remove_slot, replace_recovery_slot, replace_recovery_slot_with, rewrap_slot, rotate,
    rotate_with, rotation_replaces_recovery,
};
pub use derive::{DerivedKey, Kind};
pub use error::KeyError;
pub use history::SlotHistory;
pub use key_file::{KeyFileState, Staged};
pub use keyring::{KEYRING_FORMAT, Keyring, MAX_KEYRING_BYTES, RepositoryId};
pub use material::{KEY_PREFIX, MasterKey, Passphrase, RecoveryKey, RepositoryKey, Unlocker, format_key, parse_key};
pub use opened::Keys;
pub use slot::{Argon2Parameters, SlotInfo, SlotKind};
pub use source::KeySource;

#[cfg(test)]
mod change_tests;
#[cfg(test)]
pub(crate) mod tests;

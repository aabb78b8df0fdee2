//! What can go wrong with keys, and which exit code it stands for.

use std::path::PathBuf;

/// An error of the key sources or the keyring. No variant carries key material.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The secret opens no slot of any generation.
    #[error(
        "the key opens none of the {slots} slots of the keyring of repository {repository}; no data was changed; \
             give the key of this repository, or its recovery key"
    )]
    Wrong {
        /// Repository id, as hex.
        repository: String,
        /// Number of slots that were there to try.
        slots: usize,
    },
    /// The secret opens an older generation only.
    #[error(
        "this key was removed from the keyring of repository {repository} after generation {generation}; \
             give a key that is still in it, or the recovery key"
    )]
    Removed {
        /// Repository id, as hex.
        repository: String,
        /// Newest generation that the secret opens.
        generation: u64,
    },
    /// The repository is encrypted and no secret was given.
    #[error(
        "the repository is encrypted and no key was given; add `encrypt` or `unlock` with `key`, `key_file`, `command` or `passphrase`"
    )]
    Missing,
    /// A key file that should be there is not.
    #[error("key file {path} does not exist; put the file back, or open the repository with the recovery key \
             (a new key would not open it)", path = path.display())]
    KeyFileMissing {
        /// The file, as it was given.
        path: PathBuf,
    },
    /// A key file that may not be created without `create: true`.
    #[error("key file {path} does not exist; set `create: true` to have it made for a new repository", path = path.display())]
    KeyFileAbsent {
        /// The file, as it was given.
        path: PathBuf,
    },
    /// A key file could not be read or written.
    #[error("cannot {action} key file {path}: {source}", path = path.display())]
    KeyFile {
        /// What was tried: `read`, `create`, `sync`.
        action: &'static str,
        /// The file, as it was given.
        path: PathBuf,
        /// Cause given by the operating system.
        source: std::io::Error,
    },
    /// The key command could not be started or reported failure.
    #[error("the key command failed: {problem}; it must print one `rsk1_` key and exit with 0")]
    Command {
        /// Cause; never the output of the command.
        problem: String,
    },
    /// The text is not a key. The text itself is not repeated.
    #[error("{origin} is not a restow key: {problem}; a key is `rsk1_` and 43 characters of base64url (32 bytes)")]
    Format {
        /// Where the text came from: `the key`, `key file ...`, `the output of the key command`.
        origin: String,
        /// What was wrong with it.
        problem: String,
    },
    /// An empty passphrase.
    #[error("the passphrase is empty; an empty passphrase protects nothing")]
    EmptyPassphrase,
    /// No generation at all.
    #[error(
        "the repository has no keyring (`keys/1.json` and later are gone); restore `keys/` from a replica: without it nothing can be decrypted"
    )]
    NoKeyring,
    /// The only generations that could matter do not parse or do not match their own digest.
    #[error(
        "generation {generation} of the keyring is damaged: {problem}; restore `keys/{generation}.json` from a replica"
    )]
    Damaged {
        /// Number from the file's name.
        generation: u64,
        /// What does not hold.
        problem: String,
    },
    /// The chain of generations does not hold.
    #[error(
        "the keyring's chain of generations is broken: {problem}; nothing was written; restore `keys/` from a replica"
    )]
    ChainBroken {
        /// Every break, in one line.
        problem: String,
    },
    /// Something names a generation that is not there, or another digest of it.
    #[error(
        "the keyring was rolled back or replaced: {object} names generation {generation} ({problem}); restore `keys/` from a replica"
    )]
    RolledBack {
        /// The object that remembers more than the keyring has.
        object: String,
        /// Generation that it names.
        generation: u64,
        /// `the newest present is 2`, or that the digest differs.
        problem: String,
    },
    /// A newer format or an unknown flag.
    #[error("generation {generation} of the keyring needs a newer restow: {problem}")]
    TooNew {
        /// Number from the file's name.
        generation: u64,
        /// The version or flag.
        problem: String,
    },
    /// argon2id parameters that this program does not compute.
    #[error(
        "argon2id with {memory_kib} KiB, {passes} passes and {lanes} lanes is out of bounds \
             (8 to 262144 KiB, 1 to 16 passes, 1 to 16 lanes)"
    )]
    Argon2Bounds {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes over the memory.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// More passphrase slots than would be tried.
    #[error("the keyring has more than {limit} different passphrase slots; this is not a keyring that restow wrote")]
    TooManyPassphrases {
        /// The bound.
        limit: usize,
    },
    /// argon2id failed, in practice for want of memory.
    #[error("argon2id failed: {problem}")]
    Argon2 {
        /// Cause given by the library.
        problem: String,
    },
    /// A change of the keyring that cannot be made.
    #[error("cannot change the keyring: {problem}; nothing was changed")]
    Change {
        /// Why, and what would help.
        problem: String,
    },
    /// No master of that epoch.
    #[error("no master key of epoch {epoch}; the keyring has epochs 1 to {highest}")]
    UnknownEpoch {
        /// Epoch asked for.
        epoch: u32,
        /// Newest epoch present.
        highest: u32,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes: {source}")]
    Random {
        /// Cause.
        source: getrandom::Error,
    },
    /// A cryptographic primitive refused its input; not reachable with inputs of this program.
    #[error("internal error in {what}; please report it")]
    Internal {
        /// The primitive.
        what: &'static str,
    },
}

impl KeyError {
    /// Exit code of design section 9 that this error stands for: 12 wrong or missing key, 13 tampered or rolled back,
    /// 14 format too new, 2 a change that makes no sense, 1 anything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Wrong { .. }
            | Self::Removed { .. }
            | Self::Missing
            | Self::KeyFileMissing { .. }
            | Self::KeyFileAbsent { .. }
            | Self::KeyFile { .. }
            | Self::Command { .. }
            | Self::Format { .. }
            | Self::EmptyPassphrase => 12,
            Self::NoKeyring
            | Self::Damaged { .. }
            | Self::ChainBroken { .. }
            | Self::RolledBack { .. }
            | Self::TooManyPassphrases { .. }
            | Self::Argon2Bounds { .. }
            | Self::UnknownEpoch { .. } => 13,
            Self::TooNew { .. } => 14,
            Self::Change { .. } => 2,
            Self::Argon2 { .. } | Self::Random { .. } | Self::Internal { .. } => 1,
        }
    }
}

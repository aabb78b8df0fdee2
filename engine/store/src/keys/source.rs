//! Where a user's secret comes from.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use super::key_file::{self, KeyFileState};
use super::{KeyError, Passphrase, Unlocker, parse_key};

/// The four ways to give a secret (design section 7). References like `${secret:env:N}` are already resolved.
#[derive(Clone)]
pub enum KeySource {
    /// The key itself: `rsk1_` and base64url.
    Key(Zeroizing<String>),
    /// A file that holds the key and nothing else.
    KeyFile {
        /// The file; relative to the working directory.
        path: PathBuf,
        /// Whether a new repository may have the file made. Default false.
        create: bool,
    },
    /// A shell command that prints the key.
    Command(String),
    /// A passphrase, made into a key by argon2id.
    Passphrase(Zeroizing<String>),
}

impl KeySource {
    /// Reads the secret. Blocks: it may read a file or run a command.
    pub fn load(&self) -> Result<Unlocker, KeyError> {
        match self {
            Self::Key(text) => Ok(Unlocker::Key(parse_key(text, "the key")?)),
            Self::KeyFile { path, create } => {
                let Some(text) = key_file::read(path)? else {
                    let path = path.clone();
                    return Err(match create {
                        true => KeyError::KeyFileMissing { path },
                        false => KeyError::KeyFileAbsent { path },
                    });
                };
                Ok(Unlocker::Key(parse_key(&text, &format!("key file {}", path.display()))?))
            }
            Self::Command(command) => {
                let text = run(command)?;
                Ok(Unlocker::Key(parse_key(&text, "the output of the key command")?))
            }
            Self::Passphrase(text) => Ok(Unlocker::Passphrase(Passphrase::new(text.clone())?)),
        }
    }

    /// Makes the key file if the source asks for it and neither it nor the repository exists; syncs file and directory
    /// before it returns. A file that exists is left alone. A repository without its key file is an error: a new key
    /// would not open it.
    pub fn create_file_if_wanted(&self, repository_exists: bool) -> Result<KeyFileState, KeyError> {
        let Self::KeyFile { path, create } = self else { return Ok(KeyFileState::NoFile) };
        if key_file::exists(path)? {
            return Ok(KeyFileState::Existing);
        }
        if repository_exists {
            return Err(KeyError::KeyFileMissing { path: path.clone() });
        }
        if !create {
            return Err(KeyError::KeyFileAbsent { path: path.clone() });
        }
        key_file::create(path)
    }
}

/// Runs the command by `sh -c`. Its standard error goes where ours goes, so that it may ask; its output is never shown.
fn run(command: &str) -> Result<Zeroizing<String>, KeyError> {
    let failed = |problem: String| KeyError::Command { problem };
    let output = Command::new("sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| failed(format!("cannot start `sh`: {e}")))?;
    let stdout = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(failed(format!("{}", output.status)));
    }
    match std::str::from_utf8(&stdout) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(failed("its output is not UTF-8".to_owned())),
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(_) => f.write_str("Key(redacted)"),
            Self::KeyFile { path, create } => {
                f.debug_struct("KeyFile").field("path", path).field("create", create).finish()
            }
            // The command line may hold a token.
            Self::Command(_) => f.write_str("Command(redacted)"),
            Self::Passphrase(_) => f.write_str("Passphrase(redacted)"),
        }
    }
}

//! How a repository or an encrypted export is unlocked: the options of the `encrypt` stage and of `unlock:`.

use std::path::Path;

use restow_core::stage::{ByteStages, OpenContext, Registry};
use restow_core::{EngineError, Result};
use restow_spec::catalogue::{ComponentInfo, Kind, Problem};
use restow_spec::secret::Secret;
use restow_store::keys::KeySource;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::Value;

/// The only cipher of format 1.
pub const AES_256_GCM: &str = "aes-256-gcm";

/// Where the key comes from: exactly one of `key`, `key_file`, `command`, `passphrase`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Unlock {
    /// The key itself, `rsk1_` and 32 bytes in base64url, as a secret reference such as `${secret:env:RESTOW_KEY}`.
    pub key: Option<Secret>,
    /// A file that holds the key and nothing else. A recovery key may be given here too.
    pub key_file: Option<String>,
    /// With `key_file`: make the file (mode 0600) when file and repository are both absent. Default false.
    pub create: bool,
    /// A shell command that prints the key, for password managers.
    pub command: Option<String>,
    /// A passphrase, made into a key by argon2id, as a secret reference.
    pub passphrase: Option<Secret>,
    /// Where to write the recovery key of a new repository. Default: it is shown once.
    pub recovery_key_file: Option<String>,
}

impl Unlock {
    /// The source of the key, its secrets resolved; relative files are relative to the folder of the run.
    ///
    /// # Errors
    /// Not exactly one source is named, or a secret cannot be resolved.
    pub fn key_source(&self, context: &OpenContext) -> Result<KeySource> {
        if let Some(problem) = self.problems().into_iter().next() {
            return Err(EngineError::usage(problem.message).with_hint(problem.help.unwrap_or_default()));
        }
        let resolve = |secret: &Secret| {
            secret.resolve(context.environment.as_ref()).map_err(|error| {
                EngineError::new(restow_core::ExitClass::WrongKey, error.to_string())
                    .with_hint("set the secret that the reference names; nothing was read or written")
            })
        };
        Ok(match self {
            Self { key: Some(key), .. } => KeySource::Key(resolve(key)?),
            Self { passphrase: Some(passphrase), .. } => KeySource::Passphrase(resolve(passphrase)?),
            Self { command: Some(command), .. } => KeySource::Command(command.clone()),
            Self { key_file: Some(file), create, .. } => {
                KeySource::KeyFile { path: context.directory.join(Path::new(file)), create: *create }
            }
            _ => return Err(EngineError::usage("no key is named")),
        })
    }

    /// What is wrong with the options.
    fn problems(&self) -> Vec<Problem> {
        let named = [self.key.is_some(), self.key_file.is_some(), self.command.is_some(), self.passphrase.is_some()];
        let count = named.iter().filter(|named| **named).count();
        let mut problems = Vec::new();
        if count != 1 {
            let message =
                format!("exactly one of key, key_file, command and passphrase is needed, and {count} are given");
            problems.push(Problem::new("", message).with_help("for example { key_file: restow.key }"));
        }
        if self.create && self.key_file.is_none() {
            problems.push(Problem::new("/create", "create: true goes with key_file only"));
        }
        problems
    }
}

/// The options of the encrypt stage, where the pipeline has one.
///
/// # Errors
/// The options are of another shape.
pub fn of_stage(bytes: &ByteStages) -> Result<Option<Unlock>> {
    bytes
        .encrypt
        .as_ref()
        .map(|component| {
            component
                .typed::<Unlock>()
                .map_err(|problem| EngineError::usage(problem.message).at(component.pointer.clone()))
        })
        .transpose()
}

/// The pure check of unlock options, for lint.
pub fn check(options: &Value) -> Vec<Problem> {
    match Unlock::deserialize(options) {
        Ok(unlock) => unlock.problems(),
        Err(error) => vec![Problem::new("", error.to_string())],
    }
}

/// Adds the encrypt stage to the registry.
pub fn register(registry: &mut Registry) {
    registry.add_options(ComponentInfo {
        kind: Kind::Encrypt,
        name: AES_256_GCM,
        summary: "AES-256-GCM in chunks, a key for every object; the key opens the repository, a recovery key too",
        example: "key_file: restow.key\ncreate: true\n",
        schema: schema_for!(Unlock),
        byte_sink: false,
        codecs: None,
        verifies: &[],
        bytes_source: false,
        check,
    });
}

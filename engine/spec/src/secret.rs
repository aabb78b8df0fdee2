//! Secrets by reference. A pipeline never holds a secret, only where to find it.

use std::borrow::Cow;
use std::fmt;
use std::process::{Command, Stdio};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use zeroize::Zeroizing;

use crate::environment::Environment;

/// Why a secret reference could not be read or resolved. No message holds any part of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The text of a secret field is not a reference.
    #[error(
        "a secret must be a reference, not the secret itself: write \"${{secret:env:NAME}}\", \"${{secret:file:PATH}}\" or \"${{secret:exec:COMMAND}}\""
    )]
    Literal,
    /// The reference names no known place.
    #[error("unknown secret backend {0:?}: use env, file or exec")]
    UnknownBackend(String),
    /// The reference names a backend but nothing in it.
    #[error("the secret reference {0:?} names nothing")]
    Empty(String),
    /// An environment variable is not set.
    #[error("environment variable {0} is not set: export it, or change the secret reference")]
    NotSet(String),
    /// A file could not be read.
    #[error("secret file {path:?} cannot be read: {reason}")]
    File {
        /// The path as written in the pipeline.
        path: String,
        /// The system's reason.
        reason: String,
    },
    /// A command could not be started.
    #[error("secret command {program:?} cannot be started: {reason}")]
    Start {
        /// The program, without its arguments.
        program: String,
        /// The system's reason.
        reason: String,
    },
    /// A command ended with a failure.
    #[error("secret command {program:?} ended with {status}: run it by hand to see why")]
    Failed {
        /// The program, without its arguments.
        program: String,
        /// How it ended.
        status: String,
    },
    /// A command line has an open quote.
    #[error("secret command has an open quote: {0:?}")]
    Quote(String),
    /// What was found is not text.
    #[error("the secret behind {0:?} is not valid UTF-8")]
    NotText(String),
    /// What was found is empty.
    #[error("the secret behind {0:?} is empty")]
    Nothing(String),
}

/// A reference to a secret: `${secret:env:NAME}`, `${secret:file:PATH}` or `${secret:exec:COMMAND ARGUMENTS}`.
///
/// It has neither `Display` nor `Serialize`, and `Debug` prints only the kind of the reference. Two secrets are equal
/// where their references are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret {
    reference: String,
    backend: Backend,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Backend {
    Env(String),
    File(String),
    Exec(String),
}

impl Secret {
    /// Reads a whole reference, `${secret:...}`.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let inner = reference_body(text).ok_or(SecretError::Literal)?;
        let (backend, argument) = inner.split_once(':').unwrap_or((inner, ""));
        if !matches!(backend, "env" | "file" | "exec") {
            return Err(SecretError::UnknownBackend(backend.into()));
        }
        if argument.trim().is_empty() {
            return Err(SecretError::Empty(text.into()));
        }
        let backend = match backend {
            "env" => Backend::Env(argument.trim().into()),
            "file" => Backend::File(argument.into()),
            _ => {
                split_command(argument)?;
                Backend::Exec(argument.into())
            }
        };
        Ok(Self { reference: text.into(), backend })
    }

    /// The reference as written, such as `${secret:env:RESTOW_KEY}`.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// Fetches the secret. One line end at the end of a file or of a command's output is not part of it.
    ///
    /// # Errors
    /// Where nothing is found, or what is found is empty or no text.
    pub fn resolve(&self, env: &dyn Environment) -> Result<Zeroizing<String>, SecretError> {
        let found = match &self.backend {
            Backend::Env(name) => Zeroizing::new(env.get(name).ok_or_else(|| SecretError::NotSet(name.clone()))?),
            Backend::File(path) => {
                let bytes = std::fs::read(path)
                    .map_err(|error| SecretError::File { path: path.clone(), reason: error.to_string() })?;
                self.text(Zeroizing::new(bytes))?
            }
            Backend::Exec(command) => self.text(run(command)?)?,
        };
        if found.is_empty() {
            return Err(SecretError::Nothing(self.reference.clone()));
        }
        Ok(found)
    }

    fn text(&self, bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, SecretError> {
        let text = std::str::from_utf8(&bytes).map_err(|_| SecretError::NotText(self.reference.clone()))?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        Ok(Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned()))
    }
}

/// The part after `${secret:` where the whole text is one secret reference.
pub(crate) fn reference_body(text: &str) -> Option<&str> {
    text.strip_prefix("${secret:")?.strip_suffix('}')
}

fn run(command: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let words = split_command(command)?;
    let Some((program, arguments)) = words.split_first() else {
        return Err(SecretError::Empty(command.into()));
    };
    // The command's complaints may quote the secret, so they are not shown.
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| SecretError::Start { program: program.clone(), reason: error.to_string() })?;
    let stdout = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(SecretError::Failed { program: program.clone(), status: output.status.to_string() });
    }
    Ok(stdout)
}

/// Splits at spaces; single and double quotes keep spaces. No shell is involved and nothing is expanded.
fn split_command(command: &str) -> Result<Vec<String>, SecretError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for letter in command.chars() {
        match quote {
            Some(open) if letter == open => quote = None,
            Some(_) => word.get_or_insert_default().push(letter),
            None if letter == '\'' || letter == '"' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err(SecretError::Quote(command.into()));
    }
    words.extend(word);
    Ok(words)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.backend {
            Backend::Env(_) => "Secret(env)",
            Backend::File(_) => "Secret(file)",
            Backend::Exec(_) => "Secret(exec)",
        })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "secret" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn debug_shows_the_kind_only() {
        let secret = Secret::parse("${secret:env:RESTOW_KEY}").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(env)");
        assert_eq!(secret.reference(), "${secret:env:RESTOW_KEY}");
    }

    #[test]
    fn a_literal_is_refused_without_being_repeated() {
        let error = serde_json::from_str::<Secret>("\"hunter2\"").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(error.starts_with("a secret must be a reference"), "{error}");
    }

    #[test]
    fn the_three_backends() {
        let env = BTreeMap::from([("K".to_owned(), "v".to_owned())]);
        assert_eq!(*Secret::parse("${secret:env:K}").unwrap().resolve(&env).unwrap(), "v");
        let missing = Secret::parse("${secret:env:L}").unwrap().resolve(&env).unwrap_err();
        assert_eq!(missing.to_string(), "environment variable L is not set: export it, or change the secret reference");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "from file\n").unwrap();
        let secret = Secret::parse(&format!("${{secret:file:{}}}", path.display())).unwrap();
        assert_eq!(*secret.resolve(&env).unwrap(), "from file");
        let secret = Secret::parse("${secret:exec:printf '%s\\n' 'two words'}").unwrap();
        assert_eq!(*secret.resolve(&env).unwrap(), "two words");
        assert!(matches!(
            Secret::parse("${secret:exec:false}").unwrap().resolve(&env),
            Err(SecretError::Failed { .. })
        ));
    }

    #[test]
    fn malformed_references() {
        assert!(matches!(Secret::parse("${secret:vault:x}"), Err(SecretError::UnknownBackend(_))));
        assert!(matches!(Secret::parse("${secret:env:}"), Err(SecretError::Empty(_))));
        assert!(matches!(Secret::parse("${secret:exec:a 'b}"), Err(SecretError::Quote(_))));
    }
}

//! Secrets that are given to be put into a keyring, or to be wrapped again.

use std::path::Path;

use restow_spec::secret::Secret;
use restow_store::keys::KeySource;
use zeroize::Zeroizing;

use crate::app::App;
use crate::args::{NewSecretArgs, OtherSecretsArgs};
use crate::ask;
use crate::error::CliError;

/// The new secret, where one is given; a passphrase may be asked for.
pub fn new_secret(app: &App, arguments: &NewSecretArgs) -> Result<Option<KeySource>, CliError> {
    if let Some(path) = &arguments.new_key_file {
        if !arguments.create {
            existing(path, "add --create to have it made")?;
        }
        return Ok(Some(KeySource::KeyFile { path: path.clone(), create: arguments.create }));
    }
    if let Some(name) = &arguments.new_key_env {
        return variable(app, name).map(Some);
    }
    if let Some(path) = &arguments.new_passphrase_file {
        return passphrase(app, path).map(Some);
    }
    if let Some(command) = &arguments.new_command {
        return Ok(Some(KeySource::Command(command.clone())));
    }
    match arguments.new_passphrase {
        true => asked().map(Some),
        false => Ok(None),
    }
}

/// The secrets of the other slots.
pub fn other_secrets(app: &App, arguments: &OtherSecretsArgs) -> Result<Vec<KeySource>, CliError> {
    let mut secrets = Vec::new();
    for path in &arguments.other_key_file {
        existing(path, "name the file with the key")?;
        secrets.push(KeySource::KeyFile { path: path.clone(), create: false });
    }
    for name in &arguments.other_key_env {
        secrets.push(variable(app, name)?);
    }
    for path in &arguments.other_passphrase_file {
        secrets.push(passphrase(app, path)?);
    }
    secrets.extend(arguments.other_command.iter().cloned().map(KeySource::Command));
    Ok(secrets)
}

fn existing(path: &Path, hint: &str) -> Result<(), CliError> {
    match path.try_exists() {
        Ok(false) => Err(CliError::NotFound {
            message: format!("key file {} does not exist; nothing was changed", path.display()),
            hint: hint.to_owned(),
        }),
        // What cannot be looked at is told by whoever reads it.
        _ => Ok(()),
    }
}

fn variable(app: &App, name: &str) -> Result<KeySource, CliError> {
    match app.environment.get(name).filter(|value| !value.is_empty()) {
        Some(value) => Ok(KeySource::Key(Zeroizing::new(value))),
        None => {
            let message = format!("the environment variable {name} is not set; nothing was changed");
            Err(CliError::usage(message, "export it, or give the key in another way"))
        }
    }
}

/// The passphrase in a file, read by the same rule as by which it opens the repository later.
fn passphrase(app: &App, path: &Path) -> Result<KeySource, CliError> {
    let read = Secret::parse(&format!("${{secret:file:{}}}", path.display()))
        .and_then(|secret| secret.resolve(app.environment.as_ref()));
    read.map(KeySource::Passphrase)
        .map_err(|error| CliError::usage(format!("{error}; nothing was changed"), "name the file with the passphrase"))
}

fn asked() -> Result<KeySource, CliError> {
    if !ask::has_terminal() {
        let message = "a passphrase cannot be asked for without a terminal; nothing was changed";
        return Err(CliError::usage(message, "give --new-passphrase-file FILE"));
    }
    let first = ask::secret("new passphrase: ")?;
    let second = ask::secret("the same again: ")?;
    match (first.is_empty(), first == second) {
        (true, _) => Err(CliError::usage("the passphrase is empty; nothing was changed", "type one")),
        (_, false) => Err(CliError::usage("the two passphrases differ; nothing was changed", "type the same twice")),
        _ => Ok(KeySource::Passphrase(first)),
    }
}

//! `restow repository create` and `info`.

use std::sync::Arc;

use restow_store::keys::{KeySource, RecoveryKey};
use restow_store::repository::{CreateOptions, FORMAT, RecoveryOutput, Repository};
use serde_json::json;
use zeroize::Zeroizing;

use super::target::Target;
use crate::app::App;
use crate::args::{RepositoryArgs, RepositoryCreateArgs, RepositoryInfoArgs};
use crate::console::Console;
use crate::context::KEY_VARIABLE;
use crate::error::CliError;
use crate::exit;
use crate::interrupt::interruptible;
use crate::render::number::{bytes, grouped};

/// Makes a repository.
pub async fn create(app: &App, arguments: &RepositoryCreateArgs) -> Result<u8, CliError> {
    let target = Target::at(app, &arguments.url, None);
    let location = target.location()?;
    let encryption = key_source(app, arguments);
    let encrypted = encryption.is_some();
    if !encrypted && arguments.recovery_key_file.is_some() {
        let hint = format!("give --key-file, or set {KEY_VARIABLE}");
        return Err(CliError::usage("--recovery-key-file goes with an encrypted repository", hint));
    }
    let recovery = match &arguments.recovery_key_file {
        Some(file) => RecoveryOutput::File(file.clone()),
        None => {
            let console = app.console.clone();
            RecoveryOutput::With(Arc::new(move |key| show_recovery_key(&console, key)))
        }
    };
    let made = Repository::create(location, CreateOptions { encryption, recovery });
    let safe = "there is no repository unless it was finished; what exists is used when the command is run again";
    let made = interruptible(async { Ok(made.await?) }, safe, "run the same command again").await?;
    if let Some(file) = &made.key_file_created {
        app.console.warn(&format!(
            "made the key file {}; without it or the recovery key nothing in this repository can ever be read: keep a copy elsewhere",
            file.display()
        ));
    }
    if let Some(file) = &arguments.recovery_key_file {
        app.console.warn(&format!("wrote the recovery key to {}; keep it apart from the key", file.display()));
    }
    let repository = made.repository;
    let kind = if encrypted { "encrypted" } else { "plain" };
    if !encrypted {
        let text = format!(
            "the repository is not encrypted, and never will be; to encrypt one, make it with --key-file or {KEY_VARIABLE}"
        );
        app.console.warn(&text);
    }
    let value = json!({
        "url": repository.location().url, "id": repository.id().to_string(), "encrypted": encrypted, "format": FORMAT,
    });
    app.console.summarise(&value);
    if !app.console.is_json() {
        app.console.data(&format!("made the {kind} repository {} (id {})", repository.location().url, repository.id()));
    }
    Ok(exit::DONE)
}

fn key_source(app: &App, arguments: &RepositoryCreateArgs) -> Option<KeySource> {
    if let Some(path) = &arguments.key_file {
        return Some(KeySource::KeyFile { path: path.clone(), create: arguments.create_key });
    }
    let key = app.environment.get(KEY_VARIABLE).filter(|key| !key.is_empty())?;
    app.console.note(&format!("using the key in {KEY_VARIABLE}"));
    Some(KeySource::Key(Zeroizing::new(key)))
}

/// Shows a recovery key, which is in no other place: before the repository exists, so that no crash can lose it, or after
/// a change of the keyring.
pub(super) fn show_recovery_key(console: &Console, key: &RecoveryKey) {
    let text = key.text();
    if console.is_json() {
        console.record("recovery_key", &json!({ "recovery_key": text.as_str() }));
    } else {
        console.warn(&format!("recovery key, shown only now: {}\nit opens the repository where the key is lost; keep it apart from the key", text.as_str()));
    }
}

/// Shows what a repository is.
pub async fn info(app: &App, arguments: &RepositoryInfoArgs) -> Result<u8, CliError> {
    let named = RepositoryArgs {
        repository: arguments.url.clone(),
        key_file: arguments.key_file.clone(),
        passphrase_file: arguments.passphrase_file.clone(),
    };
    let mut target = Target::of(app, &named)?;
    let repository = target.open(app).await?;
    let snapshots = if repository.location().lists { Some(repository.snapshots().await?) } else { None };
    let count = snapshots.as_ref().map(Vec::len);
    let stored: Option<u64> = snapshots.as_ref().map(|all| all.iter().map(|snapshot| snapshot.stored_bytes).sum());
    let keys = repository.keys();
    let value = json!({
        "url": repository.location().url,
        "id": repository.id().to_string(),
        "format": FORMAT,
        "encrypted": repository.is_encrypted(),
        "keyring_generation": keys.map(restow_store::keys::Keys::generation),
        "key_epoch": keys.map(restow_store::keys::Keys::epoch),
        "writable": repository.location().writable,
        "lists": repository.location().lists,
        "snapshots": count,
        "stored_bytes": stored,
        "warnings": repository.warnings(),
    });
    app.console.result("repository", &value, || {
        let encryption = match keys {
            Some(keys) => format!("AES-256-GCM, keyring generation {}, epoch {}", keys.generation(), keys.epoch()),
            None => "none".to_owned(),
        };
        let snapshots = match (count, stored) {
            (Some(count), Some(stored)) => format!("{}, {} stored", grouped(count as u64), bytes(stored)),
            _ => "unknown: the store does not list".to_owned(),
        };
        let access = if repository.location().writable { "read and write" } else { "read only" };
        format!(
            "repository   {}\nid           {}\nformat       {FORMAT}\nencryption   {encryption}\nsnapshots    {snapshots}\nstore        {access}\n",
            repository.location().url,
            repository.id(),
        )
    });
    Ok(exit::DONE)
}

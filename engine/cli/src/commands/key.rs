//! `restow key`: what opens an encrypted repository.

use std::path::Path;

use restow_store::keys::{self, KeySource, SlotKind};
use restow_store::repository::{KeyChange, KeySlot, RecoveryOutput, RecoveryState, Repository, RepositoryError};
use serde_json::{Value, json};

use super::repository::show_recovery_key;
use super::secret::{new_secret, other_secrets};
use super::target::Target;
use super::{ONLY_READ, reading};
use crate::app::App;
use crate::args::{
    KeyAddArgs, KeyCommand, KeyListArgs, KeyRecoveryArgs, KeyRemoveArgs, KeyRewrapArgs, KeyRotateArgs, RepositoryArgs,
};
use crate::ask;
use crate::error::CliError;
use crate::exit;
use crate::interrupt::interruptible;
use crate::render::table::Table;

/// What an interrupted change leaves: it is one object.
const SAFE: &str = "the keyring was changed whole or not at all, and no data was changed; `restow key list` tells";
/// What a removal cannot do.
const STILL_OPENS: &str = "whoever kept an old keyring file (keys/*.json, also in copies of the repository) and that secret \
still opens what exists; `restow key rotate` encrypts what is written from then on under a new master key";

/// Runs one of the commands.
pub async fn key(app: &App, command: &KeyCommand) -> Result<u8, CliError> {
    match command {
        KeyCommand::List(arguments) => reading(list(app, arguments)).await,
        KeyCommand::Add(arguments) => add(app, arguments).await,
        KeyCommand::Remove(arguments) => remove(app, arguments).await,
        KeyCommand::Rotate(arguments) => rotate(app, arguments).await,
        KeyCommand::Rewrap(arguments) => rewrap(app, arguments).await,
        KeyCommand::Recovery(arguments) => recovery(app, arguments).await,
    }
}

/// An encrypted repository and what opened it.
struct Opened {
    repository: Repository,
    unlock: KeySource,
}

async fn open(app: &App, arguments: &RepositoryArgs) -> Result<Opened, CliError> {
    let mut target = Target::of(app, arguments)?;
    let repository = target.open(app).await?;
    match target.key_source()? {
        Some(unlock) if repository.is_encrypted() => Ok(Opened { repository, unlock }),
        _ => Err(RepositoryError::NoKeys { url: repository.location().url.clone() }.into()),
    }
}

async fn changing<T>(work: impl Future<Output = Result<T, RepositoryError>>) -> Result<T, CliError> {
    interruptible(async { Ok(work.await?) }, SAFE, "").await
}

async fn opening(app: &App, arguments: &RepositoryArgs) -> Result<Opened, CliError> {
    interruptible(open(app, arguments), ONLY_READ, "").await
}

async fn list(app: &App, arguments: &KeyListArgs) -> Result<u8, CliError> {
    let Opened { repository, .. } = open(app, &arguments.repository).await?;
    let slots = repository.key_slots().await?;
    let recovery = repository.recovery_state().await?;
    if app.console.is_json() {
        slots.iter().for_each(|slot| app.console.record("key", &slot_value(slot, &recovery)));
    } else {
        app.console.raw(slot_table(&slots, &recovery).as_bytes());
    }
    let mut summary = keyring_value(&repository);
    if let Value::Object(members) = &mut summary {
        members.insert("slots".to_owned(), slots.len().into());
    }
    app.console.summarise(&summary);
    Ok(exit::DONE)
}

fn keyring_value(repository: &Repository) -> Value {
    let keys = repository.keys();
    json!({
        "repository": repository.location().url,
        "generation": keys.map(keys::Keys::generation),
        "epoch": keys.map(keys::Keys::epoch),
    })
}

fn slot_value(slot: &KeySlot, recovery: &RecoveryState) -> Value {
    let tried = match (slot.slot.info.kind, recovery) {
        (SlotKind::Recovery, RecoveryState::Proven { at, .. }) => json!({ "proven": at }),
        (SlotKind::Recovery, _) => json!({ "proven": null }),
        _ => Value::Null,
    };
    json!({
        "slot": slot.slot.info.id,
        "kind": slot.slot.info.kind,
        "created": slot.created,
        "added_generation": slot.slot.added,
        "generation": slot.slot.wrapped,
        "epochs": slot.slot.epochs,
        "argon2id": slot.slot.argon2id,
        "opened": slot.opened,
        "recovery": tried,
    })
}

fn slot_table(slots: &[KeySlot], recovery: &RecoveryState) -> String {
    let mut table = Table::new(&["slot", "kind", "created (UTC)", ">generation", "epochs", "notes"]);
    for slot in slots {
        let created = slot.created.map(|at| at.format("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default();
        let epochs = match slot.slot.epochs {
            1 => "1".to_owned(),
            newest => format!("1 to {newest}"),
        };
        let tried = match (slot.slot.info.kind, recovery) {
            (SlotKind::Recovery, RecoveryState::Proven { at, .. }) => Some(format!("worked {}", at.format("%Y-%m-%d"))),
            (SlotKind::Recovery, _) => Some("never tried".to_owned()),
            _ => None,
        };
        let opened = slot.opened.then(|| "opened this".to_owned());
        table.row([
            slot.slot.info.id.to_string(),
            slot.slot.info.kind.to_string(),
            created,
            slot.slot.wrapped.to_string(),
            epochs,
            opened.into_iter().chain(tried).collect::<Vec<_>>().join(", "),
        ]);
    }
    table.render()
}

async fn add(app: &App, arguments: &KeyAddArgs) -> Result<u8, CliError> {
    let Some(new) = new_secret(app, &arguments.new)? else {
        let hint = "give --new-key-file FILE [--create], --new-key-env NAME, --new-passphrase, --new-passphrase-file FILE or --new-command COMMAND";
        return Err(CliError::usage("no new key is given; nothing was changed", hint));
    };
    let Opened { repository, unlock } = opening(app, &arguments.repository).await?;
    let made = changing(repository.add_key(&unlock, &new)).await?;
    report(app, &made, "added");
    Ok(exit::DONE)
}

async fn remove(app: &App, arguments: &KeyRemoveArgs) -> Result<u8, CliError> {
    let Opened { repository, unlock } = opening(app, &arguments.repository).await?;
    let url = repository.location().url.clone();
    let slot = arguments.slot;
    let slots = repository.keys().map(|keys| keys.keyring().slots()).unwrap_or_default();
    let Some(info) = slots.iter().find(|of| of.id == slot) else {
        let message = format!("the keyring of {url} has no slot {slot}; nothing was changed");
        return Err(CliError::NotFound { message, hint: "`restow key list` shows the slots".into() });
    };
    // The change itself is made twice: what it refuses is told before anybody is asked.
    if let Some(Err(error)) = repository.keys().map(|keys| keys::remove_slot(keys, slot)) {
        return Err(CliError::Refused { message: error.to_string(), hint: String::new() });
    }
    let left = slots.iter().filter(|of| of.id != slot).map(|of| format!("{} ({})", of.id, of.kind));
    let left = left.collect::<Vec<_>>().join(", ");
    app.console.note(&format!("slot {slot} ({}) of {url} will be removed; what opens it then: {left}", info.kind));
    if arguments.dry_run {
        app.console.note("nothing was changed: --dry-run");
        return Ok(exit::DONE);
    }
    ask::agree(&format!("remove slot {slot} ({}) of {url}", info.kind), arguments.yes)?;
    let made = changing(repository.remove_key(&unlock, slot)).await?;
    report(app, &made, "removed");
    app.console.warn(&format!("the removed secret opens the repository no more; but {STILL_OPENS}"));
    Ok(exit::DONE)
}

async fn rotate(app: &App, arguments: &KeyRotateArgs) -> Result<u8, CliError> {
    let others = other_secrets(app, &arguments.others)?;
    let Opened { repository, unlock } = opening(app, &arguments.repository).await?;
    let output = recovery_output(arguments.recovery_key_file.as_deref());
    let change = changing(repository.rotate_keys(&unlock, &others, &output)).await;
    let made = told(app, change, arguments.recovery_key_file.as_deref())?;
    let epoch = made.repository.keys().map(keys::Keys::epoch).unwrap_or_default();
    let url = &made.repository.location().url;
    app.console.summarise(&keyring_value(&made.repository));
    if !app.console.is_json() {
        app.console.data(&format!(
            "rotated the keys of {url}: new data is encrypted under epoch {epoch}, what exists stays readable"
        ));
    }
    app.console.note("runs that have begun go on under the epoch that they began with");
    tell_recovery(app, &made, arguments.recovery_key_file.as_deref());
    Ok(exit::DONE)
}

async fn rewrap(app: &App, arguments: &KeyRewrapArgs) -> Result<u8, CliError> {
    let new = new_secret(app, &arguments.new)?;
    let Opened { repository, unlock } = opening(app, &arguments.repository).await?;
    let own = repository.keys().map(|keys| keys.opened_by().id);
    let slot = arguments.slot.or(own).unwrap_or_default();
    if new.is_none() && Some(slot) != own {
        let message = format!(
            "slot {slot} is not the one that the given key opens, and no new key is given; nothing was changed"
        );
        return Err(CliError::usage(message, "give the new secret of the slot, such as --new-passphrase-file FILE"));
    }
    let made = changing(repository.rewrap_key(&unlock, slot, new.as_ref())).await?;
    report(app, &made, "rewrapped");
    if new.is_some() {
        app.console.warn(&format!("the secret before opens the slot no more; but {STILL_OPENS}"));
    }
    Ok(exit::DONE)
}

async fn recovery(app: &App, arguments: &KeyRecoveryArgs) -> Result<u8, CliError> {
    let Opened { repository, unlock } = opening(app, &arguments.repository).await?;
    let url = repository.location().url.clone();
    let slots = repository.keys().map(|keys| keys.keyring().slots()).unwrap_or_default();
    let old = slots.iter().find(|slot| slot.kind == SlotKind::Recovery);
    if let Some(old) = old {
        app.console.note(&format!("the recovery key of slot {} of {url} will be replaced and open it no more", old.id));
    }
    if arguments.dry_run {
        app.console.note("nothing was changed: --dry-run");
        return Ok(exit::DONE);
    }
    if old.is_some() {
        ask::agree(&format!("replace the recovery key of {url}"), arguments.yes)?;
    }
    let output = recovery_output(arguments.recovery_key_file.as_deref());
    let change = changing(repository.replace_recovery_key(&unlock, &output)).await;
    let made = told(app, change, arguments.recovery_key_file.as_deref())?;
    report(app, &made, "made");
    tell_recovery(app, &made, arguments.recovery_key_file.as_deref());
    Ok(exit::DONE)
}

fn recovery_output(file: Option<&Path>) -> RecoveryOutput {
    file.map_or(RecoveryOutput::Show, |file| RecoveryOutput::File(file.to_owned()))
}

/// Where a change failed or was interrupted after the file was written, nobody must trust that file.
fn told(app: &App, change: Result<KeyChange, CliError>, file: Option<&Path>) -> Result<KeyChange, CliError> {
    let exists = matches!(change, Err(CliError::Repository(RepositoryError::RecoveryFile { .. })));
    if let (Err(_), Some(file), false) = (&change, file.filter(|file| file.exists()), exists) {
        app.console.warn(&format!(
            "{} holds a recovery key that counts only if the change was made: try it before you rely on it, and keep the one before",
            file.display()
        ));
    }
    change
}

/// Shows the new recovery key, or says where it is.
fn tell_recovery(app: &App, made: &KeyChange, file: Option<&Path>) {
    if !made.recovery_replaced {
        let slots = made.repository.keys().map(|keys| keys.keyring().slots()).unwrap_or_default();
        return match slots.iter().any(|slot| slot.kind == SlotKind::Recovery) {
            true => app.console.note("the recovery key stays what it was"),
            false => app.console.warn("there is no recovery key; `restow key recovery` makes one"),
        };
    }
    match (&made.recovery_key, file) {
        (Some(key), _) => show_recovery_key(&app.console, key),
        (None, Some(file)) => app.console.warn(&format!(
            "wrote the new recovery key to {}; keep it apart from the key, and try it once: \
             `restow doctor --key-file {}`; the one before opens the repository no more",
            file.display(),
            file.display()
        )),
        (None, None) => {}
    }
}

/// Says what was done to a slot.
fn report(app: &App, made: &KeyChange, done: &str) {
    if let Some(file) = &made.key_file_created {
        app.console.warn(&format!("made the key file {}; keep a copy elsewhere", file.display()));
    }
    let mut summary = keyring_value(&made.repository);
    let Some(slot) = made.slot else { return app.console.summarise(&summary) };
    if let Value::Object(members) = &mut summary {
        members.insert("slot".to_owned(), slot.id.into());
        members.insert("kind".to_owned(), slot.kind.to_string().into());
    }
    app.console.summarise(&summary);
    if !app.console.is_json() {
        let generation = made.repository.keys().map(keys::Keys::generation).unwrap_or_default();
        let url = &made.repository.location().url;
        let text = format!("{done} slot {} ({}) of {url}, generation {generation} of its keyring", slot.id, slot.kind);
        app.console.data(&text);
    }
}

#[cfg(test)]
mod tests {
    use restow_store::keys::{SlotHistory, SlotInfo};

    use super::*;

    fn slot(id: u32, kind: SlotKind, opened: bool) -> KeySlot {
        let info = SlotInfo { id, kind };
        let slot = SlotHistory { info, mark: String::new(), epochs: 2, argon2id: None, added: 1, wrapped: 3 };
        KeySlot { slot, created: None, opened }
    }

    #[test]
    fn slots_as_a_table_and_as_json() {
        let slots = [slot(1, SlotKind::Key, true), slot(2, SlotKind::Recovery, false)];
        let state = RecoveryState::Untried { slot: 2 };
        let text = slot_table(&slots, &state);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert!(lines[0].contains("key") && lines[0].ends_with("1 to 2  opened this"), "{text}");
        assert!(lines[1].ends_with("never tried"), "{text}");
        let value = slot_value(&slots[1], &state);
        assert_eq!((&value["kind"], &value["recovery"]["proven"]), (&"recovery".into(), &Value::Null));
        assert!(slot_value(&slots[0], &state)["recovery"].is_null());
    }
}

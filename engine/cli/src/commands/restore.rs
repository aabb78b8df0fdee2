//! `restow restore`: the worst day. No pipeline, no settings, no catalog.

use std::fmt::Write;
use std::sync::Arc;

use restow_spec::catalogue::Kind;
use restow_store::repository::{Manifest, Repository, SnapshotId, SnapshotStatus};
use serde_json::Value;

use super::catalog::snapshot_table;
use super::shorthand::{self, Database, quoted};
use super::target::Target;
use crate::app::App;
use crate::args::RestoreArgs;
use crate::ask;
use crate::error::CliError;
use crate::interrupt::interruptible;
use crate::render::number::{bytes, counted};

/// The name of the pipeline in messages, since there is no file.
const FILE: &str = "restore.yaml";

/// Lists the snapshots, shows what would be written, asks, and restores.
pub async fn restore(app: &App, arguments: &RestoreArgs) -> Result<u8, CliError> {
    let mut target = Target::at(app, &arguments.url, arguments.key_file.as_deref());
    if let Some(file) = &arguments.passphrase_file {
        target = target.with_passphrase_file(file);
    }
    if arguments.print {
        target.name_key();
        let text = pipeline_text(app, &target, &arguments.snapshot, arguments)?;
        return shorthand::run(app, &text, FILE, true, Arc::clone(&target.environment)).await;
    }
    let (id, manifest) = interruptible(survey(app, &mut target, arguments), super::ONLY_READ, "").await?;
    let text = pipeline_text(app, &target, id.as_str(), arguments)?;
    agree(app, &id, &manifest, arguments)?;
    shorthand::run(app, &text, FILE, false, Arc::clone(&target.environment)).await
}

/// Opens the repository and finds the snapshot; shows what else there is, where the store can list.
async fn survey(app: &App, target: &mut Target, arguments: &RestoreArgs) -> Result<(SnapshotId, Manifest), CliError> {
    let repository: Repository = target.open(app).await?;
    if repository.location().lists {
        let snapshots = repository.snapshots().await?;
        if !app.console.is_json() && !snapshots.is_empty() {
            app.console.note(snapshot_table(&snapshots).trim_end());
            app.console.note("");
        }
    }
    let id = repository.resolve(&arguments.snapshot).await?;
    let manifest = repository.manifest(&id).await?;
    Ok((id, manifest))
}

/// Says what would be written, and asks.
fn agree(app: &App, id: &SnapshotId, manifest: &Manifest, arguments: &RestoreArgs) -> Result<(), CliError> {
    if manifest.status == SnapshotStatus::Partial && !arguments.allow_partial {
        let failed: Vec<&str> = manifest.failed.iter().map(|failed| failed.name.as_str()).collect();
        let message = format!("snapshot {id} is partial: it lacks {}; nothing was written", failed.join(", "));
        return Err(CliError::Refused {
            message,
            hint: "add --allow-partial to restore the rest, or name another --snapshot".into(),
        });
    }
    let rows: u64 = manifest.datasets.iter().map(|dataset| dataset.rows).sum();
    let mut text = format!("snapshot {id} of {}:\n", arguments.url);
    for dataset in &manifest.datasets {
        let stored: u64 = dataset.files.iter().map(|file| file.stored_bytes).sum();
        let _ = writeln!(text, "  {}: {}, {} stored", dataset.name, counted(dataset.rows, "row"), bytes(stored));
    }
    app.console.note(text.trim_end());
    let what = format!("{} of {}", counted(rows, "row"), counted(manifest.datasets.len() as u64, "dataset"));
    if arguments.yes {
        app.console.note(&format!("restoring {what} to {}", arguments.to));
        return Ok(());
    }
    if !ask::has_terminal() {
        let message = format!(
            "restoring {what} to {} needs a confirmation, and there is no terminal; nothing was written",
            arguments.to
        );
        return Err(CliError::Refused { message, hint: "add --yes".into() });
    }
    if ask::confirm(&format!("restore {what} to {}?", arguments.to))? {
        return Ok(());
    }
    Err(CliError::Refused { message: "not confirmed; nothing was written".into(), hint: String::new() })
}

/// The pipeline that the command stands for.
fn pipeline_text(app: &App, target: &Target, snapshot: &str, arguments: &RestoreArgs) -> Result<String, CliError> {
    let catalogue = app.registry.catalogue();
    let database = match Database::scheme(catalogue, Kind::Sink, &arguments.to) {
        Some(_) => Some(Database::at(app, Kind::Sink, &arguments.to, &arguments.into)?),
        None if arguments.into.is_empty() => None,
        None => {
            let message = format!("--into is for databases, and {:?} is a place for files", arguments.to);
            return Err(CliError::usage(message, "leave it out"));
        }
    };
    let mut text = format!("{}name: restore\n", shorthand::HEAD);
    if let Some(database) = &database {
        text.push_str("connections:\n");
        database.connection(&mut text, "target");
    }
    text.push_str("stages:\n");
    let _ = writeln!(text, "  - source:\n      repository:\n        url: {}", quoted(target.url()));
    let _ = writeln!(text, "        snapshot: {}", quoted(snapshot));
    if arguments.allow_partial {
        text.push_str("        allow_partial: true\n");
    }
    for (name, value) in target.unlock().and_then(Value::as_object).into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        // A reference is meant to be resolved; every other text is taken as it is.
        let value = if value.starts_with("${secret:") { Value::from(value).to_string() } else { quoted(value) };
        let _ = writeln!(text, "        unlock: {{ {name}: {value} }}");
    }
    match &database {
        Some(database) => {
            database.stage(&mut text, "target");
            database.verification(&mut text, arguments.no_verify);
        }
        None => {
            let _ = writeln!(text, "  - sink:\n      files:\n        path: {}", quoted(&arguments.to));
        }
    }
    Ok(text)
}

//! The server's own export as the reader: started, followed to its end, and read from its files.

use std::time::Duration;

use restow_core::stage::{Effects, OpenContext};
use restow_core::{EngineError, ExitClass, Result};
use restow_store::repository::SnapshotId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::client::{Client, ExportStatus, Fault};
use super::super::config::ExportReader;
use super::super::export::{Export, Folder};
use super::discover::Collection;

/// How often an export is looked at: soon at first, small ones take a second.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(2)];
/// How many times in a row the server may stay away.
const PATIENCE: usize = 60;
/// What the server says where another export runs.
const ACTIVE: &str = "already active";
/// No export has this name.
const NOBODY: &str = "restow-asks-whether-exports-are-enabled";

/// Makes exports.
#[derive(Debug)]
pub struct Exporter {
    client: Client,
    options: ExportReader,
    context: OpenContext,
}

/// An export that this program started. In the token of a run, and recorded as a side effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    backend: String,
    id: String,
    /// Where the server says that it puts it.
    #[serde(default)]
    path: String,
}

/// A recorded export.
#[derive(Debug, Serialize, Deserialize)]
struct Recorded {
    /// The address of the server.
    weaviate: String,
    export: Made,
}

impl Exporter {
    /// Asks whether the server can export at all.
    ///
    /// # Errors
    /// It cannot: it is too old, or that is not enabled.
    pub async fn new(client: &Client, options: &ExportReader, context: &OpenContext) -> Result<Self> {
        let version = &client.server().version;
        if !client.server().is_at_least(1, 37) {
            let message = format!("{}: version {version} has no export, which came with 1.37", client.name());
            return Err(EngineError::new(ExitClass::Refused, message)
                .with_hint("take `reader` out of the source: objects are then read over the API; nothing was read"));
        }
        let exporter = Self { client: client.clone(), options: options.clone(), context: context.clone() };
        if options.files.is_some() || options.connection.is_some() {
            exporter.place(NOBODY, "")?;
        }
        match client.export_status(exporter.backend(), NOBODY).await {
            Ok(_) | Err(Fault::Missing(_)) => Ok(exporter),
            Err(fault) => Err(exporter.explained(fault, "asking whether exports are enabled")),
        }
    }

    fn backend(&self) -> &'static str {
        self.options.backend.name()
    }

    /// The folder of an export.
    fn place(&self, id: &str, told: &str) -> Result<Folder> {
        let (files, connection) = (self.options.files.as_deref(), self.options.connection.as_deref());
        match (files, connection) {
            (None, None) if told.is_empty() => {
                Err(EngineError::failed(format!("{}: it does not tell where it puts exports", self.client.name()))
                    .with_hint("name the folder or bucket with `files`"))
            }
            (None, None) => Folder::open(told, None, &self.context),
            (files, connection) => Folder::open(files.unwrap_or("."), connection, &self.context)?.join(id),
        }
    }

    /// Makes an export of these collections, and opens it.
    ///
    /// # Errors
    /// The server refuses or fails, or its files cannot be reached from here.
    pub async fn make(&self, collections: &[Collection], effects: &Effects) -> Result<(Made, Export)> {
        let random = SnapshotId::generate(chrono::Utc::now())
            .map_err(|error| EngineError::failed(format!("the system gives no random numbers: {error}")))?;
        let id = format!("restow-{}", random.to_string().to_lowercase());
        let mut made = Made { backend: self.backend().to_owned(), id, path: String::new() };
        let recorded = Recorded { weaviate: self.client.address().to_owned(), export: made.clone() };
        effects.record(json!(recorded)).await?;
        let asked: Vec<String> = collections.iter().map(|collection| collection.class.name.clone()).collect();
        let started = self.start(&made, &asked).await?;
        let exported = started.classes.unwrap_or_default();
        let left_out: Vec<&str> = asked.iter().filter(|name| !exported.contains(name)).map(String::as_str).collect();
        if !left_out.is_empty() {
            let message = format!("{}: its export leaves out {}", self.client.name(), left_out.join(", "));
            return Err(EngineError::failed(message).with_hint(
                "the user of `api_key` needs the right `manage_backups` for every collection; nothing was read",
            ));
        }
        made.path = started.path;
        let folder = self.place(&made.id, &made.path)?;
        self.check_reachable(&made, &folder).await?;
        self.wait(&made).await?;
        let export = self.open(folder, collections).await?;
        Ok((made, export))
    }

    async fn start(&self, made: &Made, asked: &[String]) -> Result<ExportStatus> {
        let mut tries = 0;
        loop {
            match self.client.start_export(&made.backend, &made.id, asked).await {
                Ok(started) => return Ok(started),
                // Its answer may have been lost.
                Err(fault @ Fault::Away { .. }) => {
                    let there = self.client.export_status(&made.backend, &made.id).await;
                    return there.map_err(|_| self.explained(fault, "starting an export"));
                }
                // One that was cancelled a moment ago takes a while to go.
                Err(Fault::Refused(message)) if message.contains(ACTIVE) && tries < 4 => tries += 1,
                Err(fault) => return Err(self.explained(fault, "starting an export")),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// The server has written its first file by now.
    async fn check_reachable(&self, made: &Made, folder: &Folder) -> Result<()> {
        let reached = folder.bytes(super::super::export::METADATA).await;
        let why = match reached {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => "there is no such export".to_owned(),
            Err(error) => error.to_string(),
        };
        let message = format!(
            "{}: the files of its export, which it writes to {}, cannot be read at {:?}: {why}",
            self.client.name(),
            made.path,
            folder.shown
        );
        Err(EngineError::failed(message).with_hint(
            "name the folder or bucket as this machine reaches it with `files`, and credentials with `connection`; the export is cancelled, nothing was read",
        ))
    }

    async fn wait(&self, made: &Made) -> Result<()> {
        let (mut looks, mut away) = (0, 0);
        loop {
            match self.client.export_status(&made.backend, &made.id).await {
                Ok(found) if found.status == "SUCCESS" => return Ok(()),
                Ok(found) if found.status == "FAILED" || found.status == "CANCELED" => {
                    let why =
                        found.error.filter(|error| !error.is_empty()).unwrap_or_else(|| "no reason given".to_owned());
                    let message = format!(
                        "{}: its export {:?} has the status {}: {why}",
                        self.client.name(),
                        made.id,
                        found.status
                    );
                    return Err(EngineError::failed(message).with_hint("run again to make a new one; nothing was read"));
                }
                Ok(_) => away = 0,
                Err(Fault::Away { .. }) if away < PATIENCE => away += 1,
                Err(fault) => return Err(self.explained(fault, "following an export")),
            }
            let pause = PAUSES.get(looks / 10).or(PAUSES.last()).copied().unwrap_or_default();
            looks += 1;
            tokio::time::sleep(pause).await;
        }
    }

    /// Opens an export, and checks that it has everything that is to be read.
    async fn open(&self, folder: Folder, collections: &[Collection]) -> Result<Export> {
        let export = Export::open(folder).await?;
        let mut lost = Vec::new();
        for collection in collections {
            let class = &collection.class.name;
            let left_out = export.left_out(class)?;
            let wanted = left_out.iter().filter(|(shard, _)| collection.wants(shard));
            lost.extend(wanted.map(|(shard, reason)| format!("{class}/{shard} ({reason})")));
        }
        if lost.is_empty() {
            return Ok(export);
        }
        let message = format!("{}: its export left out {}", self.client.name(), lost.join(", "));
        Err(EngineError::new(ExitClass::Refused, message).with_hint(
            "load these tenants, or leave them out with `tenants` or `cold_tenants: skip`; nothing was read",
        ))
    }

    /// Opens the export of an earlier attempt.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn reopen(&self, made: &Made, collections: &[Collection]) -> Result<Export> {
        self.open(self.place(&made.id, &made.path)?, collections).await
    }

    /// Whether the export of an earlier attempt is still there.
    ///
    /// # Errors
    /// Its folder cannot be asked.
    pub async fn is_there(&self, made: &Made) -> Result<bool> {
        Ok(self.place(&made.id, &made.path)?.bytes(super::super::export::METADATA).await?.is_some())
    }

    fn explained(&self, fault: Fault, doing: &str) -> EngineError {
        let about = format!("{}: {doing}", self.client.name());
        let backend = self.backend();
        let (Fault::Refused(message) | Fault::Away { message, .. } | Fault::Missing(message)) = &fault else {
            return fault.about(about);
        };
        let hints = [
            (
                "already active",
                "one export runs at a time: wait until it has ended, or cancel it with DELETE /v1/export/BACKEND/ID"
                    .to_owned(),
            ),
            (
                "export API is disabled",
                "start the server with EXPORT_ENABLED=true, or take `reader` out of the source".to_owned(),
            ),
            (
                "not available",
                format!(
                    "enable the module backup-{backend} with ENABLE_MODULES at the server, or name another `backend`"
                ),
            ),
            (
                "path must not be empty",
                "set EXPORT_DEFAULT_PATH at the server: exports do not go where backups go".to_owned(),
            ),
            ("EXPORT_DEFAULT_BUCKET", "set EXPORT_DEFAULT_BUCKET at the server".to_owned()),
        ];
        match hints.into_iter().find(|(words, _)| message.contains(words)) {
            Some((_, hint)) => EngineError::new(ExitClass::Refused, format!("{about}: {message}"))
                .with_hint(format!("{hint}; nothing was read")),
            None => fault.about(about),
        }
    }
}

/// Cancels exports that are recorded in these effects, where they still run. Says whether there were any.
///
/// # Errors
/// The server refuses, or the record cannot be written.
pub async fn cancel(client: &Client, recorded: Vec<(String, Value)>, effects: &Effects) -> Result<bool> {
    let mut any = false;
    for (name, effect) in recorded {
        let Ok(Recorded { weaviate, export }) = serde_json::from_value(effect) else { continue };
        if weaviate != client.address() {
            continue;
        }
        let cancelled = client.cancel_export(&export.backend, &export.id).await;
        cancelled.map_err(|fault| fault.about(format!("{}: cancelling export {:?}", client.name(), export.id)))?;
        effects.undone(&name).await?;
        any = true;
    }
    Ok(any)
}

//! `export_metadata.json`, which the server writes beside the files: what the export was to hold, and how far it came.

use std::collections::{BTreeMap, HashMap};

use restow_core::{EngineError, ExitClass, Result};
use serde::Deserialize;

use super::files::ExportFile;
use super::folder::Folder;

/// Its name.
pub const METADATA: &str = "export_metadata.json";
/// Reasons to leave a shard out that lose nothing: it has no object.
const EMPTY: [&str; 2] = ["no data", "tenant has no data on disk"];

/// Shards by collection. What is empty may be null.
type Assigned = Option<BTreeMap<String, Option<Vec<String>>>>;

/// What the server says of an export.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Its id.
    pub id: String,
    /// When it began, by the clock of the server. The snapshots of all shards are taken right then.
    #[serde(default)]
    pub started_at: String,
    /// When it ended.
    #[serde(default)]
    pub completed_at: String,
    /// `SUCCESS`, or what hindered that.
    pub status: String,
    /// Its collections.
    #[serde(default)]
    pub classes: Option<Vec<String>>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    node_assignments: Option<BTreeMap<String, Assigned>>,
    #[serde(default)]
    shard_status: Option<BTreeMap<String, Option<BTreeMap<String, Shard>>>>,
}

/// What became of a shard.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shard {
    #[serde(default)]
    status: String,
    #[serde(default)]
    objects_exported: u64,
    #[serde(default)]
    skip_reason: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

impl Metadata {
    /// Reads it; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub async fn read(folder: &Folder) -> Result<Option<Self>> {
        let Some(bytes) = folder.bytes(METADATA).await? else { return Ok(None) };
        let read = serde_json::from_slice(&bytes);
        read.map(Some).map_err(|error| {
            EngineError::failed(format!("{:?} cannot be understood: {error}", folder.show(METADATA)))
                .with_hint("it is damaged or was cut off: copy the export again; it was only read")
        })
    }

    /// Refuses an export that did not succeed.
    ///
    /// # Errors
    /// It failed, was cancelled or is still being made.
    pub fn check_success(&self, folder: &Folder) -> Result<()> {
        if self.status == "SUCCESS" {
            return Ok(());
        }
        let because = self.error.as_ref().filter(|error| !error.is_empty());
        let because = because.map(|error| format!(": {error}")).unwrap_or_default();
        let message = format!("the export at {:?} has status {}, not SUCCESS{because}", folder.shown, self.status);
        Err(EngineError::new(ExitClass::Refused, message)
            .with_hint("wait until the server has finished it, or make a new one; nothing was read"))
    }

    /// Shards of a class, each once, as tenants are.
    pub fn shards(&self, class: &str) -> Vec<&str> {
        let shards = self.shard_status.as_ref().and_then(|all| all.get(class)).and_then(Option::as_ref);
        shards.map(|shards| shards.keys().map(String::as_str).collect()).unwrap_or_default()
    }

    /// Compares what the server says it wrote of a class with the files. Gives the shards that it left out although they may have
    /// objects, with the reason.
    ///
    /// # Errors
    /// Objects or files are missing, or there is a file too many.
    pub fn check(&self, folder: &Folder, class: &str, files: &[&ExportFile]) -> Result<Vec<(String, String)>> {
        let all = self.shard_status.as_ref().ok_or_else(|| {
            EngineError::failed(format!("{:?} does not tell the shards of the export", folder.show(METADATA)))
                .with_hint("without them nobody can tell whether files are missing: make a new export")
        })?;
        let none = BTreeMap::new();
        let shards = all.get(class).and_then(Option::as_ref).unwrap_or(&none);
        for name in self.assigned(class) {
            if !shards.contains_key(name) {
                return Err(missing(folder, class, name, "nothing is known of it"));
            }
        }
        for file in files {
            let shard = file.shard.as_deref().unwrap_or_default();
            if !shards.contains_key(shard) {
                let message =
                    format!("{:?} is not part of the export that {METADATA} describes", folder.show(&file.path));
                return Err(EngineError::failed(message).with_hint(
                    "two exports are mixed in this folder, or a file was renamed: copy the export again into an empty folder; nothing was read",
                ));
            }
        }
        let mut found: HashMap<&str, u64> = HashMap::new();
        for file in files {
            *found.entry(file.shard.as_deref().unwrap_or_default()).or_default() += file.rows();
        }
        let mut left_out = Vec::new();
        for (name, shard) in shards {
            let rows = found.get(name.as_str()).copied().unwrap_or(0);
            let reason = shard.skip_reason.as_deref().unwrap_or("skipped for no reason");
            match shard.status.as_str() {
                "SUCCESS" | "SKIPPED" if rows != shard.objects_exported => {
                    let what = format!("{rows} objects in its files, and {} by {METADATA}", shard.objects_exported);
                    return Err(missing(folder, class, name, &what));
                }
                "SUCCESS" => {}
                "SKIPPED" if EMPTY.contains(&reason) => {}
                "SKIPPED" => left_out.push((name.clone(), reason.to_owned())),
                status => {
                    let error = shard.error.as_deref().unwrap_or("no reason given");
                    return Err(missing(folder, class, name, &format!("its status is {status}: {error}")));
                }
            }
        }
        Ok(left_out)
    }

    fn assigned(&self, class: &str) -> Vec<&String> {
        let nodes = self.node_assignments.iter().flat_map(BTreeMap::values).flatten();
        nodes.filter_map(|classes| classes.get(class)?.as_ref()).flatten().collect()
    }
}

fn missing(folder: &Folder, class: &str, shard: &str, what: &str) -> EngineError {
    EngineError::failed(format!("the export at {:?} is not whole: shard {shard:?} of collection {class:?}: {what}", folder.shown))
        .with_hint("a file is missing, was cut off or belongs to another export: copy the export again, or make a new one; nothing was read")
}

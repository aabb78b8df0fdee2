//! The JSON files of a backup, as `entities/backup/descriptor.go` of the server writes them: `backup_config.json` for the
//! whole and `<node>/backup.json` for each node.
//!
//! Only what reading needs is kept; fields that are not named here are ignored, so that a newer server may add some.
//! Go writes an empty list or map as `null`.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use data_encoding::BASE64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::error::{NativeError, Result};

/// The name of the descriptor of the whole.
pub(super) const GLOBAL: &str = "backup_config.json";
/// The name of the descriptor of a node, inside the folder of the node.
pub(super) const NODE: &str = "backup.json";

/// `backup_config.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GlobalFile {
    pub(super) id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) nodes: BTreeMap<String, NodeStatus>,
}

/// What both descriptors say of the backup.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Common {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) started_at: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) completed_at: String,
    pub(super) status: String,
    pub(super) version: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) server_version: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) error: String,
    pub(super) compression_type: Option<String>,
    pub(super) base_backup_id: Option<String>,
}

/// One node in `backup_config.json`.
#[derive(Debug, Deserialize)]
pub(super) struct NodeStatus {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) classes: Vec<String>,
    pub(super) status: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) error: String,
}

/// `<node>/backup.json`.
#[derive(Debug, Deserialize)]
pub(super) struct NodeFile {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) classes: Vec<ClassFile>,
}

/// One class in `backup.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClassFile {
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) shards: Vec<ShardFile>,
    /// Base64 of JSON, like the two that follow.
    pub(super) sharding_state: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) aliases: Option<String>,
    /// The shards that have files in each chunk.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) chunks: BTreeMap<u32, Vec<String>>,
}

/// One shard in `backup.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShardFile {
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) files: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) big_files_chunk: BTreeMap<String, BigFile>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) incremental_backup_info: Incremental,
}

/// A file with chunks of its own.
#[derive(Debug, Deserialize)]
pub(super) struct BigFile {
    pub(super) size: u64,
}

/// The files of a shard that stand in former backups.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Incremental {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) files_per_backup: BTreeMap<String, Vec<BaseFile>>,
}

/// A file that stands in a former backup.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BaseFile {
    pub(super) file: String,
    /// `<Class>/chunk-<n>`, inside the folder of the node.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) chunk_keys: Vec<String>,
}

/// The sharding state of a class, as far as it is needed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShardingState {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) partitioning_enabled: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) physical: BTreeMap<String, Physical>,
}

/// One shard of the sharding state.
#[derive(Debug, Deserialize)]
pub(super) struct Physical {
    /// The activity status of a tenant; absent or empty for a shard.
    pub(super) status: Option<String>,
}

/// One entry of a class's aliases.
#[derive(Debug, Deserialize)]
pub(super) struct AliasEntry {
    pub(super) alias: String,
}

impl Common {
    /// Checks status and format.
    ///
    /// # Errors
    /// The status is not SUCCESS, or the format is not 2.x.
    pub(super) fn check(&self, path: &Path) -> Result<()> {
        successful(path, &self.status, &self.error)?;
        if self.version.split('.').next() == Some("2") {
            return Ok(());
        }
        Err(NativeError::Version { path: path.to_owned(), version: self.version.clone() })
    }
}

/// Checks a status.
///
/// # Errors
/// It is not SUCCESS.
pub(super) fn successful(path: &Path, status: &str, error: &str) -> Result<()> {
    if status == "SUCCESS" {
        return Ok(());
    }
    let because = if error.is_empty() { String::new() } else { format!(": {error}") };
    Err(NativeError::NotSuccessful { path: path.to_owned(), status: status.to_owned(), because })
}

/// Reads a descriptor: what both kinds say, and what is its own; `None` when the file is not there.
///
/// # Errors
/// It cannot be read, or is not of the form.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<(Common, T)>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(NativeError::io("read", path, error)),
    };
    let wrong = |error: serde_json::Error| NativeError::descriptor(path, error.to_string());
    // Twice over the text, and not `flatten`, which would hold the whole of it as values and knows no numbers as keys.
    let common = serde_json::from_slice(&text).map_err(wrong)?;
    let own = serde_json::from_slice(&text).map_err(wrong)?;
    Ok(Some((common, own)))
}

/// The JSON text inside a base64 field, verbatim; `None` when the field is absent, null or empty.
///
/// # Errors
/// It is no base64, or what it holds is no JSON.
pub(super) fn embedded(path: &Path, field: &str, class: &str, base64: Option<&str>) -> Result<Option<String>> {
    let wrong = |reason: String| NativeError::descriptor(path, format!("{field} of class {class:?}: {reason}"));
    let Some(base64) = base64.filter(|base64| !base64.is_empty()) else { return Ok(None) };
    let bytes = BASE64.decode(base64.as_bytes()).map_err(|error| wrong(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
    let _: &RawValue = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    Ok(Some(text))
}

/// Whether a name may be one component of a path: names come from a file, and must not lead elsewhere.
pub(super) fn is_component(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', '\0'])
}

/// `null` as the default.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

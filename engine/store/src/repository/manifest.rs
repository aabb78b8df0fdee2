//! What a snapshot is: the body of its manifest.
//!
//! Members that later versions may leave out have defaults; unknown members are ignored; a member that a reader must not
//! ignore is named in `features`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::features::{CHANGES, DELETE_FILES, INHERITED_FILES, SEQUENCES};
use super::{Features, SnapshotId};
use crate::blocks::DIGEST_SUFFIX;

/// The body of a committed manifest. Everything in it is as of the commit and never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of the repository. Set by `commit`.
    #[serde(default)]
    pub format: String,
    /// Features of this snapshot. `commit` adds those that follow from its members.
    #[serde(default)]
    pub features: Features,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The run that made it: `runs/<run id>/` holds its intent and receipts.
    pub run_id: String,
    /// The nonce of the run's intent: tells our own commit from another writer's.
    pub nonce: String,
    /// When the run began.
    pub created: DateTime<Utc>,
    /// When the last receipt was written.
    pub finished: DateTime<Utc>,
    /// Version of restow that wrote it.
    pub restow: String,
    /// The pipeline, without secrets.
    pub pipeline: PipelineRecord,
    /// What was read, and what cut through time it is.
    pub source: SourceRecord,
    /// Whether every dataset is in it.
    pub status: SnapshotStatus,
    /// Datasets that are not in it, and why.
    #[serde(default)]
    pub failed: Vec<FailedDataset>,
    /// Datasets that are in it.
    pub datasets: Vec<DatasetEntry>,
    /// Definitions that belong to no single dataset, such as roles and aliases.
    #[serde(default)]
    pub artifacts: Vec<ArtifactEntry>,
    /// Counts over all datasets.
    #[serde(default)]
    pub counters: Counters,
    /// The keyring generation it was written under; none in a plain repository. Set by `commit`.
    #[serde(default)]
    pub keyring: Option<KeyringRef>,
    /// The inventory. Set by `commit`.
    #[serde(default)]
    pub inventory: Option<InventoryRef>,
    /// Place of the snapshot in its chain: its own files have this sequence. 0 for a full snapshot.
    #[serde(default)]
    pub sequence: u64,
    /// Snapshots whose files are listed here as inherited. Room for incremental snapshots; empty now.
    #[serde(default)]
    pub parents: Vec<SnapshotId>,
    /// Paths of the pins that protect inherited files. Room for incremental snapshots; empty now.
    #[serde(default)]
    pub pins: Vec<String>,
    /// Change segments that continue this snapshot in time. Room for continuous capture; empty now.
    #[serde(default)]
    pub changes: Vec<Value>,
}

/// The pipeline that made a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PipelineRecord {
    /// Its name.
    pub name: String,
    /// Hash of what was asked: file, variables, flags, secrets by reference.
    pub hash: String,
    /// Its text with secrets taken out.
    #[serde(default)]
    pub text: String,
}

impl PipelineRecord {
    /// Whether it is no pipeline of a user's, but what a run put aside before it overwrote something at a database: its text is an
    /// object with the one key `safety`.
    pub fn is_safety(&self) -> bool {
        let text: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(&self.text);
        text.is_ok_and(|text| text.len() == 1 && text.contains_key("safety"))
    }
}

/// The source of a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Name of the connector.
    pub connector: String,
    /// Fingerprint of the server or file set that was read.
    #[serde(default)]
    pub fingerprint: String,
    /// Address without credentials, version, whatever the connector knows.
    #[serde(default)]
    pub identity: Value,
    /// What the source promises about the moment that the snapshot shows, in words.
    #[serde(default)]
    pub consistency: String,
}

/// Whether a snapshot holds all that its run was to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotStatus {
    /// Every dataset.
    Complete,
    /// Some datasets failed for good; `failed` names them.
    Partial,
}

/// A dataset that is not in the snapshot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FailedDataset {
    /// Its name.
    pub name: String,
    /// Why, without secrets.
    pub error: String,
}

/// One dataset of a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DatasetEntry {
    /// Name at the source.
    pub name: String,
    /// Its part in paths.
    pub path_part: String,
    /// Arrow schema: an IPC schema message in base64.
    pub schema: String,
    /// Role of a column, by column name: `id`, `vector`, `tenant`, ...
    #[serde(default)]
    pub roles: BTreeMap<String, String>,
    /// Rows over all files.
    pub rows: u64,
    /// Bytes read from the source, where the source tells.
    #[serde(default)]
    pub bytes_in: u64,
    /// Counts of this dataset.
    #[serde(default)]
    pub counters: Counters,
    /// Data files, own and inherited.
    pub files: Vec<FileEntry>,
    /// Files of deleted ids. Room for incremental snapshots; empty now.
    #[serde(default)]
    pub delete_files: Vec<FileEntry>,
    /// Its native definitions.
    #[serde(default)]
    pub artifacts: Vec<ArtifactEntry>,
    /// Whatever else the engine keeps of a dataset, such as the transform's column lineage.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub extra: Value,
}

/// One data file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path below the repository's root.
    pub path: String,
    /// Identity of the split that wrote it.
    #[serde(default)]
    pub split: String,
    /// Rows, counted at read-back.
    pub rows: u64,
    /// Bytes on the store.
    pub stored_bytes: u64,
    /// Bytes before encryption; equal to `stored_bytes` in a plain repository.
    pub plain_bytes: u64,
    /// SHA-256 of the stored bytes, in hex.
    pub sha256: String,
    /// Bytes of the Parquet footer with its length and magic: one range read opens the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footer_bytes: Option<u64>,
    /// The container header in base64; none in a plain repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The block digests; none in an encrypted repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<ObjectRef>,
    /// Order of files that hold the same row: the highest wins. 0 for a full snapshot.
    #[serde(default)]
    pub sequence: u64,
    /// Whether another snapshot wrote it. Room for incremental snapshots; false now.
    #[serde(default)]
    pub inherited: bool,
}

/// A definition of the database, kept verbatim.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ArtifactEntry {
    /// What it belongs to: a dataset's name, or a word such as `server`.
    pub scope: String,
    /// Its name, such as `class.json`.
    pub name: String,
    /// Path below the repository's root.
    pub path: String,
    /// Bytes on the store.
    pub stored_bytes: u64,
    /// Bytes before encryption.
    pub plain_bytes: u64,
    /// SHA-256 of the stored bytes, in hex.
    pub sha256: String,
}

/// An object that another one names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Path below the repository's root.
    pub path: String,
    /// Bytes on the store.
    pub stored_bytes: u64,
    /// SHA-256 of the stored bytes, in hex.
    pub sha256: String,
}

/// The inventory of a snapshot, as manifest and envelope name it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryRef {
    /// Its name in the snapshot's folder.
    pub name: String,
    /// Bytes on the store.
    pub stored_bytes: u64,
    /// SHA-256 of the stored bytes, in hex.
    pub sha256: String,
}

/// A keyring generation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyringRef {
    /// Its number.
    pub generation: u64,
    /// Its digest, in hex.
    pub digest: String,
}

/// Rows and bytes: scanned = filtered + written + skipped + rejected, each counted by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Rows that the source gave.
    pub scanned: u64,
    /// Rows that a filter left out.
    pub filtered: u64,
    /// Rows in the files.
    pub written: u64,
    /// Rows that were there already.
    pub skipped: u64,
    /// Rows that could not be written.
    pub rejected: u64,
    /// Bytes read from the source.
    pub bytes_in: u64,
    /// Bytes on the store.
    pub bytes_out: u64,
}

impl Manifest {
    /// Every data file and delete file, own and inherited.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.datasets.iter().flat_map(|d| d.files.iter().chain(&d.delete_files))
    }

    /// Every artifact.
    pub fn all_artifacts(&self) -> impl Iterator<Item = &ArtifactEntry> {
        self.artifacts.iter().chain(self.datasets.iter().flat_map(|d| &d.artifacts))
    }

    /// The features without which a reader would show other rows than the snapshot holds.
    pub fn needed_features(&self) -> Vec<&'static str> {
        let inherited = self.files().any(|f| f.inherited) || !self.parents.is_empty() || !self.pins.is_empty();
        let deleting = self.datasets.iter().any(|d| !d.delete_files.is_empty());
        let ordered = self.sequence > 0 || self.files().any(|f| f.sequence > 0);
        [(inherited, INHERITED_FILES), (deleting, DELETE_FILES), (ordered, SEQUENCES)]
            .into_iter()
            .filter_map(|(used, name)| used.then_some(name))
            .collect()
    }

    /// A feature that the manifest uses without naming it: who does not know it would not be warned.
    pub fn unannounced(&self) -> Option<&'static str> {
        let needed = self.needed_features().into_iter().find(|name| !self.features.requires(name));
        // Changes only continue a snapshot: whether it is whole without them is the writer's to say.
        let changes = !self.changes.is_empty() && !self.features.names(CHANGES);
        needed.or(changes.then_some(CHANGES))
    }

    /// A path that no object of this snapshot can have. Only below `data/` do the layers check every byte that is read.
    pub fn misplaced(&self) -> Option<&str> {
        let id = self.snapshot.as_str();
        let artifacts = format!("snapshots/{id}/artifacts/");
        let in_data = |path: &str, inherited: bool| {
            let parts: Vec<&str> = path.split('/').collect();
            matches!(parts.as_slice(), ["data", _, snapshot, _] if inherited || *snapshot == id)
        };
        let file = self.files().find_map(|file| {
            let blocks = file.blocks.as_ref().map(|b| b.path.as_str());
            if !in_data(&file.path, file.inherited) || file.path.ends_with(DIGEST_SUFFIX) {
                return Some(file.path.as_str());
            }
            blocks.filter(|path| path.strip_suffix(DIGEST_SUFFIX) != Some(&file.path))
        });
        file.or_else(|| self.all_artifacts().map(|a| a.path.as_str()).find(|path| !path.starts_with(&artifacts)))
    }

    /// The dataset of that exact name.
    pub fn dataset(&self, name: &str) -> Option<&DatasetEntry> {
        self.datasets.iter().find(|d| d.name == name)
    }
}

//! The inventory of a snapshot: what `checksum` verification needs, in clear and without names of the source.

use serde::{Deserialize, Serialize};

use super::{FORMAT, Manifest, SnapshotId};

/// `snapshots/<id>/inventory-<random>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Format of the repository.
    pub format: String,
    /// Always `inventory`.
    pub kind: String,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Every object that the manifest names, sorted by path.
    pub objects: Vec<InventoryEntry>,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InventoryEntry {
    /// Path below the repository's root.
    pub path: String,
    /// Bytes on the store.
    pub stored_bytes: u64,
    /// SHA-256 of the stored bytes, in hex.
    pub sha256: String,
    /// Whether another snapshot wrote it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inherited: bool,
}

impl Inventory {
    /// The inventory that follows from a manifest.
    pub fn of(manifest: &Manifest) -> Self {
        let entry = |path: &str, stored_bytes, sha256: &str, inherited| InventoryEntry {
            path: path.to_owned(),
            stored_bytes,
            sha256: sha256.to_owned(),
            inherited,
        };
        let mut objects = Vec::new();
        for file in manifest.files() {
            objects.push(entry(&file.path, file.stored_bytes, &file.sha256, file.inherited));
            if let Some(blocks) = &file.blocks {
                objects.push(entry(&blocks.path, blocks.stored_bytes, &blocks.sha256, file.inherited));
            }
        }
        for artifact in manifest.all_artifacts() {
            objects.push(entry(&artifact.path, artifact.stored_bytes, &artifact.sha256, false));
        }
        objects.sort();
        Self { format: FORMAT.to_owned(), kind: "inventory".to_owned(), snapshot: manifest.snapshot.clone(), objects }
    }
}

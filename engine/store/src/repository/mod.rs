//! The repository: where snapshots live, on any object store. Normative text: `schemas/repository-format.md`.
//!
//! Nothing is ever rewritten. Small objects are created only where none exists; data objects lie under random names. A
//! snapshot exists if and only if its manifest says `committed` and no deleted mark exists.

mod anchor;
mod artifacts;
pub mod clear;
mod commit;
mod create;
mod envelope;
mod error;
pub(crate) mod features;
mod header;
mod id;
mod inventory;
mod keyring;
mod manifest;
mod open;
pub mod paths;
mod probe;
mod read_back;
mod recovery;
mod recovery_file;
pub(crate) mod small;
mod snapshots;
mod tap;
pub mod verify;
mod writer;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod keyring_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

use std::fmt;
use std::sync::{Arc, OnceLock};

use data_encoding::{BASE64, HEXLOWER};
use object_store::ObjectStore;
use object_store::path::Path;

use crate::blocks::BlockVerifiedStore;
use crate::container::{EncryptedStore, HEADER, plain_len};
use crate::keys::{Keys, RepositoryId};
use crate::location::Location;
use crate::run_state::RunStateStore;

pub use crate::container::is_clear;
use anchor::Anchor;
pub use commit::{CommitRequest, Committed};
pub use create::{CreateOptions, Created, RecoveryOutput};
pub use error::{ExitClass, RepositoryError, exit_class_of};
pub use features::Features;
pub use id::{BadSnapshotId, SnapshotId, random_hex};
pub use inventory::{Inventory, InventoryEntry};
pub use keyring::{KeyChange, KeySlot};
pub use manifest::{
    ArtifactEntry, Counters, DatasetEntry, FailedDataset, FileEntry, InventoryRef, KeyringRef, Manifest, ObjectRef,
    PipelineRecord, SnapshotStatus, SourceRecord,
};
pub use paths::{escape, is_data};
pub use read_back::ReadBack;
pub use recovery::RecoveryState;
pub use snapshots::SnapshotSummary;
pub use tap::{DigestTap, Stored};
pub use writer::{ObjectWriter, WrittenObject};

/// The format that this build reads and writes. It is frozen: every later version reads it.
pub const FORMAT: &str = "1";

/// This version of restow, as kept in repositories.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// An open repository. Clones share everything.
#[derive(Clone)]
pub struct Repository {
    inner: Arc<Inner>,
}

struct Inner {
    location: Location,
    id: RepositoryId,
    keys: Option<Keys>,
    layer: Layer,
    warnings: Vec<String>,
    /// What this machine remembers of it.
    anchor: OnceLock<Anchor>,
}

/// The layer that makes stored bytes plain and checks them.
#[derive(Clone)]
enum Layer {
    Encrypted(Arc<EncryptedStore>),
    Blocks(Arc<BlockVerifiedStore>),
}

impl Layer {
    /// Over `store`, which is that of the location or a layer over it.
    fn over(store: Arc<dyn ObjectStore>, location: &Location, keys: Option<&Keys>) -> Self {
        let root = location.root.clone();
        match keys {
            Some(keys) => {
                let layer = EncryptedStore::new(store, root, keys.clone(), is_clear);
                Self::Encrypted(Arc::new(layer.with_parts_of(location.part_bytes())))
            }
            None => Self::Blocks(Arc::new(BlockVerifiedStore::new(store, root, is_data))),
        }
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        match self {
            Self::Encrypted(layer) => Arc::clone(layer) as _,
            Self::Blocks(layer) => Arc::clone(layer) as _,
        }
    }
}

impl Repository {
    fn new(location: Location, id: RepositoryId, keys: Option<Keys>, warnings: Vec<String>) -> Self {
        let layer = Layer::over(Arc::clone(&location.store), &location, keys.as_ref());
        let anchor = OnceLock::new();
        Self { inner: Arc::new(Inner { location, id, keys, layer, warnings, anchor }) }
    }

    fn set_anchor(&self, anchor: Anchor) {
        // Set once, before anybody else has the repository.
        let _ = self.inner.anchor.set(anchor);
    }

    fn anchor(&self) -> Option<&Anchor> {
        self.inner.anchor.get()
    }

    /// The repository's id; a replica has the same.
    pub fn id(&self) -> RepositoryId {
        self.inner.id
    }

    /// Whether its objects are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.inner.keys.is_some()
    }

    /// Where it lies.
    pub fn location(&self) -> &Location {
        &self.inner.location
    }

    /// What was found when it was opened that does not keep anybody from reading, such as a damaged old keyring
    /// generation. Writers stop on the same findings, with exit code 13.
    pub fn warnings(&self) -> &[String] {
        &self.inner.warnings
    }

    /// Its objects in plain text: decrypted, or in a plain repository checked block by block. Paths include the root.
    pub fn objects(&self) -> Arc<dyn ObjectStore> {
        self.inner.layer.store()
    }

    /// The keys, where encrypted.
    pub fn keys(&self) -> Option<&Keys> {
        self.inner.keys.as_ref()
    }

    /// What stands in paths for a name that comes from the source: 32 hex digits of an HMAC in an encrypted repository,
    /// the escaped name ([`escape`]) in a plain one.
    pub fn path_part(&self, name: &str) -> String {
        part_for(self.keys(), name)
    }

    /// The path on the store of `relative`, a path below the root.
    pub fn path(&self, relative: &str) -> Result<Path, RepositoryError> {
        Ok(self.location().path(relative)?)
    }

    /// What of a path lies below the root; empty where it lies elsewhere.
    pub fn relative<'a>(&self, path: &'a Path) -> &'a str {
        self.location().relative(path).unwrap_or_default()
    }

    /// A new path for a data object: `data/<dataset>/<id>/part-<split>-<128 random bits>.<extension>`.
    pub fn new_data_path(
        &self,
        snapshot: &SnapshotId,
        dataset: &str,
        split: &str,
        extension: &str,
    ) -> Result<Path, RepositoryError> {
        let random = random_hex().map_err(|e| self.internal(&e))?;
        let (dataset, split) = (self.path_part(dataset), self.path_part(split));
        self.path(&format!("data/{dataset}/{snapshot}/part-{split}-{random}.{extension}"))
    }

    /// A writer of one object in bounded memory. `path` is as [`Self::new_data_path`] gives it.
    pub fn new_writer(&self, path: &Path) -> Result<ObjectWriter, RepositoryError> {
        self.writable()?;
        writer_over(self.location(), self.keys(), self.relative(path))
    }

    /// Makes a data object's header or digest known, as a receipt or manifest names it: reads of it then need no extra
    /// request and notice that the object was exchanged.
    pub fn remember(&self, file: &FileEntry) -> Result<(), RepositoryError> {
        let path = self.path(&file.path)?;
        let broken = |what: &str| self.tampered(&file.path, &format!("the manifest names no valid {what} for it"));
        let plain = match self.is_encrypted() {
            true => plain_len(file.stored_bytes).map_err(|_| broken("length"))?,
            false => file.stored_bytes,
        };
        if plain != file.plain_bytes {
            return Err(broken("length"));
        }
        match (&self.inner.layer, &file.header, &file.blocks) {
            (Layer::Encrypted(layer), Some(header), _) => {
                let bytes = BASE64.decode(header.as_bytes()).map_err(|_| broken("header"))?;
                let header = <[u8; HEADER]>::try_from(bytes).map_err(|_| broken("header"))?;
                layer.remember_header(&path, header, file.stored_bytes);
            }
            (Layer::Encrypted(_), None, _) => return Err(broken("header")),
            (Layer::Blocks(layer), _, Some(blocks)) => {
                let bytes = HEXLOWER.decode(blocks.sha256.as_bytes()).map_err(|_| broken("digest"))?;
                layer.expect(path, bytes.try_into().map_err(|_| broken("digest"))?);
            }
            (Layer::Blocks(_), _, None) => return Err(broken("block digests")),
        }
        Ok(())
    }

    /// The run state of pipelines whose sink is this repository, under `runs/`.
    pub fn run_state(&self) -> RunStateStore {
        RunStateStore::in_repository(self)
    }

    fn writable(&self) -> Result<(), RepositoryError> {
        if !self.location().writable {
            return Err(RepositoryError::ReadOnly { url: self.location().url.clone() });
        }
        match self.keys().map(Keys::require_intact_chain) {
            Some(Err(source)) => Err(RepositoryError::Key { url: self.location().url.clone(), source }),
            _ => Ok(()),
        }
    }

    pub(crate) fn tampered(&self, object: &str, problem: &str) -> RepositoryError {
        tampered(self.location(), object, problem)
    }

    pub(crate) fn internal(&self, problem: &dyn fmt::Display) -> RepositoryError {
        RepositoryError::Internal { problem: problem.to_string() }
    }

    /// Names the action and the object of a failed store operation.
    pub(crate) fn failed<'a>(
        &'a self,
        action: &'static str,
        object: &'a str,
    ) -> impl FnOnce(object_store::Error) -> RepositoryError + 'a {
        failed(self.location(), action, object)
    }
}

/// A writer of the object `relative` through a stack of layers of its own, which records what is stored.
pub(crate) fn writer_over(
    location: &Location,
    keys: Option<&Keys>,
    relative: &str,
) -> Result<ObjectWriter, RepositoryError> {
    let path = location.path(relative)?;
    let tap = Arc::new(DigestTap::new(Arc::clone(&location.store)));
    let layer = Layer::over(Arc::clone(&tap) as _, location, keys);
    Ok(ObjectWriter::new(layer.store(), tap, path, relative.to_owned(), location.part_bytes(), keys.is_some()))
}

pub(crate) fn part_for(keys: Option<&Keys>, name: &str) -> String {
    match keys {
        Some(keys) => keys.name_hmac(name),
        None => escape(name).into_owned(),
    }
}

pub(crate) fn tampered(location: &Location, object: &str, problem: &str) -> RepositoryError {
    RepositoryError::Tampered { url: location.url.clone(), object: object.to_owned(), problem: problem.to_owned() }
}

pub(crate) fn failed<'a>(
    location: &'a Location,
    action: &'static str,
    object: &'a str,
) -> impl FnOnce(object_store::Error) -> RepositoryError + 'a {
    move |source| RepositoryError::Store {
        action,
        url: location.url.clone(),
        object: object.to_owned(),
        source: Box::new(source),
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository")
            .field("url", &self.location().url)
            .field("id", &self.inner.id)
            .field("encrypted", &self.is_encrypted())
            .finish_non_exhaustive()
    }
}

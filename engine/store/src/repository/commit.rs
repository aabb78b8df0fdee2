//! The commit: inventory, then manifest, each created only where none exists.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures::{StreamExt, TryStreamExt};
use object_store::{Error, ObjectStoreExt};
use sha2::{Digest, Sha256};

use super::envelope::{Envelope, EnvelopeError, State};
use super::inventory::Inventory;
use super::small::{self, Creation};
use super::{
    ExitClass, FORMAT, InventoryRef, KeyringRef, Manifest, Repository, RepositoryError, SnapshotId, clear,
    exit_class_of, paths, random_hex,
};
use crate::keys::Keys;

/// Requests under way at once while sizes are checked.
const CHECKS: usize = 8;

/// What is to be committed.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    /// The manifest. `format`, `features`, `keyring` and `inventory` are set by the commit.
    pub manifest: Manifest,
}

/// A committed snapshot.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The manifest that is in the repository. Where `already` holds its figures may differ from the request's.
    pub manifest: Manifest,
    /// Whether an earlier attempt of the same run had committed it.
    pub already: bool,
}

impl Repository {
    /// Commits a snapshot. When this returns the snapshot exists, durably.
    ///
    /// Every own object of the manifest has to be there with its size. Committing again, after a lost reply or a crash,
    /// succeeds with the figures of the manifest that exists.
    ///
    /// # Errors
    /// Exit 11 where another writer committed that id or a collector aborted it.
    pub async fn commit(&self, request: CommitRequest) -> Result<Committed, RepositoryError> {
        self.writable()?;
        let mut manifest = request.manifest;
        let id = manifest.snapshot.clone();
        let object = paths::manifest(&id);
        if let Some(found) = self.read_raw(&object).await? {
            return self.settle(&manifest, &found).await;
        }
        self.check_present(&manifest).await?;
        manifest.format = FORMAT.to_owned();
        manifest.keyring = self.keyring_ref();
        for feature in manifest.needed_features() {
            manifest.features.require(feature);
        }
        if let Some(feature) = manifest.features.unknown().or(manifest.unannounced()) {
            return Err(self.internal(&format!("this build cannot write the feature {feature:?}")));
        }
        manifest.inventory = Some(self.write_inventory(&manifest).await?);
        let envelope = Envelope::commit(&manifest, self.keys(), &object).map_err(|e| self.internal(&e))?;
        match small::create(self.location().store.as_ref(), &self.path(&object)?, &envelope).await {
            Ok(Creation::Created) => {
                self.check_seen(&id, &envelope)?;
                self.keep_seen();
                Ok(Committed { manifest, already: false })
            }
            Ok(Creation::Exists(found)) => self.settle(&manifest, &found).await,
            // The store went away, but may have carried the request out.
            Err(e) if exit_class_of(&e) == ExitClass::Unreachable => match self.read_raw(&object).await {
                Ok(Some(found)) => self.settle(&manifest, &found).await,
                _ => Err(self.failed("commit", &object)(e)),
            },
            Err(e) => Err(self.failed("commit", &object)(e)),
        }
    }

    /// Ends an unfinished run for good: no commit of that snapshot can succeed afterwards. Says whether it is aborted
    /// now; false means that it was committed before.
    pub async fn abort(&self, id: &SnapshotId, nonce: &str) -> Result<bool, RepositoryError> {
        self.writable()?;
        let object = paths::manifest(id);
        let envelope = Envelope::abort(id, nonce).map_err(|e| self.internal(&e))?;
        match small::create(self.location().store.as_ref(), &self.path(&object)?, &envelope).await {
            Ok(Creation::Created) => Ok(true),
            Ok(Creation::Exists(found)) => Ok(self.envelope(id, &found)?.state == State::Aborted),
            Err(e) => Err(self.failed("abort", &object)(e)),
        }
    }

    /// Decides what a manifest that was there before means for the run that wanted to commit.
    async fn settle(&self, wanted: &Manifest, found: &[u8]) -> Result<Committed, RepositoryError> {
        let id = &wanted.snapshot;
        let envelope = self.envelope(id, found)?;
        let lost = |problem: &str| RepositoryError::LostRace {
            url: self.location().url.clone(),
            object: paths::manifest(id),
            problem: problem.to_owned(),
        };
        match envelope.state {
            State::Aborted => Err(lost(
                "a collector ended this run before it committed; other snapshots remain valid; run again with --fresh",
            )),
            State::Committed if envelope.nonce != wanted.nonce => {
                Err(lost("another run committed this snapshot id; that snapshot remains valid; run again with --fresh"))
            }
            State::Committed => {
                let manifest = self.open_manifest(id, &envelope).await?;
                self.check_seen(id, found)?;
                self.keep_seen();
                Ok(Committed { manifest, already: true })
            }
        }
    }

    /// Checks that every own object is there with the size that its receipt names: the last chance to notice that
    /// something removed it.
    async fn check_present(&self, manifest: &Manifest) -> Result<(), RepositoryError> {
        let objects = Inventory::of(manifest).objects;
        let mut names: Vec<&str> = objects.iter().map(|o| o.path.as_str()).collect();
        names.dedup();
        if names.len() != objects.len() {
            return Err(self.internal(&"an object is named twice in the manifest"));
        }
        futures::stream::iter(objects)
            .map(|entry| async move {
                let problem = match self.location().store.head(&self.path(&entry.path)?).await {
                    Ok(meta) if meta.size == entry.stored_bytes => return Ok(()),
                    Ok(meta) => format!("it has {} bytes instead of {}", meta.size, entry.stored_bytes),
                    Err(Error::NotFound { .. }) => "it is not there".to_owned(),
                    Err(e) => return Err(self.failed("look for", &entry.path)(e)),
                };
                let url = self.location().url.clone();
                Err(RepositoryError::NotCommittable { url, object: entry.path, problem })
            })
            .buffer_unordered(CHECKS)
            .try_collect()
            .await
    }

    async fn write_inventory(&self, manifest: &Manifest) -> Result<InventoryRef, RepositoryError> {
        let bytes = clear::encode(&Inventory::of(manifest)).map_err(|e| self.internal(&e))?;
        let name = format!("inventory-{}.json", random_hex().map_err(|e| self.internal(&e))?);
        let object = paths::in_snapshot(&manifest.snapshot, &name);
        match small::create(self.location().store.as_ref(), &self.path(&object)?, &bytes).await {
            Ok(Creation::Created) => {}
            Ok(Creation::Exists(found)) if found == bytes => {}
            Ok(Creation::Exists(_)) => return Err(self.tampered(&object, "its random name was taken")),
            Err(e) => return Err(self.failed("create", &object)(e)),
        }
        Ok(InventoryRef { name, stored_bytes: bytes.len() as u64, sha256: HEXLOWER.encode(&Sha256::digest(&bytes)) })
    }

    /// The keyring generation that intents and manifests of this session name.
    pub fn keyring_ref(&self) -> Option<KeyringRef> {
        self.keys().map(Keys::named)
    }

    /// An object as it is stored, whole.
    pub(super) async fn read_raw(&self, object: &str) -> Result<Option<Bytes>, RepositoryError> {
        small::read_if_there(self.location().store.as_ref(), &self.path(object)?)
            .await
            .map_err(self.failed("read", object))
    }

    pub(super) fn envelope(&self, id: &SnapshotId, bytes: &[u8]) -> Result<Envelope, RepositoryError> {
        Envelope::decode(id, bytes).map_err(|e| self.envelope_error(&paths::manifest(id), e))
    }

    pub(super) fn envelope_error(&self, object: &str, error: EnvelopeError) -> RepositoryError {
        match error {
            EnvelopeError::Tampered(problem) => self.tampered(object, &problem),
            EnvelopeError::TooNew(problem) => {
                RepositoryError::TooNew { url: self.location().url.clone(), object: object.to_owned(), problem }
            }
        }
    }
}

//! Finding and reading snapshots.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use futures::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};

use super::anchor::Anchor;
use super::envelope::{Envelope, State};
use super::inventory::Inventory;
use super::{FORMAT, InventoryRef, Manifest, Repository, RepositoryError, SnapshotId, SnapshotStatus, clear, paths};

/// Manifests read at once while listing.
const READS: usize = 8;

/// One line of a list of snapshots.
#[derive(Debug, Clone)]
pub struct SnapshotSummary {
    /// The snapshot.
    pub id: SnapshotId,
    /// Whether all datasets are in it; none where `problem` is set.
    pub status: Option<SnapshotStatus>,
    /// When its run began.
    pub created: DateTime<Utc>,
    /// When its last file was written.
    pub finished: Option<DateTime<Utc>>,
    /// Name of its pipeline.
    pub pipeline: String,
    /// Names of its datasets.
    pub datasets: Vec<String>,
    /// Rows over all datasets.
    pub rows: u64,
    /// Bytes of its files on the store.
    pub stored_bytes: u64,
    /// Why its manifest cannot be read: it is listed, since a damaged snapshot must not look like none.
    pub problem: Option<String>,
}

impl Repository {
    /// The committed snapshots, oldest first. One whose manifest is damaged is listed with its problem.
    ///
    /// # Errors
    /// On a store without listings: name a snapshot id instead.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotSummary>, RepositoryError> {
        let ids = self.snapshot_ids("a list of snapshots").await?;
        let listed = futures::stream::iter(ids)
            .map(|id| async move {
                match self.summary(&id).await {
                    Ok(found) => Ok(found),
                    Err(
                        e @ (RepositoryError::Tampered { .. }
                        | RepositoryError::TooNew { .. }
                        | RepositoryError::Key { .. }),
                    ) => Ok(Some(SnapshotSummary::damaged(id, e.to_string()))),
                    Err(e) => Err(e),
                }
            })
            .buffered(READS)
            .try_filter_map(|found| futures::future::ready(Ok(found)))
            .try_collect()
            .await;
        self.keep_seen();
        let mut listed: Vec<SnapshotSummary> = listed?;
        // Ids tell the second only.
        listed.sort_by(|a, b| (a.created, a.finished, &a.id).cmp(&(b.created, b.finished, &b.id)));
        Ok(listed)
    }

    /// The snapshot that a selector stands for: `latest`, a full id, or the beginning of exactly one.
    pub async fn resolve(&self, selector: &str) -> Result<SnapshotId, RepositoryError> {
        let resolved = self.find(selector).await;
        self.keep_seen();
        resolved
    }

    async fn find(&self, selector: &str) -> Result<SnapshotId, RepositoryError> {
        if let Ok(id) = selector.parse::<SnapshotId>() {
            self.committed_envelope(&id).await?;
            return Ok(id);
        }
        let not_found = |reason: &str| RepositoryError::SnapshotNotFound {
            selector: selector.to_owned(),
            url: self.location().url.clone(),
            reason: reason.to_owned(),
        };
        if selector == "latest" {
            return self.newest().await?.ok_or_else(|| not_found(": it has no committed snapshot"));
        }
        let mut fitting = Vec::new();
        if !selector.is_empty() {
            for id in self.snapshot_ids("finding a snapshot by the beginning of its id").await? {
                // A damaged manifest counts as fitting; opening it then says what is wrong.
                let fits = id.as_str().starts_with(selector);
                if fits && !matches!(self.committed_envelope(&id).await, Err(RepositoryError::SnapshotNotFound { .. }))
                {
                    fitting.push(id);
                }
            }
        }
        match fitting.as_slice() {
            [] => Err(not_found("; `restow catalog list` shows what there is")),
            [one] => Ok(one.clone()),
            [first, second, ..] => Err(RepositoryError::Ambiguous {
                prefix: selector.to_owned(),
                count: fitting.len(),
                first: first.clone(),
                second: second.clone(),
                url: self.location().url.clone(),
            }),
        }
    }

    /// The committed snapshot whose run began last, safety snapshots left out. Ids tell the second; of one second, the manifests
    /// tell more.
    async fn newest(&self) -> Result<Option<SnapshotId>, RepositoryError> {
        let mut newest: Option<(DateTime<Utc>, DateTime<Utc>, SnapshotId)> = None;
        for id in self.snapshot_ids("finding the latest snapshot").await?.into_iter().rev() {
            if newest.as_ref().is_some_and(|(_, _, newer)| newer.time() != id.time()) {
                break;
            }
            let envelope = match self.committed_envelope(&id).await {
                Ok(envelope) => envelope,
                Err(RepositoryError::SnapshotNotFound { .. }) => continue,
                // A damaged newest snapshot is an error: silently taking an older one would lose data.
                Err(e) => return Err(e),
            };
            // Without the key of an encrypted repository only the ids are known.
            let (created, finished) = match self.keys().is_none() && envelope.keyring.is_some() {
                true => (id.time(), id.time()),
                false => {
                    let manifest = self.open_manifest(&id, &envelope).await?;
                    // What a restore has put aside is no backup that anybody asked for.
                    if manifest.pipeline.is_safety() {
                        continue;
                    }
                    (manifest.created, manifest.finished)
                }
            };
            newest = newest.max(Some((created, finished, id)));
        }
        Ok(newest.map(|(_, _, id)| id))
    }

    /// The manifest of a snapshot: envelope, body and inventory are checked against each other. The headers and digests
    /// of its files are known to [`Self::objects`] afterwards. Needs no listing.
    pub async fn manifest(&self, id: &SnapshotId) -> Result<Manifest, RepositoryError> {
        let envelope = self.committed_envelope(id).await?;
        let manifest = self.open_manifest(id, &envelope).await?;
        if self.inventory(&manifest).await?.objects != Inventory::of(&manifest).objects {
            return Err(self.tampered(&paths::manifest(id), "it does not name the objects of its inventory"));
        }
        manifest.files().try_for_each(|file| self.remember(file))?;
        self.keep_seen();
        Ok(manifest)
    }

    /// The inventory that a manifest names, checked against its digest.
    pub async fn inventory(&self, manifest: &Manifest) -> Result<Inventory, RepositoryError> {
        self.inventory_of(&manifest.snapshot, manifest.inventory.as_ref()).await
    }

    /// The inventory that the manifest or the envelope of a snapshot names.
    pub(super) async fn inventory_of(
        &self,
        id: &SnapshotId,
        named: Option<&InventoryRef>,
    ) -> Result<Inventory, RepositoryError> {
        let named = named.ok_or_else(|| self.tampered(&paths::manifest(id), "it names no inventory"))?;
        let object = paths::in_snapshot(id, &named.name);
        let bytes = self.read_raw(&object).await?.ok_or_else(|| self.tampered(&object, "it is missing"))?;
        if HEXLOWER.encode(&Sha256::digest(&bytes)) != named.sha256 || bytes.len() as u64 != named.stored_bytes {
            return Err(self.tampered(&object, "it is not the inventory that the manifest names"));
        }
        let inventory: Inventory = clear::decode(&bytes).map_err(|e| self.tampered(&object, &e.to_string()))?;
        if inventory.format != FORMAT || inventory.kind != "inventory" {
            return Err(self.tampered(&object, "it is no inventory of this format"));
        }
        match inventory.snapshot == *id {
            true => Ok(inventory),
            false => Err(self.tampered(&object, "it is another snapshot's")),
        }
    }

    /// Opens the body of an envelope; the keyring that it names has to be present.
    pub(super) async fn open_manifest(
        &self,
        id: &SnapshotId,
        envelope: &Envelope,
    ) -> Result<Manifest, RepositoryError> {
        let object = paths::manifest(id);
        match (self.keys(), &envelope.keyring) {
            (Some(keys), Some(named)) => {
                keys.check_named(named.generation, &named.digest, &object)
                    .map_err(|source| RepositoryError::Key { url: self.location().url.clone(), source })?;
            }
            (None, None) => {}
            _ => return Err(self.tampered(&object, "it does not fit the encryption of the repository")),
        }
        envelope.open(self.keys(), &object).map_err(|e| self.envelope_error(&object, e))
    }

    /// The envelope of a snapshot that exists.
    pub(super) async fn committed_envelope(&self, id: &SnapshotId) -> Result<Envelope, RepositoryError> {
        let not_found = |reason: &str| RepositoryError::SnapshotNotFound {
            selector: id.to_string(),
            url: self.location().url.clone(),
            reason: reason.to_owned(),
        };
        let bytes = self.read_raw(&paths::manifest(id)).await?;
        // What was deleted by the book may go, and an aborted run was never seen as a snapshot.
        if self.read_raw(&paths::deleted(id)).await?.is_some() {
            self.forget_seen(id);
            return Err(not_found(": it was deleted"));
        }
        let envelope = bytes.as_deref().map(|bytes| self.envelope(id, bytes)).transpose()?;
        match (envelope, bytes) {
            (Some(envelope), Some(bytes)) if envelope.state == State::Committed => {
                self.check_seen(id, &bytes)?;
                Ok(envelope)
            }
            (Some(_), Some(bytes)) => {
                self.check_unseen(id, Some(&bytes))?;
                Err(not_found(": its run was aborted before it committed"))
            }
            _ => {
                self.check_unseen(id, None)?;
                Err(not_found(""))
            }
        }
    }

    async fn summary(&self, id: &SnapshotId) -> Result<Option<SnapshotSummary>, RepositoryError> {
        let Some(bytes) = self.read_raw(&paths::manifest(id)).await? else {
            // It may have been deleted by the book since the marks were listed.
            if self.read_raw(&paths::deleted(id)).await?.is_some() {
                self.forget_seen(id);
                return Ok(None);
            }
            self.check_unseen(id, None)?;
            return Ok(None);
        };
        let envelope = self.envelope(id, &bytes)?;
        if envelope.state == State::Aborted {
            self.check_unseen(id, Some(&bytes))?;
            return Ok(None);
        }
        self.check_seen(id, &bytes)?;
        let manifest = self.open_manifest(id, &envelope).await?;
        Ok(Some(SnapshotSummary::of(&manifest)))
    }

    /// The ids of all snapshot folders without a deleted mark, oldest first. Some may not be committed.
    pub(super) async fn snapshot_ids(&self, what: &'static str) -> Result<Vec<SnapshotId>, RepositoryError> {
        let location = self.location();
        if !location.lists {
            return Err(RepositoryError::NeedsListing { url: location.url.clone(), what });
        }
        let folders = location
            .store
            .list_with_delimiter(Some(&self.path("snapshots")?))
            .await
            .map_err(self.failed("list", "snapshots"))?;
        let marks = location
            .store
            .list_with_delimiter(Some(&self.path("control/deleted")?))
            .await
            .map_err(self.failed("list", "control/deleted"))?;
        let deleted: HashSet<&str> = marks.objects.iter().filter_map(|m| m.location.filename()).collect();
        let mut ids: Vec<SnapshotId> = folders
            .common_prefixes
            .iter()
            .filter_map(|folder| folder.filename().filter(|name| !deleted.contains(name))?.parse().ok())
            .collect();
        // Whoever has seen a snapshot misses it where even its folder is gone.
        let seen = self.anchor().map(Anchor::snapshots).unwrap_or_default();
        ids.extend(seen.into_iter().filter(|id| !deleted.contains(id.as_str())));
        ids.sort();
        ids.dedup();
        Ok(ids)
    }
}

impl SnapshotSummary {
    fn of(manifest: &Manifest) -> Self {
        Self {
            id: manifest.snapshot.clone(),
            status: Some(manifest.status),
            created: manifest.created,
            finished: Some(manifest.finished),
            pipeline: manifest.pipeline.name.clone(),
            datasets: manifest.datasets.iter().map(|d| d.name.clone()).collect(),
            rows: manifest.datasets.iter().fold(0, |sum, d| sum.saturating_add(d.rows)),
            stored_bytes: manifest.files().fold(0, |sum, f| sum.saturating_add(f.stored_bytes)),
            problem: None,
        }
    }

    fn damaged(id: SnapshotId, problem: String) -> Self {
        Self {
            created: id.time(),
            id,
            status: None,
            finished: None,
            pipeline: String::new(),
            datasets: Vec::new(),
            rows: 0,
            stored_bytes: 0,
            problem: Some(problem),
        }
    }
}

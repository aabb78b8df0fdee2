//! Verification: reads what snapshots name, and reports everything that is not what was written.
//!
//! A check without a key ([`Verifier::without_key`]) compares all stored bytes with the inventory, which lies in clear. It
//! finds accidents; who can write the store can make it fit. With the key, and in a plain repository, manifest and
//! inventory are compared too, damage is placed to the byte ranges that it touches, and datasets and rows are named.

mod object;
mod pieces;
mod report;
mod sample;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt, TryStreamExt};

use super::envelope::Envelope;
use super::header::Header;
use super::open::generations;
use super::paths::{self, REPOSITORY_OBJECT};
use super::{
    ArtifactEntry, ExitClass, FileEntry, Inventory, InventoryEntry, Manifest, Repository, RepositoryError, SnapshotId,
    failed, small,
};
use crate::keys;
use crate::location::Location;

use object::{Expected, Work};
pub use report::{Concerned, Coverage, Finding, FindingKind, SnapshotReport, StoredRange};
pub use sample::{BadPart, Part};

/// Which stored bytes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// All of them.
    All,
    /// All metadata and headers, every length, and this part of the data.
    Sample(Part),
}

/// How to verify.
#[derive(Clone, Copy)]
pub struct VerifyOptions<'a> {
    /// Which stored bytes are read.
    pub depth: Depth,
    /// Objects read at once, at least 1.
    pub parallel: usize,
    /// Told the stored bytes that were read since it was last told.
    pub advance: &'a (dyn Fn(u64) + Send + Sync),
}

/// Verifies the snapshots of one repository.
#[derive(Debug)]
pub struct Verifier {
    repository: Repository,
    /// An encrypted repository without its key.
    sealed: bool,
}

impl Verifier {
    /// With the key, or of a plain repository.
    pub fn new(repository: Repository) -> Self {
        Self { repository, sealed: false }
    }

    /// Without a key.
    ///
    /// # Errors
    /// As [`Repository::open`], without 12.
    pub async fn without_key(location: Location) -> Result<Self, RepositoryError> {
        let bytes = small::read_if_there(location.store.as_ref(), &location.path(REPOSITORY_OBJECT)?)
            .await
            .map_err(failed(&location, "read", REPOSITORY_OBJECT))?
            .ok_or_else(|| RepositoryError::NotFound { url: location.url.clone() })?;
        let header = Header::decode(&location.url, &bytes)?;
        if !header.encrypted {
            return Ok(Self::new(Repository::open(location, None).await?));
        }
        // Never handed out: its layer would take containers for plain data.
        Ok(Self { repository: Repository::new(location, header.id, None, Vec::new()), sealed: true })
    }

    /// Whether this is an encrypted repository without its key.
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Where the repository lies.
    pub fn location(&self) -> &Location {
        self.repository.location()
    }

    /// The snapshot that a selector stands for, as [`Repository::resolve`].
    pub async fn resolve(&self, selector: &str) -> Result<SnapshotId, RepositoryError> {
        self.repository.resolve(selector).await
    }

    /// The committed snapshots, oldest first, and those whose manifest is damaged.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotId>, RepositoryError> {
        let mut found = Vec::new();
        for id in self.repository.snapshot_ids("verifying all snapshots").await? {
            match self.repository.committed_envelope(&id).await {
                Err(RepositoryError::SnapshotNotFound { .. }) => {}
                Err(e) if !report::is_finding(&e) => return Err(e),
                Ok(_) | Err(_) => found.push(id),
            }
        }
        Ok(found)
    }

    /// What is wrong with the keyring but keeps nobody from reading: generations that are damaged or out of the chain.
    /// Without the key, only what their own digests tell.
    pub async fn keyring(&self) -> Result<Vec<Finding>, RepositoryError> {
        if !self.sealed {
            return Ok(self.repository.warnings().iter().map(|warning| Finding::metadata("keys", warning)).collect());
        }
        let present = generations(self.location()).await?;
        let problems = keys::damaged_generations(&present);
        Ok(problems.iter().map(|(number, problem)| Finding::metadata(&paths::keyring(*number), problem)).collect())
    }

    /// Verifies one snapshot. What is wrong with it is in the report; an error is what kept it from being read.
    ///
    /// # Errors
    /// The store did not answer or refused, no such snapshot, or a sample without the key.
    pub async fn snapshot(
        &self,
        id: &SnapshotId,
        options: &VerifyOptions<'_>,
    ) -> Result<SnapshotReport, RepositoryError> {
        let mut report = SnapshotReport::new(id.clone());
        let Some(named) = self.named(id, &mut report).await? else { return Ok(report) };
        let expected = named.objects(&self.repository, self.sealed);
        report.coverage = Coverage::of(&expected);
        let work = Work { location: self.location(), keys: self.repository.keys(), options };
        let sampled = match options.depth {
            Depth::All => BTreeMap::new(),
            Depth::Sample(_) if self.sealed => return Err(self.no_key()),
            Depth::Sample(part) => sample::choose(&expected, part),
        };
        let checks = expected.iter().map(|object| {
            let units = match options.depth {
                Depth::All => None,
                Depth::Sample(_) => Some(sampled.get(object.path.as_str()).cloned().unwrap_or_default()),
            };
            work.check(object, units)
        });
        let mut checked = futures::stream::iter(checks).buffered(options.parallel.max(1));
        while let Some(one) = checked.try_next().await? {
            report.add(one);
        }
        report.manifest = named.manifest;
        Ok(report)
    }

    /// What the snapshot consists of, as far as its metadata can be trusted; what is wrong with that is reported.
    async fn named(&self, id: &SnapshotId, report: &mut SnapshotReport) -> Result<Option<Named>, RepositoryError> {
        let Some(envelope) = report.take(self.repository.committed_envelope(id).await)? else { return Ok(None) };
        let manifest = match self.sealed {
            true => None,
            false => report.take(self.repository.open_manifest(id, &envelope).await)?,
        };
        let inventory = report.take(self.repository.inventory_of(id, envelope.inventory.as_ref()).await)?;
        if let (Some(manifest), Some(inventory)) = (&manifest, &inventory)
            && Inventory::of(manifest).objects != inventory.objects
        {
            report
                .findings
                .push(Finding::metadata(&paths::manifest(id), "it does not name the objects of its inventory"));
        }
        report.metadata_bytes = metadata_bytes(&envelope, inventory.as_ref());
        let inventory = inventory.map(|inventory| inventory.objects).unwrap_or_default();
        Ok(Some(Named { manifest, inventory }))
    }

    fn no_key(&self) -> RepositoryError {
        RepositoryError::Key { url: self.location().url.clone(), source: keys::KeyError::Missing }
    }
}

fn metadata_bytes(envelope: &Envelope, inventory: Option<&Inventory>) -> u64 {
    match (inventory, &envelope.inventory) {
        (Some(_), Some(named)) => named.stored_bytes,
        _ => 0,
    }
}

/// What a snapshot says that it consists of.
struct Named {
    manifest: Option<Manifest>,
    inventory: Vec<InventoryEntry>,
}

impl Named {
    /// The objects, by path. Of one that only the inventory names nothing but length and digest is known.
    fn objects(&self, repository: &Repository, sealed: bool) -> Vec<Expected> {
        let mut known: HashMap<&str, Expected> = HashMap::new();
        for dataset in self.manifest.iter().flat_map(|manifest| &manifest.datasets) {
            for file in dataset.files.iter().chain(&dataset.delete_files) {
                for object in of_file(&dataset.name, file, repository.keys().is_some()) {
                    known.insert(object.0, object.1);
                }
            }
        }
        for artifact in self.manifest.iter().flat_map(Manifest::all_artifacts) {
            known.insert(&artifact.path, of_artifact(artifact));
        }
        let mut all: BTreeMap<String, Expected> =
            self.inventory.iter().map(|entry| (entry.path.clone(), Expected::opaque(entry, sealed))).collect();
        // What the manifest says counts: it is what reads rest on.
        all.extend(known.into_iter().map(|(path, expected)| (path.to_owned(), expected)));
        all.into_values().collect()
    }
}

/// A data file, and in a plain repository its digests.
fn of_file<'a>(dataset: &str, file: &'a FileEntry, encrypted: bool) -> Vec<(&'a str, Expected)> {
    let concerned = Concerned { dataset: dataset.to_owned(), split: file.split.clone(), rows: Some(file.rows) };
    let digests = file.blocks.as_ref().map(|blocks| {
        let expected = Expected::whole(&blocks.path, blocks.stored_bytes, &blocks.sha256, Some(concerned.clone()));
        (blocks.path.as_str(), expected)
    });
    let data = Expected::data(file, encrypted, concerned);
    std::iter::once((file.path.as_str(), data)).chain(digests).collect()
}

fn of_artifact(artifact: &ArtifactEntry) -> Expected {
    let concerned = Concerned { dataset: artifact.scope.clone(), split: String::new(), rows: None };
    Expected::whole(&artifact.path, artifact.stored_bytes, &artifact.sha256, Some(concerned))
}

/// The exit class of what verification found: 13 before 4 before 14.
pub fn class_of<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Option<ExitClass> {
    let class = |finding: &Finding| match finding.kind {
        FindingKind::Metadata => (3, ExitClass::Tampered),
        FindingKind::Data => (2, ExitClass::Damaged),
        FindingKind::TooNew => (1, ExitClass::TooNew),
    };
    findings.into_iter().map(class).max_by_key(|(rank, _)| *rank).map(|(_, class)| class)
}

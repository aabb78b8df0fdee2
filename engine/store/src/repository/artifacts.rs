//! Artifacts: definitions of the database, kept verbatim.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::small::Creation;
use super::{ArtifactEntry, Repository, RepositoryError, SnapshotId, small};

/// Different versions of one artifact that attempts of one run may leave.
const VERSIONS: usize = 100;

impl Repository {
    /// Keeps an artifact under `snapshots/<id>/artifacts/<scope>/<name>`. Written again with the same content it is the
    /// same object; with other content, after a resume, it gets a name of its own and the manifest says which counts.
    pub async fn put_artifact(
        &self,
        snapshot: &SnapshotId,
        scope: &str,
        name: &str,
        content: &[u8],
    ) -> Result<ArtifactEntry, RepositoryError> {
        self.writable()?;
        let (scope_part, name_part) = (self.path_part(scope), self.path_part(name));
        for version in 1..=VERSIONS {
            let suffix = if version == 1 { String::new() } else { format!("-{version}") };
            let object = format!("snapshots/{snapshot}/artifacts/{scope_part}/{name_part}{suffix}");
            let stored = self.seal(&object, content)?;
            let made = small::create(self.location().store.as_ref(), &self.path(&object)?, &stored)
                .await
                .map_err(self.failed("create", &object))?;
            let kept = match made {
                Creation::Created => stored,
                Creation::Exists(found) if self.unseal(&object, &found)? == content => found,
                Creation::Exists(_) => continue,
            };
            return Ok(ArtifactEntry {
                scope: scope.to_owned(),
                name: name.to_owned(),
                path: object,
                stored_bytes: kept.len() as u64,
                plain_bytes: content.len() as u64,
                sha256: HEXLOWER.encode(&Sha256::digest(&kept)),
            });
        }
        Err(self.internal(&format!("{scope}/{name} has {VERSIONS} different versions in one run")))
    }

    /// Reads an artifact and checks it against the manifest's entry.
    pub async fn artifact(&self, entry: &ArtifactEntry) -> Result<Bytes, RepositoryError> {
        let stored = self.read_raw(&entry.path).await?.ok_or_else(|| self.tampered(&entry.path, "it is missing"))?;
        if HEXLOWER.encode(&Sha256::digest(&stored)) != entry.sha256 {
            return Err(self.tampered(&entry.path, "it does not have the SHA-256 that the manifest names"));
        }
        self.unseal(&entry.path, &stored)
    }

    fn seal(&self, object: &str, content: &[u8]) -> Result<Bytes, RepositoryError> {
        match self.keys() {
            Some(keys) => keys.seal_bytes(object, content).map(Bytes::from).map_err(|e| self.internal(&e)),
            None => Ok(Bytes::copy_from_slice(content)),
        }
    }

    fn unseal(&self, object: &str, stored: &Bytes) -> Result<Bytes, RepositoryError> {
        match self.keys() {
            Some(keys) => {
                keys.open_bytes(object, stored).map(Bytes::from).map_err(|e| self.tampered(object, &e.to_string()))
            }
            None => Ok(stored.clone()),
        }
    }
}

//! What this machine remembers of a repository, so that it notices what a repository alone cannot show: a manifest that was
//! removed or exchanged, a keyring that was rolled back, a `repository.json` of another repository.
//!
//! One small file a repository and place, in a folder that the caller names ([`crate::location::Location::anchors`]). It is
//! a memory, not a part of the repository: where it cannot be kept or read nothing fails, and less is noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::paths::{self, REPOSITORY_OBJECT};
use super::{KeyringRef, Repository, RepositoryError, SnapshotId, random_hex, tampered};
use crate::keys::RepositoryId;
use crate::location::Location;

/// Of another repository that was seen at the same place, this many of the newest snapshots are looked for.
const LOOKED_FOR: usize = 3;
/// No anchor is longer.
const LARGEST: u64 = 64 << 20;

/// What is kept in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    version: u32,
    /// The address, for whoever reads the file.
    url: String,
    repository: RepositoryId,
    /// The newest generation that was seen; none of a plain repository.
    keyring: Option<KeyringRef>,
    /// SHA-256 of the manifests that were seen, in hex.
    snapshots: BTreeMap<SnapshotId, String>,
}

/// The memory of one open repository.
#[derive(Debug)]
pub(super) struct Anchor {
    file: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    memory: Memory,
    /// Snapshots that were deleted by the book.
    forgotten: BTreeSet<SnapshotId>,
    changed: bool,
}

impl Anchor {
    /// Reads what is remembered of this repository at this place; an empty memory where that is nothing.
    fn load(folder: &Path, location: &Location, id: RepositoryId) -> Self {
        let file = folder.join(format!("{}-{id}.json", place_of(location)));
        let empty =
            Memory { version: 1, url: location.url.clone(), repository: id, keyring: None, snapshots: BTreeMap::new() };
        let memory = read(&file).filter(|memory| memory.repository == id).unwrap_or(empty);
        Self { file, state: Mutex::new(State { memory, forgotten: BTreeSet::new(), changed: false }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The snapshots that were seen.
    pub(super) fn snapshots(&self) -> Vec<SnapshotId> {
        self.state().memory.snapshots.keys().cloned().collect()
    }

    /// Writes what is new, with what another process has written meanwhile.
    fn keep(&self) {
        let mut state = self.state();
        if !state.changed {
            return;
        }
        state.changed = false;
        let mut memory = state.memory.clone();
        if let Some(theirs) = read(&self.file).filter(|theirs| theirs.repository == memory.repository) {
            for (id, sha256) in theirs.snapshots {
                if !state.forgotten.contains(&id) {
                    memory.snapshots.entry(id).or_insert(sha256);
                }
            }
            let newer = |a: &KeyringRef, b: &KeyringRef| a.generation > b.generation;
            memory.keyring = match (memory.keyring, theirs.keyring) {
                (Some(ours), Some(theirs)) if newer(&theirs, &ours) => Some(theirs),
                (ours, theirs) => ours.or(theirs),
            };
        }
        // A memory that cannot be kept costs nothing but itself.
        let _ = write(&self.file, &memory);
        state.memory = memory;
    }
}

/// Names the place: the same for every spelling of a local folder.
fn place_of(location: &Location) -> String {
    let place = match location.url.contains("://") {
        true => location.url.trim_end_matches('/'),
        false => location.root.as_ref(),
    };
    let digest = HEXLOWER.encode(&Sha256::digest(place.as_bytes()));
    digest.get(..32).unwrap_or(&digest).to_owned()
}

fn read(file: &Path) -> Option<Memory> {
    if fs::metadata(file).ok()?.len() > LARGEST {
        return None;
    }
    serde_json::from_slice(&fs::read(file).ok()?).ok().filter(|memory: &Memory| memory.version == 1)
}

/// Replaces the file at once, so that no process reads half of it.
fn write(file: &Path, memory: &Memory) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let random = random_hex().map_err(std::io::Error::other)?;
    let temporary = folder.join(format!(".{random}.tmp"));
    let written = (|| {
        let mut open = fs::File::create_new(&temporary)?;
        open.write_all(&serde_json::to_vec(memory)?)?;
        fs::rename(&temporary, file)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

impl Repository {
    /// Compares the repository with what this machine remembers of the place, and remembers its keyring from now on.
    pub(super) async fn anchored(self) -> Result<Self, RepositoryError> {
        let Some(folder) = self.location().anchors.clone() else { return Ok(self) };
        let anchor = Anchor::load(&folder, self.location(), self.id());
        let known = anchor.state().memory.keyring.clone();
        match (&known, self.keys()) {
            (Some(known), Some(keys)) => {
                let object = format!("{}, which remembers what this machine saw,", anchor.file.display());
                keys.check_named(known.generation, &known.digest, &object)
                    .map_err(|source| RepositoryError::Key { url: self.location().url.clone(), source })?;
            }
            (Some(_), None) => {
                let problem = format!("it says that nothing is encrypted, but {}", seen(&anchor.file));
                return Err(self.tampered(REPOSITORY_OBJECT, &problem));
            }
            (None, _) => {}
        }
        not_exchanged(self.location(), &folder, &anchor.file).await?;
        Ok(self.remembered(anchor))
    }

    /// After a change of its own to the keyring: that is remembered at once, and nothing is left to compare.
    pub(super) fn changed_here(self) -> Self {
        match self.location().anchors.clone() {
            Some(folder) => {
                let anchor = Anchor::load(&folder, self.location(), self.id());
                self.remembered(anchor)
            }
            None => self,
        }
    }

    fn remembered(self, anchor: Anchor) -> Self {
        let present = self.keyring_ref();
        let mut state = anchor.state();
        if state.memory.keyring != present {
            state.memory.keyring = present;
            state.changed = true;
        }
        drop(state);
        anchor.keep();
        self.set_anchor(anchor);
        self
    }

    /// Compares the manifest of a committed snapshot with the one that was seen, and remembers it from now on.
    pub(super) fn check_seen(&self, id: &SnapshotId, manifest: &[u8]) -> Result<(), RepositoryError> {
        let Some(anchor) = self.anchor() else { return Ok(()) };
        let found = HEXLOWER.encode(&Sha256::digest(manifest));
        let mut state = anchor.state();
        match state.memory.snapshots.get(id) {
            Some(known) if *known == found => Ok(()),
            Some(_) => Err(self.exchanged(id, anchor)),
            None => {
                state.memory.snapshots.insert(id.clone(), found);
                state.changed = true;
                Ok(())
            }
        }
    }

    /// Where there is no committed manifest (none, or an aborted one): an error if one was seen.
    pub(super) fn check_unseen(&self, id: &SnapshotId, found: Option<&[u8]>) -> Result<(), RepositoryError> {
        match self.anchor() {
            Some(anchor) if anchor.state().memory.snapshots.contains_key(id) => Err(match found {
                Some(_) => self.exchanged(id, anchor),
                None => self.tampered(&paths::manifest(id), &format!("it is gone: {}", seen(&anchor.file))),
            }),
            _ => Ok(()),
        }
    }

    fn exchanged(&self, id: &SnapshotId, anchor: &Anchor) -> RepositoryError {
        self.tampered(&paths::manifest(id), &format!("it is another manifest than before: {}", seen(&anchor.file)))
    }

    /// Forgets a snapshot that was deleted by the book.
    pub(super) fn forget_seen(&self, id: &SnapshotId) {
        let Some(anchor) = self.anchor() else { return };
        let mut state = anchor.state();
        if state.memory.snapshots.remove(id).is_some() {
            state.changed = true;
        }
        state.forgotten.insert(id.clone());
    }

    /// Writes down what was seen.
    pub(super) fn keep_seen(&self) {
        if let Some(anchor) = self.anchor() {
            anchor.keep();
        }
    }
}

fn seen(file: &Path) -> String {
    format!("this machine has seen it (noted in {}; remove that file if the change was meant)", file.display())
}

/// Where another repository was seen at the same place and its snapshots are still there, only `repository.json` was
/// exchanged. Where they are gone, the place was given to a new repository.
async fn not_exchanged(location: &Location, folder: &Path, own: &Path) -> Result<(), RepositoryError> {
    let place = format!("{}-", place_of(location));
    let Ok(files) = fs::read_dir(folder) else { return Ok(()) };
    for file in files.flatten().map(|entry| entry.path()) {
        let named = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&place));
        let Some(other) = (named && file != own).then(|| read(&file)).flatten() else { continue };
        for (id, sha256) in other.snapshots.iter().rev().take(LOOKED_FOR) {
            let object = paths::manifest(id);
            let found = super::small::read_if_there(location.store.as_ref(), &location.path(&object)?)
                .await
                .map_err(super::failed(location, "read", &object))?;
            if found.is_some_and(|bytes| HEXLOWER.encode(&Sha256::digest(&bytes)) == *sha256) {
                let problem =
                    format!("it is that of another repository than before ({}): {}", other.repository, seen(&file));
                return Err(tampered(location, REPOSITORY_OBJECT, &problem));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;
    use crate::keys::KeySource;
    use crate::location::Location;
    use crate::repository::testing::{create, faulty, key, snapshot};
    use crate::repository::{ExitClass, Manifest};

    struct Client {
        location: Location,
        key: Option<KeySource>,
        _folder: tempfile::TempDir,
    }

    impl Client {
        /// A repository at a place that has two snapshots, and a client that remembers.
        async fn new(key: Option<KeySource>) -> (Self, [Manifest; 2]) {
            let (_, mut location) = faulty();
            let repository = create(&location, key.as_ref()).await;
            let snapshots = [snapshot(&repository, 1, b"one").await, snapshot(&repository, 2, b"two").await];
            let folder = tempfile::tempdir().unwrap();
            location.anchors = Some(folder.path().join("anchors"));
            (Self { location, key, _folder: folder }, snapshots)
        }

        async fn open(&self) -> Result<Repository, RepositoryError> {
            Repository::open(self.location.clone(), self.key.as_ref()).await
        }

        async fn remove(&self, object: &str) {
            self.location.store.delete(&self.location.path(object).unwrap()).await.unwrap();
        }

        async fn bytes(&self, object: &str) -> bytes::Bytes {
            self.location.store.get(&self.location.path(object).unwrap()).await.unwrap().bytes().await.unwrap()
        }

        async fn put(&self, object: &str, bytes: bytes::Bytes) {
            self.location.store.put(&self.location.path(object).unwrap(), bytes.into()).await.unwrap();
        }
    }

    fn is_tampered<T: std::fmt::Debug>(found: Result<T, RepositoryError>, words: &str) {
        let error = found.unwrap_err();
        assert_eq!(error.exit_class(), ExitClass::Tampered, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }

    #[tokio::test]
    async fn a_manifest_that_was_seen_is_missed() {
        for key in [None, Some(key())] {
            let (client, [first, second]) = Client::new(key).await;
            assert_eq!(client.open().await.unwrap().snapshots().await.unwrap().len(), 2);
            client.remove(&paths::manifest(&second.snapshot)).await;
            let repository = client.open().await.unwrap();
            is_tampered(repository.resolve("latest").await, "it is gone: this machine has seen it");
            is_tampered(repository.manifest(&second.snapshot).await, "it is gone");
            is_tampered(repository.resolve(second.snapshot.as_str()).await, "it is gone");
            let listed = repository.snapshots().await.unwrap();
            assert_eq!(listed.len(), 2);
            assert!(listed[1].problem.as_ref().unwrap().contains("it is gone"));
            assert_eq!(repository.manifest(&first.snapshot).await.unwrap(), first);
            // Who has never seen it cannot know.
            let stranger = Location { anchors: None, ..client.location.clone() };
            let repository = Repository::open(stranger, client.key.as_ref()).await.unwrap();
            assert_eq!(repository.resolve("latest").await.unwrap(), first.snapshot);
        }
    }

    #[tokio::test]
    async fn what_was_committed_here_was_seen() {
        let (client, _) = Client::new(Some(key())).await;
        let made = snapshot(&client.open().await.unwrap(), 9, b"three").await;
        client.remove(&paths::manifest(&made.snapshot)).await;
        is_tampered(client.open().await.unwrap().resolve("latest").await, "it is gone");
    }

    #[tokio::test]
    async fn another_manifest_is_noticed_and_a_deleted_snapshot_forgotten() {
        let (client, [first, second]) = Client::new(None).await;
        client.open().await.unwrap().snapshots().await.unwrap();
        let aborted = super::super::envelope::Envelope::abort(&second.snapshot, "00").unwrap();
        client.put(&paths::manifest(&second.snapshot), aborted).await;
        is_tampered(client.open().await.unwrap().resolve("latest").await, "another manifest than before");
        client.put(&paths::deleted(&second.snapshot), bytes::Bytes::from_static(b"{}")).await;
        client.remove(&paths::manifest(&second.snapshot)).await;
        let repository = client.open().await.unwrap();
        assert_eq!(repository.resolve("latest").await.unwrap(), first.snapshot);
        assert_eq!(repository.snapshots().await.unwrap().len(), 1);
        let gone = repository.resolve(second.snapshot.as_str()).await.unwrap_err();
        assert_eq!(gone.exit_class(), ExitClass::NotFound);
    }

    #[tokio::test]
    async fn a_keyring_that_was_rolled_back_is_noticed() {
        let first = key();
        let (client, _) = Client::new(Some(first.clone())).await;
        // Who made the change knows it, without opening the repository again.
        client.open().await.unwrap().add_key(&first, &key()).await.unwrap();
        client.remove("keys/2.json").await;
        is_tampered(client.open().await, "the newest that holds is 1");
    }

    #[tokio::test]
    async fn repository_json_of_another_is_noticed_and_a_new_repository_is_not() {
        let (client, _) = Client::new(None).await;
        client.open().await.unwrap().snapshots().await.unwrap();
        let (other, _) = Client::new(None).await;
        let own = client.bytes(REPOSITORY_OBJECT).await;
        let foreign = other.bytes(REPOSITORY_OBJECT).await;
        client.put(REPOSITORY_OBJECT, foreign.clone()).await;
        is_tampered(client.open().await, "another repository than before");
        client.put(REPOSITORY_OBJECT, own).await;
        for id in client.open().await.unwrap().snapshots().await.unwrap() {
            client.remove(&paths::manifest(&id.id)).await;
        }
        client.put(REPOSITORY_OBJECT, foreign).await;
        assert!(client.open().await.unwrap().snapshots().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_memory_that_cannot_be_read_or_kept_fails_nothing() {
        let (mut client, _) = Client::new(None).await;
        let file = tempfile::NamedTempFile::new().unwrap();
        client.location.anchors = Some(file.path().join("below a file"));
        assert_eq!(client.open().await.unwrap().snapshots().await.unwrap().len(), 2);
        let folder = tempfile::tempdir().unwrap();
        client.location.anchors = Some(folder.path().to_owned());
        client.open().await.unwrap().snapshots().await.unwrap();
        for entry in fs::read_dir(folder.path()).unwrap() {
            fs::write(entry.unwrap().path(), b"{\"version\":").unwrap();
        }
        assert_eq!(client.open().await.unwrap().snapshots().await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn processes_remember_together() {
        let (client, [first, second]) = Client::new(None).await;
        let (a, b) = (client.open().await.unwrap(), client.open().await.unwrap());
        a.manifest(&first.snapshot).await.unwrap();
        b.manifest(&second.snapshot).await.unwrap();
        let c = client.open().await.unwrap();
        assert_eq!(c.anchor().unwrap().snapshots(), [first.snapshot.clone(), second.snapshot.clone()]);
    }
}

//! Places to keep repositories: copied, read and damaged below all layers.

use std::collections::BTreeMap;
use std::path::Path as FsPath;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use restow_store::fault::{FaultStore, Faults};
use restow_store::keys::{KeySource, RepositoryKey};
use restow_store::location::{self, Location, StoreOptions};
use tempfile::TempDir;
use zeroize::Zeroizing;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Memory,
    Local,
}

pub const BACKENDS: [Backend; 2] = [Backend::Memory, Backend::Local];

/// A fresh, empty place for a repository.
pub struct Place {
    backend: Backend,
    memory: Arc<InMemory>,
    dir: Option<TempDir>,
}

/// A directory in memory where there is one: these tests ask whether names and bytes are right, not whether they are
/// synced.
pub fn directory() -> TempDir {
    let shm = FsPath::new("/dev/shm");
    let builder = tempfile::Builder::new().prefix("restow-faults-").to_owned();
    if shm.is_dir() { builder.tempdir_in(shm).unwrap() } else { builder.tempdir().unwrap() }
}

impl Place {
    pub fn new(backend: Backend) -> Self {
        let dir = (backend == Backend::Local).then(directory);
        Self { backend, memory: Arc::new(InMemory::new()), dir }
    }

    /// The place as a new process sees it.
    pub fn location(&self) -> Location {
        match &self.dir {
            Some(dir) => {
                let path = dir.path().join("deep/er").display().to_string();
                location::open(&path, &StoreOptions::default()).unwrap()
            }
            None => Location::new(Arc::clone(&self.memory) as _, Path::from("some/where"), "memory:faults"),
        }
    }

    /// The place as a new process sees it through a fault plan.
    pub fn faulty(&self, faults: &Arc<Faults>) -> Location {
        FaultStore::over(&self.location(), faults)
    }

    /// Another place with the same objects.
    pub async fn copy(&self) -> Self {
        let copy = Self::new(self.backend);
        for (path, bytes) in self.objects().await {
            copy.set(&path, bytes).await;
        }
        copy
    }

    /// Every stored object.
    pub async fn objects(&self) -> BTreeMap<String, Bytes> {
        let location = self.location();
        let listed: Vec<_> = location.store.list(Some(&location.root)).try_collect().await.unwrap();
        let mut all = BTreeMap::new();
        for meta in listed {
            let bytes = location.store.get(&meta.location).await.unwrap().bytes().await.unwrap();
            all.insert(location.relative(&meta.location).unwrap().to_owned(), bytes);
        }
        all
    }

    /// Writes an object below all layers, replacing what is there.
    pub async fn set(&self, relative: &str, bytes: Bytes) {
        let location = self.location();
        match &self.dir {
            Some(dir) => {
                let file = dir.path().join("deep/er").join(relative);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, bytes).unwrap();
            }
            None => {
                location.store.put(&location.path(relative).unwrap(), bytes.into()).await.unwrap();
            }
        }
    }

    /// Removes an object below all layers.
    pub async fn remove(&self, relative: &str) {
        let location = self.location();
        location.store.delete(&location.path(relative).unwrap()).await.unwrap();
    }
}

pub fn new_key() -> KeySource {
    KeySource::Key(Zeroizing::new(RepositoryKey::random().unwrap().text().to_string()))
}

/// A plain repository, and one with a key.
pub fn plain_and_encrypted() -> [Option<KeySource>; 2] {
    [None, Some(new_key())]
}

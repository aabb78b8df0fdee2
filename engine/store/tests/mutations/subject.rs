//! The repositories that are mutated: the golden ones of `tests/fixtures`, and those of the format's document, which have
//! two generations of the keyring, a passphrase and artifacts.

use std::collections::BTreeMap;
use std::path::Path as FsPath;
use std::sync::Arc;

use bytes::Bytes;
use restow_store::keys::{KeySource, Keys};
use restow_store::location::Location;
use restow_store::repository::{Repository, SnapshotId};
use zeroize::Zeroizing;

use crate::read::{Found, everything};
use crate::store::{Hostile, Lie};
use crate::vectors;

/// A repository on a store that does not mean well.
pub struct Subject {
    pub name: &'static str,
    pub objects: BTreeMap<String, Bytes>,
    /// What opens it by `key`; none where it is plain.
    pub keys: Option<Keys>,
    /// What reading gives while nothing is changed.
    pub good: Found,
    pub key: Option<KeySource>,
    ids: Vec<SnapshotId>,
    runs: Vec<String>,
    store: Arc<Hostile>,
    pub location: Location,
}

/// What is different from the good repository.
#[derive(Debug, Default)]
pub struct Change {
    /// Other bytes, or new objects.
    pub set: Vec<(String, Bytes)>,
    /// What the store says that is not so.
    pub lie: Option<(String, Lie)>,
}

impl Subject {
    /// All of them. `fixtures` is the folder `tests/fixtures`.
    pub async fn all(fixtures: &FsPath) -> Vec<Self> {
        let golden = fixtures.join("format-1");
        let key = std::fs::read_to_string(golden.join("encrypted.key")).unwrap();
        let text = |text: &str| Zeroizing::new(text.to_owned());
        vec![
            Self::of("plain", files(&golden.join("plain")), None).await,
            Self::of("encrypted", files(&golden.join("encrypted")), Some(KeySource::Key(text(&key)))).await,
            Self::of("document, plain", document("plain"), None).await,
            Self::of("document, passphrase", document("encrypted"), Some(KeySource::Passphrase(text("correct horse"))))
                .await,
        ]
    }

    async fn of(name: &'static str, objects: BTreeMap<String, Bytes>, key: Option<KeySource>) -> Self {
        let (store, location) = Hostile::place().await;
        for (path, bytes) in &objects {
            store.set(&location, path, Some(bytes)).await;
        }
        let (ids, runs) = (folders(&objects, "snapshots/"), folders(&objects, "runs/"));
        let ids = ids.iter().map(|id| id.parse().unwrap()).collect();
        let keys = Repository::open(location.clone(), key.as_ref()).await.unwrap().keys().cloned();
        let mut subject = Self { name, objects, keys, good: Found::default(), key, ids, runs, store, location };
        subject.good = subject.read(&Change::default()).await;
        subject
    }

    /// Reads the repository with a change, which is undone again.
    pub async fn read(&self, change: &Change) -> Found {
        for (path, bytes) in &change.set {
            self.store.set(&self.location, path, Some(bytes)).await;
        }
        if let Some((path, lie)) = &change.lie {
            self.store.lie(&self.location, path, Some(*lie));
        }
        let found = everything(&self.location, self.key.as_ref(), &self.ids, &self.runs).await;
        self.undo(change).await;
        found
    }

    /// What the store says of an object, or of a folder, from now on.
    pub fn lie(&self, path: &str, lie: Option<Lie>) {
        self.store.lie(&self.location, path, lie);
    }

    /// Makes the repository good again.
    pub async fn undo(&self, change: &Change) {
        for (path, _) in &change.set {
            self.store.set(&self.location, path, self.objects.get(path)).await;
        }
        if let Some((path, _)) = &change.lie {
            self.store.lie(&self.location, path, None);
        }
    }
}

/// The names of the folders directly below `prefix`.
fn folders(objects: &BTreeMap<String, Bytes>, prefix: &str) -> Vec<String> {
    let mut names: Vec<String> =
        objects.keys().filter_map(|path| Some(path.strip_prefix(prefix)?.split('/').next()?.to_owned())).collect();
    names.dedup();
    names
}

fn document(name: &str) -> BTreeMap<String, Bytes> {
    vectors::objects(name).into_iter().map(|(path, bytes)| (path, Bytes::from(bytes))).collect()
}

fn files(root: &FsPath) -> BTreeMap<String, Bytes> {
    let (mut all, mut folders) = (BTreeMap::new(), vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                all.insert(relative, Bytes::from(std::fs::read(&path).unwrap()));
            }
        }
    }
    all
}

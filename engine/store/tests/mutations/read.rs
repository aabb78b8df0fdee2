//! Reads all that a repository holds, in every way that commands do: the one function behind the mutations and the fuzz
//! target. It goes on behind an error, so that one damaged object does not hide what reading the others does.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use restow_store::keys::KeySource;
use restow_store::location::Location;
use restow_store::repository::{
    ArtifactEntry, FileEntry, Manifest, Repository, RepositoryError, SnapshotId, WrittenObject, exit_class_of,
};
use restow_store::run_state::{Claim, Receipt, RunStateStore};
use serde::Serialize;

/// No object of the repositories that are read here is longer: a read that goes on behind it never ends.
const ENDLESS: usize = 64 << 20;

/// An error: where it came up, its exit code, its words.
#[derive(Debug)]
pub struct Finding {
    pub place: String,
    pub code: u8,
    pub problem: String,
}

/// What reading gave.
#[derive(Debug, Default)]
pub struct Found {
    /// What was read without an error, by what it is.
    pub content: BTreeMap<String, Bytes>,
    /// What was refused, warned of, or listed as damaged.
    pub findings: Vec<Finding>,
}

/// Reads the repository at `location`: what it lists, and by name these snapshots and runs.
pub async fn everything(location: &Location, key: Option<&KeySource>, ids: &[SnapshotId], runs: &[String]) -> Found {
    let mut found = Found::default();
    let _ = (Repository::exists(location).await, Repository::made(location).await);
    let opened = Repository::open(location.clone(), key).await;
    let Some(repository) = found.keep("open", opened) else { return found };
    for warning in repository.warnings() {
        found.refuse("a warning", 13, warning.clone());
    }
    found.lists(&repository).await;
    for id in ids {
        match repository.manifest(id).await {
            // That there is none is an answer, too: right for one that was aborted, and for no other.
            Err(e) if e.exit_class().code() == 10 => found.add(format!("no snapshot {id}"), Bytes::new()),
            result => {
                if let Some(manifest) = found.keep(&format!("manifest {id}"), result) {
                    found.snapshot(&repository, &manifest).await;
                }
            }
        }
    }
    found.runs(&repository.run_state(), runs).await;
    found.keys(&repository).await;
    found
}

impl Found {
    fn refuse(&mut self, place: &str, code: u8, problem: String) {
        self.findings.push(Finding { place: place.to_owned(), code, problem });
    }

    fn keep<T>(&mut self, place: &str, result: Result<T, RepositoryError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(e) => {
                self.refuse(place, e.exit_class().code(), e.to_string());
                None
            }
        }
    }

    fn stored<T>(&mut self, place: &str, result: object_store::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(e) => {
                self.refuse(place, exit_class_of(&e).code(), e.to_string());
                None
            }
        }
    }

    fn add(&mut self, what: String, content: Bytes) {
        self.content.insert(what, content);
    }

    /// Debug or JSON would do; what is compared is only ever made here.
    fn add_value(&mut self, what: String, value: &(impl Serialize + Debug)) {
        let text = serde_json::to_vec(value).unwrap_or_else(|e| format!("{e}: {value:?}").into_bytes());
        self.add(what, text.into());
    }

    async fn lists(&mut self, repository: &Repository) {
        for summary in self.keep("list", repository.snapshots().await).into_iter().flatten() {
            match &summary.problem {
                Some(problem) => self.refuse("listed", 13, problem.clone()),
                None => self.add(format!("listed {}", summary.id), format!("{summary:?}").into()),
            }
        }
        for selector in ["latest", "2", "20", "", "20260131T023000Z-k7q2mzx4a"] {
            match repository.resolve(selector).await {
                Ok(id) => self.add(format!("selected {selector:?}"), id.to_string().into()),
                // None fits, or more than one.
                Err(e) if e.exit_class().code() == 10 => {}
                Err(e) => self.refuse(selector, e.exit_class().code(), e.to_string()),
            }
        }
        // Sizes in listings are only as good as the store: looked at, and not believed.
        let root = &repository.location().root;
        let _ = repository.objects().list(Some(root)).try_collect::<Vec<_>>().await;
        let _ = repository.objects().list_with_delimiter(Some(root)).await;
    }

    async fn snapshot(&mut self, repository: &Repository, manifest: &Manifest) {
        self.add_value(format!("manifest {}", manifest.snapshot), manifest);
        if let Some(inventory) = self.keep("inventory", repository.inventory(manifest).await) {
            self.add_value(format!("inventory {}", manifest.snapshot), &inventory);
        }
        for file in manifest.files() {
            self.file(repository, file).await;
        }
        for artifact in manifest.datasets.iter().flat_map(|d| &d.artifacts).chain(&manifest.artifacts) {
            self.artifact(repository, artifact).await;
        }
    }

    async fn artifact(&mut self, repository: &Repository, artifact: &ArtifactEntry) {
        if let Some(bytes) = self.keep(&artifact.path, repository.artifact(artifact).await) {
            self.add(format!("artifact {}", artifact.path), bytes);
        }
    }

    async fn file(&mut self, repository: &Repository, file: &FileEntry) {
        self.keep(&file.path, repository.remember(file));
        let Some(path) = self.keep(&file.path, repository.path(&file.path)) else { return };
        let store = repository.objects();
        let whole = whole(store.as_ref(), &path).await;
        if let Some(bytes) = self.stored(&file.path, whole) {
            if bytes.len() > ENDLESS {
                self.refuse(&file.path, 1, "it never ends".to_owned());
            }
            self.add(format!("data {}", file.path), bytes);
        }
        for range in ranges(file) {
            let read = store.get_range(&path, range.clone()).await;
            if let Some(bytes) = self.stored(&file.path, read) {
                self.add(format!("{range:?} of {}", file.path), bytes);
            }
        }
        self.several(store.as_ref(), &path, file).await;
        let stored = repository.check_stored(&written(file)).await;
        self.keep(&file.path, stored);
    }

    /// Several ranges at once, ranges that count from the end, and ranges that no object has.
    async fn several(&mut self, store: &dyn ObjectStore, path: &Path, file: &FileEntry) {
        let all = ranges(file);
        if let Some(found) = self.stored(&file.path, store.get_ranges(path, &all).await) {
            for (range, bytes) in all.into_iter().zip(found) {
                self.add(format!("{range:?} among others of {}", file.path), bytes);
            }
        }
        for range in [GetRange::Suffix(8), GetRange::Offset(file.plain_bytes / 2)] {
            let options = GetOptions { range: Some(range.clone()), ..GetOptions::default() };
            let read = async { store.get_opts(path, options).await?.bytes().await };
            if let Some(bytes) = self.stored(&file.path, read.await) {
                self.add(format!("{range} of {}", file.path), bytes);
            }
        }
        let end = file.plain_bytes;
        let behind = [0..4, end.saturating_add(100)..end.saturating_add(104), u64::MAX - 1..u64::MAX];
        let _ = store.get_ranges(path, &behind).await;
        for range in behind {
            let _ = store.get_range(path, range).await;
        }
        let _ = store.head(path).await;
    }

    async fn runs(&mut self, state: &RunStateStore, runs: &[String]) {
        if let Some(open) = self.keep("open runs", state.open_runs().await) {
            for intent in &open.intents {
                self.add_value(format!("open run {}", intent.run_id), intent);
            }
            for (run, problem) in open.damaged {
                self.refuse(&format!("run {run}"), 13, problem);
            }
        }
        for run in runs {
            if let Some(Some(intent)) = self.keep(run, state.intent(run).await) {
                self.add_value(format!("intent {run}"), &intent);
            }
            for receipt in self.keep(run, state.receipts(run).await).into_iter().flatten() {
                self.receipt(state, run, &receipt).await;
            }
            if let Some(Some(outcome)) = self.keep(run, state.outcome_of(run).await) {
                self.add_value(format!("outcome {run}"), &outcome);
            }
            // Another claim may be the highest; that is no damage.
            let _ = state.check_claim(&Claim { run_id: run.clone(), n: 1 }).await;
        }
    }

    async fn receipt(&mut self, state: &RunStateStore, run: &str, receipt: &Receipt) {
        let name = format!("{run} {} {} {}", receipt.phase, receipt.dataset, receipt.split);
        self.add_value(format!("receipt {name}"), receipt);
        if let Some(rejects) = &receipt.rejects
            && let Some(bytes) = self.keep(rejects, state.rejects(rejects).await)
        {
            self.add(format!("rejects {name}"), bytes);
        }
    }

    async fn keys(&mut self, repository: &Repository) {
        if repository.is_encrypted() {
            if let Some(state) = self.keep("recovery", repository.recovery_state().await) {
                self.add("recovery".to_owned(), format!("{state:?}").into());
            }
            // When a slot was added is the store's word, and the store is not believed.
            self.keep("slots", repository.key_slots().await);
        }
    }
}

/// An object from its first to its last byte, as it streams; what does not end is cut.
async fn whole(store: &dyn ObjectStore, path: &Path) -> object_store::Result<Bytes> {
    let mut stream = store.get(path).await?.into_stream();
    let mut all = BytesMut::new();
    while let Some(piece) = stream.try_next().await? {
        all.extend_from_slice(&piece);
        if all.len() > ENDLESS {
            break;
        }
    }
    Ok(all.freeze())
}

/// The ranges that a reader of Parquet asks for, as far as the manifest tells: both ends, the footer, something between.
fn ranges(file: &FileEntry) -> Vec<Range<u64>> {
    let end = file.plain_bytes;
    let footer = file.footer_bytes.unwrap_or(8);
    let middle = end / 2;
    [0..4, end.saturating_sub(8)..end, end.saturating_sub(footer)..end, middle..middle.saturating_add(9), 0..end]
        .into_iter()
        .map(|range| range.start.min(end)..range.end.min(end))
        .filter(|range| !range.is_empty())
        .collect()
}

fn written(file: &FileEntry) -> WrittenObject {
    WrittenObject {
        path: file.path.clone(),
        stored_bytes: file.stored_bytes,
        plain_bytes: file.plain_bytes,
        sha256: file.sha256.clone(),
        header: file.header.clone(),
        blocks: file.blocks.clone(),
    }
}

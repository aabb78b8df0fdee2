//! A backup as the engine makes it, in as few lines as possible, and the oracle that reads it again.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::DateTime;
use object_store::ObjectStoreExt;
use restow_store::keys::KeySource;
use restow_store::location::Location;
use restow_store::repository::{
    CommitRequest, CreateOptions, ExitClass, FileEntry, Manifest, Repository, RepositoryError, SnapshotId, VERSION,
    WrittenObject, random_hex,
};
use restow_store::run_state::{Intent, PutReceipt, Receipt, RunStateStore};
use serde_json::json;

pub type Result<T> = std::result::Result<T, RepositoryError>;

/// Content by dataset, split.
pub type Content = BTreeMap<(String, String), Bytes>;

/// What is to be backed up.
#[derive(Debug, Clone)]
pub struct Job {
    pub name: &'static str,
    pub seconds: i64,
    pub splits: Content,
}

/// What came of it.
#[derive(Debug)]
pub struct Done {
    pub snapshot: SnapshotId,
    pub kept: usize,
    pub written: usize,
    pub already: bool,
}

impl Job {
    /// Two datasets; splits of nothing, of one byte, and of two or more chunks.
    pub fn new(name: &'static str, seconds: i64) -> Self {
        let sizes =
            [("Größe/Stadt", 0), ("Größe/Stadt", 1), ("Größe/Stadt", 70_000), ("Article", 300), ("Article", 66_000)];
        let splits = sizes.into_iter().enumerate().map(|(i, (dataset, size))| {
            let bytes: Vec<u8> =
                (0..size).map(|at: usize| (at * 31 + i * 7 + name.len() + seconds as usize) as u8).collect();
            ((dataset.to_owned(), format!("shard {i}")), Bytes::from(bytes))
        });
        Self { name, seconds, splits: splits.collect() }
    }

    /// One split of so many bytes.
    pub fn of_size(name: &'static str, seconds: i64, size: usize) -> Self {
        let bytes: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
        Self { name, seconds, splits: [(("d".to_owned(), "s".to_owned()), bytes.into())].into() }
    }

    /// What a snapshot of it holds: the splits, and one artifact for each dataset.
    pub fn content(&self) -> Content {
        let mut all = self.splits.clone();
        for (dataset, _) in self.splits.keys() {
            all.insert((dataset.clone(), "artifact".to_owned()), self.artifact(dataset));
        }
        all
    }

    fn artifact(&self, dataset: &str) -> Bytes {
        format!("{{\"class\": \"{dataset}\", \"job\": \"{}\"}}", self.name).into()
    }
}

/// Makes the repository where there is none.
pub async fn open_or_create(location: &Location, key: Option<&KeySource>) -> Result<Repository> {
    match Repository::open(location.clone(), key).await {
        Err(RepositoryError::NotFound { .. }) => {
            let options = CreateOptions { encryption: key.cloned(), ..CreateOptions::default() };
            Ok(Repository::create(location.clone(), options).await?.repository)
        }
        other => other,
    }
}

fn intent(repository: &Repository, job: &Job) -> Intent {
    let created = DateTime::from_timestamp(1_800_000_000 + job.seconds, 0).unwrap();
    Intent {
        format: String::new(),
        run_id: random_hex().unwrap(),
        snapshot_id: SnapshotId::generate(created).unwrap(),
        nonce: random_hex().unwrap(),
        pipeline_hash: job.name.to_owned(),
        created,
        restow: VERSION.to_owned(),
        sink: String::new(),
        source_fingerprint: String::new(),
        tokens: json!(null),
        splits: BTreeMap::new(),
        keyring: repository.keyring_ref(),
        extra: json!(null),
    }
}

fn written(file: &FileEntry) -> WrittenObject {
    serde_json::from_value(serde_json::to_value(file).unwrap()).unwrap()
}

/// Writes a split, reads it back and leaves the receipt. Another process's receipt wins.
async fn write(
    repository: &Repository,
    state: &RunStateStore,
    intent: &Intent,
    (dataset, split): &(String, String),
    content: &Bytes,
    n: u64,
) -> Result<FileEntry> {
    let path = repository.new_data_path(&intent.snapshot_id, dataset, split, "parquet")?;
    let failed = |source| RepositoryError::Store {
        action: "write",
        url: repository.location().url.clone(),
        object: path.to_string(),
        source: Box::new(source),
    };
    let mut writer = repository.new_writer(&path)?;
    for piece in content.chunks(40_000) {
        writer.write(Bytes::copy_from_slice(piece)).await.map_err(failed)?;
    }
    let object = writer.finish().await.map_err(failed)?;
    repository.read_back(&object).await?;
    let file = FileEntry { split: split.clone(), rows: content.len() as u64, ..object.file_entry() };
    let receipt = Receipt {
        phase: "write".to_owned(),
        dataset: dataset.clone(),
        split: split.clone(),
        n,
        rows: file.rows,
        file: Some(file.clone()),
        ..Receipt::default()
    };
    match state.put_receipt(&intent.run_id, &receipt).await? {
        PutReceipt::Created => Ok(file),
        PutReceipt::Existing(other) => Ok(other.file.unwrap()),
    }
}

/// One run: takes up the newest open run of the same job, else begins one.
pub async fn backup(location: &Location, key: Option<&KeySource>, job: &Job) -> Result<Done> {
    let repository = open_or_create(location, key).await?;
    let state = repository.run_state();
    let open = state.open_runs().await?;
    let intent = match open.intents.into_iter().find(|intent| intent.pipeline_hash == job.name) {
        Some(intent) => intent,
        None => {
            let intent = intent(&repository, job);
            state.begin(&intent).await?;
            intent
        }
    };
    run(&repository, &intent, job).await
}

/// The part of a run behind its intent.
pub async fn run(repository: &Repository, intent: &Intent, job: &Job) -> Result<Done> {
    let state = repository.run_state();
    let receipts = state.receipts(&intent.run_id).await?;
    let (mut files, mut kept, mut wrote) = (BTreeMap::<&str, Vec<FileEntry>>::new(), 0, 0);
    for (name, content) in &job.splits {
        let known = receipts.iter().find(|r| (&r.dataset, &r.split) == (&name.0, &name.1));
        let proven = match known.and_then(|receipt| receipt.file.as_ref()) {
            Some(file) => match repository.check_stored(&written(file)).await {
                Ok(()) => Some(file.clone()),
                Err(e) if e.exit_class() == ExitClass::Tampered => None,
                Err(e) => return Err(e),
            },
            None => None,
        };
        let file = match proven {
            Some(file) => {
                kept += 1;
                file
            }
            None => {
                wrote += 1;
                write(repository, &state, intent, name, content, known.map_or(1, |r| r.n + 1)).await?
            }
        };
        files.entry(name.0.as_str()).or_default().push(file);
    }
    let mut datasets = Vec::new();
    for (dataset, files) in files {
        let artifact =
            repository.put_artifact(&intent.snapshot_id, dataset, "class.json", &job.artifact(dataset)).await?;
        datasets.push(json!({
            "name": dataset,
            "path_part": repository.path_part(dataset),
            "schema": "",
            "rows": files.iter().map(|f| f.rows).sum::<u64>(),
            "files": files,
            "artifacts": [artifact],
        }));
    }
    let manifest: Manifest = serde_json::from_value(json!({
        "snapshot": intent.snapshot_id,
        "run_id": intent.run_id,
        "nonce": intent.nonce,
        "created": intent.created,
        "finished": intent.created,
        "restow": VERSION,
        "pipeline": { "name": job.name, "hash": job.name },
        "source": { "connector": "files" },
        "status": "complete",
        "datasets": datasets,
    }))
    .unwrap();
    let committed = repository.commit(CommitRequest { manifest }).await?;
    Ok(Done { snapshot: intent.snapshot_id.clone(), kept, written: wrote, already: committed.already })
}

/// A run of a job with an intent of its own, made before: for two writers with one snapshot id.
pub async fn begin(repository: &Repository, job: &Job) -> Intent {
    let intent = intent(repository, job);
    repository.run_state().begin(&intent).await.unwrap();
    intent
}

/// All that a snapshot names, read as a new process does.
pub async fn read(location: &Location, key: Option<&KeySource>, id: &SnapshotId) -> Result<Content> {
    let repository = Repository::open(location.clone(), key).await?;
    let manifest = repository.manifest(id).await?;
    let mut all = Content::new();
    for dataset in &manifest.datasets {
        for file in &dataset.files {
            let path = repository.path(&file.path)?;
            let failed = |source| RepositoryError::Store {
                action: "read",
                url: location.url.clone(),
                object: file.path.clone(),
                source: Box::new(source),
            };
            let bytes = repository.objects().get(&path).await.map_err(failed)?.bytes().await.map_err(failed)?;
            assert_eq!(bytes.len() as u64, file.plain_bytes, "a read that ended early without an error");
            all.insert((dataset.name.clone(), file.split.clone()), bytes);
        }
        for artifact in &dataset.artifacts {
            let bytes = repository.artifact(artifact).await?;
            all.insert((dataset.name.clone(), "artifact".to_owned()), bytes);
        }
    }
    Ok(all)
}

/// Asserts that every listed snapshot is whole and is of one of the jobs, and gives how many there are of each.
pub async fn snapshots(location: &Location, key: Option<&KeySource>, jobs: &[&Job], at: &str) -> Vec<usize> {
    let repository = Repository::open(location.clone(), key).await.unwrap_or_else(|e| panic!("{at}: {e}"));
    assert!(repository.warnings().is_empty(), "{at}: {:?}", repository.warnings());
    let mut counts = vec![0; jobs.len()];
    for listed in repository.snapshots().await.unwrap_or_else(|e| panic!("{at}: {e}")) {
        assert_eq!(listed.problem, None, "{at}: a broken snapshot is listed");
        let which = jobs.iter().position(|job| job.name == listed.pipeline).unwrap();
        let found = read(location, key, &listed.id).await.unwrap_or_else(|e| panic!("{at}: {}: {e}", listed.id));
        assert!(found == jobs[which].content(), "{at}: {} reads differently", listed.id);
        counts[which] += 1;
    }
    counts
}

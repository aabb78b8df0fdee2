//! Helpers of tests: a store that misbehaves, keys, and small snapshots.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use zeroize::Zeroizing;

use super::*;
use crate::keys::{KeySource, RepositoryKey};

/// What happens to the next put whose path contains a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is carried out and the reply is lost.
    LoseReply,
    /// It is not carried out and there is no answer.
    NoAnswer,
    /// A create replaces what is there.
    IgnoreCreate,
    /// The last byte is changed.
    Corrupt,
}

/// A memory store that misbehaves on demand and counts requests.
#[derive(Debug, Default)]
pub(crate) struct Faulty {
    pub(crate) inner: InMemory,
    faults: Mutex<Vec<(String, Fault)>>,
    pub(crate) gets: AtomicU64,
    pub(crate) puts: AtomicU64,
}

impl Faulty {
    pub(crate) fn arm(&self, path: &str, fault: Fault) {
        self.faults.lock().unwrap().push((path.to_owned(), fault));
    }

    fn take(&self, path: &Path) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let at = faults.iter().position(|(text, _)| path.as_ref().contains(text.as_str()))?;
        Some(faults.remove(at).1)
    }
}

fn no_answer() -> Error {
    Error::Generic { store: "S3", source: "operation timed out".into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut opts: PutOptions) -> Result<PutResult> {
        self.puts.fetch_add(1, Ordering::Relaxed);
        match self.take(location) {
            Some(Fault::NoAnswer) => Err(no_answer()),
            Some(Fault::LoseReply) => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(no_answer())
            }
            Some(Fault::IgnoreCreate) => {
                opts.mode = PutMode::Overwrite;
                self.inner.put_opts(location, payload, opts).await
            }
            Some(Fault::Corrupt) => {
                let mut bytes: Vec<u8> = payload.into_iter().flatten().collect();
                if let Some(last) = bytes.last_mut() {
                    *last ^= 1;
                }
                self.inner.put_opts(location, bytes.into(), opts).await
            }
            None => self.inner.put_opts(location, payload, opts).await,
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

/// A location with a root on a fresh faulty store.
pub(crate) fn faulty() -> (Arc<Faulty>, Location) {
    let store = Arc::new(Faulty::default());
    let location = Location::new(Arc::clone(&store) as _, Path::from("some/where"), "memory:test");
    (store, location)
}

pub(crate) fn key() -> KeySource {
    KeySource::Key(Zeroizing::new(RepositoryKey::random().unwrap().text().to_string()))
}

/// A new repository, encrypted where a key is given.
pub(crate) async fn create(location: &Location, key: Option<&KeySource>) -> Repository {
    let options = CreateOptions { encryption: key.cloned(), ..CreateOptions::default() };
    Repository::create(location.clone(), options).await.unwrap().repository
}

pub(crate) fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

/// Writes one data file and gives its manifest entry.
pub(crate) async fn write_file(repository: &Repository, id: &SnapshotId, content: &[u8]) -> FileEntry {
    let path = repository.new_data_path(id, "Größe/Stadt", "shard 1", "parquet").unwrap();
    let mut writer = repository.new_writer(&path).unwrap();
    writer.write(Bytes::copy_from_slice(content)).await.unwrap();
    let written = writer.finish().await.unwrap();
    repository.read_back(&written).await.unwrap();
    FileEntry { split: "shard 1".to_owned(), rows: 3, ..written.file_entry() }
}

/// A manifest with one file.
pub(crate) fn manifest(repository: &Repository, id: &SnapshotId, file: FileEntry) -> Manifest {
    let dataset = "Größe/Stadt";
    Manifest {
        format: String::new(),
        features: Features::default(),
        snapshot: id.clone(),
        run_id: "run-1".to_owned(),
        nonce: random_hex().unwrap(),
        created: id.time(),
        finished: id.time(),
        restow: VERSION.to_owned(),
        pipeline: PipelineRecord { name: "nightly".to_owned(), ..PipelineRecord::default() },
        source: SourceRecord { connector: "files".to_owned(), ..SourceRecord::default() },
        status: SnapshotStatus::Complete,
        failed: Vec::new(),
        datasets: vec![DatasetEntry {
            name: dataset.to_owned(),
            path_part: repository.path_part(dataset),
            rows: file.rows,
            files: vec![file],
            ..DatasetEntry::default()
        }],
        artifacts: Vec::new(),
        counters: Counters { scanned: 3, written: 3, ..Counters::default() },
        keyring: None,
        inventory: None,
        sequence: 0,
        parents: Vec::new(),
        pins: Vec::new(),
        changes: Vec::new(),
    }
}

/// A committed snapshot of one file.
pub(crate) async fn snapshot(repository: &Repository, seconds: i64, content: &[u8]) -> Manifest {
    let id = SnapshotId::generate(moment(seconds)).unwrap();
    let file = write_file(repository, &id, content).await;
    let wanted = manifest(repository, &id, file);
    repository.commit(CommitRequest { manifest: wanted }).await.unwrap().manifest
}

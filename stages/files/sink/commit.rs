//! The end of an export: files get their names, then `_restow_export.json` is created, then leftovers go.

use std::sync::Arc;

use datafusion::execution::TaskContext;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutMode};
use restow_core::Result;
use restow_core::stage::{CommitReport, CommitRequest, Committed, DatasetOutcome, GATHERED, SplitTarget};

use super::super::config::Layout;
use super::super::error::FilesError;
use super::super::export::{EXPORT, Export, ExportedFile};
use super::super::find::UNFINISHED;
use super::Target;
use super::output::stored;
use super::writer::{PartWriter, WrittenFile, files_of};

/// Stores copy larger objects only in pieces, in bytes.
const MAX_COPY: u64 = 4 << 30;

/// Commits an export. May be called again after a lost reply.
///
/// # Errors
/// Another export is there, or the store failed: the target then holds no finished export of this run.
pub(super) async fn commit(target: &Arc<Target>, request: CommitRequest) -> Result<Committed> {
    if let Some(there) = Export::read(&target.location, &target.shown).await? {
        return if ours(&there, &request) {
            finish(target, &request, &there).await
        } else {
            Err(target.exists(&there))
        };
    }
    let mut export = Export::new(&request.run, &request.nonce, &request.pipeline_name);
    export.started = request.started.to_rfc3339();
    export.finished = request.finished.to_rfc3339();
    export.encrypted = target.encrypted;
    export.extension = target.codec.extension();
    for outcome in &request.datasets {
        let dataset = &outcome.dataset;
        if outcome.failure.is_some() {
            // Not why: the message may quote a row.
            export.failed.push(dataset.name.clone());
            continue;
        }
        let mut files = Vec::new();
        for file in written(target, &request, outcome).await? {
            target.publish(&file).await?;
            files.push(ExportedFile { path: file.path, rows: file.rows, bytes: file.bytes, sha256: file.sha256 });
        }
        export.add(&dataset.name, &dataset.schema, &target.partition_by, files);
    }
    let path = target.place(EXPORT)?;
    match target.location.store.put_opts(&path, export.bytes()?.into(), PutMode::Create.into()).await {
        Ok(_) => finish(target, &request, &export).await,
        Err(object_store::Error::AlreadyExists { .. }) => match Export::read(&target.location, &target.shown).await? {
            Some(there) if ours(&there, &request) => finish(target, &request, &there).await,
            Some(there) => Err(target.exists(&there)),
            None => Err(FilesError::Exists { path: target.shown.clone(), by: String::new() }.into()),
        },
        Err(error) => Err(error.into()),
    }
}

fn ours(export: &Export, request: &CommitRequest) -> bool {
    export.run == request.run && export.nonce == request.nonce
}

async fn finish(target: &Target, request: &CommitRequest, export: &Export) -> Result<Committed> {
    target.forget(&request.run).await;
    let (files, rows) = (export.files(), export.rows);
    let noun = |n: u64, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
    let made = format!("{} with {} in {}", noun(files as u64, "file"), noun(rows, "row"), target.shown);
    let report = CommitReport { made, next: None, stored_bytes: Some(export.bytes) };
    Ok(Committed { snapshot: None, report })
}

/// The files of a dataset; one without rows where there is none, so that its columns are kept.
async fn written(target: &Arc<Target>, request: &CommitRequest, outcome: &DatasetOutcome) -> Result<Vec<WrittenFile>> {
    let mut files = Vec::new();
    for receipt in &outcome.receipts {
        files.extend(files_of(&receipt.output)?);
    }
    if !files.is_empty() {
        return Ok(files);
    }
    let split = SplitTarget {
        run: request.run.clone(),
        snapshot: request.snapshot.clone(),
        dataset: outcome.dataset.name.clone(),
        split: if target.layout == Layout::Single { GATHERED.to_owned() } else { "empty".to_owned() },
        attempt: 1,
        schema: Arc::clone(&outcome.dataset.schema),
        task: Arc::new(TaskContext::default()),
    };
    let writer = Box::new(PartWriter::new(Arc::clone(target), split));
    files_of(&writer.finish_with_a_file().await?)
}

impl Target {
    /// Where a file is, under its unfinished or its own name; `None` where it is nowhere as the receipt says.
    pub(super) async fn find(&self, file: &WrittenFile) -> Result<Option<Path>> {
        for name in [&file.unfinished, &file.path] {
            let path = self.place(name)?;
            if let Some((bytes, sha256)) = stored(self.location.store.as_ref(), &path).await?
                && bytes == file.bytes
                && sha256 == file.sha256
            {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Gives a file its name. A file that has it from an earlier attempt is left alone.
    async fn publish(&self, file: &WrittenFile) -> Result<()> {
        let store = self.location.store.as_ref();
        let (from, to) = (self.place(&file.unfinished)?, self.place(&file.path)?);
        let waiting = there(store, &from).await?;
        match (waiting, there(store, &to).await?) {
            (Some(_), None) => self.shift(&from, &to, file.bytes).await?,
            // A copy of an earlier attempt that did not come to its end; random names are ours alone.
            // They go first: not every store renames onto what is there.
            (Some(_), Some(_)) if self.layout == Layout::Parts => {
                store.delete(&to).await?;
                self.shift(&from, &to, file.bytes).await?;
            }
            (_, Some(_)) => {
                let same = stored(store, &to).await?.is_some_and(|(_, sha256)| sha256 == file.sha256);
                if !same {
                    return Err(FilesError::InTheWay { file: file.path.clone() }.into());
                }
            }
            (None, None) => {
                let reason = "it is gone".to_owned();
                return Err(FilesError::NotAsExported { file: file.path.clone(), reason }.into());
            }
        }
        match there(store, &to).await? {
            Some(bytes) if bytes == file.bytes => Ok(()),
            _ => {
                let reason = "it changed while it got its name".to_owned();
                Err(FilesError::NotAsExported { file: file.path.clone(), reason }.into())
            }
        }
    }

    /// Moves the stored bytes as they are: encrypted files bind no path.
    async fn shift(&self, from: &Path, to: &Path, bytes: u64) -> Result<()> {
        let store = self.location.store.as_ref();
        if bytes <= MAX_COPY || is_local(&self.location.url) {
            return Ok(store.rename(from, to).await?);
        }
        let mut upload = store.put_multipart(to).await?;
        if let Err(error) = pour(store, from, upload.as_mut()).await {
            upload.abort().await.ok();
            return Err(error.into());
        }
        Ok(store.delete(from).await?)
    }

    /// Removes what this run left under unfinished names, dead attempts included. A failure leaves only what no reader
    /// looks at.
    pub(super) async fn forget(&self, run: &str) {
        let folder = Self::run_folder(run);
        let Ok(path) = self.place(&folder) else { return };
        let store = &self.location.store;
        let listed = store.list(Some(&path)).map_ok(|meta| meta.location).boxed();
        store.delete_stream(listed).for_each(|_| futures::future::ready(())).await;
        if is_local(&self.location.url) {
            let root = std::path::Path::new("/").join(self.location.root.as_ref());
            remove_empty(&root.join(&folder));
            std::fs::remove_dir(root.join(UNFINISHED)).ok();
        }
    }
}

/// The size of what is at a path.
async fn there(store: &dyn ObjectStore, path: &Path) -> Result<Option<u64>> {
    match store.head(path).await {
        Ok(meta) => Ok(Some(meta.size)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn pour(store: &dyn ObjectStore, from: &Path, upload: &mut dyn MultipartUpload) -> object_store::Result<()> {
    const PART: usize = 16 << 20;
    let mut pieces = store.get(from).await?.into_stream();
    let mut part: Vec<u8> = Vec::with_capacity(PART);
    while let Some(piece) = pieces.try_next().await? {
        part.extend_from_slice(&piece);
        if part.len() >= PART {
            let rest = part.split_off(PART);
            upload.put_part(std::mem::replace(&mut part, rest).into()).await?;
        }
    }
    upload.put_part(part.into()).await?;
    upload.complete().await.map(|_| ())
}

fn is_local(url: &str) -> bool {
    !url.starts_with("memory:") && (!url.contains("://") || url.starts_with("file://"))
}

/// Removes a folder and the folders in it as far as they are empty: file systems keep folders that object stores do not
/// have.
fn remove_empty(folder: &std::path::Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    std::fs::remove_dir(folder).ok();
}

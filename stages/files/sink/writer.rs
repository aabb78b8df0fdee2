//! Writes one split into one or more files, each read back before it counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use restow_core::stage::{ReadRequest, Split, SplitOutput, SplitTarget, SplitWriter, WriteReport};
use restow_core::{EngineError, Result};
use restow_store::repository::{DigestTap, random_hex};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::config::{CsvOptions, Format, Layout};
use super::super::error::FilesError;
use super::super::find::FoundFile;
use super::super::hex;
use super::super::source::{decode_all, scan_all};
use super::Target;
use super::output::{StoreOutput, stored};
use super::partition;
use crate::codec::Encoder;

/// Files that are open at once; of more folders the largest is ended, and begun again where more rows come.
const MAX_OPEN: usize = 64;

/// A file that was written and read back, under its unfinished name: what a receipt keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenFile {
    /// Where it is until the commit, below the target.
    pub unfinished: String,
    /// Where the commit puts it, below the target.
    pub path: String,
    /// Rows, counted when it was read back.
    pub rows: u64,
    /// Bytes as stored.
    pub bytes: u64,
    /// SHA-256 of the stored bytes, hex.
    pub sha256: String,
}

/// The files of a receipt.
///
/// # Errors
/// It was not written by this sink.
pub(super) fn files_of(output: &SplitOutput) -> Result<Vec<WrittenFile>> {
    let files = output.written.get("files").unwrap_or(&Value::Null);
    Vec::deserialize(files).map_err(|error| FilesError::Foreign { what: "a receipt", reason: error.to_string() }.into())
}

/// The writer of one split.
pub(super) struct PartWriter {
    sink: Arc<Target>,
    target: SplitTarget,
    /// By folder below the dataset's; one without a name where nothing is partitioned.
    open: BTreeMap<String, OpenFile>,
    done: Vec<WrittenFile>,
    plain_bytes: u64,
    memory: MemoryReservation,
}

/// The file that is being filled.
struct OpenFile {
    encoder: Box<dyn Encoder>,
    tap: Arc<DigestTap>,
    unfinished: String,
    path: String,
}

impl PartWriter {
    /// A writer without a file yet.
    pub fn new(sink: Arc<Target>, target: SplitTarget) -> Self {
        let memory = MemoryConsumer::new("files sink").register(target.task.memory_pool());
        Self { sink, target, open: BTreeMap::new(), done: Vec::new(), plain_bytes: 0, memory }
    }

    /// Writes a file without rows where there is no file yet, so that the columns of an empty dataset are kept.
    pub async fn finish_with_a_file(mut self: Box<Self>) -> Result<SplitOutput> {
        if self.open.is_empty() && self.done.is_empty() {
            self.begin_file(partition::empty_folder(&self.sink.partition_by))?;
        }
        self.finish().await
    }

    fn begin_file(&mut self, folder: String) -> Result<()> {
        let random = random_hex().map_err(|error| EngineError::failed(format!("no random bytes: {error}")))?;
        let names = self.sink.names(&self.target, &folder, &random);
        let tap = Arc::new(DigestTap::new(Arc::clone(&self.sink.location.store)));
        let path = self.sink.place(&names.unfinished)?;
        let output = StoreOutput::new(self.sink.view(Arc::clone(&tap) as _), path);
        let schema = self.sink.inside(&self.target.schema);
        let encoder = self.sink.codec.encoder(schema, Box::new(output))?;
        self.open.insert(folder, OpenFile { encoder, tap, unfinished: names.unfinished, path: names.path });
        Ok(())
    }

    /// Writes the rows of one folder.
    async fn write_to(&mut self, folder: String, batch: &RecordBatch) -> Result<()> {
        if !self.open.contains_key(&folder) {
            if self.open.len() >= MAX_OPEN {
                self.end_largest().await?;
            }
            self.begin_file(folder.clone())?;
        }
        let Some(file) = self.open.get_mut(&folder) else { return Err(EngineError::failed("no file is open")) };
        file.encoder.write(batch).await?;
        if self.sink.layout == Layout::Parts && file.encoder.bytes_written() >= self.sink.part_size {
            self.end_file(&folder).await?;
        }
        Ok(())
    }

    /// Accounts for what the open files hold. Where that is too much, the largest of several is ended, and a single one goes on in smaller
    /// row groups.
    async fn account(&mut self) -> Result<()> {
        while self.memory.try_resize(self.held()).is_err() {
            if self.open.len() < 2 {
                for file in self.open.values_mut() {
                    file.encoder.flush().await?;
                }
                return Ok(self.memory.try_resize(self.held())?);
            }
            self.end_largest().await?;
        }
        Ok(())
    }

    fn held(&self) -> usize {
        self.open.values().map(|file| file.encoder.buffered_bytes()).sum()
    }

    async fn end_largest(&mut self) -> Result<()> {
        let largest = self.open.iter().max_by_key(|(_, file)| file.encoder.buffered_bytes());
        match largest.map(|(folder, _)| folder.clone()) {
            Some(folder) => self.end_file(&folder).await,
            None => Ok(()),
        }
    }

    /// Ends the open file of a folder and reads it back.
    async fn end_file(&mut self, folder: &str) -> Result<()> {
        let Some(file) = self.open.remove(folder) else { return Ok(()) };
        let encoded = file.encoder.finish().await?;
        let differs = |reason: String| FilesError::ReadBack { file: file.path.clone(), reason };
        let at = self.sink.place(&file.unfinished)?;
        let written = file.tap.stored(&at).ok_or_else(|| differs("nothing was stored".to_owned()))?;
        let sha256 = hex(&written.sha256);
        match stored(self.sink.location.store.as_ref(), &at).await? {
            None => return Err(differs("it is not there".to_owned()).into()),
            Some((bytes, _)) if bytes != written.bytes => {
                return Err(differs(format!("{} bytes were written, and {bytes} are there", written.bytes)).into());
            }
            Some((_, digest)) if digest != sha256 => return Err(differs("its SHA-256 is another".to_owned()).into()),
            Some(_) => {}
        }
        let rows = decode(&self.sink, &self.target, &at, &file.path).await?;
        if rows != encoded.rows {
            return Err(differs(format!("{} rows were written, and {rows} are there", encoded.rows)).into());
        }
        let (unfinished, path) = (file.unfinished, file.path);
        self.done.push(WrittenFile { unfinished, path, rows, bytes: written.bytes, sha256 });
        Ok(())
    }
}

/// Decodes every row and every column of a stored file.
async fn decode(sink: &Target, target: &SplitTarget, at: &Path, shown: &str) -> Result<u64> {
    let store = sink.view(Arc::clone(&sink.location.store));
    let meta = store.head(at).await?;
    let (format, compression) = sink.format();
    let (shown, below) = (shown.to_owned(), String::new());
    let file = FoundFile { store, meta, shown, format, compression, rows: None, below };
    let schema = &sink.inside(&target.schema);
    if format != Format::Parquet {
        return decode_all(&file, schema, &CsvOptions::default()).await;
    }
    let request = ReadRequest {
        dataset: target.dataset.clone(),
        split: Split { id: target.split.clone(), payload: Value::Null, rows: None, bytes: None },
        schema: Arc::clone(schema),
        filters: Vec::new(),
        limit: None,
        batch_rows: restow_core::record::batch_rows(schema),
        task: Arc::clone(&target.task),
    };
    scan_all(&file, &request).await
}

#[async_trait]
impl SplitWriter for PartWriter {
    async fn write(&mut self, batch: RecordBatch) -> Result<WriteReport> {
        let rows = batch.num_rows() as u64;
        if rows == 0 {
            return Ok(WriteReport::default());
        }
        self.plain_bytes += batch.columns().iter().map(|column| slice_bytes(column.as_ref())).sum::<u64>();
        for (folder, part) in partition::split(batch, &self.sink.partition_by)? {
            self.write_to(folder, &part).await?;
        }
        self.account().await?;
        Ok(WriteReport { written: rows, ..WriteReport::default() })
    }

    async fn finish(mut self: Box<Self>) -> Result<SplitOutput> {
        // A single file is there even without rows; of parts, the commit makes one where a dataset has none.
        if self.sink.layout == Layout::Single && self.open.is_empty() && self.done.is_empty() {
            self.begin_file(String::new())?;
        }
        let folders: Vec<String> = self.open.keys().cloned().collect();
        for folder in folders {
            self.end_file(&folder).await?;
        }
        self.memory.free();
        let mut digest = Sha256::new();
        for file in &self.done {
            digest.update(file.sha256.as_bytes());
        }
        let digest = match self.done.as_slice() {
            [only] => only.sha256.clone(),
            _ => hex(&digest.finalize()),
        };
        Ok(SplitOutput {
            rows: self.done.iter().map(|file| file.rows).sum(),
            stored_bytes: self.done.iter().map(|file| file.bytes).sum(),
            plain_bytes: self.plain_bytes,
            digest,
            written: json!({ "files": self.done }),
        })
    }
}

/// Bytes of the values of an array, without the buffers that other slices share with it.
fn slice_bytes(array: &dyn arrow::array::Array) -> u64 {
    array.to_data().get_slice_memory_size().map_or_else(|_| array.get_array_memory_size() as u64, |bytes| bytes as u64)
}

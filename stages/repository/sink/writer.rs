//! Writes one split as one Parquet object, and proves it by reading it back.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use futures::TryStreamExt;
use restow_core::stage::{SplitOutput, SplitTarget, SplitWriter, WriteReport};
use restow_core::{EngineError, Result};
use restow_store::repository::{FileEntry, ObjectWriter, Repository, WrittenObject};
use serde_json::json;

use super::read_back::rows_of;
use crate::codec::{ByteOutput, Codec, Encoder};
use crate::repository::read::footer;

/// One split being written.
pub(super) struct PartWriter {
    repository: Repository,
    encoder: Option<Box<dyn Encoder>>,
    done: Arc<Mutex<Option<WrittenObject>>>,
    split: String,
    schema: SchemaRef,
    memory: MemoryReservation,
    plain_bytes: u64,
}

impl PartWriter {
    pub(super) fn begin(repository: Repository, codec: &Codec, target: SplitTarget) -> Result<Self> {
        let path = repository.new_data_path(&target.snapshot, &target.dataset, &target.split, &codec.extension())?;
        let done = Arc::default();
        let output = Object { writer: repository.new_writer(&path)?, done: Arc::clone(&done) };
        let encoder = codec.encoder(Arc::clone(&target.schema), Box::new(output))?;
        let memory = MemoryConsumer::new(format!("writer of {}", target.dataset)).register(target.task.memory_pool());
        let encoder = Some(encoder);
        Ok(Self { repository, encoder, done, split: target.split, schema: target.schema, memory, plain_bytes: 0 })
    }

    /// Every stored byte is hashed, every chunk decrypted and every row decoded.
    async fn read_back(&self, written: &WrittenObject) -> Result<u64> {
        self.repository.remember(&written.file_entry())?;
        let path = self.repository.path(&written.path)?;
        let footer = footer(&self.repository.objects(), &path, written.plain_bytes).await?;
        let plain = self.repository.begin_read_back(written).await?;
        rows_of(&path, &footer, plain.map_err(EngineError::from), &self.schema).await
    }
}

#[async_trait]
impl SplitWriter for PartWriter {
    async fn write(&mut self, batch: RecordBatch) -> Result<WriteReport> {
        let encoder = self.encoder.as_mut().ok_or_else(finished)?;
        encoder.write(&batch).await?;
        self.plain_bytes += batch.get_array_memory_size() as u64;
        if self.memory.try_resize(encoder.buffered_bytes()).is_err() {
            // Other writers hold what there is: this one goes on in smaller row groups.
            encoder.flush().await?;
            self.memory.try_resize(encoder.buffered_bytes())?;
        }
        Ok(WriteReport { written: batch.num_rows() as u64, ..WriteReport::default() })
    }

    async fn finish(self: Box<Self>) -> Result<SplitOutput> {
        let mut this = *self;
        let encoded = this.encoder.take().ok_or_else(finished)?.finish().await?;
        let written = this.done.lock().unwrap_or_else(PoisonError::into_inner).take();
        let written = written.ok_or_else(finished)?;
        this.memory.free();
        let rows = this.read_back(&written).await?;
        let file =
            FileEntry { split: this.split.clone(), rows, footer_bytes: encoded.footer_bytes, ..written.file_entry() };
        Ok(SplitOutput {
            rows,
            stored_bytes: written.stored_bytes,
            plain_bytes: this.plain_bytes,
            digest: written.sha256.clone(),
            written: json!([file]),
        })
    }
}

fn finished() -> EngineError {
    EngineError::failed("a split was written after its end")
}

/// The object's bytes on their way; what was stored is left in `done`.
struct Object {
    writer: ObjectWriter,
    done: Arc<Mutex<Option<WrittenObject>>>,
}

#[async_trait]
impl ByteOutput for Object {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        Ok(self.writer.write(bytes).await?)
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        let written = self.writer.finish().await?;
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) = Some(written);
        Ok(())
    }
}

//! Encoders: record batches in, bytes out, with bounded memory and without blocking the runtime.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatchOptions;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use restow_core::{EngineError, Result};

use super::pool::compute;

/// Where an encoder puts its bytes, in order.
#[async_trait]
pub trait ByteOutput: Send {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// They cannot be stored; the whole file is lost.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Makes the file complete.
    ///
    /// # Errors
    /// It is not complete.
    async fn finish(self: Box<Self>) -> Result<()>;
}

/// Turns record batches into the bytes of one file. Dropping it without `finish` leaves an incomplete file.
#[async_trait]
pub trait Encoder: Send + Sync {
    /// Encodes the rows of one batch. Its columns must have the types of the encoder's schema, in that order.
    ///
    /// # Errors
    /// The format cannot hold a value, named by its column and row; or the output failed.
    async fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Gives the output what is held back, where the format allows that before the end: a row group of Parquet ends early.
    ///
    /// # Errors
    /// The output failed.
    async fn flush(&mut self) -> Result<()>;

    /// Bytes that the output has taken so far.
    fn bytes_written(&self) -> u64;

    /// Bytes in memory that the output has not taken yet, for memory accounting.
    fn buffered_bytes(&self) -> usize;

    /// Ends the file and finishes the output.
    ///
    /// # Errors
    /// The file is not complete.
    async fn finish(self: Box<Self>) -> Result<Encoded>;
}

/// What an encoder wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    /// Rows.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes at the end of a Parquet file that a reader needs first: metadata, its length and the magic.
    pub footer_bytes: Option<u64>,
}

/// A [`ByteOutput`] in memory, for tests and for small files. Clones share the bytes.
#[derive(Debug, Clone, Default)]
pub struct MemoryOutput(Arc<Mutex<Vec<u8>>>);

impl MemoryOutput {
    /// The bytes so far.
    pub fn bytes(&self) -> Bytes {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Bytes::from(bytes.clone())
    }
}

#[async_trait]
impl ByteOutput for MemoryOutput {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// A format: the synchronous half of an encoder.
pub(super) trait BatchWriter: Send + 'static {
    /// Encodes a batch that has exactly the schema of the writer.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;
    /// Makes ready what is held back, where the format allows that.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
    /// Takes the bytes that are ready, in order.
    fn take(&mut self) -> Vec<Bytes>;
    /// Bytes held back.
    fn buffered(&self) -> usize;
    /// Ends the file: the last bytes, and the length of a Parquet footer.
    fn finish(self: Box<Self>) -> Result<(Vec<Bytes>, Option<u64>)>;
}

/// The asynchronous half: runs the format on the threads of [`super::pool`], one batch (or a slice of it) at a time.
pub(super) struct BlockingEncoder {
    /// `None` while a call is at work, or after one was cancelled or failed. The locks are never taken: they make what
    /// only one task may use shareable by reference.
    writer: Mutex<Option<Box<dyn BatchWriter>>>,
    output: Mutex<Box<dyn ByteOutput>>,
    schema: SchemaRef,
    rows: u64,
    bytes: u64,
    buffered: usize,
}

impl BlockingEncoder {
    pub(super) fn new(writer: Box<dyn BatchWriter>, schema: SchemaRef, output: Box<dyn ByteOutput>) -> Self {
        Self { writer: Mutex::new(Some(writer)), output: Mutex::new(output), schema, rows: 0, bytes: 0, buffered: 0 }
    }

    /// Has the format work on the threads that encode, and gives the output what is ready then.
    async fn work(&mut self, work: impl FnOnce(&mut dyn BatchWriter) -> Result<()> + Send + 'static) -> Result<()> {
        let mut writer = exclusive(&mut self.writer).take().ok_or_else(broken)?;
        let (writer, bytes) = compute(move || {
            work(writer.as_mut())?;
            let bytes = writer.take();
            Ok((writer, bytes))
        })
        .await?;
        self.buffered = writer.buffered();
        self.put(bytes).await?;
        // Given back only now: after a failed output the file has a hole, and no later call may succeed.
        *exclusive(&mut self.writer) = Some(writer);
        Ok(())
    }

    async fn put(&mut self, pieces: Vec<Bytes>) -> Result<()> {
        for piece in pieces {
            let length = piece.len() as u64;
            if length > 0 {
                exclusive(&mut self.output).write(piece).await?;
            }
            self.bytes += length;
        }
        Ok(())
    }
}

#[async_trait]
impl Encoder for BlockingEncoder {
    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = conform(batch, &self.schema)?;
        let rows = batch.num_rows() as u64;
        self.work(move |writer| writer.write(&batch)).await?;
        self.rows += rows;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.work(|writer| writer.flush()).await
    }

    fn bytes_written(&self) -> u64 {
        self.bytes
    }

    fn buffered_bytes(&self) -> usize {
        self.buffered
    }

    async fn finish(mut self: Box<Self>) -> Result<Encoded> {
        let writer = exclusive(&mut self.writer).take().ok_or_else(broken)?;
        let (bytes, footer_bytes) = compute(move || writer.finish()).await?;
        self.put(bytes).await?;
        let (rows, bytes) = (self.rows, self.bytes);
        self.output.into_inner().unwrap_or_else(PoisonError::into_inner).finish().await?;
        Ok(Encoded { rows, bytes, footer_bytes })
    }
}

fn exclusive<T>(value: &mut Mutex<T>) -> &mut T {
    value.get_mut().unwrap_or_else(PoisonError::into_inner)
}

/// The batch with the schema of the encoder: same types, but its roles and metadata.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        return Err(EngineError::failed(format!(
            "a batch of {} columns arrived where the file has {}",
            batch.num_columns(),
            schema.fields().len()
        )));
    }
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if field.data_type() != column.data_type() {
            return Err(EngineError::failed(format!(
                "column {:?} arrived as {} where the file has {}",
                field.name(),
                column.data_type(),
                field.data_type()
            )));
        }
        if !field.is_nullable() && column.null_count() > 0 {
            return Err(EngineError::failed(format!("column {:?} has nulls where the file has none", field.name())));
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &options)?)
}

fn broken() -> EngineError {
    EngineError::failed("the file is incomplete, because writing an earlier batch failed or was cancelled")
}

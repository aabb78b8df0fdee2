//! Arrow IPC, as a file or a stream, with compressed buffers.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use bytes::Bytes;
use restow_core::Result;

use super::encode::BatchWriter;
use super::options::{ArrowFormat, ArrowOptions, BufferCompression};
use super::parquet::batch_bytes;

/// Bytes of one record batch in the file at most, as Arrow arrays: a reader must hold one whole.
const BATCH_BYTES: usize = 16 << 20;

/// The writer of one file.
pub(super) enum ArrowFile {
    File(FileWriter<Vec<u8>>),
    Stream(StreamWriter<Vec<u8>>),
}

impl ArrowFile {
    pub(super) fn new(options: &ArrowOptions, schema: &SchemaRef) -> Result<Self> {
        let compression = match options.compression {
            BufferCompression::Zstd => Some(CompressionType::ZSTD),
            BufferCompression::Lz4 => Some(CompressionType::LZ4_FRAME),
            BufferCompression::None => None,
        };
        let settings = IpcWriteOptions::default().try_with_compression(compression)?;
        Ok(match options.format {
            ArrowFormat::File => Self::File(FileWriter::try_new_with_options(Vec::new(), schema, settings)?),
            ArrowFormat::Stream => Self::Stream(StreamWriter::try_new_with_options(Vec::new(), schema, settings)?),
        })
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        match self {
            Self::File(writer) => writer.get_mut(),
            Self::Stream(writer) => writer.get_mut(),
        }
    }
}

impl BatchWriter for ArrowFile {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let width = (batch_bytes(batch) / batch.num_rows().max(1)).max(1);
        let rows = (BATCH_BYTES / width).max(1);
        let mut from = 0;
        while from < batch.num_rows() {
            let part = batch.slice(from, rows.min(batch.num_rows() - from));
            from += part.num_rows();
            match self {
                Self::File(writer) => writer.write(&part)?,
                Self::Stream(writer) => writer.write(&part)?,
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Vec<Bytes> {
        vec![std::mem::take(self.buffer()).into()]
    }

    fn buffered(&self) -> usize {
        match self {
            Self::File(writer) => writer.get_ref().len(),
            Self::Stream(writer) => writer.get_ref().len(),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<(Vec<Bytes>, Option<u64>)> {
        match self.as_mut() {
            Self::File(writer) => writer.finish()?,
            Self::Stream(writer) => writer.finish()?,
        }
        Ok((self.take(), None))
    }
}

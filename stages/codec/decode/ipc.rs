//! Arrow IPC to batches, streamed: a file is its magic, the messages of a stream, and a footer that is not needed.
//!
//! Format: <https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc>

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::buffer::Buffer;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::root_as_message;
use restow_core::{EngineError, Result};
use tokio::runtime::Handle;

use super::{ByteStream, DecodeRequest, Input, Output, Stop, open, unreadable};
use crate::codec::options::StreamCompression;
use crate::codec::pool::blocking;

/// Begins and ends an Arrow file.
const MAGIC: &[u8] = b"ARROW1";
/// Bytes before the first message of an Arrow file: the magic, and two bytes of padding.
const PREFIX: usize = 8;
/// Begins every message.
const CONTINUATION: [u8; 4] = [0xFF; 4];

/// The schema of an Arrow file or stream; reads no further than that.
///
/// # Errors
/// It is no Arrow file, or the stream gives an error.
pub async fn arrow_schema(input: ByteStream, place: &str, compression: StreamCompression) -> Result<SchemaRef> {
    let (handle, place) = (Handle::current(), place.to_owned());
    blocking(move || {
        let input = open(handle, input, compression).map_err(|error| unreadable(&place, error))?;
        let mut messages = Messages::new(input, &place)?;
        loop {
            if let Some(schema) = messages.decoder.schema() {
                return Ok(schema);
            }
            if messages.next(&place)?.is_none() {
                return Err(no_arrow(&place));
            }
        }
    })
    .await
}

/// Decodes all batches of an Arrow file or stream.
pub(super) fn decode(input: Input, request: DecodeRequest, output: &Output) -> Result<(), Stop> {
    let place = request.place.as_str();
    let mut messages = Messages::new(input, place)?;
    let mut columns: Option<Vec<usize>> = None;
    let rows = request.batch_rows.max(1);
    while let Some(batches) = messages.next(place)? {
        if columns.is_none()
            && let Some(schema) = messages.decoder.schema()
        {
            columns = Some(positions(&schema, &request)?);
        }
        for batch in batches {
            let columns = columns.as_deref().ok_or_else(|| no_arrow(place))?;
            let batch =
                select(&batch, columns, &request.schema).map_err(|error| error.context(format!("{place:?}")))?;
            let mut from = 0;
            while from < batch.num_rows() {
                let part = batch.slice(from, rows.min(batch.num_rows() - from));
                from += part.num_rows();
                output.batch(part)?;
            }
        }
    }
    Ok(())
}

/// The messages of a stream, or of a file.
struct Messages {
    input: Input,
    decoder: StreamDecoder,
    file: bool,
    ended: bool,
}

impl Messages {
    fn new(mut input: Input, place: &str) -> Result<Self> {
        let mut head = [0; PREFIX];
        // A stream begins with a continuation mark and the length of the schema message, eight bytes as well.
        input.read_exact(&mut head).map_err(|error| unreadable(place, error))?;
        let file = head.starts_with(MAGIC);
        if !file && !head.starts_with(&CONTINUATION) {
            return Err(no_arrow(place));
        }
        while file && input.fill_buf().map_err(|error| unreadable(place, error))?.first() == Some(&0) {
            input.consume(1);
        }
        let input: Input = if file { input } else { Box::new(io::Cursor::new(head).chain(input)) };
        Ok(Self { input, decoder: StreamDecoder::new(), file, ended: false })
    }

    /// Reads one message, and gives the batches that it completes; `None` after the end, which must be marked.
    fn next(&mut self, place: &str) -> Result<Option<Vec<RecordBatch>>> {
        if self.ended {
            return Ok(None);
        }
        let message = self.message().map_err(|error| unreadable(place, error))?;
        let Some(message) = message else { return Err(damaged(place, "it has a broken message")) };
        let mut buffer = Buffer::from_vec(message);
        let mut batches = Vec::new();
        while !buffer.is_empty() {
            match self.decoder.decode(&mut buffer) {
                Ok(batch) => batches.extend(batch),
                Err(error) => return Err(damaged(place, &error.to_string())),
            }
        }
        if self.ended {
            self.decoder.finish().map_err(|error| damaged(place, &error.to_string()))?;
            self.check_tail(place)?;
        }
        Ok(Some(batches))
    }

    /// The bytes of one message; `None` where they make no sense.
    fn message(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut message = Vec::new();
        self.extend(&mut message, 8)?;
        let length = match message.as_slice() {
            [0xFF, 0xFF, 0xFF, 0xFF, a, b, c, d] => u32::from_le_bytes([*a, *b, *c, *d]),
            _ => return Ok(None),
        };
        if length == 0 {
            self.ended = true;
            return Ok(Some(message));
        }
        self.extend(&mut message, u64::from(length))?;
        let body = message.get(8..).and_then(|header| root_as_message(header).ok()).map(|header| header.bodyLength());
        let Some(body) = body.and_then(|length| u64::try_from(length).ok()) else { return Ok(None) };
        self.extend(&mut message, body)?;
        Ok(Some(message))
    }

    /// Reads so many bytes more. Memory grows with what is there, not with what a length says.
    fn extend(&mut self, message: &mut Vec<u8>, count: u64) -> io::Result<()> {
        let read = (&mut self.input).take(count).read_to_end(message)?;
        match read as u64 == count {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends inside a message")),
        }
    }

    /// After the last message a file has its footer, which ends with the magic; a stream has nothing.
    fn check_tail(&mut self, place: &str) -> Result<()> {
        let mut tail = Vec::new();
        loop {
            let chunk = self.input.fill_buf().map_err(|error| unreadable(place, error))?;
            if chunk.is_empty() {
                break;
            }
            tail.extend_from_slice(chunk);
            let length = chunk.len();
            tail.drain(..tail.len().saturating_sub(MAGIC.len()));
            self.input.consume(length);
        }
        match (self.file, tail.as_slice()) {
            (true, MAGIC) | (false, []) => Ok(()),
            (true, _) => Err(damaged(place, "its footer is cut off")),
            (false, _) => Err(damaged(place, "bytes follow its end")),
        }
    }
}

/// Where the wanted columns are. All columns of the file must be those of the dataset.
fn positions(schema: &Schema, request: &DecodeRequest) -> Result<Vec<usize>> {
    let place = &request.place;
    for field in schema.fields() {
        let known = request.dataset_schema.field_with_name(field.name()).map_err(|_| {
            EngineError::failed(format!("{place:?} has a column {:?}, which the dataset has not", field.name()))
                .with_hint("the files of a dataset must have the same columns")
        })?;
        if known.data_type() != field.data_type() {
            return Err(EngineError::failed(format!(
                "{place:?}: column {:?} is {} where the dataset has {}",
                field.name(),
                field.data_type(),
                known.data_type()
            ))
            .with_hint("the files of a dataset must have the same columns"));
        }
    }
    let wanted = request.schema.fields().iter().map(|field| {
        schema.index_of(field.name()).map_err(|_| {
            EngineError::failed(format!("{place:?} lacks the column {:?}", field.name()))
                .with_hint("the files of a dataset must have the same columns")
        })
    });
    wanted.collect()
}

fn select(batch: &RecordBatch, columns: &[usize], schema: &SchemaRef) -> Result<RecordBatch> {
    let arrays = columns.iter().filter_map(|at| batch.columns().get(*at).map(Arc::clone)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
}

fn no_arrow(place: &str) -> EngineError {
    EngineError::failed(format!("{place:?} is no Arrow IPC file or stream"))
        .with_hint("name the format of the files, or correct their ending")
}

fn damaged(place: &str, why: &str) -> EngineError {
    EngineError::failed(format!("{place:?} is damaged: {why}"))
        .with_hint("fetch the file again; nothing after the damage can be read")
}

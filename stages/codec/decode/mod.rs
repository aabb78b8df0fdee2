//! Decoders: the bytes of one file in, record batches and rejects out.
//!
//! A decoder works on one thread of the blocking pool, pulls its input as it goes and waits while nobody takes its
//! output, so that its memory is bounded: by a batch, a row of at most [`MAX_ROW_BYTES`] and the buffers of the
//! decompression. A row that is wrong is a reject with its place and the decoder goes on; input that is cut off or
//! whose structure is broken is an error, because what follows could not be told apart.

mod cell;
mod csv;
mod ipc;
mod json;
mod reading;
mod rows;
mod table;

use std::io::{self, BufRead, Read};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use restow_core::stage::Reject;
use restow_core::{EngineError, Result};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use csv::CsvOptions;
pub(super) use csv::{Record, Records};
pub use ipc::arrow_schema;
pub(super) use reading::{Reading, compact, numbers_of, readable};
#[cfg(test)]
pub(super) use rows::Fields;
pub(super) use rows::{JsonRows, RawRow};

use super::options::StreamCompression;

/// The longest line of JSON lines, element of a JSON array or record of a CSV file, in bytes; a longer one is a reject
/// (in CSV, where it is mostly a quote that is never closed, an error).
pub const MAX_ROW_BYTES: usize = 16 << 20;
/// A batch ends early when its rows had this many bytes of text.
const BATCH_TEXT_BYTES: usize = 8 << 20;
/// Batches that wait to be taken.
const QUEUE: usize = 2;

/// The bytes of a file, in pieces of any size.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;
/// What a decoder gives, in the order of the file.
pub type DecodedStream = BoxStream<'static, Result<Decoded>>;

/// One piece of decoder output.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    /// Rows, with exactly the schema that was wanted.
    Batch(RecordBatch),
    /// A row that could not be read.
    Reject(Reject),
}

/// What to decode.
#[derive(Debug, Clone)]
pub struct DecodeRequest {
    /// All columns of the dataset, as inference gave them. A row with another column is a reject, never cut down.
    pub dataset_schema: SchemaRef,
    /// The columns that are wanted, in this order; possibly none (rows are counted then). Columns that are not wanted
    /// are not decoded, so that their values cannot make a row a reject.
    pub schema: SchemaRef,
    /// Rows of a batch.
    pub batch_rows: usize,
    /// The file's name in the places of rejects, and in errors.
    pub place: String,
    /// How the file is compressed.
    pub compression: StreamCompression,
}

/// Decodes JSON lines: one object a line; blank lines, CRLF and a byte order mark are allowed.
///
/// # Errors
/// The stream gives an error where the file cannot be read to its end, or the schema has a column that text cannot hold.
pub fn decode_json_lines(input: ByteStream, request: DecodeRequest) -> DecodedStream {
    start(input, request, |input, request, output| json::decode(JsonRows::lines(input), request, output))
}

/// Decodes an array of JSON objects, streamed.
///
/// # Errors
/// As [`decode_json_lines`]; also where the array itself is broken.
pub fn decode_json(input: ByteStream, request: DecodeRequest) -> DecodedStream {
    start(input, request, |input, request, output| json::decode(JsonRows::array(input), request, output))
}

/// Decodes CSV (RFC 4180).
///
/// # Errors
/// As [`decode_json_lines`]; also where the header names a column that the dataset does not have.
pub fn decode_csv(input: ByteStream, options: CsvOptions, request: DecodeRequest) -> DecodedStream {
    start(input, request, move |input, request, output| csv::decode(input, &options, request, output))
}

/// Decodes Arrow IPC, file or stream, which is told from the first bytes.
///
/// # Errors
/// The file is cut off or damaged, or its columns are not those of the dataset.
pub fn decode_arrow(input: ByteStream, request: DecodeRequest) -> DecodedStream {
    start(input, request, ipc::decode)
}

/// A decompressed input on the blocking thread.
pub(super) type Input = Box<dyn BufRead + Send>;

/// Why a decoder stops before the end.
pub(super) enum Stop {
    /// Nobody takes the output any more.
    Cancelled,
    /// The file cannot be read to its end.
    Failed(EngineError),
}

impl<E: Into<EngineError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Where a decoder puts what it has.
pub(super) struct Output(mpsc::Sender<Result<Decoded>>);

impl Output {
    fn batch(&self, batch: RecordBatch) -> Result<(), Stop> {
        self.0.blocking_send(Ok(Decoded::Batch(batch))).map_err(|_| Stop::Cancelled)
    }

    fn reject(&self, reject: Reject) -> Result<(), Stop> {
        self.0.blocking_send(Ok(Decoded::Reject(reject))).map_err(|_| Stop::Cancelled)
    }
}

/// Starts a decoder when its stream is first polled.
fn start(
    input: ByteStream,
    request: DecodeRequest,
    run: impl FnOnce(Input, DecodeRequest, &Output) -> Result<(), Stop> + Send + 'static,
) -> DecodedStream {
    let started = async move {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let handle = Handle::current();
        let place = request.place.clone();
        let task = tokio::task::spawn_blocking(move || {
            let output = Output(sender);
            let result = open(handle, input, request.compression)
                .map_err(|error| Stop::Failed(unreadable(&place, error)))
                .and_then(|input| run(input, request, &output));
            if let Err(Stop::Failed(error)) = result {
                // Where nobody listens any more, nobody misses the error.
                output.0.blocking_send(Err(error)).ok();
            }
        });
        stream::unfold((receiver, Some(task)), next)
    };
    stream::once(started).flatten().boxed()
}

type Running = (mpsc::Receiver<Result<Decoded>>, Option<JoinHandle<()>>);

/// The next piece of output. The end counts only when the thread has ended well: a panic must not look like the end.
async fn next((mut receiver, task): Running) -> Option<(Result<Decoded>, Running)> {
    if let Some(decoded) = receiver.recv().await {
        return Some((decoded, (receiver, task)));
    }
    match task?.await {
        Ok(()) => None,
        Err(error) => {
            Some((Err(EngineError::failed(format!("a decoder ended unexpectedly: {error}"))), (receiver, None)))
        }
    }
}

/// The decompressed bytes of a stream, for a thread of the blocking pool.
pub(super) fn open(handle: Handle, stream: ByteStream, compression: StreamCompression) -> io::Result<Input> {
    compression.reader(StreamReader { handle, stream, current: Bytes::new(), ended: false })
}

/// Turns an error of the reading chain into one that names the file; an error of the stream itself passes through.
pub(super) fn unreadable(place: &str, error: io::Error) -> EngineError {
    let kind = error.kind();
    match error.downcast::<EngineError>() {
        Ok(own) => own,
        Err(error) if kind == io::ErrorKind::UnexpectedEof => {
            EngineError::failed(format!("{place:?} is cut off: {error}"))
                .with_hint("fetch the file again; nothing after the cut can be read")
        }
        Err(error) => EngineError::failed(format!("{place:?} cannot be read: {error}"))
            .with_hint("check its compression and its format"),
    }
}

/// Pulls a stream from a thread of the blocking pool.
struct StreamReader {
    handle: Handle,
    stream: ByteStream,
    current: Bytes,
    ended: bool,
}

impl BufRead for StreamReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() && !self.ended {
            match self.handle.block_on(self.stream.next()) {
                Some(Ok(bytes)) => self.current = bytes,
                Some(Err(error)) => {
                    self.ended = true;
                    return Err(io::Error::other(error));
                }
                None => self.ended = true,
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        let amount = amount.min(self.current.len());
        bytes::Buf::advance(&mut self.current, amount);
    }
}

impl Read for StreamReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), available.get(..count)) {
            to.copy_from_slice(from);
        }
        self.consume(count);
        Ok(count)
    }
}

//! Files as streams, in pieces that are worth a thread's while.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::{Error, GetResult, GetResultPayload, Result};

use crate::container::HEADER;

/// Bytes of one read of a local file. `object_store` itself reads 8 KiB at a time and hands each to another thread and back, which
/// costs more than what is done with them. A whole number of sealed chunks (`container`), so that none of them is cut in two.
const FILE_READ: u64 = 16 * 65_552;

/// The bytes of an answer, whatever shape it came in; files are read in large pieces off the async threads.
pub(crate) fn stored_stream(result: GetResult) -> BoxStream<'static, Result<Bytes>> {
    match result.payload {
        GetResultPayload::Stream(stream) => stream,
        GetResultPayload::File(file, _) => file_stream(file, result.range),
    }
}

fn file_stream(file: File, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
    stream::try_unfold((file, range), |(mut file, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        // Before the first sealed chunk stands the header.
        let most = if range.start == 0 { HEADER as u64 + FILE_READ } else { FILE_READ };
        let want = range.end.saturating_sub(range.start).min(most);
        // Allocated here and not by the thread that fills it: those are many, and glibc keeps what is freed for each of them by itself.
        let mut piece = Vec::with_capacity(usize::try_from(want).unwrap_or(0));
        let read = move || -> std::io::Result<(File, Range<u64>, Bytes)> {
            file.seek(SeekFrom::Start(range.start))?;
            let got = file.by_ref().take(want).read_to_end(&mut piece)?;
            let next = range.start.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
            // A file that ends early ends the stream; who reads it knows how much is missing.
            let end = if got == 0 { next } else { range.end };
            Ok((file, next..end, piece.into()))
        };
        let done = match tokio::runtime::Handle::try_current() {
            Ok(runtime) => runtime.spawn_blocking(read).await?,
            Err(_) => read(),
        };
        let (file, rest, piece) = done.map_err(|e| Error::Generic { store: "LocalStore", source: Box::new(e) })?;
        Ok(Some((piece, (file, rest))))
    })
    .boxed()
}

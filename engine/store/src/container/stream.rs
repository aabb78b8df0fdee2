//! From stored bytes to plain bytes, a batch of chunks at a time.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt};
use object_store::Result;

use super::format::{CHUNK_U64, HEADER, SEALED_CHUNK, chunk_offset, chunks, stored_len};
use super::{ContainerError, ObjectCipher};

/// Chunks that are opened or sealed before the task yields: 512 KiB, about 250 microseconds of AES.
pub(super) const BATCH: usize = 8;
/// Takes the header off the front of a stream.
pub(super) async fn split_header(
    source: &mut BoxStream<'static, Result<Bytes>>,
    path: &str,
    stored: u64,
) -> Result<([u8; HEADER], BytesMut)> {
    let mut buffer = BytesMut::new();
    loop {
        if let Some((header, _)) = buffer.split_first_chunk::<HEADER>() {
            let header = *header;
            buffer.advance(HEADER);
            return Ok((header, buffer));
        }
        match source.next().await {
            Some(piece) => buffer.extend_from_slice(&piece?),
            None => {
                let found = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
                return Err(ContainerError::Truncated { path: path.to_owned(), found, expected: stored }.into());
            }
        }
    }
}

/// Opens the chunks that cover a range of plain bytes.
pub(super) struct Opener {
    cipher: ObjectCipher,
    source: BoxStream<'static, Result<Bytes>>,
    buffer: BytesMut,
    /// Next chunk to open, and the one after the last to open.
    next: u64,
    end: u64,
    /// Chunks of the whole object, and the stored length of its last one.
    total: u64,
    last_len: usize,
    /// Plain bytes of the first chunk that come before the range.
    skip: usize,
    /// Plain bytes of the range still to give out.
    remaining: u64,
}

/// The chunks that hold a range of plain bytes; chunk 0 for an empty object.
pub(super) fn chunk_range(range: &Range<u64>) -> Range<u64> {
    (range.start / CHUNK_U64)..chunks(range.end)
}

impl Opener {
    /// `source` (after `buffer`) starts with the first chunk of [`chunk_range`] and ends with its last.
    pub(super) fn new(
        cipher: ObjectCipher,
        source: BoxStream<'static, Result<Bytes>>,
        buffer: BytesMut,
        plain: u64,
        range: &Range<u64>,
    ) -> Self {
        let total = chunks(plain);
        let wanted = chunk_range(range);
        let last_len = stored_len(plain).saturating_sub(chunk_offset(total.saturating_sub(1)));
        Self {
            cipher,
            source,
            buffer,
            next: wanted.start,
            end: wanted.end,
            total,
            last_len: usize::try_from(last_len).unwrap_or(SEALED_CHUNK),
            skip: usize::try_from(range.start % CHUNK_U64).unwrap_or(0),
            remaining: range.end.saturating_sub(range.start),
        }
    }

    /// The same as one piece, which is there when all of it was opened.
    pub(super) fn into_piece(mut self) -> BoxStream<'static, Result<Bytes>> {
        let sealed = self.end.saturating_sub(self.next).saturating_mul(CHUNK_U64);
        stream::once(async move {
            // Chunks are opened whole, and cut afterwards.
            let mut out = Vec::with_capacity(usize::try_from(sealed).unwrap_or(0));
            while self.batch(&mut out).await? {}
            Ok(self.cut(out))
        })
        .boxed()
    }

    /// The plain bytes. The stream ends with an error where a chunk fails, bytes are missing, or more come than should.
    pub(super) fn into_stream(self) -> BoxStream<'static, Result<Bytes>> {
        stream::try_unfold(self, |mut opener| async move {
            let mut out = Vec::new();
            let more = opener.batch(&mut out).await?;
            Ok(more.then(|| (opener.cut(out), opener)))
        })
        .boxed()
    }

    /// Opens more chunks, at most a batch; whether there were any. The last of them is only given out when nothing follows it.
    async fn batch(&mut self, out: &mut Vec<u8>) -> Result<bool> {
        while self.next < self.end {
            let ready = self.open_ready(out)?;
            if self.next == self.end {
                self.expect_end().await?;
            }
            if ready {
                tokio::task::yield_now().await;
                return Ok(true);
            }
            if self.next == self.end {
                break;
            }
            match self.source.next().await {
                // Mostly nothing is left over from the piece before: this one is taken as it is.
                Some(piece) if self.buffer.is_empty() => self.buffer = BytesMut::from(piece?),
                Some(piece) => self.buffer.extend_from_slice(&piece?),
                None => return Err(self.truncated().into()),
            }
        }
        Ok(false)
    }

    /// Opens what is whole in the buffer, at most a batch.
    fn open_ready(&mut self, out: &mut Vec<u8>) -> Result<bool, ContainerError> {
        let before = self.next;
        for _ in 0..BATCH {
            if self.next == self.end {
                break;
            }
            let last = self.next.saturating_add(1) == self.total;
            let length = if last { self.last_len } else { SEALED_CHUNK };
            let Some(sealed) = self.buffer.get(..length) else { break };
            if out.capacity() == 0 {
                out.reserve(self.buffer.len().min(BATCH * SEALED_CHUNK));
            }
            self.cipher.open_chunk(self.next, last, sealed, out)?;
            self.buffer.advance(length);
            self.next = self.next.saturating_add(1);
        }
        Ok(self.next > before)
    }

    /// What of these bytes belongs to the range.
    fn cut(&mut self, opened: Vec<u8>) -> Bytes {
        let mut plain = Bytes::from(opened);
        let skipped = self.skip.min(plain.len());
        plain.advance(skipped);
        self.skip = self.skip.saturating_sub(skipped);
        plain.truncate(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        self.remaining = self.remaining.saturating_sub(u64::try_from(plain.len()).unwrap_or(0));
        plain
    }

    /// After the last chunk nothing may follow. Checked before its bytes are given out: most readers stop there.
    async fn expect_end(&mut self) -> Result<()> {
        let mut more = !self.buffer.is_empty();
        while !more {
            match self.source.next().await {
                Some(piece) => more = !piece?.is_empty(),
                None => return Ok(()),
            }
        }
        let expected = match self.end == self.total {
            true => {
                chunk_offset(self.total.saturating_sub(1)).saturating_add(u64::try_from(self.last_len).unwrap_or(0))
            }
            false => chunk_offset(self.end),
        };
        Err(ContainerError::Trailing { path: self.cipher.path().to_owned(), expected }.into())
    }

    fn truncated(&self) -> ContainerError {
        let buffered = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        ContainerError::Truncated {
            path: self.cipher.path().to_owned(),
            found: chunk_offset(self.next).saturating_add(buffered),
            expected: chunk_offset(self.end.saturating_sub(1)).saturating_add(
                u64::try_from(if self.end == self.total { self.last_len } else { SEALED_CHUNK }).unwrap_or(0),
            ),
        }
    }
}

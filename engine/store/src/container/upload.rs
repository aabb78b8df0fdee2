//! Sealing in order, and multipart uploads whose parts are cut from the stored stream.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::try_join_all;
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::format::{CHUNK, SEALED_CHUNK, stored_len};
use super::headers::Headers;
use super::stream::BATCH;
use super::{ContainerError, ObjectCipher};

/// Plain bytes that are sealed before the task yields.
const STEP: usize = BATCH * CHUNK;

/// Stored bytes that lie in one buffer: all buffers of an upload are of one size, so that the memory of one serves the next.
const PIECE: usize = BATCH * SEALED_CHUNK;

/// Seals plain bytes as they come. It holds back one whole chunk, since only more bytes tell that it is not the last.
pub(super) struct Sealer {
    cipher: ObjectCipher,
    carry: Vec<u8>,
    chunk: u64,
    out: Sealed,
}

/// Stored bytes that were not taken yet; they begin with the header.
#[derive(Default)]
struct Sealed {
    pieces: VecDeque<Bytes>,
    open: Vec<u8>,
    /// Bytes of the pieces.
    whole: usize,
}

impl Sealed {
    fn len(&self) -> usize {
        self.whole + self.open.len()
    }

    /// Where the next bytes go.
    fn open(&mut self) -> &mut Vec<u8> {
        if self.open.len() >= PIECE {
            self.end_piece();
        }
        self.open.reserve_exact(if self.open.is_empty() { PIECE + SEALED_CHUNK } else { 0 });
        &mut self.open
    }

    fn end_piece(&mut self) {
        if !self.open.is_empty() {
            self.whole += self.open.len();
            self.pieces.push_back(std::mem::take(&mut self.open).into());
        }
    }

    /// The first bytes, so many or all.
    fn take(&mut self, length: usize) -> PutPayload {
        self.end_piece();
        let (mut taken, mut left) = (Vec::new(), length);
        while left > 0
            && let Some(mut piece) = self.pieces.pop_front()
        {
            if piece.len() > left {
                self.pieces.push_front(piece.split_off(left));
            }
            left -= piece.len();
            self.whole -= piece.len();
            taken.push(piece);
        }
        taken.into_iter().collect()
    }
}

impl Sealer {
    pub(super) fn new(cipher: ObjectCipher, capacity: usize) -> Self {
        let mut open = Vec::with_capacity(capacity.min(PIECE + SEALED_CHUNK));
        open.extend_from_slice(cipher.header());
        Self { cipher, carry: Vec::new(), chunk: 0, out: Sealed { open, ..Sealed::default() } }
    }

    fn push(&mut self, mut data: &[u8]) -> Result<(), ContainerError> {
        while !data.is_empty() {
            if self.carry.len() == CHUNK {
                self.seal(false)?;
            }
            // A whole chunk behind which more comes is not the last: it needs no place to wait in.
            if self.carry.is_empty()
                && let Some((chunk, more)) = data.split_at_checked(CHUNK)
                && !more.is_empty()
            {
                self.cipher.seal_chunk(self.chunk, false, chunk, self.out.open())?;
                self.chunk = self.chunk.saturating_add(1);
                data = more;
                continue;
            }
            let room = CHUNK.saturating_sub(self.carry.len()).min(data.len());
            let (now, later) = data.split_at_checked(room).unwrap_or((data, &[]));
            self.carry.extend_from_slice(now);
            data = later;
        }
        Ok(())
    }

    fn seal(&mut self, last: bool) -> Result<(), ContainerError> {
        self.cipher.seal_chunk(self.chunk, last, &self.carry, self.out.open())?;
        self.chunk = self.chunk.saturating_add(1);
        self.carry.clear();
        Ok(())
    }
}

/// Seals a whole payload, yielding between batches of chunks.
pub(super) async fn seal_payload(cipher: ObjectCipher, payload: &PutPayload) -> Result<PutPayload, ContainerError> {
    let plain = u64::try_from(payload.content_length()).unwrap_or(u64::MAX);
    let mut sealer = Sealer::new(cipher, usize::try_from(stored_len(plain)).unwrap_or(0));
    for (index, step) in payload.iter().flat_map(|piece| piece.chunks(STEP)).enumerate() {
        if index > 0 {
            tokio::task::yield_now().await;
        }
        sealer.push(step)?;
    }
    sealer.seal(true)?;
    Ok(sealer.out.take(usize::MAX))
}

/// A multipart upload of one container.
///
/// `put_part` only queues; the future seals what was queued up to its own data, in order, and uploads the parts that
/// became whole. Whoever is polled first works for those before it, so the futures may be polled in any order.
pub(super) struct EncryptedUpload {
    queue: Arc<Mutex<Queue>>,
    pump: Arc<tokio::sync::Mutex<Pump>>,
    location: Path,
    headers: Arc<Headers>,
}

#[derive(Default)]
struct Queue {
    pieces: VecDeque<Bytes>,
    pushed: u64,
}

struct Pump {
    inner: Box<dyn MultipartUpload>,
    /// Stored bytes of every part but the last: all are alike, as some stores want them.
    part_bytes: usize,
    sealer: Sealer,
    /// Plain bytes taken from the queue.
    taken: u64,
    /// Parts that were begun but belong to no future yet.
    pending: Vec<UploadPart>,
    begun: u64,
    stored: Arc<AtomicU64>,
    sealed: bool,
}

impl EncryptedUpload {
    pub(super) fn new(
        inner: Box<dyn MultipartUpload>,
        part_bytes: usize,
        cipher: ObjectCipher,
        location: Path,
        headers: Arc<Headers>,
    ) -> Self {
        let pump = Pump {
            inner,
            part_bytes,
            sealer: Sealer::new(cipher, 0),
            taken: 0,
            pending: Vec::new(),
            begun: 0,
            stored: Arc::default(),
            sealed: false,
        };
        Self { queue: Arc::default(), pump: Arc::new(tokio::sync::Mutex::new(pump)), location, headers }
    }
}

#[async_trait]
impl MultipartUpload for EncryptedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let up_to = {
            let mut queue = lock(&self.queue);
            queue.pushed = queue.pushed.saturating_add(u64::try_from(data.content_length()).unwrap_or(u64::MAX));
            queue.pieces.extend(data);
            queue.pushed
        };
        let (queue, pump) = (Arc::clone(&self.queue), Arc::clone(&self.pump));
        async move {
            let parts = {
                let mut pump = pump.lock().await;
                pump.run(&queue, up_to).await?;
                std::mem::take(&mut pump.pending)
            };
            try_join_all(parts).await.map(|_| ())
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let mut pump = self.pump.lock().await;
        let all = lock(&self.queue).pushed;
        if !pump.sealed {
            pump.run(&self.queue, all).await?;
            pump.finish()?;
        }
        try_join_all(std::mem::take(&mut pump.pending)).await?;
        // A future of `put_part` that failed or was dropped leaves a hole that not every store would notice.
        let missing = pump.begun.saturating_sub(pump.stored.load(Ordering::Acquire));
        if missing > 0 || all > pump.taken {
            let path = pump.sealer.cipher.path().to_owned();
            return Err(ContainerError::Incomplete { path, missing: missing.max(1) }.into());
        }
        self.headers.forget(&self.location);
        pump.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        let mut pump = self.pump.lock().await;
        pump.sealed = true;
        pump.pending.clear();
        lock(&self.queue).pieces.clear();
        pump.inner.abort().await
    }
}

impl Pump {
    /// Seals the queue up to so many plain bytes. Dropped between two steps, it loses nothing.
    async fn run(&mut self, queue: &Mutex<Queue>, up_to: u64) -> Result<()> {
        while self.taken < up_to {
            if self.sealed {
                let path = self.sealer.cipher.path().to_owned();
                return Err(ContainerError::Incomplete { path, missing: 1 }.into());
            }
            let Some(step) = take_step(queue) else { break };
            self.sealer.push(&step)?;
            self.taken = self.taken.saturating_add(u64::try_from(step.len()).unwrap_or(u64::MAX));
            self.begin_parts();
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Seals the last chunk and begins the last part.
    fn finish(&mut self) -> Result<()> {
        self.sealer.seal(true)?;
        self.sealed = true;
        self.begin_parts();
        if self.sealer.out.len() > 0 {
            let part = self.sealer.out.take(self.part_bytes);
            self.begin(part);
        }
        Ok(())
    }

    fn begin_parts(&mut self) {
        while self.sealer.out.len() >= self.part_bytes {
            let part = self.sealer.out.take(self.part_bytes);
            self.begin(part);
        }
    }

    fn begin(&mut self, part: PutPayload) {
        let upload = self.inner.put_part(part);
        let stored = Arc::clone(&self.stored);
        self.begun = self.begun.saturating_add(1);
        let counted = async move {
            upload.await?;
            stored.fetch_add(1, Ordering::Release);
            Ok(())
        };
        self.pending.push(counted.boxed());
    }
}

/// The next plain bytes of the queue, at most a step.
fn take_step(queue: &Mutex<Queue>) -> Option<Bytes> {
    let mut queue = lock(queue);
    let mut piece = queue.pieces.pop_front()?;
    if piece.len() > STEP {
        let rest = piece.split_off(STEP);
        queue.pieces.push_front(rest);
    }
    Some(piece)
}

/// A panic elsewhere leaves the queue whole: every change is one call.
fn lock(queue: &Mutex<Queue>) -> std::sync::MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for EncryptedUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedUpload").field("location", &self.location).finish_non_exhaustive()
    }
}

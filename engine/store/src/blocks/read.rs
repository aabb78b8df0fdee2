//! Checked reads: ranges widened to blocks, each block compared before any of its bytes is passed on.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, GetResult, GetResultPayload, Result};

use super::{BLOCK, BlockDigests, BlockError, BlockVerifiedStore, damaged};
use crate::local::stored_stream;

impl BlockDigests {
    /// Approximate bytes in memory.
    pub(super) fn weight(&self) -> usize {
        usize::try_from(self.object_len().div_ceil(BLOCK)).unwrap_or(usize::MAX).saturating_mul(32).saturating_add(256)
    }
}

impl BlockVerifiedStore {
    /// The digests of a data object. A missing one is reported as such, not as one without digests.
    pub(super) async fn digests_of(&self, location: &Path) -> Result<Arc<BlockDigests>> {
        match self.digests(location).await {
            Ok(digests) => Ok(digests),
            Err(e) => {
                let head = GetOptions { head: true, ..GetOptions::default() };
                self.inner.get_opts(location, head).await?;
                Err(e)
            }
        }
    }

    pub(super) async fn read(&self, location: &Path, mut options: GetOptions) -> Result<GetResult> {
        let digests = self.digests_of(location).await?;
        let length = digests.object_len();
        let wanted = match options.range.take() {
            Some(range) => {
                range.as_range(length).map_err(|e| Error::Generic { store: "BlockVerifiedStore", source: e.into() })?
            }
            None => 0..length,
        };
        let first = wanted.start / BLOCK;
        let widened = first * BLOCK..wanted.end.div_ceil(BLOCK).saturating_mul(BLOCK).min(length);
        if !widened.is_empty() && widened != (0..length) {
            options.range = Some(GetRange::Bounded(widened.clone()));
        }
        let mut found = self.inner.get_opts(location, options).await?;
        if found.meta.size != length {
            let (path, actual) = (location.to_string(), found.meta.size);
            return Err(damaged(BlockError::Length { path, expected: length, actual }));
        }
        let (meta, attributes) = (found.meta.clone(), std::mem::take(&mut found.attributes));
        let source = Blocks {
            stream: stored_stream(found),
            digests,
            path: location.to_string(),
            pending: BytesMut::new(),
            at: widened.start,
            end: widened.end,
            wanted: wanted.clone(),
        };
        Ok(GetResult { payload: GetResultPayload::Stream(source.into_stream()), meta, range: wanted, attributes })
    }
}

/// A stream of stored bytes that is cut into blocks.
struct Blocks {
    stream: BoxStream<'static, Result<Bytes>>,
    digests: Arc<BlockDigests>,
    path: String,
    pending: BytesMut,
    /// Offset of the block in `pending`; always a multiple of a block.
    at: u64,
    end: u64,
    wanted: Range<u64>,
}

impl Blocks {
    fn into_stream(self) -> BoxStream<'static, Result<Bytes>> {
        futures::stream::try_unfold(self, |mut blocks| async move {
            while let Some(piece) = blocks.next_block().await? {
                if !piece.is_empty() {
                    return Ok(Some((piece, blocks)));
                }
            }
            Ok(None)
        })
        .boxed()
    }

    /// The wanted part of the next block, checked, or `None` after the last one.
    async fn next_block(&mut self) -> Result<Option<Bytes>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let length = BLOCK.min(self.end - self.at);
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        while self.pending.len() < size {
            match self.stream.try_next().await? {
                Some(piece) => self.pending.extend_from_slice(&piece),
                None => return Err(damaged(self.short())),
            }
        }
        let block = self.pending.split_to(size).freeze();
        if !self.digests.matches(self.at / BLOCK, &block) {
            return Err(damaged(BlockError::Damaged { path: self.path.clone(), offset: self.at, length }));
        }
        let inside = |offset: u64| usize::try_from(offset.saturating_sub(self.at)).unwrap_or(usize::MAX).min(size);
        let (from, to) = (inside(self.wanted.start), inside(self.wanted.end));
        self.at += length;
        Ok(Some(block.slice(from.min(to)..to)))
    }

    fn short(&self) -> BlockError {
        let actual = self.at + self.pending.len() as u64;
        BlockError::Length { path: self.path.clone(), expected: self.digests.object_len(), actual }
    }
}

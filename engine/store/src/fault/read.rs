//! Reads and listings that go wrong.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, GetResult, GetResultPayload, ListResult, ObjectMeta, Result};

use super::error::Visit;
use super::{Fault, FaultStore, Faults, Kind, Lie, flip_in};

/// Whether an answer is thrown away after the operation.
fn lost(fault: Option<Fault>) -> Option<Fault> {
    fault.filter(|f| matches!(f, Fault::DropReply | Fault::Crash(super::Moment::After)))
}

impl FaultStore {
    /// The answer to a read of one object.
    pub(super) fn read(
        &self,
        visit: Visit,
        fault: Option<Fault>,
        kind: Kind,
        found: Result<GetResult>,
    ) -> Result<GetResult> {
        if let Some(fault) = lost(fault) {
            return Err(visit.error(fault));
        }
        let mut found = found?;
        if kind == Kind::Head {
            return match fault {
                Some(Fault::Lie(Lie::Half)) => {
                    found.meta.size /= 2;
                    Ok(found)
                }
                Some(Fault::Lie(Lie::Plain | Lie::Corrupt)) => {
                    found.meta.size = found.meta.size.saturating_add(1);
                    Ok(found)
                }
                None | Some(Fault::Lie(_)) => Ok(found),
                Some(fault) => Err(visit.error(fault)),
            };
        }
        let length = found.range.end.saturating_sub(found.range.start);
        let change: Change = match fault {
            None | Some(Fault::Lie(Lie::Overwrite | Lie::Keep | Lie::Exists)) if !self.faults.can_crash() => {
                return Ok(found);
            }
            None | Some(Fault::Lie(Lie::Overwrite | Lie::Keep | Lie::Exists)) => Change::Nothing,
            Some(Fault::Lie(Lie::Half)) => Change::End(length / 2),
            Some(Fault::Lie(_)) => Change::Flip(self.faults.random()),
            Some(fault) => Change::Break(length / 2, visit.error(fault)),
        };
        let (meta, range, attributes) =
            (found.meta.clone(), found.range.clone(), std::mem::take(&mut found.attributes));
        let stream = changed(found.into_stream(), change, length, Arc::clone(&self.faults), visit);
        Ok(GetResult { payload: GetResultPayload::Stream(stream), meta, range, attributes })
    }

    /// The answer to a read of ranges.
    pub(super) fn read_ranges(
        &self,
        visit: &Visit,
        fault: Option<Fault>,
        found: Result<Vec<Bytes>>,
    ) -> Result<Vec<Bytes>> {
        if let Some(fault) = lost(fault) {
            return Err(visit.error(fault));
        }
        let mut found = found?;
        match fault {
            None | Some(Fault::Lie(Lie::Overwrite | Lie::Keep | Lie::Exists)) => {}
            Some(Fault::Lie(Lie::Half)) => {
                if let Some(last) = found.last_mut() {
                    last.truncate(last.len() / 2);
                }
            }
            Some(Fault::Lie(_)) => {
                let random = self.faults.random();
                if let Some(bytes) = found.iter_mut().find(|bytes| !bytes.is_empty()) {
                    let mut changed = bytes.to_vec();
                    flip_in(&mut changed, random);
                    *bytes = changed.into();
                }
            }
            Some(fault) => return Err(visit.error(fault)),
        }
        match self.faults.dead(visit) {
            Some(dead) => Err(dead),
            None => Ok(found),
        }
    }

    /// A listing; it is counted when it is first polled.
    pub(super) fn listing(
        &self,
        prefix: Option<&Path>,
        listed: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let faults = Arc::clone(&self.faults);
        let path = prefix.map(ToString::to_string).unwrap_or_default();
        stream::once(async move {
            let (visit, fault) = faults.enter(Kind::List, &path, 0).await?;
            if fault.is_none() && !faults.can_crash() {
                return Ok(listed);
            }
            if let Some(fault) = lost(fault) {
                return Err(visit.error(fault));
            }
            let all: Vec<ObjectMeta> = listed.try_collect().await?;
            let half = all.len() / 2;
            let mut kept: Vec<Result<ObjectMeta>> = all.into_iter().map(Ok).collect();
            match fault {
                None | Some(Fault::Lie(Lie::Overwrite | Lie::Keep | Lie::Exists)) => {}
                Some(Fault::Lie(Lie::Half)) => kept.truncate(half),
                Some(Fault::Lie(_)) => kept.clear(),
                Some(fault) => {
                    kept.truncate(half);
                    kept.push(Err(visit.error(fault)));
                }
            }
            Ok(stream::iter(kept).boxed())
        })
        .try_flatten()
        .boxed()
    }
}

/// The answer to a listing with common prefixes.
pub(super) fn list_result(visit: &Visit, fault: Option<Fault>, listed: Result<ListResult>) -> Result<ListResult> {
    if let Some(fault) = lost(fault) {
        return Err(visit.error(fault));
    }
    let mut listed = listed?;
    let keep = match fault {
        None | Some(Fault::Lie(Lie::Overwrite | Lie::Keep | Lie::Exists)) => return Ok(listed),
        Some(Fault::Lie(Lie::Half)) => 2,
        Some(Fault::Lie(_)) => usize::MAX,
        Some(fault) => return Err(visit.error(fault)),
    };
    listed.objects.truncate(listed.objects.len() / keep);
    listed.common_prefixes.truncate(listed.common_prefixes.len() / keep);
    Ok(listed)
}

/// What happens to the bytes of a read.
enum Change {
    Nothing,
    /// The stream ends after so many bytes, as if that were all.
    End(u64),
    /// It breaks after so many.
    Break(u64, Error),
    /// One bit differs.
    Flip(u64),
}

/// The bytes of a read with a change; a process that dies in the meantime reads no further.
fn changed(
    stream: BoxStream<'static, Result<Bytes>>,
    change: Change,
    length: u64,
    faults: Arc<Faults>,
    visit: Visit,
) -> BoxStream<'static, Result<Bytes>> {
    let killer = matches!(change, Change::Break(..));
    let (end, error, flip) = match change {
        Change::Nothing => (u64::MAX, None, None),
        Change::End(end) => (end, None, None),
        Change::Break(end, error) => (end, Some(error), None),
        Change::Flip(random) => (u64::MAX, None, Some(random)),
    };
    let state = Walk { stream, at: 0, end, error, flip: flip.map(|r| ((r >> 3) % length.max(1), 1 << (r % 8))) };
    stream::try_unfold(state, move |mut walk| {
        let (faults, visit) = (Arc::clone(&faults), visit.clone());
        async move {
            match faults.dead(&visit) {
                Some(dead) if !killer => Err(dead),
                _ => Ok(walk.step().await?.map(|piece| (piece, walk))),
            }
        }
    })
    .boxed()
}

struct Walk {
    stream: BoxStream<'static, Result<Bytes>>,
    at: u64,
    end: u64,
    error: Option<Error>,
    /// Offset and mask of the bit that differs.
    flip: Option<(u64, u8)>,
}

impl Walk {
    async fn step(&mut self) -> Result<Option<Bytes>> {
        let next = if self.at < self.end { self.stream.try_next().await? } else { None };
        let Some(mut piece) = next else {
            return match self.error.take() {
                Some(error) => Err(error),
                None => Ok(None),
            };
        };
        let room = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        piece.truncate(room.min(piece.len()));
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        if let Some((offset, mask)) = self.flip
            && let Some(inside) = offset.checked_sub(self.at).filter(|inside| *inside < length)
        {
            let mut changed = BytesMut::from(piece.as_ref());
            if let Some(byte) = changed.get_mut(usize::try_from(inside).unwrap_or(usize::MAX)) {
                *byte ^= mask;
            }
            piece = changed.freeze();
        }
        self.at += length;
        Ok(Some(piece))
    }
}

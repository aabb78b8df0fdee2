//! Small objects: read whole, created only where none exists.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, GetResult, GetResultPayload, ObjectStore, ObjectStoreExt, PutMode, Result};
use tokio::time::Instant;

use super::clear::ClearError;
use super::{ExitClass, exit_class_of};

/// No metadata object is longer; what is longer was not written by restow and is not read into memory.
const LARGEST: u64 = 512 << 20;

/// No new attempt of a creation starts after this time.
const PATIENCE: Duration = Duration::from_secs(100);

/// What came of a creation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Creation {
    /// The object is ours, and reads as it was given.
    Created,
    /// Something else is there. It may be our own, where the reply to an earlier attempt was lost.
    Exists(Bytes),
}

/// A store said that it created an object, and does not have it.
#[derive(Debug, thiserror::Error)]
#[error(
    "the store says that it created {path}, but it is not there when it is read back; this store loses data; what was \
     reported before is as safe as it was"
)]
pub(crate) struct NotKept {
    path: String,
}

/// Creates an object if there is none, and reads it back: what is reported rests on it. `object_store` does not repeat such a request, because it cannot know whether a
/// request without a reply was carried out; here it is repeated, since the caller compares what is there.
pub(crate) async fn create(store: &dyn ObjectStore, path: &Path, bytes: &Bytes) -> Result<Creation> {
    let begin = Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        let error = match store.put_opts(path, bytes.clone().into(), PutMode::Create.into()).await {
            Ok(_) => match read(store, path).await {
                Ok(found) if found == *bytes => return Ok(Creation::Created),
                Ok(found) => return Ok(Creation::Exists(found)),
                Err(Error::NotFound { .. }) => {
                    let source = Box::new(NotKept { path: path.to_string() });
                    return Err(Error::Generic { store: "restow", source });
                }
                Err(e) if exit_class_of(&e) == ExitClass::Unreachable => e,
                Err(e) => return Err(e),
            },
            Err(taken @ Error::AlreadyExists { .. }) => match read(store, path).await {
                Ok(found) => return Ok(Creation::Exists(found)),
                // S3 answers so while another creation is under way that may still fail.
                Err(Error::NotFound { .. }) => taken,
                Err(e) => return Err(e),
            },
            Err(e) if exit_class_of(&e) == ExitClass::Unreachable => e,
            Err(e) => return Err(e),
        };
        if begin.elapsed() + pause > PATIENCE || pause > Duration::from_secs(5) {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

/// Reads an object whole.
pub(crate) async fn read(store: &dyn ObjectStore, path: &Path) -> Result<Bytes> {
    Ok(read_with_time(store, path).await?.0)
}

/// The same, and when the store says that it was written.
pub(crate) async fn read_with_time(store: &dyn ObjectStore, path: &Path) -> Result<(Bytes, DateTime<Utc>)> {
    let found = store.get(path).await?;
    let time = found.meta.last_modified;
    Ok((collect(found, LARGEST).await?, time))
}

/// All bytes of an answer. Neither the size that the store names nor where its answer ends is believed: memory is taken for
/// what has come, and no more is taken than the size, or than `most`.
pub(crate) async fn collect(found: GetResult, most: u64) -> Result<Bytes> {
    let refused = |error: ClearError| Error::Generic { store: "restow", source: Box::new(error) };
    let size = found.meta.size;
    if size > most {
        return Err(refused(ClearError::TooLong(size)));
    }
    if matches!(found.payload, GetResultPayload::File(..)) {
        return found.bytes().await;
    }
    let pieces = pieces(found, size).await?;
    match pieces.iter().map(|piece| piece.len() as u64).sum::<u64>() > size {
        true => Err(refused(ClearError::Trailing(size))),
        false => Ok(joined(pieces)),
    }
}

/// The pieces of an answer up to the one with which there are more than `enough` bytes.
async fn pieces(found: GetResult, enough: u64) -> Result<Vec<Bytes>> {
    let (mut stream, mut pieces, mut length) = (found.into_stream(), Vec::new(), 0u64);
    while let Some(piece) = stream.try_next().await? {
        length = length.saturating_add(piece.len() as u64);
        pieces.push(piece);
        if length > enough {
            break;
        }
    }
    Ok(pieces)
}

/// One piece needs no copy.
fn joined(mut pieces: Vec<Bytes>) -> Bytes {
    pieces.retain(|piece| !piece.is_empty());
    match pieces.len() {
        0 | 1 => pieces.pop().unwrap_or_default(),
        _ => pieces.concat().into(),
    }
}

/// Reads an object, where it is there; of one that is longer than `most` only so much that this shows.
pub(crate) async fn read_start(store: &dyn ObjectStore, path: &Path, most: usize) -> Result<Option<Bytes>> {
    let found = match store.get(path).await {
        Ok(found) => found,
        Err(Error::NotFound { .. }) => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut bytes = joined(pieces(found, most as u64).await?);
    bytes.truncate(most.saturating_add(1));
    Ok(Some(bytes))
}

/// The same, where a missing object is no error.
pub(crate) async fn read_if_there(store: &dyn ObjectStore, path: &Path) -> Result<Option<Bytes>> {
    match read(store, path).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// When the store says that an object was written, where it is there.
pub(crate) async fn modified(store: &dyn ObjectStore, path: &Path) -> Result<Option<DateTime<Utc>>> {
    match store.head(path).await {
        Ok(meta) => Ok(Some(meta.last_modified)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether an object is there.
pub(crate) async fn exists(store: &dyn ObjectStore, path: &Path) -> Result<bool> {
    Ok(modified(store, path).await?.is_some())
}

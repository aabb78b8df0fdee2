//! Small objects: read whole, created only where none exists.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, Result};
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
    /// The object is ours.
    Created,
    /// Another object was there. It may be our own, where the reply to an earlier attempt was lost.
    Exists(Bytes),
}

/// Creates an object if there is none. `object_store` does not repeat such a request, because it cannot know whether a
/// request without a reply was carried out; here it is repeated, since the caller compares what is there.
pub(crate) async fn create(store: &dyn ObjectStore, path: &Path, bytes: &Bytes) -> Result<Creation> {
    let begin = Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        let error = match store.put_opts(path, bytes.clone().into(), PutMode::Create.into()).await {
            Ok(_) => return Ok(Creation::Created),
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
    if found.meta.size > LARGEST {
        return Err(Error::Generic { store: "restow", source: Box::new(ClearError::TooLong(found.meta.size)) });
    }
    let time = found.meta.last_modified;
    Ok((found.bytes().await?, time))
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

//! Whether a store creates an object only where none exists: found out before a repository rests on it.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::{Error, ObjectStoreExt, PutMode};

use super::{RepositoryError, failed, random_hex, small};
use crate::location::Location;

/// Tries create-if-absent twice under a random name in `keys/`, where readers look for numbers only; gives the store's time
/// of the object.
pub(super) async fn create_if_absent(location: &Location) -> Result<DateTime<Utc>, RepositoryError> {
    let random = random_hex().map_err(|e| RepositoryError::Internal { problem: e.to_string() })?;
    let object = format!("keys/probe-{random}.json");
    let path = location.path(&object)?;
    let unsafe_store = |problem: String| RepositoryError::NoCreateIfAbsent { url: location.url.clone(), problem };
    let (first, second) = (Bytes::from_static(b"{\"probe\":1}\n"), Bytes::from_static(b"{\"probe\":2}\n"));

    match small::create(location.store.as_ref(), &path, &first).await {
        Ok(_) => {}
        Err(e @ (Error::NotImplemented { .. } | Error::NotSupported { .. })) => {
            return Err(unsafe_store(e.to_string()));
        }
        Err(e) => return Err(failed(location, "create", &object)(e)),
    }
    let again = location.store.put_opts(&path, second.into(), PutMode::Create.into()).await;
    let found = small::read_with_time(location.store.as_ref(), &path).await.map_err(failed(location, "read", &object));
    // Where nothing may be deleted the probe stays; no reader looks at it.
    let _ = location.store.delete(&path).await;
    match (again, found?) {
        (Err(Error::AlreadyExists { .. }), (found, time)) if found == first => Ok(time),
        (Err(Error::AlreadyExists { .. }), _) => Err(unsafe_store("it read back other bytes than it was given".into())),
        (Ok(_), _) => Err(unsafe_store("it replaced the object that was there".into())),
        (Err(e), _) => Err(failed(location, "create", &object)(e)),
    }
}

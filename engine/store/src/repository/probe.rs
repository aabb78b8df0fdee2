//! Whether a store creates an object only where none exists: found out before a repository rests on it.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::{Error, ObjectStoreExt, PutMode};

use super::small::{self, Creation, NotKept};
use super::{RepositoryError, failed, random_hex};
use crate::location::Location;

/// Tries create-if-absent twice under a random name in `keys/`, where readers look for numbers only; gives the store's time
/// of the object.
pub(super) async fn create_if_absent(location: &Location) -> Result<DateTime<Utc>, RepositoryError> {
    let random = random_hex().map_err(|e| RepositoryError::Internal { problem: e.to_string() })?;
    let object = format!("keys/probe-{random}.json");
    let path = location.path(&object)?;
    let unsafe_store = |problem: String| RepositoryError::NoCreateIfAbsent { url: location.url.clone(), problem };
    let (first, second) = (Bytes::from_static(b"{\"probe\":1}\n"), Bytes::from_static(b"{\"probe\":2}\n"));

    let made = small::create(location.store.as_ref(), &path, &first).await;
    let problem = match made {
        Ok(Creation::Created) => None,
        Ok(Creation::Exists(found)) if found == first => None,
        Ok(Creation::Exists(_)) => Some("it read back other bytes than it was given".to_owned()),
        Err(Error::AlreadyExists { .. }) => Some("it says that something is there where nothing is".to_owned()),
        Err(e @ (Error::NotImplemented { .. } | Error::NotSupported { .. })) => Some(e.to_string()),
        Err(Error::Generic { source, .. }) if source.is::<NotKept>() => {
            Some("it does not keep what it says it created".to_owned())
        }
        Err(e) => return Err(failed(location, "create", &object)(e)),
    };
    if let Some(problem) = problem {
        let _ = location.store.delete(&path).await;
        return Err(unsafe_store(problem));
    }
    let again = location.store.put_opts(&path, second.into(), PutMode::Create.into()).await;
    let found = small::read_with_time(location.store.as_ref(), &path).await.map_err(failed(location, "read", &object));
    // Where nothing may be deleted the probe stays; no reader looks at it.
    let _ = location.store.delete(&path).await;
    match (again, found?) {
        (Err(Error::AlreadyExists { .. }), (found, time)) if found == first => Ok(time),
        (Err(Error::AlreadyExists { .. }), _) => Err(unsafe_store("it read back other bytes than it was given".into())),
        (Ok(_), (found, _)) if found == first => {
            Err(unsafe_store("it kept the object that was there, and said that it created another".into()))
        }
        (Ok(_), _) => Err(unsafe_store("it replaced the object that was there".into())),
        (Err(e), _) => Err(failed(location, "create", &object)(e)),
    }
}

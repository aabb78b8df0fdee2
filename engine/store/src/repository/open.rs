//! Opening a repository.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::TryStreamExt;

use super::create::blocking;
use super::header::Header;
use super::paths::{self, REPOSITORY_OBJECT};
use super::{Repository, RepositoryError, failed, small, tampered};
use crate::keys::{self, KeyError, KeySource, Keys, MAX_KEYRING_BYTES, Unlocker};
use crate::location::Location;

/// Bytes of the keyring, over all generations, that are read where nothing tells how many there are. Only such a place is
/// bounded, so that a repository with a longer history is still read from the store itself.
const UNLISTED: usize = 64 << 20;

impl Repository {
    /// Opens a repository. `unlock` is the key of an encrypted one and has to be absent for a plain one.
    ///
    /// # Errors
    /// No repository is exit 10, a wrong or missing key 12, damage 13, another format 14, a key for a plain repository 7.
    pub async fn open(location: Location, unlock: Option<&KeySource>) -> Result<Self, RepositoryError> {
        let bytes = small::read_if_there(location.store.as_ref(), &location.path(REPOSITORY_OBJECT)?)
            .await
            .map_err(failed(&location, "read", REPOSITORY_OBJECT))?
            .ok_or_else(|| RepositoryError::NotFound { url: location.url.clone() })?;
        let header = Header::decode(&location.url, &bytes)?;
        if !header.encrypted {
            return open_plain(location, header, unlock).await;
        }
        let source =
            unlock.ok_or_else(|| RepositoryError::Key { url: location.url.clone(), source: KeyError::Missing })?;
        let unlocker = load(&location, source).await?;
        let present = generations(&location).await?;
        let (keys, warnings) = open_keys(&location, present, unlocker).await?;
        if keys.repository_id() != header.id {
            return Err(tampered(&location, REPOSITORY_OBJECT, "its id is not that of the keyring"));
        }
        Self::new(location, header.id, Some(keys), warnings).anchored().await
    }
}

async fn open_plain(
    location: Location,
    header: Header,
    unlock: Option<&KeySource>,
) -> Result<Repository, RepositoryError> {
    if unlock.is_some() {
        return Err(RepositoryError::KeyForPlain { url: location.url.clone() });
    }
    // Whoever can write `repository.json` must not make an encrypted repository look plain.
    let first = paths::keyring(1);
    let found = small::exists(location.store.as_ref(), &location.path(&first)?)
        .await
        .map_err(failed(&location, "look for", &first))?;
    match found {
        true => {
            Err(tampered(&location, REPOSITORY_OBJECT, "it says that nothing is encrypted, but a keyring is there"))
        }
        false => Repository::new(location, header.id, None, Vec::new()).anchored().await,
    }
}

/// Reads the secret of a key source.
pub(super) async fn load(location: &Location, source: &KeySource) -> Result<Unlocker, RepositoryError> {
    let source = source.clone();
    blocking(move || source.load()).await?.map_err(|source| RepositoryError::Key { url: location.url.clone(), source })
}

/// Opens the keyring and says what is wrong with it but keeps nobody from reading.
pub(super) async fn open_keys(
    location: &Location,
    present: Vec<(u64, Bytes)>,
    unlocker: Unlocker,
) -> Result<(Keys, Vec<String>), RepositoryError> {
    let (keys, warnings) = blocking(move || keys::open_chain(&present, &unlocker))
        .await?
        .map_err(|source| RepositoryError::Key { url: location.url.clone(), source })?;
    Ok((keys, warnings.iter().map(ToString::to_string).collect()))
}

/// Every generation of the keyring: by number until none is there, and where the store lists, all that it names.
pub(super) async fn generations(location: &Location) -> Result<Vec<(u64, Bytes)>, RepositoryError> {
    let (mut found, mut total) = (Vec::new(), 0usize);
    let mut listed = listed_generations(location).await?;
    let mut next = 1;
    loop {
        let number = match listed.pop_first() {
            Some(number) => number,
            None => next,
        };
        // A number that is listed is read even behind a gap; without a listing the first gap is the end.
        let object = paths::keyring(number);
        let bytes = small::read_start(location.store.as_ref(), &location.path(&object)?, MAX_KEYRING_BYTES)
            .await
            .map_err(failed(location, "read", &object))?;
        total += bytes.as_ref().map_or(0, Bytes::len);
        if !location.lists && total > UNLISTED {
            return Err(tampered(location, "keys", "the server has a generation of the keyring for every number"));
        }
        match bytes {
            Some(bytes) => found.push((number, bytes)),
            None if listed.is_empty() => return Ok(found),
            None => {}
        }
        match number.checked_add(1) {
            Some(after) => next = after,
            None => return Ok(found),
        }
    }
}

async fn listed_generations(location: &Location) -> Result<BTreeSet<u64>, RepositoryError> {
    if !location.lists {
        return Ok(BTreeSet::new());
    }
    let prefix = location.path("keys")?;
    let objects: Vec<_> =
        location.store.list(Some(&prefix)).try_collect().await.map_err(failed(location, "list", "keys"))?;
    Ok(objects
        .iter()
        .filter_map(|meta| location.relative(&meta.location)?.strip_prefix("keys/")?.strip_suffix(".json"))
        // Only the canonical spelling: 01.json is somebody else's.
        .filter_map(|name| name.parse::<u64>().ok().filter(|n| *n > 0 && n.to_string() == name))
        .collect())
}

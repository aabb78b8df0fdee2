//! Headers that are known without a request.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use object_store::path::Path;

use super::ContainerError;
use super::format::HEADER;

/// Headers found by reading, before all of them are forgotten: about 1 MB.
const MAX_FOUND: usize = 4096;

/// A header and the stored length that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHeader {
    /// The header.
    pub header: [u8; HEADER],
    /// Stored length in bytes.
    pub stored_len: u64,
}

/// What is known of an object's header.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub known: KnownHeader,
    pub origin: Origin,
}

/// Where the header comes from, which decides what a difference means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A receipt or manifest: a difference is damage.
    Named,
    /// Read from this version of the object: a difference means that the object was written again.
    Found { e_tag: Option<String> },
}

#[derive(Debug, Default)]
pub(super) struct Headers {
    named: Mutex<HashMap<Path, KnownHeader>>,
    found: Mutex<HashMap<Path, Entry>>,
}

impl Headers {
    pub(super) fn name(&self, path: Path, known: KnownHeader) {
        lock(&self.named).insert(path, known);
    }

    pub(super) fn find(&self, path: Path, known: KnownHeader, e_tag: Option<String>) {
        let mut found = lock(&self.found);
        if found.len() >= MAX_FOUND {
            found.clear();
        }
        found.insert(path, Entry { known, origin: Origin::Found { e_tag } });
    }

    pub(super) fn get(&self, path: &Path) -> Option<Entry> {
        if let Some(known) = lock(&self.named).get(path) {
            return Some(Entry { known: known.clone(), origin: Origin::Named });
        }
        lock(&self.found).get(path).cloned()
    }

    /// Forgets what was read; what a manifest names stays true.
    pub(super) fn forget_found(&self, path: &Path) {
        lock(&self.found).remove(path);
    }

    /// Forgets everything, since this process wrote or deleted the object.
    pub(super) fn forget(&self, path: &Path) {
        lock(&self.named).remove(path);
        lock(&self.found).remove(path);
    }

    /// Checks a stored size against what a manifest names.
    pub(super) fn check_size(&self, path: &Path, relative: &str, found: u64) -> Result<(), ContainerError> {
        match lock(&self.named).get(path) {
            Some(known) if known.stored_len != found => {
                Err(ContainerError::Size { path: relative.to_owned(), found, expected: known.stored_len })
            }
            _ => Ok(()),
        }
    }

    /// Checks a header that was read against what a manifest names.
    pub(super) fn check_header(&self, path: &Path, relative: &str, found: &[u8; HEADER]) -> Result<(), ContainerError> {
        match lock(&self.named).get(path) {
            Some(known) if known.header != *found => Err(ContainerError::Replaced { path: relative.to_owned() }),
            _ => Ok(()),
        }
    }
}

/// A panic elsewhere leaves the maps whole: every change is one call.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

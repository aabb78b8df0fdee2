//! The container: vectors, conformance as an object store, ranges, damage, requests.

mod conformance;
mod damage;
mod ranges;
mod requests;
mod spy;
mod vectors;

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt};

use super::*;
use crate::keys::tests::{foreign_keys, vector_keys};

fn never_clear(_: &str) -> bool {
    false
}

/// An encrypted store over a new memory store, and that memory store.
fn memory() -> (EncryptedStore, Arc<InMemory>) {
    let inner = Arc::new(InMemory::new());
    (over(inner.clone()), inner)
}

/// Another view of a store, with nothing cached.
fn over(inner: Arc<dyn ObjectStore>) -> EncryptedStore {
    EncryptedStore::new(inner, Path::default(), vector_keys(), never_clear)
}

/// Bytes in which no two chunks are alike.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8 ^ (i / 65_536) as u8).collect()
}

async fn stored(inner: &dyn ObjectStore, path: &str) -> Vec<u8> {
    inner.get(&Path::from(path)).await.unwrap().bytes().await.unwrap().to_vec()
}

async fn read(store: &EncryptedStore, path: &str) -> object_store::Result<Vec<u8>> {
    Ok(store.get(&Path::from(path)).await?.bytes().await?.to_vec())
}

async fn read_range(store: &EncryptedStore, path: &str, range: std::ops::Range<u64>) -> object_store::Result<Vec<u8>> {
    Ok(store.get_range(&Path::from(path), range).await?.to_vec())
}

async fn put(store: &dyn ObjectStore, path: &str, bytes: &[u8]) {
    store.put(&Path::from(path), bytes.to_vec().into()).await.unwrap();
}

/// The container error of a failed read.
fn cause<T: std::fmt::Debug>(result: object_store::Result<T>) -> (String, u8) {
    let error = result.unwrap_err();
    let found = container_error(&error).unwrap_or_else(|| panic!("no container error in {error:?}"));
    (found.to_string(), found.exit_code())
}

//! The protocols of the repository, on a store that misbehaves on demand.

mod commit;
mod create;
mod damage;
mod find;
mod names;
mod objects;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use super::testing::*;
use super::*;
use crate::keys::KeySource;

async fn both(test: impl AsyncFn(Option<KeySource>)) {
    test(None).await;
    test(Some(key())).await;
}

fn code(error: &RepositoryError) -> u8 {
    error.exit_class().code()
}

async fn stored(location: &Location) -> Vec<(String, Bytes)> {
    let metas: Vec<_> = location.store.list(Some(&location.root)).try_collect().await.unwrap();
    let mut all = Vec::new();
    for meta in metas {
        let bytes = location.store.get(&meta.location).await.unwrap().bytes().await.unwrap();
        all.push((location.relative(&meta.location).unwrap().to_owned(), bytes));
    }
    all.sort();
    all
}

async fn overwrite(location: &Location, relative: &str, bytes: Vec<u8>) {
    location.store.put(&location.path(relative).unwrap(), bytes.into()).await.unwrap();
}

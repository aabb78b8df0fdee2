//! `object_store::integration` over each layer and each pair of layers: on memory, local files and, where the
//! environment
//! names them, real servers (tests/servers/README.md).

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::integration as suite;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectStore};
use restow_store::blocks::BlockVerifiedStore;
use restow_store::container::EncryptedStore;
use restow_store::fault::{FaultStore, Plan};
use restow_store::keys::{self, Keys, RepositoryId, RepositoryKey, Unlocker};
use restow_store::location::{self, StoreOptions};
use restow_store::repository::{DigestTap, random_hex};

use crate::place::directory;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    Container,
    Blocks,
    Fault,
    Tap,
}

const LAYERS: [Layer; 4] = [Layer::Container, Layer::Blocks, Layer::Fault, Layer::Tap];

/// Each layer, and each pair of different ones, outermost first.
fn stacks() -> Vec<Vec<Layer>> {
    let pairs = LAYERS.iter().flat_map(|a| LAYERS.iter().filter(move |b| a != *b).map(move |b| vec![*a, *b]));
    LAYERS.iter().map(|layer| vec![*layer]).chain(pairs).collect()
}

fn some_keys() -> Keys {
    let key = Unlocker::Key(RepositoryKey::random().unwrap());
    keys::create_first(RepositoryId::random().unwrap(), &key, false).unwrap().1
}

fn build(stack: &[Layer], bottom: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
    stack.iter().rev().fold(bottom, |inner, layer| match layer {
        Layer::Container => Arc::new(EncryptedStore::new(inner, Path::default(), some_keys(), |_| false)),
        Layer::Blocks => Arc::new(BlockVerifiedStore::new(inner, Path::default(), |_| true)),
        Layer::Fault => Arc::new(FaultStore::new(inner, Plan::none())),
        Layer::Tap => Arc::new(DigestTap::new(inner)),
    })
}

/// How far the store's own copy and rename can be trusted. The container copies by reading and writing, on any store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copies {
    Right,
    /// It cannot copy only where nothing is (S3).
    WithoutCreate,
    /// object_store 0.13.2 swaps the modes on GCS. No protocol of restow copies or renames.
    Swapped,
}

/// What a store can do beside the common.
#[derive(Debug, Clone, Copy)]
struct Can {
    update: bool,
    copies: Copies,
    /// Of two uploads under one name the second may complete (not on Azure, which drops its blocks).
    last_writer_wins: bool,
    /// It keeps older versions, which the layer of block digests cannot check: it has the digests of the newest.
    versions: bool,
    /// `stream_get` writes 50 MB, which is slow on servers.
    large: bool,
}

const LOCAL: Can = Can { update: false, copies: Copies::Right, last_writer_wins: true, versions: false, large: true };

async fn conforms(store: &dyn ObjectStore, can: Can) {
    suite::put_get_delete_list(store).await;
    if can.large {
        suite::stream_get(store).await;
    }
    suite::list_uses_directories_correctly(store).await;
    suite::list_with_delimiter(store).await;
    suite::list_with_offset_exclusivity(store).await;
    if can.copies != Copies::Swapped {
        suite::rename_and_copy(store).await;
    }
    if can.copies == Copies::Right {
        suite::copy_if_not_exists(store).await;
        suite::copy_rename_nonexistent_object(store).await;
    }
    suite::multipart_race_condition(store, can.last_writer_wins).await;
    suite::multipart_out_of_order(store).await;
    // These leave objects behind, which the others do not expect.
    suite::put_get_attributes(store).await;
    if !can.versions {
        suite::get_opts(store).await;
    }
    suite::put_opts(store, can.update).await;
    let error = suite::get_nonexistent_object(store, None).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

/// What is left of it behind the layers.
fn can(stack: &[Layer], bottom: Can) -> Can {
    let (container, blocks) = (stack.contains(&Layer::Container), stack.contains(&Layer::Blocks));
    Can {
        // Updates by version pass through every layer but the one that keeps a second object.
        update: bottom.update && !blocks,
        copies: if container { Copies::Right } else { bottom.copies },
        versions: bottom.versions && blocks,
        large: bottom.large && stack.len() == 1,
        ..bottom
    }
}

async fn all_over(name: &str, bottom: impl Fn() -> Arc<dyn ObjectStore>, limits: Can) {
    for stack in stacks() {
        println!("conformance, {name}: {stack:?}");
        conforms(&build(&stack, bottom()), can(&stack, limits)).await;
    }
    println!("conformance, {name}: {} stacks", stacks().len());
}

#[tokio::test]
async fn over_memory() {
    all_over("memory", || Arc::new(InMemory::new()), Can { update: true, ..LOCAL }).await;
}

#[tokio::test]
async fn over_local_files() {
    let dir = directory();
    let bottom = || -> Arc<dyn ObjectStore> {
        let path = dir.path().join(random_hex().unwrap()).display().to_string();
        let place = location::open(&path, &StoreOptions::default()).unwrap();
        Arc::new(PrefixStore::new(place.store, place.root))
    };
    all_over("local files", bottom, LOCAL).await;
}

/// Over a server that the environment names; a missing one is said, or fails where servers are required.
async fn over_server(variable: &str, limits: Can) {
    let Ok(url) = std::env::var(variable) else {
        let required = std::env::var("RESTOW_TEST_SERVERS").is_ok_and(|value| value == "required");
        assert!(!required, "{variable} is not set, and RESTOW_TEST_SERVERS=required");
        println!("conformance: skipped, {variable} is not set");
        return;
    };
    let settings = std::env::var(format!("{variable}_SETTINGS")).unwrap_or_default();
    let environment: BTreeMap<String, String> = settings
        .split_whitespace()
        .filter_map(|s| s.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    let options = StoreOptions { environment, allow_http: true, ..StoreOptions::default() };
    let bottom = || -> Arc<dyn ObjectStore> {
        let place = location::open(&url, &options).unwrap();
        let below = place.path(&format!("conformance-{}", random_hex().unwrap())).unwrap();
        Arc::new(PrefixStore::new(place.store, below))
    };
    all_over(&url, bottom, limits).await;
}

#[tokio::test]
async fn over_s3() {
    let copies = Copies::WithoutCreate;
    over_server("RESTOW_TEST_S3", Can { update: true, copies, large: false, ..LOCAL }).await;
}

#[tokio::test]
async fn over_gcs() {
    let copies = Copies::Swapped;
    over_server("RESTOW_TEST_GS", Can { update: true, copies, versions: true, large: false, ..LOCAL }).await;
}

#[tokio::test]
async fn over_azure() {
    over_server("RESTOW_TEST_AZ", Can { update: true, last_writer_wins: false, large: false, ..LOCAL }).await;
}

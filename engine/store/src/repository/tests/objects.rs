//! Data objects and artifacts: written, read back, kept.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use object_store::ObjectStoreExt;
use tempfile::TempDir;

use super::{both, code, overwrite};
use crate::keys::KeySource;
use crate::location::{self, LOCAL_PART, Location, REMOTE_PART, StoreOptions};
use crate::repository::testing::*;
use crate::repository::*;

#[tokio::test]
async fn a_store_that_damages_what_it_stores_is_found_at_read_back() {
    both(async |key| {
        let (store, location) = faulty();
        let repository = create(&location, key.as_ref()).await;
        let id = SnapshotId::generate(moment(0)).unwrap();
        let path = repository.new_data_path(&id, "d", "s", "parquet").unwrap();
        store.arm("data/", Fault::Corrupt);
        let mut writer = repository.new_writer(&path).unwrap();
        writer.write(Bytes::from_static(b"content")).await.unwrap();
        let written = writer.finish().await.unwrap();
        let error = repository.read_back(&written).await.unwrap_err();
        assert!(matches!(error, RepositoryError::ReadBack { .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn artifacts_are_kept_verbatim_and_once() {
    both(async |key| {
        let (_, location) = faulty();
        let repository = create(&location, key.as_ref()).await;
        let id = SnapshotId::generate(moment(0)).unwrap();
        let put =
            async |content: &'static [u8]| repository.put_artifact(&id, "A/b", "class.json", content).await.unwrap();
        let one = put(b"{\"a\": 1}").await;
        assert_eq!(put(b"{\"a\": 1}").await, one);
        let two = put(b"{\"a\": 2}").await;
        assert_ne!(one.path, two.path);
        assert_eq!(repository.artifact(&one).await.unwrap(), "{\"a\": 1}");
        assert_eq!(repository.artifact(&two).await.unwrap(), "{\"a\": 2}");
        let mut bytes = repository.read_raw(&one.path).await.unwrap().unwrap().to_vec();
        bytes[3] ^= 1;
        overwrite(&location, &one.path, bytes).await;
        assert_eq!(code(&repository.artifact(&one).await.unwrap_err()), 13);
    })
    .await;
}

#[tokio::test]
async fn a_writer_that_is_dropped_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let base = dir.path().join("r");
    let location = location::open(&base.display().to_string(), &StoreOptions::default()).unwrap();
    let repository = create(&location, Some(&key())).await;
    let id = SnapshotId::generate(moment(0)).unwrap();
    let path = repository.new_data_path(&id, "d", "s", "parquet").unwrap();
    let mut writer = repository.new_writer(&path).unwrap();
    for _ in 0..3 {
        writer.write(Bytes::from(vec![1; 9 << 20])).await.unwrap();
    }
    drop(writer);
    for _ in 0..200 {
        if std::fs::read_dir(base.join("tmp")).map_or(0, Iterator::count) == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(std::fs::read_dir(base.join("tmp")).map_or(0, Iterator::count), 0);
    assert!(!base.join("data").exists());
}

#[tokio::test]
async fn sizes_around_parts_and_blocks_round_trip() {
    both(async |key| {
        let dir = TempDir::new().unwrap();
        let base = dir.path().join("r").display().to_string();
        let local = location::open(&base, &StoreOptions::default()).unwrap();
        assert_eq!(local.part_bytes(), LOCAL_PART);
        let (_, remote) = faulty();
        assert_eq!(remote.part_bytes(), REMOTE_PART);
        for location in [local, remote] {
            sizes_round_trip(&location, key.as_ref()).await;
        }
    })
    .await;
}

async fn sizes_round_trip(location: &Location, key: Option<&KeySource>) {
    let repository = create(location, key).await;
    let id = SnapshotId::generate(moment(0)).unwrap();
    let part = location.part_bytes();
    for size in [0, 1, 1 << 20, (1 << 20) + 1, part - 1, part, part + 1, 2 * part, 3 * part + 5] {
        let content: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let path = repository.new_data_path(&id, "d", "s", "bin").unwrap();
        let mut writer = repository.new_writer(&path).unwrap();
        for piece in content.chunks(300_007) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        let written = writer.finish().await.unwrap();
        assert_eq!(written.plain_bytes, size as u64);
        repository.read_back(&written).await.unwrap();
        let head = location.store.head(&path).await.unwrap();
        assert_eq!(head.size, written.stored_bytes);
        assert_eq!(repository.objects().get(&path).await.unwrap().bytes().await.unwrap(), content);
    }
}

#[tokio::test]
async fn reading_back_reads_every_byte_once() {
    both(async |key| {
        let (store, location) = faulty();
        let repository = create(&location, key.as_ref()).await;
        let id = SnapshotId::generate(moment(0)).unwrap();
        let path = repository.new_data_path(&id, "d", "s", "parquet").unwrap();
        let mut writer = repository.new_writer(&path).unwrap();
        writer.write(Bytes::from(vec![3; 5 << 20])).await.unwrap();
        let written = writer.finish().await.unwrap();
        let before = store.gets.load(Ordering::Relaxed);
        repository.read_back(&written).await.unwrap();
        let objects = 1 + u64::from(key.is_none());
        assert_eq!(store.gets.load(Ordering::Relaxed) - before, objects);
        location.store.delete(&path).await.unwrap();
        for error in [repository.read_back(&written).await, repository.check_stored(&written).await] {
            assert!(matches!(error, Err(RepositoryError::ReadBack { .. })), "{error:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_tap_conforms_to_the_object_store_suite() {
    use object_store::integration as suite;
    let tap = DigestTap::new(Arc::new(object_store::memory::InMemory::new()));
    suite::put_get_delete_list(&tap).await;
    suite::stream_get(&tap).await;
    suite::list_uses_directories_correctly(&tap).await;
    suite::list_with_delimiter(&tap).await;
    suite::rename_and_copy(&tap).await;
    suite::copy_if_not_exists(&tap).await;
    suite::copy_rename_nonexistent_object(&tap).await;
    suite::multipart_race_condition(&tap, true).await;
    suite::multipart_out_of_order(&tap).await;
    suite::list_with_offset_exclusivity(&tap).await;
    suite::get_opts(&tap).await;
    suite::put_opts(&tap, true).await;
}

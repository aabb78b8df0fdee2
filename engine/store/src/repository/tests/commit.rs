//! Committing and aborting: what is reported is there, once.

use std::sync::atomic::Ordering;

use object_store::ObjectStoreExt;
use tempfile::TempDir;

use super::{both, code};
use crate::location::{self, StoreOptions};
use crate::repository::testing::*;
use crate::repository::*;

#[tokio::test]
async fn what_is_committed_is_read_back() {
    both(async |key| {
        let (_, location) = faulty();
        let repository = create(&location, key.as_ref()).await;
        let content: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
        let committed = snapshot(&repository, 0, &content).await;

        let again = Repository::open(location.clone(), key.as_ref()).await.unwrap();
        assert_eq!(again.id(), repository.id());
        assert!(again.warnings().is_empty(), "{:?}", again.warnings());
        let found = again.manifest(&committed.snapshot).await.unwrap();
        assert_eq!(found, committed);
        let file = &found.datasets[0].files[0];
        assert_eq!(file.plain_bytes, content.len() as u64);
        let path = again.path(&file.path).unwrap();
        assert_eq!(again.objects().get(&path).await.unwrap().bytes().await.unwrap(), content);
        let range = again.objects().get_range(&path, 5_000_001..5_000_005).await.unwrap();
        assert_eq!(range, content[5_000_001..5_000_005]);

        let listed = again.snapshots().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].rows, listed[0].problem.as_deref()), (3, None));
        assert_eq!(again.resolve("latest").await.unwrap(), committed.snapshot);
        assert_eq!(again.resolve(&committed.snapshot.as_str()[..20]).await.unwrap(), committed.snapshot);
    })
    .await;
}

#[tokio::test]
async fn a_lost_reply_of_a_commit_is_success() {
    both(async |key| {
        let (store, location) = faulty();
        let repository = create(&location, key.as_ref()).await;
        let id = SnapshotId::generate(moment(0)).unwrap();
        let wanted = manifest(&repository, &id, write_file(&repository, &id, b"content").await);
        store.arm("inventory", Fault::NoAnswer);
        store.arm("manifest", Fault::LoseReply);
        let committed = repository.commit(CommitRequest { manifest: wanted.clone() }).await.unwrap();
        assert!(committed.already);
        let mut later = wanted.clone();
        later.counters.scanned = 99;
        let again = repository.commit(CommitRequest { manifest: later }).await.unwrap();
        assert_eq!(again.manifest, committed.manifest, "the figures are those of the manifest that exists");
    })
    .await;
}

#[tokio::test]
async fn of_two_writers_one_wins_and_of_commit_and_abort_too() {
    let (_, location) = faulty();
    let repository = create(&location, None).await;
    let id = SnapshotId::generate(moment(0)).unwrap();
    let file = write_file(&repository, &id, b"content").await;
    let request = || CommitRequest { manifest: manifest(&repository, &id, file.clone()) };
    let (one, two) = tokio::join!(repository.commit(request()), repository.commit(request()));
    let error = one.and(two).unwrap_err();
    assert_eq!(code(&error), 11, "{error}");
    assert!(!repository.abort(&id, "00").await.unwrap(), "what is committed cannot be aborted");

    let id = SnapshotId::generate(moment(1)).unwrap();
    let file = write_file(&repository, &id, b"content").await;
    assert!(repository.abort(&id, "00").await.unwrap());
    let late = repository.commit(CommitRequest { manifest: manifest(&repository, &id, file) }).await.unwrap_err();
    assert_eq!(code(&late), 11, "{late}");
    assert_eq!(code(&repository.manifest(&id).await.unwrap_err()), 10);
    assert_eq!(repository.snapshots().await.unwrap().len(), 1);
}

#[tokio::test]
async fn nothing_is_committed_whose_objects_are_not_there() {
    let (_, location) = faulty();
    let repository = create(&location, None).await;
    let id = SnapshotId::generate(moment(0)).unwrap();
    let file = write_file(&repository, &id, b"content").await;
    location.store.delete(&location.path(&file.path).unwrap()).await.unwrap();
    let error = repository.commit(CommitRequest { manifest: manifest(&repository, &id, file) }).await.unwrap_err();
    assert!(matches!(error, RepositoryError::NotCommittable { .. }), "{error}");
    assert!(repository.snapshots().await.unwrap().is_empty());
}

#[tokio::test]
async fn many_writers_lose_nothing() {
    let (_, location) = faulty();
    let repository = create(&location, Some(&key())).await;
    let all: Vec<_> = (0..20)
        .map(|i| {
            let repository = repository.clone();
            tokio::spawn(async move { snapshot(&repository, i, format!("content {i}").as_bytes()).await.snapshot })
        })
        .collect();
    let mut ids = Vec::new();
    for task in all {
        ids.push(task.await.unwrap());
    }
    ids.sort();
    let found: Vec<_> = repository.snapshots().await.unwrap().into_iter().map(|s| s.id).collect();
    assert_eq!(found, ids);
}

#[tokio::test]
async fn a_metadata_request_is_one_put() {
    let (store, location) = faulty();
    let repository = create(&location, None).await;
    let id = SnapshotId::generate(moment(0)).unwrap();
    let wanted = manifest(&repository, &id, write_file(&repository, &id, b"content").await);
    let before = store.puts.load(Ordering::Relaxed);
    repository.commit(CommitRequest { manifest: wanted }).await.unwrap();
    assert_eq!(store.puts.load(Ordering::Relaxed) - before, 2, "inventory and manifest");
}

#[tokio::test]
async fn no_reported_snapshot_is_lost_in_a_power_cut() {
    use crate::local::LocalStore;
    use crate::local::power_cut::{Honest, PowerCutFs};
    for (honest, survives) in [
        (Honest { files: true, dirs: true }, true),
        (Honest { files: false, dirs: true }, false),
        (Honest { files: true, dirs: false }, false),
    ] {
        let dir = TempDir::new().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let disk = Arc::new(PowerCutFs::new(&base, honest));
        let store = LocalStore::with_fs(base.join("r"), Arc::clone(&disk) as _).unwrap();
        let root = Path::from_absolute_path(base.join("r")).unwrap();
        let location = Location::new(Arc::new(store), root, "power cut");
        let repository = create(&location, None).await;
        let committed = snapshot(&repository, 0, &vec![7; 9 << 20]).await;
        disk.power_cut();
        let found = match Repository::open(location, None).await {
            Ok(again) => again.manifest(&committed.snapshot).await,
            Err(e) => Err(e),
        };
        assert_eq!(found.is_ok_and(|m| m == committed), survives, "{honest:?}");
    }
}

#[tokio::test]
async fn a_local_repository_works_and_survives_reopening() {
    both(async |key| {
        let dir = TempDir::new().unwrap();
        let url = dir.path().join("backups/r").display().to_string();
        let location = location::open(&url, &StoreOptions::default()).unwrap();
        let repository = create(&location, key.as_ref()).await;
        let committed = snapshot(&repository, 0, &vec![7; 20 << 20]).await;
        drop(repository);
        let again =
            Repository::open(location::open(&url, &StoreOptions::default()).unwrap(), key.as_ref()).await.unwrap();
        assert_eq!(again.manifest(&committed.snapshot).await.unwrap(), committed);
    })
    .await;
}

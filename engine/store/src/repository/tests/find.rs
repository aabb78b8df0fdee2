//! Finding snapshots, and reading from stores that cannot list.

use object_store::ObjectStoreExt;

use super::{both, code, overwrite, stored};
use crate::location::{self, StoreOptions};
use crate::repository::testing::*;
use crate::repository::*;

#[tokio::test]
async fn a_deleted_mark_hides_a_snapshot() {
    let (_, location) = faulty();
    let repository = create(&location, None).await;
    let one = snapshot(&repository, 0, b"one").await.snapshot;
    let two = snapshot(&repository, 60, b"two").await.snapshot;
    assert_eq!(repository.resolve("latest").await.unwrap(), two);
    overwrite(&location, &paths::deleted(&two), b"{}".to_vec()).await;
    assert_eq!(repository.resolve("latest").await.unwrap(), one);
    assert_eq!(code(&repository.manifest(&two).await.unwrap_err()), 10);
    assert_eq!(repository.snapshots().await.unwrap().len(), 1);
}

#[tokio::test]
async fn selectors_that_fit_none_or_many_are_errors() {
    let (_, location) = faulty();
    let repository = create(&location, None).await;
    assert_eq!(code(&repository.resolve("latest").await.unwrap_err()), 10);
    snapshot(&repository, 0, b"one").await;
    snapshot(&repository, 60, b"two").await;
    assert!(matches!(repository.resolve("2027").await, Err(RepositoryError::Ambiguous { count: 2, .. })));
    for selector in ["", "1999", "latest ", "20270115T080000Z-aaaaaaaaaa"] {
        assert_eq!(code(&repository.resolve(selector).await.unwrap_err()), 10, "{selector}");
    }
}

#[tokio::test]
async fn a_store_without_listing_is_read_by_explicit_id() {
    both(async |key| {
        let (_, location) = faulty();
        let repository = create(&location, key.as_ref()).await;
        let id = snapshot(&repository, 0, b"content").await.snapshot;
        let silent = Location { lists: false, writable: false, ..location.clone() };
        let reader = Repository::open(silent, key.as_ref()).await.unwrap();
        let found = reader.resolve(&id.to_string()).await.unwrap();
        assert_eq!(reader.manifest(&found).await.unwrap().datasets[0].rows, 3);
        let error = reader.resolve("latest").await.unwrap_err();
        assert!(error.to_string().contains("full snapshot id"), "{error}");
        let error = reader.new_writer(&reader.path("data/x").unwrap()).unwrap_err();
        assert!(matches!(error, RepositoryError::ReadOnly { .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_repository_on_a_plain_web_server_is_read_by_explicit_id() {
    for (key, ranges) in [(None, true), (None, false), (Some(key()), true), (Some(key()), false)] {
        let (_, location) = faulty();
        let repository = create(&location, key.as_ref()).await;
        let content: Vec<u8> = (0..700_000u32).flat_map(u32::to_le_bytes).collect();
        let id = snapshot(&repository, 0, &content).await.snapshot;
        let files = stored(&location).await.into_iter().map(|(p, b)| (format!("backups/{p}"), b.to_vec())).collect();
        let address = format!("{}/backups", location::testing::serve(files, ranges));
        let web = location::open(&address, &StoreOptions::default()).unwrap();
        let reader = Repository::open(web.clone(), key.as_ref()).await.unwrap();
        let found = reader.manifest(&reader.resolve(id.as_str()).await.unwrap()).await.unwrap();
        let path = reader.path(&found.datasets[0].files[0].path).unwrap();
        assert_eq!(
            reader.objects().get_range(&path, 1_500_000..1_500_009).await.unwrap(),
            content[1_500_000..1_500_009]
        );
        assert_eq!(reader.objects().get(&path).await.unwrap().bytes().await.unwrap(), content);
        assert_eq!(code(&reader.snapshots().await.unwrap_err()), 2);
        let error = Repository::create(web, CreateOptions::default()).await.unwrap_err();
        assert!(matches!(error, RepositoryError::ReadOnly { .. }), "{error}");
    }
}

/// Ids sort by second and then at random: of several snapshots of one second the manifests tell which is the newest.
#[tokio::test]
async fn the_latest_of_one_second_is_the_one_that_began_last() {
    for key in [None, Some(key())] {
        let (_, location) = faulty();
        let repository = create(&location, key.as_ref()).await;
        let mut order = Vec::new();
        for nanos in [100, 900, 300, 700, 500] {
            let id = SnapshotId::generate(moment(5)).unwrap();
            let file = write_file(&repository, &id, b"x").await;
            let mut wanted = manifest(&repository, &id, file);
            wanted.created = moment(5) + chrono::TimeDelta::milliseconds(nanos);
            wanted.finished = wanted.created;
            repository.commit(CommitRequest { manifest: wanted }).await.unwrap();
            order.push((nanos, id));
        }
        order.sort();
        let newest = order.last().unwrap().1.clone();
        assert_eq!(repository.resolve("latest").await.unwrap(), newest);
        let listed: Vec<SnapshotId> = repository.snapshots().await.unwrap().into_iter().map(|one| one.id).collect();
        assert_eq!(listed, order.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
        let later = snapshot(&repository, 6, b"later").await.snapshot;
        assert_eq!(repository.resolve("latest").await.unwrap(), later);
    }
}

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::TryStreamExt;
use object_store::{ObjectStoreExt, PutMode};
use tempfile::TempDir;

use super::testing::*;
use super::*;
use crate::keys::KeySource;
use crate::location::{self, StoreOptions};

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

use bytes::Bytes;

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
async fn plaintext_appears_nowhere_in_an_encrypted_repository() {
    let (_, location) = faulty();
    let key = key();
    let repository = create(&location, Some(&key)).await;
    let committed = snapshot(&repository, 0, b"the known plaintext of a row").await;
    repository.put_artifact(&committed.snapshot, "Stadt", "class.json", b"known plaintext").await.unwrap();
    let intent = crate::run_state::tests::intent("run-1");
    repository.run_state().begin(&intent).await.unwrap();
    for (path, bytes) in stored(&location).await {
        let text = String::from_utf8_lossy(&bytes).to_string() + &path;
        for secret in ["known plaintext", "Stadt", "shard", "nightly", "class.json", "Größe"] {
            assert!(!text.contains(secret), "{path} has {secret}");
        }
        assert_eq!(bytes.starts_with(b"restow\0"), !is_clear(&path), "{path}");
    }
}

#[tokio::test]
async fn a_missing_repository_a_wrong_and_a_missing_key_have_their_exit_codes() {
    let (_, location) = faulty();
    let key = key();
    let open = async |unlock: Option<&KeySource>| Repository::open(location.clone(), unlock).await.map(|_| ());
    assert_eq!(code(&open(None).await.unwrap_err()), 10);
    create(&location, Some(&key)).await;
    assert_eq!(code(&open(None).await.unwrap_err()), 12);
    assert_eq!(code(&open(Some(&testing::key())).await.unwrap_err()), 12);
    open(Some(&key)).await.unwrap();
    let again = Repository::create(location.clone(), CreateOptions::default()).await.unwrap_err();
    assert_eq!(code(&again), 7, "{again}");

    let (_, plain) = faulty();
    create(&plain, None).await;
    let error = Repository::open(plain.clone(), Some(&key)).await.unwrap_err();
    assert_eq!(code(&error), 7, "{error}");
}

#[tokio::test]
async fn every_flip_of_a_metadata_object_is_noticed() {
    both(async |key| {
        let (_, location) = faulty();
        let repository = create(&location, key.as_ref()).await;
        let id = snapshot(&repository, 0, b"content").await.snapshot;
        for (path, bytes) in stored(&location).await {
            if !is_clear(&path) || path.starts_with("keys/") {
                continue;
            }
            for at in 0..bytes.len() {
                for bit in [1, 0x80] {
                    let mut flipped = bytes.to_vec();
                    flipped[at] ^= bit;
                    overwrite(&location, &path, flipped).await;
                    let result = match path.as_str() {
                        "repository.json" => Repository::open(location.clone(), key.as_ref()).await.map(|_| ()),
                        _ => repository.manifest(&id).await.map(|_| ()),
                    };
                    let error = result.expect_err(&format!("flip at {at} of {path}"));
                    assert_eq!(code(&error), 13, "flip at {at} of {path}: {error}");
                }
            }
            overwrite(&location, &path, bytes[..bytes.len() - 1].to_vec()).await;
            assert!(
                Repository::open(location.clone(), key.as_ref()).await.is_err()
                    || repository.manifest(&id).await.is_err()
            );
            overwrite(&location, &path, bytes.to_vec()).await;
        }
        repository.manifest(&id).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn every_flip_of_a_data_object_is_noticed_by_a_read() {
    both(async |key| {
        let (_, location) = faulty();
        let repository = create(&location, key.as_ref()).await;
        let file = snapshot(&repository, 0, b"some content of a row").await.datasets[0].files[0].clone();
        let mut names = vec![file.path.clone()];
        names.extend(file.blocks.iter().map(|b| b.path.clone()));
        for name in names {
            let path = location.path(&name).unwrap();
            let bytes = location.store.get(&path).await.unwrap().bytes().await.unwrap();
            for at in 0..bytes.len() {
                let mut flipped = bytes.to_vec();
                flipped[at] ^= 4;
                overwrite(&location, &name, flipped).await;
                let reader = Repository::open(location.clone(), key.as_ref()).await.unwrap();
                reader.remember(&file).unwrap();
                let result = match reader.objects().get(&reader.path(&file.path).unwrap()).await {
                    Ok(found) => found.bytes().await,
                    Err(e) => Err(e),
                };
                // A header that the manifest names is not read: the flip there changes nothing that is used, and
                // `check_stored` finds it.
                if let Err(e) = &result {
                    assert_eq!(exit_class_of(e), ExitClass::Tampered, "flip at {at} of {name}: {e}");
                } else {
                    assert!(key.is_some() && at < 80, "flip at {at} of {name}");
                }
                let written = WrittenObject {
                    path: file.path.clone(),
                    stored_bytes: file.stored_bytes,
                    plain_bytes: file.plain_bytes,
                    sha256: file.sha256.clone(),
                    header: file.header.clone(),
                    blocks: file.blocks.clone(),
                };
                assert_eq!(code(&reader.check_stored(&written).await.unwrap_err()), 13);
            }
            overwrite(&location, &name, bytes.to_vec()).await;
        }
    })
    .await;
}

#[tokio::test]
async fn objects_exchanged_between_snapshots_are_noticed() {
    both(async |key| {
        let (_, location) = faulty();
        let repository = create(&location, key.as_ref()).await;
        let one = snapshot(&repository, 0, b"content one").await;
        let two = snapshot(&repository, 1, b"content two").await;
        let name = |m: &Manifest| paths::manifest(&m.snapshot);
        let bytes = repository.read_raw(&name(&two)).await.unwrap().unwrap();
        let kept = repository.read_raw(&name(&one)).await.unwrap().unwrap();
        overwrite(&location, &name(&one), bytes.to_vec()).await;
        assert_eq!(code(&repository.manifest(&one.snapshot).await.unwrap_err()), 13);
        let listed = repository.snapshots().await.unwrap();
        assert_eq!(listed.iter().filter(|s| s.problem.is_some()).count(), 1, "a damaged one is not hidden");
        assert_eq!(code(&repository.resolve(&one.snapshot.to_string()).await.unwrap_err()), 13);
        overwrite(&location, &name(&one), kept.to_vec()).await;

        // A data object together with its digests.
        let (from, to) = (&two.datasets[0].files[0], &one.datasets[0].files[0]);
        for suffix in ["", ".sha256"] {
            if let Some(bytes) = repository.read_raw(&format!("{}{suffix}", from.path)).await.unwrap() {
                overwrite(&location, &format!("{}{suffix}", to.path), bytes.to_vec()).await;
            }
        }
        let reader = Repository::open(location.clone(), key.as_ref()).await.unwrap();
        reader.manifest(&one.snapshot).await.unwrap();
        let error = match reader.objects().get(&reader.path(&to.path).unwrap()).await {
            Ok(found) => found.bytes().await.unwrap_err(),
            Err(e) => e,
        };
        assert_eq!(exit_class_of(&error), ExitClass::Tampered, "{error}");
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
async fn a_store_without_create_if_absent_is_refused() {
    let (store, location) = faulty();
    // The first creation is the probe's own, the second one has to be refused.
    let probed = async {
        store.arm("no such path", Fault::Corrupt);
        store.arm("probe", Fault::LoseReply);
        store.arm("probe", Fault::IgnoreCreate);
        store.arm("probe", Fault::IgnoreCreate);
        Repository::create(location.clone(), CreateOptions::default()).await
    };
    let error = probed.await.unwrap_err();
    assert!(matches!(error, RepositoryError::NoCreateIfAbsent { .. }), "{error}");
    assert_eq!(code(&error), 7);
    assert!(stored(&location).await.is_empty(), "nothing is left");
}

#[tokio::test]
async fn creation_resumes_with_the_same_key_and_a_new_recovery_key() {
    let (_, location) = faulty();
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("k/repository.key");
    let source = KeySource::KeyFile { path: file.clone(), create: true };
    let recovery = dir.path().join("no such directory/recovery");
    let options = |recovery: &std::path::Path| CreateOptions {
        encryption: Some(source.clone()),
        recovery: RecoveryOutput::File(recovery.to_path_buf()),
    };
    let error = Repository::create(location.clone(), options(&recovery)).await.unwrap_err();
    assert!(matches!(error, RepositoryError::RecoveryFile { .. }), "{error}");
    assert!(file.exists() && !Repository::exists(&location).await.unwrap());

    let recovery = dir.path().join("recovery");
    let created = Repository::create(location.clone(), options(&recovery)).await.unwrap();
    assert_eq!(created.key_file_created, None, "the file of the first attempt is used");
    assert!(created.recovery_key.is_none());
    let text = std::fs::read_to_string(&recovery).unwrap();
    let by_recovery = KeySource::Key(zeroize::Zeroizing::new(text));
    let opened = Repository::open(location.clone(), Some(&by_recovery)).await.unwrap();
    assert_eq!(opened.id(), created.repository.id());
    assert_eq!(opened.keyring_ref().unwrap().generation, 2);
    Repository::open(location.clone(), Some(&source)).await.unwrap();

    std::fs::remove_file(&file).unwrap();
    let error = Repository::open(location.clone(), Some(&source)).await.unwrap_err();
    assert_eq!(code(&error), 12, "{error}");
    assert!(!file.exists(), "a key file is never made for a repository that exists");
}

#[tokio::test]
async fn the_recovery_key_can_be_shown_before_the_repository_exists() {
    let (_, location) = faulty();
    let shown = Arc::new(std::sync::Mutex::new(None));
    let keep = Arc::clone(&shown);
    let recovery = RecoveryOutput::With(Arc::new(move |key| *keep.lock().unwrap() = Some(key.text())));
    let options = CreateOptions { encryption: Some(key()), recovery };
    Repository::create(location.clone(), options).await.unwrap();
    let text = shown.lock().unwrap().take().unwrap();
    Repository::open(location, Some(&KeySource::Key(text))).await.unwrap();
}

#[tokio::test]
async fn a_replaced_header_and_a_rolled_back_keyring_are_noticed() {
    let (_, location) = faulty();
    let key = key();
    let repository = create(&location, Some(&key)).await;
    let (_, other) = faulty();
    create(&other, None).await;
    let plain = stored(&other).await.pop().unwrap();
    assert_eq!(plain.0, "repository.json");
    let kept = repository.read_raw("repository.json").await.unwrap().unwrap();
    overwrite(&location, "repository.json", plain.1.to_vec()).await;
    assert_eq!(code(&Repository::open(location.clone(), None).await.unwrap_err()), 13);
    overwrite(&location, "repository.json", kept.to_vec()).await;

    // A snapshot written under generation 2, which then vanishes.
    let keys = repository.keys().unwrap();
    let (bytes, _, _) = crate::keys::replace_recovery_slot(keys).unwrap();
    overwrite(&location, "keys/2.json", bytes).await;
    let newer = Repository::open(location.clone(), Some(&key)).await.unwrap();
    let id = snapshot(&newer, 0, b"content").await.snapshot;
    location.store.delete(&location.path("keys/2.json").unwrap()).await.unwrap();
    let older = Repository::open(location.clone(), Some(&key)).await.unwrap();
    assert_eq!(code(&older.manifest(&id).await.unwrap_err()), 13);
}

#[tokio::test]
async fn another_format_or_feature_is_too_new() {
    let (_, location) = faulty();
    let repository = create(&location, None).await;
    let id = snapshot(&repository, 0, b"content").await.snapshot;
    let change = async |object: &str, from: &str, to: &str| {
        let bytes = repository.read_raw(object).await.unwrap().unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(text.contains(from), "{text}");
        let body: serde_json::Value = serde_json::from_str(&text.replace(from, to)).unwrap();
        let mut body = body.as_object().unwrap().clone();
        body.remove("sha256");
        overwrite(&location, object, clear::encode(&body).unwrap().to_vec()).await;
        bytes
    };
    let manifest = paths::manifest(&id);
    for (from, to, expected) in [
        ("\"format\":\"1\"", "\"format\":\"2\"", 14),
        ("\"required\":[]", "\"required\":[\"inherited-files\"]", 14),
        ("\"required\":[]", "\"required\":[\"time-travel\"]", 14),
        ("\"optional\":[]", "\"optional\":[\"time-travel\"]", 0),
        ("\"restow\":", "\"colour\":\"green\",\"restow\":", 0),
        // What follows from the members has to be named, else an older reader would show other rows.
        ("\"sequence\":0", "\"sequence\":1", 13),
        ("\"inherited\":false", "\"inherited\":true", 13),
        ("\"parents\":[]", "\"parents\":[\"20260131T023000Z-k7q2mzx4ab\"]", 13),
        ("\"changes\":[]", "\"changes\":[{}]", 13),
    ] {
        let kept = change(&manifest, from, to).await;
        let found = repository.manifest(&id).await.map_or_else(|e| code(&e), |_| 0);
        assert_eq!(found, expected, "{to}");
        overwrite(&location, &manifest, kept.to_vec()).await;
    }
    for (from, to, expected) in [
        ("\"format\":\"1\"", "\"format\":\"1-draft\"", 14),
        (VERSION, "9.9.9", 0),
        ("\"required\":[]", "\"required\":[\"x\"]", 14),
        ("\"optional\":[]", "\"optional\":[\"x\"]", 0),
    ] {
        let kept = change("repository.json", from, to).await;
        let found = Repository::open(location.clone(), None).await.map_or_else(|e| code(&e), |_| 0);
        assert_eq!(found, expected, "{to}");
        overwrite(&location, "repository.json", kept.to_vec()).await;
    }
    Repository::open(location.clone(), None).await.unwrap();
}

#[tokio::test]
async fn a_manifest_names_only_its_own_places() {
    let (_, location) = faulty();
    let repository = create(&location, None).await;
    let id = SnapshotId::generate(moment(0)).unwrap();
    let file = write_file(&repository, &id, b"content").await;
    let good = manifest(&repository, &id, file);
    assert_eq!(good.misplaced(), None);
    let other = "data/a/20260131T023000Z-k7q2mzx4ab/part-b-c.parquet";
    for path in ["x.parquet", "keys/1.json", "data/x.parquet", "data/a/b/c/d.parquet", other] {
        let mut bad = good.clone();
        bad.datasets[0].files[0].path = path.to_owned();
        assert_eq!(bad.misplaced(), Some(path));
    }
    let mut inherited = good.clone();
    inherited.datasets[0].files[0] =
        FileEntry { path: other.to_owned(), inherited: true, sequence: 3, ..FileEntry::default() };
    assert_eq!(inherited.misplaced(), None);
    assert_eq!(inherited.needed_features(), ["inherited-files", "sequences"]);
    let mut bad = good.clone();
    bad.artifacts = vec![ArtifactEntry { path: "repository.json".to_owned(), ..ArtifactEntry::default() }];
    assert_eq!(bad.misplaced(), Some("repository.json"));
    let mut bad = good;
    bad.changes = vec![serde_json::Value::Null];
    assert_eq!(bad.unannounced(), Some("changes"));
    let error = repository.commit(CommitRequest { manifest: bad.clone() }).await.unwrap_err();
    assert!(error.to_string().contains("cannot write the feature \"changes\""), "{error}");
    bad.features.optional.push("changes".to_owned());
    assert_eq!(bad.unannounced(), None);
}

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
        let (_, location) = faulty();
        let repository = create(&location, key.as_ref()).await;
        let id = SnapshotId::generate(moment(0)).unwrap();
        let part = PART_BYTES;
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
    })
    .await;
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

#[test]
fn names_become_path_parts() {
    assert_eq!(escape("Article_2-x.y"), "Article_2-x.y");
    assert_eq!(escape(""), "!");
    assert_eq!(escape(".."), "!2e.");
    assert_eq!(escape("a/b"), "a!2fb");
    assert_eq!(escape("Größe"), "Gr!c3!b6!c3!9fe");
    assert_eq!(escape("a!2fb"), "a!212fb");
    let long = "x/".repeat(200);
    assert_ne!(escape(&long), escape(&"x/".repeat(201)));
    assert!(escape(&long).len() <= 120, "{}", escape(&long));
    assert!(Path::parse(escape(&long)).is_ok());
}

#[test]
fn snapshot_ids_parse_only_as_they_print() {
    let id = SnapshotId::new(moment(0), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(id.to_string(), "20270115T080000Z-aebagbafay");
    assert_eq!(id.to_string().parse::<SnapshotId>().unwrap(), id);
    assert_eq!(id.time(), moment(0));
    for bad in ["", "latest", "20270115T080000Z", "20270115T080000Z-AEBAGBAFAY", "20271315T080000Z-aebagbafay", "é"] {
        assert!(bad.parse::<SnapshotId>().is_err(), "{bad}");
    }
}

#[test]
fn clear_and_sealed_follow_from_the_path() {
    for clear in ["repository.json", "keys/1.json", "snapshots/x/manifest.json", "snapshots/x/inventory-0.json"] {
        assert!(is_clear(clear), "{clear}");
    }
    for sealed in [
        "data/a/b/c",
        "snapshots/x/artifacts/manifest.json",
        "runs/1/intent.json",
        "control/pin/a",
        "repository.json/x",
    ] {
        assert!(!is_clear(sealed), "{sealed}");
    }
}

#[tokio::test]
async fn a_create_meets_what_is_there() {
    let (store, location) = faulty();
    let path = location.path("x").unwrap();
    let bytes = Bytes::from_static(b"one");
    store.arm("x", Fault::NoAnswer);
    assert_eq!(small::create(store.as_ref(), &path, &bytes).await.unwrap(), small::Creation::Created);
    let found = small::create(store.as_ref(), &path, &Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(found, small::Creation::Exists(bytes));
    let overwritten = store.put_opts(&path, "x".into(), PutMode::Create.into()).await;
    assert!(overwritten.is_err());
}

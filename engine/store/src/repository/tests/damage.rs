//! Objects that are not what was written, and objects of other versions.

use object_store::ObjectStoreExt;

use super::{both, code, overwrite, stored};
use crate::repository::testing::*;
use crate::repository::*;

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
async fn a_file_has_the_plain_length_that_its_stored_length_gives() {
    both(async |key| {
        let (_, location) = faulty();
        let repository = create(&location, key.as_ref()).await;
        let good = write_file(&repository, &SnapshotId::generate(moment(0)).unwrap(), b"content").await;
        repository.remember(&good).unwrap();
        for plain_bytes in [0, good.plain_bytes - 1, good.plain_bytes + 1, u64::MAX] {
            let error = repository.remember(&FileEntry { plain_bytes, ..good.clone() }).unwrap_err();
            assert_eq!(code(&error), 13, "{error}");
        }
        // No container is so short or so long, and no overflow makes it one.
        for stored_bytes in [0, 95, u64::MAX] {
            repository.remember(&FileEntry { stored_bytes, ..good.clone() }).unwrap_err();
        }
    })
    .await;
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

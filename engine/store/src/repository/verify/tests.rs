//! Every kind of damage to every kind of object, at each depth, with and without the key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::*;
use crate::blocks::BLOCK;
use crate::container::SEALED_CHUNK;
use crate::repository::CommitRequest;
use crate::repository::SnapshotId;
use crate::repository::testing::{Faulty, create, faulty, key, manifest, moment, write_file};

/// A repository with one snapshot: a data file of several pieces, and an artifact.
struct Place {
    store: Arc<Faulty>,
    repository: Repository,
    manifest: Manifest,
}

impl Place {
    async fn new(encrypted: bool, data: usize) -> Self {
        let (store, location) = faulty();
        let repository = create(&location, encrypted.then(key).as_ref()).await;
        let id = SnapshotId::generate(moment(1)).unwrap();
        let content: Vec<u8> = (0..data).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let file = write_file(&repository, &id, &content).await;
        let artifact =
            repository.put_artifact(&id, "Größe/Stadt", "class.json", b"{\"class\": \"Stadt\"}").await.unwrap();
        let mut wanted = manifest(&repository, &id, file);
        wanted.datasets[0].artifacts.push(artifact);
        let manifest = repository.commit(CommitRequest { manifest: wanted }).await.unwrap().manifest;
        Self { store, repository, manifest }
    }

    fn file(&self) -> &FileEntry {
        &self.manifest.datasets[0].files[0]
    }

    fn path(&self, relative: &str) -> Path {
        self.repository.path(relative).unwrap()
    }

    async fn read(&self, relative: &str) -> Vec<u8> {
        self.store.inner.get(&self.path(relative)).await.unwrap().bytes().await.unwrap().to_vec()
    }

    async fn write(&self, relative: &str, bytes: Vec<u8>) {
        self.store.inner.put(&self.path(relative), Bytes::from(bytes).into()).await.unwrap();
    }

    async fn flip(&self, relative: &str, at: usize) {
        let mut bytes = self.read(relative).await;
        bytes[at] ^= 0x40;
        self.write(relative, bytes).await;
    }

    async fn verify(&self, depth: Depth) -> SnapshotReport {
        let verifier = Verifier::new(self.repository.clone());
        let bytes = AtomicU64::new(0);
        let advance = |more: u64| {
            bytes.fetch_add(more, Relaxed);
        };
        let options = VerifyOptions { depth, parallel: 2, advance: &advance };
        let report = verifier.snapshot(&self.manifest.snapshot, &options).await.unwrap();
        assert_eq!(bytes.load(Relaxed), report.coverage.checked_bytes, "progress");
        report
    }

    async fn sealed(&self) -> SnapshotReport {
        let verifier = Verifier::without_key(self.repository.location().clone()).await.unwrap();
        assert_eq!(verifier.is_sealed(), self.repository.is_encrypted());
        let options = VerifyOptions { depth: Depth::All, parallel: 1, advance: &|_| () };
        verifier.snapshot(&self.manifest.snapshot, &options).await.unwrap()
    }
}

fn only(report: &SnapshotReport) -> &Finding {
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
    &report.findings[0]
}

#[tokio::test]
async fn what_is_whole_has_no_finding_and_every_byte_was_read() {
    for (encrypted, data) in [(true, 0), (true, 1), (true, 200_000), (false, 0), (false, 2_500_000)] {
        let place = Place::new(encrypted, data).await;
        for report in [place.verify(Depth::All).await, place.sealed().await] {
            assert_eq!(report.findings, [], "{encrypted} {data}");
            let objects = if encrypted { 2 } else { 3 };
            assert_eq!(report.coverage.objects, objects);
            assert_eq!(report.coverage.checked_bytes, report.coverage.bytes);
            assert!(report.coverage.bytes >= data as u64);
        }
    }
}

#[tokio::test]
async fn a_flipped_byte_is_placed() {
    for (encrypted, data) in [(true, 200_000), (false, 2_500_000)] {
        let place = Place::new(encrypted, data).await;
        let (path, stored) = (place.file().path.clone(), place.file().stored_bytes);
        let (head, piece) = if encrypted { (80, SEALED_CHUNK as u64) } else { (0, BLOCK) };
        let edges = (0..=stored / piece).flat_map(|n| [head + n * piece, (head + n * piece).saturating_sub(1)]);
        let places: Vec<u64> =
            (0..head).chain(edges).chain([stored - 1, stored / 2]).filter(|at| *at < stored).collect();
        for at in places {
            place.flip(&path, usize::try_from(at).unwrap()).await;
            let report = place.verify(Depth::All).await;
            let finding = only(&report);
            assert_eq!((finding.object.as_str(), finding.kind), (path.as_str(), FindingKind::Data));
            let range = finding.ranges[0];
            assert!(range.offset <= at && at < range.offset + range.bytes, "{at} in {range:?}");
            assert!(range.bytes <= piece && finding.damaged_ranges == 1);
            let concerned = finding.concerned.as_ref().unwrap();
            assert_eq!((concerned.dataset.as_str(), concerned.rows), ("Größe/Stadt", Some(3)));
            assert_eq!(class_of(&report.findings), Some(ExitClass::Damaged));
            if encrypted {
                let report = place.sealed().await;
                assert_eq!((only(&report).object.as_str(), only(&report).concerned.clone()), (path.as_str(), None));
            }
            place.flip(&path, usize::try_from(at).unwrap()).await;
        }
        assert_eq!(place.verify(Depth::All).await.findings, []);
    }
}

#[tokio::test]
async fn objects_that_are_gone_cut_longer_or_exchanged() {
    for encrypted in [true, false] {
        let place = Place::new(encrypted, 150_000).await;
        let inventory = place.repository.inventory(&place.manifest).await.unwrap();
        for entry in &inventory.objects {
            let whole = place.read(&entry.path).await;
            let shorter = whole[..whole.len() - 1].to_vec();
            let longer = [whole.as_slice(), b"x"].concat();
            let other: Vec<u8> = whole.iter().map(|byte| !byte).collect();
            for bytes in [Some(shorter), Some(longer), Some(other), Some(Vec::new()), None] {
                match bytes {
                    Some(bytes) => place.write(&entry.path, bytes).await,
                    None => place.store.inner.delete(&place.path(&entry.path)).await.unwrap(),
                }
                for report in [place.verify(Depth::All).await, place.sealed().await] {
                    assert_eq!(only(&report).object, entry.path);
                    assert_eq!(only(&report).kind, FindingKind::Data);
                }
                let part = "1/1".parse().unwrap();
                assert_eq!(only(&place.verify(Depth::Sample(part)).await).object, entry.path);
                place.write(&entry.path, whole.clone()).await;
            }
        }
    }
}

#[tokio::test]
async fn metadata_that_is_changed_or_gone_is_13() {
    for encrypted in [true, false] {
        let place = Place::new(encrypted, 1000).await;
        let id = &place.manifest.snapshot;
        let inventory = paths::in_snapshot(id, &place.manifest.inventory.as_ref().unwrap().name);
        for object in [paths::manifest(id), inventory.clone()] {
            for at in 0..place.read(&object).await.len() {
                place.flip(&object, at).await;
                for report in [place.verify(Depth::All).await, place.sealed().await] {
                    let found = report.findings.iter().find(|finding| finding.object == object);
                    let kind = found.map(|finding| finding.kind);
                    assert_eq!(kind, Some(FindingKind::Metadata), "{object} at {at}: {:?}", report.findings);
                    assert_eq!(class_of(&report.findings), Some(ExitClass::Tampered));
                }
                place.flip(&object, at).await;
            }
        }
        // The data is checked all the same: by the manifest where it can be read, else by the inventory.
        place.store.inner.delete(&place.path(&inventory)).await.unwrap();
        place.flip(&place.file().path, 100).await;
        let report = place.verify(Depth::All).await;
        assert_eq!(report.findings.len(), 2, "{:?}", report.findings);
        assert_eq!(class_of(&report.findings), Some(ExitClass::Tampered));
    }
}

#[tokio::test]
async fn a_damaged_keyring_generation_is_found_with_and_without_the_key() {
    let (store, location) = faulty();
    let (first, second) = (key(), key());
    let repository = create(&location, Some(&first)).await;
    repository.add_key(&first, &second).await.unwrap();
    let path = location.path("keys/1.json").unwrap();
    let whole = store.inner.get(&path).await.unwrap().bytes().await.unwrap();
    let mut bytes = whole.to_vec();
    bytes[50] ^= 1;
    store.inner.put(&path, bytes.into()).await.unwrap();
    let open = Verifier::new(Repository::open(location.clone(), Some(&second)).await.unwrap());
    let sealed = Verifier::without_key(location.clone()).await.unwrap();
    for verifier in [open, sealed] {
        let found = verifier.keyring().await.unwrap();
        assert!(found.iter().any(|finding| finding.kind == FindingKind::Metadata), "{found:?}");
        assert_eq!(class_of(&found), Some(ExitClass::Tampered));
    }
    store.inner.put(&path, whole.into()).await.unwrap();
    assert_eq!(Verifier::without_key(location).await.unwrap().keyring().await.unwrap(), []);
}

#[tokio::test]
async fn the_parts_of_a_sample_read_everything_once() {
    for (encrypted, data) in [(true, 5_000_000), (false, 5_000_000)] {
        let place = Place::new(encrypted, data).await;
        let path = place.file().path.clone();
        let whole = place.verify(Depth::All).await.coverage;
        // What is not cut is read every time: the artifact, and headers or digests.
        let always = place.verify(Depth::Sample("10000/10000".parse().unwrap())).await.coverage.checked_bytes;
        let at = usize::try_from(place.file().stored_bytes).unwrap() - 5;
        let (mut read, mut found) = (0, 0);
        for number in 1..=3 {
            let part: Part = format!("{number}/3").parse().unwrap();
            let report = place.verify(Depth::Sample(part)).await;
            assert_eq!(report.findings, []);
            assert!(report.coverage.checked_bytes < whole.bytes);
            read += report.coverage.checked_bytes - always;
            place.flip(&path, at).await;
            found += place.verify(Depth::Sample(part)).await.findings.len();
            place.flip(&path, at).await;
        }
        assert_eq!((read + always, found), (whole.bytes, 1), "encrypted: {encrypted}");
    }
}

#[tokio::test]
async fn a_sample_of_an_encrypted_repository_needs_the_key() {
    let place = Place::new(true, 10).await;
    let verifier = Verifier::without_key(place.repository.location().clone()).await.unwrap();
    let depth = Depth::Sample("1/1".parse().unwrap());
    let options = VerifyOptions { depth, parallel: 1, advance: &|_| () };
    let error = verifier.snapshot(&place.manifest.snapshot, &options).await.unwrap_err();
    assert_eq!(error.exit_class(), ExitClass::WrongKey);
}

#[tokio::test]
async fn aborted_and_deleted_snapshots_are_none_and_damaged_ones_are() {
    let place = Place::new(true, 10).await;
    let other = SnapshotId::generate(moment(2)).unwrap();
    place.repository.abort(&other, "00").await.unwrap();
    let verifier = Verifier::new(place.repository.clone());
    assert_eq!(verifier.snapshots().await.unwrap(), std::slice::from_ref(&place.manifest.snapshot));
    place.write(&paths::manifest(&other), b"{}".to_vec()).await;
    assert_eq!(verifier.snapshots().await.unwrap().len(), 2);
}

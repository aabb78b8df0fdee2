//! Damage: flips, cuts, additions, swaps, older versions and removals of every object, found by whoever reads what
//! is named.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStoreExt;
use restow_store::container::{HEADER, SEALED_CHUNK};
use restow_store::fault::Faults;
use restow_store::keys::KeySource;
use restow_store::repository::{Repository, SnapshotId, WrittenObject, exit_class_of};

use crate::backup::{Content, Job, Result, backup, read};
use crate::place::{Backend, Place, plain_and_encrypted};

/// A repository with two snapshots and a run that died behind its second receipt.
struct Subject {
    place: Place,
    key: Option<KeySource>,
    snapshots: Vec<(SnapshotId, Content)>,
    objects: BTreeMap<String, Bytes>,
}

async fn subject(key: Option<KeySource>, size: usize) -> Subject {
    let place = Place::new(Backend::Memory);
    let mut snapshots = Vec::new();
    for (name, seconds) in [("one", 0), ("two", 60)] {
        let mut job = Job::of_size(name, seconds, size + seconds as usize);
        job.splits.insert(("d".to_owned(), "t".to_owned()), Bytes::from(format!("content of {name}")));
        let done = backup(&place.location(), key.as_ref(), &job).await.unwrap();
        snapshots.push((done.snapshot, job.content()));
    }
    let dead = Arc::new(Faults::new("put@/receipts/:2=crash(after)".parse().unwrap()));
    backup(&place.faulty(&dead), key.as_ref(), &Job::new("three", 120)).await.unwrap_err();
    let objects = place.objects().await;
    Subject { place, key, snapshots, objects }
}

impl Subject {
    /// Reads everything, as a new process: both snapshots, the open run, and all receipts. The first error is the
    /// finding.
    async fn examine(&self) -> Result<Vec<String>> {
        let location = self.place.location();
        for (id, content) in &self.snapshots {
            let found = read(&location, self.key.as_ref(), id).await?;
            assert!(found == *content, "{id} reads differently, without an error");
        }
        let repository = Repository::open(location, self.key.as_ref()).await?;
        let state = repository.run_state();
        let mut findings = repository.warnings().to_vec();
        let open = state.open_runs().await?;
        findings.extend(open.damaged.into_iter().map(|(run, problem)| format!("{run}: {problem}")));
        for run in self.runs() {
            if state.intent(&run).await?.is_none() {
                findings.push(format!("{run} has no intent"));
            }
            state.receipts(&run).await?;
        }
        if open.intents.len() != 1 && findings.is_empty() {
            findings.push(format!("{} runs are open", open.intents.len()));
        }
        Ok(findings)
    }

    fn runs(&self) -> Vec<String> {
        let mut runs: Vec<_> =
            self.objects.keys().filter_map(|path| path.strip_prefix("runs/")?.split('/').next()).collect();
        runs.dedup();
        runs.into_iter().map(str::to_owned).collect()
    }

    /// Asserts that a change of one object is found, as damage, and undoes it. Gives the message.
    async fn found(&self, path: &str, changed: Option<Vec<u8>>, what: &str) -> String {
        let removed = changed.is_none();
        match changed {
            Some(bytes) => self.place.set(path, bytes.into()).await,
            None => self.place.remove(path).await,
        }
        let findings = self.examine().await;
        self.place.set(path, self.objects[path].clone()).await;
        match findings {
            Err(e) => {
                let code = e.exit_class().code();
                let fits = code == 13 || code == 14 || (removed && code == 10);
                assert!(fits, "{what} of {path} gives {code}: {e}");
                e.to_string()
            }
            Ok(findings) => {
                assert!(!findings.is_empty(), "{what} of {path} is not found");
                findings.concat()
            }
        }
    }

    fn kinds(&self) -> BTreeMap<&'static str, Vec<&String>> {
        let mut kinds = BTreeMap::<_, Vec<_>>::new();
        for path in self.objects.keys() {
            kinds.entry(kind(path)).or_default().push(path);
        }
        kinds
    }
}

fn kind(path: &str) -> &'static str {
    match path {
        "repository.json" => "repository.json",
        _ if path.starts_with("keys/") => "keyring",
        _ if path.ends_with("/manifest.json") => "manifest",
        _ if path.contains("/inventory-") => "inventory",
        _ if path.contains("/artifacts/") => "artifact",
        _ if path.ends_with("/intent.json") => "intent",
        _ if path.contains("/receipts/") => "receipt",
        _ if path.ends_with(".sha256") => "digests",
        _ if path.starts_with("data/") => "data",
        _ => panic!("{path} is of no known kind"),
    }
}

/// Objects that nothing names and nobody reads: written by the run that died, behind its last receipt.
fn unnamed(subject: &Subject, path: &str) -> bool {
    let ids: Vec<&str> = subject.snapshots.iter().map(|(id, _)| id.as_str()).collect();
    matches!(kind(path), "data" | "digests" | "artifact") && !ids.iter().any(|id| path.contains(id))
}

#[tokio::test]
async fn every_byte_of_every_metadata_object() {
    for key in plain_and_encrypted() {
        let subject = subject(key, 40).await;
        assert!(subject.examine().await.unwrap().is_empty());
        let mut counts = BTreeMap::<_, usize>::new();
        for (path, bytes) in &subject.objects {
            if kind(path) == "data" || unnamed(&subject, path) {
                continue;
            }
            for at in 0..bytes.len() {
                let mut flipped = bytes.to_vec();
                flipped[at] ^= 1 << (at % 8);
                subject.found(path, Some(flipped), &format!("a flip at {at}")).await;
                *counts.entry(kind(path)).or_default() += 1;
            }
        }
        println!("flipped bytes of metadata, encrypted {}: {counts:?}", subject.key.is_some());
    }
}

/// Offsets of a data object where something begins or ends, and 64 random ones.
fn offsets(length: usize, encrypted: bool) -> Vec<usize> {
    let mut all = vec![0, length / 2, length - 1];
    let (first, step) = if encrypted { (HEADER, SEALED_CHUNK) } else { (0, 1 << 20) };
    for edge in (first..length + step).step_by(step).map(|edge| edge.min(length)) {
        all.extend([edge.saturating_sub(17), edge.saturating_sub(16), edge.saturating_sub(1), edge, edge + 1]);
    }
    all.extend(0..if encrypted { HEADER } else { 0 });
    let mut state = 42u64;
    for _ in 0..64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        all.push((state >> 33) as usize % length);
    }
    all.retain(|at| *at < length);
    all.sort_unstable();
    all.dedup();
    all
}

#[tokio::test]
async fn bytes_and_edges_of_every_data_object() {
    for key in plain_and_encrypted() {
        let encrypted = key.is_some();
        let subject = subject(key, if encrypted { 150_000 } else { (1 << 20) + 30_000 }).await;
        let (mut cases, mut objects) = (0, 0);
        for (id, _) in &subject.snapshots {
            let location = subject.place.location();
            let repository = Repository::open(location.clone(), subject.key.as_ref()).await.unwrap();
            for file in repository.manifest(id).await.unwrap().files() {
                objects += 1;
                let bytes = &subject.objects[&file.path];
                let written: WrittenObject = serde_json::from_value(serde_json::to_value(file).unwrap()).unwrap();
                for at in offsets(bytes.len(), encrypted) {
                    let mut flipped = bytes.to_vec();
                    flipped[at] ^= 1 << (at % 8);
                    subject.place.set(&file.path, flipped.into()).await;
                    let what = format!("a flip at {at} of {}", file.path);
                    let error = read(&location, subject.key.as_ref(), id).await.expect_err(&what);
                    assert_eq!(error.exit_class().code(), 13, "{what}: {error}");
                    assert!(error.to_string().contains(&file.path), "{what}: {error}");
                    let error = repository.check_stored(&written).await.expect_err(&what);
                    assert_eq!(error.exit_class().code(), 13, "{what}: {error}");
                    if !encrypted || at >= HEADER {
                        let plain = if encrypted { (at - HEADER) / SEALED_CHUNK * 65_536 } else { at };
                        let plain = (plain as u64).min(file.plain_bytes - 1);
                        let path = repository.path(&file.path).unwrap();
                        let error = repository.objects().get_range(&path, plain..plain + 1).await.expect_err(&what);
                        assert_eq!(exit_class_of(&error).code(), 13, "{what}, by a range: {error}");
                    }
                    cases += 1;
                }
                subject.place.set(&file.path, bytes.clone()).await;
            }
        }
        assert!(subject.examine().await.unwrap().is_empty());
        println!("flipped bytes of data, encrypted {encrypted}: {objects} objects, {cases} bytes");
    }
}

#[tokio::test]
async fn every_object_cut_extended_and_removed() {
    for key in plain_and_encrypted() {
        let subject = subject(key, 70_000).await;
        let mut cases = 0;
        for (path, bytes) in &subject.objects {
            if unnamed(&subject, path) {
                continue;
            }
            let length = bytes.len();
            for cut in [0, 1, length / 2, length - 1] {
                subject.found(path, Some(bytes[..cut].to_vec()), &format!("a cut to {cut}")).await;
            }
            for more in [vec![0], b"\n".to_vec(), bytes.to_vec()] {
                let longer = [bytes.to_vec(), more].concat();
                subject.found(path, Some(longer), "an addition").await;
            }
            subject.found(path, Some(vec![0; length]), "zeros instead").await;
            // Receipts that are gone are written again; nothing else forgets silently.
            if kind(path) != "receipt" {
                let message = subject.found(path, None, "the removal").await;
                assert!(!message.is_empty());
                cases += 1;
            }
            cases += 8;
        }
        println!("cut, extended, zeroed, removed, encrypted {}: {cases} cases", subject.key.is_some());
    }
}

#[tokio::test]
async fn objects_of_one_kind_exchanged() {
    for key in plain_and_encrypted() {
        let subject = subject(key, 70_000).await;
        let mut cases = 0;
        for (kind, paths) in subject.kinds() {
            for (to, from) in paths.iter().flat_map(|to| paths.iter().map(move |from| (*to, *from))) {
                if unnamed(&subject, to) || subject.objects[to] == subject.objects[from] {
                    continue;
                }
                let bytes = subject.objects[from].to_vec();
                subject.found(to, Some(bytes), &format!("{kind} {from} in the place")).await;
                cases += 1;
            }
        }
        println!("exchanged within a kind, encrypted {}: {cases} cases", subject.key.is_some());
    }
}

/// The same run carried out twice from one state: whatever the other history wrote under the same name.
#[tokio::test]
async fn objects_of_another_history() {
    for key in plain_and_encrypted() {
        let (place, job) = (Place::new(Backend::Memory), Job::new("one", 0));
        let dead = Arc::new(Faults::new("put@/receipts/:1=crash(before)".parse().unwrap()));
        backup(&place.faulty(&dead), key.as_ref(), &job).await.unwrap_err();
        let other = place.copy().await;
        let id = backup(&place.location(), key.as_ref(), &job).await.unwrap().snapshot;
        assert_eq!(backup(&other.location(), key.as_ref(), &job).await.unwrap().snapshot, id);
        let (mine, others) = (place.objects().await, other.objects().await);
        let mut cases = 0;
        for (path, bytes) in &mine {
            let Some(replaced) = others.get(path).filter(|other| *other != bytes) else { continue };
            place.set(path, replaced.clone()).await;
            let result = read(&place.location(), key.as_ref(), &id).await;
            place.set(path, bytes.clone()).await;
            if !path.starts_with("runs/") {
                let error = result.expect_err(path);
                assert_eq!(error.exit_class().code(), 13, "{path}: {error}");
                cases += 1;
            }
        }
        assert!(cases >= 1, "the manifest at least");
        println!("objects of another history, encrypted {}: {cases} cases", key.is_some());
    }
}

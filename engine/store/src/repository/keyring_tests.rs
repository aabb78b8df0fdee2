//! Changes of a repository's keyring: races, lost replies, what stays readable, and the note about the recovery key.

use std::sync::{Arc, Mutex};

use object_store::ObjectStoreExt;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::testing::*;
use super::*;
use crate::keys::{KeyError, KeySource, RepositoryKey, SlotKind, Unlocker};

fn code(error: &RepositoryError) -> u8 {
    error.exit_class().code()
}

fn source(text: &str) -> KeySource {
    KeySource::Key(Zeroizing::new(text.to_owned()))
}

async fn open(location: &Location, key: &KeySource) -> Result<Repository, RepositoryError> {
    Repository::open(location.clone(), Some(key)).await
}

/// A new repository, its key and its recovery key.
async fn made(location: &Location) -> (Repository, KeySource, KeySource) {
    let key = key();
    let options = CreateOptions { encryption: Some(key.clone()), ..CreateOptions::default() };
    let made = Repository::create(location.clone(), options).await.unwrap();
    (made.repository, key, source(&made.recovery_key.unwrap().text()))
}

fn kinds(repository: &Repository) -> Vec<(u32, SlotKind)> {
    repository.keys().unwrap().keyring().slots().into_iter().map(|slot| (slot.id, slot.kind)).collect()
}

#[tokio::test]
async fn a_key_is_added_listed_and_removed() {
    let (_, location) = faulty();
    let (repository, key, _) = made(&location).await;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("second.key");
    let second = KeySource::KeyFile { path: path.clone(), create: true };
    let added = repository.add_key(&key, &second).await.unwrap();
    assert_eq!((added.slot.unwrap().id, added.key_file_created), (3, Some(path.clone())));
    assert!(!added.recovery_replaced && added.recovery_key.is_none());
    // The repository that comes back has the new keyring, and so has who opens it.
    let opened = open(&location, &second).await.unwrap();
    for repository in [&added.repository, &opened] {
        assert_eq!(kinds(repository), [(1, SlotKind::Key), (2, SlotKind::Recovery), (3, SlotKind::Key)]);
        assert_eq!(repository.keys().unwrap().generation(), 2);
    }
    let slots = opened.key_slots().await.unwrap();
    let seen: Vec<_> = slots.iter().map(|of| (of.slot.info.id, of.slot.added, of.opened)).collect();
    assert_eq!(seen, [(1, 1, false), (2, 1, false), (3, 2, true)]);
    assert!(slots.iter().all(|of| of.created.is_some() && of.slot.epochs == 1));

    let error = opened.add_key(&second, &key).await.unwrap_err();
    assert!(error.to_string().contains("already opens slot 1"), "{error}");
    let error = opened.remove_key(&second, 3).await.unwrap_err();
    assert!(error.to_string().contains("is the one that opened"), "{error}");
    assert_eq!(code(&error), 2);
    let removed = opened.remove_key(&second, 1).await.unwrap();
    assert_eq!(removed.slot.unwrap().id, 1);
    assert_eq!(code(&open(&location, &key).await.unwrap_err()), 12);
    open(&location, &second).await.unwrap();
}

#[tokio::test]
async fn concurrent_changes_all_land() {
    let (_, location) = faulty();
    let (repository, key, _) = made(&location).await;
    let new: Vec<KeySource> = (0..12).map(|_| super::testing::key()).collect();
    let adds = new.iter().map(|new| repository.add_key(&key, new));
    let ids: Vec<u32> =
        futures::future::join_all(adds).await.into_iter().map(|made| made.unwrap().slot.unwrap().id).collect();
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 12, "{ids:?}");
    for new in &new {
        let opened = open(&location, new).await.unwrap();
        assert_eq!((opened.warnings().len(), kinds(&opened).len()), (0, 14));
    }
    // A change by who opened before all that still lands, and undoes nothing.
    repository.add_key(&key, &super::testing::key()).await.unwrap();
    assert_eq!(kinds(&open(&location, &key).await.unwrap()).len(), 15);
}

#[tokio::test]
async fn a_lost_reply_is_no_second_change_and_a_lost_request_is_repeated() {
    for fault in [Fault::LoseReply, Fault::NoAnswer] {
        let (store, location) = faulty();
        let (repository, key, _) = made(&location).await;
        store.arm("keys/2.json", fault);
        let added = repository.add_key(&key, &super::testing::key()).await.unwrap();
        assert_eq!(added.repository.keys().unwrap().generation(), 2);
        assert_eq!(open(&location, &key).await.unwrap().keys().unwrap().generation(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn a_slot_that_another_process_changed_is_left_alone() {
    let (_, location) = faulty();
    let (repository, key, _) = made(&location).await;
    let second = super::testing::key();
    let stale = repository.add_key(&key, &second).await.unwrap().repository;
    let other = super::testing::key();
    stale.rewrap_key(&key, 3, Some(&other)).await.unwrap();
    for error in [
        stale.remove_key(&key, 3).await.unwrap_err(),
        stale.rewrap_key(&key, 3, Some(&super::testing::key())).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("another process has changed slot 3"), "{error}");
        assert_eq!(code(&error), 2);
    }
    open(&location, &other).await.unwrap();
    assert_eq!(code(&open(&location, &second).await.unwrap_err()), 12);
}

#[tokio::test]
async fn after_a_rotation_old_and_new_snapshots_are_read() {
    let (_, location) = faulty();
    let (repository, key, recovery) = made(&location).await;
    let second = super::testing::key();
    let old = snapshot(&repository, 0, b"before").await;
    let repository = repository.add_key(&key, &second).await.unwrap().repository;
    let error = repository.rotate_keys(&key, &[], &RecoveryOutput::Show).await.unwrap_err();
    assert!(error.to_string().contains("the secret of slot 3 (key) was not given"), "{error}");

    let rotated = repository.rotate_keys(&key, std::slice::from_ref(&second), &RecoveryOutput::Show).await.unwrap();
    assert!(rotated.recovery_replaced);
    let new_recovery = source(&rotated.recovery_key.unwrap().text());
    let new = snapshot(&rotated.repository, 5, b"after").await;
    assert_eq!(code(&open(&location, &recovery).await.unwrap_err()), 12);
    for key in [&key, &second, &new_recovery] {
        let opened = open(&location, key).await.unwrap();
        assert_eq!((opened.keys().unwrap().epoch(), opened.warnings().len()), (2, 0));
        for (wanted, content) in [(&old, &b"before"[..]), (&new, b"after")] {
            let manifest = opened.manifest(&wanted.snapshot).await.unwrap();
            let path = opened.path(&manifest.datasets[0].files[0].path).unwrap();
            assert_eq!(opened.objects().get(&path).await.unwrap().bytes().await.unwrap(), content);
        }
    }
    // The epoch is in the header of each object, bytes 8 to 12.
    for (manifest, epoch) in [(&old, 1), (&new, 2)] {
        let path = location.path(&manifest.datasets[0].files[0].path).unwrap();
        let bytes = location.store.get(&path).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes[8..12], [0, 0, 0, epoch]);
    }
}

#[tokio::test]
async fn a_recovery_key_file_is_written_first_and_removed_where_nothing_came_of_it() {
    use std::os::unix::fs::PermissionsExt;
    let (_, location) = faulty();
    let (repository, key, recovery) = made(&location).await;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("recovery.key");
    let file = RecoveryOutput::File(path.clone());
    let other = super::testing::key();
    // A rotation without the secret of a slot.
    let repository = repository.add_key(&key, &other).await.unwrap().repository;
    assert!(repository.rotate_keys(&key, &[], &file).await.is_err());
    assert!(!path.exists());
    let made = repository.replace_recovery_key(&key, &file).await.unwrap();
    assert!(made.recovery_replaced && made.recovery_key.is_none());
    assert_eq!(made.slot.unwrap().kind, SlotKind::Recovery);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(code(&open(&location, &recovery).await.unwrap_err()), 12);
    let second = source(&std::fs::read_to_string(&path).unwrap());
    open(&location, &second).await.unwrap();
    // A file that exists is not overwritten, and the recovery key stays what it is.
    let error = made.repository.replace_recovery_key(&key, &file).await.unwrap_err();
    assert!(matches!(error, RepositoryError::RecoveryFileTaken { .. }), "{error}");
    open(&location, &second).await.unwrap();
    let shown = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&shown);
    let with = RecoveryOutput::With(Arc::new(move |key| *keep.lock().unwrap() = Some(key.text())));
    made.repository.replace_recovery_key(&key, &with).await.unwrap();
    let third = source(shown.lock().unwrap().as_ref().unwrap());
    open(&location, &third).await.unwrap();
}

/// A rotation that was killed after its file was there is made again by the same command: the recovery key stays.
#[tokio::test]
async fn a_rotation_is_run_again_with_its_recovery_file() {
    let (_, location) = faulty();
    let (repository, key, _) = made(&location).await;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("recovery.key");
    let file = RecoveryOutput::File(path.clone());
    let rotated = repository.rotate_keys(&key, &[], &file).await.unwrap();
    assert!(rotated.recovery_replaced);
    let text = std::fs::read_to_string(&path).unwrap();
    let again = rotated.repository.rotate_keys(&key, &[], &file).await.unwrap();
    assert!(!again.recovery_replaced);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    let by_recovery = open(&location, &source(&text)).await.unwrap();
    assert_eq!(by_recovery.keys().unwrap().epoch(), 3);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    // Killed before the key in the file counted: it is taken.
    let left = crate::keys::RecoveryKey::random().unwrap().text();
    std::fs::write(&path, format!("{}\n", left.as_str())).unwrap();
    let again = again.repository.rotate_keys(&key, &[], &file).await.unwrap();
    assert!(again.recovery_replaced);
    assert_eq!(open(&location, &source(&left)).await.unwrap().keys().unwrap().opened_by().kind, SlotKind::Recovery);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", left.as_str()));
    // One that was replaced is not.
    std::fs::write(&path, &text).unwrap();
    assert_eq!(code(&again.repository.rotate_keys(&key, &[], &file).await.unwrap_err()), 7);
    // Another file that is there is nobody's to overwrite.
    std::fs::write(&path, "something").unwrap();
    assert_eq!(code(&again.repository.rotate_keys(&key, &[], &file).await.unwrap_err()), 7);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "something");
}

#[test]
fn a_full_disk_is_no_wrong_key() {
    let full = |action| crate::keys::KeyError::KeyFile {
        action,
        path: "a.key".into(),
        source: std::io::ErrorKind::StorageFull.into(),
    };
    assert_eq!(exit_class_of(&full("create")), ExitClass::NoSpace);
    let denied = |action| crate::keys::KeyError::KeyFile {
        action,
        path: "a.key".into(),
        source: std::io::ErrorKind::PermissionDenied.into(),
    };
    assert_eq!(exit_class_of(&denied("create")), ExitClass::Failed);
    assert_eq!(exit_class_of(&denied("read")), ExitClass::WrongKey);
}

#[tokio::test]
async fn the_recovery_key_is_noted_once_it_has_opened() {
    let (_, location) = faulty();
    let (repository, key, recovery) = made(&location).await;
    assert_eq!(repository.recovery_state().await.unwrap(), RecoveryState::Untried { slot: 2 });
    assert!(!repository.note_recovery().await, "it was opened by the key");
    let by_recovery = open(&location, &recovery).await.unwrap();
    assert_eq!(by_recovery.recovery_state().await.unwrap(), RecoveryState::Untried { slot: 2 });
    assert!(by_recovery.note_recovery().await && by_recovery.note_recovery().await);
    let state = open(&location, &key).await.unwrap().recovery_state().await.unwrap();
    assert!(matches!(state, RecoveryState::Proven { slot: 2, .. }), "{state:?}");

    // Given to a rotation it has proven itself; a new one has not.
    let rotated = by_recovery.rotate_keys(&recovery, std::slice::from_ref(&key), &RecoveryOutput::Show).await.unwrap();
    assert!(!rotated.recovery_replaced);
    let state = rotated.repository.recovery_state().await.unwrap();
    assert!(matches!(state, RecoveryState::Proven { .. }), "{state:?}");
    let replaced = rotated.repository.replace_recovery_key(&recovery, &RecoveryOutput::Show).await.unwrap();
    let state = replaced.repository.recovery_state().await.unwrap();
    assert_eq!(state, RecoveryState::Untried { slot: 3 });
}

#[tokio::test]
async fn a_note_is_sealed_and_cannot_be_forged_or_moved() {
    let (_, location) = faulty();
    let (_, key, recovery) = made(&location).await;
    let opened = open(&location, &recovery).await.unwrap();
    assert!(opened.note_recovery().await);
    let mark = opened.keys().unwrap().slot_mark(2).unwrap();
    let stored = location.store.get(&location.path(&paths::recovery_proven(&mark)).unwrap()).await.unwrap();
    let stored = stored.bytes().await.unwrap();
    assert!(stored.starts_with(b"restow\0"), "a container");
    // The note of another slot, or bytes of somebody without a key, prove nothing.
    let replaced = opened.replace_recovery_key(&recovery, &RecoveryOutput::Show).await.unwrap().repository;
    let mark = replaced.keys().unwrap().slot_mark(3).unwrap();
    let path = location.path(&paths::recovery_proven(&mark)).unwrap();
    for bytes in [stored.to_vec(), b"{}".to_vec()] {
        location.store.put(&path, bytes.into()).await.unwrap();
        let error = open(&location, &key).await.unwrap().recovery_state().await.unwrap_err();
        assert_eq!(code(&error), 13, "{error}");
    }
}

#[tokio::test]
async fn who_may_not_write_recovers_all_the_same() {
    let (store, location) = faulty();
    let (_, _, recovery) = made(&location).await;
    store.arm("recovery-proven", Fault::NoAnswer);
    let opened = open(&location, &recovery).await.unwrap();
    assert!(!opened.note_recovery().await);
    let read_only = Location { writable: false, ..location.clone() };
    let opened = open(&read_only, &recovery).await.unwrap();
    assert!(!opened.note_recovery().await);
    assert_eq!(opened.recovery_state().await.unwrap(), RecoveryState::Untried { slot: 2 });
    assert!(matches!(opened.add_key(&recovery, &super::testing::key()).await, Err(RepositoryError::ReadOnly { .. })));
}

#[tokio::test]
async fn a_plain_repository_has_no_keys() {
    let (_, location) = faulty();
    let repository = create(&location, None).await;
    let key = super::testing::key();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("new.key");
    let file = KeySource::KeyFile { path: path.clone(), create: true };
    for error in [
        repository.key_slots().await.unwrap_err(),
        repository.add_key(&key, &file).await.unwrap_err(),
        repository.remove_key(&key, 1).await.unwrap_err(),
        repository.rewrap_key(&key, 1, None).await.unwrap_err(),
        repository.rotate_keys(&key, &[], &RecoveryOutput::Show).await.unwrap_err(),
        repository.replace_recovery_key(&key, &RecoveryOutput::File(path.clone())).await.unwrap_err(),
        repository.recovery_state().await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("is not encrypted, so it has no keys"), "{error}");
        assert_eq!(code(&error), 7);
    }
    assert!(!path.exists());
    assert!(!repository.note_recovery().await);
}

/// Somebody puts a generation there that does not hold, or takes one away: no change is built on it.
#[tokio::test]
async fn a_broken_chain_stops_every_change() {
    let (_, location) = faulty();
    let (repository, key, _) = made(&location).await;
    let second = repository.add_key(&key, &super::testing::key()).await.unwrap().repository;
    let thief = Unlocker::Key(RepositoryKey::random().unwrap());
    let (bytes, ..) = crate::keys::create_first(repository.id(), &thief, false).unwrap();
    let put = async |object: &str, bytes: Vec<u8>| {
        location.store.put(&location.path(object).unwrap(), bytes.into()).await.unwrap();
    };
    // A forged generation is met at the creation: the keyring is read again, and does not hold.
    put("keys/3.json", bytes).await;
    let error = second.add_key(&key, &super::testing::key()).await.unwrap_err();
    assert!(matches!(error, RepositoryError::Key { source: KeyError::ChainBroken { .. }, .. }), "{error}");
    assert_eq!(code(&error), 13);
    let opened = open(&location, &key).await.unwrap();
    assert_eq!((opened.warnings().len(), opened.keys().unwrap().generation()), (1, 2));
    assert_eq!(code(&opened.rewrap_key(&key, 1, None).await.unwrap_err()), 13);
    assert!(!opened.note_recovery().await);

    // A keyring that was rolled back while the command ran.
    location.store.delete(&location.path("keys/3.json").unwrap()).await.unwrap();
    let third = second.add_key(&key, &super::testing::key()).await.unwrap().repository;
    for generation in [2, 3] {
        location.store.delete(&location.path(&paths::keyring(generation)).unwrap()).await.unwrap();
    }
    put("keys/4.json", b"{}".to_vec()).await;
    let error = third.add_key(&key, &super::testing::key()).await.unwrap_err();
    assert_eq!(code(&error), 13, "{error}");
}

#[tokio::test]
async fn a_key_can_be_a_command_or_a_passphrase() {
    let (_, location) = faulty();
    let (repository, key, _) = made(&location).await;
    let text = RepositoryKey::random().unwrap().text();
    let command = KeySource::Command(format!("echo {}", text.as_str()));
    let passphrase = KeySource::Passphrase(Zeroizing::new("correct horse".to_owned()));
    let repository = repository.add_key(&key, &command).await.unwrap().repository;
    let repository = repository.add_key(&key, &passphrase).await.unwrap().repository;
    open(&location, &source(&text)).await.unwrap();
    let opened = open(&location, &passphrase).await.unwrap();
    // Renewed under the same passphrase: another wrapping, the same secret.
    let renewed = opened.rewrap_key(&passphrase, 4, None).await.unwrap();
    assert_ne!(renewed.repository.keys().unwrap().slot_mark(4), opened.keys().unwrap().slot_mark(4));
    open(&location, &passphrase).await.unwrap();
    let broken = KeySource::Command("exit 1".to_owned());
    assert_eq!(code(&repository.add_key(&key, &broken).await.unwrap_err()), 12);
    let text = format!("{repository:?} {broken:?}");
    assert!(!text.contains("exit 1") && !text.contains("rsk1_"), "{text}");
}

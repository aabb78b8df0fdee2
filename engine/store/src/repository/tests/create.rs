//! Making and opening repositories.

use bytes::Bytes;
use object_store::{ObjectStoreExt, PutMode};
use tempfile::TempDir;

use super::{code, stored};
use crate::keys::KeySource;
use crate::repository::testing::*;
use crate::repository::*;

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
    let recovery = file.join("below a file");
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

/// Killed after the recovery key was in its file, or after the whole creation but before it said so.
#[tokio::test]
async fn creation_resumes_with_the_recovery_file_of_the_first_attempt() {
    let (_, location) = faulty();
    let dir = TempDir::new().unwrap();
    let recovery = dir.path().join("recovery");
    let options = CreateOptions { encryption: Some(key()), recovery: RecoveryOutput::File(recovery.clone()) };
    let first = Repository::create(location.clone(), options.clone()).await.unwrap().repository;
    let text = std::fs::read_to_string(&recovery).unwrap();
    location.store.delete(&location.path("repository.json").unwrap()).await.unwrap();
    let again = Repository::create(location.clone(), options).await.unwrap().repository;
    assert_eq!((again.id(), again.keyring_ref().unwrap().generation), (first.id(), 1));
    assert_eq!(std::fs::read_to_string(&recovery).unwrap(), text);
    let by_recovery = KeySource::Key(zeroize::Zeroizing::new(text));
    Repository::open(location, Some(&by_recovery)).await.unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
}

#[tokio::test]
async fn a_recovery_file_of_something_else_is_refused_before_anything_is_made() {
    let dir = TempDir::new().unwrap();
    for text in ["something", &crate::keys::RecoveryKey::random().unwrap().text()] {
        let (_, location) = faulty();
        let (file, recovery) = (dir.path().join("made.key"), dir.path().join("recovery"));
        std::fs::write(&recovery, text).unwrap();
        let source = KeySource::KeyFile { path: file.clone(), create: true };
        let options = CreateOptions { encryption: Some(source), recovery: RecoveryOutput::File(recovery.clone()) };
        let error = Repository::create(location.clone(), options).await.unwrap_err();
        assert!(matches!(error, RepositoryError::RecoveryFileTaken { .. }), "{error}");
        assert_eq!(code(&error), 7);
        assert!(!file.exists() && stored(&location).await.is_empty());
        assert_eq!(std::fs::read_to_string(&recovery).unwrap(), *text);
    }
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

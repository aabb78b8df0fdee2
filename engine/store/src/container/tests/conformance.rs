//! `object_store::integration` over the layer: over memory and local files, at the root of a store and below it.

use object_store::integration as suite;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;

use super::*;

async fn all(store: &dyn ObjectStore, supports_update: bool) {
    suite::put_get_delete_list(store).await;
    suite::get_opts(store).await;
    suite::put_opts(store, supports_update).await;
    suite::list_uses_directories_correctly(store).await;
    suite::list_with_delimiter(store).await;
    suite::rename_and_copy(store).await;
    suite::copy_if_not_exists(store).await;
    suite::copy_rename_nonexistent_object(store).await;
    suite::multipart_race_condition(store, true).await;
    suite::multipart_out_of_order(store).await;
    suite::list_with_offset_exclusivity(store).await;
    suite::put_get_attributes(store).await;
    let error = suite::get_nonexistent_object(store, None).await.unwrap_err();
    assert!(matches!(error, object_store::Error::NotFound { .. }), "{error}");
}

/// Below `repo` of the inner store, seen from there.
fn below(inner: Arc<dyn ObjectStore>) -> PrefixStore<EncryptedStore> {
    PrefixStore::new(EncryptedStore::new(inner, Path::from("some/repo"), vector_keys(), never_clear), "some/repo")
}

#[tokio::test]
async fn over_memory() {
    all(&memory().0, true).await;
    suite::stream_get(&memory().0).await;
    all(&below(Arc::new(InMemory::new())), true).await;
}

#[tokio::test]
async fn over_local_files() {
    let directory = tempfile::tempdir().unwrap();
    let local = || Arc::new(LocalFileSystem::new_with_prefix(directory.path()).unwrap());
    all(&over(local()), false).await;
    suite::stream_get(&over(local())).await;
    let other = tempfile::tempdir().unwrap();
    all(&below(Arc::new(LocalFileSystem::new_with_prefix(other.path()).unwrap())), false).await;
}

#[tokio::test]
async fn on_several_threads_of_a_runtime() {
    let store = over(Arc::new(InMemory::new()));
    let writes = (0..20).map(|i| {
        let store = store.clone();
        tokio::spawn(async move {
            let (path, bytes) = (format!("o/{i}"), pattern(i * 40_000));
            put(&store, &path, &bytes).await;
            assert_eq!(read(&store, &path).await.unwrap(), bytes);
        })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }
}

#[tokio::test]
async fn nothing_outside_of_the_root_is_touched_or_listed() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = EncryptedStore::new(Arc::clone(&inner), Path::from("a/repo"), vector_keys(), never_clear);
    put(&*inner, "a/other", b"x").await;
    put(&*inner, "a/repository", b"x").await;
    put(&store, "a/repo/x/y", b"inside").await;
    for outside in ["a/other", "a/repo", "a/repository", "b"] {
        let path = Path::from(outside);
        assert!(cause(store.get(&path).await).0.contains("is not below the repository a/repo"));
        cause(store.put(&path, "x".into()).await);
        cause(store.delete(&path).await);
        cause(store.copy(&Path::from("a/repo/x/y"), &path).await);
    }
    use futures::TryStreamExt;
    for (prefix, count) in [(None, 1), (Some("a"), 1), (Some("a/repo"), 1), (Some("a/repo/x"), 1), (Some("b"), 0)] {
        let prefix = prefix.map(Path::from);
        let listed: Vec<_> = store.list(prefix.as_ref()).try_collect().await.unwrap();
        assert_eq!(listed.len(), count, "{prefix:?}");
        assert!(listed.iter().all(|meta| meta.size == 6));
    }
    let top = store.list_with_delimiter(Some(&Path::from("a"))).await.unwrap();
    assert_eq!((top.common_prefixes, top.objects.len()), (vec![Path::from("a/repo")], 0));
}

#[tokio::test]
async fn clear_objects_stay_clear_and_sealed_ones_are_never_copied_into_the_clear() {
    let inner = Arc::new(InMemory::new());
    let store = EncryptedStore::new(inner.clone(), Path::default(), vector_keys(), is_clear);
    put(&store, "repository.json", b"{}").await;
    assert_eq!(stored(&*inner, "repository.json").await, b"{}");
    assert_eq!(read(&store, "repository.json").await.unwrap(), b"{}");
    put(&store, "data/x", b"secret").await;
    let exposed = store.copy(&Path::from("data/x"), &Path::from("keys/9.json")).await;
    assert_eq!(cause(exposed).0, "copying data/x to keys/9.json would store its content unencrypted");
    cause(store.rename(&Path::from("data/x"), &Path::from("keys/9.json")).await);
    assert!(inner.head(&Path::from("keys/9.json")).await.is_err());
    store.copy(&Path::from("repository.json"), &Path::from("keys/8.json")).await.unwrap();
    store.copy(&Path::from("repository.json"), &Path::from("data/y")).await.unwrap();
    assert_eq!(read(&store, "data/y").await.unwrap(), b"{}");
    assert_ne!(stored(&*inner, "data/y").await, b"{}");
}

#[tokio::test]
async fn movable_files_open_under_another_name() {
    let inner = Arc::new(InMemory::new());
    let store = over(inner.clone()).with_movable_files();
    put(&store, "out/part-0", b"rows").await;
    inner.rename(&Path::from("out/part-0"), &Path::from("elsewhere/part-9")).await.unwrap();
    assert_eq!(read(&store, "elsewhere/part-9").await.unwrap(), b"rows");
    assert!(cause(read(&over(inner), "elsewhere/part-9").await).0.contains("commitment"));
}

#[tokio::test]
async fn payloads_are_streams_and_head_gives_plain_sizes() {
    let directory = tempfile::tempdir().unwrap();
    let inner = Arc::new(LocalFileSystem::new_with_prefix(directory.path()).unwrap());
    let store = EncryptedStore::new(inner, Path::default(), vector_keys(), is_clear);
    for (path, length) in [("data/a", 0), ("data/b", 1), ("data/c", 65_536), ("data/d", 200_000), ("keys/1.json", 5)] {
        put(&store, path, &pattern(length)).await;
        let path = Path::from(path);
        let result = store.get(&path).await.unwrap();
        assert!(matches!(result.payload, object_store::GetResultPayload::Stream(_)));
        assert_eq!(result.bytes().await.unwrap(), pattern(length));
        assert_eq!(store.head(&path).await.unwrap().size, length as u64);
        let head = store.get_opts(&path, GetOptions::new().with_head(true)).await.unwrap();
        assert_eq!(head.range, 0..length as u64);
    }
}

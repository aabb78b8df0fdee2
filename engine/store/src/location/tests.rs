use std::collections::BTreeMap;

use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use super::testing::serve;
use super::*;

fn plain() -> StoreOptions {
    StoreOptions::default()
}

#[tokio::test]
async fn memory_stores_are_shared_by_name() {
    let one = open("memory:shared/a", &plain()).unwrap();
    let two = open("memory:shared", &plain()).unwrap();
    one.store.put(&one.path("x").unwrap(), "hello".into()).await.unwrap();
    assert_eq!(two.store.get(&Path::from("a/x")).await.unwrap().bytes().await.unwrap(), "hello");
    let other = open("memory:other", &plain()).unwrap();
    assert!(other.store.list(None).try_collect::<Vec<_>>().await.unwrap().is_empty());
    assert!(open("memory:", &plain()).is_err());
}

#[tokio::test]
async fn paths_and_file_urls_name_one_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sub/../with space/r");
    let one = open(path.to_str().unwrap(), &plain()).unwrap();
    let url = Url::from_file_path(dir.path().join("with space/r")).unwrap();
    let two = open(url.as_str(), &plain()).unwrap();
    assert_eq!(one.root, two.root);
    one.store.put(&one.path("a/b").unwrap(), "x".into()).await.unwrap();
    assert!(dir.path().join("with space/r/a/b").exists());
    assert!(one.lists && one.writable);
    let file = open(dir.path().join("with space/r/a/b").to_str().unwrap(), &plain()).unwrap();
    assert_eq!(file.store.head(&file.root).await.unwrap().size, 1);
    assert!(open("", &plain()).is_err());
}

#[test]
fn joining_and_relative_paths() {
    let location = open("memory:join/a", &plain()).unwrap();
    let below = location.join("b/c/").unwrap();
    assert_eq!((below.root.as_ref(), below.url.as_str()), ("a/b/c", "memory:join/a/b/c"));
    assert_eq!(location.relative(&Path::from("a/b/c")), Some("b/c"));
    assert_eq!(location.relative(&Path::from("ab/c")), None);
    assert_eq!(location.relative(&Path::from("a")), Some(""));
    assert!(location.join("../x").is_err());
}

#[test]
fn credentials_are_not_shown() {
    let options = StoreOptions {
        environment: BTreeMap::from([
            ("AWS_ACCESS_KEY_ID".to_owned(), "id".to_owned()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), "hush".to_owned()),
            ("AWS_PROFILE".to_owned(), "unknown to object_store".to_owned()),
        ]),
        settings: BTreeMap::from([("token".to_owned(), "hush".to_owned())]),
        ..plain()
    };
    assert!(!format!("{options:?}").contains("hush"));
    let s3 = open("s3://bucket/some/prefix", &options).unwrap();
    assert_eq!((s3.root.as_ref(), s3.url.as_str()), ("some/prefix", "s3://bucket/some/prefix"));
    assert!(!format!("{s3:?}").contains("hush"));
    let http = open("https://user:hush@host/x/", &plain()).unwrap();
    assert_eq!(http.url, "https://host/x");
    for bad in ["https://user:hush@host/x?y", "ftp://user:hush@host/x", "s3://user:hush@ /", "https://user:hush@"] {
        let error = open(bad, &plain()).unwrap_err().to_string();
        assert!(!error.contains("hush"), "{error}");
    }
}

#[test]
fn remote_stores_open_without_a_request() {
    let http = StoreOptions { endpoint: Some("http://127.0.0.1:1".to_owned()), ..plain() };
    assert!(matches!(open("s3://bucket", &http), Err(LocationError::PlainHttp { .. })));
    let allowed = StoreOptions { allow_http: true, anonymous: true, ..http };
    open("s3://bucket", &allowed).unwrap();
    open("gs://bucket/x", &allowed).unwrap();
    let azure = StoreOptions {
        environment: BTreeMap::from([("AZURE_STORAGE_ACCOUNT_NAME".to_owned(), "account".to_owned())]),
        anonymous: true,
        ..plain()
    };
    open("az://container/x", &azure).unwrap();
    let abfs =
        open("abfss://container@account.dfs.core.windows.net/x", &StoreOptions { anonymous: true, ..plain() }).unwrap();
    assert_eq!(abfs.url, "abfss://container@account.dfs.core.windows.net/x");
    let wrong = StoreOptions { settings: BTreeMap::from([("no_such".to_owned(), "x".to_owned())]), ..plain() };
    let error = open("s3://bucket", &wrong).unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("no_such"));
    assert!(open("s3:///x", &plain()).is_err());
}

fn files() -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([("files/x".to_owned(), b"0123456789".to_vec())])
}

#[tokio::test]
async fn plain_http_servers_are_read_with_and_without_ranges() {
    for ranges in [true, false] {
        let location = open(&format!("{}/files", serve(files(), ranges)), &plain()).unwrap();
        assert!(!location.lists && !location.writable);
        let path = location.path("x").unwrap();
        assert_eq!(location.store.head(&path).await.unwrap().size, 10);
        assert_eq!(location.store.get(&path).await.unwrap().bytes().await.unwrap(), "0123456789");
        assert_eq!(location.store.get_range(&path, 3..6).await.unwrap(), "345");
        let many = location.store.get_ranges(&path, &[0..1, 8..10]).await.unwrap();
        assert_eq!(many, ["0", "89"]);
        for behind in [20..24, 8..24] {
            location.store.get_ranges(&path, &[0..1, behind]).await.unwrap_err();
        }
        let missing = location.store.get(&location.path("y").unwrap()).await.unwrap_err();
        assert!(matches!(missing, object_store::Error::NotFound { .. }), "{missing}");
        for error in [
            location.store.put(&path, "x".into()).await.unwrap_err(),
            location.store.delete(&path).await.unwrap_err(),
            location.store.list_with_delimiter(None).await.unwrap_err(),
            location.store.list(None).try_collect::<Vec<_>>().await.unwrap_err(),
        ] {
            assert!(matches!(error, object_store::Error::NotSupported { .. }), "{error}");
        }
    }
}

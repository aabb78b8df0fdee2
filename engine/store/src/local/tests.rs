use std::sync::Arc;

use futures::TryStreamExt;
use object_store::integration as suite;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use tempfile::TempDir;

use super::power_cut::{Honest, PowerCutFs};
use super::*;

fn directory() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

fn root(path: &FsPath) -> Path {
    Path::from_absolute_path(path).unwrap()
}

fn store(path: &FsPath) -> PrefixStore<LocalStore> {
    PrefixStore::new(LocalStore::new(path).unwrap(), root(path))
}

#[tokio::test]
async fn conforms_to_the_object_store_suite() {
    let (_dir, path) = directory();
    let store = store(&path);
    suite::put_get_delete_list(&store).await;
    suite::stream_get(&store).await;
    suite::list_uses_directories_correctly(&store).await;
    suite::list_with_delimiter(&store).await;
    suite::rename_and_copy(&store).await;
    suite::copy_if_not_exists(&store).await;
    suite::copy_rename_nonexistent_object(&store).await;
    suite::multipart_race_condition(&store, true).await;
    suite::multipart_out_of_order(&store).await;
    suite::list_with_offset_exclusivity(&store).await;
    // These leave objects behind, which the others do not expect.
    suite::put_get_attributes(&store).await;
    suite::get_opts(&store).await;
    suite::put_opts(&store, false).await;
}

#[tokio::test]
async fn creates_the_directory_on_the_first_write_and_leaves_no_temporary_files() {
    let (_dir, path) = directory();
    let base = path.join("a/b");
    let local = LocalStore::new(&base).unwrap();
    assert!(local.list(Some(&root(&base))).try_collect::<Vec<_>>().await.unwrap().is_empty());
    let object = root(&base).join("x").join("y");
    local.put(&object, "hello".into()).await.unwrap();
    drop(local);
    assert_eq!(std::fs::read(base.join("x/y")).unwrap(), b"hello");
    assert_eq!(std::fs::read_dir(&base).unwrap().count(), 1, "tmp is gone");
}

#[tokio::test]
async fn refuses_to_write_outside_the_base() {
    let (_dir, path) = directory();
    let base = path.join("inside");
    std::fs::create_dir_all(&base).unwrap();
    std::fs::create_dir_all(path.join("outside")).unwrap();
    std::os::unix::fs::symlink(path.join("outside"), base.join("link")).unwrap();
    let local = LocalStore::new(&base).unwrap();
    for target in [root(&path).join("outside").join("x"), root(&base).join("link").join("x")] {
        let error = local.put(&target, "x".into()).await.unwrap_err();
        assert!(matches!(error, Error::PermissionDenied { .. }), "{error}");
    }
    assert_eq!(std::fs::read_dir(path.join("outside")).unwrap().count(), 0);
    assert!(Path::parse("a/../../etc/passwd").is_err());
}

#[tokio::test]
async fn a_failed_part_cannot_be_completed() {
    let (_dir, path) = directory();
    let local = LocalStore::new(&path).unwrap();
    let object = root(&path).join("x");
    let mut upload = local.put_multipart(&object).await.unwrap();
    drop(upload.put_part("never awaited".into()));
    assert!(upload.complete().await.is_err());
    assert!(matches!(local.head(&object).await, Err(Error::NotFound { .. })));
}

#[test]
fn a_full_disk_is_recognised_through_wrappers() {
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    let local = LocalError::io("write", FsPath::new("x"))(full);
    let store: Error = local.into();
    assert!(is_no_space(&store), "{store}");
    assert!(is_no_space(&std::io::Error::other(store)));
    assert!(!is_no_space(&std::io::Error::other("no such thing")));
}

/// Writes by every path, cuts the power, and says which of the written objects are still there, whole.
async fn survivors(honest: Honest) -> Vec<&'static str> {
    let (_dir, path) = directory();
    let fs = Arc::new(PowerCutFs::new(&path, honest));
    let base = path.join("new/repository");
    let local = LocalStore::with_fs(&base, Arc::clone(&fs) as Arc<dyn Fs>).unwrap();
    let at = |name: &str| Path::from(format!("{}/{name}", root(&base)));
    let body = PutPayload::from_static(b"content");
    local.put_opts(&at("deep/er/created"), body.clone(), PutMode::Create.into()).await.unwrap();
    local.put(&at("overwritten"), "old".into()).await.unwrap();
    local.put(&at("overwritten"), body.clone()).await.unwrap();
    let mut upload = local.put_multipart(&at("parts/multipart")).await.unwrap();
    upload.put_part(PutPayload::from_static(b"con")).await.unwrap();
    upload.put_part(PutPayload::from_static(b"tent")).await.unwrap();
    upload.complete().await.unwrap();
    local.copy(&at("overwritten"), &at("copies/copied")).await.unwrap();
    local.copy_if_not_exists(&at("overwritten"), &at("copies/copied_once")).await.unwrap();
    local.copy(&at("overwritten"), &at("renamed_from")).await.unwrap();
    local.rename(&at("renamed_from"), &at("elsewhere/renamed")).await.unwrap();
    fs.power_cut();
    let names = [
        "deep/er/created",
        "overwritten",
        "parts/multipart",
        "copies/copied",
        "copies/copied_once",
        "elsewhere/renamed",
    ];
    names.into_iter().filter(|n| std::fs::read(base.join(n)).is_ok_and(|b| b == b"content")).collect()
}

#[tokio::test]
async fn what_was_reported_survives_a_power_cut() {
    assert_eq!(survivors(Honest { files: true, dirs: true }).await.len(), 6);
}

#[tokio::test]
async fn the_power_cut_test_fails_without_syncs() {
    assert!(survivors(Honest { files: false, dirs: true }).await.is_empty());
    assert!(survivors(Honest { files: true, dirs: false }).await.is_empty());
}

#[tokio::test]
async fn an_object_found_by_create_is_durable_before_it_is_reported() {
    let (_dir, path) = directory();
    let fs = Arc::new(PowerCutFs::new(&path, Honest { files: true, dirs: true }));
    let local = LocalStore::with_fs(&path, Arc::clone(&fs) as Arc<dyn Fs>).unwrap();
    let at = root(&path).join("manifest");
    // A process that died between its link and its sync of the directory.
    let staged = local.write.stage().unwrap();
    staged.write_at(0, b"first").unwrap();
    let dead = path.join("dead");
    local.write.publish(staged, &dead, Publish::Create).unwrap();
    std::fs::hard_link(&dead, path.join("manifest")).unwrap();

    let error = local.put_opts(&at, "second".into(), PutMode::Create.into()).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    fs.power_cut();
    assert_eq!(std::fs::read(path.join("manifest")).unwrap(), b"first");
}

/// A file system on which another process removes the empty `tmp` whenever it is made, some times.
#[derive(Debug)]
struct Vanishing(std::sync::atomic::AtomicI32);

impl Fs for Vanishing {
    fn create_new(&self, path: &FsPath) -> std::io::Result<Box<dyn fs::FsFile>> {
        RealFs.create_new(path)
    }

    fn link(&self, from: &FsPath, to: &FsPath) -> std::io::Result<()> {
        RealFs.link(from, to)
    }

    fn rename(&self, from: &FsPath, to: &FsPath) -> std::io::Result<()> {
        RealFs.rename(from, to)
    }

    fn remove_file(&self, path: &FsPath) -> std::io::Result<()> {
        RealFs.remove_file(path)
    }

    fn create_dir(&self, path: &FsPath) -> std::io::Result<()> {
        RealFs.create_dir(path)?;
        if path.ends_with("tmp") && self.0.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) > 0 {
            RealFs.remove_dir(path)?;
        }
        Ok(())
    }

    fn remove_dir(&self, path: &FsPath) -> std::io::Result<()> {
        RealFs.remove_dir(path)
    }

    fn sync_dir(&self, path: &FsPath) -> std::io::Result<()> {
        RealFs.sync_dir(path)
    }

    fn sweep_stale(&self, dir: &FsPath) {
        RealFs.sweep_stale(dir);
    }
}

#[tokio::test]
async fn a_store_that_goes_removes_tmp_under_another_one() {
    let (_dir, path) = directory();
    let local = LocalStore::with_fs(&path, Arc::new(Vanishing(3.into()))).unwrap();
    local.put(&root(&path).join("x"), "x".into()).await.unwrap();
    let local = LocalStore::with_fs(path.join("other"), Arc::new(Vanishing(3.into()))).unwrap();
    local.put_multipart(&root(&path).join("other").join("y")).await.unwrap();
}

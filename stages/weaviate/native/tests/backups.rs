//! Backups of real servers hold what their REST API listed.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::support::{NEW, OLD, assert_same, fixture, json, listing};
use crate::weaviate::native::{Backup, Class, Compression, NativeError, Objects};

/// Compares a backup with the listing that belongs to it; `absent` are tenants that the server left out.
fn assert_complete(folder: &Path, name: &str, absent: &[&str]) -> Backup {
    let backup = Backup::open(&folder.join(name)).unwrap();
    let mut parts = name.split('-');
    let (set, state) = (parts.next().unwrap(), parts.next_back().unwrap());
    let mut expected = json(&folder.join(format!("expected-{set}-{state}.json")));
    for tenant in absent {
        expected.as_object_mut().unwrap().remove(*tenant).unwrap();
    }
    let found = listing(&backup).unwrap();
    for (key, objects) in &found {
        assert_same(&format!("{name} {key}"), objects, &expected[key]);
        // The newer server was told to leave the name of the class out.
        let class = if backup.server_version == OLD { key.split('/').next().unwrap() } else { "" };
        assert!(objects.iter().all(|object| object.class == class), "{name} {key}");
    }
    let mut keys: Vec<_> = found.into_iter().map(|(key, _)| key).collect();
    keys.sort();
    let mut wanted: Vec<_> = expected.as_object().unwrap().keys().cloned().collect();
    wanted.sort();
    assert_eq!(keys, wanted, "{name}");
    backup
}

fn class<'a>(backup: &'a Backup, name: &str) -> &'a Class {
    backup.class(name).unwrap()
}

#[test]
fn every_type_of_value_comes_back_from_each_compression() {
    let folder = fixture(NEW, "values");
    for (name, compression) in [
        ("values-gzip-1", Compression::Gzip),
        ("values-zstd-2", Compression::Zstd),
        ("values-none-2", Compression::None),
    ] {
        let backup = assert_complete(folder.path(), name, &[]);
        assert_eq!(backup.compression, compression);
        assert_eq!((backup.id.as_str(), backup.server_version.as_str()), (name, NEW));
        assert_eq!((backup.base, backup.nodes), (None, vec!["node1".to_owned()]));
        assert!(backup.started_at < backup.completed_at);
    }
}

#[test]
fn the_oldest_server_is_read() {
    let backup = assert_complete(fixture(OLD, "values").path(), "values-gzip-2", &[]);
    assert_eq!(backup.server_version, OLD);
    assert_complete(fixture(OLD, "files").path(), "files-gzip-2", &["Tenants/cold", "Tenants/asleep"]);
}

#[test]
fn split_files_logs_and_increments_are_put_together() {
    let folder = fixture(NEW, "files");
    assert_complete(folder.path(), "files-zstd-1", &[]);
    let backup = assert_complete(folder.path(), "files-zstd-2", &[]);
    assert_eq!(backup.base.as_deref(), Some("files-zstd-1"));
}

#[test]
fn definitions_and_aliases_are_there() {
    let folder = fixture(NEW, "values");
    let backup = Backup::open(&folder.path().join("values-none-2")).unwrap();
    let all = class(&backup, "All");
    assert_eq!(all.aliases, ["Aaa", "Everything"]);
    let schema: Value = serde_json::from_str(&all.schema).unwrap();
    assert_eq!((schema["class"].as_str(), schema["description"].as_str()), (Some("All"), Some("all types")));
    let state: Value = serde_json::from_str(&all.sharding_state).unwrap();
    assert_eq!(state["physical"].as_object().unwrap().len(), 1);
    assert!(!all.tenants);
    assert_eq!(
        (all.shards[0].status.as_deref(), all.shards[0].nodes.as_slice()),
        (None, ["node1".to_owned()].as_slice())
    );
}

#[test]
fn inactive_tenants_say_whether_their_data_is_there() {
    for (version, name, with_data) in [(NEW, "files-zstd-2", true), (OLD, "files-gzip-2", false)] {
        let folder = fixture(version, "files");
        let backup = Backup::open(&folder.path().join(name)).unwrap();
        let tenants = class(&backup, "Tenants");
        assert!(tenants.tenants);
        let found: Vec<_> = tenants
            .shards
            .iter()
            .map(|shard| (shard.name.as_str(), shard.status.as_deref().unwrap(), !shard.nodes.is_empty()))
            .collect();
        let expected =
            [("asleep", "COLD", with_data), ("cold", "COLD", with_data), ("hot", "HOT", true), ("never", "HOT", true)];
        assert_eq!(found, expected, "{version}");
        let read = backup.objects("Tenants", "cold", folder.path());
        assert_eq!(read.is_ok(), with_data);
        if let Err(error) = read {
            assert_eq!(error.to_string(), r#"the backup holds no data of "cold" of class "Tenants" (status COLD)"#);
        }
    }
}

#[test]
fn shards_that_share_a_chunk_are_grouped() {
    let groups = |version: &str, name: &str, class: &str| {
        let folder = fixture(version, "files");
        let backup = Backup::open(&folder.path().join(name)).unwrap();
        let groups = backup.class(class).unwrap().groups();
        groups.iter().map(|group| format!("{} {}", group.node, group.shards.join(" "))).collect::<Vec<_>>()
    };
    assert_eq!(groups(OLD, "files-gzip-2", "Tenants"), ["node1 hot never"]);
    assert_eq!(groups(OLD, "files-gzip-2", "Sharded").len(), 1);
    let apart = ["node1 asleep", "node1 cold", "node1 hot", "node1 never"];
    assert_eq!(groups(NEW, "files-zstd-2", "Tenants"), apart);
}

#[test]
fn what_is_not_there_is_named() {
    let folder = fixture(NEW, "files");
    let backup = Backup::open(&folder.path().join("files-zstd-2")).unwrap();
    let message = |class: &str, shards: &[&str], node| {
        backup.extract(class, shards, node, folder.path()).unwrap_err().to_string()
    };
    assert_eq!(message("Nothing", &["a"], None), r#"class "Nothing" is not in the backup"#);
    assert_eq!(message("Tenants", &["a"], None), r#"class "Tenants" has no shard or tenant "a" in the backup"#);
    assert_eq!(
        message("Tenants", &["hot"], Some("node7")),
        r#"the backup holds no data of "hot" of class "Tenants" on node "node7""#
    );
    let extracted = backup.extract("Tenants", &["hot"], Some("node1"), folder.path()).unwrap();
    assert!(matches!(extracted.objects("cold"), Err(NativeError::NotExtracted { .. })));
}

#[test]
fn the_work_folder_lives_as_long_as_a_reader() {
    fn is_send<T: Send + 'static>(_: &T) {}
    let folder = fixture(NEW, "files");
    let work = TempDir::new().unwrap();
    let count = || fs::read_dir(work.path()).unwrap().count();
    let backup = Backup::open(&folder.path().join("files-zstd-2")).unwrap();
    let objects: Objects = backup.objects("Tenants", "hot", work.path()).unwrap();
    is_send(&objects);
    assert_eq!(count(), 1);
    #[cfg(unix)]
    for entry in fs::read_dir(work.path()).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        let folder = entry.unwrap();
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        for file in fs::read_dir(folder.path()).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
    assert_eq!(objects.count(), 7);
    assert_eq!(count(), 0);
    backup.objects("Tenants", "hot", &work.path().join("not there")).unwrap_err();
}

#[test]
fn an_increment_without_its_base_names_it() {
    let folder = fixture(NEW, "files");
    fs::remove_dir_all(folder.path().join("files-zstd-1")).unwrap();
    let error = Backup::open(&folder.path().join("files-zstd-2")).unwrap_err();
    let NativeError::NoBase { id, base, .. } = error else { panic!("{error}") };
    assert_eq!((id.as_str(), base.as_str()), ("files-zstd-2", "files-zstd-1"));
}

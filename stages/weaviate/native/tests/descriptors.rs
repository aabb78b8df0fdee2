//! Descriptors that must be refused.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::support::{NEW, edit, fixture, json};
use crate::weaviate::native::{Backup, NativeError};

/// What opening a backup says after a change to one of its descriptors.
fn refusal(file: &str, change: impl Fn(&mut Value)) -> String {
    let folder = fixture(NEW, "files");
    let backup = folder.path().join("files-zstd-2");
    edit(&backup.join(file), change);
    let message = Backup::open(&backup).unwrap_err().to_string();
    message.replace(&*folder.path().to_string_lossy(), "")
}

const GLOBAL: &str = "backup_config.json";
const NODE: &str = "node1/backup.json";

#[test]
fn only_successful_backups_are_read() {
    assert_eq!(
        refusal(GLOBAL, |value| value["status"] = "TRANSFERRING".into()),
        r#"the backup at "/files-zstd-2/backup_config.json" has status TRANSFERRING, not SUCCESS"#
    );
    assert_eq!(
        refusal(GLOBAL, |value| {
            value["nodes"]["node1"]["status"] = "FAILED".into();
            value["nodes"]["node1"]["error"] = "no space".into();
        }),
        r#"the backup at "/files-zstd-2/backup_config.json" has status FAILED, not SUCCESS: no space"#
    );
    assert_eq!(
        refusal(NODE, |value| value["status"] = "CANCELED".into()),
        r#"the backup at "/files-zstd-2/node1/backup.json" has status CANCELED, not SUCCESS"#
    );
    let base = refusal("../files-zstd-1/backup_config.json", |value| value["status"] = "FAILED".into());
    assert_eq!(base, r#"the backup at "/files-zstd-1/backup_config.json" has status FAILED, not SUCCESS"#);
}

#[test]
fn other_formats_are_refused() {
    for version in ["1.0", "3.0", "", "20.1"] {
        let expected = format!("has format {version:?}; 2.x is supported");
        assert!(refusal(GLOBAL, |value| value["version"] = version.into()).contains(&expected));
    }
    let unknown = refusal(GLOBAL, |value| value["compressionType"] = "lzma".into());
    assert!(unknown.ends_with(r#"compression "lzma" is neither zstd, gzip nor none"#), "{unknown}");
    let old = refusal(NODE, |value| {
        let shard = json!({ "name": "s1", "files": ["pets_s1_lsm/objects/segment-1.db"] });
        value["classes"].as_array_mut().unwrap().push(json!({ "name": "Pets", "shards": [shard] }));
    });
    assert!(old.starts_with(r#"the files of "s1" of class "Pets" are laid out as before Weaviate 1.23"#), "{old}");
}

#[test]
fn folders_that_hold_no_backup_are_told_apart() {
    let folder = fixture(NEW, "files");
    let open = |path: &Path| Backup::open(path).unwrap_err();
    assert!(matches!(open(folder.path()), NativeError::NotABackup { .. }));
    assert!(matches!(open(&folder.path().join("absent")), NativeError::NotABackup { .. }));
    let node = folder.path().join("files-zstd-1/node1");
    assert!(matches!(open(&node), NativeError::SingleNode { .. }));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["..", "a/b", "", "a\\b"] {
        let class = refusal(NODE, |value| {
            let mut class = value["classes"][0].clone();
            class["name"] = name.into();
            value["classes"].as_array_mut().unwrap().push(class);
        });
        assert!(class.ends_with(&format!("{name:?} cannot be the name of a class")), "{class}");
        let node = refusal(GLOBAL, |value| value["nodes"] = json!({ name: value["nodes"]["node1"] }));
        assert!(node.ends_with(&format!("{name:?} cannot be the name of a node")), "{node}");
    }
    let (files, file) = base_file();
    let base = refusal(NODE, |value| {
        let files = value.pointer_mut(&files).unwrap();
        *files = json!({ "../x": files["files-zstd-1"] });
    });
    assert!(base.ends_with(r#""../x" cannot be the id of a base backup"#), "{base}");
    let key = refusal(NODE, |value| {
        value.pointer_mut(&file).unwrap()["chunkKeys"][0] = "Big/../../chunk-1".into();
    });
    assert!(key.ends_with(r#""Big/../../chunk-1" cannot be the key of a chunk"#), "{key}");
}

/// Where the descriptor names the files in the base backup of a shard, and a file of objects among them.
fn base_file() -> (String, String) {
    let folder = fixture(NEW, "files");
    let node = json(&folder.path().join("files-zstd-2").join(NODE));
    for (class, found) in node["classes"].as_array().unwrap().iter().enumerate() {
        for (shard, found) in found["shards"].as_array().unwrap().iter().enumerate() {
            let files = found["incrementalBackupInfo"]["filesPerBackup"]["files-zstd-1"].as_array();
            let is_objects = |file: &Value| file["file"].as_str().unwrap().contains("/objects/segment-");
            if let Some(at) = files.and_then(|files| files.iter().position(is_objects)) {
                let files = format!("/classes/{class}/shards/{shard}/incrementalBackupInfo/filesPerBackup");
                return (files.clone(), format!("{files}/files-zstd-1/{at}"));
            }
        }
    }
    panic!("no increment in the fixture");
}

#[test]
fn missing_parts_of_a_class_are_named() {
    for (field, value) in
        [("schema", Value::Null), ("shardingState", "".into()), ("schema", "=".into()), ("schema", "e30x".into())]
    {
        let message = refusal(NODE, |node| node["classes"][0][field] = value.clone());
        assert!(message.contains(&format!("{field} of class ")), "{message}");
    }
    let gone = refusal(NODE, |value| drop(value["classes"].as_array_mut().unwrap().pop()));
    assert!(gone.contains("is missing"), "{gone}");
}

#[test]
fn a_node_may_have_nothing() {
    let folder = fixture(NEW, "files");
    let backup = folder.path().join("files-zstd-1");
    let add = |classes: Value| {
        edit(&backup.join(GLOBAL), |value| {
            value["nodes"]["node0"] = json!({ "classes": classes, "status": "SUCCESS", "error": "" });
        });
    };
    add(Value::Null);
    let found = Backup::open(&backup).unwrap();
    assert_eq!((found.nodes.len(), found.classes.len()), (2, 4));
    add(json!(["Big"]));
    assert!(matches!(Backup::open(&backup), Err(NativeError::Descriptor { .. })));
    fs::create_dir(backup.join("node0")).unwrap();
    fs::copy(backup.join(NODE), backup.join("node0/backup.json")).unwrap();
    let found = Backup::open(&backup).unwrap();
    let big = found.class("Big").unwrap();
    assert_eq!(big.shards[0].nodes, ["node0", "node1"]);
    let groups = big.groups();
    assert_eq!((groups.len(), groups[0].node), (1, "node0"), "replicas are read once");
}

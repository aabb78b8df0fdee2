//! Backups whose chunks are not what the descriptor says.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::{NEW, edit, entry, fixture, listing, segment, stored};
use super::tars::{archive, file};
use crate::weaviate::native::{Backup, NativeError, Object, Result};

const NAME: &str = "pets/s1/lsm/objects/segment-1.db";

/// A backup of one class with one shard, and these chunks. Its only file is [`NAME`] unless `change` says otherwise.
fn backup(chunks: &[Vec<u8>], change: impl Fn(&mut Value)) -> TempDir {
    let folder = TempDir::new().unwrap();
    let node = folder.path().join("node1");
    fs::create_dir_all(node.join("Pets")).unwrap();
    let common = json!({ "id": "b", "status": "SUCCESS", "version": "2.1", "serverVersion": "1.39.2", "compressionType": "none" });
    let with = |more: Value| {
        let mut value = common.clone();
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        value.to_string()
    };
    let nodes = json!({ "nodes": { "node1": { "classes": ["Pets"], "status": "SUCCESS" } } });
    fs::write(folder.path().join("backup_config.json"), with(nodes)).unwrap();
    let numbers: serde_json::Map<_, _> = (1..=chunks.len()).map(|n| (n.to_string(), json!(["s1"]))).collect();
    let class = json!({ "name": "Pets", "schema": "e30=", "shardingState": "e30=", "chunks": numbers,
        "shards": [{ "name": "s1", "node": "node1", "files": [NAME] }] });
    fs::write(node.join("backup.json"), with(json!({ "classes": [class] }))).unwrap();
    edit(&node.join("backup.json"), |value| change(&mut value["classes"][0]));
    for (number, chunk) in chunks.iter().enumerate() {
        fs::write(node.join(format!("Pets/chunk-{}", number + 1)), chunk).unwrap();
    }
    folder
}

fn content() -> Vec<u8> {
    segment(&[entry([1; 16], Some(&stored([1; 16], 5, "{}")), 1), entry([2; 16], None, 1)], 1)
}

fn read(folder: &Path) -> Result<Vec<Object>> {
    Ok(listing(&Backup::open(folder)?)?.into_iter().flat_map(|(_, objects)| objects).collect())
}

/// What reading says, without the folder.
fn message(folder: &TempDir) -> String {
    read(folder.path()).unwrap_err().to_string().replace(&*folder.path().to_string_lossy(), "")
}

fn part(start: usize, end: usize) -> Vec<u8> {
    file(NAME, &[("WEAVIATE.fileOffset", &start.to_string())], &content()[start..end])
}

#[test]
fn parts_come_in_any_order() {
    let end = content().len();
    let chunks = [archive(&[part(90, end)]), archive(&[part(0, 40)]), archive(&[part(40, 90)])];
    assert_eq!(read(backup(&chunks, |_| {}).path()).unwrap().len(), 1);
    let sized = |size: usize| {
        backup(&chunks, move |class| {
            class["shards"][0]["bigFilesChunk"] = json!({ NAME: { "chunkKeys": [], "size": size } });
        })
    };
    assert_eq!(read(sized(end).path()).unwrap().len(), 1);
    let expected = format!("{NAME:?} is damaged at byte {end}: the file ends here, and should have {} bytes", end + 1);
    assert_eq!(message(&sized(end + 1)), expected);
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let end = content().len();
    let gap = backup(&[archive(&[part(0, 40), part(50, end)])], |_| {});
    assert_eq!(message(&gap), format!("{NAME:?} is damaged at byte 40: the part up to byte 50 is missing"));
    let expected = format!(r#""/node1/Pets/chunk-1" is damaged at byte 3072: {NAME:?} is in the backup twice"#);
    assert_eq!(message(&backup(&[archive(&[part(0, 40), part(30, end)])], |_| {})), expected);
    let twice = backup(&[archive(&[file(NAME, &[], &content())]), archive(&[file(NAME, &[], &content())])], |_| {});
    assert!(message(&twice).ends_with("is in the backup twice"));
    let far = file(NAME, &[("WEAVIATE.fileOffset", "9223372036854775807")], b"x");
    assert!(message(&backup(&[archive(&[far])], |_| {})).contains("begins at byte 9223372036854775807"));
}

#[test]
fn what_is_listed_must_be_there() {
    let absent = backup(&[archive(&[])], |_| {});
    let expected = format!(r#"{NAME:?} is listed by "/node1/backup.json", and is in none of its chunks"#);
    assert_eq!(message(&absent), expected);
    let chunk = backup(&[], |class| class["chunks"] = json!({ "4": ["s1"] }));
    assert!(message(&chunk).starts_with(r#"cannot read "/node1/Pets/chunk-4": "#));
}

#[test]
fn other_files_are_passed_over() {
    let junk = [
        "pets/s1/lsm/property_a/segment-1.db",
        "pets/s1/lsm/objects/segment-1.bloom",
        "pets/s2/lsm/objects/segment-1.db",
        "pets/s1/lsm/objects/segment_edit_ops.db.bolt",
        "../../pets/s1/lsm/objects/segment-1.db",
        "dogs/s1/lsm/objects/segment-1.db",
        "pets/s1/lsm/objects/sub/segment-1.db",
        "pets/s1/main.hnsw.commitlog.d/1",
    ];
    let mut files: Vec<_> = junk.iter().map(|name| file(name, &[], b"junk")).collect();
    files.push(file(NAME, &[], &content()));
    assert_eq!(read(backup(&[archive(&files)], |_| {}).path()).unwrap().len(), 1);
    // What the descriptor does not list is data all the same.
    let unlisted = file("pets/s1/lsm/objects/segment-2.db", &[], b"junk");
    let folder = backup(&[archive(&[file(NAME, &[], &content()), unlisted])], |_| {});
    assert!(message(&folder).starts_with(r#""pets/s1/lsm/objects/segment-2.db" is damaged"#));
}

#[test]
fn the_compression_must_be_the_one_that_is_named() {
    let folder = backup(&[archive(&[file(NAME, &[], &content())])], |_| {});
    edit(&folder.path().join("node1/backup.json"), |value| value["compressionType"] = "gzip".into());
    let expected = r#""/node1/Pets/chunk-1" is damaged at byte 0: it is uncompressed, and the backup says gzip"#;
    assert_eq!(message(&folder), expected);
}

/// The chunks of a real backup that hold objects of `class`.
fn chunks(folder: &Path, class: &str) -> Vec<PathBuf> {
    fs::read_dir(folder.join("node1").join(class)).unwrap().map(|chunk| chunk.unwrap().path()).collect()
}

#[test]
fn damage_of_a_compressed_chunk_is_found() {
    for (name, class) in [("values-gzip-1", "All"), ("values-zstd-2", "Named")] {
        let folder = fixture(NEW, "values");
        let backup = folder.path().join(name);
        let path = chunks(&backup, class).into_iter().find(|path| path.ends_with("chunk-1")).unwrap();
        let (whole, objects) = (fs::read(&path).unwrap(), read(&backup).unwrap());
        let mut refused = 0;
        for damage in 0..40 {
            let mut bytes = whole.clone();
            // The first bytes of gzip hold a time and a system that nothing depends on.
            let at = 12 + damage * (bytes.len() - 12) / 40;
            if damage % 2 == 0 {
                bytes.truncate(at);
            } else {
                bytes[at] ^= 0x10;
            }
            fs::write(&path, bytes).unwrap();
            match read(&backup) {
                Err(NativeError::Damaged { .. }) => refused += 1,
                // A few bits of a compressed stream mean nothing.
                found => assert_eq!(found.unwrap(), objects, "{name}, byte {at}"),
            }
        }
        assert!(refused >= 38, "{name}: {refused}");
    }
}

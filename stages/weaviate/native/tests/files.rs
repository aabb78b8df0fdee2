//! Segments and write-ahead logs, whole and damaged.

use std::fs;

use super::support::{Bucket, NEW, OLD, assert_same, entry, fixture, json, log, segment, stored};
use crate::weaviate::native::error::NativeError;
use crate::weaviate::native::objects_file::Kind;
use crate::weaviate::native::{Backup, Object, Result};

const A: [u8; 16] = [1; 16];
const B: [u8; 16] = [2; 16];
const C: [u8; 16] = [3; 16];

fn entries() -> Vec<Vec<u8>> {
    let value = |id, properties| stored(id, 5, properties);
    let deletion = [1, 9, 0, 0, 0, 0, 0, 0, 0];
    let mut deleted = entry(B, Some(&deletion), 1);
    deleted[0] = 1;
    vec![entry(A, Some(&value(A, "{\"a\":1}")), 1), deleted, entry(C, Some(&value(C, "{}")), 1)]
}

/// What a single file says.
fn read(name: &str, content: &[u8]) -> Result<Vec<Object>> {
    let mut bucket = Bucket::new();
    bucket.put(name, content);
    bucket.read()
}

fn ids(objects: &[Object]) -> Vec<[u8; 16]> {
    objects.iter().map(|object| object.id).collect()
}

#[test]
fn a_log_that_a_server_had_open_is_read() {
    let folder = fixture(OLD, "wal");
    let path = fs::read_dir(folder.path().join("wal")).unwrap().next().unwrap().unwrap();
    let content = fs::read(path.path()).unwrap();
    let found = read("segment-1.wal", &content).unwrap();
    assert_same("log", &found, &json(&folder.path().join("expected-wal.json")));
    // The same as an older server would have written it.
    let mut old = Vec::new();
    let mut rest = content.as_slice();
    while let Some((head, after)) = rest.split_first_chunk::<6>() {
        let length = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
        old.extend([&[0, 0], &after[..length]].concat());
        rest = &after[length + 4..];
    }
    assert_eq!(read("segment-1.wal", &old).unwrap(), found);
    // Cut anywhere, a log gives what is whole, and never fails.
    for content in [&content, &old] {
        let mut least = 0;
        for length in (0..content.len()).step_by(5) {
            let found = read("segment-1.wal", &content[..length]).unwrap().len();
            // Two objects are deleted, one of them written again.
            assert!(found + 2 >= least, "{length}");
            least = least.max(found);
        }
    }
}

#[test]
fn segments_with_and_without_checksums_are_in_the_fixture() {
    for (version, name, expected) in [(NEW, "files-zstd-1", 1), (NEW, "values-none-2", 0), (OLD, "values-gzip-2", 0)] {
        let folder = fixture(version, name.split_once('-').unwrap().0);
        let backup = Backup::open(&folder.path().join(name)).unwrap();
        let class = backup.classes.iter().find(|class| matches!(class.name.as_str(), "Big" | "Named")).unwrap();
        let shard = &class.shards[0].name;
        let extracted = backup.extract(&class.name, &[shard], None, folder.path()).unwrap();
        for file in extracted.files(shard).iter().filter(|file| file.kind == Kind::Segment) {
            let content = fs::read(&file.path).unwrap();
            assert_eq!(u16::from_le_bytes([content[2], content[3]]), expected, "{name} {}", file.name);
        }
    }
}

#[test]
fn any_change_of_a_checked_segment_is_found() {
    let content = segment(&entries(), 1);
    let whole = read("segment-1.db", &content).unwrap();
    assert_eq!(ids(&whole), [A, C]);
    for at in 0..content.len() {
        for bit in 0..8 {
            let mut damaged = content.clone();
            damaged[at] ^= 1 << bit;
            match read("segment-1.db", &damaged) {
                Err(NativeError::Damaged { file, .. }) => assert_eq!(file, "c/s/lsm/objects/segment-1.db"),
                // Without its version the checksum is not looked at, and all else is as it was.
                Ok(found) if (at, bit) == (2, 0) => assert_eq!(found, whole),
                other => panic!("byte {at}, bit {bit}: {other:?}"),
            }
        }
        assert!(read("segment-1.db", &content[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn segments_that_no_server_writes_are_refused() {
    let reason = |content: &[u8]| read("segment-1.db", content).unwrap_err().to_string();
    let mut unsorted = entries();
    unsorted.swap(0, 2);
    assert!(reason(&segment(&unsorted, 1)).ends_with("the ids are not sorted"));
    let twice = [entries(), entries()].concat();
    assert!(reason(&segment(&twice, 1)).ends_with("the ids are not sorted"));
    let wrong_count = reason(&segment(&entries(), 2));
    assert!(wrong_count.contains("damaged at byte"), "{wrong_count}");
    let other = entry(A, Some(&stored(B, 5, "{}")), 1);
    assert_eq!(
        reason(&segment(&[other], 1)),
        r#""c/s/lsm/objects/segment-1.db" is damaged at byte 25: the object has another id than its entry"#
    );
    let mut strategy = segment(&entries(), 1);
    strategy[6] = 2;
    assert!(reason(&strategy).ends_with("damaged at byte 6: its strategy is 2, and objects have 0"));
    let mut version = segment(&entries(), 1);
    version[2] = 9;
    assert!(reason(&version).ends_with("damaged at byte 2: version 9 of segments is not known"));
}

#[test]
fn a_log_that_is_cut_short_gives_what_is_whole() {
    let all = entries();
    let content = log(&all);
    let ends: Vec<usize> = (0..=all.len()).map(|count| log(&all[..count]).len()).collect();
    for length in 0..=content.len() {
        let whole = ends.iter().filter(|end| **end <= length).count() - 1;
        let expected: &[[u8; 16]] = [&[], &[A] as &[_], &[A], &[A, C]][whole];
        assert_eq!(ids(&read("segment-1.wal", &content[..length]).unwrap()), expected, "{length}");
        // Some file systems leave zeros where the rest should be.
        let zeros = [&content[..ends[whole]], &[0; 700]].concat();
        assert_eq!(ids(&read("segment-1.wal", &zeros).unwrap()), expected, "{length}");
    }
}

#[test]
fn any_change_of_a_log_is_found() {
    let content = log(&entries());
    for at in 0..content.len() {
        for bit in 0..8 {
            let mut damaged = content.clone();
            damaged[at] ^= 1 << bit;
            let found = read("segment-1.wal", &damaged);
            assert!(matches!(found, Err(NativeError::Damaged { .. })), "byte {at}, bit {bit}: {found:?}");
        }
    }
}

#[test]
fn logs_have_any_number_of_secondary_keys() {
    for keys in 0..3 {
        let written: Vec<_> = [A, B].into_iter().map(|id| entry(id, Some(&stored(id, 1, "{}")), keys)).collect();
        assert_eq!(ids(&read("segment-1.wal", &log(&written)).unwrap()), [A, B], "{keys} of version 1");
        let old: Vec<u8> = written.iter().flat_map(|entry| [&[0, 0], entry.as_slice()].concat()).collect();
        assert_eq!(ids(&read("segment-1.wal", &old).unwrap()), [A, B], "{keys} of version 0");
    }
}

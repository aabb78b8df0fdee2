//! What the tests share: fixtures, comparison with what REST listed, and writers of the formats.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use flate2::Crc;
use flate2::read::GzDecoder;
use serde_json::Value;
use tempfile::TempDir;

use crate::weaviate::native::objects_file::{Kind, ObjectsFile};
use crate::weaviate::native::tar::Tar;
use crate::weaviate::native::work::WorkFolder;
use crate::weaviate::native::{Backup, Object, Objects, Result};

pub(super) const NEW: &str = "1.39.2";
pub(super) const OLD: &str = "1.27.27";

/// What a server of this version made, as far as it belongs to `set`: "values", "files" or "wal".
pub(super) fn fixture(version: &str, set: &str) -> TempDir {
    let packed: &[u8] = match version {
        NEW => include_bytes!("../testdata/1.39.2.tar.gz"),
        OLD => include_bytes!("../testdata/1.27.27.tar.gz"),
        other => panic!("no fixture {other}"),
    };
    let folder = TempDir::new().unwrap();
    let mut tar = Tar::new(GzDecoder::new(packed), version.to_owned());
    while let Some(entry) = tar.next().unwrap() {
        if !entry.name.trim_start_matches("expected-").starts_with(set) {
            continue;
        }
        let path = folder.path().join(&entry.name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::io::copy(&mut tar, &mut fs::File::create(path).unwrap()).unwrap();
    }
    folder
}

pub(super) fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Changes a descriptor.
pub(super) fn edit(path: &Path, change: impl Fn(&mut Value)) {
    let mut value = json(path);
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// All objects of a backup as REST would list them, by class or by class and tenant.
pub(super) fn listing(backup: &Backup) -> Result<Vec<(String, Vec<Object>)>> {
    let work = TempDir::new().unwrap();
    let mut found = Vec::new();
    for class in &backup.classes {
        let mut objects = Vec::new();
        for group in class.groups() {
            let extracted = backup.extract(&class.name, &group.shards, Some(group.node), work.path())?;
            for shard in group.shards {
                let of_shard = extracted.objects(shard)?.collect::<Result<Vec<_>>>()?;
                assert!(of_shard.is_sorted_by(|left, right| left.id < right.id));
                if class.tenants {
                    found.push((format!("{}/{shard}", class.name), of_shard));
                } else {
                    objects.extend(of_shard);
                }
            }
        }
        if !class.tenants {
            objects.sort_by_key(|object| object.id);
            found.push((class.name.clone(), objects));
        }
    }
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 0, "the work folder is empty again");
    Ok(found)
}

/// The id as text.
pub(super) fn uuid(id: [u8; 16]) -> String {
    let hex = HEXLOWER.encode(&id);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Compares with a listing of REST.
pub(super) fn assert_same(what: &str, found: &[Object], expected: &Value) {
    let expected = expected.as_array().unwrap();
    let ids = |object: &Object| uuid(object.id);
    let wanted: Vec<_> = expected.iter().map(|object| object["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(found.iter().map(ids).collect::<Vec<_>>(), wanted, "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let what = format!("{what} {}", uuid(found.id));
        assert_eq!(found.created_ms, expected["creationTimeUnix"].as_i64().unwrap(), "{what}");
        assert_eq!(found.updated_ms, expected["lastUpdateTimeUnix"].as_i64().unwrap(), "{what}");
        assert_eq!(found.vector.as_ref(), floats(&expected["vector"]).as_ref(), "{what}");
        assert_vectors(&what, found, &expected["vectors"]);
        let properties: Value = serde_json::from_str(&found.properties).unwrap();
        assert!(is_same(&properties, &expected["properties"]), "{what}: {properties} {}", expected["properties"]);
        assert_eq!((&found.additional, &found.vector_weights), (&None, &None), "{what}");
    }
}

fn assert_vectors(what: &str, found: &Object, expected: &Value) {
    let mut names: Vec<_> = found.vectors.keys().chain(found.multi_vectors.keys()).collect();
    names.sort();
    let mut wanted: Vec<_> = expected.as_object().map(|map| map.keys().collect()).unwrap_or_default();
    wanted.sort();
    assert_eq!(names, wanted, "{what}");
    for (name, vector) in &found.vectors {
        assert_eq!(Some(vector), floats(&expected[name]).as_ref(), "{what} {name}");
    }
    for (name, vectors) in &found.multi_vectors {
        let wanted: Vec<_> = expected[name].as_array().unwrap().iter().map(|row| floats(row).unwrap()).collect();
        assert_eq!(vectors, &wanted, "{what} {name}");
    }
}

#[expect(clippy::cast_possible_truncation, reason = "REST prints the shortest text of an f32")]
fn floats(value: &Value) -> Option<Vec<f32>> {
    value.as_array().map(|row| row.iter().map(|float| float.as_f64().unwrap() as f32).collect())
}

/// Equal as JSON, where 1 and 1.0 are the same.
fn is_same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, left)| right.get(key).is_some_and(|right| is_same(left, right)))
        }
        _ => left == right,
    }
}

/// Numbers that look random, the same at each run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap()
    }

    /// Flips, cuts, overwrites or repeats some bytes.
    pub(super) fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            let length = self.below(24).min(bytes.len() - at);
            match self.below(8) {
                0 => bytes.truncate(at),
                1 => bytes[at..at + length].fill(0),
                2 => bytes[at..at + length].fill(0xff),
                3 => drop(bytes.drain(at..at + length)),
                4 => bytes.extend_from_within(at..at + length),
                _ if bytes.is_empty() => {}
                _ => bytes[at] ^= 1 << self.below(8),
            }
        }
    }
}

/// A stored object without vectors.
pub(super) fn stored(id: [u8; 16], updated: i64, properties: &str) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend([0; 9]);
    bytes.extend(id);
    bytes.extend(1_i64.to_le_bytes());
    bytes.extend(updated.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(u32::try_from(properties.len()).unwrap().to_le_bytes());
    bytes.extend(properties.as_bytes());
    bytes
}

/// An entry of a segment or a log; `None` deletes.
pub(super) fn entry(id: [u8; 16], value: Option<&[u8]>, secondary_keys: usize) -> Vec<u8> {
    let mut bytes = vec![u8::from(value.is_none())];
    let value = value.unwrap_or_default();
    bytes.extend((value.len() as u64).to_le_bytes());
    bytes.extend(value);
    bytes.extend(16_u32.to_le_bytes());
    bytes.extend(id);
    for key in 0..secondary_keys {
        let length: u32 = if key == 0 { 8 } else { 0 };
        bytes.extend(length.to_le_bytes());
        bytes.extend(vec![7; length as usize]);
    }
    bytes
}

/// A segment of version 1 with these entries.
pub(super) fn segment(entries: &[Vec<u8>], secondary_keys: u16) -> Vec<u8> {
    let end = 16 + entries.iter().map(Vec::len).sum::<usize>();
    let mut header = vec![3, 0, 1, 0];
    header.extend(secondary_keys.to_le_bytes());
    header.extend([0, 0]);
    header.extend((end as u64).to_le_bytes());
    let mut content = entries.concat();
    content.extend(b"indexes");
    let mut sum = Crc::new();
    sum.update(&content);
    sum.update(&header);
    [header, content, sum.sum().to_be_bytes().to_vec()].concat()
}

/// A log of version 1 with these entries.
pub(super) fn log(entries: &[Vec<u8>]) -> Vec<u8> {
    let (mut bytes, mut sum) = (Vec::new(), Crc::new());
    for entry in entries {
        let length = u32::try_from(entry.len()).unwrap().to_le_bytes();
        let record = [&[0, 1], length.as_slice(), entry].concat();
        sum.update(&record);
        bytes.extend(record);
        bytes.extend(sum.sum().to_be_bytes());
    }
    bytes
}

/// Files of the objects of a shard, to be read without a backup around them.
pub(super) struct Bucket {
    folder: TempDir,
    work: Arc<WorkFolder>,
    files: Vec<ObjectsFile>,
}

impl Bucket {
    pub(super) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let work = Arc::new(WorkFolder::new(folder.path()).unwrap());
        Self { folder, work, files: Vec::new() }
    }

    /// Adds a file, or replaces it.
    pub(super) fn put(&mut self, name: &str, content: &[u8]) {
        let path: PathBuf = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        let file = ObjectsFile { name: format!("c/s/lsm/objects/{name}"), path, kind: Kind::of(name).unwrap() };
        self.files.retain(|known| known.name != file.name);
        self.files.push(file);
    }

    /// What the files say, together.
    pub(super) fn read(&self) -> Result<Vec<Object>> {
        Objects::open(&self.files, Arc::clone(&self.work))?.collect()
    }
}

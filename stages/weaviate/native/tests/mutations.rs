//! Whatever the bytes are, reading gives objects or an error: it does not panic.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::support::{Bucket, NEW, OLD, Random, edit, fixture, listing, log, segment};
use super::support::{entry, stored};
use crate::weaviate::native::chunk::{self, Compression};
use crate::weaviate::native::objects_file::Kind;
use crate::weaviate::native::tar::Tar;
use crate::weaviate::native::{Backup, Object, Result};

/// The files of a backup.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { found.extend(files(&entry)) } else { found.push(entry) }
    }
    found.sort();
    found
}

/// Unpacks all chunks, so that damage is not found by the compression.
fn uncompress(folder: &Path, compression: Compression) {
    for path in files(folder) {
        if path.extension().is_some_and(|extension| extension == "json") {
            edit(&path, |value| value["compressionType"] = "none".into());
        } else {
            let mut content = Vec::new();
            chunk::open(&path, compression).unwrap().read_to_end(&mut content).unwrap();
            fs::write(&path, content).unwrap();
        }
    }
}

fn read(folder: &Path) -> Result<usize> {
    Ok(listing(&Backup::open(folder)?)?.len())
}

#[test]
fn damaged_backups_never_panic() {
    let cases = [
        (NEW, "files-zstd-2", Compression::Zstd, true),
        (OLD, "files-gzip-2", Compression::Gzip, true),
        (NEW, "files-zstd-2", Compression::Zstd, false),
    ];
    for (version, name, compression, unpacked) in cases {
        let folder = fixture(version, "files");
        let backup = folder.path().join(name);
        if unpacked {
            uncompress(&backup, compression);
            let base = folder.path().join("files-zstd-1");
            if base.is_dir() {
                uncompress(&base, compression);
            }
        }
        read(&backup).unwrap();
        let files = files(&backup);
        let mut random = Random(17);
        let mut refused = 0;
        for _ in 0..80 {
            let path = &files[random.below(files.len())];
            let whole = fs::read(path).unwrap();
            let mut bytes = whole.clone();
            random.damage(&mut bytes);
            fs::write(path, bytes).unwrap();
            refused += usize::from(read(&backup).is_err());
            fs::write(path, whole).unwrap();
        }
        assert!(refused > 10, "{name}: damage is found, {refused} times");
    }
}

#[test]
fn damaged_files_of_objects_never_panic() {
    let mut contents = vec![("segment-1.db", segment(&samples(), 1)), ("segment-1.wal", log(&samples()))];
    for (set, backup, class) in [("files", "files-zstd-2", "Tenants"), ("values", "values-gzip-1", "Named")] {
        let folder = fixture(NEW, set);
        let backup = Backup::open(&folder.path().join(backup)).unwrap();
        let class = backup.class(class).unwrap();
        for shard in &class.shards {
            let extracted = backup.extract(&class.name, &[&shard.name], None, folder.path()).unwrap();
            for file in extracted.files(&shard.name) {
                let name = if file.kind == Kind::Wal { "segment-1.wal" } else { "segment-1.db" };
                contents.push((name, fs::read(&file.path).unwrap()));
            }
        }
    }
    let mut random = Random(23);
    for (name, content) in contents {
        let mut bucket = Bucket::new();
        for _ in 0..400 {
            let mut bytes = content.clone();
            random.damage(&mut bytes);
            bucket.put(name, &bytes);
            drop(bucket.read());
        }
    }
}

#[test]
fn damaged_archives_never_panic() {
    let folder = fixture(NEW, "files");
    let backup = folder.path().join("files-zstd-2");
    let chunks = files(&backup).into_iter().filter(|path| path.extension().is_none());
    let mut random = Random(29);
    for path in chunks {
        let mut content = Vec::new();
        chunk::open(&path, Compression::Zstd).unwrap().read_to_end(&mut content).unwrap();
        for _ in 0..100 {
            let mut bytes = content.clone();
            random.damage(&mut bytes);
            let mut tar = Tar::new(bytes.as_slice(), String::new());
            while let Ok(Some(_)) = tar.next() {}
        }
    }
}

#[test]
fn damaged_objects_never_panic() {
    let folder = fixture(NEW, "values");
    let backup = Backup::open(&folder.path().join("values-zstd-2")).unwrap();
    let mut values = Vec::new();
    for class in &backup.classes {
        let shard = &class.shards[0].name;
        let extracted = backup.extract(&class.name, &[shard], None, folder.path()).unwrap();
        values.extend(extracted.objects(shard).unwrap().stored().unwrap());
    }
    assert!(values.iter().all(|value| Object::decode(value).is_ok()));
    let mut random = Random(31);
    for _ in 0..40_000 {
        let mut bytes = values[random.below(values.len())].clone();
        random.damage(&mut bytes);
        drop(Object::decode(&bytes));
    }
}

fn samples() -> Vec<Vec<u8>> {
    (0..20).map(|id| entry([id; 16], (id % 3 > 0).then(|| stored([id; 16], 1, "{}")).as_deref(), 1)).collect()
}

//! A file system that loses what was not synced, for tests.
//!
//! It writes to a real directory, which reads see, and keeps beside it what a disk would hold: content as of the last
//! `sync` of each file, names as of the last `sync_dir` of each directory. [`PowerCutFs::power_cut`] makes the real
//! directory what the disk holds.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::fs::{Fs, FsFile, RealFs};

/// Which syncs do what they say. Tests switch one off to prove that they would notice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Honest {
    pub(crate) files: bool,
    pub(crate) dirs: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Dir,
    File(u64),
}

#[derive(Debug, Default)]
struct Disk {
    names: HashMap<PathBuf, BTreeMap<PathBuf, Node>>,
    content: HashMap<u64, Vec<u8>>,
}

#[derive(Debug)]
pub(crate) struct PowerCutFs {
    root: PathBuf,
    disk: Arc<Mutex<Disk>>,
    honest: Honest,
}

#[derive(Debug)]
struct Tracked {
    file: File,
    disk: Arc<Mutex<Disk>>,
    honest: bool,
}

impl PowerCutFs {
    /// A disk whose durable content is what `root` holds now: it must be an empty directory.
    pub(crate) fn new(root: &Path, honest: Honest) -> Self {
        Self { root: root.to_path_buf(), disk: Arc::default(), honest }
    }

    /// Makes the real directory what the disk holds.
    pub(crate) fn power_cut(&self) {
        for entry in std::fs::read_dir(&self.root).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
        }
        self.restore(&self.disk.lock().unwrap(), &self.root);
    }

    fn restore(&self, disk: &Disk, dir: &Path) {
        for (path, node) in disk.names.get(dir).into_iter().flatten() {
            match node {
                Node::Dir => {
                    std::fs::create_dir(path).unwrap();
                    self.restore(disk, path);
                }
                Node::File(inode) => {
                    std::fs::write(path, disk.content.get(inode).cloned().unwrap_or_default()).unwrap();
                }
            }
        }
    }
}

impl Fs for PowerCutFs {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let file = File::options().write(true).read(true).create_new(true).open(path)?;
        // An inode number may be used again after a removal: a new file holds nothing.
        self.disk.lock().unwrap().content.remove(&file.metadata()?.ino());
        Ok(Box::new(Tracked { file, disk: Arc::clone(&self.disk), honest: self.honest.files }))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFs.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFs.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealFs.remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealFs.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealFs.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if !self.honest.dirs || !path.starts_with(&self.root) {
            return Ok(());
        }
        let mut names = BTreeMap::new();
        for entry in std::fs::read_dir(path)? {
            let path = entry?.path();
            let meta = std::fs::metadata(&path)?;
            names.insert(path, if meta.is_dir() { Node::Dir } else { Node::File(meta.ino()) });
        }
        self.disk.lock().unwrap().names.insert(path.to_path_buf(), names);
        Ok(())
    }

    fn sweep_stale(&self, _dir: &Path) {}
}

impl FsFile for Tracked {
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn sync(&self) -> io::Result<()> {
        if self.honest {
            let meta = self.file.metadata()?;
            let mut content = vec![0; meta.len() as usize];
            self.file.read_exact_at(&mut content, 0)?;
            self.disk.lock().unwrap().content.insert(meta.ino(), content);
        }
        Ok(())
    }
}

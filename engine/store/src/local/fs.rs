//! The handful of file system calls that the write path makes, so that a test double can lose what was not synced.

use std::fmt::Debug;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// File name prefix of our temporary files. Listings leave such files out.
pub const TEMP_PREFIX: &str = ".restow-";

/// A temporary file whose writer is gone is removed when it is at least this old.
const STALE_AFTER: Duration = Duration::from_secs(3600);

/// A file system as the write path sees it. Each method is one system call, and nothing is durable before the sync that
/// belongs to it: `FsFile::sync` for content, `Fs::sync_dir` for names.
pub trait Fs: Debug + Send + Sync + 'static {
    /// Creates a file that must not exist, open for writing.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Gives a file a second name that must not exist: the create-if-absent of a local store.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames a file, replacing what is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Creates one directory, whose parent exists.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes temporary files that dead processes left in `dir`. Best effort.
    fn sweep_stale(&self, dir: &Path);
}

/// A file open for writing.
pub trait FsFile: Debug + Send + Sync {
    /// Writes all of `data` at `offset`, counted in bytes from the start of the file.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Makes the content durable.
    fn sync(&self) -> io::Result<()>;
}

/// The operating system's file system.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealFs;

#[derive(Debug)]
struct RealFile(Mutex<File>);

impl Fs for RealFs {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        // The lock tells `sweep_stale` of other processes that this writer lives. Where locks do not work the sweep
        // cannot take one either, and leaves the file.
        let _ = file.try_lock();
        Ok(Box::new(RealFile(Mutex::new(file))))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        match File::open(path)?.sync_all() {
            // Some network file systems make names durable at once and refuse to sync a directory.
            Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
            other => other,
        }
    }

    fn sweep_stale(&self, dir: &Path) {
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_str().is_some_and(|n| n.starts_with(TEMP_PREFIX)) {
                let _ = remove_if_stale(&entry.path());
            }
        }
    }
}

/// Removes a temporary file that is old and that no living process has locked.
fn remove_if_stale(path: &Path) -> io::Result<()> {
    let modified = std::fs::metadata(path)?.modified()?;
    if SystemTime::now().duration_since(modified).unwrap_or_default() < STALE_AFTER {
        return Ok(());
    }
    let file = File::open(path)?;
    match file.try_lock() {
        Ok(()) => std::fs::remove_file(path),
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

impl FsFile for RealFile {
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(data)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sync_all()
    }
}

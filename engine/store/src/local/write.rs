//! The durable write path: temporary file, write, sync, link or rename, sync of the directory and of new parents.
//!
//! Every function here blocks; [`super::LocalStore`] calls them on a blocking thread.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::LocalError;
use super::fs::{Fs, FsFile, TEMP_PREFIX};

/// How often a directory that vanishes is made again.
const VANISHING: usize = 16;

/// Whether publishing may replace an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publish {
    /// Fails where the name is taken: a hard link.
    Create,
    /// Replaces atomically: a rename.
    Overwrite,
}

/// Writes files below one directory so that what was reported as written survives a power cut.
#[derive(Debug)]
pub(super) struct DurableWriter {
    fs: Arc<dyn Fs>,
    base: PathBuf,
    /// Directories whose own name is known to be durable up to `base`, and that lie inside `base`.
    durable: Mutex<HashSet<PathBuf>>,
}

impl DurableWriter {
    pub(super) fn new(fs: Arc<dyn Fs>, base: PathBuf) -> Self {
        Self { fs, base, durable: Mutex::new(HashSet::new()) }
    }

    /// The directory of temporary files. It is on the same file system as the objects, so that links and renames work.
    pub(super) fn temp_dir(&self) -> PathBuf {
        self.base.join("tmp")
    }

    /// Opens a temporary file under a random name.
    pub(super) fn stage(&self) -> Result<Staged, LocalError> {
        let dir = self.temp_dir();
        let path = dir.join(format!("{TEMP_PREFIX}{}", uuid::Uuid::new_v4().simple()));
        // A store that is dropped removes an empty `tmp`, so it may vanish between the two calls.
        for _ in 0..VANISHING {
            match self.fs.create_new(&path) {
                Ok(file) => return Ok(Staged { fs: Arc::clone(&self.fs), file: Some(file), path }),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    self.ensure_dir(&dir, true)?;
                    self.fs.sweep_stale(&dir);
                }
                Err(e) => return Err(LocalError::io("create", &path)(e)),
            }
        }
        Err(LocalError::io("create", &path)(io::ErrorKind::NotFound.into()))
    }

    /// Syncs a staged file and gives it its name; returns when both are durable.
    pub(super) fn publish(&self, mut staged: Staged, target: &Path, mode: Publish) -> Result<(), LocalError> {
        staged.sync()?;
        let parent = parent_of(target)?;
        self.in_dir(parent, || match mode {
            Publish::Create => self.fs.link(&staged.path, target),
            Publish::Overwrite => self.fs.rename(&staged.path, target),
        })?
        .or_else(|e| self.explain_link(e, mode, parent, target))?;
        self.sync_dir(parent)?;
        if mode == Publish::Overwrite {
            staged.path.clear();
        }
        Ok(())
    }

    /// Gives an object a second name without copying it: nothing is ever changed in place.
    pub(super) fn copy(&self, from: &Path, to: &Path, mode: Publish) -> Result<(), LocalError> {
        let parent = parent_of(to)?;
        if mode == Publish::Create {
            self.in_dir(parent, || self.fs.link(from, to))?.or_else(|e| self.explain_link(e, mode, parent, to))?;
            return self.sync_dir(parent);
        }
        let dir = self.temp_dir();
        let temp = dir.join(format!("{TEMP_PREFIX}{}", uuid::Uuid::new_v4().simple()));
        self.ensure_dir(&dir, true)?;
        self.in_dir(&dir, || self.fs.link(from, &temp))?.map_err(LocalError::io("copy", from))?;
        self.rename(&temp, to).inspect_err(|_| {
            let _ = self.fs.remove_file(&temp);
        })
    }

    /// Renames, replacing what is there, and makes both directories durable.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), LocalError> {
        let parent = parent_of(to)?;
        self.in_dir(parent, || self.fs.rename(from, to))?.map_err(LocalError::io("rename to", to))?;
        self.sync_dir(parent)?;
        match parent_of(from)? {
            same if same == parent => Ok(()),
            temp if temp == self.temp_dir() => Ok(()),
            other => self.sync_dir(other),
        }
    }

    /// Removes an object, durably.
    pub(super) fn remove(&self, path: &Path) -> Result<(), LocalError> {
        self.fs.remove_file(path).map_err(LocalError::io("remove", path))?;
        self.sync_dir(parent_of(path)?)
    }

    /// Removes `tmp` where it is empty, so that an export leaves nothing but its files.
    pub(super) fn tidy(&self) {
        let _ = self.fs.remove_dir(&self.temp_dir());
    }

    /// Runs `action` in a directory that exists durably; a directory that was removed meanwhile is made again, once.
    fn in_dir(&self, dir: &Path, action: impl Fn() -> io::Result<()>) -> Result<io::Result<()>, LocalError> {
        self.ensure_dir(dir, false)?;
        match action() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.ensure_dir(dir, true)?;
                Ok(action())
            }
            other => Ok(other),
        }
    }

    fn explain_link(&self, error: io::Error, mode: Publish, dir: &Path, path: &Path) -> Result<(), LocalError> {
        match error.kind() {
            // Whoever created it may have died before its sync. The caller will act on the object's existence, so
            // that has to be durable first.
            io::ErrorKind::AlreadyExists => self.sync_dir(dir)?,
            io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
                if mode == Publish::Create && error.raw_os_error().is_some_and(|code| code != EACCES) =>
            {
                return Err(LocalError::NoHardLinks { path: path.to_path_buf(), source: error });
            }
            _ => {}
        }
        Err(LocalError::io("create", path)(error))
    }

    /// Makes a directory inside the base and every name on the way to it durable. `again` distrusts what is remembered.
    fn ensure_dir(&self, dir: &Path, again: bool) -> Result<(), LocalError> {
        let known = |d: &Path| self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(d);
        if !again && known(dir) {
            return Ok(());
        }
        // Another store on this directory that is dropped removes an empty `tmp`, at any moment.
        for _ in 1..VANISHING {
            match self.make_dir(dir) {
                Err(LocalError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                other => return other,
            }
        }
        self.make_dir(dir)
    }

    fn make_dir(&self, dir: &Path) -> Result<(), LocalError> {
        let mut chain = Vec::new();
        for ancestor in dir.ancestors() {
            if ancestor == self.base {
                break;
            }
            if !ancestor.starts_with(&self.base) {
                return Err(LocalError::Escape { path: dir.to_path_buf(), base: self.base.clone() });
            }
            chain.push(ancestor);
        }
        self.ensure_base(&self.base)?;
        // From the top: a directory that exists may be another process's, not yet synced, so its parent is synced too.
        for ancestor in chain.iter().rev() {
            self.create_dir(ancestor)?;
            self.sync_dir(parent_of(ancestor)?)?;
        }
        self.check_inside(dir)?;
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_path_buf());
        Ok(())
    }

    /// Creates the base and its missing parents.
    fn ensure_base(&self, dir: &Path) -> Result<(), LocalError> {
        let Some(parent) = dir.parent() else { return Ok(()) };
        match self.fs.create_dir(dir) {
            Ok(()) => self.sync_dir(parent),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.ensure_base(parent)?;
                self.create_dir(dir)?;
                self.sync_dir(parent)
            }
            // The user's own directory: its parent may be unreadable to us, and then its name is not ours to sync.
            Err(_) if dir.is_dir() => {
                let _ = self.fs.sync_dir(parent);
                Ok(())
            }
            Err(e) => Err(LocalError::io("create the directory", dir)(e)),
        }
    }

    fn create_dir(&self, dir: &Path) -> Result<(), LocalError> {
        match self.fs.create_dir(dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(LocalError::io("create the directory", dir)(e)),
            _ => Ok(()),
        }
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), LocalError> {
        self.fs.sync_dir(dir).map_err(LocalError::io("sync the directory", dir))
    }

    fn check_inside(&self, dir: &Path) -> Result<(), LocalError> {
        let real = |p: &Path| std::fs::canonicalize(p).map_err(LocalError::io("resolve", p));
        if real(dir)?.starts_with(real(&self.base)?) {
            return Ok(());
        }
        Err(LocalError::Escape { path: dir.to_path_buf(), base: self.base.clone() })
    }
}

/// EACCES of every Unix: a missing permission, as opposed to EPERM, which `link` gives where links do not exist.
const EACCES: i32 = 13;

/// A temporary file; removed when dropped.
#[derive(Debug)]
pub(super) struct Staged {
    fs: Arc<dyn Fs>,
    file: Option<Box<dyn FsFile>>,
    path: PathBuf,
}

impl Staged {
    pub(super) fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), LocalError> {
        match &self.file {
            Some(file) => file.write_at(offset, data).map_err(LocalError::io("write", &self.path)),
            None => Err(LocalError::io("write", &self.path)(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn sync(&mut self) -> Result<(), LocalError> {
        match self.file.take() {
            Some(file) => file.sync().map_err(LocalError::io("sync", &self.path)),
            None => Ok(()),
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.file = None;
        if !self.path.as_os_str().is_empty() {
            let _ = self.fs.remove_file(&self.path);
        }
    }
}

fn parent_of(path: &Path) -> Result<&Path, LocalError> {
    path.parent().ok_or_else(|| LocalError::NoParent { path: path.to_path_buf() })
}

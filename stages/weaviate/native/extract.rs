//! Takes the files of the objects of some shards out of the chunks of a backup.
//!
//! A chunk holds files of all kinds, most of them indexes, and is one stream: it is unpacked from front to back and only
//! what is needed is written. The names of files inside come from the backup and are only compared; what is written has
//! names of our own.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chunk::{self, Compression};
use super::descriptor::BaseFile;
use super::error::{NativeError, Result};
use super::merge::Objects;
use super::objects_file::{Kind, ObjectsFile};
use super::place::{Place, PlacedShard};
use super::tar::{Entry, Tar};
use super::work::{self, WorkFolder};

/// The unpacked objects of some shards of a class. The folder that holds them goes when this and all [`Objects`] of it are
/// dropped.
#[derive(Debug)]
pub struct Extracted {
    class: String,
    shards: BTreeMap<String, Vec<ObjectsFile>>,
    work: Arc<WorkFolder>,
}

impl Extracted {
    /// The live objects of a shard or tenant, in the order of their ids; see [`Objects`].
    ///
    /// # Errors
    /// The shard was not among those extracted, or the start of a file is damaged.
    pub fn objects(&self, shard: &str) -> Result<Objects> {
        let files = self
            .shards
            .get(shard)
            .ok_or_else(|| NativeError::NotExtracted { class: self.class.clone(), shard: shard.to_owned() })?;
        Objects::open(files, Arc::clone(&self.work))
    }

    /// The files of a shard, to be looked at or damaged.
    #[cfg(test)]
    pub(super) fn files(&self, shard: &str) -> &[ObjectsFile] {
        self.shards.get(shard).map(Vec::as_slice).unwrap_or_default()
    }
}

/// A chunk, and what of it is needed.
struct Source {
    path: PathBuf,
    wanted: Wanted,
}

enum Wanted {
    /// The files of the objects of the chosen shards.
    Shards,
    /// This file of a base backup, whose chunk may hold others that are out of date.
    File { shard: String, file: String },
}

/// Unpacks the files of the objects of `shards`, all of `place`, into a fresh folder inside `parent`.
///
/// # Errors
/// A chunk cannot be read or is damaged, or does not hold what the descriptor lists.
pub(super) fn extract(class: &str, place: &Place, shards: &[&PlacedShard], parent: &Path) -> Result<Extracted> {
    let mut extraction = Extraction {
        folder: class.to_lowercase(),
        shards: shards.iter().map(|shard| (shard.name.as_str(), *shard)).collect(),
        work: WorkFolder::new(parent)?,
        files: BTreeMap::new(),
    };
    for source in sources(place, shards) {
        extraction.take_chunk(&source, place.compression)?;
    }
    extraction.finish(class, &place.descriptor)
}

/// The chunks that hold files of these shards.
fn sources(place: &Place, shards: &[&PlacedShard]) -> Vec<Source> {
    let numbers: BTreeSet<u32> = shards.iter().flat_map(|shard| shard.chunks.iter().copied()).collect();
    let own = numbers.into_iter().map(|number| Source { path: place.chunk(number), wanted: Wanted::Shards });
    let mut sources: Vec<_> = own.collect();
    for shard in shards {
        for (base, BaseFile { file, chunk_keys }) in &shard.base_files {
            let paths = chunk_keys.iter().map(|key| base.join(key));
            let wanted = || Wanted::File { shard: shard.name.clone(), file: file.clone() };
            sources.extend(paths.map(|path| Source { path, wanted: wanted() }));
        }
    }
    sources
}

/// An extraction under way.
struct Extraction<'a> {
    /// The folder of the class in the data folder of the server.
    folder: String,
    shards: BTreeMap<&'a str, &'a PlacedShard>,
    work: WorkFolder,
    /// By their names in the backup.
    files: BTreeMap<String, Part>,
}

/// A file that is being put together.
struct Part {
    shard: String,
    kind: Kind,
    path: PathBuf,
    /// The ranges that were written, as start and end.
    ranges: Vec<(u64, u64)>,
}

impl Extraction<'_> {
    fn take_chunk(&mut self, source: &Source, compression: Compression) -> Result<()> {
        let mut tar = Tar::new(chunk::open(&source.path, compression)?, source.path.to_string_lossy().into_owned());
        while let Some(entry) = tar.next()? {
            if let Some((shard, kind)) = self.wanted(source, &entry) {
                self.take_file(&entry, shard, kind, &mut tar, &source.path)?;
            }
        }
        Ok(())
    }

    /// The shard and kind of a file that is needed.
    fn wanted(&self, source: &Source, entry: &Entry) -> Option<(String, Kind)> {
        let (shard, kind) = objects_file(&self.folder, &entry.name).filter(|_| entry.regular)?;
        let is_wanted = match &source.wanted {
            Wanted::Shards => self.shards.contains_key(shard),
            Wanted::File { shard: wanted, file } => wanted == shard && *file == entry.name,
        };
        is_wanted.then(|| (shard.to_owned(), kind))
    }

    fn take_file(
        &mut self,
        entry: &Entry,
        shard: String,
        kind: Kind,
        content: &mut impl Read,
        chunk: &Path,
    ) -> Result<()> {
        let damaged = |reason: String| NativeError::damaged(&chunk.to_string_lossy(), entry.at, reason);
        let start = entry.part.unwrap_or(0);
        // A file has no more bytes than a position can name.
        let end = start
            .checked_add(entry.size)
            .filter(|end| i64::try_from(*end).is_ok())
            .ok_or_else(|| damaged(format!("a part of {:?} begins at byte {start}", entry.name)))?;
        let path = self.work.file(&self.files.len().to_string());
        let part = self.files.entry(entry.name.clone()).or_insert(Part { shard, kind, path, ranges: Vec::new() });
        if part.ranges.iter().any(|range| range.0 < end && start < range.1 || range.0 == start) {
            return Err(damaged(format!("{:?} is in the backup twice", entry.name)));
        }
        part.ranges.push((start, end));
        let mut file = work::create(&part.path)?;
        let write = |error| NativeError::io("write", &part.path, error);
        file.seek(SeekFrom::Start(start)).map_err(write)?;
        copy(content, &mut file).map_err(|failure| match failure {
            Failure::Read(error) => damaged(error.to_string()),
            Failure::Write(error) => write(error),
        })
    }

    /// Checks that all files are here, and whole.
    fn finish(self, class: &str, descriptor: &Path) -> Result<Extracted> {
        for shard in self.shards.values() {
            let listed = shard.files.iter().chain(shard.base_files.iter().map(|(_, file)| &file.file));
            for file in listed {
                let Some(part) = self.files.get(file) else {
                    return Err(NativeError::Missing { file: file.clone(), descriptor: descriptor.to_owned() });
                };
                part.check(file, shard.sizes.get(file).copied())?;
            }
        }
        let mut shards: BTreeMap<String, Vec<ObjectsFile>> =
            self.shards.keys().map(|shard| ((*shard).to_owned(), Vec::new())).collect();
        for (name, part) in self.files {
            // What the descriptor does not list may be put together wrongly as well.
            part.check(&name, None)?;
            shards.entry(part.shard).or_default().push(ObjectsFile { name, path: part.path, kind: part.kind });
        }
        Ok(Extracted { class: class.to_owned(), shards, work: Arc::new(self.work) })
    }
}

impl Part {
    /// Checks that the parts follow each other from the start on, up to the size where it is known.
    fn check(&self, name: &str, size: Option<u64>) -> Result<()> {
        let mut end = 0;
        for range in self.ranges.iter().collect::<BTreeSet<_>>() {
            if range.0 != end {
                return Err(NativeError::damaged(name, end, format!("the part up to byte {} is missing", range.0)));
            }
            end = range.1;
        }
        match size {
            Some(size) if size != end => {
                Err(NativeError::damaged(name, end, format!("the file ends here, and should have {size} bytes")))
            }
            _ => Ok(()),
        }
    }
}

/// The shard and kind, when a path is that of a file of objects: `<class>/<shard>/lsm/objects/segment-<id>….{db,wal}`.
pub(super) fn objects_file<'a>(folder: &str, path: &'a str) -> Option<(&'a str, Kind)> {
    let mut parts = path.split('/');
    let (class, shard) = (parts.next()?, parts.next()?);
    let is_objects = class == folder && parts.next() == Some("lsm") && parts.next() == Some("objects");
    let (file, end) = (parts.next()?, parts.next());
    let kind = Kind::of(file)?;
    (is_objects && end.is_none()).then_some((shard, kind))
}

/// Which side of a copy failed.
enum Failure {
    Read(io::Error),
    Write(io::Error),
}

/// Copies to the end, and tells the two sides apart, as `io::copy` does not.
fn copy(from: &mut impl Read, to: &mut impl Write) -> Result<(), Failure> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).map_err(Failure::Read)?;
        match buffer.get(..read) {
            Some([]) | None => return Ok(()),
            Some(bytes) => to.write_all(bytes).map_err(Failure::Write)?,
        }
    }
}

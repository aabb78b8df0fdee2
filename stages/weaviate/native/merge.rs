//! The live objects of a shard: what all its files say, merged.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, btree_map};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use super::error::{NativeError, Result};
use super::object::Object;
use super::objects_file::{Kind, ObjectsFile, newest_first};
use super::segment::{Found, ID, Segment, Span};
use super::wal;
use super::work::WorkFolder;

/// The live objects of a shard in the order of their ids, each once, as it was last written. Deleted ones are left out.
///
/// Segments are read front to back, each with a small buffer, and only the object that is given is in memory; of a
/// write-ahead log the ids and places are. Ends at the first error.
#[derive(Debug)]
pub struct Objects {
    /// Newest first.
    sources: Vec<Source>,
    /// The next entry of each source. Of entries of one id, the newest is first.
    heads: BinaryHeap<Reverse<Head>>,
    /// The stored form of an object, kept for its room.
    stored: Vec<u8>,
    ended: bool,
    /// Keeps the files.
    _work: Arc<WorkFolder>,
}

/// An id, the place of its source among all, and where the object is.
type Head = ([u8; ID], usize, Option<Span>);

/// A file, and how far it was read.
#[derive(Debug)]
struct Source {
    name: String,
    entries: Entries,
    /// The same file, for the objects.
    values: File,
}

#[derive(Debug)]
enum Entries {
    Segment(Segment),
    Wal(btree_map::IntoIter<[u8; ID], Option<Span>>),
}

impl Objects {
    pub(super) fn open(files: &[ObjectsFile], work: Arc<WorkFolder>) -> Result<Self> {
        let is_empty = |file: &ObjectsFile| fs::metadata(&file.path).is_ok_and(|metadata| metadata.len() == 0);
        let sources = newest_first(files, is_empty).into_iter().map(Source::open).collect::<Result<_>>()?;
        let mut objects = Self { sources, heads: BinaryHeap::new(), stored: Vec::new(), ended: false, _work: work };
        for age in 0..objects.sources.len() {
            objects.advance(age)?;
        }
        Ok(objects)
    }

    /// Puts the next entry of a source among the heads.
    fn advance(&mut self, age: usize) -> Result<()> {
        let Some(source) = self.sources.get_mut(age) else { return Ok(()) };
        if let Some(Found { id, value }) = source.next()? {
            self.heads.push(Reverse((id, age, value)));
        }
        Ok(())
    }

    fn next_object(&mut self) -> Result<Option<Object>> {
        while let Some(Reverse((id, age, value))) = self.heads.pop() {
            self.advance(age)?;
            while let Some(Reverse((other, older, _))) = self.heads.peek().copied() {
                if other != id {
                    break;
                }
                self.heads.pop();
                self.advance(older)?;
            }
            if let (Some(value), Some(source)) = (value, self.sources.get_mut(age)) {
                return source.object(id, value, &mut self.stored).map(Some);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
impl Objects {
    /// The stored form of all objects.
    pub(super) fn stored(mut self) -> Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        while self.next_object()?.is_some() {
            found.push(self.stored.clone());
        }
        Ok(found)
    }
}

impl Iterator for Objects {
    type Item = Result<Object>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_object().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl Source {
    fn open(file: &ObjectsFile) -> Result<Self> {
        let entries = match file.kind {
            Kind::Segment => Entries::Segment(Segment::open(file)?),
            Kind::Wal => Entries::Wal(wal::read(file)?.into_iter()),
        };
        let values = File::open(&file.path).map_err(|error| NativeError::io("read", &file.path, error))?;
        Ok(Self { name: file.name.clone(), entries, values })
    }

    fn next(&mut self) -> Result<Option<Found>> {
        match &mut self.entries {
            Entries::Segment(segment) => segment.next(),
            Entries::Wal(found) => Ok(found.next().map(|(id, value)| Found { id, value })),
        }
    }

    /// The object of an entry.
    fn object(&mut self, id: [u8; ID], value: Span, stored: &mut Vec<u8>) -> Result<Object> {
        let damaged = |at: usize, reason: &str| NativeError::damaged(&self.name, value.start + at as u64, reason);
        read_span(&mut self.values, value, stored).map_err(|error| damaged(0, &error.to_string()))?;
        let object = Object::decode(stored).map_err(|wrong| damaged(wrong.at, wrong.reason))?;
        if object.id == id { Ok(object) } else { Err(damaged(0, "the object has another id than its entry")) }
    }
}

/// Reads a range, with no more room than there are bytes.
fn read_span(file: &mut File, span: Span, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.clear();
    file.seek(SeekFrom::Start(span.start))?;
    file.by_ref().take(span.length).read_to_end(bytes)?;
    Ok(())
}

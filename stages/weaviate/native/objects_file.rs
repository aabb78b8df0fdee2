//! The files that hold the objects of a shard, and which of them are newer than others.

use std::path::PathBuf;

/// What a file of the `objects` bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sorted by id, and never changed.
    Segment,
    /// In the order of the writes.
    Wal,
}

/// An unpacked file of the `objects` bucket.
#[derive(Debug, Clone)]
pub(super) struct ObjectsFile {
    /// Relative to the data folder of the server.
    pub(super) name: String,
    /// Where it was unpacked.
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
}

impl Kind {
    /// The kind of `segment-<id>….{db,wal}`; `None` for the filters and counters beside them.
    pub(super) fn of(file: &str) -> Option<Self> {
        let (_, extension) = file.strip_prefix("segment-")?.rsplit_once('.')?;
        match extension {
            "db" => Some(Self::Segment),
            "wal" => Some(Self::Wal),
            _ => None,
        }
    }
}

impl ObjectsFile {
    /// Its id, nanoseconds since 1970 when it was begun: the name up to the first dot. A compacted segment has that of the
    /// newest of what it was made from.
    fn id(&self) -> &str {
        let file = self.name.rsplit('/').next().unwrap_or_default();
        file.split('.').next().unwrap_or_default()
    }
}

/// The files to read, newest first, by the rules that the server opens a bucket by (`newSegmentGroup` and
/// `mayRecoverFromCommitLogs` in `adapters/repos/db/lsmkv`): a segment beside a WAL of its id was never finished and does not
/// count; segments are ordered by their names, and the last WAL is newer than all.
pub(super) fn newest_first(files: &[ObjectsFile], is_empty: impl Fn(&ObjectsFile) -> bool) -> Vec<&ObjectsFile> {
    let mut files: Vec<_> = files.iter().filter(|file| file.kind == Kind::Segment || !is_empty(file)).collect();
    let wals: Vec<String> =
        files.iter().filter(|file| file.kind == Kind::Wal).map(|file| file.id().to_owned()).collect();
    files.retain(|file| file.kind == Kind::Wal || !wals.iter().any(|wal| wal == file.id()));
    let last = wals.into_iter().max();
    let is_last = |file: &ObjectsFile| file.kind == Kind::Wal && last.as_deref() == Some(file.id());
    files.sort_by_key(|file| std::cmp::Reverse((is_last(file), file.id(), file.name.as_str())));
    files
}

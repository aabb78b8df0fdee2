//! One object: read, compared as a whole, and where that fails, piece by piece.

use bytes::{Bytes, BytesMut};
use data_encoding::{BASE64, HEXLOWER};
use futures::TryStreamExt;
use object_store::{Error, GetResult, ObjectStoreExt};
use sha2::{Digest, Sha256};

use super::pieces::{Cut, Pieces};
use super::report::RANGES;
use super::sample::UNIT;
use super::{Concerned, Finding, StoredRange, VerifyOptions};
use crate::blocks::BlockDigests;
use crate::container::{HEADER, ObjectCipher};
use crate::keys::Keys;
use crate::location::Location;
use crate::repository::{
    ExitClass, FileEntry, InventoryEntry, ObjectRef, RepositoryError, exit_class_of, failed, small,
};

/// What a snapshot says of one object.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub path: String,
    pub stored_bytes: u64,
    sha256: String,
    proof: Proof,
    concerned: Option<Concerned>,
}

/// What its pieces are proven by.
#[derive(Debug, Clone)]
enum Proof {
    /// Only the digest of the whole.
    Whole,
    /// The digest of the whole, in an encrypted repository without its key.
    Sealed,
    /// A digest object.
    Blocks(ObjectRef),
    /// Its header, and with it the keys.
    Header(String),
}

impl Expected {
    pub fn data(file: &FileEntry, encrypted: bool, concerned: Concerned) -> Self {
        let proof = match (encrypted, &file.header, &file.blocks) {
            (true, Some(header), _) => Proof::Header(header.clone()),
            (false, _, Some(blocks)) => Proof::Blocks(blocks.clone()),
            _ => Proof::Whole,
        };
        let (path, sha256) = (file.path.clone(), file.sha256.clone());
        Self { path, stored_bytes: file.stored_bytes, sha256, proof, concerned: Some(concerned) }
    }

    pub fn whole(path: &str, stored_bytes: u64, sha256: &str, concerned: Option<Concerned>) -> Self {
        Self { path: path.to_owned(), stored_bytes, sha256: sha256.to_owned(), proof: Proof::Whole, concerned }
    }

    /// One of which only the inventory is known.
    pub fn opaque(entry: &InventoryEntry, sealed: bool) -> Self {
        let proof = if sealed { Proof::Sealed } else { Proof::Whole };
        let (path, sha256) = (entry.path.clone(), entry.sha256.clone());
        Self { path, stored_bytes: entry.stored_bytes, sha256, proof, concerned: None }
    }

    fn cut(&self) -> Option<Cut> {
        match self.proof {
            Proof::Whole | Proof::Sealed => None,
            Proof::Blocks(_) => Some(Cut::BLOCKS),
            Proof::Header(_) => Some(Cut::CHUNKS),
        }
    }

    pub fn has_pieces(&self) -> bool {
        self.cut().is_some()
    }

    /// Pieces of one unit.
    fn pieces_a_unit(cut: Cut) -> u64 {
        (UNIT / cut.piece).max(1)
    }

    /// Units of a sample.
    pub fn units(&self) -> u64 {
        self.cut().map_or(0, |cut| cut.count(self.stored_bytes).div_ceil(Self::pieces_a_unit(cut)))
    }

    fn finding(&self, problem: String) -> Finding {
        Finding::data(&self.path, problem, self.concerned.clone())
    }
}

/// What came of one object.
pub(super) struct Checked {
    pub bytes: u64,
    pub finding: Option<Finding>,
}

impl Checked {
    fn wrong(bytes: u64, finding: Finding) -> Self {
        Self { bytes, finding: Some(finding) }
    }
}

/// What every check needs.
pub(super) struct Work<'a> {
    pub location: &'a Location,
    pub keys: Option<&'a Keys>,
    pub options: &'a VerifyOptions<'a>,
}

impl Work<'_> {
    /// Checks one object: whole, or of one with pieces only these units.
    pub async fn check(&self, object: &Expected, units: Option<Vec<u64>>) -> Result<Checked, RepositoryError> {
        let pieces = match self.pieces(object).await? {
            Ok(pieces) => pieces,
            Err(finding) => return Ok(Checked::wrong(0, *finding)),
        };
        match (units, object.cut()) {
            (Some(units), Some(cut)) => self.sample(object, &units, cut, &pieces).await,
            _ => self.whole(object, &pieces).await,
        }
    }

    /// What proves the pieces of an object. Digests that are not those of the manifest are a finding at their own object:
    /// then nothing but the whole proves this one.
    async fn pieces(&self, object: &Expected) -> Result<Result<Pieces, Box<Finding>>, RepositoryError> {
        Ok(match &object.proof {
            Proof::Whole | Proof::Sealed => Ok(Pieces::None),
            Proof::Blocks(named) => {
                let path = self.location.path(&named.path)?;
                let bytes = small::read_if_there(self.location.store.as_ref(), &path)
                    .await
                    .map_err(failed(self.location, "read", &named.path))?
                    .filter(|bytes| HEXLOWER.encode(&Sha256::digest(bytes)) == named.sha256);
                let digests = bytes.and_then(|bytes| BlockDigests::decode(&object.path, &bytes).ok());
                Ok(digests.map_or(Pieces::None, Pieces::Blocks))
            }
            Proof::Header(text) => {
                let bytes = BASE64.decode(text.as_bytes()).ok();
                let header = bytes.and_then(|bytes| <[u8; HEADER]>::try_from(bytes).ok());
                match (header, self.keys) {
                    (Some(header), Some(keys)) => ObjectCipher::open(keys, &object.path, &header)
                        .map(|cipher| Pieces::Chunks(Box::new(cipher)))
                        .map_err(|error| Box::new(object.finding(format!("the header in the manifest: {error}")))),
                    _ => Err(Box::new(object.finding("the manifest names no valid header for it".to_owned()))),
                }
            }
        })
    }

    /// All stored bytes.
    async fn whole(&self, object: &Expected, pieces: &Pieces) -> Result<Checked, RepositoryError> {
        let found = match self.get(object).await? {
            Ok(found) => found,
            Err(finding) => return Ok(Checked::wrong(0, *finding)),
        };
        let mut pass = Pass::new(object, pieces, 0, 0);
        let mut stored = found.into_stream();
        loop {
            match stored.try_next().await {
                Ok(Some(bytes)) => {
                    (self.options.advance)(bytes.len() as u64);
                    pass.take(&bytes);
                }
                Ok(None) => break,
                Err(error) => return Ok(Checked::wrong(pass.at, self.unreadable(object, error)?)),
            }
        }
        Ok(pass.end())
    }

    /// Length, header and the chosen units.
    async fn sample(
        &self,
        object: &Expected,
        units: &[u64],
        cut: Cut,
        pieces: &Pieces,
    ) -> Result<Checked, RepositoryError> {
        let mut ranges = vec![(0..cut.head, 0)];
        let each = Expected::pieces_a_unit(cut);
        ranges.extend(units.iter().map(|unit| {
            let (from, to) = (unit.saturating_mul(each), unit.saturating_add(1).saturating_mul(each));
            (cut.range(from, to, object.stored_bytes), from)
        }));
        // The length of a plain object without chosen units is looked up by reading nothing of it.
        if let Err(finding) = self.length(object).await? {
            return Ok(Checked::wrong(0, *finding));
        }
        let path = self.location.path(&object.path)?;
        let (mut bytes, mut damaged) = (0u64, Damage::default());
        for (range, first) in ranges.into_iter().filter(|(range, _)| !range.is_empty()) {
            let stored = match self.location.store.get_range(&path, range.clone()).await {
                Ok(stored) => stored,
                Err(error) => return Ok(Checked::wrong(bytes, self.unreadable(object, error)?)),
            };
            (self.options.advance)(stored.len() as u64);
            bytes = bytes.saturating_add(stored.len() as u64);
            let mut pass = Pass::new(object, pieces, range.start, first);
            pass.take(&stored);
            pass.flush();
            if stored.len() as u64 != range.end.saturating_sub(range.start) {
                pass.damage.add(range.start, range.end.saturating_sub(range.start));
            }
            damaged.merge(pass.damage);
        }
        let finding = (!damaged.is_empty()).then(|| damaged.finding(object));
        Ok(Checked { bytes, finding })
    }

    async fn get(&self, object: &Expected) -> Result<Result<GetResult, Box<Finding>>, RepositoryError> {
        match self.location.store.get(&self.location.path(&object.path)?).await {
            Ok(found) if found.meta.size != object.stored_bytes => Ok(Err(length(object, found.meta.size))),
            Ok(found) => Ok(Ok(found)),
            Err(error) => Ok(Err(Box::new(self.unreadable(object, error)?))),
        }
    }

    async fn length(&self, object: &Expected) -> Result<Result<(), Box<Finding>>, RepositoryError> {
        match self.location.store.head(&self.location.path(&object.path)?).await {
            Ok(meta) if meta.size != object.stored_bytes => Ok(Err(length(object, meta.size))),
            Ok(_) => Ok(Ok(())),
            Err(error) => Ok(Err(Box::new(self.unreadable(object, error)?))),
        }
    }

    /// An object that is gone or that the store cannot read is damage; a store that stays away or refuses is not.
    fn unreadable(&self, object: &Expected, error: Error) -> Result<Finding, RepositoryError> {
        match (&error, exit_class_of(&error)) {
            (Error::NotFound { .. }, _) => Ok(object.finding("it is gone".to_owned())),
            (Error::PermissionDenied { .. } | Error::Unauthenticated { .. }, _) | (_, ExitClass::Unreachable) => {
                Err(failed(self.location, "read", &object.path)(error))
            }
            _ => Ok(object.finding(format!("it cannot be read: {error}"))),
        }
    }
}

fn length(object: &Expected, actual: u64) -> Box<Finding> {
    Box::new(object.finding(format!("it has {actual} bytes, and {} were written", object.stored_bytes)))
}

/// Stored bytes of one object as they come, cut into pieces.
struct Pass<'a> {
    object: &'a Expected,
    pieces: &'a Pieces,
    hash: Sha256,
    pending: BytesMut,
    /// Offset behind what was taken.
    at: u64,
    /// Offset of `pending`.
    start: u64,
    index: u64,
    plain: Vec<u8>,
    damage: Damage,
}

impl<'a> Pass<'a> {
    /// From the stored offset `at`, where piece `index` begins.
    fn new(object: &'a Expected, pieces: &'a Pieces, at: u64, index: u64) -> Self {
        let (hash, pending, plain) = (Sha256::new(), BytesMut::new(), Vec::new());
        Self { object, pieces, hash, pending, at, start: at, index, plain, damage: Damage::default() }
    }

    fn take(&mut self, stored: &Bytes) {
        self.hash.update(stored);
        self.at = self.at.saturating_add(stored.len() as u64);
        if matches!(self.pieces, Pieces::None) {
            return;
        }
        self.pending.extend_from_slice(stored);
        while self.next_piece(false) {}
    }

    /// Takes one piece; the last one only where `end`.
    fn next_piece(&mut self, end: bool) -> bool {
        let Some(cut) = self.object.cut() else { return false };
        let size = if self.start < cut.head { cut.head.saturating_sub(self.start) } else { cut.piece };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if self.pending.is_empty() || (self.pending.len() < size && !end) {
            return false;
        }
        let piece = self.pending.split_to(size.min(self.pending.len()));
        let behind = self.start.saturating_add(piece.len() as u64);
        let holds = match self.pieces {
            Pieces::Chunks(cipher) if self.start < cut.head => *piece == cipher.header()[..],
            pieces => {
                let holds = pieces.hold(self.index, behind >= self.object.stored_bytes, &piece, &mut self.plain);
                self.index = self.index.saturating_add(1);
                holds
            }
        };
        if !holds {
            self.damage.add(self.start, piece.len() as u64);
        }
        self.start = behind;
        true
    }

    fn flush(&mut self) {
        while self.next_piece(true) {}
    }

    /// After all bytes of the object.
    fn end(mut self) -> Checked {
        self.flush();
        let bytes = self.at;
        if bytes != self.object.stored_bytes {
            return Checked::wrong(bytes, *length(self.object, bytes));
        }
        if HEXLOWER.encode(&self.hash.finalize()) == self.object.sha256 && self.damage.is_empty() {
            return Checked { bytes, finding: None };
        }
        Checked::wrong(bytes, self.damage.finding(self.object))
    }
}

/// Damaged ranges, neighbours joined.
#[derive(Debug, Default)]
struct Damage {
    ranges: Vec<StoredRange>,
    more: usize,
}

impl Damage {
    fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    fn add(&mut self, offset: u64, bytes: u64) {
        let room = self.ranges.len() < RANGES;
        match self.ranges.last_mut() {
            Some(last) if self.more == 0 && last.offset.saturating_add(last.bytes) == offset => last.bytes += bytes,
            _ if room => self.ranges.push(StoredRange { offset, bytes }),
            _ => self.more += 1,
        }
    }

    fn merge(&mut self, other: Self) {
        other.ranges.iter().for_each(|range| self.add(range.offset, range.bytes));
        self.more += other.more;
    }

    fn finding(self, object: &Expected) -> Finding {
        let problem = match (&object.proof, self.is_empty()) {
            (_, false) => "its bytes are not what was written".to_owned(),
            (Proof::Header(_) | Proof::Blocks(_), true) => {
                "its SHA-256 is not the one in the manifest, though each of its pieces is whole".to_owned()
            }
            _ => "its SHA-256 is not the one that was written".to_owned(),
        };
        let mut finding = object.finding(problem);
        finding.damaged_ranges = self.ranges.len() + self.more;
        finding.ranges = self.ranges;
        finding
    }
}

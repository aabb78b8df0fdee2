//! An object as it is stored: version 1 of `entities/storobj/storage_object.go` of the server. Numbers are little-endian.
//!
//! ```text
//! u8 1 · u64 number inside the shard · u8 kind · 16 bytes id · i64 created · i64 updated
//! u16 n · n × f32            the legacy vector
//! u16 n · n bytes            the class; empty where the server was told to leave it out
//! u32 n · n bytes            properties, JSON
//! u32 n · n bytes            additional properties, JSON
//! u32 n · n bytes            vector weights, JSON
//! u32 n · n bytes · u32 m · m bytes    named vectors: where each begins, as a map in MessagePack; then the vectors
//! u32 n · n bytes · u32 m · m bytes    named multi-vectors, the same
//! ```
//!
//! A vector is `u16 n · n × f32`, a multi-vector is `u32 k` and k vectors. Sections from the additional properties on are
//! missing in objects of older servers.

use std::collections::BTreeMap;

/// An object of a class.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Object {
    /// The UUID, in the order of its text.
    pub id: [u8; 16],
    /// When it was first written, milliseconds since 1970.
    pub created_ms: i64,
    /// When it was last written, milliseconds since 1970.
    pub updated_ms: i64,
    /// The class; may be empty, since servers from 1.38 on can be told to leave it out.
    pub class: String,
    /// The vector of a class without named vectors.
    pub vector: Option<Vec<f32>>,
    /// Named vectors. They may include those of an index that was dropped, which the definition of the class then marks.
    pub vectors: BTreeMap<String, Vec<f32>>,
    /// Named vectors of several vectors each.
    pub multi_vectors: BTreeMap<String, Vec<Vec<f32>>>,
    /// The properties, JSON as stored: references are lists of beacons, `null` stands for none at all.
    pub properties: String,
    /// What modules added, JSON as stored; `None` where nothing was.
    pub additional: Option<String>,
    /// The vector weights, JSON as stored; `None` where there are none.
    pub vector_weights: Option<String>,
}

/// What is wrong with a stored object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Bytes from the start of the object.
    pub(super) at: usize,
    pub(super) reason: &'static str,
}

impl Object {
    /// Decodes a stored object.
    ///
    /// # Errors
    /// It is of another version, ends too early, or is followed by bytes that are not understood.
    pub(super) fn decode(stored: &[u8]) -> Result<Self, Wrong> {
        let mut bytes = Bytes { rest: stored, length: stored.len() };
        if bytes.u8()? != 1 {
            return Err(Wrong { at: 0, reason: "the object is not stored as version 1" });
        }
        // The number inside the shard, and a kind that is always the same.
        bytes.take(9)?;
        let mut object = Self {
            id: bytes.array()?,
            created_ms: i64::from_le_bytes(bytes.array()?),
            updated_ms: i64::from_le_bytes(bytes.array()?),
            vector: Some(bytes.vector()?).filter(|vector| !vector.is_empty()),
            ..Self::default()
        };
        let class_length = bytes.u16()?;
        object.class = bytes.text(class_length.into())?;
        object.properties = bytes.long_text()?;
        object.additional = bytes.json_section()?;
        object.vector_weights = bytes.json_section()?;
        object.vectors = bytes.section(Bytes::vector)?;
        object.multi_vectors = bytes.section(Bytes::multi_vector)?;
        if bytes.rest.is_empty() { Ok(object) } else { Err(bytes.wrong("the object is followed by unknown bytes")) }
    }
}

/// Bytes that are read front to back.
#[derive(Debug, Clone, Copy)]
struct Bytes<'a> {
    rest: &'a [u8],
    /// Bytes from the start of the object to the end of `rest`.
    length: usize,
}

impl<'a> Bytes<'a> {
    fn wrong(&self, reason: &'static str) -> Wrong {
        Wrong { at: self.length.saturating_sub(self.rest.len()), reason }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Wrong> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| self.wrong("the object ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Wrong> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| self.wrong("the object ends too early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Wrong> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, Wrong> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<usize, Wrong> {
        usize::try_from(u32::from_le_bytes(self.array()?)).map_err(|_| self.wrong("a length does not fit"))
    }

    fn text(&mut self, length: usize) -> Result<String, Wrong> {
        let wrong = self.wrong("a text is not UTF-8");
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| wrong)
    }

    /// A text after its length.
    fn long_text(&mut self) -> Result<String, Wrong> {
        let length = self.u32()?;
        self.text(length)
    }

    /// JSON that an older object may not have, and that is mostly nothing.
    fn json_section(&mut self) -> Result<Option<String>, Wrong> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.long_text()?).filter(|text| !matches!(text.as_str(), "" | "null" | "{}")))
    }

    fn vector(&mut self) -> Result<Vec<f32>, Wrong> {
        let dimensions = usize::from(self.u16()?);
        let (floats, _) = self.take(dimensions * size_of::<f32>())?.as_chunks();
        Ok(floats.iter().map(|float| f32::from_le_bytes(*float)).collect())
    }

    fn multi_vector(&mut self) -> Result<Vec<Vec<f32>>, Wrong> {
        let count = self.u32()?;
        // Grown as the vectors are found: a count is not believed.
        let mut vectors = Vec::new();
        for _ in 0..count {
            vectors.push(self.vector()?);
        }
        Ok(vectors)
    }

    /// Named things: where each begins, and then the bytes that they are in.
    fn section<T>(&mut self, read: impl Fn(&mut Self) -> Result<T, Wrong>) -> Result<BTreeMap<String, T>, Wrong> {
        let mut named = BTreeMap::new();
        if self.rest.is_empty() {
            return Ok(named);
        }
        let length = self.u32()?;
        let mut starts = self.part(length)?;
        let length = self.u32()?;
        let content = self.part(length)?;
        if starts.rest.is_empty() {
            return Ok(named);
        }
        let mut unused = content.rest.len();
        for _ in 0..starts.map_length()? {
            let name = starts.map_key()?;
            let start = starts.map_value()?;
            let mut at = content;
            at.take(start).map_err(|_| starts.wrong("a vector is said to begin behind the others"))?;
            let before = at.rest.len();
            let value = read(&mut at)?;
            // Many names for one place would make much of little.
            let overlap = || starts.wrong("vectors overlap");
            unused = unused.checked_sub(before - at.rest.len()).ok_or_else(overlap)?;
            if named.insert(name, value).is_some() {
                return Err(starts.wrong("a vector is there twice"));
            }
        }
        if starts.rest.is_empty() { Ok(named) } else { Err(starts.wrong("the map of vectors is followed by bytes")) }
    }

    /// The next bytes, to be read apart from what follows them.
    fn part(&mut self, length: usize) -> Result<Self, Wrong> {
        let rest = self.take(length)?;
        Ok(Self { rest, length: self.length.saturating_sub(self.rest.len()) })
    }

    /// The number of entries of a map in `MessagePack`.
    fn map_length(&mut self) -> Result<usize, Wrong> {
        match self.u8()? {
            // Nil, which stands for a map without entries.
            0xc0 => Ok(0),
            small @ 0x80..=0x8f => Ok(usize::from(small & 0x0f)),
            0xde => self.big_endian::<2>(),
            0xdf => self.big_endian::<4>(),
            _ => Err(self.wrong("the places of the vectors are no map")),
        }
    }

    /// A text in `MessagePack`.
    fn map_key(&mut self) -> Result<String, Wrong> {
        let length = match self.u8()? {
            small @ 0xa0..=0xbf => usize::from(small & 0x1f),
            0xd9 => self.big_endian::<1>()?,
            0xda => self.big_endian::<2>()?,
            0xdb => self.big_endian::<4>()?,
            _ => return Err(self.wrong("the name of a vector is no text")),
        };
        self.text(length)
    }

    /// A whole number, not negative, in `MessagePack`.
    fn map_value(&mut self) -> Result<usize, Wrong> {
        match self.u8()? {
            small @ 0..=0x7f => Ok(small.into()),
            0xcc | 0xd0 => self.big_endian::<1>(),
            0xcd | 0xd1 => self.big_endian::<2>(),
            0xce | 0xd2 => self.big_endian::<4>(),
            0xcf | 0xd3 => self.big_endian::<8>(),
            _ => Err(self.wrong("the place of a vector is no number")),
        }
    }

    fn big_endian<const N: usize>(&mut self) -> Result<usize, Wrong> {
        let wrong = self.wrong("a number does not fit");
        let bytes = self.array::<N>()?;
        let number = bytes.into_iter().fold(0, |number: u64, byte| (number << 8) | u64::from(byte));
        usize::try_from(number).map_err(|_| wrong)
    }
}

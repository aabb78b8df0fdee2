//! A YAML file as a value tree in which every key and value knows its place.
//!
//! YAML 1.2 core schema: `no` and `on` are text, `0o17` is a number. Positions come from the events of the parser,
//! never from serde's errors.

mod build;
mod place;
mod scalar;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use crate::diagnostic::{Diagnostic, codes};

pub use build::parse;
pub(crate) use place::Piece;
pub(crate) use scalar::Style;

/// Largest file, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// Deepest nesting of mappings and sequences.
pub const MAX_DEPTH: usize = 64;
/// Most values in a file after aliases are expanded.
pub const MAX_NODES: usize = 100_000;
/// Most bytes of text that aliases may add.
pub const MAX_ALIAS_BYTES: usize = 1 << 20;
/// Longest key, in bytes.
pub const MAX_KEY: usize = 256;
/// Longest JSON pointer, in bytes.
pub const MAX_POINTER: usize = 2048;

/// A parsed value with its place.
#[derive(Debug)]
pub(crate) struct Node {
    /// Bytes of the text.
    pub range: Range<usize>,
    pub data: Data,
}

#[derive(Debug)]
pub(crate) enum Data {
    Scalar { value: Value, style: Style },
    List(Vec<Arc<Node>>),
    Map(Vec<Entry>),
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub key: String,
    pub key_range: Range<usize>,
    pub value: Arc<Node>,
}

/// A place in the text: bytes from and to.
pub(crate) type Place = Range<usize>;

/// The text of a file, its tree, and what is needed to point into it.
pub struct Document {
    path: String,
    text: String,
    lines: Vec<usize>,
    first_line: u32,
    root: Arc<Node>,
    /// Texts that interpolation changed: how the new text maps to the old, by pointer.
    pub(crate) pieces: BTreeMap<String, Vec<Piece>>,
    /// Parts of the text that must never be shown.
    pub(crate) masked: Vec<Range<usize>>,
}

impl Document {
    /// The file as it was named by the caller.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Line (from 1) and column (from 1, in characters) of the value at a JSON pointer, or of the nearest value
    /// around it.
    pub fn locate(&self, pointer: &str) -> (u32, u32) {
        self.line_column(self.value_place(pointer).start)
    }

    pub(crate) fn new(path: &str, text: String, first_line: u32) -> Self {
        let mut lines = vec![0];
        let bytes = text.as_bytes();
        for (index, byte) in bytes.iter().enumerate() {
            let alone = *byte == b'\r' && bytes.get(index + 1) != Some(&b'\n');
            if *byte == b'\n' || alone {
                lines.push(index + 1);
            }
        }
        let root = Arc::new(Node { range: 0..0, data: Data::Map(Vec::new()) });
        let (pieces, masked) = (BTreeMap::new(), Vec::new());
        Self { path: path.into(), text, lines, first_line, root, pieces, masked }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn root(&self) -> &Arc<Node> {
        &self.root
    }

    /// The tree as a plain value.
    pub(crate) fn value(&self) -> Value {
        to_value(&self.root)
    }

    /// The node at a pointer with its key's place, or the deepest one on the way to it.
    fn find(&self, pointer: &str) -> (&Node, Option<Range<usize>>, bool) {
        let mut node = &*self.root;
        let mut key = None;
        for token in pointer.split('/').skip(1) {
            let name = unescape(token);
            let next = match &node.data {
                Data::Map(entries) => entries
                    .iter()
                    .find(|entry| entry.key == name)
                    .map(|entry| (&*entry.value, Some(entry.key_range.clone()))),
                Data::List(items) => {
                    name.parse::<usize>().ok().and_then(|index| items.get(index)).map(|item| (&**item, None))
                }
                Data::Scalar { .. } => None,
            };
            match next {
                Some((inner, place)) => (node, key) = (inner, place),
                None => return (node, key, false),
            }
        }
        (node, key, true)
    }

    /// Where the value at a pointer stands: scalars as a whole, collections by their key or their first character.
    pub(crate) fn value_place(&self, pointer: &str) -> Place {
        let (node, key, _) = self.find(pointer);
        match (&node.data, key) {
            (Data::Scalar { .. }, Some(key)) if node.range.is_empty() => key,
            (Data::Scalar { .. }, _) => node.range.clone(),
            (_, Some(key)) => key,
            (_, None) => node.range.start..node.range.start,
        }
    }

    /// Where the key at a pointer stands; the value where it is an item of a list.
    pub(crate) fn key_place(&self, pointer: &str) -> Place {
        match self.find(pointer) {
            (_, Some(key), true) => key,
            _ => self.value_place(pointer),
        }
    }

    /// All of the value at a pointer, however many lines it has.
    pub(crate) fn whole(&self, pointer: &str) -> Place {
        self.find(pointer).0.range.clone()
    }

    /// Where a character of the text at a pointer stands: line and column from 1, as an SQL parser counts them in the
    /// text after interpolation; `length` in characters.
    pub(crate) fn text_place(&self, pointer: &str, line: u64, column: u64, length: usize) -> Place {
        if line == 0 || column == 0 {
            return self.value_place(pointer);
        }
        self.inside(pointer, |scalar| place::locate(scalar, line, column, length))
    }

    /// Where some characters of the text at a pointer stand, the first counted from 0.
    pub(crate) fn char_place(&self, pointer: &str, index: usize, length: usize) -> Place {
        self.inside(pointer, |scalar| place::locate_index(scalar, index, length))
    }

    fn inside(&self, pointer: &str, locate: impl Fn(&place::Scalar<'_>) -> Place) -> Place {
        let (node, _, found) = self.find(pointer);
        let Data::Scalar { value: Value::String(decoded), style } = &node.data else {
            return self.value_place(pointer);
        };
        if !found {
            return self.value_place(pointer);
        }
        let pieces = self.pieces.get(pointer).map(Vec::as_slice).unwrap_or(&[]);
        let raw = self.text.get(node.range.clone()).unwrap_or("");
        let inner = locate(&place::Scalar { raw, decoded, style: *style, pieces });
        node.range.start + inner.start..node.range.start + inner.end
    }

    pub(crate) fn line_column(&self, offset: usize) -> (u32, u32) {
        let index = self.lines.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.lines.get(index).copied().unwrap_or(0);
        let before = self.text.get(start..offset.min(self.text.len())).unwrap_or("");
        let line = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(self.first_line);
        (line, u32::try_from(before.chars().count()).unwrap_or(u32::MAX).saturating_add(1))
    }

    /// A diagnostic at a place in the text.
    pub(crate) fn diagnostic(
        &self,
        code: &'static str,
        place: Place,
        message: String,
        help: Option<String>,
    ) -> Diagnostic {
        let (line, column) = self.line_column(place.start);
        let (start, end) = self.line_bounds(place.start);
        let stop = place.end.clamp(place.start, end.max(place.start));
        let length = self.text.get(place.start..stop).map_or(0, |part| part.chars().count()).max(1);
        let (source_line, source_column) = self.window(start, end, column);
        Diagnostic {
            severity: codes::severity(code),
            code,
            message,
            file: self.path.clone(),
            line,
            column,
            end_column: column.saturating_add(u32::try_from(length).unwrap_or(u32::MAX)),
            source_line: Some(source_line),
            source_column,
            help,
        }
    }

    fn line_bounds(&self, offset: usize) -> (usize, usize) {
        let index = self.lines.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.lines.get(index).copied().unwrap_or(0);
        let end = self.lines.get(index + 1).copied().unwrap_or(self.text.len());
        let line = self.text.get(start..end).unwrap_or("");
        (start, start + line.trim_end_matches(['\r', '\n']).len())
    }

    /// The line with masked parts starred, cut to a window around the column where it is very long.
    fn window(&self, start: usize, end: usize, column: u32) -> (String, u32) {
        const BEFORE: usize = 100;
        const WIDTH: usize = 180;
        let column = usize::try_from(column).unwrap_or(1);
        let skip = if column > WIDTH { column.saturating_sub(BEFORE) } else { 0 };
        let line = self.text.get(start..end).unwrap_or("");
        let shown = line.char_indices().skip(skip).take(WIDTH).map(|(index, letter)| {
            let hidden = self.masked.iter().any(|range| range.contains(&(start + index)));
            if hidden { '*' } else { letter }
        });
        let mut out: String = shown.collect();
        if line.chars().count() > skip + WIDTH {
            out.push('…');
        }
        if skip == 0 {
            return (out, u32::try_from(column).unwrap_or(1));
        }
        (format!("…{out}"), u32::try_from(column - skip + 1).unwrap_or(1))
    }
}

impl fmt::Debug for Document {
    /// Leaves the text out: it may hold a literal that was to be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("path", &self.path).field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

fn to_value(node: &Node) -> Value {
    match &node.data {
        Data::Scalar { value, .. } => value.clone(),
        Data::List(items) => Value::Array(items.iter().map(|item| to_value(item)).collect()),
        Data::Map(entries) => {
            Value::Object(entries.iter().map(|entry| (entry.key.clone(), to_value(&entry.value))).collect())
        }
    }
}

/// One step of a JSON pointer (RFC 6901).
pub(crate) fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

pub(crate) fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests;

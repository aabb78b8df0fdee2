//! The rows of a JSON file as raw text, each with its place: lines, or the elements of an array.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead, Read};

use restow_core::{EngineError, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Input, MAX_ROW_BYTES, unreadable};

/// A row as it stands in the file.
pub(in crate::codec) struct RawRow<'a> {
    /// Line, from 1; of an array's element, the line on which it begins.
    pub(in crate::codec) line: u64,
    /// Number of an array's element, from 1.
    pub(in crate::codec) element: Option<u64>,
    /// Its text, without line ending; empty where it is too long.
    pub(in crate::codec) bytes: &'a [u8],
    /// Longer than [`MAX_ROW_BYTES`].
    pub(in crate::codec) too_long: bool,
}

impl RawRow<'_> {
    /// Where it is: `cities.jsonl:17`, or `cities.json:17 (element 4)`.
    pub(in crate::codec) fn place(&self, file: &str) -> String {
        match self.element {
            None => format!("{file}:{}", self.line),
            Some(element) => format!("{file}:{} (element {element})", self.line),
        }
    }

    /// Its columns.
    ///
    /// # Errors
    /// Why it is no JSON object.
    pub(in crate::codec) fn fields(&self) -> Result<Fields<'_>, String> {
        if self.too_long {
            return Err(format!("the row is longer than {} MiB", MAX_ROW_BYTES >> 20));
        }
        let text = std::str::from_utf8(self.bytes)
            .map_err(|error| format!("the row is not UTF-8 from byte {} on", error.valid_up_to() + 1))?;
        if !text.trim_start().starts_with('{') {
            return serde_json::from_str::<&RawValue>(text)
                .map_or_else(|error| Err(no_json(&error)), |_| Err("the row is no JSON object".to_owned()));
        }
        serde_json::from_str(text).map_err(|error| no_json(&error))
    }

    /// Its text for the reject, as far as it is text.
    pub(in crate::codec) fn text(&self) -> Option<String> {
        (!self.too_long).then(|| String::from_utf8_lossy(self.bytes).into_owned())
    }
}

/// The columns of one row: name and raw value, in the order of the file.
pub(in crate::codec) struct Fields<'a>(pub(in crate::codec) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(map.size_hint().unwrap_or(16));
                while let Some((Key(name), value)) = map.next_entry()? {
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl<'de> Visitor<'de> for Name {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

/// serde_json's message without its own position in the file, which is that of the row alone.
fn no_json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    format!("the row is no valid JSON: {message} (column {})", error.column())
}

/// Reads a JSON file row by row.
pub(in crate::codec) struct JsonRows {
    input: Input,
    buffer: Vec<u8>,
    line: u64,
    layout: Layout,
}

enum Layout {
    Lines,
    Array { elements: u64, state: State },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the opening bracket.
    Start,
    /// After the opening bracket.
    First,
    /// After an element.
    After,
    /// After the closing bracket.
    Closed,
}

impl JsonRows {
    pub(in crate::codec) fn lines(input: Input) -> Self {
        Self { input, buffer: Vec::new(), line: 0, layout: Layout::Lines }
    }

    pub(in crate::codec) fn array(input: Input) -> Self {
        let layout = Layout::Array { elements: 0, state: State::Start };
        Self { input, buffer: Vec::new(), line: 1, layout }
    }

    /// The next row; `None` at the proper end of the file.
    ///
    /// # Errors
    /// The file cannot be read on; the error names it.
    pub(in crate::codec) fn next(&mut self, file: &str) -> Result<Option<RawRow<'_>>> {
        match self.layout {
            Layout::Lines => self.next_line().map_err(|error| unreadable(file, error)),
            Layout::Array { elements, state } => self.next_element(file, elements, state),
        }
    }

    fn next_line(&mut self) -> io::Result<Option<RawRow<'_>>> {
        loop {
            self.buffer.clear();
            let limit = MAX_ROW_BYTES as u64 + 2;
            if (&mut self.input).take(limit).read_until(b'\n', &mut self.buffer)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            if self.line == 1 && self.buffer.starts_with(BYTE_ORDER_MARK) {
                self.buffer.drain(..BYTE_ORDER_MARK.len());
            }
            let ended = self.buffer.pop_if(|byte| *byte == b'\n').is_some();
            if ended {
                self.buffer.pop_if(|byte| *byte == b'\r');
            }
            if self.buffer.len() > MAX_ROW_BYTES {
                if !ended {
                    self.input.skip_until(b'\n')?;
                }
                self.buffer.clear();
                return Ok(Some(RawRow { line: self.line, element: None, bytes: &[], too_long: true }));
            }
            if !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        Ok(Some(RawRow { line: self.line, element: None, bytes: &self.buffer, too_long: false }))
    }

    fn next_element(&mut self, file: &str, elements: u64, mut state: State) -> Result<Option<RawRow<'_>>> {
        let io = |error| unreadable(file, error);
        if state == State::Start {
            self.skip_byte_order_mark().map_err(io)?;
            match self.skip_blank().map_err(io)? {
                Some(b'[') => self.input.consume(1),
                Some(_) => return Err(no_array(file)),
                None => return Err(cut_off(file, elements)),
            }
            state = State::First;
        }
        let found = self.skip_blank().map_err(io)?;
        let next = match (state, found) {
            (State::Closed, None) => return Ok(None),
            (_, None) => return Err(cut_off(file, elements)),
            (State::First | State::After, Some(b']')) => {
                self.input.consume(1);
                self.layout = Layout::Array { elements, state: State::Closed };
                return self.next_element(file, elements, State::Closed);
            }
            (State::After, Some(b',')) => {
                self.input.consume(1);
                self.skip_blank().map_err(io)?
            }
            (State::First, found) => found,
            (_, Some(byte)) => return Err(self.broken(file, byte)),
        };
        match next {
            None => return Err(cut_off(file, elements)),
            Some(byte @ (b',' | b']' | b'}' | b':')) => return Err(self.broken(file, byte)),
            Some(_) => {}
        }
        let line = self.line;
        let too_long = self.take_value().map_err(io)?.ok_or_else(|| cut_off(file, elements))?;
        self.layout = Layout::Array { elements: elements + 1, state: State::After };
        Ok(Some(RawRow { line, element: Some(elements + 1), bytes: &self.buffer, too_long }))
    }

    /// Takes one JSON value into the buffer, by its brackets and strings alone. `None` where the input ends before it
    /// does; else whether it is too long, and was not kept.
    fn take_value(&mut self) -> io::Result<Option<bool>> {
        self.buffer.clear();
        let (mut scan, mut too_long) = (Scan::default(), false);
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let mut taken = 0;
            let mut ended = false;
            for byte in chunk {
                if scan.ends_before(*byte) {
                    ended = true;
                    break;
                }
                taken += 1;
                self.line += u64::from(*byte == b'\n');
                if scan.ends_with(*byte) {
                    ended = true;
                    break;
                }
            }
            too_long |= self.buffer.len() + taken > MAX_ROW_BYTES;
            match chunk.get(..taken) {
                Some(bytes) if !too_long => self.buffer.extend_from_slice(bytes),
                _ => self.buffer.clear(),
            }
            self.input.consume(taken);
            if ended {
                return Ok(Some(too_long));
            }
        }
    }

    /// Passes white space; the byte after it, which stays.
    fn skip_blank(&mut self) -> io::Result<Option<u8>> {
        loop {
            let Some(byte) = self.input.fill_buf()?.first().copied() else { return Ok(None) };
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Ok(Some(byte));
            }
            self.line += u64::from(byte == b'\n');
            self.input.consume(1);
        }
    }

    fn skip_byte_order_mark(&mut self) -> io::Result<()> {
        for expected in BYTE_ORDER_MARK {
            if self.input.fill_buf()?.first() != Some(expected) {
                break;
            }
            self.input.consume(1);
        }
        Ok(())
    }

    fn broken(&self, file: &str, byte: u8) -> EngineError {
        let byte = char::from(byte);
        EngineError::failed(format!("{file:?}: the JSON array is broken at line {}: unexpected {byte:?}", self.line))
            .with_hint("repair the file; rows after the break cannot be told apart")
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Where a JSON value ends.
#[derive(Default)]
struct Scan {
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// A number or a word, which only what follows it ends.
    bare: bool,
}

impl Scan {
    fn ends_before(&self, byte: u8) -> bool {
        self.bare && matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n')
    }

    fn ends_with(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return !self.in_string && self.depth == 0;
        }
        match byte {
            b'"' if !self.bare => self.in_string = true,
            b'{' | b'[' if !self.bare => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ if self.depth == 0 => self.bare = true,
            _ => {}
        }
        self.depth == 0 && matches!(byte, b'}' | b']')
    }
}

fn cut_off(file: &str, elements: u64) -> EngineError {
    EngineError::failed(format!("{file:?} is cut off: the JSON array does not end, after {elements} elements"))
        .with_hint("fetch the file again; nothing after the cut can be read")
}

fn no_array(file: &str) -> EngineError {
    EngineError::failed(format!("{file:?} is no JSON array"))
        .with_hint("for one object a line use the format jsonl, or the ending .jsonl")
}

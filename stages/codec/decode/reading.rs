//! How the text of one value becomes a cell of its column.

use std::fmt;

use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, Float16Type, TimeUnit};
use restow_core::record;
use serde_json::value::RawValue;

use super::cell::Cell;
use super::rows::Fields;
use crate::codec::text;
use crate::codec::types::{FLOAT_KEY, FLOAT_ROUNDED, FLOAT_WIDE};

/// Characters of a value that a message shows.
const SHOWN: usize = 60;

/// A cell, and the text to be kept beside it where the cell does not print as it.
type Read = Result<(Cell, Option<String>), String>;

/// How the values of a column are read.
#[derive(Debug, Clone)]
pub(in crate::codec) enum Reading {
    Bool,
    Whole { low: i128, high: i128 },
    Float(Float),
    Text,
    Json,
    Timestamp { unit: TimeUnit, zoned: bool },
    Date,
    Decimal { precision: u8, scale: i8 },
    Vector { length: usize, float: Float },
    Fixed { length: usize, item: Box<Reading> },
    List(Box<Reading>),
    Struct(Vec<(String, Reading)>),
}

/// How the text of a float is taken.
#[derive(Debug, Clone, Copy)]
pub(in crate::codec) struct Float {
    width: Width,
    written: Written,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    F16,
    F32,
    F64,
}

/// What the metadata [`FLOAT_KEY`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Shortest,
    Wide,
    Rounded,
}

impl Reading {
    /// How the values of this field are read; `None` for a type that no text stands for.
    pub(in crate::codec) fn of(field: &Field) -> Option<Self> {
        if record::is_json(field) {
            return Some(Self::Json);
        }
        let written = match field.metadata().get(FLOAT_KEY).map(String::as_str) {
            Some(FLOAT_WIDE) => Written::Wide,
            Some(FLOAT_ROUNDED) => Written::Rounded,
            _ => Written::Shortest,
        };
        Self::of_type(field.data_type(), written)
    }

    fn of_type(data_type: &DataType, written: Written) -> Option<Self> {
        let whole = |low: i128, high: i128| Some(Self::Whole { low, high });
        if let Some(float) = Float::of(data_type, written) {
            return Some(Self::Float(float));
        }
        match data_type {
            DataType::Boolean => Some(Self::Bool),
            DataType::Int8 => whole(i8::MIN.into(), i8::MAX.into()),
            DataType::Int16 => whole(i16::MIN.into(), i16::MAX.into()),
            DataType::Int32 => whole(i32::MIN.into(), i32::MAX.into()),
            DataType::Int64 => whole(i64::MIN.into(), i64::MAX.into()),
            DataType::UInt8 => whole(0, u8::MAX.into()),
            DataType::UInt16 => whole(0, u16::MAX.into()),
            DataType::UInt32 => whole(0, u32::MAX.into()),
            DataType::UInt64 => whole(0, u64::MAX.into()),
            DataType::Utf8 => Some(Self::Text),
            DataType::Date32 => Some(Self::Date),
            DataType::Timestamp(unit, zone) => {
                let utc = zone.as_deref().is_none_or(|zone| matches!(zone, "UTC" | "+00:00"));
                utc.then_some(Self::Timestamp { unit: *unit, zoned: zone.is_some() })
            }
            DataType::Decimal128(precision, scale) => Some(Self::Decimal { precision: *precision, scale: *scale }),
            DataType::FixedSizeList(item, length) => {
                let length = usize::try_from(*length).ok()?;
                match Float::of(item.data_type(), written) {
                    Some(float) => Some(Self::Vector { length, float }),
                    None => Some(Self::Fixed { length, item: Box::new(Self::of_type(item.data_type(), written)?) }),
                }
            }
            DataType::List(item) => Some(Self::List(Box::new(Self::of_type(item.data_type(), written)?))),
            DataType::Struct(fields) => {
                let fields =
                    fields.iter().map(|field| Some((field.name().clone(), Self::of_type(field.data_type(), written)?)));
                fields.collect::<Option<_>>().map(Self::Struct)
            }
            _ => None,
        }
    }

    /// What a value of it is called in messages.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Whole { .. } => "whole number",
            Self::Float(_) => "float",
            Self::Text => "text",
            Self::Json => "JSON",
            Self::Timestamp { .. } => "timestamp",
            Self::Date => "date",
            Self::Decimal { .. } => "decimal",
            Self::Vector { .. } => "vector",
            Self::Fixed { .. } | Self::List(_) => "list",
            Self::Struct(_) => "object",
        }
    }

    /// Whether an empty text is a value of its own.
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Text)
    }

    /// Reads a JSON value that is not null.
    pub(in crate::codec) fn read(&self, raw: &str) -> Read {
        match (self, raw.as_bytes().first()) {
            (Self::Json, _) => Ok((Cell::Text(compact(raw)), None)),
            (Self::Bool, Some(b't')) => Ok((Cell::Bool(true), None)),
            (Self::Bool, Some(b'f')) => Ok((Cell::Bool(false), None)),
            (Self::Text | Self::Timestamp { .. } | Self::Date | Self::Decimal { .. }, Some(b'"')) => {
                let text: String = serde_json::from_str(raw).map_err(|error| self.refuse_because(raw, &error))?;
                self.read_text(text)
            }
            (Self::Whole { .. } | Self::Float(_) | Self::Decimal { .. }, Some(b'-' | b'0'..=b'9')) => {
                self.read_number(raw)
            }
            (Self::Vector { length, float }, Some(b'[')) => float.vector(raw, *length).map(|cell| (cell, None)),
            (Self::Fixed { item, .. } | Self::List(item), Some(b'[')) => self.read_list(item, raw),
            (Self::Struct(fields), Some(b'{')) => self.read_struct(fields, raw),
            _ => Err(self.refuse(raw)),
        }
    }

    /// Reads a value that stands by itself, without JSON's quotes, as in CSV.
    pub(in crate::codec) fn read_plain(&self, text: &str) -> Read {
        match self {
            Self::Text | Self::Timestamp { .. } | Self::Date | Self::Decimal { .. } => self.read_text(text.to_owned()),
            Self::Whole { .. } | Self::Float(_) if text::is_number(text) => self.read_number(text),
            Self::Whole { .. } | Self::Float(_) => Err(self.refuse(text)),
            Self::Bool if !matches!(text, "true" | "false") => Err(self.refuse(text)),
            _ => {
                let raw: &RawValue = serde_json::from_str(text).map_err(|error| self.refuse_because(text, &error))?;
                self.read(raw.get())
            }
        }
    }

    fn read_text(&self, text: String) -> Read {
        match self {
            Self::Text => Ok((Cell::Text(text), None)),
            Self::Timestamp { unit, zoned } => match text::parse_timestamp(&text, *unit, *zoned) {
                Some((value, canonical)) => Ok((Cell::Whole(value.into()), (!canonical).then_some(text))),
                None => Err(self.refuse(&text)),
            },
            Self::Date => match text::parse_date(&text) {
                Some(days) => Ok((Cell::Whole(days.into()), None)),
                None => Err(self.refuse(&text)),
            },
            _ if text::is_number(&text) => self.read_number(&text),
            _ => Err(self.refuse(&text)),
        }
    }

    fn read_number(&self, number: &str) -> Read {
        match self {
            Self::Whole { low, high } => {
                let value = Some(number).filter(|number| text::is_whole(number)).and_then(|number| number.parse().ok());
                match value.filter(|value| (low..=high).contains(&value)) {
                    Some(value) => Ok((Cell::Whole(value), None)),
                    None if text::is_whole(number) => {
                        Err(format!("{} is out of range, from {low} to {high}", shown(number)))
                    }
                    None => Err(self.refuse(number)),
                }
            }
            Self::Float(float) => match float.read(number) {
                Some((cell, exact)) => Ok((cell, (!exact).then(|| number.to_owned()))),
                None => Err(format!("{} is too large for {}", shown(number), float.width)),
            },
            Self::Decimal { precision, scale } => match decimal(number, *precision, *scale) {
                Some(value) => Ok((Cell::Whole(value), None)),
                None => Err(format!("{} does not fit decimal({precision},{scale}) exactly", shown(number))),
            },
            _ => Err(self.refuse(number)),
        }
    }

    fn read_list(&self, item: &Self, raw: &str) -> Read {
        let items: Vec<&RawValue> = serde_json::from_str(raw).map_err(|error| self.refuse_because(raw, &error))?;
        if let Self::Fixed { length, .. } = self
            && items.len() != *length
        {
            return Err(wrong_length(items.len(), *length));
        }
        let mut cells = Vec::with_capacity(items.len());
        for (at, value) in items.iter().enumerate() {
            cells.push(item.read_inner(value.get()).map_err(|reason| format!("element {}: {reason}", at + 1))?);
        }
        Ok((Cell::List(cells), None))
    }

    fn read_struct(&self, fields: &[(String, Self)], raw: &str) -> Read {
        let found: Fields<'_> = serde_json::from_str(raw).map_err(|error| self.refuse_because(raw, &error))?;
        let mut cells = vec![Cell::Null; fields.len()];
        for (name, value) in found.0 {
            let at = fields.iter().position(|(known, _)| *known == name);
            let known = at.and_then(|at| Some((fields.get(at)?, cells.get_mut(at)?)));
            let ((_, reading), cell) = known.ok_or_else(|| format!("{} has an unknown part {name:?}", shown(raw)))?;
            *cell = reading.read_inner(value.get()).map_err(|reason| format!("part {name:?}: {reason}"))?;
        }
        if cells.iter().any(|cell| matches!(cell, Cell::Null)) {
            return Err(format!("{} lacks a part of the object", shown(raw)));
        }
        Ok((Cell::Struct(cells), None))
    }

    /// Reads an element: null is allowed, a text beside it is not.
    fn read_inner(&self, raw: &str) -> Result<Cell, String> {
        if raw == "null" {
            return Ok(Cell::Null);
        }
        match self.read(raw)? {
            (cell, None) => Ok(cell),
            (_, Some(_)) => Err(format!("{} is no exact {}", shown(raw), self.noun())),
        }
    }

    fn refuse(&self, raw: &str) -> String {
        format!("{} is no {}", shown(raw), self.noun())
    }

    fn refuse_because(&self, raw: &str, error: &serde_json::Error) -> String {
        let text = error.to_string();
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
        format!("{} is no {}: {message}", shown(raw), self.noun())
    }
}

impl Float {
    fn of(data_type: &DataType, written: Written) -> Option<Self> {
        let width = match data_type {
            DataType::Float16 => Width::F16,
            DataType::Float32 => Width::F32,
            DataType::Float64 => Width::F64,
            _ => return None,
        };
        Some(Self { width, written })
    }

    /// The float nearest to the number, and whether the number is exactly what it prints as. `None` where it is too
    /// large.
    fn read(self, number: &str) -> Option<(Cell, bool)> {
        if self.width == Width::F64 {
            let value = number.parse::<f64>().ok().filter(|value| value.is_finite())?;
            return Some((Cell::F64(value), text::means(number, value)));
        }
        let (value, exact) = self.narrow(number)?;
        Some((Cell::F32(value), exact))
    }

    fn narrow(self, number: &str) -> Option<(f32, bool)> {
        let value = match self.width {
            Width::F16 => <Float16Type as ArrowPrimitiveType>::Native::from_f64(number.parse().ok()?).to_f32(),
            Width::F32 | Width::F64 => number.parse().ok()?,
        };
        let exact = match self.written {
            Written::Shortest => text::is_shortest(number, value),
            Written::Wide => text::is_shortest_wide(number, value),
            Written::Rounded => true,
        };
        value.is_finite().then_some((value, exact))
    }

    /// Reads an array of numbers of this length, which is valid JSON.
    fn vector(self, raw: &str, length: usize) -> Result<Cell, String> {
        let numbers = numbers_of(raw).ok_or_else(|| format!("{} is no vector of numbers", shown(raw)))?;
        let inexact = |at: usize, number: &str| {
            format!("element {}: {} cannot be held exactly in {}", at + 1, shown(number), self.width)
        };
        let mut count = 0;
        let (mut floats, mut doubles) = (Vec::new(), Vec::new());
        if self.width == Width::F64 {
            doubles.reserve(length)
        } else {
            floats.reserve(length)
        }
        for (at, number) in numbers.enumerate() {
            match self.read(number) {
                _ if !text::is_number(number) => {
                    return Err(format!("element {}: {} is no number", at + 1, shown(number)));
                }
                Some((Cell::F64(value), true)) => doubles.push(value),
                Some((Cell::F32(value), true)) => floats.push(value),
                _ => return Err(inexact(at, number)),
            }
            count += 1;
        }
        if count != length {
            return Err(wrong_length(count, length));
        }
        Ok(if self.width == Width::F64 { Cell::Doubles(doubles) } else { Cell::Floats(floats) })
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F16 => "a 16-bit float",
            Self::F32 => "a 32-bit float",
            Self::F64 => "a 64-bit float",
        })
    }
}

/// The elements of a JSON array without strings and arrays inside; `None` where it is no array, or holds those.
pub(in crate::codec) fn numbers_of(raw: &str) -> Option<impl Iterator<Item = &str>> {
    let inner = raw.strip_prefix('[')?.strip_suffix(']')?.trim();
    let flat = !inner.bytes().any(|byte| matches!(byte, b'"' | b'[' | b'{'));
    // An empty array has no elements, where splitting gives one that is empty.
    flat.then(|| inner.split(',').map(str::trim).filter(move |_| !inner.is_empty()))
}

/// JSON text as it is kept: as it was written, and where it has line breaks, without white space between its parts.
pub(in crate::codec) fn compact(raw: &str) -> String {
    if !raw.contains(['\n', '\r']) {
        return raw.to_owned();
    }
    let mut text = String::with_capacity(raw.len());
    let (mut in_string, mut escaped) = (false, false);
    for character in raw.chars() {
        if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if matches!(character, ' ' | '\t' | '\r' | '\n') {
            continue;
        } else {
            in_string = character == '"';
        }
        text.push(character);
    }
    text
}

/// Whether text can stand for the values of this field.
pub(in crate::codec) fn readable(field: &Field) -> bool {
    Reading::of(field).is_some()
}

/// A value as messages show it.
pub(super) fn shown(raw: &str) -> String {
    if raw.chars().count() <= SHOWN {
        return raw.to_owned();
    }
    let head: String = raw.chars().take(SHOWN).collect();
    format!("{head}..")
}

fn wrong_length(found: usize, expected: usize) -> String {
    format!("it has {found} elements where the others have {expected}")
}

/// A number in JSON's grammar as a decimal without rounding.
fn decimal(number: &str, precision: u8, scale: i8) -> Option<i128> {
    if number.contains(['e', 'E']) {
        return None;
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    let scale = usize::try_from(scale).ok().filter(|scale| fraction.len() <= *scale)?;
    let value: i128 = format!("{whole}{fraction}{}", "0".repeat(scale - fraction.len())).parse().ok()?;
    let limit = 10_i128.checked_pow(u32::from(precision))?;
    (value.abs() < limit).then_some(value)
}

//! What the values of one column have in common.

use arrow::datatypes::{DataType, Field, TimeUnit};
use restow_core::record::{Role, vector_type};

use super::{MIN_VECTOR, Resolved};
use crate::codec::decode::{Reading, numbers_of};
use crate::codec::text;
use crate::codec::types::{FLOAT_KEY, FLOAT_WIDE, FORM_KEY, UUID, list_of, timestamp_type, vector_of};

/// Whole numbers up to this size are 64-bit floats exactly: 2^53.
const EXACT: i128 = 1 << 53;

/// What was seen of one column.
#[derive(Debug, Default)]
pub(super) struct Observed {
    declared: Option<(Field, Option<Reading>)>,
    declared_text: bool,
    nulls: u64,
    bools: u64,
    objects: u64,
    numbers: Numbers,
    strings: Strings,
    arrays: Arrays,
}

impl Observed {
    pub(super) fn new(declared: Option<&Field>) -> Self {
        Self { declared: declared.map(|field| (field.clone(), Reading::of(field))), ..Self::default() }
    }

    pub(super) fn has_nulls(&self) -> bool {
        self.nulls > 0
    }

    pub(super) fn see_json(&mut self, raw: &str) {
        if raw == "null" {
            self.nulls += 1;
            return;
        }
        if let Some((_, reading)) = &self.declared {
            // A value that cannot be read is a reject later, and says nothing about the column.
            self.declared_text |= reading.as_ref().is_some_and(|reading| matches!(reading.read(raw), Ok((_, Some(_)))));
            return;
        }
        match raw.as_bytes().first() {
            Some(b't' | b'f') => self.bools += 1,
            Some(b'{') => self.objects += 1,
            Some(b'"') => match serde_json::from_str::<std::borrow::Cow<'_, str>>(raw) {
                Ok(text) => self.strings.see(&text),
                Err(_) => self.strings.see(raw),
            },
            Some(b'[') => self.arrays.see(raw),
            _ => self.numbers.see(raw),
        }
    }

    /// Sees a CSV field; an empty one is no value.
    pub(super) fn see_text(&mut self, field: &str) {
        if field.is_empty() {
            return;
        }
        if let Some((_, reading)) = &self.declared {
            self.declared_text |=
                reading.as_ref().is_some_and(|reading| matches!(reading.read_plain(field), Ok((_, Some(_)))));
        } else if matches!(field, "true" | "false") {
            self.bools += 1;
        } else if text::is_number(field) {
            self.numbers.see(field);
        } else {
            self.strings.see(field);
        }
    }

    pub(super) fn resolve(&self, name: &str, csv: bool) -> Resolved {
        if let Some((field, _)) = &self.declared {
            return Resolved { field: field.clone(), text: self.declared_text };
        }
        let kinds = [self.bools, self.objects, self.numbers.count(), self.strings.count, self.arrays.count];
        let only = |count: u64| count > 0 && kinds.iter().filter(|count| **count > 0).count() == 1;
        let found = if only(self.bools) {
            Some(Resolved::of(name, DataType::Boolean))
        } else if only(self.numbers.count()) {
            self.numbers.resolve().map(|(data_type, text)| Resolved { text, ..Resolved::of(name, data_type) })
        } else if only(self.strings.count) {
            Some(self.strings.resolve(name))
        } else if only(self.arrays.count) {
            self.arrays.resolve(name)
        } else {
            None
        };
        match found {
            Some(resolved) => resolved,
            None if csv => Resolved::of(name, DataType::Utf8),
            None => Resolved::json(name),
        }
    }
}

#[derive(Debug, Default)]
struct Numbers {
    whole: u64,
    floats: u64,
    low: i128,
    high: i128,
    /// A whole number has more than 38 digits.
    beyond: bool,
    /// A number is larger than any 64-bit float.
    too_large: bool,
    /// A number is not exactly what its 64-bit float prints as.
    inexact: bool,
}

impl Numbers {
    fn count(&self) -> u64 {
        self.whole + self.floats
    }

    fn see(&mut self, number: &str) {
        if text::is_whole(number) {
            self.whole += 1;
            match number.parse::<i128>() {
                Ok(value) => {
                    (self.low, self.high) = (self.low.min(value), self.high.max(value));
                    if (-EXACT..=EXACT).contains(&value) {
                        return;
                    }
                }
                Err(_) => self.beyond = true,
            }
        } else {
            self.floats += 1;
        }
        match number.parse::<f64>() {
            Ok(value) if value.is_finite() => self.inexact |= !self.inexact && !text::means(number, value),
            _ => self.too_large = true,
        }
    }

    /// The type that holds all of them, and whether texts must be kept; `None` where no type does.
    fn resolve(&self) -> Option<(DataType, bool)> {
        let within = |low: i128, high: i128| !self.beyond && self.low >= low && self.high <= high;
        if self.floats > 0 {
            return (!self.too_large).then_some((DataType::Float64, self.inexact));
        }
        if within(i64::MIN.into(), i64::MAX.into()) {
            return Some((DataType::Int64, false));
        }
        within(0, u64::MAX.into()).then_some((DataType::UInt64, false))
    }
}

#[derive(Debug, Default)]
struct Strings {
    count: u64,
    timestamps: u64,
    dates: u64,
    uuids: u64,
    /// A timestamp does not print as it was written.
    uncanonical: bool,
}

impl Strings {
    fn see(&mut self, text: &str) {
        // A form that an earlier value did not have is not looked for any more.
        if self.timestamps == self.count
            && let Some((_, canonical)) = text::parse_timestamp(text, TimeUnit::Microsecond, true)
        {
            self.timestamps += 1;
            self.uncanonical |= !canonical;
        } else if self.dates == self.count && text::parse_date(text).is_some() {
            self.dates += 1;
        } else if self.uuids == self.count && text::is_uuid(text) {
            self.uuids += 1;
        }
        self.count += 1;
    }

    fn resolve(&self, name: &str) -> Resolved {
        if self.timestamps == self.count {
            return Resolved { text: self.uncanonical, ..Resolved::of(name, timestamp_type()) };
        }
        if self.dates == self.count {
            return Resolved::of(name, DataType::Date32);
        }
        let text = Resolved::of(name, DataType::Utf8);
        if self.uuids == self.count { text.with(FORM_KEY, UUID) } else { text }
    }
}

#[derive(Debug)]
struct Arrays {
    count: u64,
    /// The length of all of them; `None` where they differ.
    length: Option<usize>,
    bools: u64,
    strings: u64,
    numbers: Numbers,
    nulls: u64,
    nested: bool,
    /// All numbers are the shortest text of a 32-bit float.
    shortest: bool,
    /// All numbers are the text of a 32-bit float that was widened to 64 bits.
    wide: bool,
}

impl Default for Arrays {
    fn default() -> Self {
        Self {
            count: 0,
            length: None,
            bools: 0,
            strings: 0,
            numbers: Numbers::default(),
            nulls: 0,
            nested: false,
            shortest: true,
            wide: true,
        }
    }
}

impl Arrays {
    fn see(&mut self, raw: &str) {
        let mut length = 0;
        match numbers_of(raw) {
            Some(items) => {
                for item in items {
                    length += 1;
                    self.see_item(item);
                }
            }
            None => match serde_json::from_str::<Vec<&serde_json::value::RawValue>>(raw) {
                Ok(items) => {
                    length = items.len();
                    items.iter().for_each(|item| self.see_item(item.get()));
                }
                Err(_) => self.nested = true,
            },
        }
        self.length = (self.count == 0 || self.length == Some(length)).then_some(length);
        self.count += 1;
    }

    fn see_item(&mut self, raw: &str) {
        match raw.as_bytes().first() {
            Some(b't' | b'f') => self.bools += 1,
            Some(b'n') => self.nulls += 1,
            Some(b'"') => self.strings += 1,
            Some(b'[' | b'{') => self.nested = true,
            _ => {
                self.numbers.see(raw);
                if self.shortest || self.wide {
                    let value: f32 = raw.parse().unwrap_or(f32::INFINITY);
                    self.shortest = self.shortest && value.is_finite() && text::is_shortest(raw, value);
                    self.wide = self.wide && value.is_finite() && text::is_shortest_wide(raw, value);
                }
            }
        }
    }

    fn resolve(&self, name: &str) -> Option<Resolved> {
        let kinds = [self.bools, self.strings, self.numbers.count()];
        if self.nested || kinds.iter().filter(|count| **count > 0).count() != 1 {
            return None;
        }
        if self.bools > 0 {
            return Some(Resolved::of(name, list_of(DataType::Boolean)));
        }
        if self.strings > 0 {
            return Some(Resolved::of(name, list_of(DataType::Utf8)));
        }
        let (item, inexact) = self.numbers.resolve()?;
        let length = self.length.filter(|length| *length >= MIN_VECTOR && self.nulls == 0 && self.numbers.floats > 0);
        // A number half-way between two texts is not printed as the one that was read, and is the same 32-bit float.
        if inexact && !(length.is_some() && (self.shortest || self.wide)) {
            return None;
        }
        match length {
            Some(length) => self.vector(name, i32::try_from(length).ok()?),
            None => Some(Resolved::of(name, list_of(item))),
        }
    }

    fn vector(&self, name: &str, dimension: i32) -> Option<Resolved> {
        let resolved = if self.shortest {
            Resolved::of(name, vector_type(dimension))
        } else if self.wide {
            Resolved::of(name, vector_type(dimension)).with(FLOAT_KEY, FLOAT_WIDE)
        } else {
            Resolved::of(name, vector_of(DataType::Float64, dimension))
        };
        Some(resolved.with_role(Role::Vector))
    }
}

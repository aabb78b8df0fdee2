//! One value as JSON.

use std::io::Write as _;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Float16Array, Float32Array, Float64Array, Int64Array,
    ListArray, StringArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Field, Float16Type, Float32Type, Float64Type, Int64Type,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt16Type, UInt64Type,
};
use restow_core::record;
use serde_json::value::RawValue;

use crate::codec::decode::compact;
use crate::codec::text;
use crate::codec::types::{FLOAT_KEY, FLOAT_WIDE};

/// Prints the values of one column of a batch.
pub(super) struct Printer<'a> {
    values: Values,
    /// Texts that stand for the values, as far as they still mean the same.
    text: Option<&'a StringArray>,
    /// The lists of explicit nulls, and this column's number in them.
    nulls: Option<(&'a ListArray, u16)>,
}

/// The values, by how they print.
enum Values {
    /// A column that has nothing but nulls.
    Null,
    Bool(BooleanArray),
    Signed(Int64Array),
    Unsigned(UInt64Array),
    Half(Float16Array, bool),
    Single(Float32Array, bool),
    Double(Float64Array),
    Text(StringArray),
    /// JSON text.
    Json(StringArray),
    /// Numbers that Arrow itself prints exactly.
    Decimal(ArrayRef),
    /// Timestamps in their unit, and whether with a time zone.
    Timestamp(Int64Array, TimeUnit, bool),
    Date(arrow::array::Date32Array),
    /// Offsets and elements of lists of any length.
    List(ArrayRef, Vec<usize>, Box<Values>),
    /// Length and elements of lists of one length.
    Fixed(ArrayRef, usize, Box<Values>),
    Struct(ArrayRef, Vec<(Vec<u8>, Values)>),
}

impl<'a> Printer<'a> {
    pub(super) fn new(
        field: &Field,
        array: &ArrayRef,
        text: Option<&'a StringArray>,
        nulls: Option<(&'a ListArray, u16)>,
    ) -> Result<Self, String> {
        let wide = field.metadata().get(FLOAT_KEY).is_some_and(|written| written == FLOAT_WIDE);
        let values = if record::is_json(field) { Values::Json(strings(array)?) } else { Values::new(array, wide)? };
        Ok(Self { values, text, nulls })
    }

    /// Whether the row has no such column.
    pub(super) fn is_absent(&self, row: usize) -> bool {
        self.values.is_null(row) && !self.is_explicit(row)
    }

    pub(super) fn print(&self, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        if self.values.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match self.text.filter(|text| text.is_valid(row)).map(|text| text.value(row)) {
            Some(text) if self.values.is_meant_by(row, text) => self.values.print_text(text, out),
            _ => self.values.print(row, out),
        }
    }

    fn is_explicit(&self, row: usize) -> bool {
        let Some((lists, number)) = self.nulls.filter(|(lists, _)| lists.is_valid(row)) else { return false };
        let list = lists.value(row);
        list.as_primitive_opt::<UInt16Type>().is_some_and(|numbers| numbers.values().contains(&number))
    }
}

impl Values {
    fn new(array: &ArrayRef, wide: bool) -> Result<Self, String> {
        let signed = || cast(array, &DataType::Int64).map(|array| array.as_primitive::<Int64Type>().clone());
        let unsigned = || cast(array, &DataType::UInt64).map(|array| array.as_primitive::<UInt64Type>().clone());
        let values = match array.data_type() {
            DataType::Null => Ok(Self::Null),
            DataType::Boolean => Ok(Self::Bool(array.as_boolean().clone())),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => signed().map(Self::Signed),
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => unsigned().map(Self::Unsigned),
            DataType::Float16 => Ok(Self::Half(array.as_primitive::<Float16Type>().clone(), wide)),
            DataType::Float32 => Ok(Self::Single(array.as_primitive::<Float32Type>().clone(), wide)),
            DataType::Float64 => Ok(Self::Double(array.as_primitive::<Float64Type>().clone())),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => return strings(array).map(Self::Text),
            DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
                cast_decimal(array).map(Self::Decimal)
            }
            DataType::Timestamp(unit, zone) => Ok(Self::Timestamp(ticks(array, *unit), *unit, zone.is_some())),
            DataType::Date32 => Ok(Self::Date(array.as_primitive::<Date32Type>().clone())),
            DataType::Dictionary(_, value) => return cast_and_print(array, value, wide),
            DataType::List(_) => return Self::list(array, array, wide),
            DataType::LargeList(item) => {
                let lists = cast(array, &DataType::List(item.clone())).map_err(|error| error.to_string())?;
                return Self::list(array, &lists, wide);
            }
            DataType::FixedSizeList(_, length) => {
                let length = usize::try_from(*length).map_err(|error| error.to_string())?;
                let items = Self::new(array.as_fixed_size_list().values(), wide)?;
                Ok(Self::Fixed(array.clone(), length, Box::new(items)))
            }
            DataType::Struct(fields) => {
                let parts = fields.iter().zip(array.as_struct().columns()).map(|(field, column)| {
                    let mut key = serde_json::to_vec(field.name()).map_err(|error| error.to_string())?;
                    key.push(b':');
                    Ok::<_, String>((key, Self::new(column, wide)?))
                });
                let parts = parts.collect::<Result<_, _>>()?;
                Ok(Self::Struct(array.clone(), parts))
            }
            other => return Err(format!("{other} has no form in JSON")),
        };
        values.map_err(|error| error.to_string())
    }

    fn list(array: &ArrayRef, lists: &ArrayRef, wide: bool) -> Result<Self, String> {
        let lists = lists.as_list::<i32>();
        let offsets: Result<Vec<usize>, _> = lists.offsets().iter().map(|offset| usize::try_from(*offset)).collect();
        let items = Self::new(lists.values(), wide)?;
        Ok(Self::List(array.clone(), offsets.map_err(|error| error.to_string())?, Box::new(items)))
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(array) => array.is_null(row),
            Self::Signed(array) | Self::Timestamp(array, ..) => array.is_null(row),
            Self::Unsigned(array) => array.is_null(row),
            Self::Half(array, _) => array.is_null(row),
            Self::Single(array, _) => array.is_null(row),
            Self::Double(array) => array.is_null(row),
            Self::Text(array) | Self::Json(array) => array.is_null(row),
            Self::Date(array) => array.is_null(row),
            Self::Decimal(array) | Self::List(array, ..) | Self::Fixed(array, ..) | Self::Struct(array, _) => {
                array.is_null(row)
            }
        }
    }

    /// Prints a value that is not null.
    fn print(&self, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(array) => out.extend_from_slice(if array.value(row) { b"true" } else { b"false" }),
            Self::Signed(array) => written(write!(out, "{}", array.value(row)))?,
            Self::Unsigned(array) => written(write!(out, "{}", array.value(row)))?,
            Self::Half(array, wide) => single(array.value(row).to_f32(), *wide, out)?,
            Self::Single(array, wide) => single(array.value(row), *wide, out)?,
            Self::Double(array) => double(array.value(row), out)?,
            Self::Text(array) => string(array.value(row), out)?,
            Self::Json(array) => json(array.value(row), out)?,
            Self::Decimal(array) => decimal(array, row, out)?,
            Self::Timestamp(array, unit, zoned) => {
                let mut text = String::new();
                text::print_timestamp(array.value(row), *unit, *zoned, &mut text)
                    .ok_or_else(|| format!("the time {} has a year outside 0 to 9999", array.value(row)))?;
                string(&text, out)?;
            }
            Self::Date(array) => {
                let mut text = String::new();
                text::print_date(array.value(row), &mut text)
                    .ok_or_else(|| format!("the day {} has a year outside 0 to 9999", array.value(row)))?;
                string(&text, out)?;
            }
            Self::List(_, offsets, items) => {
                let (from, to) = offsets.get(row).zip(offsets.get(row + 1)).ok_or("a list has no offsets")?;
                items.print_all(*from..*to, out)?;
            }
            // The elements of a sliced array are sliced with it.
            Self::Fixed(_, length, items) => items.print_all(row * length..(row + 1) * length, out)?,
            Self::Struct(_, parts) => {
                for (at, (key, part)) in parts.iter().enumerate() {
                    out.push(if at == 0 { b'{' } else { b',' });
                    out.extend_from_slice(key);
                    part.print_or_null(row, out)?;
                }
                out.extend_from_slice(if parts.is_empty() { b"{}" } else { b"}" });
            }
        }
        Ok(())
    }

    fn print_all(&self, rows: std::ops::Range<usize>, out: &mut Vec<u8>) -> Result<(), String> {
        out.push(b'[');
        let first = rows.start;
        for row in rows {
            if row > first {
                out.push(b',');
            }
            self.print_or_null(row, out)?;
        }
        out.push(b']');
        Ok(())
    }

    fn print_or_null(&self, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        self.print(row, out)
    }

    /// Whether the text that is kept beside a value still stands for it: a transform may have changed the value alone.
    fn is_meant_by(&self, row: usize, text: &str) -> bool {
        match self {
            Self::Timestamp(array, unit, zoned) => {
                text::parse_timestamp(text, *unit, *zoned).is_some_and(|(value, _)| value == array.value(row))
            }
            Self::Double(array) => {
                let value: Option<f64> = text.parse().ok();
                text::is_number(text) && value.is_some_and(|value| value.to_bits() == array.value(row).to_bits())
            }
            Self::Single(array, _) => {
                let value: Option<f32> = text.parse().ok();
                text::is_number(text) && value.is_some_and(|value| value.to_bits() == array.value(row).to_bits())
            }
            _ => false,
        }
    }

    fn print_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::Timestamp(..) => string(text, out),
            _ => {
                out.extend_from_slice(text.as_bytes());
                Ok(())
            }
        }
    }
}

/// What JSON cannot hold: the first part of the type, in words.
pub(in crate::codec) fn unsupported(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            unsupported(item.data_type())
        }
        DataType::Struct(fields) => fields.iter().find_map(|field| unsupported(field.data_type())),
        DataType::Dictionary(_, value) => unsupported(value),
        DataType::Timestamp(_, Some(zone)) if !matches!(&**zone, "UTC" | "+00:00" | "Z") => Some(data_type.to_string()),
        DataType::Null
        | DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Date32 => None,
        other if other.is_numeric() || matches!(other, DataType::Timestamp(..)) => None,
        other => Some(other.to_string()),
    }
}

fn strings(array: &ArrayRef) -> Result<StringArray, String> {
    let array = cast(array, &DataType::Utf8).map_err(|error| error.to_string())?;
    Ok(array.as_string::<i32>().clone())
}

fn cast_and_print(array: &ArrayRef, value: &DataType, wide: bool) -> Result<Values, String> {
    Values::new(&cast(array, value).map_err(|error| error.to_string())?, wide)
}

/// Decimals of 32 and 64 bits are widened; the digits stay.
fn cast_decimal(array: &ArrayRef) -> Result<ArrayRef, arrow::error::ArrowError> {
    match array.data_type() {
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            cast(array, &DataType::Decimal128(*precision, *scale))
        }
        _ => Ok(array.clone()),
    }
}

/// The numbers of a timestamp array, whatever its unit.
fn ticks(array: &ArrayRef, unit: TimeUnit) -> Int64Array {
    fn plain<T: ArrowPrimitiveType<Native = i64>>(array: &ArrayRef) -> Int64Array {
        array.as_primitive::<T>().reinterpret_cast::<Int64Type>()
    }
    match unit {
        TimeUnit::Second => plain::<TimestampSecondType>(array),
        TimeUnit::Millisecond => plain::<TimestampMillisecondType>(array),
        TimeUnit::Microsecond => plain::<TimestampMicrosecondType>(array),
        TimeUnit::Nanosecond => plain::<TimestampNanosecondType>(array),
    }
}

fn single(value: f32, wide: bool, out: &mut Vec<u8>) -> Result<(), String> {
    if wide || !value.is_finite() {
        return double(f64::from(value), out);
    }
    serde_json::to_writer(out, &value).map_err(|error| error.to_string())
}

fn double(value: f64, out: &mut Vec<u8>) -> Result<(), String> {
    if !value.is_finite() {
        return Err(format!("{value} is no JSON number"));
    }
    serde_json::to_writer(out, &value).map_err(|error| error.to_string())
}

fn string(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    serde_json::to_writer(out, text).map_err(|error| error.to_string())
}

/// JSON text, checked: a transform may have made anything of it. Line breaks would end the row of JSON lines.
fn json(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| format!("its JSON text is broken: {error}"))?;
    let raw = raw.get();
    if raw.contains(['\n', '\r']) {
        out.extend_from_slice(compact(raw).as_bytes());
    } else {
        out.extend_from_slice(raw.as_bytes());
    }
    Ok(())
}

fn decimal(array: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let text = match array.data_type() {
        DataType::Decimal256(..) => array.as_primitive::<Decimal256Type>().value_as_string(row),
        _ => array.as_primitive::<Decimal128Type>().value_as_string(row),
    };
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn written(result: std::io::Result<()>) -> Result<(), String> {
    result.map_err(|error| error.to_string())
}

//! Rows as the objects that the server takes.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, Int64Array, ListArray, StringArray,
};
use arrow::buffer::Buffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type, TimeUnit};
use arrow::record_batch::RecordBatch;
use bytes::{Bytes, BytesMut};
use data_encoding::BASE64;
use restow_core::record::{TEXT_PREFIX, list_item};
use restow_core::{EngineError, Result};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::super::class::Kind;
use super::mapping::{Mapping, Use};
use crate::codec::text::{parse_timestamp, print_timestamp};

/// One row on its way to the server.
#[derive(Debug, Clone, Default)]
pub struct Object {
    /// Its id.
    pub id: Uuid,
    /// Its tenant; empty where its class has none.
    pub tenant: String,
    /// The properties that it has.
    pub properties: Vec<(String, Datum)>,
    /// The vectors that it has: name, little-endian floats, and the length of a row where a value is several vectors.
    pub vectors: Vec<(Option<String>, Bytes, Option<u16>)>,
    /// References: property, and its list as JSON.
    pub references: Vec<(String, Box<RawValue>)>,
}

/// The value of a property.
#[derive(Debug, Clone)]
pub enum Datum {
    Text(String),
    Int(i64),
    Number(f64),
    Bool(bool),
    Json(Box<RawValue>),
    Texts(Vec<String>),
    Ints(Vec<i64>),
    Numbers(Vec<f64>),
    Bools(Vec<bool>),
}

/// The columns of a batch, in the forms that objects need.
pub struct Columns<'a> {
    columns: Vec<(&'a Use, Values, Option<StringArray>)>,
    rows: usize,
}

enum Values {
    Text(StringArray),
    Int(Int64Array),
    Float(Float64Array),
    Bool(BooleanArray),
    Binary(BinaryArray),
    /// Microseconds; where the column counts finer, nanoseconds.
    Moment(Int64Array, TimeUnit),
    Texts(ListArray, StringArray),
    Ints(ListArray, Int64Array),
    Floats(ListArray, Float64Array),
    Bools(ListArray, BooleanArray),
    Moments(ListArray, Int64Array, TimeUnit),
    /// A list of lists of f32, or one level less.
    Vector(ArrayRef),
    Nothing,
}

impl<'a> Columns<'a> {
    /// Takes the columns of a batch apart.
    ///
    /// # Errors
    /// A column has not the type that the mapping was made for.
    pub fn new(mapping: &'a Mapping, batch: &RecordBatch) -> Result<Self> {
        let schema = batch.schema();
        let columns = mapping.uses.iter().zip(batch.columns()).zip(schema.fields()).map(|((use_, array), field)| {
            let values =
                Values::of(use_, field, array).map_err(|error| error.context(format!("column {:?}", field.name())))?;
            let text = match use_ {
                Use::Property { kind: Kind::Date, .. } => {
                    batch.column_by_name(&format!("{TEXT_PREFIX}{}", field.name())).map(to_text).transpose()?
                }
                _ => None,
            };
            Ok((use_, values, text))
        });
        Ok(Self { columns: columns.collect::<Result<_>>()?, rows: batch.num_rows() })
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// The object of a row.
    ///
    /// # Errors
    /// A value that the server cannot hold: says which.
    pub fn object(&self, row: usize) -> Result<Object, String> {
        let mut object = Object::default();
        let mut has_id = false;
        for (use_, values, text) in &self.columns {
            if values.is_null(row) {
                continue;
            }
            match use_ {
                Use::Id => {
                    let id = values.text(row);
                    object.id = Uuid::try_parse(&id)
                        .map_err(|_| format!("the id {id:?} is no UUID, and Weaviate takes no other"))?;
                    has_id = true;
                }
                Use::Tenant => object.tenant = values.text(row),
                Use::Property { name, kind } => {
                    let datum =
                        values.datum(row, *kind, text.as_ref()).map_err(|what| format!("property {name:?}: {what}"))?;
                    object.properties.push((name.clone(), datum));
                }
                Use::Vector { name, multi } => {
                    let (bytes, length) = values
                        .vector(row, *multi)
                        .map_err(|what| format!("vector {:?}: {what}", name.as_deref().unwrap_or("")))?;
                    if !bytes.is_empty() {
                        object.vectors.push((name.clone(), bytes, length));
                    }
                }
                Use::Reference(name) => {
                    let list = raw(&values.text(row)).map_err(|what| format!("property {name:?}: {what}"))?;
                    object.references.push((name.clone(), list));
                }
                Use::DateText(_) | Use::Nothing => {}
            }
        }
        if has_id { Ok(object) } else { Err("it has no id".to_owned()) }
    }
}

impl Values {
    fn of(use_: &Use, field: &Field, array: &ArrayRef) -> Result<Self> {
        Ok(match use_ {
            Use::Id | Use::Tenant | Use::Reference(_) => Self::Text(to_text(array)?),
            Use::Vector { multi, .. } => {
                let single = DataType::List(list_item(DataType::Float32).into());
                let wanted = if *multi { DataType::List(list_item(single).into()) } else { single };
                Self::Vector(to(array, &wanted)?)
            }
            Use::DateText(_) | Use::Nothing => Self::Nothing,
            Use::Property { kind, .. } => Self::of_property(*kind, field, array)?,
        })
    }

    fn of_property(kind: Kind, field: &Field, array: &ArrayRef) -> Result<Self> {
        let list = |item: DataType| -> Result<ListArray> {
            Ok(to(array, &DataType::List(list_item(item).into()))?.as_list::<i32>().clone())
        };
        let unit = |data_type: &DataType| match data_type {
            DataType::Timestamp(TimeUnit::Nanosecond, _) => TimeUnit::Nanosecond,
            _ => TimeUnit::Microsecond,
        };
        Ok(match kind {
            Kind::Int => Self::Int(to(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone()),
            Kind::Number => Self::Float(to(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone()),
            Kind::Boolean => Self::Bool(to(array, &DataType::Boolean)?.as_boolean().clone()),
            Kind::Blob if is_text(field.data_type()) => Self::Text(to_text(array)?),
            Kind::Blob => Self::Binary(to(array, &DataType::Binary)?.as_binary::<i32>().clone()),
            Kind::Date if is_text(field.data_type()) => Self::Text(to_text(array)?),
            Kind::Date => {
                let unit = unit(field.data_type());
                Self::Moment(moments(array, unit)?, unit)
            }
            Kind::Text | Kind::Uuid | Kind::Json | Kind::Reference => Self::Text(to_text(array)?),
            Kind::Ints => {
                let list = list(DataType::Int64)?;
                let items = list.values().as_primitive::<Int64Type>().clone();
                Self::Ints(list, items)
            }
            Kind::Numbers => {
                let list = list(DataType::Float64)?;
                let items = list.values().as_primitive::<Float64Type>().clone();
                Self::Floats(list, items)
            }
            Kind::Booleans => {
                let list = list(DataType::Boolean)?;
                let items = list.values().as_boolean().clone();
                Self::Bools(list, items)
            }
            Kind::Dates if matches!(field.data_type(), DataType::List(item) if !is_text(item.data_type())) => {
                let unit = match field.data_type() {
                    DataType::List(item) => unit(item.data_type()),
                    _ => TimeUnit::Microsecond,
                };
                let list = list(DataType::Timestamp(unit, Some("UTC".into())))?;
                let items = moments(list.values(), unit)?;
                Self::Moments(list, items, unit)
            }
            Kind::Texts | Kind::Dates | Kind::Uuids => {
                let list = list(DataType::Utf8)?;
                let items = list.values().as_string::<i32>().clone();
                Self::Texts(list, items)
            }
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Text(array) => array.is_null(row),
            Self::Int(array) | Self::Moment(array, _) => array.is_null(row),
            Self::Float(array) => array.is_null(row),
            Self::Bool(array) => array.is_null(row),
            Self::Binary(array) => array.is_null(row),
            Self::Texts(list, _)
            | Self::Ints(list, _)
            | Self::Floats(list, _)
            | Self::Bools(list, _)
            | Self::Moments(list, ..) => list.is_null(row),
            Self::Vector(array) => array.is_null(row),
            Self::Nothing => true,
        }
    }

    fn text(&self, row: usize) -> String {
        match self {
            Self::Text(array) => array.value(row).to_owned(),
            _ => String::new(),
        }
    }

    fn datum(&self, row: usize, kind: Kind, text: Option<&StringArray>) -> Result<Datum, String> {
        fn items<A: Array, T>(
            list: &ListArray,
            row: usize,
            values: &A,
            one: impl Fn(usize) -> Result<T, String>,
        ) -> Result<Vec<T>, String> {
            let offsets = list.value_offsets();
            let range = usize::try_from(offsets[row]).unwrap_or(0)..usize::try_from(offsets[row + 1]).unwrap_or(0);
            range
                .map(|index| if values.is_null(index) { Err("a list with nulls".to_owned()) } else { one(index) })
                .collect()
        }
        Ok(match self {
            Self::Text(array) if kind == Kind::Json => Datum::Json(raw(array.value(row))?),
            Self::Text(array) => Datum::Text(array.value(row).to_owned()),
            Self::Int(array) => Datum::Int(exact(array.value(row))?),
            Self::Float(array) => Datum::Number(finite(array.value(row))?),
            Self::Bool(array) => Datum::Bool(array.value(row)),
            Self::Binary(array) => Datum::Text(BASE64.encode(array.value(row))),
            Self::Moment(array, unit) => {
                let value = array.value(row);
                let text = text.filter(|text| text.is_valid(row)).map(|text| text.value(row));
                // A text counts only while it means the value beside it.
                match text.filter(|text| parse_timestamp(text, *unit, true).is_some_and(|(meant, _)| meant == value)) {
                    Some(text) => Datum::Text(text.to_owned()),
                    None => Datum::Text(moment(value, *unit)?),
                }
            }
            Self::Texts(list, values) => {
                Datum::Texts(items(list, row, values, |index| Ok(values.value(index).to_owned()))?)
            }
            Self::Ints(list, values) => Datum::Ints(items(list, row, values, |index| exact(values.value(index)))?),
            Self::Floats(list, values) => {
                Datum::Numbers(items(list, row, values, |index| finite(values.value(index)))?)
            }
            Self::Bools(list, values) => Datum::Bools(items(list, row, values, |index| Ok(values.value(index)))?),
            Self::Moments(list, values, unit) => {
                Datum::Texts(items(list, row, values, |index| moment(values.value(index), *unit))?)
            }
            Self::Vector(_) | Self::Nothing => return Err("it is no property".to_owned()),
        })
    }

    /// Little-endian floats, and the length of a row where a value is several vectors.
    fn vector(&self, row: usize, multi: bool) -> Result<(Bytes, Option<u16>), String> {
        let Self::Vector(array) = self else { return Err("it is no vector".to_owned()) };
        let value = array.as_list::<i32>().value(row);
        if !multi {
            return Ok((floats(&value)?, None));
        }
        let rows = value.as_list::<i32>();
        let mut bytes = BytesMut::new();
        let mut length = None;
        for index in 0..rows.len() {
            let one = rows.value(index);
            if *length.get_or_insert(one.len()) != one.len() {
                return Err("the vectors of one value have several lengths".to_owned());
            }
            bytes.extend_from_slice(&floats(&one)?);
        }
        let length = u16::try_from(length.unwrap_or(0)).map_err(|_| "more than 65535 dimensions".to_owned())?;
        Ok((bytes.freeze(), Some(length)))
    }
}

/// The floats of a vector as bytes, which stay where they are: hosts are little-endian, as the wire is (see `rows`).
fn floats(array: &ArrayRef) -> Result<Bytes, String> {
    if array.null_count() > 0 {
        return Err("a vector with nulls".to_owned());
    }
    Ok(Bytes::from_owner(Floats(array.as_primitive::<Float32Type>().values().inner().clone())))
}

/// A part of a column.
struct Floats(Buffer);

impl AsRef<[u8]> for Floats {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The server keeps whole numbers as 64-bit floats.
fn exact(value: i64) -> Result<i64, String> {
    if value as f64 as i64 == value && value != i64::MAX {
        return Ok(value);
    }
    Err(format!("{value} would be rounded: Weaviate keeps whole numbers as 64-bit floats"))
}

fn finite(value: f64) -> Result<f64, String> {
    if value.is_finite() { Ok(value) } else { Err(format!("{value} is no number that Weaviate can hold")) }
}

fn moment(value: i64, unit: TimeUnit) -> Result<String, String> {
    let mut text = String::new();
    print_timestamp(value, unit, true, &mut text).ok_or_else(|| "a year that RFC 3339 cannot write".to_owned())?;
    Ok(text)
}

fn raw(text: &str) -> Result<Box<RawValue>, String> {
    serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn moments(array: &ArrayRef, unit: TimeUnit) -> Result<Int64Array> {
    let moments = to(array, &DataType::Timestamp(unit, Some("UTC".into())))?;
    Ok(to(&moments, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

fn to_text(array: &ArrayRef) -> Result<StringArray> {
    Ok(to(array, &DataType::Utf8)?.as_string::<i32>().clone())
}

/// A value that does not fit is an error, never null.
fn to(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, data_type, &options).map_err(|error| EngineError::failed(error.to_string()))
}

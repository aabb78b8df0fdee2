//! Objects as the server sends them, by gRPC and by REST, as cells of a row.

use arrow::datatypes::TimeUnit;
use bytes::{Bytes, BytesMut};
use data_encoding::BASE64;
use restow_core::stage::Reject;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;

use super::class::{Kind, VectorIndex};
use super::client::proto::{self, ListKind, SearchResult};
use super::columns::{Column, Content, Shape};
use super::native::Object;
use super::rows::Cell;
use crate::codec::text::parse_timestamp;

/// An object of a REST page: the members that restow reads.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestObject {
    /// The id.
    pub id: String,
    #[serde(default)]
    creation_time_unix: i64,
    /// When it was last written, milliseconds.
    #[serde(default)]
    pub last_update_time_unix: i64,
    #[serde(default)]
    properties: Option<HashMap<String, Box<RawValue>>>,
    #[serde(default)]
    vector: Option<Vec<f32>>,
    #[serde(default)]
    vectors: Option<HashMap<String, Box<RawValue>>>,
}

/// A page of REST.
#[derive(Debug, Deserialize)]
pub struct RestPage {
    /// Its objects, in the order of their ids.
    #[serde(default)]
    pub objects: Option<Vec<Box<RawValue>>>,
}

/// The id of a result, in its usual form.
pub fn id_of(result: &SearchResult) -> Option<String> {
    let metadata = result.metadata.as_ref()?;
    match <[u8; 16]>::try_from(metadata.id_as_bytes.as_ref()) {
        Ok(bytes) => Some(id_text(u128::from_be_bytes(bytes))),
        Err(_) => std::str::from_utf8(&metadata.id).ok().filter(|id| !id.is_empty()).map(str::to_owned),
    }
}

/// An id as text. Its 36 bytes are written at once: there is one for each object, and `Display` goes the way of all formatting.
pub fn id_text(id: u128) -> String {
    uuid::Uuid::from_u128(id).hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).to_owned()
}

/// The id of a result as a number.
pub fn number_of(result: &SearchResult) -> Option<u128> {
    let metadata = result.metadata.as_ref()?;
    match <[u8; 16]>::try_from(metadata.id_as_bytes.as_ref()) {
        Ok(bytes) => Some(u128::from_be_bytes(bytes)),
        Err(_) => uuid::Uuid::try_parse_ascii(&metadata.id).ok().map(|id| id.as_u128()),
    }
}

/// The row of a result.
///
/// # Errors
/// A value does not fit its column; says which.
pub fn of_grpc(
    columns: &[Column],
    result: &mut SearchResult,
    mut id: String,
    tenant: &str,
) -> Result<Vec<Cell>, String> {
    let metadata = result.metadata.get_or_insert_default();
    let mut properties = result.properties.take().and_then(|p| p.non_ref_props).unwrap_or_default().fields;
    properties.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let mut date_texts: HashMap<String, String> = HashMap::new();
    let mut cells = Vec::with_capacity(columns.len());
    for column in columns {
        cells.push(match &column.content {
            Content::Id => Cell::Text(std::mem::take(&mut id)),
            Content::Tenant => Cell::Text(tenant.to_owned()),
            Content::Created => Cell::Moment(metadata.creation_time_unix),
            Content::Updated => Cell::Moment(metadata.last_update_time_unix),
            Content::Property(property) => {
                let value = take(&mut properties, &property.name);
                let cell = value.map_or(Ok(Cell::Absent), |value| of_value(property.kind, value));
                let cell = cell.map_err(|what| format!("property {:?} {what}", property.name))?;
                date_cell(property.kind, &property.name, cell, &mut date_texts)?
            }
            Content::DateText(name) => date_texts.remove(name).map_or(Cell::Absent, Cell::Text),
            Content::Vector(vector, shape) => grpc_vector(metadata, vector, *shape)?,
        });
    }
    Ok(cells)
}

/// The value of a property, out of those in the order of their names.
fn take(properties: &mut [proto::Field], name: &str) -> Option<proto::Kind> {
    let index = properties.binary_search_by(|field| field.name.as_ref().cmp(name.as_bytes())).ok()?;
    properties.get_mut(index)?.value.take()?.kind
}

/// Puts the vectors of a result into the row of an object that came without them.
///
/// # Errors
/// A vector does not fit its column; says which.
pub fn put_vectors(columns: &[Column], cells: &mut [Cell], result: &mut SearchResult) -> Result<(), String> {
    let metadata = result.metadata.get_or_insert_default();
    for (column, cell) in columns.iter().zip(cells) {
        if let Content::Vector(vector, shape) = &column.content {
            *cell = grpc_vector(metadata, vector, *shape)?;
        }
    }
    Ok(())
}

fn grpc_vector(metadata: &mut proto::MetadataResult, vector: &VectorIndex, shape: Shape) -> Result<Cell, String> {
    let (bytes, kind) = match &vector.name {
        None => (std::mem::take(&mut metadata.vector_bytes), 0),
        Some(name) => metadata
            .vectors
            .iter_mut()
            .find(|found| found.name == *name)
            .map(|found| (std::mem::take(&mut found.vector_bytes), found.kind))
            .unwrap_or_default(),
    };
    let cell = vector_cell(bytes, kind == proto::MULTI_FP32 || vector.multi)?;
    fits(cell, shape, vector.name.as_deref())
}

/// A date that was read as text becomes a moment; its text is kept where the moment does not print as it.
fn date_cell(kind: Kind, name: &str, cell: Cell, texts: &mut HashMap<String, String>) -> Result<Cell, String> {
    let (Kind::Date, Cell::Text(text)) = (kind, &cell) else { return Ok(cell) };
    let (moment, canonical) =
        moment_of(text).ok_or_else(|| format!("property {name:?} holds {text:?}, which is no date"))?;
    if !canonical {
        texts.insert(name.to_owned(), text.clone());
    }
    Ok(Cell::Moment(moment))
}

/// Microseconds, and whether they print as the text.
fn moment_of(text: &str) -> Option<(i64, bool)> {
    parse_timestamp(text, TimeUnit::Microsecond, true).or_else(|| {
        let parsed = chrono::DateTime::parse_from_rfc3339(text).ok()?;
        Some((parsed.timestamp_micros(), false))
    })
}

fn of_value(kind: Kind, value: proto::Kind) -> Result<Cell, String> {
    use proto::Kind as Wire;
    Ok(match (kind, value) {
        (_, Wire::Null(_)) => Cell::Absent,
        // Digests of blobs (`blobHash`) come as blobs.
        (Kind::Text, Wire::Text(text) | Wire::Blob(text)) | (Kind::Uuid, Wire::Uuid(text) | Wire::Text(text)) => {
            Cell::Text(text)
        }
        (Kind::Date, Wire::Date(text) | Wire::Text(text)) => Cell::Text(text),
        // The server turns 2^63 into the lowest number there is.
        (Kind::Int, Wire::Int(i64::MIN)) => {
            return Err("holds 2^63 or -2^63, which cannot be told apart over gRPC".to_owned());
        }
        (Kind::Int, Wire::Int(value)) => Cell::Int(value),
        (Kind::Int, Wire::Number(value)) => Cell::Int(whole(value)?),
        (Kind::Number, Wire::Number(value)) => Cell::Float(value),
        (Kind::Boolean, Wire::Bool(value)) => Cell::Bool(value),
        (Kind::Blob, Wire::Blob(text) | Wire::Text(text)) => Cell::Binary(base64(&text)?),
        (kind, Wire::List(list)) => of_list(kind, list.kind)?,
        (kind, value) => return Err(format!("is {value:?}, and its type is {kind:?}")),
    })
}

fn of_list(kind: Kind, list: Option<ListKind>) -> Result<Cell, String> {
    let texts = |list: Option<ListKind>| match list {
        None => Some(Vec::new()),
        Some(ListKind::Texts(found) | ListKind::Dates(found) | ListKind::Uuids(found)) => Some(found.values),
        _ => None,
    };
    let packed = |list: Option<ListKind>| match list {
        None => Some(Bytes::new()),
        Some(ListKind::Numbers(found) | ListKind::Ints(found)) => Some(found.values),
        _ => None,
    };
    let wrong = || format!("is a list of another type than {kind:?}");
    match kind {
        Kind::Texts | Kind::Dates | Kind::Uuids => texts(list).map(Cell::Texts).ok_or_else(wrong),
        Kind::Ints => Ok(Cell::Ints(eights(&packed(list).ok_or_else(wrong)?).map(i64::from_le_bytes).collect())),
        Kind::Numbers => Ok(Cell::Floats(eights(&packed(list).ok_or_else(wrong)?).map(f64::from_le_bytes).collect())),
        Kind::Booleans => match list {
            None => Ok(Cell::Bools(Vec::new())),
            Some(ListKind::Bools(found)) => Ok(Cell::Bools(found.values)),
            Some(_) => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

fn eights(bytes: &[u8]) -> impl Iterator<Item = [u8; 8]> + '_ {
    bytes.as_chunks::<8>().0.iter().copied()
}

fn whole(value: f64) -> Result<i64, String> {
    // 2^63 itself is no i64; the comparison is exact in floats.
    if value.fract() == 0.0 && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value) {
        return Ok(value as i64);
    }
    Err(format!("holds {value}, which is no whole number of 64 bits"))
}

fn base64(text: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(text.as_bytes()).map_err(|error| format!("is no base64: {error}"))
}

/// A vector on the wire. Several vectors in one begin with their length as u16.
fn vector_cell(bytes: Bytes, multi: bool) -> Result<Cell, String> {
    if bytes.is_empty() {
        return Ok(Cell::Absent);
    }
    if !multi {
        return Ok(Cell::Vector(bytes));
    }
    let head = bytes.first_chunk::<2>().ok_or("a vector of several is cut off")?;
    Ok(Cell::Rows(bytes.slice(2..), usize::from(u16::from_le_bytes(*head))))
}

/// Vectors of another length than the column's cannot be kept in it.
fn fits(cell: Cell, shape: Shape, name: Option<&str>) -> Result<Cell, String> {
    let found = match (&cell, shape) {
        (Cell::Vector(bytes), Shape::Fixed(_)) => bytes.len() / 4,
        (Cell::Rows(_, length), Shape::Fixed(_)) => *length,
        _ => return Ok(cell),
    };
    match shape {
        Shape::Fixed(length) if usize::try_from(length) != Ok(found) => Err(format!(
            "{} has {found} dimensions, and those that were looked at first had {length}; `vector_lengths: varying` at the source takes any",
            name.map_or_else(|| "the vector".to_owned(), |name| format!("vector {name:?}"))
        )),
        _ => Ok(cell),
    }
}

/// The row of an object of REST.
///
/// # Errors
/// A value does not fit its column; says which.
pub fn of_rest(columns: &[Column], object: &mut RestObject, tenant: &str) -> Result<Vec<Cell>, String> {
    of_json_object(columns, object, tenant).map(|(cells, _)| cells)
}

/// The row, and the names of the properties that no column took.
fn of_json_object(
    columns: &[Column],
    object: &mut RestObject,
    tenant: &str,
) -> Result<(Vec<Cell>, Vec<String>), String> {
    let mut properties = object.properties.take().unwrap_or_default();
    let mut vectors = object.vectors.take().unwrap_or_default();
    let mut date_texts: HashMap<String, String> = HashMap::new();
    let mut cells = Vec::with_capacity(columns.len());
    for column in columns {
        cells.push(match &column.content {
            Content::Id => Cell::Text(object.id.clone()),
            Content::Tenant => Cell::Text(tenant.to_owned()),
            Content::Created => Cell::Moment(object.creation_time_unix),
            Content::Updated => Cell::Moment(object.last_update_time_unix),
            Content::Property(property) => {
                let cell = match properties.remove(&property.name) {
                    Some(value) if value.get() != "null" => of_json(property.kind, value.get())
                        .map_err(|what| format!("property {:?} {what}", property.name))?,
                    _ => Cell::Absent,
                };
                date_cell(property.kind, &property.name, cell, &mut date_texts)?
            }
            Content::DateText(name) => date_texts.remove(name).map_or(Cell::Absent, Cell::Text),
            Content::Vector(vector, shape) => {
                let cell = match &vector.name {
                    None => object.vector.take().map_or(Cell::Absent, |values| Cell::Vector(floats(&values))),
                    Some(name) => match vectors.remove(name) {
                        Some(text) => json_vector(text.get(), vector.multi)?,
                        None => Cell::Absent,
                    },
                };
                fits(cell, *shape, vector.name.as_deref())?
            }
        });
    }
    let rest = properties.into_iter().filter(|(_, value)| value.get() != "null").map(|(name, _)| name).collect();
    Ok((cells, rest))
}

/// The row of an object of a native backup.
///
/// # Errors
/// A value does not fit its column; says which.
pub fn of_native(columns: &[Column], stored: Object, id: &str, tenant: &str) -> Result<Vec<Cell>, String> {
    of_stored(columns, stored, id, tenant).map(|(cells, _)| cells)
}

/// The row of an object as it is stored, and the names of the properties that no column took.
///
/// # Errors
/// A value does not fit its column; says which.
pub fn of_stored(
    columns: &[Column],
    stored: Object,
    id: &str,
    tenant: &str,
) -> Result<(Vec<Cell>, Vec<String>), String> {
    let properties: Option<HashMap<String, Box<RawValue>>> =
        serde_json::from_str(&stored.properties).map_err(|error| format!("its properties cannot be read: {error}"))?;
    let object = RestObject {
        id: id.to_owned(),
        creation_time_unix: stored.created_ms,
        last_update_time_unix: stored.updated_ms,
        properties,
        vector: None,
        vectors: None,
    };
    let shapes = columns.iter().filter_map(|column| match &column.content {
        Content::Vector(vector, shape) => Some((vector, *shape)),
        _ => None,
    });
    let mut vectors = Vec::new();
    for (vector, shape) in shapes {
        vectors.push(fits(native_vector(vector, &stored)?, shape, vector.name.as_deref())?);
    }
    let mut object = object;
    let (mut cells, rest) = of_json_object(columns, &mut object, tenant)?;
    let places = columns.iter().zip(&mut cells).filter(|(column, _)| matches!(column.content, Content::Vector(..)));
    for ((_, cell), vector) in places.zip(vectors) {
        *cell = vector;
    }
    Ok((cells, rest))
}

fn native_vector(vector: &VectorIndex, stored: &Object) -> Result<Cell, String> {
    let single = |values: &Vec<f32>| if values.is_empty() { Cell::Absent } else { Cell::Vector(floats(values)) };
    Ok(match &vector.name {
        None => stored.vector.as_ref().map_or(Cell::Absent, single),
        Some(name) if vector.multi => match stored.multi_vectors.get(name) {
            Some(rows) => several(rows)?,
            None => Cell::Absent,
        },
        Some(name) => stored.vectors.get(name).map_or(Cell::Absent, single),
    })
}

/// The length of a vector of a stored object, where it has one.
pub fn native_length(vector: &VectorIndex, stored: &Object) -> Option<i32> {
    let length = match native_vector(vector, stored).ok()? {
        Cell::Vector(bytes) => bytes.len() / 4,
        Cell::Rows(_, length) => length,
        _ => return None,
    };
    i32::try_from(length).ok()
}

fn several(rows: &[Vec<f32>]) -> Result<Cell, String> {
    let Some(length) = rows.first().map(Vec::len) else { return Ok(Cell::Absent) };
    if rows.iter().any(|row| row.len() != length) {
        return Err("the vectors of one value have several lengths".to_owned());
    }
    Ok(Cell::Rows(floats(&rows.concat()), length))
}

fn json_vector(text: &str, multi: bool) -> Result<Cell, String> {
    let wrong = |error: serde_json::Error| format!("a vector cannot be read: {error}");
    if !multi {
        let values: Vec<f32> = serde_json::from_str(text).map_err(wrong)?;
        return Ok(if values.is_empty() { Cell::Absent } else { Cell::Vector(floats(&values)) });
    }
    let rows: Vec<Vec<f32>> = serde_json::from_str(text).map_err(wrong)?;
    several(&rows)
}

fn floats(values: &[f32]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(values.len() * 4);
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes.freeze()
}

fn of_json(kind: Kind, text: &str) -> Result<Cell, String> {
    fn read<'a, T: Deserialize<'a>>(kind: Kind, text: &'a str) -> Result<T, String> {
        serde_json::from_str(text).map_err(|_| format!("is {}, and its type is {kind:?}", shortened(text)))
    }
    Ok(match kind {
        Kind::Text | Kind::Uuid | Kind::Date => Cell::Text(read(kind, text)?),
        Kind::Int => Cell::Int(match text.parse() {
            Ok(value) => value,
            Err(_) => whole(read(kind, text)?)?,
        }),
        Kind::Number => Cell::Float(read(kind, text)?),
        Kind::Boolean => Cell::Bool(read(kind, text)?),
        Kind::Blob => Cell::Binary(base64(&read::<String>(kind, text)?)?),
        Kind::Json | Kind::Reference => Cell::Text(text.to_owned()),
        Kind::Texts | Kind::Dates | Kind::Uuids => Cell::Texts(read(kind, text)?),
        Kind::Ints => {
            let values: Vec<&RawValue> = read(kind, text)?;
            let one = |value: &RawValue| match value.get().parse() {
                Ok(value) => Ok(value),
                Err(_) => whole(read(kind, value.get())?),
            };
            Cell::Ints(values.into_iter().map(one).collect::<Result<_, String>>()?)
        }
        Kind::Numbers => Cell::Floats(read(kind, text)?),
        Kind::Booleans => Cell::Bools(read(kind, text)?),
    })
}

fn shortened(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    if short.len() < text.len() { format!("{short}..") } else { short }
}

/// A row that has no place in the columns: counted and kept aside.
pub fn reject(class: &str, tenant: &str, id: &str, reason: String, row: Option<String>) -> Reject {
    let place = if tenant.is_empty() { format!("{class}/{id}") } else { format!("{class}/{tenant}/{id}") };
    Reject { place, reason, row }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers give ids as bytes, older ones only as text.
    #[test]
    fn an_id_is_the_same_as_bytes_as_text_and_as_a_number() {
        let (text, number) = ("00053beb-c32a-4b1c-8d00-0000000000ff", 0x0005_3beb_c32a_4b1c_8d00_0000_0000_00ff_u128);
        let of = |id: &'static str, bytes: Vec<u8>| SearchResult {
            metadata: Some(proto::MetadataResult {
                id: id.into(),
                id_as_bytes: bytes.into(),
                ..proto::MetadataResult::default()
            }),
            ..SearchResult::default()
        };
        for result in [of("", number.to_be_bytes().to_vec()), of(text, Vec::new())] {
            assert_eq!((id_of(&result).as_deref(), number_of(&result)), (Some(text), Some(number)));
        }
        for result in [of("", Vec::new()), of("no id", Vec::new()), of("", vec![1; 15]), SearchResult::default()] {
            assert_eq!(number_of(&result), None, "{result:?}");
        }
    }
}

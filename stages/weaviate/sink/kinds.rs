//! What a column can be at the target: the kind of a property, or a vector, by its name, type and role.

use arrow::datatypes::{DataType, Field};
use restow_core::record::{Role, is_json};
use serde::Deserialize;
use serde_json::Value;

use super::super::class::Kind;
use super::super::columns::VECTOR;
use super::mapping::Origin;

/// The kind that a definition gives a property.
pub fn declared_kind(property: &Value) -> Option<Kind> {
    let words: Vec<String> = Vec::deserialize(property.get("dataType")?).ok()?;
    Kind::of(&words)
}

/// Whether a list of floats is a vector and not a property: by its role, its name or its fixed length.
pub fn is_vector_column(role: Role, field: &Field) -> bool {
    let name = field.name();
    role == Role::Vector
        || name == VECTOR
        || name.starts_with(&format!("{VECTOR}_"))
        || matches!(field.data_type(), DataType::FixedSizeList(..))
}

/// The name of the vector that a column holds; `None` for the one without a name.
pub fn vector_name(column: &str) -> Option<String> {
    match own_vector(column) {
        Some(name) if column.starts_with('_') => name,
        _ => Some(column.to_owned()),
    }
}

/// The vector that a column is called after: `vector`, `_vector_NAME`; without a name inside for the unnamed one.
pub fn own_vector(column: &str) -> Option<Origin> {
    column.trim_start_matches('_').strip_prefix("vector").map(|rest| rest.strip_prefix('_').map(str::to_owned))
}

/// Whether a type is that of vectors, and of several in a value.
pub fn vector_kind(data_type: &DataType) -> Option<bool> {
    let single = |data_type: &DataType| match data_type {
        DataType::FixedSizeList(item, _) | DataType::List(item) => item.data_type().is_floating(),
        _ => false,
    };
    match data_type {
        data_type if single(data_type) => Some(false),
        DataType::List(item) if single(item.data_type()) => Some(true),
        _ => None,
    }
}

/// The length that all vectors of this type have.
pub fn length_of(data_type: &DataType) -> Option<i32> {
    match data_type {
        DataType::FixedSizeList(_, length) => Some(*length),
        DataType::List(item) => length_of(item.data_type()),
        _ => None,
    }
}

/// The type of property for a column that no class declares.
pub fn kind_of(field: &Field) -> Option<Kind> {
    let is_uuid = field.metadata().get("restow.form").is_some_and(|form| form == "uuid");
    Some(match field.data_type() {
        _ if is_json(field) => Kind::Json,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View if is_uuid => Kind::Uuid,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Kind::Text,
        data_type if data_type.is_integer() => Kind::Int,
        data_type if data_type.is_floating() => Kind::Number,
        DataType::Boolean => Kind::Boolean,
        DataType::Timestamp(..) | DataType::Date32 => Kind::Date,
        DataType::Binary | DataType::LargeBinary => Kind::Blob,
        DataType::List(item) | DataType::LargeList(item) => match item.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Kind::Texts,
            data_type if data_type.is_integer() => Kind::Ints,
            data_type if data_type.is_floating() => Kind::Numbers,
            DataType::Boolean => Kind::Booleans,
            DataType::Timestamp(..) | DataType::Date32 => Kind::Dates,
            _ => return None,
        },
        _ => return None,
    })
}

/// The data type of a kind, as a definition writes it.
pub fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Json | Kind::Reference => "text",
        Kind::Int => "int",
        Kind::Number => "number",
        Kind::Boolean => "boolean",
        Kind::Date => "date",
        Kind::Uuid => "uuid",
        Kind::Blob => "blob",
        Kind::Texts => "text[]",
        Kind::Ints => "int[]",
        Kind::Numbers => "number[]",
        Kind::Booleans => "boolean[]",
        Kind::Dates => "date[]",
        Kind::Uuids => "uuid[]",
    }
}

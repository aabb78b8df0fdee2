//! The names of types, as `schema:` of a files source and `cast:` of a transform write them.

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use restow_core::record::{self, ROLE_KEY, Role};
use restow_core::{EngineError, Result};
use restow_spec::types::{Float, TypeName, Unit};

/// Field metadata key of a text column whose values have a narrower form; the value is [`UUID`].
pub const FORM_KEY: &str = "restow.form";
/// Value of [`FORM_KEY`]: every value is a UUID in its 36-character text form, kept exactly as it was written.
pub const UUID: &str = "uuid";
/// Field metadata key that says how the numbers of a 16 or 32-bit float column were written as text. Without it: as the
/// shortest decimal that reads back as the same float.
pub const FLOAT_KEY: &str = "restow.float";
/// Value of [`FLOAT_KEY`]: as the shortest decimal of the float after widening it to 64 bits.
pub const FLOAT_WIDE: &str = "wide";
/// Value of [`FLOAT_KEY`]: the user declared the type, text is rounded to the nearest float.
pub const FLOAT_ROUNDED: &str = "rounded";

/// The Arrow type of a type name, such as `int`, `text`, `timestamp`, `vector(384)` or `list(text)`; [`TypeName`] lists
/// the names.
///
/// | type | Arrow type |
/// |---|---|
/// | decimal | Decimal128 |
/// | text, UUID, JSON | Utf8 |
/// | bytes | Binary |
/// | day | Date32 |
/// | timestamp | Timestamp in UTC |
/// | vector | FixedSizeList |
/// | multi-vector | List of FixedSizeList of Float32 |
/// | sparse vector | List of Struct { index: UInt32, value: Float32 } |
///
/// # Errors
/// The name is no type.
pub fn parse_type(name: &str) -> Result<DataType> {
    Ok(arrow_type(&parse(name)?))
}

/// A nullable field of a type name, with the metadata that `uuid`, `json` and vectors carry.
///
/// # Errors
/// As [`parse_type`].
pub fn parse_field(column: &str, name: &str) -> Result<Field> {
    let type_name = parse(name).map_err(|error| error.context(format!("column {column:?}")))?;
    let data_type = arrow_type(&type_name);
    let mut metadata = std::collections::HashMap::new();
    if narrow_float(&data_type) {
        metadata.insert(FLOAT_KEY.to_owned(), FLOAT_ROUNDED.to_owned());
    }
    let role = match type_name {
        TypeName::Json => return Ok(record::json_field(column)),
        TypeName::Uuid => {
            metadata.insert(FORM_KEY.to_owned(), UUID.to_owned());
            None
        }
        TypeName::Vector { .. } | TypeName::MultiVector { .. } => Some(Role::Vector),
        TypeName::SparseVector => Some(Role::SparseVector),
        _ => None,
    };
    if let Some(role) = role {
        metadata.insert(ROLE_KEY.to_owned(), role.as_str().to_owned());
    }
    Ok(Field::new(column, data_type, true).with_metadata(metadata))
}

/// The type of a sparse vector.
pub fn sparse_vector_type() -> DataType {
    let entry =
        Fields::from(vec![Field::new("index", DataType::UInt32, false), Field::new("value", DataType::Float32, false)]);
    list_of(DataType::Struct(entry))
}

/// A list with the element field that restow uses everywhere.
pub fn list_of(item: DataType) -> DataType {
    DataType::List(record::list_item(item).into())
}

/// The type of a dense vector with elements of this type.
pub fn vector_of(item: DataType, dimension: i32) -> DataType {
    DataType::FixedSizeList(record::list_item(item).into(), dimension)
}

/// The type of `TIMESTAMP` columns: microseconds, UTC.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn parse(name: &str) -> Result<TypeName> {
    name.parse::<TypeName>().map_err(|error| EngineError::usage(error.message).with_hint(error.help))
}

fn arrow_type(name: &TypeName) -> DataType {
    match name {
        TypeName::Boolean => DataType::Boolean,
        TypeName::Int8 => DataType::Int8,
        TypeName::Int16 => DataType::Int16,
        TypeName::Int32 => DataType::Int32,
        TypeName::Int64 => DataType::Int64,
        TypeName::UInt8 => DataType::UInt8,
        TypeName::UInt16 => DataType::UInt16,
        TypeName::UInt32 => DataType::UInt32,
        TypeName::UInt64 => DataType::UInt64,
        TypeName::Float(float) => float_type(*float),
        TypeName::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
        TypeName::Text | TypeName::Uuid | TypeName::Json => DataType::Utf8,
        TypeName::Binary => DataType::Binary,
        TypeName::Date => DataType::Date32,
        TypeName::Timestamp(unit) => DataType::Timestamp(time_unit(*unit), Some("UTC".into())),
        TypeName::Vector { dimension, item } => vector_of(float_type(*item), *dimension),
        TypeName::MultiVector { dimension } => list_of(record::vector_type(*dimension)),
        TypeName::SparseVector => sparse_vector_type(),
        TypeName::List(item) => list_of(arrow_type(item)),
    }
}

fn float_type(float: Float) -> DataType {
    match float {
        Float::Half => DataType::Float16,
        Float::Single => DataType::Float32,
        Float::Double => DataType::Float64,
    }
}

fn time_unit(unit: Unit) -> TimeUnit {
    match unit {
        Unit::Second => TimeUnit::Second,
        Unit::Millisecond => TimeUnit::Millisecond,
        Unit::Microsecond => TimeUnit::Microsecond,
        Unit::Nanosecond => TimeUnit::Nanosecond,
    }
}

fn narrow_float(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float16 | DataType::Float32 => true,
        DataType::List(item) | DataType::FixedSizeList(item, _) => narrow_float(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| narrow_float(field.data_type())),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_arguments() {
        assert_eq!(parse_type("int").unwrap(), DataType::Int64);
        assert_eq!(parse_type(" Vector( 384 ) ").unwrap(), record::vector_type(384));
        assert_eq!(parse_type("vector(3,float16)").unwrap(), vector_of(DataType::Float16, 3));
        assert_eq!(parse_type("list(list(text))").unwrap(), list_of(list_of(DataType::Utf8)));
        assert_eq!(parse_type("decimal(10,2)").unwrap(), DataType::Decimal128(10, 2));
        assert_eq!(parse_type("timestamp").unwrap(), timestamp_type());
        for bad in
            ["", "itn", "vector", "vector(0)", "vector(-1)", "vector(3", "vector(3,text)", "decimal(40,2)", "list()"]
        {
            let error = parse_type(bad).unwrap_err();
            assert!(error.message().starts_with("unknown type"), "{bad}: {error}");
        }
        let deep = format!("{}int{}", "list(".repeat(20), ")".repeat(20));
        assert!(parse_type(&deep).unwrap_err().message().contains("nested"));
    }

    #[test]
    fn fields_carry_their_meaning() {
        assert!(record::is_json(&parse_field("a", "json").unwrap()));
        assert_eq!(parse_field("a", "uuid").unwrap().metadata().get(FORM_KEY).map(String::as_str), Some(UUID));
        let vector = parse_field("a", "vector(8)").unwrap();
        assert_eq!(vector.metadata().get(ROLE_KEY).map(String::as_str), Some("vector"));
        assert_eq!(vector.metadata().get(FLOAT_KEY).map(String::as_str), Some(FLOAT_ROUNDED));
        assert_eq!(parse_field("a", "itn").unwrap_err().message(), r#"column "a": unknown type "itn""#);
    }
}

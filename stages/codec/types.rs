//! The names of types, as `schema:` of a files source and `cast:` of a transform write them.

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use restow_core::record::{self, ROLE_KEY, Role};
use restow_core::{EngineError, Result};

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

/// Every name, for messages.
const NAMES: &str = "bool, int, int8 to int64, uint8 to uint64, float, float32, float16, decimal(p,s), text, uuid, json, binary, \
                     date, timestamp, timestamp(s|ms|us|ns), vector(n), vector(n,float16|float32|float64), \
                     multi_vector(n), sparse_vector, list(type)";
/// How deep `list(...)` may be nested.
const MAX_NESTING: usize = 8;

/// The Arrow type of a type name, such as `int`, `text`, `timestamp`, `vector(384)` or `list(text)`.
///
/// | name | Arrow type |
/// |---|---|
/// | `bool`, `boolean` | Boolean |
/// | `int`, `integer`, `bigint`, `long`; `int8` .. `int64`; `uint8` .. `uint64` | Int64; of that width |
/// | `float`, `double`, `number`, `float64`; `float32`, `real`; `float16`, `half` | Float64; Float32; Float16 |
/// | `decimal(p,s)` | Decimal128, up to 38 digits |
/// | `text`, `string`, `varchar`; `uuid`; `json` | Utf8 |
/// | `binary`, `bytes` | Binary |
/// | `date` | Date32 |
/// | `timestamp`, `datetime`; `timestamp(s)`, `(ms)`, `(us)`, `(ns)` | Timestamp in UTC; microseconds where no unit is named |
/// | `vector(n)`; `vector(n,float16)` | FixedSizeList of Float32; of that type |
/// | `multi_vector(n)` | List of `vector(n)` |
/// | `sparse_vector` | List of Struct { index: UInt32, value: Float32 } |
/// | `list(type)` | List |
///
/// # Errors
/// The name is none of these.
pub fn parse_type(name: &str) -> Result<DataType> {
    parse(name, 0)
}

/// A nullable field of a type name, with the metadata that `uuid`, `json` and vectors carry.
///
/// # Errors
/// As [`parse_type`].
pub fn parse_field(column: &str, name: &str) -> Result<Field> {
    let data_type = parse_type(name).map_err(|error| error.context(format!("column {column:?}")))?;
    let word = split(name).map_or("", |(word, _)| word);
    if word.eq_ignore_ascii_case("json") {
        return Ok(record::json_field(column));
    }
    let mut metadata = std::collections::HashMap::new();
    if word.eq_ignore_ascii_case(UUID) {
        metadata.insert(FORM_KEY.to_owned(), UUID.to_owned());
    }
    if narrow_float(&data_type) {
        metadata.insert(FLOAT_KEY.to_owned(), FLOAT_ROUNDED.to_owned());
    }
    let role = match word.to_ascii_lowercase().as_str() {
        "vector" | "multi_vector" => Some(Role::Vector),
        "sparse_vector" => Some(Role::SparseVector),
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

fn parse(name: &str, depth: usize) -> Result<DataType> {
    let (word, argument) = split(name).ok_or_else(|| unknown(name))?;
    if depth > MAX_NESTING {
        return Err(EngineError::usage(format!("type {name:?} is nested more than {MAX_NESTING} deep")));
    }
    let word = word.to_ascii_lowercase();
    match argument {
        None => simple(&word).ok_or_else(|| unknown(name)),
        Some(argument) => with_argument(&word, argument, depth).unwrap_or_else(|| Err(unknown(name))),
    }
}

fn simple(word: &str) -> Option<DataType> {
    Some(match word {
        "bool" | "boolean" => DataType::Boolean,
        "int" | "integer" | "bigint" | "long" | "int64" => DataType::Int64,
        "int8" => DataType::Int8,
        "int16" => DataType::Int16,
        "int32" => DataType::Int32,
        "uint8" => DataType::UInt8,
        "uint16" => DataType::UInt16,
        "uint32" => DataType::UInt32,
        "uint64" => DataType::UInt64,
        "float" | "double" | "number" | "float64" => DataType::Float64,
        "float32" | "real" => DataType::Float32,
        "float16" | "half" => DataType::Float16,
        "text" | "string" | "varchar" | "uuid" | "json" => DataType::Utf8,
        "binary" | "bytes" => DataType::Binary,
        "date" => DataType::Date32,
        "timestamp" | "datetime" => timestamp_type(),
        "sparse_vector" => sparse_vector_type(),
        _ => return None,
    })
}

fn with_argument(word: &str, argument: &str, depth: usize) -> Option<Result<DataType>> {
    Some(match word {
        "timestamp" => {
            let unit = match argument {
                "s" => TimeUnit::Second,
                "ms" => TimeUnit::Millisecond,
                "us" => TimeUnit::Microsecond,
                "ns" => TimeUnit::Nanosecond,
                _ => return None,
            };
            Ok(DataType::Timestamp(unit, Some("UTC".into())))
        }
        "decimal" => {
            let (precision, scale) = argument.split_once(',')?;
            let (precision, scale): (u8, i8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            let fits = (1..=38).contains(&precision) && scale >= 0 && scale.unsigned_abs() <= precision;
            fits.then_some(Ok(DataType::Decimal128(precision, scale)))?
        }
        "vector" => {
            let (dimension, item) = argument.split_once(',').unwrap_or((argument, "float32"));
            let item = parse(item, depth + 1).ok().filter(DataType::is_floating)?;
            Ok(vector_of(item, dimension_of(dimension)?))
        }
        "multi_vector" => Ok(list_of(record::vector_type(dimension_of(argument)?))),
        "list" => parse(argument, depth + 1).map(list_of),
        _ => return None,
    })
}

fn dimension_of(text: &str) -> Option<i32> {
    text.trim().parse().ok().filter(|dimension| *dimension > 0)
}

/// `vector(384)` -> (`vector`, `384`); `int` -> (`int`, none).
fn split(name: &str) -> Option<(&str, Option<&str>)> {
    let name = name.trim();
    match name.split_once('(') {
        None => Some((name, None)),
        Some((word, rest)) => Some((word.trim(), Some(rest.strip_suffix(')')?.trim()))),
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

fn unknown(name: &str) -> EngineError {
    EngineError::usage(format!("unknown type {name:?}")).with_hint(format!("the types are {NAMES}"))
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

//! Records: the Arrow conventions that every connector shares (`schemas/records.md` is normative).

mod roles;
mod size;

pub use roles::{Role, Roles};
pub use size::{batch_rows, row_bytes};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::error::{EngineError, Result};

/// Columns that restow adds beside the user's own; user columns must not start like this.
pub const RESERVED_PREFIX: &str = "_restow_";
/// `List<UInt16>`: the numbers (field metadata [`NULL_NUMBER`]) of the columns that are explicitly null in this row. An
/// Arrow null that is not named here means that the value is absent.
pub const EXPLICIT_NULLS: &str = "_restow_null";
/// Prefix of the columns that keep a value's own text where the typed value does not print as it.
pub const TEXT_PREFIX: &str = "_restow_text_";
/// Field metadata key under which a role is stored.
pub const ROLE_KEY: &str = "restow.role";
/// Field metadata key under which the number of a column in [`EXPLICIT_NULLS`] is stored.
pub const NULL_NUMBER: &str = "restow.null";
/// Field metadata key and value of a string column whose values are JSON text.
pub const JSON_KEY: &str = "restow.json";

/// A string field whose values are JSON text (a nested object or an untyped property).
pub fn json_field(name: &str) -> Field {
    let metadata = [(JSON_KEY.to_owned(), "true".to_owned())].into();
    Field::new(name, DataType::Utf8, true).with_metadata(metadata)
}

/// Whether the values of this field are JSON text.
pub fn is_json(field: &Field) -> bool {
    field.metadata().get(JSON_KEY).is_some_and(|value| value == "true")
}

/// The list element field that restow uses everywhere, so that list types of two sources compare equal.
pub fn list_item(data_type: DataType) -> Field {
    Field::new_list_field(data_type, true)
}

/// The type of a dense vector of `dimension` 32-bit floats.
pub fn vector_type(dimension: i32) -> DataType {
    DataType::FixedSizeList(list_item(DataType::Float32).into(), dimension)
}

/// The same columns under another schema of equal types (names, metadata, nullability may differ). Keeps the row count
/// of batches without columns.
///
/// # Errors
/// The types differ.
pub fn under_schema(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(SchemaRef::clone(schema), batch.columns().to_vec(), &options)?)
}

/// Refuses the columns of a source that would collide with restow's own.
///
/// # Errors
/// A column begins with [`RESERVED_PREFIX`] and is none of restow's own columns.
pub fn check_reserved(dataset: &str, schema: &Schema) -> Result<()> {
    for field in schema.fields() {
        let name = field.name();
        let own = name == EXPLICIT_NULLS || name.starts_with(TEXT_PREFIX);
        if name.starts_with(RESERVED_PREFIX) && !own {
            return Err(EngineError::usage(format!(
                "dataset {dataset:?} has a column {name:?}, and names that begin with {RESERVED_PREFIX:?} are restow's own"
            ))
            .with_hint("rename the column at its source"));
        }
    }
    Ok(())
}

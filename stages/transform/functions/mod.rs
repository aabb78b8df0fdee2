//! restow's SQL functions. DataFusion's own compute over lists in 64 bits and give lists without a fixed length; these
//! keep vectors what they are. All are null where an argument or an element of a vector is null.
//!
//! | function | result |
//! |---|---|
//! | `l2_norm(v)` | Float32, summed up in 64 bits |
//! | `normalize(v)` | the type of `v`; a vector of zeros stays as it is; all NaN where an element is NaN or infinite |
//! | `dimension(v)` | Int64 |
//! | `truncate(v, n)` | FixedSizeList(n) of the elements' type; `n` is a literal |
//! | `cosine_distance(a, b)` | Float32 in 0 to 2; null where either is all zeros |
//! | `l2_distance(a, b)` | Float32 |
//! | `inner_product(a, b)`, `dot_product(a, b)` | Float32 |

mod cast;
mod check;
mod distance;
mod norm;
mod truncate;
mod vector;

#[cfg(test)]
mod tests;

use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, TypeSignature};
use datafusion::scalar::ScalarValue;

pub use check::{check_storable, volatile_functions};

pub(super) use cast::{cast_call, cast_target, is_cast, plain_call, plain_text};

/// All of them.
pub(super) fn all() -> Vec<ScalarUDF> {
    let mut all = vec![
        ScalarUDF::new_from_impl(norm::Norm::default()),
        ScalarUDF::new_from_impl(norm::Normalize::default()),
        ScalarUDF::new_from_impl(norm::Dimension::default()),
        ScalarUDF::new_from_impl(truncate::Truncate::default()),
    ];
    all.extend(distance::all().map(ScalarUDF::new_from_impl));
    all.extend(cast::all());
    all
}

/// The signature of functions that decide about their arguments themselves.
fn own_signature() -> datafusion::logical_expr::Signature {
    datafusion::logical_expr::Signature::new(
        TypeSignature::UserDefined,
        datafusion::logical_expr::Volatility::Immutable,
    )
}

/// An argument that must be a vector: lists of numbers stay as they are, an untyped null or an empty array becomes a
/// list of 32-bit floats.
fn vector_argument(function: &str, data_type: &DataType) -> Result<DataType> {
    let list = || DataType::List(restow_core::record::list_item(DataType::Float32).into());
    match data_type {
        DataType::Null => Ok(list()),
        DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item) => match item.data_type() {
            DataType::Null => Ok(list()),
            number if number.is_numeric() => Ok(data_type.clone()),
            other => Err(plan_error(format!("{function} needs a vector of numbers, not of {other}"))),
        },
        other => Err(plan_error(format!("{function} needs a vector, not {other}"))),
    }
}

fn arguments<const N: usize, T: Clone>(function: &str, given: &[T]) -> Result<[T; N]> {
    let count = given.len();
    <[T; N]>::try_from(given.to_vec())
        .map_err(|_| plan_error(format!("{function} takes {N} argument{}, not {count}", if N == 1 { "" } else { "s" })))
}

fn plan_error(message: impl Into<String>) -> DataFusionError {
    DataFusionError::Plan(message.into())
}

/// A result for every row, or the one result of constant arguments.
fn result(array: arrow::array::ArrayRef, constant: bool) -> Result<ColumnarValue> {
    if constant {
        Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
    } else {
        Ok(ColumnarValue::Array(array))
    }
}

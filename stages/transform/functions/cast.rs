//! The cast of a transform: as SQL's CAST, with the column in the message, JSON text checked, and without the field
//! metadata of the column that it replaces. It is a function, with column and type as literals, so that plans that
//! travel carry it by name.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::util::display::FormatOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use datafusion::scalar::ScalarValue;
use restow_core::EngineError;
use restow_core::record::is_json;

use super::{arguments, plan_error, result};
use crate::codec::types::parse_field;

const CAST: &str = "restow_cast";
const PLAIN: &str = "restow_plain";

pub(super) fn all() -> [ScalarUDF; 2] {
    [ScalarUDF::new_from_impl(CastColumn::default()), ScalarUDF::new_from_impl(Plain::default())]
}

/// `restow_cast(value, 'column', 'type')`.
pub(in crate::transform) fn cast_call(value: Expr, column: &str, type_name: &str) -> Expr {
    ScalarUDF::new_from_impl(CastColumn::default()).call(vec![value, lit(column), lit(type_name)])
}

/// `restow_plain(value)`: the value without field metadata.
pub(in crate::transform) fn plain_call(value: Expr) -> Expr {
    ScalarUDF::new_from_impl(Plain::default()).call(vec![value])
}

/// Whether a function of this name only changes the type or the metadata of its first argument.
pub(in crate::transform) fn is_cast(function: &str) -> bool {
    matches!(function, CAST | PLAIN | "arrow_cast" | "arrow_try_cast")
}

/// The field that a type name stands for.
///
/// # Errors
/// The name is no type.
pub(in crate::transform) fn cast_target(column: &str, type_name: &str) -> std::result::Result<Field, EngineError> {
    parse_field(column, type_name)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CastColumn(Signature);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Plain(Signature);

impl Default for CastColumn {
    fn default() -> Self {
        Self(Signature::any(3, Volatility::Immutable))
    }
}

impl Default for Plain {
    fn default() -> Self {
        Self(Signature::any(1, Volatility::Immutable))
    }
}

impl ScalarUDFImpl for Plain {
    fn name(&self) -> &str {
        PLAIN
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [value] = arguments(self.name(), types)?;
        Ok(value)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = arguments(self.name(), &args.args)?;
        Ok(value)
    }
}

impl ScalarUDFImpl for CastColumn {
    fn name(&self) -> &str {
        CAST
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Err(plan_error("restow_cast needs column and type as literals"))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let (column, type_name) = names(args.scalar_arguments)?;
        let target = cast_target(column, type_name)?;
        let [from, _, _] = arguments(self.name(), args.arg_fields)?;
        let possible = can_cast_types(from.data_type(), target.data_type()) || *from.data_type() == DataType::Null;
        let json = is_json(&target) && !from.data_type().is_string() && !is_scalar(from.data_type());
        if !possible || json {
            let message = format!("column {column:?} is {} and cannot be cast to {type_name}", from.data_type());
            return Err(EngineError::usage(message).into());
        }
        Ok(Arc::new(target))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let literals: Vec<Option<&ScalarValue>> = args
            .args
            .iter()
            .map(|argument| match argument {
                ColumnarValue::Scalar(value) => Some(value),
                ColumnarValue::Array(_) => None,
            })
            .collect();
        let (column, type_name) = names(&literals)?;
        let [value, _, _] = arguments(self.name(), &args.args)?;
        let (array, constant) = match value {
            ColumnarValue::Array(array) => (array, false),
            ColumnarValue::Scalar(value) => (value.to_array()?, true),
        };
        result(converted(&array, &args.return_field, column, type_name)?, constant)
    }
}

fn converted(array: &ArrayRef, target: &Field, column: &str, type_name: &str) -> Result<ArrayRef> {
    if *array.data_type() == DataType::Null {
        return Ok(new_null_array(target.data_type(), array.len()));
    }
    let fault = |cause: String| {
        EngineError::failed(format!("column {column:?} cannot be cast to {type_name}: {cause}")).with_hint(
            "correct the value at its source, leave such rows out with a filter, or write try_cast in `set` to make them null",
        )
    };
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    let cast = cast_with_options(array, target.data_type(), &options).map_err(|error| fault(plain_text(&error)))?;
    if is_json(target) {
        let texts = cast.as_string_opt::<i32>().ok_or_else(|| plan_error("JSON is text"))?;
        let bad = texts.iter().flatten().find(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_err());
        if let Some(bad) = bad {
            let start: String = bad.chars().take(60).collect();
            return Err(fault(format!("{start:?} is not JSON")).into());
        }
    }
    Ok(cast)
}

/// Arrow's message without the name of its error class.
pub(in crate::transform) fn plain_text(error: &arrow::error::ArrowError) -> String {
    match error {
        arrow::error::ArrowError::CastError(text)
        | arrow::error::ArrowError::InvalidArgumentError(text)
        | arrow::error::ArrowError::ParseError(text)
        | arrow::error::ArrowError::ComputeError(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Types whose text is JSON as it stands; that of a NaN is not, and is found when the text is checked.
fn is_scalar(data_type: &DataType) -> bool {
    data_type.is_numeric() || matches!(data_type, DataType::Boolean | DataType::Null)
}

fn names<'a>(literals: &[Option<&'a ScalarValue>]) -> Result<(&'a str, &'a str)> {
    match literals {
        [_, Some(ScalarValue::Utf8(Some(column))), Some(ScalarValue::Utf8(Some(type_name)))] => Ok((column, type_name)),
        _ => Err(plan_error("restow_cast needs column and type as literals")),
    }
}

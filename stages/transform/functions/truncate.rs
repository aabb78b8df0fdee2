//! `truncate(v, n)`: the first `n` elements, for models whose vectors may be cut (Matryoshka embeddings). The result is
//! not normalised again.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, MutableArrayData, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature};
use datafusion::scalar::ScalarValue;

use super::vector::Vectors;
use super::{arguments, own_signature, plan_error, result, vector_argument};

/// `truncate(v, n)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Truncate(Signature);

impl Default for Truncate {
    fn default() -> Self {
        Self(own_signature())
    }
}

impl ScalarUDFImpl for Truncate {
    fn name(&self) -> &str {
        "truncate"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [vector, length] = arguments(self.name(), types)?;
        if vector.is_numeric() {
            return Err(plan_error("truncate cuts vectors, use trunc for a number"));
        }
        if !length.is_integer() {
            return Err(literal());
        }
        Ok(vec![vector_argument(self.name(), &vector)?, DataType::Int64])
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Err(literal())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let wanted = match args.scalar_arguments {
            [_, Some(ScalarValue::Int64(Some(length)))] => i32::try_from(*length).ok().filter(|length| *length > 0),
            [_, Some(_)] => None,
            _ => return Err(literal()),
        };
        let wanted = wanted.ok_or_else(|| plan_error("truncate needs a length of 1 or more"))?;
        let [vector, _] = arguments(self.name(), args.arg_fields)?;
        let (DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item)) = vector.data_type()
        else {
            return Err(plan_error("truncate needs a vector"));
        };
        if let DataType::FixedSizeList(_, given) = vector.data_type()
            && wanted > *given
        {
            return Err(plan_error(too_long(*given, wanted)));
        }
        Ok(Arc::new(Field::new(self.name(), DataType::FixedSizeList(item.clone(), wanted), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [vector, _] = arguments(self.name(), &args.args)?;
        let DataType::FixedSizeList(item, length) = args.return_field.data_type() else { return Err(literal()) };
        let vectors = Vectors::of(&vector)?;
        let array = match vector {
            ColumnarValue::Array(array) => array,
            ColumnarValue::Scalar(value) => value.to_array()?,
        };
        result(cut(&array, &vectors, item, *length)?, vectors.is_constant())
    }
}

fn cut(array: &ArrayRef, vectors: &Vectors, item: &FieldRef, length: i32) -> Result<ArrayRef> {
    let wanted = usize::try_from(length).map_err(|_| literal())?;
    let values = match array.data_type() {
        DataType::FixedSizeList(..) => array.as_fixed_size_list().values().to_data(),
        DataType::LargeList(_) => array.as_list::<i64>().values().to_data(),
        _ => array.as_list::<i32>().values().to_data(),
    };
    let mut cut = MutableArrayData::new(vec![&values], true, array.len() * wanted);
    let mut present = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        present.push(vectors.dimension(row).is_some());
        match (vectors.dimension(row), vectors.range(row)) {
            (Some(given), _) if given < wanted => return Err(DataFusionError::Execution(too_long(given, wanted))),
            (Some(_), Some(range)) => cut.try_extend(0, range.start, range.start + wanted)?,
            _ => cut.try_extend_nulls(wanted)?,
        }
    }
    let nulls = Some(NullBuffer::from(present)).filter(|nulls| nulls.null_count() > 0);
    Ok(Arc::new(FixedSizeListArray::try_new(item.clone(), length, make_array(cut.freeze()), nulls)?))
}

fn literal() -> DataFusionError {
    plan_error("truncate needs its length as a literal, for example truncate(embedding, 256)")
}

fn too_long(given: impl std::fmt::Display, wanted: impl std::fmt::Display) -> String {
    format!("truncate cannot cut a vector of dimension {given} to {wanted}")
}

//! `l2_norm`, `normalize` and `dimension`.
//!
//! `normalize`: a vector with a NaN or an infinity has no direction, so every element of the result is NaN. A vector of
//! zeros has none either and stays as it is, signs of its zeros included.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Float64Array, GenericListArray, Int64Array,
    OffsetSizeTrait,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use super::vector::{Elements, Vectors};
use super::{arguments, own_signature, plan_error, result, vector_argument};

/// `l2_norm(v)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Norm(Signature);

/// `normalize(v)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Normalize(Signature);

/// `dimension(v)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Dimension(Signature);

impl Default for Norm {
    fn default() -> Self {
        Self(own_signature())
    }
}

impl Default for Normalize {
    fn default() -> Self {
        Self(own_signature())
    }
}

impl Default for Dimension {
    fn default() -> Self {
        Self(own_signature())
    }
}

impl ScalarUDFImpl for Norm {
    fn name(&self) -> &str {
        "l2_norm"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [vector] = arguments(self.name(), types)?;
        Ok(vec![vector_argument(self.name(), &vector)?])
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [vector] = arguments(self.name(), &args.args)?;
        let vectors = Vectors::of(&vector)?;
        // Rounding to 32 bits is the type of the result; a norm beyond them is infinite.
        let norms = (0..vectors.len()).map(|row| vectors.get(row).map(|vector| vector.norm() as f32));
        result(Arc::new(norms.collect::<Float32Array>()), vectors.is_constant())
    }
}

impl ScalarUDFImpl for Dimension {
    fn name(&self) -> &str {
        "dimension"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [vector] = arguments(self.name(), types)?;
        Ok(vec![vector_argument(self.name(), &vector)?])
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [vector] = arguments(self.name(), &args.args)?;
        let vectors = Vectors::of(&vector)?;
        let lengths =
            (0..vectors.len()).map(|row| vectors.dimension(row).and_then(|length| i64::try_from(length).ok()));
        result(Arc::new(lengths.collect::<Int64Array>()), vectors.is_constant())
    }
}

impl ScalarUDFImpl for Normalize {
    fn name(&self) -> &str {
        "normalize"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [vector] = arguments(self.name(), types)?;
        let data_type = vector_argument(self.name(), &vector)?;
        match &data_type {
            DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item)
                if item.data_type().is_floating() =>
            {
                Ok(vec![data_type])
            }
            other => Err(plan_error(format!("normalize needs a vector of floats, not {other}"))),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [vector] = arguments(self.name(), types)?;
        Ok(vector)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [vector] = arguments(self.name(), &args.args)?;
        let vectors = Vectors::of(&vector)?;
        let array = match vector {
            ColumnarValue::Array(array) => array,
            ColumnarValue::Scalar(value) => value.to_array()?,
        };
        result(normalized(&array, &vectors)?, vectors.is_constant())
    }
}

/// The same lists with other elements. A vector with a null element is null as a whole.
fn normalized(array: &ArrayRef, vectors: &Vectors) -> Result<ArrayRef> {
    let whole = (0..array.len()).map(|row| vectors.get(row).is_some()).collect::<NullBuffer>();
    let nulls = Some(whole).filter(|nulls| nulls.null_count() > 0);
    match array.data_type() {
        DataType::FixedSizeList(item, length) => {
            let values = elements(array.as_fixed_size_list().values(), vectors)?;
            let list = FixedSizeListArray::try_new_with_length(item.clone(), *length, values, nulls, array.len())?;
            Ok(Arc::new(list))
        }
        DataType::LargeList(_) => relist(array.as_list::<i64>(), vectors, nulls),
        _ => relist(array.as_list::<i32>(), vectors, nulls),
    }
}

fn relist<O: OffsetSizeTrait>(
    list: &GenericListArray<O>,
    vectors: &Vectors,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let (DataType::List(item) | DataType::LargeList(item)) = list.data_type() else {
        return Err(plan_error("normalize needs a vector"));
    };
    let values = elements(list.values(), vectors)?;
    Ok(Arc::new(GenericListArray::<O>::try_new(item.clone(), list.offsets().clone(), values, nulls)?))
}

/// All elements, each vector divided by its length, in the number type they had.
fn elements(before: &ArrayRef, vectors: &Vectors) -> Result<ArrayRef> {
    let double = *before.data_type() == DataType::Float64;
    let (mut singles, mut doubles) =
        if double { (vec![], vec![0.0; before.len()]) } else { (vec![0.0; before.len()], vec![]) };
    for row in 0..vectors.len() {
        let (Some(vector), Some(range)) = (vectors.get(row), vectors.range(row)) else { continue };
        let norm = vector.norm();
        match vector {
            Elements::Single(from) => {
                if let Some(to) = singles.get_mut(range) {
                    divide(from, to, norm, |number| f64::from(number) / norm, |number| number as f32);
                }
            }
            Elements::Double(from) => {
                if let Some(to) = doubles.get_mut(range) {
                    divide(from, to, norm, |number| number / norm, |number| number);
                }
            }
        }
    }
    let values: ArrayRef =
        if double { Arc::new(Float64Array::from(doubles)) } else { Arc::new(Float32Array::from(singles)) };
    Ok(if values.data_type() == before.data_type() { values } else { cast(&values, before.data_type())? })
}

fn divide<T: Copy>(from: &[T], to: &mut [T], norm: f64, by: impl Fn(T) -> f64, narrow: impl Fn(f64) -> T) {
    if norm == 0.0 {
        to.copy_from_slice(from);
    } else if norm.is_finite() {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = narrow(by(*from)));
    } else {
        to.fill(narrow(f64::NAN));
    }
}

//! `cosine_distance`, `l2_distance` and `inner_product`. The first and the last replace DataFusion's functions of these
//! names, which widen to 64 bits and copy both arguments for that.

use std::sync::Arc;

use arrow::array::Float32Array;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use super::vector::{Elements, Vectors};
use super::{arguments, own_signature, plan_error, result, vector_argument};

/// All functions of two vectors.
pub(super) fn all() -> impl Iterator<Item = Distance> {
    let alias = |name: &str| vec![name.to_owned()];
    [
        Distance { measure: Measure::Cosine, aliases: vec![], signature: own_signature() },
        Distance { measure: Measure::L2, aliases: vec![], signature: own_signature() },
        Distance { measure: Measure::InnerProduct, aliases: alias("dot_product"), signature: own_signature() },
    ]
    .into_iter()
}

/// A function of two vectors of one dimension.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Distance {
    measure: Measure,
    aliases: Vec<String>,
    signature: Signature,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Measure {
    Cosine,
    L2,
    InnerProduct,
}

impl Measure {
    /// Sums are 64 bits wide, the result is rounded once.
    fn between(self, a: &Elements<'_>, b: &Elements<'_>) -> Option<f32> {
        let value = match self {
            Self::Cosine => return cosine(a, b),
            Self::L2 => {
                let mut sum = 0.0;
                a.pairs(b, |a, b| sum += (a - b) * (a - b));
                f64::sqrt(sum)
            }
            Self::InnerProduct => {
                let mut sum = 0.0;
                a.pairs(b, |a, b| sum += a * b);
                sum
            }
        };
        Some(value as f32)
    }
}

/// One minus the cosine of the angle. Rounding may carry it past 0 or 2 by a hair, which is cut off; NaN stays.
fn cosine(a: &Elements<'_>, b: &Elements<'_>) -> Option<f32> {
    let (mut dot, mut a2, mut b2) = (0.0, 0.0, 0.0);
    a.pairs(b, |a, b| {
        dot += a * b;
        a2 += a * a;
        b2 += b * b;
    });
    if a2 == 0.0 || b2 == 0.0 {
        return None;
    }
    let distance: f64 = 1.0 - dot / (f64::sqrt(a2) * f64::sqrt(b2));
    Some(distance.clamp(0.0, 2.0) as f32)
}

impl ScalarUDFImpl for Distance {
    fn name(&self) -> &str {
        match self.measure {
            Measure::Cosine => "cosine_distance",
            Measure::L2 => "l2_distance",
            Measure::InnerProduct => "inner_product",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [a, b] = arguments(self.name(), types)?;
        Ok(vec![vector_argument(self.name(), &a)?, vector_argument(self.name(), &b)?])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        if let [DataType::FixedSizeList(_, a), DataType::FixedSizeList(_, b)] = types
            && a != b
        {
            return Err(plan_error(dimensions(self.name(), a, b)));
        }
        Ok(DataType::Float32)
    }

    /// Names the dimensions already in the plan where both are known, that of an array literal too.
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let known = args.arg_fields.iter().zip(args.scalar_arguments).map(|(field, value)| match field.data_type() {
            DataType::FixedSizeList(_, length) => usize::try_from(*length).ok(),
            _ => value.and_then(|value| Vectors::of(&ColumnarValue::Scalar(value.clone())).ok()?.dimension(0)),
        });
        if let [Some(a), Some(b)] = known.collect::<Vec<_>>().as_slice()
            && a != b
        {
            return Err(plan_error(dimensions(self.name(), a, b)));
        }
        Ok(Arc::new(arrow::datatypes::Field::new(self.name(), DataType::Float32, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [a, b] = arguments(self.name(), &args.args)?;
        let (a, b) = (Vectors::of(&a)?, Vectors::of(&b)?);
        let constant = a.is_constant() && b.is_constant();
        let rows = if constant { 1 } else { args.number_rows };
        let mut distances = Vec::with_capacity(rows);
        for row in 0..rows {
            distances.push(match (a.get(row), b.get(row)) {
                (Some(a), Some(b)) if a.len() != b.len() => {
                    return Err(DataFusionError::Execution(dimensions(self.name(), a.len(), b.len())));
                }
                (Some(a), Some(b)) => self.measure.between(&a, &b),
                _ => None,
            });
        }
        result(Arc::new(Float32Array::from(distances)), constant)
    }
}

fn dimensions(function: &str, a: impl std::fmt::Display, b: impl std::fmt::Display) -> String {
    format!("{function} needs two vectors of one dimension, not of {a} and {b}")
}

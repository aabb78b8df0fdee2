//! Vectors of a batch, whatever list type and number type they come in.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;

/// A column of vectors, or one constant vector for all rows.
pub(super) struct Vectors {
    numbers: Numbers,
    layout: Layout,
    nulls: Option<NullBuffer>,
    element_nulls: Option<NullBuffer>,
    rows: usize,
    constant: bool,
}

enum Numbers {
    Single(Float32Array),
    Double(Float64Array),
}

enum Layout {
    Fixed(usize),
    Offsets(OffsetBuffer<i32>),
    LargeOffsets(OffsetBuffer<i64>),
}

/// One vector.
#[derive(Debug, Clone, Copy)]
pub(super) enum Elements<'a> {
    Single(&'a [f32]),
    Double(&'a [f64]),
}

impl Vectors {
    /// Reads an argument. 16-bit floats are widened to 32 bits, integers to 64-bit floats; both exactly, up to 2^53.
    pub(super) fn of(argument: &ColumnarValue) -> Result<Self> {
        let (array, constant) = match argument {
            ColumnarValue::Array(array) => (ArrayRef::clone(array), false),
            ColumnarValue::Scalar(value) => (value.to_array()?, true),
        };
        let (values, layout) = parts(&array)?;
        let element_nulls = values.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        let numbers = match values.data_type() {
            DataType::Float32 => Numbers::Single(values.as_primitive::<Float32Type>().clone()),
            DataType::Float64 => Numbers::Double(values.as_primitive::<Float64Type>().clone()),
            DataType::Float16 => {
                Numbers::Single(cast(&values, &DataType::Float32)?.as_primitive::<Float32Type>().clone())
            }
            _ => Numbers::Double(cast(&values, &DataType::Float64)?.as_primitive::<Float64Type>().clone()),
        };
        Ok(Self { numbers, layout, nulls: array.logical_nulls(), element_nulls, rows: array.len(), constant })
    }

    /// Whether there is one vector for all rows.
    pub(super) fn is_constant(&self) -> bool {
        self.constant
    }

    /// How many vectors there are.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// The length of the vector of a row; `None` where the row is null.
    pub(super) fn dimension(&self, row: usize) -> Option<usize> {
        let row = if self.constant { 0 } else { row };
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        self.range(row).map(|range| range.len())
    }

    /// The vector of a row; `None` where it, or one of its elements, is null.
    pub(super) fn get(&self, row: usize) -> Option<Elements<'_>> {
        let row = if self.constant { 0 } else { row };
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        let range = self.range(row)?;
        if self.element_nulls.as_ref().is_some_and(|nulls| nulls.slice(range.start, range.len()).null_count() > 0) {
            return None;
        }
        match &self.numbers {
            Numbers::Single(numbers) => numbers.values().get(range).map(Elements::Single),
            Numbers::Double(numbers) => numbers.values().get(range).map(Elements::Double),
        }
    }

    /// Where the elements of a row are among all elements.
    pub(super) fn range(&self, row: usize) -> Option<Range<usize>> {
        fn between<T: Copy + TryInto<usize>>(offsets: &[T], row: usize) -> Option<Range<usize>> {
            let start = (*offsets.get(row)?).try_into().ok()?;
            let end = (*offsets.get(row + 1)?).try_into().ok()?;
            Some(start..end)
        }
        match &self.layout {
            Layout::Fixed(length) => Some(row * length..(row + 1) * length),
            Layout::Offsets(offsets) => between(offsets, row),
            Layout::LargeOffsets(offsets) => between(offsets, row),
        }
    }
}

/// The elements of all rows, and how they are laid out.
fn parts(array: &ArrayRef) -> Result<(ArrayRef, Layout)> {
    Ok(match array.data_type() {
        DataType::FixedSizeList(..) => {
            let list = array.as_fixed_size_list();
            (ArrayRef::clone(list.values()), Layout::Fixed(usize::try_from(list.value_length()).unwrap_or_default()))
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            (ArrayRef::clone(list.values()), Layout::Offsets(list.offsets().clone()))
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            (ArrayRef::clone(list.values()), Layout::LargeOffsets(list.offsets().clone()))
        }
        other => return Err(DataFusionError::Internal(format!("{other} is no vector"))),
    })
}

impl Elements<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Single(numbers) => numbers.len(),
            Self::Double(numbers) => numbers.len(),
        }
    }

    /// Calls back with every element, in 64 bits.
    pub(super) fn each(&self, mut visit: impl FnMut(f64)) {
        match self {
            Self::Single(numbers) => numbers.iter().for_each(|number| visit(f64::from(*number))),
            Self::Double(numbers) => numbers.iter().for_each(|number| visit(*number)),
        }
    }

    /// Calls back with every pair of elements, in 64 bits. Both vectors must be of one length.
    pub(super) fn pairs(&self, other: &Self, mut visit: impl FnMut(f64, f64)) {
        fn zip<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[A], b: &[B], visit: &mut impl FnMut(f64, f64)) {
            a.iter().zip(b).for_each(|(a, b)| visit((*a).into(), (*b).into()));
        }
        match (self, other) {
            (Self::Single(a), Self::Single(b)) => zip(a, b, &mut visit),
            (Self::Single(a), Self::Double(b)) => zip(a, b, &mut visit),
            (Self::Double(a), Self::Single(b)) => zip(a, b, &mut visit),
            (Self::Double(a), Self::Double(b)) => zip(a, b, &mut visit),
        }
    }

    /// The length of the arrow, in 64 bits: no sum of squares of 32-bit floats overflows or vanishes in them.
    pub(super) fn norm(&self) -> f64 {
        let mut sum = 0.0;
        self.each(|number| sum += number * number);
        sum.sqrt()
    }
}

//! Cells, and the arrays that are made of them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, FixedSizeListArray, Float16Array, Float32Array, Float64Array,
    ListArray, PrimitiveArray, StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, FieldRef, Fields, Float16Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use restow_core::{EngineError, Result};

/// One value, checked against the type of its column.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::codec) enum Cell {
    /// Absent, or explicitly null.
    #[default]
    Null,
    Bool(bool),
    /// Integers, dates, timestamps and unscaled decimals.
    Whole(i128),
    F32(f32),
    F64(f64),
    Text(String),
    /// A vector of 16 or 32-bit floats.
    Floats(Vec<f32>),
    /// A vector of 64-bit floats.
    Doubles(Vec<f64>),
    List(Vec<Cell>),
    Struct(Vec<Cell>),
}

/// The array of one column.
///
/// # Errors
/// A cell does not fit the type, which the reading of the column rules out.
pub(super) fn build(data_type: &DataType, cells: Vec<Cell>) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Boolean => {
            let values = cells.into_iter().map(|cell| match cell {
                Cell::Bool(value) => Some(value),
                _ => None,
            });
            Arc::new(values.collect::<BooleanArray>())
        }
        DataType::Utf8 => Arc::new(text(cells)),
        DataType::Float16 => Arc::new(floats(cells).map(|value| value.map(half)).collect::<Float16Array>()),
        DataType::Float32 => Arc::new(floats(cells).collect::<Float32Array>()),
        DataType::Float64 => {
            let values = cells.into_iter().map(|cell| match cell {
                Cell::F64(value) => Some(value),
                _ => None,
            });
            Arc::new(values.collect::<Float64Array>())
        }
        DataType::FixedSizeList(item, length) => fixed(item, *length, cells)?,
        DataType::List(item) => list(item, cells)?,
        DataType::Struct(fields) => structs(fields, cells)?,
        other => whole(other, cells)?,
    })
}

fn whole(data_type: &DataType, cells: Vec<Cell>) -> Result<ArrayRef> {
    match data_type {
        DataType::Int8 => primitive::<Int8Type>(data_type, cells),
        DataType::Int16 => primitive::<Int16Type>(data_type, cells),
        DataType::Int32 => primitive::<Int32Type>(data_type, cells),
        DataType::Int64 => primitive::<Int64Type>(data_type, cells),
        DataType::UInt8 => primitive::<UInt8Type>(data_type, cells),
        DataType::UInt16 => primitive::<UInt16Type>(data_type, cells),
        DataType::UInt32 => primitive::<UInt32Type>(data_type, cells),
        DataType::UInt64 => primitive::<UInt64Type>(data_type, cells),
        DataType::Date32 => primitive::<Date32Type>(data_type, cells),
        DataType::Decimal128(..) => primitive::<Decimal128Type>(data_type, cells),
        DataType::Timestamp(TimeUnit::Second, _) => primitive::<TimestampSecondType>(data_type, cells),
        DataType::Timestamp(TimeUnit::Millisecond, _) => primitive::<TimestampMillisecondType>(data_type, cells),
        DataType::Timestamp(TimeUnit::Microsecond, _) => primitive::<TimestampMicrosecondType>(data_type, cells),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => primitive::<TimestampNanosecondType>(data_type, cells),
        other => Err(EngineError::failed(format!("values of type {other} cannot be read from text"))),
    }
}

fn primitive<T: ArrowPrimitiveType>(data_type: &DataType, cells: Vec<Cell>) -> Result<ArrayRef>
where
    T::Native: TryFrom<i128>,
{
    let mut values = Vec::with_capacity(cells.len());
    for cell in cells {
        values.push(match cell {
            Cell::Whole(value) => Some(
                T::Native::try_from(value)
                    .map_err(|_| EngineError::failed(format!("{value} is out of the range of {data_type}")))?,
            ),
            _ => None,
        });
    }
    Ok(Arc::new(PrimitiveArray::<T>::from_iter(values).with_data_type(data_type.clone())))
}

fn text(cells: Vec<Cell>) -> StringArray {
    let values = cells.into_iter().map(|cell| match cell {
        Cell::Text(value) => Some(value),
        _ => None,
    });
    values.collect()
}

fn floats(cells: Vec<Cell>) -> impl Iterator<Item = Option<f32>> {
    cells.into_iter().map(|cell| match cell {
        Cell::F32(value) => Some(value),
        _ => None,
    })
}

fn half(value: f32) -> <Float16Type as ArrowPrimitiveType>::Native {
    <Float16Type as ArrowPrimitiveType>::Native::from_f32(value)
}

/// A list of constant length. The slots of a null are zeros, or nulls where the elements are no floats.
fn fixed(item: &FieldRef, length: i32, cells: Vec<Cell>) -> Result<ArrayRef> {
    let width = usize::try_from(length).unwrap_or(0);
    let nulls = NullBuffer::from_iter(cells.iter().map(|cell| !matches!(cell, Cell::Null)));
    let values: ArrayRef = match item.data_type() {
        DataType::Float16 | DataType::Float32 => {
            let mut all: Vec<f32> = Vec::with_capacity(cells.len() * width);
            for cell in cells {
                match cell {
                    Cell::Floats(values) if values.len() == width => all.extend(values),
                    _ => all.resize(all.len() + width, 0.0),
                }
            }
            match item.data_type() {
                DataType::Float16 => Arc::new(Float16Array::from_iter_values(all.into_iter().map(half))),
                _ => Arc::new(Float32Array::from(all)),
            }
        }
        DataType::Float64 => {
            let mut all: Vec<f64> = Vec::with_capacity(cells.len() * width);
            for cell in cells {
                match cell {
                    Cell::Doubles(values) if values.len() == width => all.extend(values),
                    _ => all.resize(all.len() + width, 0.0),
                }
            }
            Arc::new(Float64Array::from(all))
        }
        other => {
            let mut all = Vec::with_capacity(cells.len() * width);
            for cell in cells {
                match cell {
                    Cell::List(values) if values.len() == width => all.extend(values),
                    _ => all.resize(all.len() + width, Cell::Null),
                }
            }
            build(other, all)?
        }
    };
    let length_of_nulls = nulls.len();
    let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
    Ok(Arc::new(FixedSizeListArray::try_new_with_length(Arc::clone(item), length, values, nulls, length_of_nulls)?))
}

fn list(item: &FieldRef, cells: Vec<Cell>) -> Result<ArrayRef> {
    let nulls = NullBuffer::from_iter(cells.iter().map(|cell| !matches!(cell, Cell::Null)));
    let mut lengths = Vec::with_capacity(cells.len());
    let mut all = Vec::new();
    for cell in cells {
        let before = all.len();
        if let Cell::List(values) = cell {
            all.extend(values);
        }
        lengths.push(all.len() - before);
    }
    let values = build(item.data_type(), all)?;
    let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), OffsetBuffer::from_lengths(lengths), values, nulls)?))
}

fn structs(fields: &Fields, cells: Vec<Cell>) -> Result<ArrayRef> {
    let length = cells.len();
    let nulls = NullBuffer::from_iter(cells.iter().map(|cell| !matches!(cell, Cell::Null)));
    let mut columns: Vec<Vec<Cell>> = fields.iter().map(|_| Vec::with_capacity(length)).collect();
    for cell in cells {
        let mut parts = match cell {
            Cell::Struct(parts) => parts,
            _ => Vec::new(),
        }
        .into_iter();
        columns.iter_mut().for_each(|column| column.push(parts.next().unwrap_or_default()));
    }
    let mut arrays = Vec::with_capacity(columns.len());
    for (field, column) in fields.iter().zip(columns) {
        let array = build(field.data_type(), column)?;
        // The parts of a null struct are nulls, which a field that has none cannot hold: zeros stand there instead.
        arrays.push(if field.is_nullable() || array.null_count() == 0 { array } else { filled(&array)? });
    }
    let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), arrays, nulls, length)?))
}

/// The same values without nulls: what lies below a null is kept.
fn filled(array: &ArrayRef) -> Result<ArrayRef> {
    let data = array.to_data().into_builder().nulls(None).build()?;
    Ok(arrow::array::make_array(data))
}

//! A column of embeddings, given to Parquet as the floats that they are.
//!
//! The way for all types (`ArrowColumnWriter`) makes an index of 8 bytes for each element, gathers the elements by it, and finds out element
//! by element where a vector begins. Of vectors that is known beforehand: the levels of one are those of all.

use arrow::array::{Array, AsArray, FixedSizeListArray, Float32Array};
use arrow::datatypes::{DataType, Field, Float32Type};
use parquet::column::writer::ColumnWriterImpl;
use parquet::data_type::FloatType;
use parquet::errors::Result;
use parquet::file::writer::SerializedColumnWriter;

/// Elements of vectors that are written by one call.
const AT_ONCE: usize = 16 << 10;

/// The vectors of a row group. They are encoded when it ends.
pub(super) struct Vectors {
    arrays: Vec<FixedSizeListArray>,
    length: usize,
    /// Levels of as many vectors as are written at once.
    repetition: Vec<i16>,
    definition: Vec<i16>,
}

impl Vectors {
    /// For a column of vectors of 32-bit floats; `None` for another.
    pub(super) fn of(field: &Field) -> Option<Self> {
        let DataType::FixedSizeList(item, length) = field.data_type() else { return None };
        let length = usize::try_from(*length).ok().filter(|length| *length > 0)?;
        if *item.data_type() != DataType::Float32 {
            return None;
        }
        // One for the list, and one for each of vector and element that may be absent.
        let present = 1 + i16::from(field.is_nullable()) + i16::from(item.is_nullable());
        let vectors = (AT_ONCE / length).max(1);
        let one = std::iter::once(0).chain(std::iter::repeat_n(1, length - 1));
        let repetition: Vec<i16> = std::iter::repeat_n(one, vectors).flatten().collect();
        let definition = vec![present; repetition.len()];
        Some(Self { arrays: Vec::new(), length, repetition, definition })
    }

    /// Adds the vectors of a batch.
    pub(super) fn push(&mut self, vectors: &FixedSizeListArray) {
        self.arrays.push(vectors.clone());
    }

    /// Bytes of the elements that are held.
    pub(super) fn bytes(&self) -> usize {
        self.arrays.iter().map(|array| array.len() * self.length * size_of::<f32>()).sum()
    }

    /// Writes all of them as one column chunk.
    ///
    /// # Errors
    /// The column is another than that of the field.
    pub(super) fn write(mut self, mut column: SerializedColumnWriter<'_>) -> Result<()> {
        let writer = column.typed::<FloatType>();
        // Each is given up once it is encoded.
        for array in std::mem::take(&mut self.arrays) {
            let mut from = 0;
            while from < array.len() {
                let is_null = array.is_null(from);
                let alike = (from..array.len()).take_while(|row| array.is_null(*row) == is_null).count();
                if is_null {
                    let levels = vec![0; alike];
                    writer.write_batch(&[], Some(&levels), Some(&levels))?;
                } else {
                    let elements = array.values().slice(from * self.length, alike * self.length);
                    self.write_elements(writer, elements.as_primitive::<Float32Type>())?;
                }
                from += alike;
            }
        }
        column.close()
    }

    /// The elements of vectors that are all there.
    fn write_elements(&self, writer: &mut ColumnWriterImpl<'_, FloatType>, elements: &Float32Array) -> Result<()> {
        let (at_once, mut from) = (self.repetition.len(), 0);
        while from < elements.len() {
            let some = elements.slice(from, at_once.min(elements.len() - from));
            let (definition, repetition) = (self.definition.get(..some.len()), self.repetition.get(..some.len()));
            if some.null_count() == 0 {
                writer.write_batch(some.values(), definition, repetition)?;
            } else {
                let present = self.definition.first().copied().unwrap_or_default();
                let levels: Vec<i16> = (0..some.len()).map(|index| present - i16::from(some.is_null(index))).collect();
                let values: Vec<f32> = some.iter().flatten().collect();
                writer.write_batch(&values, Some(&levels), repetition)?;
            }
            from += at_once;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::RecordBatch;
    use arrow::compute::concat_batches;
    use arrow::datatypes::Schema;
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::super::super::encode::BatchWriter;
    use super::super::super::options::ParquetOptions;
    use super::super::ParquetFile;
    use super::*;

    /// Vectors of a length, some of them absent, some with elements that are absent, as the field allows.
    fn batch(rows: usize, length: i32, may_lack: bool, may_have_nulls: bool) -> RecordBatch {
        let vectors = (0..rows).map(|row| {
            let elements = (0..length).map(move |index| {
                let value = (row * 31) as f32 + index as f32;
                (!may_have_nulls || row % 5 > 0 || index % 2 > 0).then_some(value)
            });
            (!may_lack || row % 3 > 0).then(|| elements.collect::<Vec<_>>())
        });
        let array = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, length);
        let item = Arc::new(Field::new("item", DataType::Float32, may_have_nulls));
        let (_, _, values, nulls) = array.into_parts();
        let nulls = nulls.filter(|_| may_lack);
        // Elements of absent vectors are null where the builder made them so; without nulls they are some number.
        let values = match may_have_nulls {
            true => values,
            false => Arc::new(Float32Array::new(values.as_primitive::<Float32Type>().values().clone(), None)),
        };
        let array = FixedSizeListArray::new(Arc::clone(&item), length, values, nulls);
        let field = Field::new("v", DataType::FixedSizeList(item, length), may_lack);
        RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(array)]).unwrap()
    }

    fn written(batch: &RecordBatch, options: &ParquetOptions, slices: usize) -> Bytes {
        let mut file = Box::new(ParquetFile::new(options, &batch.schema()).unwrap());
        let mut bytes = Vec::new();
        for from in (0..batch.num_rows()).step_by(slices) {
            file.write(&batch.slice(from, slices.min(batch.num_rows() - from))).unwrap();
            bytes.extend(file.take());
        }
        bytes.extend(file.finish().unwrap().0);
        bytes.into()
    }

    #[test]
    fn vectors_come_back_whatever_they_lack() {
        let small = ParquetOptions { max_rows: 100, ..ParquetOptions::default() };
        for (may_lack, may_have_nulls) in [(false, false), (true, false), (false, true), (true, true)] {
            for (rows, length) in [(1, 1), (250, 3), (40, 20_000), (0, 4)] {
                let batch = batch(rows, length, may_lack, may_have_nulls);
                for (options, slices) in [(&ParquetOptions::default(), 1_000), (&small, 7)] {
                    let bytes = written(&batch, options, slices);
                    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
                    let found: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
                    let found = concat_batches(&batch.schema(), &found).unwrap();
                    assert_eq!(found, batch, "{rows} x {length}, {may_lack}, {may_have_nulls}, {slices}");
                }
            }
        }
    }
}

//! Files in memory, and random arrays of any type.

use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, StringArray, cast::AsArray, make_array};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::{StreamExt, stream};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use restow_core::Result;
use restow_core::record::{ROLE_KEY, vector_type};
use restow_core::stage::Reject;
use serde_json::value::RawValue;

use crate::codec::decode::{self, ByteStream, CsvOptions, DecodeRequest, Decoded, DecodedStream, Fields as JsonFields};
use crate::codec::infer::{InferOptions, Inference, Inferred, TextFormat};
use crate::codec::text::{Decimal, is_shortest};
use crate::codec::types::{list_of, sparse_vector_type, vector_of};
use crate::codec::{Codec, Encoded, MemoryOutput, StreamCompression};

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) async fn encode(codec: &Codec, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<(Bytes, Encoded)> {
    codec.check("test", schema)?;
    let output = MemoryOutput::default();
    let mut encoder = codec.encoder(Arc::clone(schema), Box::new(output.clone()))?;
    for batch in batches {
        encoder.write(batch).await?;
    }
    let encoded = encoder.finish().await?;
    assert_eq!(encoded.bytes, output.bytes().len() as u64);
    assert_eq!(encoded.rows, batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>());
    Ok((output.bytes(), encoded))
}

/// A stream that gives the bytes in pieces of this size.
pub(crate) fn stream_of(bytes: &[u8], piece: usize) -> ByteStream {
    let pieces: Vec<Result<Bytes>> =
        bytes.chunks(piece.max(1)).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

pub(crate) fn request(schema: &SchemaRef) -> DecodeRequest {
    DecodeRequest {
        dataset_schema: Arc::clone(schema),
        schema: Arc::clone(schema),
        batch_rows: 7,
        place: "test.jsonl".to_owned(),
        compression: StreamCompression::None,
    }
}

pub(crate) async fn collect(mut stream: DecodedStream) -> Result<(Vec<RecordBatch>, Vec<Reject>)> {
    let (mut batches, mut rejects) = (Vec::new(), Vec::new());
    while let Some(decoded) = stream.next().await {
        match decoded? {
            Decoded::Batch(batch) => batches.push(batch),
            Decoded::Reject(reject) => rejects.push(reject),
        }
    }
    Ok((batches, rejects))
}

/// One batch of all rows that a decoder gave without a reject.
pub(crate) async fn whole(schema: &SchemaRef, stream: DecodedStream) -> RecordBatch {
    let (batches, rejects) = collect(stream).await.unwrap();
    assert_eq!(rejects, Vec::new());
    batches.iter().for_each(|batch| assert_eq!(batch.schema(), *schema));
    concat_batches(schema, &batches).unwrap()
}

pub(crate) fn read_parquet(bytes: &Bytes) -> (SchemaRef, Vec<RecordBatch>) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap();
    let schema = Arc::clone(builder.schema());
    (schema, builder.build().unwrap().map(|batch| batch.unwrap()).collect())
}

pub(crate) async fn infer(bytes: &[u8], format: TextFormat, options: InferOptions) -> Result<Inferred> {
    Inference::new(options).read(stream_of(bytes, 1000), format, StreamCompression::None, "test.jsonl").await?.finish()
}

pub(crate) async fn infer_lines(text: &str) -> Inferred {
    infer(text.as_bytes(), TextFormat::JsonLines, InferOptions::default()).await.unwrap()
}

/// Decodes JSON lines with the columns that inference finds in them.
pub(crate) async fn rows_of(text: &str) -> RecordBatch {
    let schema = infer_lines(text).await.schema;
    whole(&schema, decode::decode_json_lines(stream_of(text.as_bytes(), 100), request(&schema))).await
}

pub(crate) async fn decode_lines(text: &str, schema: &SchemaRef) -> Result<(Vec<RecordBatch>, Vec<Reject>)> {
    collect(decode::decode_json_lines(stream_of(text.as_bytes(), 3), request(schema))).await
}

pub(crate) async fn decode_csv(text: &str, schema: &SchemaRef) -> Result<(Vec<RecordBatch>, Vec<Reject>)> {
    collect(decode::decode_csv(stream_of(text.as_bytes(), 3), CsvOptions::default(), request(schema))).await
}

pub(crate) fn schema_of(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

/// A small generator of its own, so that a case is named by its seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn text(&mut self) -> String {
        const PARTS: [&str; 12] = ["a", "é", "上海", "😀", "𐍈", "\u{0}", "\"", "\\", "\n", "\r", "\u{2028}", "null"];
        (0..self.below(6)).map(|_| PARTS[self.below(PARTS.len())]).collect()
    }
}

/// Every type that a connector may produce.
fn types() -> Vec<DataType> {
    use DataType::*;
    let mut types = vec![
        Boolean,
        Int8,
        Int16,
        Int32,
        Int64,
        UInt8,
        UInt16,
        UInt32,
        UInt64,
        Float16,
        Float32,
        Float64,
        Utf8,
        LargeUtf8,
        Utf8View,
        Binary,
        LargeBinary,
        BinaryView,
        FixedSizeBinary(16),
        Date32,
        Date64,
        Time32(TimeUnit::Second),
        Time32(TimeUnit::Millisecond),
        Time64(TimeUnit::Microsecond),
        Time64(TimeUnit::Nanosecond),
        Decimal128(38, 10),
        Decimal256(76, 20),
    ];
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        types.extend([Timestamp(unit, None), Timestamp(unit, Some("UTC".into())), Duration(unit)]);
    }
    types.extend([
        list_of(Int64),
        list_of(Utf8),
        list_of(list_of(Float64)),
        list_of(vector_type(3)),
        vector_type(7),
        vector_of(Float16, 5),
        vector_of(Float64, 2),
        vector_of(Int8, 4),
        vector_of(UInt8, 4),
        sparse_vector_type(),
        Struct(Fields::from(vec![Field::new("a", Int32, true), Field::new("b", Utf8, true)])),
    ]);
    types
}

/// A batch with a column of each type, every third without nulls.
pub(crate) fn all_types(rows: usize, random: &mut Random) -> RecordBatch {
    let fields: Vec<Field> = types()
        .into_iter()
        .enumerate()
        .map(|(at, data_type)| {
            let metadata = [(ROLE_KEY.to_owned(), "payload".to_owned()), ("own".to_owned(), at.to_string())].into();
            Field::new(format!("c.{at} {data_type}"), data_type, at % 3 != 0).with_metadata(metadata)
        })
        .collect();
    let columns = fields.iter().map(|field| array(field.data_type(), rows, field.is_nullable(), random)).collect();
    RecordBatch::try_new(schema_of(fields), columns).unwrap()
}

/// A random array of `rows` values, with nulls where `nullable`.
pub(crate) fn array(data_type: &DataType, rows: usize, nullable: bool, random: &mut Random) -> ArrayRef {
    let nulls = nullable.then(|| NullBuffer::from_iter((0..rows).map(|_| !random.one_in(4))));
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let values: StringArray = (0..rows)
                .map(|row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)).then(|| random.text()))
                .collect();
            cast(&values, data_type).unwrap()
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let values = (0..rows).map(|row| {
                let bytes: Vec<u8> = (0..random.below(9)).map(|_| random.next() as u8).collect();
                nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)).then_some(bytes)
            });
            cast(&values.collect::<arrow::array::BinaryArray>(), data_type).unwrap()
        }
        DataType::List(item) => {
            let lengths: Vec<usize> = (0..rows).map(|_| random.below(4)).collect();
            let values = array(item.data_type(), lengths.iter().sum(), item.is_nullable(), random);
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(arrow::array::ListArray::try_new(Arc::clone(item), offsets, values, nulls).unwrap())
        }
        DataType::FixedSizeList(item, length) => {
            let nullable = item.is_nullable() && random.one_in(2);
            let values = array(item.data_type(), rows * *length as usize, nullable, random);
            Arc::new(arrow::array::FixedSizeListArray::try_new(Arc::clone(item), *length, values, nulls).unwrap())
        }
        DataType::Struct(fields) => {
            let columns =
                fields.iter().map(|field| array(field.data_type(), rows, field.is_nullable(), random)).collect();
            Arc::new(arrow::array::StructArray::try_new_with_length(fields.clone(), columns, nulls, rows).unwrap())
        }
        other => flat(other, rows, nulls, random),
    }
}

fn flat(data_type: &DataType, rows: usize, nulls: Option<NullBuffer>, random: &mut Random) -> ArrayRef {
    let bytes: Vec<u8> = match data_type {
        DataType::Boolean => (0..rows.div_ceil(8)).map(|_| random.next() as u8).collect(),
        DataType::FixedSizeBinary(width) => (0..rows * *width as usize).map(|_| random.next() as u8).collect(),
        DataType::Float16 => (0..rows).flat_map(|_| (special(random, 16) as u16).to_le_bytes()).collect(),
        DataType::Float32 => (0..rows).flat_map(|_| (special(random, 32) as u32).to_le_bytes()).collect(),
        DataType::Float64 => (0..rows).flat_map(|_| special(random, 64).to_le_bytes()).collect(),
        DataType::Decimal128(..) => {
            (0..rows).flat_map(|_| i128::from(random.next() as i64).pow(2).to_le_bytes()).collect()
        }
        DataType::Decimal256(..) => (0..rows)
            .flat_map(|_| arrow::datatypes::i256::from_i128(i128::from(random.next() as i64).pow(2)).to_le_bytes())
            .collect(),
        // Times of day stay within one.
        DataType::Time32(_) => (0..rows).flat_map(|_| (random.below(86_400) as i32).to_le_bytes()).collect(),
        DataType::Time64(_) => (0..rows).flat_map(|_| (random.below(86_400_000) as i64).to_le_bytes()).collect(),
        other => (0..rows * other.primitive_width().unwrap()).map(|_| extreme(random)).collect(),
    };
    let data = ArrayData::builder(data_type.clone())
        .len(rows)
        .add_buffer(Buffer::from_vec(bytes))
        .nulls(nulls)
        .align_buffers(true);
    make_array(data.build().unwrap())
}

/// Bytes that often make the smallest and the largest integers.
fn extreme(random: &mut Random) -> u8 {
    match random.below(4) {
        0 => 0,
        1 => 0xFF,
        2 => 0x80,
        _ => random.next() as u8,
    }
}

/// The bits of a float of this width: NaN with payloads, both zeros, denormals, infinities, or anything.
fn special(random: &mut Random, width: u32) -> u64 {
    let mantissa = match width {
        16 => 10,
        32 => 23,
        _ => 52,
    };
    let sign = random.next() & 1;
    let exponent_ones = (1_u64 << (width - 1 - mantissa)) - 1;
    let payload = random.next() & ((1 << mantissa) - 1);
    let (exponent, fraction) = match random.below(6) {
        0 => (exponent_ones, payload.max(1)),
        1 => (exponent_ones, 0),
        2 => (0, 0),
        3 => (0, payload),
        _ => (random.next() & exponent_ones, payload),
    };
    (sign << (width - 1)) | (exponent << mantissa) | fraction
}

/// The strings of a column.
pub(crate) fn strings(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let array = batch.column_by_name(column).unwrap().as_string::<i32>();
    (0..array.len()).map(|row| array.is_valid(row).then(|| array.value(row).to_owned())).collect()
}

/// A JSON number in one form. Of the two shortest decimals of a float that lies half-way between them, printers take one or
/// the other.
fn number(raw: &str) -> String {
    let float: f32 = raw.parse().unwrap();
    let raw = if is_shortest(raw, float) { &format!("{float:e}") } else { raw };
    Decimal::parse(raw).map_or_else(|| raw.to_owned(), |number| number.to_string())
}

/// The values of a JSON text in one form: names sorted, numbers by value, strings unescaped.
fn canonical(raw: &str) -> String {
    match raw.as_bytes()[0] {
        b'{' => {
            let fields: JsonFields<'_> = serde_json::from_str(raw).unwrap();
            let mut parts: Vec<String> =
                fields.0.iter().map(|(name, value)| format!("{name:?}:{}", canonical(value.get()))).collect();
            parts.sort();
            format!("{{{}}}", parts.join(","))
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(raw).unwrap();
            format!("{:?}", items.iter().map(|item| canonical(item.get())).collect::<Vec<_>>())
        }
        b'"' => format!("{:?}", serde_json::from_str::<String>(raw).unwrap()),
        b'-' | b'0'..=b'9' => number(raw),
        _ => raw.to_owned(),
    }
}

/// Panics with the first column that differs.
pub(crate) fn assert_same_batch(given: &RecordBatch, found: &RecordBatch) {
    assert_eq!(given.schema(), found.schema());
    assert_eq!(given.num_rows(), found.num_rows());
    for (at, field) in given.schema().fields().iter().enumerate() {
        assert_eq!(given.column(at), found.column(at), "column {field}");
    }
}

/// Panics unless both are JSON lines of the same values.
pub(crate) fn assert_same_rows(given: &str, found: &str) {
    assert_eq!(given.lines().count(), found.lines().count());
    for (row, (given, found)) in given.lines().zip(found.lines()).enumerate() {
        // Only the row that differs: a whole document would hide the place.
        assert_eq!(canonical(given), canonical(found), "row {row}");
    }
}

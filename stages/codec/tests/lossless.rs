//! Parquet and Arrow give back what they were given, bit for bit.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float32Array, Int64Array, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::{ProptestConfig, any, proptest};
use restow_core::record::{ROLE_KEY, vector_type};
use restow_spec::units::ByteSize;

use super::support::{Random, all_types, array, encode, read_parquet, request, run, schema_of, stream_of, whole};
use crate::codec::Codec;
use crate::codec::decode::decode_arrow;
use crate::codec::options::{ArrowFormat, ArrowOptions, BufferCompression, PageCompression, ParquetOptions};
use crate::codec::types::list_of;

fn lossless_codecs() -> Vec<Codec> {
    let parquet = |compression| Codec::Parquet(ParquetOptions { compression, ..ParquetOptions::default() });
    let arrow = |compression, format| Codec::Arrow(ArrowOptions { compression, format });
    vec![
        parquet(PageCompression::Zstd),
        parquet(PageCompression::Lz4),
        parquet(PageCompression::Gzip),
        parquet(PageCompression::Snappy),
        parquet(PageCompression::None),
        arrow(BufferCompression::Zstd, ArrowFormat::File),
        arrow(BufferCompression::Lz4, ArrowFormat::Stream),
        arrow(BufferCompression::None, ArrowFormat::File),
    ]
}

async fn decoded(codec: &Codec, schema: &SchemaRef, bytes: &Bytes) -> RecordBatch {
    if let Codec::Parquet(_) = codec {
        let (found, batches) = read_parquet(bytes);
        assert_eq!(found.as_ref(), schema.as_ref());
        return concat_batches(schema, &batches).unwrap();
    }
    whole(schema, decode_arrow(stream_of(bytes, 4099), request(schema))).await
}

fn assert_same(expected: &RecordBatch, found: &RecordBatch, what: &str) {
    assert_eq!(expected.num_rows(), found.num_rows(), "{what}");
    for (at, field) in expected.schema().fields().iter().enumerate() {
        // Equality of Arrow data compares bytes, so that NaN payloads and zeros of either sign count.
        assert_eq!(expected.column(at), found.column(at), "{what}: {field}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_type_comes_back(seed in any::<u64>(), rows in 0_usize..120, parts in 1_usize..4) {
        run(async {
            let batch = all_types(rows, &mut Random(seed));
            let step = rows.div_ceil(parts).max(1);
            let batches: Vec<_> =
                (0..rows).step_by(step).map(|from| batch.slice(from, step.min(rows - from))).collect();
            for codec in lossless_codecs() {
                let (bytes, _) = encode(&codec, &batch.schema(), &batches).await.unwrap();
                assert_same(&batch, &decoded(&codec, &batch.schema(), &bytes).await, codec.name());
            }
        });
    }
}

#[test]
fn equality_is_of_bits() {
    let zeros: [ArrayRef; 2] = [Arc::new(Float32Array::from(vec![0.0])), Arc::new(Float32Array::from(vec![-0.0]))];
    assert_ne!(zeros[0].to_data(), zeros[1].to_data());
    let nan = |bits| Float32Array::from(vec![f32::from_bits(bits)]).to_data();
    assert_eq!(nan(0x7FC0_0001), nan(0x7FC0_0001));
    assert_ne!(nan(0x7FC0_0001), nan(0x7FC0_0002));
}

#[test]
fn three_thousand_columns_and_none_filled() {
    run(async {
        let fields: Vec<Field> = (0..3000)
            .map(|at| {
                Field::new(format!("property {at}"), if at % 2 == 0 { DataType::Int64 } else { DataType::Utf8 }, true)
            })
            .collect();
        let mut random = Random(1);
        let columns = fields.iter().map(|field| array(field.data_type(), 20, true, &mut random)).collect();
        let batch = RecordBatch::try_new(schema_of(fields), columns).unwrap();
        for codec in lossless_codecs() {
            let (bytes, _) = encode(&codec, &batch.schema(), std::slice::from_ref(&batch)).await.unwrap();
            assert_same(&batch, &decoded(&codec, &batch.schema(), &bytes).await, codec.name());
        }
    });
}

#[test]
fn rows_of_eight_megabytes() {
    run(async {
        let wide = "😀".repeat(2 << 20);
        let text = StringArray::from(vec![Some(wide.as_str()), None, Some(""), Some(wide.as_str())]);
        let ids = Int64Array::from(vec![1, 2, 3, 4]);
        let schema =
            schema_of(vec![Field::new("id", DataType::Int64, false), Field::new("text", DataType::Utf8, true)]);
        let batch = RecordBatch::try_new(schema, vec![Arc::new(ids), Arc::new(text)]).unwrap();
        for codec in lossless_codecs() {
            let (bytes, _) = encode(&codec, &batch.schema(), std::slice::from_ref(&batch)).await.unwrap();
            assert_same(&batch, &decoded(&codec, &batch.schema(), &bytes).await, codec.name());
        }
    });
}

#[test]
fn an_empty_dataset_keeps_its_schema() {
    run(async {
        let schema = all_types(1, &mut Random(7)).schema();
        for codec in lossless_codecs() {
            let (bytes, encoded) = encode(&codec, &schema, &[]).await.unwrap();
            assert_eq!(encoded.rows, 0);
            assert_eq!(decoded(&codec, &schema, &bytes).await.num_rows(), 0);
        }
    });
}

fn embeddings(rows: usize) -> RecordBatch {
    let mut random = Random(3);
    let ids: StringArray = (0..rows).map(|row| Some(format!("id-{row}"))).collect();
    let id = Field::new("id", DataType::Utf8, false).with_metadata([(ROLE_KEY.to_owned(), "id".to_owned())].into());
    let schema =
        schema_of(vec![id, Field::new("my.vector", vector_type(256), true), Field::new("x", DataType::Float64, true)]);
    let vector = array(&vector_type(256), rows, true, &mut random);
    let x = array(&DataType::Float64, rows, true, &mut random);
    RecordBatch::try_new(schema, vec![Arc::new(ids), vector, x]).unwrap()
}

#[test]
fn row_groups_are_bounded_in_bytes() {
    run(async {
        let batch = embeddings(8000);
        let options = ParquetOptions { row_group: Some(ByteSize(1 << 20)), ..ParquetOptions::default() };
        let (bytes, encoded) =
            encode(&Codec::Parquet(options), &batch.schema(), std::slice::from_ref(&batch)).await.unwrap();
        let reader = SerializedFileReader::new(bytes.clone()).unwrap();
        let groups = reader.metadata().row_groups();
        assert!(groups.len() >= 8, "{} row groups", groups.len());
        for group in groups {
            assert!(group.total_byte_size() < (1 << 20) + (64 << 10), "{} bytes", group.total_byte_size());
        }
        let footer = encoded.footer_bytes.unwrap() as usize;
        assert_eq!(&bytes[bytes.len() - 4..], b"PAR1");
        assert!(footer > 8 && footer < bytes.len());
        let few = ParquetOptions { max_rows: 1000, ..ParquetOptions::default() };
        let (bytes, _) = encode(&Codec::Parquet(few), &batch.schema(), &[batch]).await.unwrap();
        assert_eq!(SerializedFileReader::new(bytes).unwrap().num_row_groups(), 8);
    });
}

/// Where nobody chose: small groups where vectors are held until a group ends, large ones for other tables.
#[test]
fn row_groups_of_vectors_are_small_and_others_large() {
    async fn groups(batch: RecordBatch) -> usize {
        let batches = vec![batch.clone(); 17_000_000_usize.div_ceil(batch.get_array_memory_size())];
        let (bytes, _) = encode(&Codec::default(), &batch.schema(), &batches).await.unwrap();
        SerializedFileReader::new(bytes).unwrap().num_row_groups()
    }
    run(async {
        let vectors = embeddings(1000);
        assert!(groups(vectors.clone()).await > 1);
        let others = vectors.project(&[0, 2]).unwrap();
        assert_eq!(groups(others).await, 1);
    });
}

#[test]
fn vectors_are_split_by_byte_and_ids_have_a_filter() {
    run(async {
        let batch = embeddings(500);
        let (bytes, _) = encode(&Codec::default(), &batch.schema(), &[batch]).await.unwrap();
        let reader = SerializedFileReader::new(bytes).unwrap();
        let columns = reader.metadata().row_group(0).columns();
        let [id, vector, _] = columns else { panic!("three columns") };
        let encodings: Vec<Encoding> = vector.encodings().collect();
        assert!(encodings.contains(&Encoding::BYTE_STREAM_SPLIT), "{encodings:?}");
        assert!(!encodings.contains(&Encoding::RLE_DICTIONARY) && vector.dictionary_page_offset().is_none());
        assert!(vector.statistics().is_none());
        assert!(id.bloom_filter_offset().is_some() && id.statistics().is_some());
    });
}

#[test]
fn memory_is_bounded_while_writing() {
    run(async {
        let batch = embeddings(1000);
        let output = crate::codec::MemoryOutput::default();
        let options = ParquetOptions { row_group: Some(ByteSize(2 << 20)), ..ParquetOptions::default() };
        let mut encoder = Codec::Parquet(options).encoder(batch.schema(), Box::new(output)).unwrap();
        let mut most = 0;
        for _ in 0..20 {
            encoder.write(&batch).await.unwrap();
            most = most.max(encoder.buffered_bytes());
        }
        assert!(most < 8 << 20, "{most} bytes");
        // What is left for the end is bounded too: the rest has gone out as it came.
        let before = encoder.bytes_written();
        let encoded = encoder.finish().await.unwrap();
        assert!(before > 0 && encoded.bytes - before < 8 << 20, "{before} of {} bytes", encoded.bytes);
    });
}

#[test]
fn what_a_format_cannot_hold_is_named() {
    let refused = |codec: &Codec, data_type: DataType| {
        let error = codec.check("things", &schema_of(vec![Field::new("when", data_type, true)])).unwrap_err();
        error.message().to_owned()
    };
    let parquet = Codec::default();
    let json = Codec::JsonLines(crate::codec::JsonLinesOptions::default());
    assert_eq!(
        refused(&json, DataType::Binary),
        r#"dataset "things": the codec jsonl cannot hold column "when" without loss: Binary"#
    );
    let interval = DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano);
    assert!(refused(&parquet, list_of(interval)).contains(r#"the codec parquet cannot hold column "when""#));
    assert!(parquet.lossless() && !json.lossless());
    let twice = schema_of(vec![Field::new("a", DataType::Int8, true), Field::new("a", DataType::Int8, true)]);
    assert!(parquet.check("things", &twice).unwrap_err().message().contains(r#"two columns "a""#));
}

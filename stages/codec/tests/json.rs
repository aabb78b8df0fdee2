//! JSON in, records, JSON out: the same values.

use std::io::Read as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use proptest::prelude::{ProptestConfig, any, proptest};
use restow_core::record::{TEXT_PREFIX, json_field};

use super::support::{
    Random, assert_same_batch, assert_same_rows, encode, infer_lines, request, rows_of, run, schema_of, stream_of,
    whole,
};
use crate::codec::compression::Compressor;
use crate::codec::decode::{decode_json, decode_json_lines};
use crate::codec::types::timestamp_type;
use crate::codec::{Codec, JsonLinesOptions, JsonOptions, StreamCompression};

fn lines() -> Codec {
    Codec::JsonLines(JsonLinesOptions::default())
}

/// One random value of a style; every column has one style.
fn value(style: usize, random: &mut Random) -> String {
    let float = |random: &mut Random| serde_json::to_string(&f64::from_bits(random.next())).unwrap();
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    match style {
        0 => random.one_in(2).to_string(),
        1 => (random.next() as i64).to_string(),
        2 => random.next().to_string(),
        3 => ["123456789012345678901234567890", "-1", "7", "-0"][random.below(4)].to_owned(),
        4 => {
            let text = float(random);
            if text == "null" { "0.5".to_owned() } else { text }
        }
        5 => ["1", "2.50", "-0", "-0.0", "1e3", "9007199254740993", "0.1234567890123456789", "1e-400"][random.below(8)]
            .to_owned(),
        6 => quoted(&random.text()),
        7 => quoted(&format!("2025-03-{:02}T10:{:02}:00Z", 1 + random.below(28), random.below(60))),
        8 => quoted(
            [
                "2025-03-01T10:00:00+02:00",
                "0001-01-01T00:00:00Z",
                "9999-12-31T23:59:59.123456789Z",
                "2025-03-01T10:00:00.500Z",
            ][random.below(4)],
        ),
        9 => quoted(&format!("{:04}-02-{:02}", random.below(9999), 1 + random.below(28))),
        10 => quoted(&format!("a434d75a-836b-59e1-A62b-{:012x}", random.next() >> 16)),
        11 => format!(r#"{{"lat": {}.5, "deep": {{"b":[1, null ,"\u00e9"]}}}}"#, random.below(90)),
        12 => format!("[{}]", vec![random.below(9).to_string(); random.below(4)].join(",")),
        13 => format!("[{}]", (0..8).map(|_| (random.next() as f32 / 1e18).to_string()).collect::<Vec<_>>().join(", ")),
        14 => {
            let wide = |random: &mut Random| f64::from(random.next() as i32 as f32 / 1e9_f32);
            format!("[{}]", (0..9).map(|_| serde_json::to_string(&wide(random)).unwrap()).collect::<Vec<_>>().join(","))
        }
        15 => format!("[{}]", (0..8).map(|_| (random.next() as f64 / 1e19).to_string()).collect::<Vec<_>>().join(",")),
        16 => format!("[{}]", (0..random.below(3)).map(|_| quoted(&random.text())).collect::<Vec<_>>().join(",")),
        17 => ["[[1],[2,3]]", "[]", "[null]", "[{}]", "[1,\"a\"]", "[1,null]"][random.below(6)].to_owned(),
        18 => ["1e400", "0.5"][random.below(2)].to_owned(),
        _ => {
            let style = random.below(18);
            value(style, random)
        }
    }
}

pub(crate) fn document(seed: u64, rows: usize) -> String {
    let random = &mut Random(seed);
    let styles: Vec<usize> = (0..1 + random.below(8)).map(|_| random.below(21)).collect();
    let (null, absent) = (random.one_in(2), random.one_in(2));
    let mut text = String::new();
    for _ in 0..rows {
        let mut parts = Vec::new();
        for (at, style) in styles.iter().enumerate() {
            match random.below(6) {
                0 if null => parts.push(format!(r#""c{at}":null"#)),
                1 if absent => {}
                _ => parts.push(format!(r#""c{at}": {}"#, value(*style, random))),
            }
        }
        text.push_str(&format!("{{{}}}\n", parts.join(", ")));
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn lines_come_back_as_the_same_values(seed in any::<u64>(), rows in 1_usize..30) {
        run(async {
            let text = document(seed, rows);
            let batch = rows_of(&text).await;
            let (bytes, _) = encode(&lines(), &batch.schema(), &[batch]).await.unwrap();
            assert_same_rows(&text, std::str::from_utf8(&bytes).unwrap());
        });
    }

    #[test]
    fn an_array_is_read_as_its_lines_are(seed in any::<u64>(), rows in 1_usize..20, piece in 1_usize..50) {
        run(async {
            let text = document(seed, rows);
            let batch = rows_of(&text).await;
            let (bytes, _) = encode(&Codec::Json(JsonOptions::default()), &batch.schema(), std::slice::from_ref(&batch)).await.unwrap();
            let again = whole(&batch.schema(), decode_json(stream_of(&bytes, piece), request(&batch.schema()))).await;
            assert_same_batch(&batch, &again);
        });
    }
}

#[test]
fn rows_are_written_like_this() {
    run(async {
        let text = concat!(
            r#"{"id":"a","n":9007199254740993,"x":1,"when":"2025-01-01T00:00:00+01:00","tags":[],"geo":{"lat":1.50}}"#,
            "\n",
            r#"{"id":"b","n":null,"x":0.1,"when":"2025-01-01T00:00:00Z"}"#,
            "\n",
            r#"{"id":"😀\n"}"#,
            "\n",
        );
        let batch = rows_of(text).await;
        let (bytes, _) = encode(&lines(), &batch.schema(), &[batch]).await.unwrap();
        let expected = text.replace(r#""x":1,"#, r#""x":1.0,"#);
        assert_eq!(std::str::from_utf8(&bytes).unwrap(), expected);
    });
}

#[test]
fn compressed_files_are_read_back() {
    run(async {
        let text = document(5, 200);
        let batch = rows_of(&text).await;
        for compression in [StreamCompression::Gzip, StreamCompression::Zstd, StreamCompression::Lz4] {
            let codec = Codec::JsonLines(JsonLinesOptions { compression, level: None });
            let (bytes, _) = encode(&codec, &batch.schema(), std::slice::from_ref(&batch)).await.unwrap();
            let twice = [bytes.as_ref(), bytes.as_ref()].concat();
            let request = || crate::codec::decode::DecodeRequest { compression, ..request(&batch.schema()) };
            let found = whole(&batch.schema(), decode_json_lines(stream_of(&bytes, 10), request())).await;
            assert_eq!(found, batch);
            let found = whole(&batch.schema(), decode_json_lines(stream_of(&twice, 1000), request())).await;
            assert_eq!(found.num_rows(), 2 * batch.num_rows(), "{compression:?}");
            for cut in [0, 1, 5, bytes.len() / 2, bytes.len() - 1] {
                let stream = decode_json_lines(stream_of(&bytes[..cut], 1000), request());
                let error = super::support::collect(stream).await.unwrap_err();
                assert!(error.message().starts_with(r#""test.jsonl" "#), "{compression:?} {cut}: {error}");
            }
        }
        assert_eq!(
            Codec::JsonLines(JsonLinesOptions { compression: StreamCompression::Zstd, level: None }).extension(),
            "jsonl.zst"
        );
        assert_eq!(StreamCompression::of_name("a/b.JSONL.GZ"), (StreamCompression::Gzip, "a/b.JSONL"));
    });
}

#[test]
fn compressed_input_that_is_cut_anywhere_is_an_error() {
    let text = "{\"a\":\"0123456789012345678901234567890123456789\"}\n".repeat(10_000);
    for compression in [StreamCompression::Gzip, StreamCompression::Zstd, StreamCompression::Lz4] {
        let mut compressor = Compressor::new(compression, None).unwrap();
        compressor.write(text.as_bytes()).unwrap();
        let bytes = compressor.finish().unwrap();
        let read = |bytes: Vec<u8>| -> std::io::Result<usize> {
            compression.reader(std::io::Cursor::new(bytes))?.read_to_end(&mut Vec::new())
        };
        assert_eq!(read(bytes.clone()).unwrap(), text.len());
        for cut in 0..bytes.len() {
            assert!(read(bytes[..cut].to_vec()).is_err(), "{compression:?} cut at {cut} of {}", bytes.len());
        }
    }
}

async fn written(field: Field, array: ArrayRef) -> restow_core::Result<String> {
    let schema = schema_of(vec![field]);
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![array]).unwrap();
    let (bytes, _) = encode(&lines(), &schema, &[batch]).await?;
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

#[test]
fn what_json_cannot_hold_is_an_error_and_never_null() {
    run(async {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let array = Arc::new(Float64Array::from(vec![1.0, bad]));
            let error = written(Field::new("score", DataType::Float64, true), array).await.unwrap_err();
            let expected =
                format!(r#"row 2 of the file cannot be written as JSON: column "score": {bad} is no JSON number"#);
            assert_eq!(error.message(), expected);
        }
        let broken = Arc::new(StringArray::from(vec!["{"]));
        let error = written(json_field("payload"), broken).await.unwrap_err();
        assert!(error.message().contains(r#"column "payload": its JSON text is broken"#), "{error}");
        let late = Arc::new(arrow::array::TimestampMicrosecondArray::from(vec![i64::MAX]).with_timezone("UTC"));
        let error = written(Field::new("when", timestamp_type(), true), late).await.unwrap_err();
        assert!(error.message().contains("has a year outside 0 to 9999"), "{error}");
    });
}

#[test]
fn nested_text_with_line_breaks_stays_on_one_line() {
    run(async {
        let array = Arc::new(StringArray::from(vec!["{\n  \"a b\": [ 1,\r\n 2 ]\n}"]));
        assert_eq!(written(json_field("x"), array).await.unwrap(), "{\"x\":{\"a b\":[1,2]}}\n");
    });
}

#[test]
fn a_kept_text_gives_way_to_a_changed_value() {
    run(async {
        let text = "{\"when\":\"2025-01-01T00:00:00+01:00\"}\n{\"when\":\"2025-01-01T00:00:00.000Z\"}\n";
        let batch = rows_of(text).await;
        assert_eq!(batch.schema().field(1).name(), &format!("{TEXT_PREFIX}when"));
        let moved = Int64Array::from(vec![0, 1_735_689_600_000_000]);
        let moved = arrow::compute::cast(&moved, &timestamp_type()).unwrap();
        let batch = RecordBatch::try_new(batch.schema(), vec![moved, Arc::clone(batch.column(1))]).unwrap();
        let (bytes, _) = encode(&lines(), &batch.schema(), &[batch]).await.unwrap();
        let expected = "{\"when\":\"1970-01-01T00:00:00Z\"}\n{\"when\":\"2025-01-01T00:00:00.000Z\"}\n";
        assert_eq!(std::str::from_utf8(&bytes).unwrap(), expected);
    });
}

#[test]
fn empty_files() {
    run(async {
        let schema = infer_lines("{\"a\":1}\n").await.schema;
        let (bytes, _) = encode(&Codec::Json(JsonOptions::default()), &schema, &[]).await.unwrap();
        assert_eq!(bytes.as_ref(), b"[]\n");
        assert_eq!(whole(&schema, decode_json(stream_of(&bytes, 1), request(&schema))).await.num_rows(), 0);
        let (bytes, _) = encode(&lines(), &schema, &[]).await.unwrap();
        assert!(bytes.is_empty());
        assert_eq!(whole(&schema, decode_json_lines(stream_of(&bytes, 1), request(&schema))).await.num_rows(), 0);
    });
}

#[test]
fn a_sliced_batch_is_written_from_its_first_row() {
    run(async {
        let text =
            "{\"v\":[1.5,1,1,1,1,1,1,1],\"t\":[\"a\"]}\n{\"v\":[2.5,2,2,2,2,2,2,2],\"t\":[]}\n{\"t\":[\"b\",\"c\"]}\n";
        let batch = rows_of(text).await;
        let (bytes, _) = encode(&lines(), &batch.schema(), &[batch.slice(1, 2)]).await.unwrap();
        let found = std::str::from_utf8(&bytes).unwrap();
        assert_same_rows(&text[text.find('\n').unwrap() + 1..], found);
        assert!(batch.column(0).is_null(2));
    });
}

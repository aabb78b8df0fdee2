//! Bad rows are rejects with their place; broken files are errors; nothing is cut short.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use futures::StreamExt;
use restow_core::EngineError;

use super::support::{
    Random, array, collect, decode_csv, decode_lines, encode, infer, infer_lines, request, run, schema_of, stream_of,
    strings, whole,
};
use crate::codec::decode::{
    CsvOptions, DecodeRequest, MAX_ROW_BYTES, arrow_schema, decode_arrow, decode_json, decode_json_lines,
};
use crate::codec::infer::{InferOptions, TextFormat};
use crate::codec::types::parse_field;
use crate::codec::{ArrowFormat, ArrowOptions, Codec, StreamCompression};

#[test]
fn bad_lines_are_rejects_with_their_place() {
    run(async {
        let schema = infer_lines("{\"a\":1,\"b\":\"x\"}\n").await.schema;
        let text = "\u{feff}{\"a\":1}\r\n\n  \n{\"a\":\"no\"}\n{\"a\":1,\n[1]\n{\"a\":1,\"a\":2}\n{\"z\":1}\n{\"a\":1.5}\n{\"a\":99999999999999999999}\n{\"a\":null}\n{\"b\":\"last\"}";
        let (batches, rejects) = decode_lines(text, &schema).await.unwrap();
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);
        let found: Vec<String> = rejects.iter().map(|reject| format!("{} {}", reject.place, reject.reason)).collect();
        assert_eq!(
            found,
            [
                r#"test.jsonl:4 column "a": "no" is no whole number"#,
                "test.jsonl:5 the row is no valid JSON: EOF while parsing a value (column 7)",
                "test.jsonl:6 the row is no JSON object",
                r#"test.jsonl:7 column "a" comes twice in the row"#,
                r#"test.jsonl:8 column "z" is in no row before: infer the columns from more of the file, or declare it in `schema:`"#,
                r#"test.jsonl:9 column "a": 1.5 is no whole number"#,
                r#"test.jsonl:10 column "a": 99999999999999999999 is out of range, from -9223372036854775808 to 9223372036854775807"#,
                r#"test.jsonl:11 column "a" is null, which no row before was: infer the columns from more of the file, or declare them"#,
            ]
        );
        assert_eq!(rejects[0].row.as_deref(), Some("{\"a\":\"no\"}"));
    });
}

#[test]
fn bytes_that_are_no_text_are_a_reject() {
    run(async {
        let schema = infer_lines("{\"a\":\"b\"}\n").await.schema;
        let stream = decode_json_lines(
            stream_of(b"{\"a\":\"\xFF\"}\n{\"a\":\"\\ud800\"}\n{\"a\":\"ok\"}\n", 2),
            request(&schema),
        );
        let (batches, rejects) = collect(stream).await.unwrap();
        assert_eq!(strings(&batches[0], "a"), [Some("ok".to_owned())]);
        assert_eq!(rejects[0].reason, "the row is not UTF-8 from byte 7 on");
        assert!(
            rejects[1].reason.contains("surrogate") || rejects[1].reason.contains("hex escape"),
            "{}",
            rejects[1].reason
        );
    });
}

#[test]
fn lines_are_bounded_and_the_next_one_is_read() {
    run(async {
        let schema = infer_lines("{\"a\":\"b\"}\n").await.schema;
        let fits = format!("{{\"a\":\"{}\"}}\n", "x".repeat(MAX_ROW_BYTES - 8));
        let long = format!("{{\"a\":\"{}\"}}\n", "x".repeat(MAX_ROW_BYTES - 7));
        let text = format!("{fits}{long}{}{{\"a\":\"end\"}}\n", long.repeat(2));
        let stream = decode_json_lines(stream_of(text.as_bytes(), 1 << 20), request(&schema));
        let (batches, rejects) = collect(stream).await.unwrap();
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);
        let places: Vec<&str> = rejects.iter().map(|reject| reject.place.as_str()).collect();
        assert_eq!(places, ["test.jsonl:2", "test.jsonl:3", "test.jsonl:4"]);
        assert_eq!(rejects[0].reason, "the row is longer than 16 MiB");
    });
}

#[test]
fn a_projection_reads_only_what_is_wanted() {
    run(async {
        let schema = infer_lines("{\"a\":1,\"b\":\"x\",\"c\":null}\n").await.schema;
        let text = "{\"a\":\"not read\",\"b\":\"y\",\"c\":null}\n{\"a\":2}\n";
        let wanted = Arc::new(schema.project(&[1]).unwrap());
        let one = DecodeRequest { schema: Arc::clone(&wanted), ..request(&schema) };
        let batch = whole(&wanted, decode_json_lines(stream_of(text.as_bytes(), 9), one)).await;
        assert_eq!(strings(&batch, "b"), [Some("y".to_owned()), None]);
        let none = DecodeRequest { schema: Arc::new(Schema::empty()), ..request(&schema) };
        let (batches, rejects) = collect(decode_json_lines(stream_of(text.as_bytes(), 9), none)).await.unwrap();
        assert_eq!((batches[0].num_rows(), batches[0].num_columns(), rejects.len()), (2, 0, 0));
    });
}

#[test]
fn arrays_are_streamed_with_element_and_line() {
    run(async {
        let schema = infer_lines("{\"a\":1}\n").await.schema;
        let text = "\u{feff} [\n{\"a\":1},\n{\"a\":\n\"x]}\\\"\"}, 17,\n{\"a\": 2}\n] \n";
        for piece in [1, 2, 1000] {
            let (batches, rejects) =
                collect(decode_json(stream_of(text.as_bytes(), piece), request(&schema))).await.unwrap();
            assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);
            let places: Vec<&str> = rejects.iter().map(|reject| reject.place.as_str()).collect();
            assert_eq!(places, ["test.jsonl:3 (element 2)", "test.jsonl:4 (element 3)"]);
        }
        let failures = [
            ("", "is cut off"),
            ("{\"a\":1}", "is no JSON array"),
            ("[{\"a\":1}", "is cut off"),
            ("[{\"a\":1},", "is cut off"),
            ("[{\"a\":", "is cut off"),
            ("[{\"a\":1} {\"a\":2}]", "is broken at line 1"),
            ("[,]", "is broken"),
            ("[{\"a\":1},]", "is broken"),
            ("[] []", "is broken"),
            ("[{\"a\":1}}]", "is broken"),
            ("[17", "is cut off"),
        ];
        for (text, expected) in failures {
            let error = collect(decode_json(stream_of(text.as_bytes(), 2), request(&schema))).await.unwrap_err();
            assert!(error.message().contains(expected), "{text}: {error}");
        }
    });
}

#[test]
fn an_error_of_the_input_passes_through() {
    run(async {
        let schema = infer_lines("{\"a\":1}\n").await.schema;
        let first = stream_of(b"{\"a\":1}\n{\"a\"", 100);
        let failing = futures::stream::iter([Err(EngineError::transient("the store is away"))]);
        let error = collect(decode_json_lines(first.chain(failing).boxed(), request(&schema))).await.unwrap_err();
        assert_eq!(error.message(), "the store is away");
        assert_eq!(error.retry(), restow_core::error::Retry::Transient);
    });
}

#[test]
fn a_stream_that_is_dropped_stops_its_thread() {
    run(async {
        let schema = infer_lines("{\"a\":1}\n").await.schema;
        let text = "{\"a\":1}\n".repeat(100_000);
        let mut stream = decode_json_lines(stream_of(text.as_bytes(), 1000), request(&schema));
        assert!(stream.next().await.is_some());
        drop(stream);
    });
}

#[test]
fn csv_by_the_rules() {
    run(async {
        let text = "\u{feff}id,name,n,x,ok,day\r\n1,\"Zoë \"\"Z\"\", jr\",5,1.50,true,2025-01-01\r\n\n2,\"\",,,false,\r\n3,\"two\nlines\",7,2,true,2025-01-02";
        let found =
            infer(text.as_bytes(), TextFormat::Csv(CsvOptions::default()), InferOptions::default()).await.unwrap();
        let types: Vec<DataType> = found.schema.fields().iter().map(|field| field.data_type().clone()).collect();
        use DataType::{Boolean, Date32, Float64, Int64, Utf8};
        assert_eq!(types, [Int64, Utf8, Int64, Float64, Boolean, Date32]);
        let (batches, rejects) = decode_csv(text, &found.schema).await.unwrap();
        assert_eq!(rejects, []);
        let names = strings(&batches[0], "name");
        assert_eq!(names, [Some("Zoë \"Z\", jr".to_owned()), Some(String::new()), Some("two\nlines".to_owned())]);
        assert!(arrow::array::Array::is_null(batches[0].column(2), 1));
    });
}

#[test]
fn bad_csv_records_are_rejects_with_their_line() {
    run(async {
        let schema = schema_of(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)]);
        let text = "a,b\n1,x\n2\n3,\"q\"z\nfour,y\n5,\"line\nbreak\"\n6,y,z\n7,in\"side\n";
        let (batches, rejects) = decode_csv(text, &schema).await.unwrap();
        let found: Vec<String> = rejects.iter().map(|reject| format!("{} {}", reject.place, reject.reason)).collect();
        assert_eq!(
            found,
            [
                "test.jsonl:3 the record has 1 fields where the header has 2",
                "test.jsonl:4 field 2 goes on after its closing quote",
                r#"test.jsonl:5 column "a": four is no whole number"#,
                "test.jsonl:8 the record has 3 fields where the header has 2",
            ]
        );
        let texts: Vec<_> = batches.iter().flat_map(|batch| strings(batch, "b")).flatten().collect();
        assert_eq!(texts, ["x", "line\nbreak", "in\"side"]);
        let error = decode_csv("a,b\n1,\"open\n2,y\n", &schema).await.unwrap_err();
        assert!(
            error.message().contains("the record that begins at line 2 has a quote that is never closed"),
            "{error}"
        );
        let error = decode_csv("a,a\n", &schema).await.unwrap_err();
        assert!(error.message().contains(r#"names the column "a" twice"#), "{error}");
        assert!(decode_csv("a,c\n", &schema).await.unwrap_err().message().contains(r#"column "c""#));
        assert_eq!(decode_csv("", &schema).await.unwrap(), (vec![], vec![]));
    });
}

#[test]
fn csv_with_declared_vectors_and_other_signs() {
    run(async {
        let schema =
            schema_of(vec![parse_field("column_1", "int").unwrap(), parse_field("column_2", "vector(2)").unwrap()]);
        let options = CsvOptions { delimiter: b';', quote: b'\'', header: false };
        let stream =
            crate::codec::decode::decode_csv(stream_of(b"1;'[0.5,1]'\n2;[3,4]\n3;[1]\n", 4), options, request(&schema));
        let (batches, rejects) = collect(stream).await.unwrap();
        assert_eq!(batches[0].num_rows(), 2);
        assert_eq!(rejects[0].reason, r#"column "column_2": it has 1 elements where the others have 2"#);
    });
}

fn arrow_file(format: ArrowFormat) -> (Codec, arrow::record_batch::RecordBatch) {
    let schema = schema_of(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)]);
    let mut random = Random(9);
    let columns = schema.fields().iter().map(|field| array(field.data_type(), 50, true, &mut random)).collect();
    let batch = arrow::record_batch::RecordBatch::try_new(schema, columns).unwrap();
    (Codec::Arrow(ArrowOptions { format, ..ArrowOptions::default() }), batch)
}

#[test]
fn arrow_files_that_are_cut_or_wrong_are_errors() {
    run(async {
        for format in [ArrowFormat::File, ArrowFormat::Stream] {
            let (codec, batch) = arrow_file(format);
            let schema = batch.schema();
            let halves = [batch.slice(0, 20), batch.slice(20, 30)];
            let (bytes, _) = encode(&codec, &schema, &halves).await.unwrap();
            assert_eq!(arrow_schema(stream_of(&bytes, 50), "x", StreamCompression::None).await.unwrap(), schema);
            assert_eq!(whole(&schema, decode_arrow(stream_of(&bytes, 33), request(&schema))).await, batch);
            for cut in 0..bytes.len() {
                let result = collect(decode_arrow(stream_of(&bytes[..cut], 1 << 20), request(&schema))).await;
                assert!(result.is_err(), "{format:?} cut at {cut} of {}", bytes.len());
            }
            let longer = [bytes.as_ref(), b"x"].concat();
            assert!(collect(decode_arrow(stream_of(&longer, 1 << 20), request(&schema))).await.is_err());
            let other = schema_of(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8, true)]);
            let error = collect(decode_arrow(stream_of(&bytes, 1 << 20), request(&other))).await.unwrap_err();
            assert!(error.message().contains(r#"column "a" is Int64 where the dataset has Int32"#), "{error}");
            let wanted = Arc::new(schema.project(&[1]).unwrap());
            let one = DecodeRequest { schema: Arc::clone(&wanted), ..request(&schema) };
            assert_eq!(whole(&wanted, decode_arrow(stream_of(&bytes, 99), one)).await, batch.project(&[1]).unwrap());
        }
        let error =
            collect(decode_arrow(stream_of(b"{\"a\": 12345}", 99), request(&schema_of(vec![])))).await.unwrap_err();
        assert!(error.message().contains("is no Arrow IPC file"), "{error}");
    });
}

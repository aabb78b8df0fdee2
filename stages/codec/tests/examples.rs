//! The example dataset: how small it becomes. Figures without a bound are printed (`--nocapture`).

use std::io::Read as _;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use restow_core::record::{Role, Roles};

use super::support::{assert_same_rows, encode, infer, read_parquet, request, run, stream_of, whole};
use crate::codec::decode::{DecodeRequest, decode_json_lines};
use crate::codec::infer::{InferOptions, TextFormat};
use crate::codec::{Codec, JsonLinesOptions};

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole as f64
}

#[test]
fn cities_are_small_and_come_back() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/cities.jsonl.gz");
    let packed = std::fs::read(&path).unwrap();
    let mut text = Vec::new();
    MultiGzDecoder::new(packed.as_slice()).read_to_end(&mut text).unwrap();
    run(async {
        let found = infer(&text, TextFormat::JsonLines, InferOptions::default()).await.unwrap();
        let schema = found.schema;
        let request = DecodeRequest { batch_rows: 1000, ..request(&schema) };
        let batch = whole(&schema, decode_json_lines(stream_of(&text, 1 << 20), request)).await;
        let (parquet, _) = encode(&Codec::default(), &schema, std::slice::from_ref(&batch)).await.unwrap();
        let (_, batches) = read_parquet(&parquet);
        assert_eq!(arrow::compute::concat_batches(&schema, &batches).unwrap(), batch);

        let lines = Codec::JsonLines(JsonLinesOptions::default());
        let (written, _) = encode(&lines, &schema, std::slice::from_ref(&batch)).await.unwrap();
        assert_same_rows(std::str::from_utf8(&text).unwrap(), std::str::from_utf8(&written).unwrap());

        let roles = Roles::of(&schema);
        let vector = roles.column(Role::Vector).unwrap();
        let plain: Vec<usize> = (0..schema.fields().len()).filter(|at| schema.field(*at).name() != vector).collect();
        let rest = batch.project(&plain).unwrap();
        let (rest_parquet, _) = encode(&Codec::default(), &rest.schema(), std::slice::from_ref(&rest)).await.unwrap();
        let (rest_lines, _) = encode(&lines, &rest.schema(), std::slice::from_ref(&rest)).await.unwrap();
        let floats = batch.num_rows() * 384 * 4;
        println!("cities: {} rows, {} bytes of JSON lines", batch.num_rows(), text.len());
        println!("parquet: {} bytes, {:.1} % of JSON lines", parquet.len(), percent(parquet.len(), text.len()));
        println!("parquet: {:.1} % of gzip'd JSON lines", percent(parquet.len(), packed.len()));
        println!("parquet: {:.1} % of the raw floats", percent(parquet.len(), floats));
        println!(
            "without vectors: {} bytes, {:.1} % of JSON lines",
            rest_parquet.len(),
            percent(rest_parquet.len(), rest_lines.len())
        );
        for column in 0..rest.num_columns() {
            let one = rest.project(&[column]).unwrap();
            let (bytes, _) = encode(&Codec::default(), &one.schema(), std::slice::from_ref(&one)).await.unwrap();
            println!("  {:>24} {:>8} bytes", one.schema().field(0), bytes.len());
        }
        assert!(percent(parquet.len(), text.len()) < 35.0);
        assert!(percent(rest_parquet.len(), rest_lines.len()) < 30.0);
    });
}

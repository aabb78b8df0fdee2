//! Every format and compression, written and read again: the rows are the same.

use serde_json::Value;

use crate::support::{Place, pipeline};

/// What is easily lost: absent, null and empty, large integers, -0.0, tiny numbers, text outside of the first plane.
const ROWS: &str = r#"{"id":"a","text":"Größe 𝄞 \u0000 \"quoted\"","big":9223372036854775807,"small":-9223372036854775808,"float":-0.0,"tiny":5e-324,"flag":true,"list":[],"words":["x",""],"nested":{"k":[1,{"z":null}]},"maybe":null,"day":"2024-02-29","time":"2024-02-29T23:59:59.123456Z","v":[0.1,0.2,0.3,0.4],"uuid":"2585ca26-6252-5401-b4ea-74c5b00293d2"}
{"id":"b","text":"","big":0,"small":0,"float":1.5,"tiny":1e300,"flag":false,"list":[1,2],"words":[],"nested":{},"day":"0001-01-01","time":"1969-12-31T23:59:59Z","v":[1.5,2.5,3.5,4.5],"uuid":"00000000-0000-0000-0000-000000000000"}
{"id":"c"}
"#;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Through the files sink and back to JSON lines.
fn there_and_back(place: &Place, name: &str, codec: &str) -> Result<Vec<Value>, String> {
    let to = format!("files: {{ path: {name} }}");
    place.write("to.yaml", pipeline("files: { path: rows.jsonl, id: id }", &to, &format!("- codec: {{ {codec} }}")));
    let back = format!("files: {{ path: {name}-back }}");
    place.write("back.yaml", pipeline(&format!("files: {{ path: {name} }}"), &back, "- codec: { jsonl: {} }"));
    for file in ["to.yaml", "back.yaml"] {
        let ran = place.run(&["run", file]);
        if ran.code != 0 {
            return Err(ran.text());
        }
    }
    let files = place.files(&format!("{name}-back/rows"));
    Ok(files.iter().flat_map(|(_, path)| lines(&std::fs::read_to_string(path).unwrap())).collect())
}

#[test]
fn every_codec_keeps_every_value() {
    let place = Place::new();
    place.write("rows.jsonl", ROWS);
    let codecs = [
        "parquet: {}",
        "parquet: { compression: none }",
        "parquet: { compression: lz4 }",
        "parquet: { compression: gzip, level: 9 }",
        "parquet: { compression: snappy }",
        "jsonl: {}",
        "jsonl: { compression: gzip }",
        "jsonl: { compression: zstd, level: 19 }",
        "jsonl: { compression: lz4 }",
        "json: {}",
        "json: { compression: gzip }",
        "arrow: {}",
        "arrow: { compression: none }",
        "arrow: { compression: lz4 }",
        "arrow: { format: stream }",
    ];
    let mut wrong = Vec::new();
    for (number, codec) in codecs.into_iter().enumerate() {
        match there_and_back(&place, &format!("out{number}"), codec) {
            Ok(rows) if rows == lines(ROWS) => {}
            Ok(rows) => wrong.push(format!("{codec}: {rows:#?}")),
            Err(text) => wrong.push(format!("{codec}: {text}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_repository_keeps_every_value() {
    let place = Place::new();
    place.write("rows.jsonl", ROWS);
    place.write("backup.yaml", crate::support::backup("rows.jsonl", "repo", ""));
    place.run(&["run", "backup.yaml"]).ends_with(0);
    place
        .write("restore.yaml", pipeline("repository: { url: repo }", "files: { path: out }", "- codec: { jsonl: {} }"));
    place.run(&["run", "restore.yaml"]).ends_with(0);
    let (_, path) = place.files("out/rows").into_iter().next().unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(lines(&text), lines(ROWS));
    assert!(text.contains("-0.0"), "the sign of zero: {text}");
}

#[test]
fn a_repository_takes_only_parquet() {
    let place = Place::new();
    place.write("rows.jsonl", ROWS);
    place.write("p.yaml", crate::support::backup("rows.jsonl", "repo", "- codec: { jsonl: {} }"));
    place.run(&["run", "p.yaml"]).ends_with(2).says("a repository stores Parquet");
    assert!(!place.path("repo").exists());
}

#[test]
fn csv_is_read() {
    let place = Place::new();
    place.write("rows.csv", "id,name,n\n1,\"a, b\",3\n2,\"line\nbreak\",\n");
    place.write("p.yaml", crate::support::backup("rows.csv", "repo", ""));
    place.run(&["run", "p.yaml"]).ends_with(0);
    let ran = place
        .run(&["catalog", "query", "latest", "SELECT * FROM rows ORDER BY id", "-r", "repo", "--format", "json"])
        .ends_with(0);
    assert_eq!(
        lines(&ran.stdout),
        lines("{\"id\":1,\"name\":\"a, b\",\"n\":3}\n{\"id\":2,\"name\":\"line\\nbreak\",\"n\":null}\n")
    );
}

#[test]
fn globs_and_partitions() {
    let place = Place::new();
    for (year, id) in [(2023, "a"), (2024, "b"), (2024, "c")] {
        place.write(&format!("in/year={year}/{id}.jsonl"), format!("{{\"id\":\"{id}\"}}\n"));
    }
    let source = "files: { path: \"in/*/*.jsonl\", dataset: events, id: id, partitions: { year: int } }";
    place.write(
        "p.yaml",
        pipeline(source, "repository: { url: repo, create: if_missing }", "- filter: \"year = 2024\""),
    );
    place.run(&["run", "p.yaml"]).ends_with(0);
    assert_eq!(place.query("repo", "SELECT id, year FROM events ORDER BY id"), ["b,2024", "c,2024"]);
}

#[test]
fn a_declared_type_wins_over_inference() {
    let place = Place::new();
    place.write(
        "rows.jsonl",
        "{\"id\":\"1\",\"zip\":\"01234\",\"v\":[1,2]}\n{\"id\":\"2\",\"zip\":\"99999\",\"v\":[3,4]}\n",
    );
    let source = "files: { path: rows.jsonl, id: id, schema: { v: vector(2), zip: text } }";
    place.write("p.yaml", pipeline(source, "repository: { url: repo, create: if_missing }", ""));
    place.run(&["run", "p.yaml"]).ends_with(0);
    place.run(&["catalog", "show", "-r", "repo"]).ends_with(0).says("vector(2)");
    assert_eq!(place.query("repo", "SELECT zip FROM rows ORDER BY id"), ["01234", "99999"]);
}

//! `--objects` and `--properties`.

use serde_json::Value;

use crate::support::{Place, backup, pipeline, rows};

fn with_snapshot() -> Place {
    let place = Place::new();
    place.write("rows.jsonl", rows(0, 1000));
    place.write("backup.yaml", backup("rows.jsonl", "repo", ""));
    place.run(&["run", "backup.yaml"]).ends_with(0);
    place.write("restore.yaml", {
        let text = pipeline("repository: { url: repo }", "files: { path: \"${var:to}\" }", "- codec: { jsonl: {} }");
        text + "vars: { to: out }\n"
    });
    place
}

fn restored(place: &Place, folder: &str) -> Vec<Value> {
    let files = place.files(&format!("{folder}/rows"));
    let texts = files.iter().map(|(_, path)| std::fs::read_to_string(path).unwrap());
    texts.flat_map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>()).collect()
}

fn ids(rows: &[Value]) -> Vec<&str> {
    let mut ids: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn objects_by_id() {
    let place = with_snapshot();
    place.run(&["run", "restore.yaml", "--objects", "row-7,row-999"]).ends_with(0);
    assert_eq!(ids(&restored(&place, "out")), ["row-7", "row-999"]);
    place
        .run(&["run", "restore.yaml", "--var", "to=two", "--objects", "rows/row-1", "--objects", "row-2"])
        .ends_with(0);
    assert_eq!(ids(&restored(&place, "two")), ["row-1", "row-2"]);
}

#[test]
fn ids_that_are_not_there_are_named() {
    let place = with_snapshot();
    let ran = place.run(&["run", "restore.yaml", "--objects", "row-7,row-1000,row-2000", "--json"]).ends_with(3);
    let summary = ran.summary();
    assert_eq!(summary["missing_ids"], serde_json::json!(["row-1000", "row-2000"]));
    assert_eq!(summary["counts"]["written"], 1);
    assert_eq!(ids(&restored(&place, "out")), ["row-7"]);
}

/// The ids are those of the source: a filter behind them does not make an id missing.
#[test]
fn an_id_that_a_filter_stops_is_not_missing() {
    let place = with_snapshot();
    let text = place.read("restore.yaml").replace("  - codec", "  - filter: \"n > 500\"\n  - codec");
    place.write("filtered.yaml", text);
    place.run(&["run", "filtered.yaml", "--objects", "row-7,row-999"]).ends_with(0);
    assert_eq!(ids(&restored(&place, "out")), ["row-999"]);
}

#[test]
fn properties_keep_the_id() {
    let place = with_snapshot();
    place.run(&["run", "restore.yaml", "--properties", "n,text"]).ends_with(0);
    let rows = restored(&place, "out");
    assert_eq!(rows.len(), 1000);
    let names: Vec<&String> = rows[0].as_object().unwrap().keys().collect();
    assert!(names.iter().all(|name| ["id", "n", "text", "vector"].contains(&name.as_str())), "{names:?}");
    assert!(["id", "n", "text"].iter().all(|name| rows[0].get(name).is_some()), "{names:?}");
    assert!(rows[0].get("even").is_none());
}

#[test]
fn a_property_that_is_not_there_is_an_error() {
    let place = with_snapshot();
    place.run(&["run", "restore.yaml", "--properties", "n,txet"]).ends_with(2).says("\"txet\"").says("text");
    assert!(!place.path("out").exists());
}

#[test]
fn objects_need_an_id_column() {
    let place = with_snapshot();
    place
        .write("no-id.yaml", pipeline("files: { path: rows.jsonl }", "files: { path: out }", "- codec: { jsonl: {} }"));
    place
        .run(&["run", "no-id.yaml", "--objects", "row-7"])
        .ends_with(2)
        .says("no id column")
        .says("nothing is guessed");
}

/// What is not asked for is not fetched: `plan` says so, and so do the bytes.
#[test]
fn filters_and_columns_are_pushed_down() {
    let place = with_snapshot();
    place.write(
        "p.yaml",
        pipeline(
            "repository: { url: repo }",
            "files: { path: out }",
            "- filter: \"n > 990\"\n- transform: { keep: [id, n] }",
        ),
    );
    place.run(&["plan", "p.yaml"]).ends_with(0).says("not fetched").says("vector").says("pushed down");
    let ran = place.run(&["run", "p.yaml", "--json"]).ends_with(0);
    assert_eq!(ran.summary()["counts"]["written"], 9);
}

/// An unset variable of a shell must not come to mean everything.
#[test]
fn an_empty_list_is_refused() {
    let place = with_snapshot();
    for list in ["", ",", " , "] {
        place.run(&["run", "restore.yaml", "--objects", list]).ends_with(2).says("names no id");
        place.run(&["run", "restore.yaml", "--properties", list]).ends_with(2).says("names no column");
        place.run(&["plan", "restore.yaml", "--objects", list]).ends_with(2).says("names no id");
    }
    assert!(!place.path("out").exists());
}

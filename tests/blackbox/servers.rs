//! Real stores. Their addresses come from the environment, as `tests/servers/README.md` tells; a store that is not there
//! is skipped only where nobody requires it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::support::{KEY, OTHER_KEY, Place, pipeline, rows};

const ENCRYPT: &str = "- encrypt: { aes-256-gcm: { key: \"${secret:env:RESTOW_KEY}\" } }";

/// A place whose commands reach the store, and an address in it that nobody else uses.
fn store(name: &str) -> Option<(Place, String)> {
    let Ok(url) = std::env::var(name) else {
        let required = std::env::var("RESTOW_TEST_SERVERS").is_ok_and(|value| value == "required");
        assert!(!required, "{name} is not set, and RESTOW_TEST_SERVERS=required");
        eprintln!("skipped: {name} is not set");
        return None;
    };
    let mut place = Place::new();
    place.set("RESTOW_KEY", KEY);
    for setting in std::env::var(format!("{name}_SETTINGS")).unwrap_or_default().split_whitespace() {
        let (name, value) = setting.split_once('=').unwrap();
        place.set(name, value);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    Some((place, format!("{url}/blackbox-{}-{now}", std::process::id())))
}

/// Backs up, lists, queries, restores, exports to the store and imports from it.
fn check(name: &str) {
    let Some((mut place, url)) = store(name) else { return };
    for part in 0..3 {
        place.write(&format!("rows/{part}.jsonl"), rows(part * 2000, 2000));
    }
    let repository = format!("{url}/repository");
    let sink = format!("repository: {{ url: \"{repository}\", create: if_missing }}");
    place.write(
        "backup.yaml",
        pipeline("files: { path: rows, id: id }", &sink, &format!("- filter: \"even\"\n{ENCRYPT}")),
    );
    let backup = place.run(&["run", "backup.yaml", "--json"]).ends_with(0);
    assert_eq!(backup.summary()["counts"]["written"], 3000);
    place.run(&["run", "backup.yaml"]).ends_with(0);
    let list = place.run(&["catalog", "list", "-r", &repository, "--json"]).ends_with(0);
    assert_eq!(list.lines().iter().filter(|line| line["type"] == "snapshot").count(), 2, "{}", list.text());
    assert_eq!(place.query(&repository, "SELECT count(*) AS n, sum(n) AS s FROM rows"), ["3000,8997000"]);

    place.set("RESTOW_KEY", OTHER_KEY);
    place.run(&["restore", &repository, "--to", "out", "--yes"]).ends_with(12);
    assert!(!place.path("out").exists());
    place.set("RESTOW_KEY", KEY);
    place.run(&["restore", &repository, "--to", "out", "--yes"]).ends_with(0).says("3,000");

    let export = format!("{url}/export");
    place.write(
        "export.yaml",
        pipeline(
            "files: { path: rows, id: id }",
            &format!("files: {{ path: \"{export}\" }}"),
            "- codec: { jsonl: { compression: gzip } }",
        ),
    );
    place.run(&["run", "export.yaml"]).ends_with(0);
    place.run(&["run", "export.yaml"]).ends_with(7);
    let imported = "repository: { url: imported, create: if_missing }";
    place.write("import.yaml", pipeline(&format!("files: {{ path: \"{export}\", id: id }}"), imported, ""));
    place.run(&["run", "import.yaml"]).ends_with(0);
    place.unset("RESTOW_KEY");
    assert_eq!(place.query("imported", "SELECT count(*) AS n, count(DISTINCT id) AS ids FROM rows"), ["6000,6000"]);
}

/// A killed backup is taken up: nothing is lost or doubled.
fn check_resume(name: &str) {
    let Some((place, url)) = store(name) else { return };
    for part in 0..8 {
        place.write(&format!("rows/{part}.jsonl"), rows(part * 10_000, 10_000));
    }
    let repository = format!("{url}/resumed");
    let sink = format!("repository: {{ url: \"{repository}\", create: if_missing }}");
    place.write("backup.yaml", pipeline("files: { path: rows, id: id }", &sink, ENCRYPT));
    let run = place.start(&["run", "backup.yaml", "--parallel", "1"]);
    std::thread::sleep(std::time::Duration::from_millis(700));
    run.signal("KILL");
    run.end();
    place.run(&["run", "backup.yaml"]).ends_with(0);
    assert_eq!(place.query(&repository, "SELECT count(*) AS n, count(DISTINCT id) AS ids FROM rows"), ["80000,80000"]);
}

/// A line of JSON as a text in which equal values are equal: `0` and `0.0` are one number.
fn value_of(line: &str) -> String {
    fn plain(value: &Value) -> Value {
        match value {
            Value::Number(number) => number.as_f64().map_or_else(|| value.clone(), Value::from),
            Value::Array(values) => values.iter().map(plain).collect(),
            other => other.clone(),
        }
    }
    let row: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
    format!("{:?}", row.iter().map(|(name, value)| (name, plain(value))).collect::<Vec<_>>())
}

/// The worst day: everything is gone but the binary, the address and the recovery key. The place of the backup is another
/// than the one of the restore, which has no pipeline, no settings, no key file and an empty home.
fn check_worst_day(name: &str) {
    let Some((mut lost, url)) = store(name) else { return };
    lost.unset("RESTOW_KEY");
    let lines = rows(0, 5000);
    lost.write("rows.jsonl", &lines);
    let repository = format!("{url}/worst-day");
    let sink = format!("repository: {{ url: \"{repository}\", create: if_missing }}");
    let encrypt = "- encrypt: { aes-256-gcm: { key_file: a.key, create: true, recovery_key_file: recovery.key } }";
    lost.write("backup.yaml", pipeline("files: { path: rows.jsonl, id: id }", &sink, encrypt));
    lost.run(&["run", "backup.yaml"]).ends_with(0);
    let recovery = lost.read("recovery.key");
    drop(lost);

    let Some((mut bare, _)) = store(name) else { return };
    bare.unset("RESTOW_KEY");
    bare.write("recovery.key", recovery);
    let restore = ["restore", repository.as_str(), "--to", "out", "--yes"];
    bare.run(&restore).ends_with(12).says("no data was changed");
    assert!(!bare.path("out").exists());
    let with_key = [&restore[..], &["--key-file", "recovery.key"]].concat();
    bare.run(&with_key).ends_with(0).says("rows: 5,000 rows").says("5,000");
    bare.run(&["catalog", "verify", "-r", &repository, "--level", "read", "--key-file", "recovery.key"]).ends_with(0);

    // The rows are those that were lost, each value the same.
    let sink = "files: { path: again, layout: single }";
    bare.write(
        "again.yaml",
        pipeline("files: { path: out/rows, dataset: rows, id: id }", sink, "- codec: { jsonl: {} }"),
    );
    bare.run(&["run", "again.yaml"]).ends_with(0);
    let (_, file) = bare.files("again").into_iter().find(|(name, _)| name.ends_with(".jsonl")).unwrap();
    let parse = |text: &str| -> BTreeSet<String> { text.lines().map(value_of).collect() };
    let restored = std::fs::read_to_string(file).unwrap();
    assert_eq!(restored.lines().count(), 5000);
    assert!(parse(&restored) == parse(&lines), "the restored rows differ");
}

#[test]
fn s3_worst_day() {
    check_worst_day("RESTOW_TEST_S3");
}

#[test]
fn s3() {
    check("RESTOW_TEST_S3");
}

#[test]
fn s3_resume() {
    check_resume("RESTOW_TEST_S3");
}

#[test]
fn gcs() {
    check("RESTOW_TEST_GS");
}

#[test]
fn gcs_resume() {
    check_resume("RESTOW_TEST_GS");
}

#[test]
fn azure() {
    check("RESTOW_TEST_AZ");
}

#[test]
fn azure_resume() {
    check_resume("RESTOW_TEST_AZ");
}

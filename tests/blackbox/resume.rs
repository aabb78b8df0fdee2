//! A run that died is taken up by the same command: nothing is lost, nothing is doubled, nothing finished is redone.

use std::collections::BTreeMap;

use crate::support::{Place, backup, rows};

/// Files of the slow source, each a split.
const FILES: u64 = 8;
/// Rows of each file.
const FILE_ROWS: u64 = 25_000;
/// Rows of all files.
pub const ROWS: u64 = FILES * FILE_ROWS;

/// A place with `slow.yaml`: enough input that a signal finds it at work.
pub fn slow_place(more: &str) -> Place {
    let place = Place::new();
    for file in 0..FILES {
        place.write(&format!("slow/{file}.jsonl"), rows(file * FILE_ROWS, FILE_ROWS));
    }
    place.write("slow.yaml", backup("slow", "repo", more));
    place
}

/// Receipts of all runs so far, in the repository.
pub fn receipts(place: &Place) -> usize {
    receipt_names(place).len()
}

fn receipt_names(place: &Place) -> Vec<String> {
    let names = place.files("repo/runs").into_iter().map(|(name, _)| name);
    names.filter(|name| name.contains("/receipts/") && name.ends_with(".json")).collect()
}

/// Every data object with the time when it was last changed.
fn data(place: &Place) -> BTreeMap<String, std::time::SystemTime> {
    let files = place.files("repo/data").into_iter();
    files.map(|(name, path)| (name, path.metadata().unwrap().modified().unwrap())).collect()
}

fn check_all_rows(place: &Place) {
    let sql = "SELECT count(*) AS n, count(DISTINCT id) AS ids, sum(n) AS total FROM slow";
    assert_eq!(place.query("repo", sql), [format!("{ROWS},{ROWS},{}", ROWS * (ROWS - 1) / 2)]);
}

#[test]
fn a_killed_run_is_taken_up_and_its_finished_splits_stay() {
    let place = slow_place("");
    let mut run = place.start(&["run", "slow.yaml", "--parallel", "1"]);
    run.until("two receipts", || receipts(&place) >= 2);
    run.signal("KILL");
    assert_eq!(run.end().code, -1);
    // Nothing is half visible.
    let list = place.run(&["catalog", "list", "-r", "repo", "--json"]).ends_with(0);
    assert!(list.lines().iter().all(|line| line["type"] != "snapshot"), "{}", list.text());
    let (finished, written) = (receipt_names(&place), data(&place));

    let again = place.run(&["run", "slow.yaml", "--parallel", "1", "--json"]).ends_with(0);
    let summary = again.summary();
    assert_eq!(summary["resumed"], true, "{}", again.text());
    assert_eq!(summary["counts"]["written"], ROWS);
    let now = receipt_names(&place);
    assert_eq!(now.len() as u64, FILES, "one receipt a split: {now:?}");
    assert!(finished.iter().all(|name| now.contains(name)));
    let after = data(&place);
    for (name, time) in &written {
        assert_eq!(after.get(name), Some(time), "{name} was written again");
    }
    check_all_rows(&place);

    // A finished run is never taken up.
    let third = place.run(&["run", "slow.yaml", "--json"]).ends_with(0);
    assert_eq!(third.summary()["resumed"], false);
    assert_ne!(third.summary()["snapshot"], summary["snapshot"]);
}

#[test]
fn fresh_abandons_the_unfinished_run() {
    let place = slow_place("");
    let mut run = place.start(&["run", "slow.yaml", "--parallel", "1"]);
    run.until("a receipt", || receipts(&place) >= 1);
    run.signal("KILL");
    run.end();
    let fresh = place.run(&["run", "slow.yaml", "--fresh", "--json"]).ends_with(0);
    assert_eq!(fresh.summary()["resumed"], false);
    check_all_rows(&place);
    let list = place.run(&["catalog", "list", "-r", "repo", "--json"]).ends_with(0);
    assert_eq!(list.lines().iter().filter(|line| line["type"] == "snapshot").count(), 1, "{}", list.text());
}

#[test]
fn another_question_is_another_run() {
    let place = slow_place("");
    let mut run = place.start(&["run", "slow.yaml", "--parallel", "1"]);
    run.until("a receipt", || receipts(&place) >= 1);
    run.signal("KILL");
    run.end();
    let other = place.run(&["run", "slow.yaml", "--objects", "row-1,row-30000", "--json"]).ends_with(0);
    assert_eq!(other.summary()["resumed"], false);
    assert_eq!(other.summary()["counts"]["written"], 2);
}

#[test]
fn a_receipt_whose_file_changed_is_not_trusted() {
    let place = slow_place("");
    let mut run = place.start(&["run", "slow.yaml", "--parallel", "1"]);
    run.until("two receipts", || receipts(&place) >= 2);
    run.signal("KILL");
    run.end();
    let (name, path) = place.files("repo/data").into_iter().find(|(name, _)| name.ends_with(".parquet")).unwrap();
    let length = path.metadata().unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
    let again = place.run(&["run", "slow.yaml", "--json"]).ends_with(0);
    assert_eq!(again.summary()["resumed"], true, "{name}: {}", again.text());
    check_all_rows(&place);
    assert!(receipt_names(&place).iter().any(|name| name.ends_with("/2.json")), "{:?}", receipt_names(&place));
}

#[test]
fn an_export_is_taken_up_too() {
    let place = slow_place("");
    place.write(
        "slow.yaml",
        crate::support::pipeline("files: { path: slow, id: id }", "files: { path: out }", "- codec: { parquet: {} }"),
    );
    let mut run = place.start(&["run", "slow.yaml", "--parallel", "1"]);
    let state = |place: &Place| {
        place.files(".restow/state/runs").iter().filter(|(name, _)| name.contains("/receipts/")).count()
    };
    run.until("a receipt", || state(&place) >= 1);
    run.signal("KILL");
    run.end();
    assert!(!place.path("out/_restow_export.json").exists(), "an export that did not finish looks finished");
    let again = place.run(&["run", "slow.yaml", "--json"]).ends_with(0);
    assert_eq!(again.summary()["resumed"], true);
    assert_eq!(again.summary()["counts"]["written"], ROWS);
}

//! Every exit code that the commands of today can return. 4 and 13 differ: 4 is what verification finds in files that
//! an export names, 13 is what cannot happen to a repository by itself. 5 needs change segments, which come later.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{KEY, OTHER_KEY, Place, backup, pipeline, rows};

const ENCRYPT: &str = "- encrypt: { aes-256-gcm: { key: \"${secret:env:RESTOW_KEY}\" } }";

/// A place with a snapshot of 100 rows in `repo`.
fn with_snapshot(more: &str) -> Place {
    let mut place = Place::new();
    place.set("RESTOW_KEY", KEY);
    place.write("rows.jsonl", rows(0, 100));
    place.write("backup.yaml", backup("rows.jsonl", "repo", more));
    place.run(&["run", "backup.yaml"]).ends_with(0);
    place
}

fn restore_to(place: &Place, folder: &str) {
    let source = "repository: { url: repo, unlock: { key: \"${secret:env:RESTOW_KEY}\" } }";
    let text = pipeline(source, &format!("files: {{ path: {folder} }}"), "- codec: { jsonl: {} }");
    place.write("restore.yaml", text);
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn data_object(place: &Place) -> std::path::PathBuf {
    let files = place.files("repo/data");
    files
        .into_iter()
        .map(|(_, path)| path)
        .find(|path| path.extension().is_some_and(|ending| ending == "parquet"))
        .unwrap()
}

#[test]
fn c0_done() {
    let place = with_snapshot("");
    place.run(&["catalog", "list", "-r", "repo"]).ends_with(0);
    place.run(&["--help"]).ends_with(0);
    place.run(&["--version"]).ends_with(0);
}

#[test]
fn c1_a_test_in_a_file_fails() {
    let place = Place::new();
    let tests = "tests:\n  - name: keeps two\n    given: [{ id: a, n: 1 }, { id: b, n: 2 }]\n    expect: [{ id: a }, { id: b }]\n";
    let text = backup("rows.jsonl", "repo", "- filter: \"n > 1\"") + tests;
    place.write("p.yaml", text);
    place.run(&["test", "p.yaml"]).ends_with(1).says("keeps two").snapshot_exact("test_fails");
}

#[test]
fn c1_more_rejects_than_allowed() {
    let place = Place::new();
    place.write("rows.jsonl", rows(0, 3) + "{\"id\": \n" + &rows(3, 3));
    place.write("p.yaml", backup("rows.jsonl", "repo", ""));
    place.run(&["run", "p.yaml"]).ends_with(1).says("rows.jsonl:4");
    let list = place.run(&["catalog", "list", "-r", "repo", "--json"]).ends_with(0);
    assert!(list.lines().iter().all(|line| line["type"] != "snapshot"), "{}", list.text());
}

#[test]
fn c2_usage() {
    let place = Place::new();
    place.run(&["run", "--no-such-flag"]).ends_with(2);
    place.run(&["frobnicate"]).ends_with(2);
    place.write("p.yaml", "version: 1\nstages: []\n");
    place.run(&["run", "p.yaml"]).ends_with(2).says("E301");
    place.write("restow.yaml", "memroy: 1GiB\n");
    place.run(&["catalog", "list"]).ends_with(2).says("memroy").says("did you mean \"memory\"?");
}

#[test]
fn c3_rejects_and_ids_not_found() {
    let place = with_snapshot("");
    place.write("bad.jsonl", rows(0, 2) + "no json\n" + &rows(2, 2));
    place.write("bad.yaml", backup("bad.jsonl", "repo", "") + "on_error: { max_rejects: 1 }\n");
    let ran = place.run(&["run", "bad.yaml", "--json"]).ends_with(3);
    let counts = &ran.summary()["counts"];
    assert_eq!(
        (&counts["scanned"], &counts["written"], &counts["rejected"]),
        (&5.into(), &4.into(), &1.into()),
        "{counts}"
    );

    place.write(
        "ids.yaml",
        pipeline("repository: { url: repo, snapshot: latest }", "files: { path: out }", "- codec: { jsonl: {} }"),
    );
    let ran = place.run(&["run", "ids.yaml", "--objects", "row-1,row-77777"]).ends_with(3);
    ran.says("row-77777").says_not("row-1 ");
}

#[test]
fn c4_a_file_of_an_export_is_not_what_the_export_says() {
    let place = with_snapshot("");
    place.write("out.yaml", pipeline("repository: { url: repo }", "files: { path: out }", "- codec: { jsonl: {} }"));
    place.run(&["run", "out.yaml"]).ends_with(0);
    let (_, part) = place.files("out/rows").into_iter().next().unwrap();
    OpenOptions::new().write(true).open(&part).unwrap().set_len(100).unwrap();
    place.write("in.yaml", backup("out", "other", ""));
    place.run(&["run", "in.yaml"]).ends_with(4).says("is not what the export says");
}

#[test]
fn c6_no_space() {
    let place = with_snapshot("");
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = place.command(&["catalog", "query", "latest", "SELECT * FROM rows", "-r", "repo"]);
    let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("cannot write to standard output"), "{said}");
}

#[test]
fn c7_refused() {
    let place = with_snapshot("");
    let ran = place.run(&["restore", "repo", "--to", "out"]).ends_with(7).says("--yes");
    ran.snapshot("restore_refused");
    assert!(!place.path("out").exists());
    place.run(&["repository", "create", "repo"]).ends_with(7).says("nothing was changed");
    // A key where the repository has none: somebody may have put another repository there.
    place.write(
        "key.yaml",
        pipeline(
            "repository: { url: repo, unlock: { key: \"${secret:env:RESTOW_KEY}\" } }",
            "files: { path: out }",
            "",
        ),
    );
    place.run(&["run", "key.yaml"]).ends_with(7).says("not encrypted");
    assert!(!place.path("out").exists());
}

#[test]
fn c10_not_found() {
    let place = with_snapshot("");
    place.run(&["catalog", "list", "-r", "nowhere"]).ends_with(10).says("nowhere");
    assert!(!place.path("nowhere").exists(), "a mistyped address became a folder");
    place.run(&["catalog", "show", "19990101", "-r", "repo"]).ends_with(10).says("19990101");
    place.run(&["run", "no-such-file.yaml"]).ends_with(10).says("no-such-file.yaml");
    place.write("p.yaml", backup("missing/*.jsonl", "repo", ""));
    place.run(&["run", "p.yaml"]).ends_with(10).says("missing/*.jsonl");
    place.write("never.yaml", pipeline("files: { path: rows.jsonl, id: id }", "repository: { url: mistyped }", ""));
    place.run(&["run", "never.yaml"]).ends_with(10).says("mistyped");
    assert!(!place.path("mistyped").exists());
}

/// While a run is stopped another one abandons it, and writes its own snapshot. The first must not commit afterwards.
#[test]
fn c11_lost_race() {
    let place = crate::resume::slow_place("");
    let mut first = place.start(&["run", "slow.yaml", "--parallel", "1"]);
    first.until("a first receipt", || crate::resume::receipts(&place) > 0);
    first.signal("STOP");
    place.run(&["run", "slow.yaml", "--fresh", "--parallel", "1"]).ends_with(0);
    first.signal("CONT");
    first.end().ends_with(11);
    let list = place.run(&["catalog", "list", "-r", "repo", "--json"]).ends_with(0);
    assert_eq!(list.lines().iter().filter(|line| line["type"] == "snapshot").count(), 1, "{}", list.text());
}

#[test]
fn c12_wrong_or_missing_key_before_any_target_is_written() {
    let mut place = with_snapshot(ENCRYPT);
    restore_to(&place, "out");
    place.set("RESTOW_KEY", OTHER_KEY);
    place.run(&["run", "restore.yaml"]).ends_with(12).says("opens none").says_not(OTHER_KEY);
    place.run(&["catalog", "query", "latest", "SELECT 1", "-r", "repo"]).ends_with(12);
    place.run(&["run", "backup.yaml"]).ends_with(12).says_not(OTHER_KEY);
    place.set("RESTOW_KEY", "rsk1_short");
    place.run(&["run", "restore.yaml"]).ends_with(12).says_not("rsk1_short");
    place.unset("RESTOW_KEY");
    place.run(&["catalog", "list", "-r", "repo"]).ends_with(12);
    place.run(&["restore", "repo", "--to", "out", "--yes"]).ends_with(12);
    place.write("no-key.yaml", pipeline("repository: { url: repo }", "files: { path: out }", ""));
    place.run(&["run", "no-key.yaml"]).ends_with(12);
    place.write(
        "no-file.yaml",
        pipeline("repository: { url: repo, unlock: { key_file: gone.key } }", "files: { path: out }", ""),
    );
    place.run(&["run", "no-file.yaml"]).ends_with(12).says("gone.key");
    assert!(!place.path("out").exists() && !place.path("gone.key").exists());
    place.set("RESTOW_KEY", KEY);
    place.run(&["run", "restore.yaml"]).ends_with(0);
}

/// A byte of the data object changed: early, in the middle, in the footer. (Not in the header of a container: the manifest
/// keeps that, so no read touches it.)
#[test]
fn c13_a_data_object_was_changed() {
    let mut wrong = Vec::new();
    for more in ["", ENCRYPT] {
        for place_of in [|length: usize| length / 2, |length: usize| length - 20, |_: usize| 90] {
            let place = with_snapshot(more);
            let object = data_object(&place);
            flip(&object, place_of(object.metadata().unwrap().len() as usize));
            let restore = place.run(&["restore", "repo", "--to", "out", "--yes"]);
            let query = place.run(&["catalog", "query", "latest", "SELECT * FROM rows", "-r", "repo"]);
            wrong.extend([restore, query].into_iter().filter(|ran| ran.code != 13).map(|ran| ran.text()));
            assert!(!place.path("out/_restow_export.json").exists(), "damaged rows became a finished export");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn c13_metadata_was_changed_or_removed() {
    for more in ["", ENCRYPT] {
        let place = with_snapshot(more);
        let files = place.files("repo/snapshots");
        flip(&files.into_iter().find(|(name, _)| name.ends_with("manifest.json")).unwrap().1, 60);
        place.run(&["catalog", "show", "latest", "-r", "repo"]).ends_with(13).says("manifest.json");
        place.run(&["catalog", "list", "-r", "repo"]).ends_with(13).says("damaged");

        let place = with_snapshot(more);
        std::fs::remove_file(data_object(&place)).unwrap();
        place.run(&["restore", "repo", "--to", "out", "--yes"]).ends_with(13);
        assert!(!place.path("out/_restow_export.json").exists(), "missing rows became a finished export");
    }
    let place = with_snapshot(ENCRYPT);
    std::fs::remove_file(place.path("repo/keys/1.json")).unwrap();
    place.run(&["catalog", "list", "-r", "repo"]).ends_with(13).says("keys/");
}

#[test]
fn c14_written_by_a_newer_restow() {
    let place = with_snapshot("");
    let header = place.read("repo/repository.json");
    // The object ends with its own SHA-256: a newer restow would write a valid one.
    let body = &header[..header.len() - 78];
    let edited = body.replacen("\"format\":\"1\"", "\"format\":\"9\"", 1);
    assert_ne!(body, edited, "{header}");
    place.write("body", &edited);
    let digest = Command::new("sha256sum").arg(place.path("body")).output().unwrap().stdout;
    let digest = String::from_utf8(digest).unwrap()[..64].to_owned();
    std::fs::remove_file(place.path("repo/repository.json")).unwrap();
    place.write("repo/repository.json", format!("{edited},\"sha256\":\"{digest}\"}}\n"));
    place.run(&["catalog", "list", "-r", "repo"]).ends_with(14).says("another restow");
    // Without a digest of its own it is damage, not a newer format.
    std::fs::remove_file(place.path("repo/repository.json")).unwrap();
    place.write("repo/repository.json", header.replacen("\"format\":\"1\"", "\"format\":\"9\"", 1));
    place.run(&["catalog", "list", "-r", "repo"]).ends_with(13);
}

#[test]
fn c75_store_unreachable() {
    let mut place = Place::new();
    for (name, value) in
        [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "only-for-this-test"), ("AWS_REGION", "us-east-1")]
    {
        place.set(name, value);
    }
    place.write("rows.jsonl", rows(0, 3));
    let connection = "connections: { far: { repository: { url: \"s3://bucket/prefix\", endpoint: \"http://127.0.0.1:1\", allow_http: true } } }\n";
    let text = pipeline("files: { path: rows.jsonl, id: id }", "repository: { connection: far }", "") + connection;
    place.write("p.yaml", text + "on_error: { retry: { attempts: 1, delay: 10ms, max_delay: 20ms } }\n");
    let began = Instant::now();
    place.run(&["run", "p.yaml"]).ends_with(75).says("s3://bucket/prefix").says_not("only-for-this-test");
    assert!(
        began.elapsed() < Duration::from_secs(300),
        "an unreachable store was reported after {:?}",
        began.elapsed()
    );
}

#[test]
fn c130_interrupted() {
    let place = crate::resume::slow_place("");
    for signal in ["INT", "TERM"] {
        let mut run = place.start(&["run", "slow.yaml", "--parallel", "1"]);
        let before = crate::resume::receipts(&place);
        run.until("a receipt", || crate::resume::receipts(&place) > before);
        run.signal(signal);
        run.end().ends_with(130).says("interrupted");
    }
    place.run(&["run", "slow.yaml"]).ends_with(0);
    assert_eq!(place.query("repo", "SELECT count(*) AS n FROM slow"), [crate::resume::ROWS.to_string()]);
}

//! `restow catalog verify`: what it proves, what it finds, and what it says and exits with then.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{KEY, OTHER_KEY, Place, Ran, backup, files_below, rows};

const ROWS: u64 = 4000;

/// A place with one snapshot in `repo`, opened by `a.key` where encrypted.
fn place(encrypted: bool) -> Place {
    let place = Place::new();
    place.write("a.key", KEY);
    place.write("rows.jsonl", rows(0, ROWS));
    let encrypt = if encrypted { "- encrypt: { aes-256-gcm: { key_file: a.key } }" } else { "" };
    place.write("backup.yaml", backup("rows.jsonl", "repo", encrypt));
    place.run(&["run", "backup.yaml"]).ends_with(0);
    place
}

fn verify(place: &Place, arguments: &[&str]) -> Ran {
    place.run(&[&["catalog", "verify", "-r", "repo"], arguments].concat())
}

/// The only file below `folder` of the repository whose name ends so.
fn file(place: &Place, folder: &str, ending: &str) -> (String, PathBuf) {
    let mut found = files_below(&place.path("repo").join(folder));
    found.retain(|(name, _)| name.ends_with(ending));
    assert_eq!(found.len(), 1, "{found:?}");
    let (name, path) = found.remove(0);
    (format!("{folder}/{name}"), path)
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn summary(ran: &Ran) -> Value {
    ran.lines().pop().unwrap()
}

#[test]
fn a_whole_repository_at_every_level_with_and_without_the_key() {
    for encrypted in [true, false] {
        let place = place(encrypted);
        let key: &[&str] = if encrypted { &["--key-file", "a.key"] } else { &[] };
        for level in ["checksum", "sample", "read"] {
            let ran = verify(&place, &[&["--level", level, "--json"], key].concat()).ends_with(0);
            let summary = summary(&ran);
            assert_eq!(
                (&summary["level"], &summary["findings"], &summary["snapshots"]),
                (&level.into(), &0.into(), &1.into())
            );
            assert_eq!(summary["with_key"], true);
            let rows = if level == "read" { Value::from(ROWS) } else { Value::Null };
            assert_eq!(summary["decoded_rows"], rows);
            if level != "sample" {
                assert_eq!(summary["checked_bytes"], summary["bytes"]);
            }
        }
        let ran = verify(&place, &["--no-key"]).ends_with(0).says("whole: ");
        assert_eq!(ran.stderr.contains("no key is used"), encrypted, "{}", ran.text());
        verify(&place, &[&["latest", "--level", "sample", "--part", "1/1"], key].concat())
            .ends_with(0)
            .says("part 1 of 1");
    }
}

#[test]
fn damaged_data_is_exit_4_and_placed() {
    for encrypted in [true, false] {
        let place = place(encrypted);
        let key: &[&str] = if encrypted { &["--key-file", "a.key"] } else { &[] };
        let (name, path) = file(&place, "data", ".parquet");
        let length = std::fs::metadata(&path).unwrap().len() as usize;
        // The header of a container is read by no restore.
        for at in [0, 20, 79, length / 2, length - 1] {
            flip(&path, at);
            for level in ["checksum", "read"] {
                let ran = verify(&place, &[&["--level", level], key].concat()).ends_with(4);
                let ran = ran.says(&format!("damaged: {name}: its bytes are not what was written"));
                ran.says("from offset").says("concerns 4,000 rows of dataset rows").says("remains valid");
            }
            let ran = verify(&place, &[&["--level", "sample", "--part", "1/1", "--json"], key].concat()).ends_with(4);
            let finding = ran.lines().into_iter().find(|line| line["type"] == "finding").unwrap();
            let range = &finding["ranges"][0];
            let (offset, bytes) = (range["offset"].as_u64().unwrap(), range["bytes"].as_u64().unwrap());
            assert!(offset <= at as u64 && (at as u64) < offset + bytes, "{at}: {finding}");
            assert_eq!((&finding["object"], &finding["concerned"]["rows"]), (&name.as_str().into(), &ROWS.into()));
            assert_eq!(summary(&ran)["exit_code"], 4);
            verify(&place, &["--no-key"]).ends_with(4).says(&name);
            flip(&path, at);
        }
        std::fs::remove_file(&path).unwrap();
        verify(&place, key).ends_with(4).says("it is gone");
    }
}

#[test]
fn changed_metadata_is_exit_13() {
    let place = place(true);
    let (name, path) = file(&place, "snapshots", "manifest.json");
    flip(&path, 300);
    verify(&place, &["--key-file", "a.key"]).ends_with(13).says("metadata: ").says(&name);
    verify(&place, &["--no-key"]).ends_with(13).says(&name);
    flip(&path, 300);
    let inventory = files_below(&place.path("repo/snapshots")).into_iter().find(|(name, _)| name.contains("inventory"));
    flip(&inventory.unwrap().1, 30);
    verify(&place, &["--key-file", "a.key"]).ends_with(13).says("inventory-");
}

#[test]
fn a_manifest_that_this_machine_has_seen_is_missed() {
    for encrypted in [true, false] {
        let place = place(encrypted);
        place.run(&["run", "backup.yaml"]).ends_with(0);
        let key: &[&str] = if encrypted { &["--key-file", "a.key"] } else { &[] };
        let (name, newest) = files_below(&place.path("repo/snapshots"))
            .into_iter()
            .rfind(|(name, _)| name.ends_with("manifest.json"))
            .unwrap();
        std::fs::remove_file(newest).unwrap();
        let id = name.split('/').next().unwrap();
        for command in [&["catalog", "show", "latest", "-r", "repo"][..], &["catalog", "list", "-r", "repo"]] {
            place.run(&[command, key].concat()).ends_with(13).says(id).says("this machine has seen it").says("anchors");
        }
        verify(&place, key).ends_with(13).says(id);
        place.run(&[&["restore", "repo", "--to", "out", "--yes"], key].concat()).ends_with(13);
        assert!(!place.path("out").exists());
        // Who says that it was meant has it so.
        std::fs::remove_dir_all(place.root().join("home/.local/state/restow/anchors")).unwrap();
        place.run(&[&["catalog", "list", "-r", "repo"], key].concat()).ends_with(0).says_not(id);
    }
}

#[test]
fn a_rolled_back_keyring_is_noticed_by_who_knew_it() {
    let place = place(true);
    place.run(&["key", "rotate", "-r", "repo", "--key-file", "a.key", "--recovery-key-file", "r.key"]).ends_with(0);
    std::fs::remove_file(place.path("repo/keys/2.json")).unwrap();
    let ran = place.run(&["catalog", "list", "-r", "repo", "--key-file", "a.key"]).ends_with(13);
    ran.says("rolled back").says("anchors");
    place.run(&["run", "backup.yaml"]).ends_with(13);
}

#[test]
fn what_cannot_be_verified_is_no_finding() {
    let place = place(true);
    place.write("b.key", OTHER_KEY);
    verify(&place, &["--key-file", "b.key"]).ends_with(12);
    verify(&place, &["--level", "sample"]).ends_with(12);
    verify(&place, &["--part", "1/3"]).ends_with(2).says("--level sample");
    verify(&place, &["--level", "sample", "--part", "4/3"]).ends_with(2).says("4/3");
    verify(&place, &["20200101T000000Z-aaaaaaaaaa", "--no-key"]).ends_with(10);
    place.run(&["catalog", "verify", "-r", "nowhere"]).ends_with(10);
}

#[test]
fn a_pipeline_verifies_what_it_has_committed() {
    for encrypted in [true, false] {
        let place = place(encrypted);
        let pipeline = place.read("backup.yaml");
        for level in ["checksum", "sample", "read"] {
            place.write("verified.yaml", format!("{pipeline}verify: {{ after: {level} }}\n"));
            let ran = place.run(&["run", "verified.yaml", "--json"]).ends_with(0);
            let lines = ran.lines();
            let verified = lines.iter().find(|line| line["type"] == "snapshot").unwrap();
            assert_eq!((&verified["snapshot"], &verified["whole"]), (&summary(&ran)["snapshot"], &true.into()));
            let rows = if level == "read" { Value::from(ROWS) } else { Value::Null };
            assert_eq!(verified["decoded_rows"], rows);
        }
    }
}

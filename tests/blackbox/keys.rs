//! Keys of an encrypted repository, and `restow doctor`.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::{KEY, OTHER_KEY, Place, Ran, backup, pipeline, rows};

const COUNT: &str = "SELECT count(*) AS n FROM rows";

/// A place with one snapshot of 20 rows in the encrypted `repo`, opened by `a.key` and by `recovery.key`.
fn encrypted() -> Place {
    let place = Place::new();
    place.write("rows.jsonl", rows(0, 20));
    let encrypt = "- encrypt: { aes-256-gcm: { key_file: a.key, create: true, recovery_key_file: recovery.key } }";
    place.write("backup.yaml", backup("rows.jsonl", "repo", encrypt));
    place.run(&["run", "backup.yaml"]).ends_with(0);
    place
}

/// Runs `restow key ... -r repo --key-file KEY`.
fn key(place: &Place, with: &str, arguments: &[&str]) -> Ran {
    place.run(&[&["key"], arguments, &["-r", "repo", "--key-file", with]].concat())
}

/// Whether a key file opens the repository, and all its rows can be read.
#[track_caller]
fn opens(place: &Place, with: &str) {
    let arguments = ["catalog", "query", "latest", COUNT, "-r", "repo", "--format", "csv", "--key-file", with];
    assert_eq!(place.run(&arguments).ends_with(0).stdout, "n\n20\n");
}

#[track_caller]
fn opens_not(place: &Place, with: &str) {
    place.run(&["catalog", "list", "-r", "repo", "--key-file", with]).ends_with(12).says("no data was changed");
}

/// Number and kind of every slot.
fn slots(place: &Place, with: &str) -> Vec<(u64, String)> {
    let list = key(place, with, &["list", "--json"]).ends_with(0);
    let lines = list.lines().into_iter().filter(|line| line["type"] == "key");
    lines.map(|line| (line["slot"].as_u64().unwrap(), line["kind"].as_str().unwrap().to_owned())).collect()
}

fn snapshots(place: &Place, with: &str) -> Vec<String> {
    let list = place.run(&["catalog", "list", "-r", "repo", "--json", "--key-file", with]).ends_with(0);
    let lines = list.lines().into_iter().filter(|line| line["type"] == "snapshot");
    lines.map(|line| line["snapshot"].as_str().unwrap().to_owned()).collect()
}

/// What doctor says of one thing.
fn check(ran: &Ran, name: &str) -> Value {
    let found = ran.lines().into_iter().find(|line| line["type"] == "check" && line["check"] == name);
    found.unwrap_or_else(|| panic!("no check {name}\n{}", ran.text()))
}

fn doctor(place: &Place, with: &str) -> Ran {
    place.run(&["doctor", "-r", "repo", "--key-file", with, "--json"])
}

#[test]
fn a_passphrase_is_added_and_opens_everything() {
    let place = encrypted();
    place.write("phrase.txt", "correct horse \n");
    place.write("wrong.txt", "correct horse\n");
    let added = key(&place, "a.key", &["add", "--new-passphrase-file", "phrase.txt"]).ends_with(0);
    added.says("added slot 3 (passphrase)").says_not("correct horse").says_not("rsk1_");
    let arguments = ["catalog", "list", "-r", "repo", "--passphrase-file"];
    place.run(&[&arguments[..], &["phrase.txt"]].concat()).ends_with(0);
    // A space at the end belongs to it.
    place.run(&[&arguments[..], &["wrong.txt"]].concat()).ends_with(12).says("opens none of the 3 slots");
    place.run(&["restore", "repo", "--to", "out", "--yes", "--passphrase-file", "phrase.txt"]).ends_with(0);
    let unlock = "unlock: { passphrase: \"${secret:file:phrase.txt}\" }";
    place.write("out.yaml", pipeline(&format!("repository: {{ url: repo, {unlock} }}"), "files: { path: other }", ""));
    place.run(&["run", "out.yaml"]).ends_with(0);
    // The same secret is not added twice, and there is no new one without a name.
    key(&place, "a.key", &["add", "--new-passphrase-file", "phrase.txt"]).ends_with(2).says("already opens slot 3");
    key(&place, "a.key", &["add"]).ends_with(2).says("--new-key-file");
    key(&place, "a.key", &["add", "--new-passphrase"]).ends_with(2).says("--new-passphrase-file");
    key(&place, "a.key", &["add", "--new-key-file", "none.key"]).ends_with(10).says("--create");
    assert_eq!(slots(&place, "a.key").len(), 3);
    assert!(!place.path("none.key").exists());
}

#[test]
fn a_removed_key_opens_no_more() {
    let place = encrypted();
    let added = key(&place, "a.key", &["add", "--new-key-file", "keys/b.key", "--create"]).ends_with(0);
    added.says("made the key file keys/b.key").says("added slot 3 (key)").says_not(place.read("keys/b.key").trim());
    assert_eq!(place.path("keys/b.key").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    opens(&place, "keys/b.key");
    key(&place, "keys/b.key", &["remove", "1"]).ends_with(7).says("--yes").says("nothing was changed");
    key(&place, "keys/b.key", &["remove", "1", "--dry-run"]).ends_with(0).says("2 (recovery), 3 (key)");
    key(&place, "keys/b.key", &["remove", "3", "--yes"]).ends_with(7).says("is the one that opened");
    key(&place, "keys/b.key", &["remove", "9", "--yes"]).ends_with(10).says("no slot 9");
    opens(&place, "a.key");
    let removed = key(&place, "keys/b.key", &["remove", "1", "--yes"]).ends_with(0).says("removed slot 1 (key)");
    removed.says("still opens what exists").says("restow key rotate");
    place.run(&["catalog", "list", "-r", "repo", "--key-file", "a.key"]).ends_with(12).says("was removed");
    place.run(&["run", "backup.yaml"]).ends_with(12);
    place.run(&["restore", "repo", "--to", "out", "--yes", "--key-file", "a.key"]).ends_with(12);
    assert!(!place.path("out").exists());
    key(&place, "a.key", &["list"]).ends_with(12);
    opens(&place, "keys/b.key");
    key(&place, "recovery.key", &["remove", "3", "--yes"]).ends_with(7).says("the last one besides the recovery key");
    assert_eq!(slots(&place, "keys/b.key"), [(2, "recovery".to_owned()), (3, "key".to_owned())]);
}

#[test]
fn after_a_rotation_old_and_new_snapshots_restore() {
    let place = encrypted();
    place.write("b.key", OTHER_KEY);
    key(&place, "a.key", &["add", "--new-key-file", "b.key"]).ends_with(0);
    let before = snapshots(&place, "a.key");
    key(&place, "a.key", &["rotate"]).ends_with(2).says("slot 3 (key) was not given").says("nothing was changed");
    let arguments = ["rotate", "--other-key-file", "b.key", "--recovery-key-file", "new-recovery.key"];
    let rotated = key(&place, "a.key", &arguments).ends_with(0).says("epoch 2").says("new-recovery.key");
    rotated.says_not(place.read("new-recovery.key").trim()).says_not("rsk1_");
    place.run(&["run", "backup.yaml"]).ends_with(0);
    let after = snapshots(&place, "b.key");
    assert_eq!((before.len(), after.len()), (1, 2));
    for (index, snapshot) in after.iter().enumerate() {
        for with in ["a.key", "b.key", "new-recovery.key"] {
            let to = format!("out-{index}-{with}");
            let arguments = ["restore", "repo", "--to", &to, "--yes", "--snapshot", snapshot, "--key-file", with];
            place.run(&arguments).ends_with(0).says("20");
        }
    }
    opens_not_any_more(&place, "recovery.key");
    // Data of the new epoch says so: bytes 8 to 12 of the container.
    let mut epochs: Vec<u8> = Vec::new();
    for (_, path) in place.files("repo/data") {
        epochs.push(std::fs::read(path).unwrap()[11]);
    }
    epochs.sort_unstable();
    assert_eq!(epochs, [1, 2]);
    assert_eq!(key(&place, "a.key", &["list", "--json"]).ends_with(0).summary()["epoch"], 2);
}

#[track_caller]
fn opens_not_any_more(place: &Place, with: &str) {
    place.run(&["catalog", "list", "-r", "repo", "--key-file", with]).ends_with(12).says("was removed");
}

#[test]
fn a_slot_is_given_another_secret() {
    let mut place = encrypted();
    place.set("NEW_KEY", OTHER_KEY);
    let rewrapped = key(&place, "a.key", &["rewrap", "--new-key-env", "NEW_KEY"]).ends_with(0);
    rewrapped.says("rewrapped slot 1 (key)").says("restow key rotate").says_not(OTHER_KEY);
    opens_not_any_more(&place, "a.key");
    place.write("new.key", OTHER_KEY);
    opens(&place, "new.key");
    // From a key to a passphrase, by another key; then renewed under the same passphrase.
    place.write("phrase.txt", "correct horse");
    let arguments = ["rewrap", "1", "--new-passphrase-file", "phrase.txt"];
    key(&place, "recovery.key", &arguments).ends_with(0).says("rewrapped slot 1 (passphrase)");
    let renew = ["key", "rewrap", "-r", "repo", "--passphrase-file", "phrase.txt"];
    place.run(&renew).ends_with(0).says_not("still opens what exists");
    place.run(&["catalog", "list", "-r", "repo", "--passphrase-file", "phrase.txt"]).ends_with(0);
    opens_not_any_more(&place, "new.key");
    key(&place, "recovery.key", &["rewrap", "1"]).ends_with(2).says("nothing was changed");
    key(&place, "recovery.key", &["rewrap", "2", "--new-key-env", "NEW_KEY"]).ends_with(2).says("recovery key");
    key(&place, "recovery.key", &["rewrap", "1", "--new-key-env", "NOT_SET"]).ends_with(2).says("NOT_SET");
    // The pipeline still names the old key file.
    place.run(&["run", "backup.yaml"]).ends_with(12);
}

#[test]
fn the_recovery_key_opens_where_the_key_is_lost_and_doctor_knows_it() {
    let place = encrypted();
    let before = doctor(&place, "a.key").ends_with(0);
    assert_eq!(check(&before, "recovery key")["status"], "warning", "{}", before.text());
    assert!(before.summary()["warnings"].as_u64() >= Some(1));
    key(&place, "a.key", &["list"]).ends_with(0).says("never tried");

    std::fs::remove_file(place.path("a.key")).unwrap();
    place.run(&["restore", "repo", "--to", "out", "--yes", "--key-file", "recovery.key"]).ends_with(0);
    // A key for tomorrow, and the lost one goes.
    key(&place, "recovery.key", &["add", "--new-key-file", "b.key", "--create"]).ends_with(0);
    key(&place, "recovery.key", &["remove", "1", "--yes"]).ends_with(0);
    let after = doctor(&place, "b.key").ends_with(0);
    assert_eq!(check(&after, "recovery key")["status"], "ok", "{}", after.text());
    key(&place, "b.key", &["list"]).ends_with(0).says_not("never tried");
    opens(&place, "b.key");

    // A new recovery key has to be tried again.
    let new = ["recovery", "--recovery-key-file", "new.key"];
    key(&place, "b.key", &new).ends_with(7).says("--yes");
    key(&place, "b.key", &[&new[..], &["--dry-run"]].concat()).ends_with(0);
    assert!(!place.path("new.key").exists());
    key(&place, "b.key", &[&new[..], &["--yes"]].concat()).ends_with(0).says("new.key").says_not("rsk1_");
    assert_eq!(place.path("new.key").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    opens_not_any_more(&place, "recovery.key");
    assert_eq!(check(&doctor(&place, "b.key"), "recovery key")["status"], "warning");
    assert_eq!(check(&doctor(&place, "new.key"), "recovery key")["status"], "ok", "trying it is enough");
    assert_eq!(check(&doctor(&place, "b.key"), "recovery key")["status"], "ok");
    // Shown once, where no file is named; a file that exists is not overwritten.
    key(&place, "b.key", &[&new[..], &["--yes"]].concat()).ends_with(7).says("new.key").says("nothing was changed");
    opens(&place, "new.key");
    let shown = key(&place, "b.key", &["recovery", "--yes"]).ends_with(0);
    assert_eq!(shown.text().matches("rsk1_").count(), 1, "{}", shown.text());
}

#[test]
fn keys_that_are_added_at_the_same_time_all_land() {
    let place = encrypted();
    let start = |name: &str| {
        let file = format!("{name}.key");
        place.start(&["key", "add", "-r", "repo", "--key-file", "a.key", "--new-key-file", &file, "--create"])
    };
    let names = ["b", "c", "d", "e"];
    let started = names.map(start);
    for process in started {
        process.end().ends_with(0);
    }
    let mut numbers: Vec<u64> = slots(&place, "a.key").into_iter().map(|(number, _)| number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    for name in names {
        opens(&place, &format!("{name}.key"));
    }
    let mut generations: Vec<String> = place.files("repo/keys").into_iter().map(|(name, _)| name).collect();
    generations.retain(|name| !name.starts_with("probe-"));
    assert_eq!(generations, ["1.json", "2.json", "3.json", "4.json", "5.json"]);
}

#[test]
fn a_wrong_key_or_a_plain_repository_is_refused() {
    let mut place = encrypted();
    place.write("wrong.key", KEY);
    opens_not(&place, "wrong.key");
    let commands: [&[&str]; 6] = [
        &["list"],
        &["add", "--new-key-file", "new.key", "--create"],
        &["remove", "1", "--yes"],
        &["rotate", "--recovery-key-file", "new.key"],
        &["rewrap", "--new-key-env", "OTHER"],
        &["recovery", "--yes", "--recovery-key-file", "new.key"],
    ];
    place.set("OTHER", OTHER_KEY);
    place.write("plain.yaml", backup("rows.jsonl", "plain", ""));
    place.run(&["run", "plain.yaml"]).ends_with(0);
    for arguments in commands {
        key(&place, "wrong.key", arguments).ends_with(12).says("opens none").says_not(KEY);
        place.run(&[&["key"], arguments, &["-r", "repo"]].concat()).ends_with(12).says("--key-file");
        let plain = place.run(&[&["key"], arguments, &["-r", "plain", "--json"]].concat()).ends_with(7);
        plain.summary();
        plain.says("is not encrypted, so it has no keys").says("nothing was changed");
        place.run(&[&["key"], arguments, &["-r", "nowhere"]].concat()).ends_with(10);
    }
    assert!(!place.path("new.key").exists() && !place.path("nowhere").exists());
    assert_eq!(slots(&place, "a.key").len(), 2);
    opens(&place, "a.key");
}

#[test]
fn doctor_finds_what_is_wrong_and_writes_nothing() {
    let place = encrypted();
    place.write(
        "restow.yaml",
        "connections:\n  good: { repository: { url: repo, unlock: { key_file: a.key } } }\n  later: { repository: { url: later } }\n",
    );
    let before = place.files("");
    let names = |files: Vec<(String, std::path::PathBuf)>| files.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let fine = place.run(&["doctor"]).ends_with(0).says("2 connections").says("keyring generation 1, epoch 1");
    fine.says("create-if-absent").says("no repository yet").says("free").says("can be written").says("never opened");
    assert_eq!(names(place.files("")), names(before), "doctor wrote something");
    let tried = place.run(&["doctor", "-r", "good", "--write", "--json"]).ends_with(0);
    assert_eq!(check(&tried, "create-if-absent")["status"], "ok", "{}", tried.text());
    tried.summary();

    // Each is one error, exit code 1, and the rest is still checked.
    std::fs::set_permissions(place.path("a.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    place.run(&["doctor"]).ends_with(0).says("chmod 600 a.key");
    place.write("wrong.key", KEY);
    let wrong = place.run(&["doctor", "-r", "repo", "--key-file", "wrong.key", "--json"]).ends_with(1);
    assert_eq!(check(&wrong, "key")["status"], "error");
    assert_eq!(wrong.summary()["errors"], 1);
    place.run(&["doctor", "-r", "nowhere"]).ends_with(1).says("no repository at nowhere");
    let none = place.run(&["doctor", "-r", "repo", "--json"]).ends_with(0);
    assert_eq!(check(&none, "key")["status"], "ok", "the settings name its key by the address");
    place.write("restow.yaml", "memroy: 1GiB\n");
    let broken = place.run(&["doctor", "-r", "repo", "--json"]).ends_with(1).says("did you mean");
    assert_eq!(check(&broken, "settings")["status"], "error");
    assert_eq!(check(&broken, "key")["status"], "warning", "no key is named any more");
    assert!(!place.path("nowhere").exists());
}

#[test]
fn key_commands_for_people() {
    let place = encrypted();
    key(&place, "a.key", &["list"]).ends_with(0).snapshot("key_list");
    key(&place, "a.key", &["remove", "2"]).ends_with(7).snapshot("key_remove_refused");
    key(&place, "a.key", &["remove", "2", "--yes"]).ends_with(0).snapshot("key_remove");
    key(&place, "a.key", &["rotate"]).ends_with(0).snapshot("key_rotate");
}

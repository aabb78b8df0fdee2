//! What must not be found: plaintext in an encrypted repository, in temporary files or in logs, and secrets anywhere.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{KEY, OTHER_KEY, Place, backup, files_below, holds, pipeline};

/// In values, names of columns, of the dataset, of the file, and in a line that cannot be read.
const VALUE: &str = "plainvalue4711";
const COLUMN: &str = "plaincolumn4711";
const DATASET: &str = "plaindataset4711";
const REJECT: &str = "plainreject4711";
const MARKS: [&str; 4] = [VALUE, COLUMN, DATASET, REJECT];

/// A vector whose bytes are looked for: eight f32.
fn vector() -> Vec<f32> {
    (0..8_u8).map(|k| 0.1234 + f32::from(k)).collect()
}

fn vector_bytes() -> Vec<u8> {
    // In the order of the values, and split into byte streams as BYTE_STREAM_SPLIT does with eight equal rows.
    vector().iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn marked(more: &str) -> Place {
    let mut place = Place::new();
    place.set("RESTOW_KEY", KEY).set("RESTOW_LOG", "trace");
    let vector: Vec<String> = vector().iter().map(ToString::to_string).collect();
    let mut text = String::new();
    for n in 0..2000 {
        text += &format!("{{\"id\":\"{n}\",\"{COLUMN}\":\"{VALUE} {n}\",\"v\":[{}]}}\n", vector.join(","));
    }
    text += &format!("{{\"id\": {REJECT}\n");
    place.write(&format!("in/{DATASET}.jsonl"), text);
    // Not compressed: compression hides plaintext too, and would make this test pass by itself.
    let stages = format!("- codec: {{ parquet: {{ compression: none }} }}\n{more}");
    let text = backup(&format!("in/{DATASET}.jsonl"), "repo", &stages) + "on_error: { max_rejects: 5 }\n";
    place.write("p.yaml", text);
    place
}

const ENCRYPT: &str = "- encrypt: { aes-256-gcm: { key: \"${secret:env:RESTOW_KEY}\" } }";

/// Names and contents of every file below that hold one of the marks, or the bytes of the vector.
fn found_in(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for (name, path) in files_below(folder) {
        let bytes = std::fs::read(&path).unwrap();
        let marks = MARKS.iter().filter(|mark| name.contains(**mark) || holds(&bytes, mark.as_bytes()));
        found.extend(marks.map(|mark| format!("{mark} in {name}")));
        if holds(&bytes, &vector_bytes()) {
            found.push(format!("a vector in {name}"));
        }
    }
    found
}

fn check_nothing_leaks(place: &Place) {
    assert_eq!(found_in(&place.path("repo")), [""; 0]);
    assert_eq!(found_in(&place.root().join("tmp")), [""; 0]);
    assert_eq!(found_in(&place.root().join("home")), [""; 0]);
}

#[test]
fn plaintext_is_nowhere_in_an_encrypted_repository() {
    let place = marked(ENCRYPT);
    let ran = place.run(&["run", "p.yaml"]).ends_with(3);
    check_nothing_leaks(&place);
    // Names may be told to who runs it; values never.
    ran.says_not(VALUE).says_not(REJECT).says_not(KEY);
    // Apart from the input and the pipeline nothing in the working directory holds them either.
    let others: Vec<String> = found_in(&place.path(""))
        .into_iter()
        .filter(|found| !found.contains(" in in/") && !found.contains("p.yaml"))
        .collect();
    assert_eq!(others, [""; 0]);

    let rows = place.query("repo", &format!("SELECT count(*) AS n FROM {DATASET} WHERE {COLUMN} LIKE '{VALUE}%'"));
    assert_eq!(rows, ["2000"]);
    check_nothing_leaks(&place);
}

/// Beside an encrypted export lies the run state, with rejected rows.
#[test]
fn plaintext_is_nowhere_beside_an_encrypted_export() {
    let place = marked(ENCRYPT);
    let source = format!("files: {{ path: in/{DATASET}.jsonl, id: id }}");
    let stages = format!("- codec: {{ parquet: {{ compression: none }} }}\n{ENCRYPT}");
    let text = pipeline(&source, "files: { path: export }", &stages) + "on_error: { max_rejects: 5 }\n";
    place.write("export.yaml", text);
    place.run(&["run", "export.yaml"]).ends_with(3).says_not(VALUE).says_not(REJECT);
    assert!(
        place.files(".restow/state").iter().any(|(name, _)| name.starts_with("sealed-") && name.contains("/runs/"))
    );
    // An export names its folders after the datasets, and lists their columns: names, no values.
    let named = |found: &String| found.starts_with(DATASET) || found.starts_with(COLUMN);
    let values = |found: &String| !found.contains(" in in/") && !named(found);
    assert_eq!(found_in(&place.path("")).into_iter().filter(values).collect::<Vec<_>>(), [""; 0]);
}

/// The same search finds what it looks for where nothing is encrypted: the test above can fail.
#[test]
fn the_search_finds_plaintext() {
    let place = marked("");
    place.run(&["run", "p.yaml"]).ends_with(3);
    let found = found_in(&place.path("repo"));
    for mark in MARKS {
        assert!(found.iter().any(|found| found.starts_with(mark)), "{mark}: {found:?}");
    }
}

/// What a killed run leaves behind.
#[test]
fn a_killed_run_leaves_no_plaintext() {
    let mut place = crate::resume::slow_place(&format!(
        "- codec: {{ parquet: {{ compression: none, row_group: 1MiB }} }}\n{ENCRYPT}"
    ));
    place.set("RESTOW_KEY", KEY);
    let mut run = place.start(&["run", "slow.yaml", "--parallel", "2"]);
    run.until("a receipt", || crate::resume::receipts(&place) >= 1);
    run.signal("KILL");
    run.end();
    for folder in [place.path("repo"), place.root().join("tmp"), place.root().join("home")] {
        for (name, path) in files_below(&folder) {
            assert!(!holds(&std::fs::read(path).unwrap(), b"lorem ipsum"), "plaintext in {name}");
        }
    }
}

/// A sort that does not fit into memory is an error: it is not spilled in clear.
#[test]
fn nothing_is_spilled() {
    let place = marked(ENCRYPT);
    place.run(&["run", "p.yaml"]).ends_with(3);
    let sql = format!("SELECT a.{COLUMN} FROM {DATASET} a CROSS JOIN {DATASET} b ORDER BY a.{COLUMN}, b.id");
    let ran = place.run(&["catalog", "query", "latest", &sql, "-r", "repo", "--memory", "1MiB"]);
    assert_ne!(ran.code, 0, "{}", ran.text());
    assert!(ran.stderr.contains("memory"), "{}", ran.stderr);
    check_nothing_leaks(&place);
}

#[test]
fn run_state_of_a_restore_is_sealed() {
    let place = marked(ENCRYPT);
    place.run(&["run", "p.yaml"]).ends_with(3);
    let source = "repository: { url: repo, unlock: { key: \"${secret:env:RESTOW_KEY}\" } }";
    place.write("out.yaml", pipeline(source, "files: { path: out }", "- codec: { jsonl: {} }"));
    place.run(&["run", "out.yaml"]).ends_with(0).says_not(VALUE);
    assert_eq!(found_in(&place.path(".restow")), [""; 0]);
}

#[test]
fn an_encrypted_export_is_encrypted() {
    let place = marked(ENCRYPT);
    let text =
        place.read("p.yaml").replace("repository: { url: \"repo\", create: if_missing }", "files: { path: out }");
    place.write("p.yaml", text);
    place.run(&["run", "p.yaml"]).ends_with(3);
    let found: Vec<String> = found_in(&place.path("out"))
        .into_iter()
        .filter(|found| !found.contains("_restow_export.json") && !found.starts_with(DATASET))
        .collect();
    assert_eq!(found, [""; 0], "only the list of files is in clear, as documented");
}

#[test]
fn secrets_are_in_no_message() {
    let mut place = Place::new();
    place.set("RESTOW_LOG", "trace").set("KEY_A", KEY).set("KEY_B", OTHER_KEY);
    place.set("BAD", "rsk1_this-is-no-key-but-still-a-secret").set("PHRASE", "correct horse battery");
    place.write("rows.jsonl", crate::support::rows(0, 3));
    let secrets = [KEY, OTHER_KEY, "still-a-secret", "correct horse", "literal-secret", "url-password"];
    let says_none = |arguments: &[&str]| {
        for json in [&[][..], &["--json"][..]] {
            let mut ran = place.run(&[arguments, json].concat());
            for secret in secrets {
                ran = ran.says_not(secret);
            }
        }
    };
    for (name, key) in [
        ("a", "key: \"${secret:env:KEY_A}\""),
        ("b", "key: \"${secret:env:KEY_B}\""),
        ("bad", "key: \"${secret:env:BAD}\""),
        ("phrase", "passphrase: \"${secret:env:PHRASE}\""),
        ("literal", "key: literal-secret"),
        ("literal-key", &format!("key: {KEY}")),
        ("command", "command: \"echo rsk1_still-a-secret\""),
        ("typo", "kye: literal-secret"),
    ] {
        let text = backup("rows.jsonl", "repo", &format!("- encrypt: {{ aes-256-gcm: {{ {key} }} }}"));
        std::fs::write(place_path(&place, name), text).unwrap();
        let file = format!("{name}.yaml");
        for command in ["lint", "plan", "run"] {
            says_none(&[command, &file]);
        }
    }
    let url = "connections: { far: { repository: { url: \"https://user:url-password@127.0.0.1:1/x\" } } }\n";
    let text = pipeline("repository: { connection: far, snapshot: latest }", "files: { path: out }", "") + url;
    std::fs::write(place_path(&place, "url"), text).unwrap();
    says_none(&["lint", "url.yaml"]);
    says_none(&["plan", "url.yaml"]);
    for (name, path) in files_below(&place.path("repo")) {
        let bytes = std::fs::read(path).unwrap();
        for secret in secrets {
            assert!(!holds(&bytes, secret.as_bytes()), "{secret} in {name}");
        }
    }
}

fn place_path(place: &Place, name: &str) -> std::path::PathBuf {
    place.path(format!("{name}.yaml"))
}

#[test]
fn key_files_are_for_their_owner() {
    let place = Place::new();
    place.write("rows.jsonl", crate::support::rows(0, 3));
    let encrypt = "- encrypt: { aes-256-gcm: { key_file: keys/a.key, create: true, recovery_key_file: recovery.key } }";
    place.write("p.yaml", backup("rows.jsonl", "repo", encrypt));
    let ran = place.run(&["run", "p.yaml"]).ends_with(0);
    for file in ["keys/a.key", "recovery.key"] {
        assert_eq!(place.path(file).metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file}");
        assert!(!ran.text().contains(place.read(file).trim()), "{file} was printed");
    }
    // The key is gone, the repository is not: a new key would not open it, so none is made.
    std::fs::remove_file(place.path("keys/a.key")).unwrap();
    place.run(&["run", "p.yaml"]).ends_with(12).says("keys/a.key");
    assert!(!place.path("keys/a.key").exists());
}

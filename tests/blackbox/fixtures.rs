//! Golden repositories of released formats are read as ever, and each damaged one is refused with its exit code and message.
//! `tests/fixtures/make-golden` made them; `tests/fixtures/damaged/<case>/case.json` says what is done to a copy.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{OTHER_KEY, Place, checkout, files_below};

#[path = "../fixtures/cases.rs"]
mod cases;

fn fixtures() -> PathBuf {
    checkout().join("tests/fixtures")
}

fn sha256(bytes: &[u8]) -> String {
    let mut child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

/// The arguments that give a key; its file is made in the place.
fn key_arguments(place: &Place, key: &str) -> Vec<String> {
    let golden = fixtures().join("format-1");
    let file = match key {
        "right" => golden.join("encrypted.key"),
        "recovery" => golden.join("encrypted.recovery"),
        "wrong" => place.write("other.key", OTHER_KEY),
        _ => return Vec::new(),
    };
    vec!["--key-file".to_owned(), file.display().to_string()]
}

fn all_arguments<'a>(command: &'a [String], key: &'a [String]) -> Vec<&'a str> {
    command.iter().chain(key).map(String::as_str).collect()
}

fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn golden_repositories_are_listed_shown_queried_and_restored() {
    for (base, key) in [("plain", "none"), ("encrypted", "right"), ("encrypted", "recovery")] {
        let place = Place::new();
        let copy = cases::copy(&fixtures(), base, &place.path("repo"), sha256);
        let key = key_arguments(&place, key);
        let run = |command: &[&str]| place.run(&all_arguments(&words(command), &key)).ends_with(0);
        let (first, latest) = (copy.fill("{first}"), copy.fill("{latest}"));
        run(&["catalog", "list", "-r", "repo"]).says(&first).says(&latest);
        run(&["catalog", "show", &first, "-r", "repo"]).says("articles").says("2 rows");
        run(&["catalog", "show", "latest", "-r", "repo"]).says("articles").says("3 rows");
        for dataset in ["articles", "authors"] {
            let sql = format!("SELECT * FROM {dataset} ORDER BY id");
            let rows = run(&["catalog", "query", "latest", &sql, "-r", "repo", "--format", "json"]);
            let expected = std::fs::read_to_string(fixtures().join(format!("format-1/{dataset}.jsonl"))).unwrap();
            assert_eq!(rows.stdout, expected, "{}", rows.text());
        }
        run(&["restore", "repo", "--to", "out", "--yes"]).says("5 rows");
        assert!(place.path("out/_restow_export.json").exists());
        unchanged(&place, base);
    }
}

/// Reading wrote nothing into the repository but the note that its recovery key was seen to work.
fn unchanged(place: &Place, base: &str) {
    let before = files_below(&fixtures().join("format-1").join(base));
    let mut after = files_below(&place.path("repo"));
    after.retain(|(name, _)| !name.starts_with("control/recovery-proven/"));
    let names = |files: &[(String, PathBuf)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&before), names(&after));
    for ((name, one), (_, other)) in before.iter().zip(&after) {
        assert_eq!(std::fs::read(one).unwrap(), std::fs::read(other).unwrap(), "{name}");
    }
}

#[test]
fn damaged_repositories_are_refused_as_their_cases_say() {
    let mut wrong = Vec::new();
    let cases = cases::all(&fixtures());
    assert!(cases.len() > 60, "only {} cases were found", cases.len());
    for case in cases {
        let place = Place::new();
        let copy = cases::copy(&fixtures(), &case.base, &place.path("repo"), sha256);
        case.apply(&copy);
        let command: Vec<String> = case.command.iter().map(|part| copy.fill(part)).collect();
        let ran = place.run(&all_arguments(&command, &key_arguments(&place, &case.key)));
        let says = copy.fill(&case.says);
        if ran.code != case.code || !(ran.stdout.contains(&says) || ran.stderr.contains(&says)) {
            wrong.push(format!("{}: expected {} and {says:?}\n{}", case.name, case.code, ran.text()));
        }
        // A target of a restore that was refused holds nothing that looks finished.
        if case.code != 0 && place.path("out/_restow_export.json").exists() {
            wrong.push(format!("{}: damaged rows became a finished export", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

/// What a read refuses, verification finds; what it calls whole is readable. Nothing is called whole that is damaged.
#[test]
fn verification_finds_what_reads_refuse() {
    let mut wrong = Vec::new();
    let mut found = 0;
    for case in cases::all(&fixtures()) {
        let place = Place::new();
        let copy = cases::copy(&fixtures(), &case.base, &place.path("repo"), sha256);
        case.apply(&copy);
        let command = words(&["catalog", "verify", "-r", "repo", "--level", "read"]);
        let ran = place.run(&all_arguments(&command, &key_arguments(&place, &case.key)));
        let expected = match case.code {
            // Of a snapshot that was deleted or aborted nothing is verified; some cases ask for what never was.
            0 | 10 => vec![0, 4, 10, 13],
            13 => vec![4, 13],
            code => vec![code],
        };
        found += u32::from(matches!(ran.code, 4 | 13));
        if !expected.contains(&ran.code) {
            wrong.push(format!("{}: a read ends with {}\n{}", case.name, case.code, ran.text()));
        }
    }
    assert!(wrong.is_empty() && found > 40, "{found} found; {} cases:\n{}", wrong.len(), wrong.join("\n"));
}

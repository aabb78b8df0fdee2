//! `lint`: every kind of problem with its exact text, exit code 2, and in the three formats.

use serde_json::Value;

use crate::support::{Place, compare};

/// A valid pipeline around one part of it.
fn around(part: &str) -> String {
    format!("version: 1\n{part}")
}

/// A valid chain with stages in the middle.
fn chain(stages: &str) -> String {
    let stages: String = stages.lines().map(|line| format!("  {line}\n")).collect();
    around(&format!(
        "stages:\n  - source: {{ files: {{ path: cities.jsonl, id: id }} }}\n{stages}  - sink: {{ files: {{ path: out }} }}\n"
    ))
}

/// Code, and a file that has that problem.
fn cases() -> Vec<(&'static str, String)> {
    let bomb = {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            text += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", "));
        }
        text
    };
    vec![
        ("E001", "version: [1\nstages: []\n".into()),
        ("E002", chain("") + "version: 1\n"),
        ("E003", format!("version: 1\nvars: {}\n", "[".repeat(200))),
        ("E004", bomb),
        ("E005", "version: 1\nname: !secret x\n".into()),
        ("E007", "- a\n- b\n".into()),
        ("E101", chain("") + "parallel: many\n"),
        ("E102", chain("- filtre: \"a > 1\"")),
        ("E102", chain("- codec: { parquet: { compresion: zstd } }")),
        ("E103", around("stages:\n  - source: { fiels: { path: a } }\n  - sink: { files: { path: out } }\n")),
        ("E104", around("stages:\n  - source: { files: {} }\n  - sink: { files: { path: out } }\n")),
        ("E105", chain("- codec: { parquet: { compression: zip } }")),
        ("E106", chain("") + "parallel: 0\n"),
        (
            "E107",
            around(
                "stages:\n  - source: { files: { path: a }, repository: { url: b } }\n  - sink: { files: { path: out } }\n",
            ),
        ),
        ("E108", chain("") + "memory: lots\n"),
        ("E109", chain("- codec: { parquet: { compression: lz4, level: 3 } }")),
        ("E109", chain("- encrypt: { aes-256-gcm: { key_file: a.key, command: \"pass show k\" } }")),
        ("E110", chain("").replace("version: 1", "version: 7")),
        ("E201", chain("- filter: \"a > ${what:x}\"")),
        (
            "W202",
            around(
                "stages:\n  - source: { files: { path: \"${env:RESTOW_TEST_UNSET}\" } }\n  - sink: { files: { path: out } }\n",
            ),
        ),
        ("E203", chain("- filter: \"a > ${var:limit}\"")),
        ("E204", chain("- filter: \"a > ${var:a}\"") + "vars: { a: \"${var:b}\", b: \"${var:a}\" }\n"),
        ("W205", chain("- filter: \"a > ${var:a}\"") + "vars: { a: null }\n"),
        ("E207", chain("") + "connections: { \"${env:HOME}\": { files: { url: a } } }\n"),
        ("E211", chain("- encrypt: { aes-256-gcm: { key: plain-text-key } }")),
        ("E212", chain("") + "name: x\ndescription: \"${secret:env:KEY}\"\n"),
        ("E213", chain("- encrypt: { aes-256-gcm: { key: \"prefix-${secret:env:KEY}\" } }")),
        ("E214", chain("- encrypt: { aes-256-gcm: { key: \"${secret:vault:KEY}\" } }")),
        ("W215", chain("") + "connections: { c: { files: { url: \"https://u:pw@host/x\" } } }\n"),
        ("E301", around("stages:\n  - sink: { files: { path: out } }\n")),
        ("E302", around("stages:\n  - source: { files: { path: a } }\n")),
        ("E303", chain("- codec: { parquet: {} }\n- filter: \"a > 1\"")),
        ("E304", chain("- codec: { parquet: {} }\n- codec: { jsonl: {} }")),
        (
            "E305",
            around(
                "stages:\n  - source: { files: { path: a } }\n  - codec: { jsonl: {} }\n  - sink: { repository: { url: repo } }\n",
            ),
        ),
        ("E306", chain("- filter: \"a > 1\"\n  transform: { drop: [a] }")),
        (
            "E311",
            around(
                "stages:\n  - source: { repository: { connection: backups } }\n  - sink: { files: { path: out } }\n",
            ),
        ),
        (
            "E312",
            around(
                "connections: { backups: { files: { url: x } } }\nstages:\n  - source: { repository: { connection: backups } }\n  - sink: { files: { path: out } }\n",
            ),
        ),
        ("W313", chain("") + "connections: { unused: { files: { url: x } } }\n"),
        ("E401", chain("") + "schedule: { cron: \"61 2 * * *\" }\n"),
        ("E402", chain("") + "schedule: { cron: \"30 2 * * *\", timezone: Europe/Berln }\n"),
        ("E307", chain("") + "verify: { after: rows }\n"),
        ("W321", chain("") + "retention: { daily: 7 }\n"),
        ("E501", chain("- filter: >\n    population >\n    AND country = 'FR'")),
        ("E502", chain("- transform: { drop: [draft] }\n- filter: \"draft = 1\"")),
        (
            "E502",
            chain(
                "- transform: { rename: { headline: title } }\n- transform: { sql: \"SELECT id, headline FROM input\" }",
            ),
        ),
        ("E503", chain("- transform: { sql: \"DELETE FROM input\" }")),
        ("E504", chain("- transform: { sql: \"SELECT * FROM cities\" }")),
        ("E505", chain(&format!("- filter: \"{}a{} > 1\"", "(".repeat(300), ")".repeat(300)))),
        ("E506", chain("- transform: { cast: { year: integr } }")),
        ("E507", chain("- transform: { keep: [a, b], drop: [b] }")),
        (
            "E601",
            chain("")
                + "tests:\n  - { name: same, given: [], expect: [] }\n  - { name: same, given: [], expect: [] }\n",
        ),
    ]
}

#[test]
fn the_text_of_every_problem() {
    let place = Place::new();
    let (mut all, mut wrong) = (String::new(), Vec::new());
    for (code, text) in cases() {
        place.write("p.yaml", &text);
        let ran = place.run(&["lint", "p.yaml"]).says_not("plain-text-key").says_not("u:pw");
        let expected = if code.starts_with('E') { 2 } else { 0 };
        if ran.code != expected || !ran.stdout.contains(&format!("[{code}]")) {
            wrong.push(format!("{code} is not found\n{text}\n{}", ran.text()));
        }
        all += &format!("##### {code}\n{}\n", ran.stdout);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    compare("lint_texts", &all, &[]);
}

/// Every code that is explained has a file above, but those that cannot come from `lint`.
#[test]
fn every_code_has_a_case() {
    let codes =
        std::fs::read_to_string(crate::support::checkout().join("engine/spec/src/diagnostic/codes.rs")).unwrap();
    let known: Vec<&str> = cases().iter().map(|(code, _)| *code).collect();
    // A file of more than a megabyte; unset things that only `run` and `plan` refuse.
    let elsewhere = ["E006", "E202", "E205", "E206"];
    for line in codes.lines() {
        let Some(code) = line.trim().strip_prefix("(\"").and_then(|line| line.get(..4)) else { continue };
        assert!(known.contains(&code) || elsewhere.contains(&code), "{code} has no case");
    }
}

#[test]
fn what_only_a_run_refuses() {
    let place = Place::new();
    place.write("rows.jsonl", crate::support::rows(0, 2));
    for (code, text, arguments) in [
        ("E202", chain("- filter: \"n > ${env:RESTOW_TEST_UNSET:?set the limit}\""), &[][..]),
        ("E205", chain("- filter: \"n > ${var:limit}\"") + "vars: { limit: null }\n", &[]),
        ("E206", chain(""), &["--var", "limit=1"]),
    ] {
        place.write("p.yaml", text);
        for command in ["run", "plan"] {
            place.run(&[&[command, "p.yaml"], arguments].concat()).ends_with(2).says(code);
        }
    }
    assert!(!place.path("out").exists());
}

#[test]
fn a_file_that_is_too_large() {
    let place = Place::new();
    place.write("p.yaml", format!("{}# {}\n", chain(""), "x".repeat(4 << 20)));
    place.run(&["lint", "p.yaml"]).ends_with(2).says("E006");
}

#[test]
fn all_problems_are_reported_at_once() {
    let place = Place::new();
    place.write(
        "p.yaml",
        "version: 1\nnmae: x\nstages:\n  - source: { files: { pat: cities.jsonl } }\n  - filter: \"a >\"\n  - sink: { repositroy: {} }\nparallel: 0\n",
    );
    let ran = place.run(&["lint", "p.yaml"]).ends_with(2);
    ran.snapshot_exact("lint_all_at_once");
    let github = place.run(&["lint", "p.yaml", "--format", "github"]).ends_with(2);
    github.snapshot_exact("lint_github");
    let json = place.run(&["lint", "p.yaml", "--format", "json"]).ends_with(2);
    for line in json.lines() {
        for member in ["severity", "code", "message", "file", "line", "column", "help"] {
            assert!(line.get(member).is_some(), "{line}");
        }
    }
    let text_errors = ran.stdout.matches("error[").count();
    assert_eq!(json.lines().len(), text_errors);
    assert_eq!(github.stdout.lines().count(), text_errors);
    let summary = place.run(&["lint", "p.yaml", "--json"]).ends_with(2).summary();
    assert_eq!(summary["errors"], Value::from(text_errors));
}

#[test]
fn pipelines_in_markdown() {
    let place = Place::new();
    let text = format!(
        "# Title\n\n```yaml\n{}```\n\nAnd a wrong one:\n\n```yaml\n{}```\n\n```yaml\nother: 1\n```\n",
        chain(""),
        chain("- filtre: \"a > 1\"")
    );
    place.write("docs/guide.md", text);
    let ran = place.run(&["lint", "docs"]).ends_with(2).says("docs/guide.md:");
    ran.snapshot_exact("lint_markdown");
}

#[test]
fn warnings_can_be_errors() {
    let place = Place::new();
    place.write("p.yaml", chain("") + "connections: { unused: { files: { url: x } } }\n");
    place.run(&["lint", "p.yaml"]).ends_with(0).says("W313");
    place.run(&["lint", "p.yaml", "--deny-warnings"]).ends_with(2).says("W313");
}

/// A wrong column is found with the data in front of it, at its place in the file.
#[test]
fn a_column_that_no_dataset_has() {
    let place = Place::new();
    place.write("cities.jsonl", "{\"id\":\"a\",\"population\":1}\n");
    place.write("p.yaml", chain("- filter: \"populaton > 1\""));
    place.run(&["lint", "p.yaml"]).ends_with(0);
    let plan = place.run(&["plan", "p.yaml"]).ends_with(2);
    plan.snapshot_exact("plan_unknown_column");
    place.run(&["run", "p.yaml"]).ends_with(2).says("p.yaml:4:").says("population");
    assert!(!place.path("out").exists());
}

/// One file that is no text hides nothing of the others, and no file is read beyond its limit.
#[test]
fn files_that_are_no_text() {
    let place = Place::new();
    place.write("d/bad.yaml", [0xff, 0xfe, b'\n']);
    place.write("d/other.yaml", chain("- filter: \"a >\""));
    place.run(&["lint", "d"]).ends_with(2).says("d/bad.yaml: error[E001]: the file is not UTF-8 text").says("E501");
    place.run(&["run", "d/bad.yaml"]).ends_with(2).says("E001");
    place.run(&["test", "d/bad.yaml"]).ends_with(2).says("E001");
    place.run(&["lint", "/dev/zero"]).ends_with(2).says("E006");
}

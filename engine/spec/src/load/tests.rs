use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::fake::{self, catalogue};
use crate::{ByteSize, Missing, RowStage, Secret};

/// `cases/*.yaml`, each with the exact text of what is wrong with it in `*.txt`. Write them anew with
/// `UPDATE_EXPECT=1`, and read the difference.
#[test]
fn every_problem_has_its_exact_text() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/load/cases");
    let mut cases: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    cases.sort();
    assert!(cases.len() > 20);
    let catalogue = catalogue();
    let mut different = Vec::new();
    for path in cases {
        let text = std::fs::read_to_string(&path).unwrap();
        let (pipeline, diagnostics) = fake::load_with(&text, &catalogue);
        assert_eq!(pipeline.is_some(), !diagnostics.iter().any(Diagnostic::is_error), "{path:?}");
        let mut found: String = diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n\n")).collect();
        found.truncate(found.trim_end().len());
        found.push('\n');
        assert!(!found.contains("hunter2") && !found.contains("geheim"), "{path:?} shows a secret:\n{found}");
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&expected, &found).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != found {
            different.push(format!("{}:\n{found}", path.display()));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

fn good() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/load/cases/good.yaml")).unwrap()
}

fn run(text: &str, env: &[(&str, &str)], vars: &[(&str, &str)]) -> (Option<Pipeline>, Vec<String>) {
    let own = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let (env, vars, catalogue) = (own(env), own(vars), catalogue());
    let options = LoadOptions { catalogue: &catalogue, env: &env, vars: &vars, unset_is_error: true };
    let (pipeline, diagnostics) = load("pipelines/a.yaml", text, &options);
    (pipeline, diagnostics.iter().map(ToString::to_string).collect())
}

#[test]
fn a_good_file_becomes_a_pipeline() {
    let (pipeline, problems) = run(&good(), &[("N", "7")], &[("level", "9")]);
    assert!(problems.len() == 1 && problems[0].contains("warning[W321]"), "{problems:?}");
    let pipeline = pipeline.unwrap();
    assert_eq!((pipeline.name.as_str(), pipeline.version), ("articles-nightly", 1));
    assert_eq!(pipeline.vars["level"], "9");
    assert_eq!(
        pipeline.source.options,
        json!({ "connection": "prod", "collections": ["Article"], "batch_rows": 7, "tls": true })
    );
    assert_eq!(pipeline.source.pointer, "/stages/0/source/demo");
    assert_eq!(pipeline.codec.as_ref().unwrap().options["level"], json!(9));
    let connection = pipeline.connection_of(&pipeline.source).unwrap();
    assert_eq!(connection.options["url"], json!("http://localhost:8080"));
    let RowStage::Filter(filter) = &pipeline.rows[0] else { panic!() };
    assert_eq!((filter.sql.as_str(), filter.missing), ("created_date > '2024-01-01'", Missing::Error));
    let RowStage::Transform(transform) = &pipeline.rows[1] else { panic!() };
    assert_eq!(transform.rename["headline"], "title");
    assert_eq!(pipeline.on_error.retry.max_delay, Duration::from_secs(30));
    assert_eq!(pipeline.retention.as_ref().unwrap().min_keep, 3);
    assert_eq!(pipeline.memory, Some(ByteSize(512 << 20)));
    assert_eq!(pipeline.resume_within_or_default(), Duration::from_secs(6 * 3600));
    assert_eq!(pipeline.tests[0].given[0], json!({ "id": "a", "created_date": "2025-01-01" }));
    assert_eq!(pipeline.schedule.as_ref().unwrap().timezone.name(), "Europe/Berlin");
    assert_eq!(pipeline.redacted["stages"][4]["encrypt"]["aes-256-gcm"]["key"], json!("${secret:env:RESTOW_KEY}"));
    assert_eq!(pipeline.redacted["stages"][0]["source"]["demo"]["batch_rows"], json!(7));

    #[derive(serde::Deserialize)]
    struct Key {
        key: Secret,
    }
    let key: Key = pipeline.encrypt.as_ref().unwrap().typed().unwrap();
    assert_eq!(key.key.reference(), "${secret:env:RESTOW_KEY}");
}

#[test]
fn later_phases_point_into_the_file() {
    let (pipeline, _) = run(&good(), &[("N", "7")], &[]);
    let pipeline = pipeline.unwrap();
    let at = pipeline.diagnostic_at("/stages/0/source/demo/collections/0", "E502", "no such collection", None);
    assert_eq!(at.to_string().lines().next(), Some("pipelines/a.yaml:10:58: error[E502]: no such collection"));
    let RowStage::Filter(filter) = &pipeline.rows[0] else { panic!() };
    let at = pipeline.sql_diagnostic_at(&filter.sql_pointer, 1, 16, "E501", "bad literal", Some("help".into()));
    assert_eq!(
        at.to_string(),
        "pipelines/a.yaml:11:32: error[E501]: bad literal\n    - filter:    \"created_date > '2024-01-01'\"\n                                 ^\nhelp: help"
    );
}

#[test]
fn what_is_not_set_is_an_error_for_run_and_a_warning_for_lint() {
    let text = "version: 1\nvars: { day: }\nstages:\n  - source: { files: { path: \"${env:DIR}/${var:day}\" } }\n  - sink: { files: { path: b } }\n";
    let (pipeline, problems) = run(text, &[], &[]);
    assert!(pipeline.is_none());
    assert_eq!(
        problems,
        [
            "pipelines/a.yaml:2:9: error[E205]: variable \"day\" has no value\n  vars: { day: }\n          ^^^\nhelp: give it with --var day=VALUE, or write a default",
            "pipelines/a.yaml:4:31: error[E202]: environment variable DIR is not set\n    - source: { files: { path: \"${env:DIR}/${var:day}\" } }\n                                ^^^^^^^^^^\nhelp: export DIR, or give a default: ${env:DIR:-value}",
        ]
    );
    let (pipeline, problems) = run(text, &[("DIR", "/d")], &[("day", "mon"), ("dya", "x")]);
    assert!(pipeline.is_none());
    assert_eq!(
        problems[0].lines().next(),
        Some("pipelines/a.yaml:2:1: error[E206]: --var dya: the file has no such variable")
    );
    let (pipeline, _) = run(text, &[("DIR", "/d")], &[("day", "mon")]);
    assert_eq!(pipeline.unwrap().source.options, json!({ "path": "/d/mon" }));
    let (pipeline, diagnostics) = fake::load_with(text, &catalogue());
    assert!(pipeline.is_some());
    assert_eq!(diagnostics.iter().map(|found| found.code).collect::<Vec<_>>(), ["W205", "W202"]);
}

#[test]
fn interpolation_is_after_parsing_and_never_twice() {
    let text = "version: 1\nvars: { v: \"$${env:X}: {a}\" }\nstages:\n  - source: { files: { path: \"${env:EVIL}-${var:v}-$$x-$5\" } }\n  - sink: { files: { path: b } }\n";
    let (pipeline, problems) = run(text, &[("EVIL", "a\", evil: \"${env:X}")], &[]);
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(pipeline.unwrap().source.options, json!({ "path": "a\", evil: \"${env:X}-${env:X}: {a}-$x-$5" }));
}

#[test]
fn an_interpolated_text_must_still_fit() {
    let text = "version: 1\nstages:\n  - source: { files: { path: a, roll: \"${env:R}\" } }\n  - codec: { parquet: { level: \"${env:L}\" } }\n  - sink: { files: { path: b } }\n";
    let (_, problems) = run(text, &[("R", "lots"), ("L", "x")], &[]);
    assert_eq!(
        problems,
        [
            "pipelines/a.yaml:3:39: error[E108]: \"lots\" is not a size\n    - source: { files: { path: a, roll: \"${env:R}\" } }\n                                        ^^^^^^^^^^\nhelp: write a whole number and a unit, such as 512MiB, 1GB or 64KiB",
            "pipelines/a.yaml:4:32: error[E101]: wrong type for \"level\": expected a whole number, found a text\n    - codec: { parquet: { level: \"${env:L}\" } }\n                                 ^^^^^^^^^^",
        ]
    );
    let (pipeline, _) = run(text, &[("R", "64KiB"), ("L", "5")], &[]);
    assert_eq!(pipeline.unwrap().codec.unwrap().options, json!({ "level": 5 }));
}

#[test]
fn a_password_in_a_url_is_not_kept() {
    let text = "version: 1\nconnections:\n  p: { demo: { url: \"http://u:geheim@h/\" } }\nstages:\n  - source: { demo: { connection: p } }\n  - sink: { files: { path: b } }\n";
    let (pipeline, problems) = run(text, &[], &[]);
    let pipeline = pipeline.unwrap();
    assert!(!pipeline.redacted.to_string().contains("geheim"));
    assert_eq!(pipeline.connections["p"].options["url"], json!("http://u:geheim@h/"));
    assert!(problems[0].contains("warning[W215]: a password inside a URL") && !problems[0].contains("geheim"));
}

#[test]
fn pipelines_in_markdown_keep_their_lines() {
    let text = "# Title\n\n```yaml\nversion: 1\nstages:\n  - source: { fiels: { path: a } }\n  - sink: { files: { path: b } }\n```\n\n- item\n\n  ```yaml\n  version: 1\n  stages:\n    - source: { files: { path: a } }\n    - sink: { files: { path: b } }\n  ```\n";
    let (env, vars, catalogue) = (BTreeMap::new(), BTreeMap::new(), catalogue());
    let options = LoadOptions { catalogue: &catalogue, env: &env, vars: &vars, unset_is_error: false };
    let blocks = load_markdown("README.md", text, &options);
    assert_eq!(blocks.len(), 2);
    assert_eq!(
        blocks[0].diagnostics[0].to_string(),
        "README.md:6:15: error[E103]: unknown source \"fiels\"\n    - source: { fiels: { path: a } }\n                ^^^^^\nhelp: did you mean \"files\"?"
    );
    assert!(blocks[1].pipeline.is_some() && blocks[1].diagnostics.is_empty(), "{:?}", blocks[1].diagnostics);
}

#[test]
fn a_report_is_bounded() {
    let mut text = String::from("version: 1\nstages: []\nvars:\n");
    (0..5_000).for_each(|n| text.push_str(&format!("  v{n}: \"${{env:X{n}}}\"\n")));
    let (_, problems) = run(&text, &[], &[]);
    assert_eq!(problems.len(), crate::finding::MOST);
}

#[test]
fn chains_of_variables_are_bounded() {
    let mut text = String::from("version: 1\nstages: []\nvars:\n  v0: x\n");
    (1..2_000).for_each(|n| text.push_str(&format!("  v{n}: \"${{var:v{}}}\"\n", n - 1)));
    assert!(run(&text, &[], &[]).1.iter().all(|problem| !problem.contains("E204")), "in order they are no chain");
    let mut text = String::from("version: 1\nstages: []\nvars:\n");
    (1..2_000).rev().for_each(|n| text.push_str(&format!("  v{n}: \"${{var:v{}}}\"\n", n - 1)));
    assert!(run(&text, &[], &[]).1.iter().any(|problem| problem.contains("E204")));
    let mut text = String::from("version: 1\nstages: []\nvars:\n  v0: xxxxxxxxxx\n");
    (1..40).for_each(|n| text.push_str(&format!("  v{n}: \"${{var:v{0}}}${{var:v{0}}}\"\n", n - 1)));
    assert!(
        run(&text, &[], &[])
            .1
            .iter()
            .any(|problem| problem.contains("interpolation makes a text longer than 65536 bytes"))
    );
}

//! What commands print: for people, and with `--json` for programs.

use serde_json::Value;

use crate::support::{KEY, Place, backup, checkout, rows};

fn small() -> Place {
    let mut place = Place::new();
    place.set("RESTOW_KEY", KEY);
    place.write("rows.jsonl", rows(0, 10));
    place.write("p.yaml", backup("rows.jsonl", "repo", "- filter: \"n > 4\""));
    place
}

/// The last line of `--json` is a summary with the exit code, whatever happens.
#[test]
fn every_command_ends_with_a_summary() {
    let place = small();
    place.run(&["run", "p.yaml"]).ends_with(0);
    for (arguments, code) in [
        (&["run", "p.yaml"][..], 0),
        (&["run", "missing.yaml"], 10),
        (&["run", "p.yaml", "--dry-run", "static"], 0),
        (&["run", "p.yaml", "--dry-run", "connect"], 0),
        (&["run", "p.yaml", "--dry-run", "sample"], 0),
        (&["lint", "p.yaml"], 0),
        (&["plan", "p.yaml"], 0),
        (&["test", "p.yaml"], 1),
        (&["list"], 0),
        (&["list", "nothing-like-it"], 10),
        (&["schema"], 0),
        (&["create", "files/repository"], 0),
        (&["create", "fiels/repository"], 2),
        (&["catalog", "list", "-r", "repo"], 0),
        (&["catalog", "show", "-r", "repo"], 0),
        (&["catalog", "query", "latest", "SELECT id FROM rows", "-r", "repo"], 0),
        (&["catalog", "query", "latest", "SELECT nothing FROM rows", "-r", "repo"], 2),
        (&["repository", "info", "repo"], 0),
        (&["repository", "info", "nowhere"], 10),
        (&["restore", "repo", "--to", "out"], 7),
        (&["key", "list", "-r", "repo"], 7),
        (&["doctor", "-r", "repo"], 0),
        (&["doctor", "-r", "nowhere"], 1),
        (&["completions", "bash"], 0),
        (&["man"], 0),
    ] {
        let ran = place.run(&[arguments, &["--json"]].concat()).ends_with(code);
        ran.summary();
        for line in ran.lines() {
            assert!(line["type"].is_string(), "{}", ran.text());
        }
        if code != 0 && !matches!(arguments[0], "test") {
            assert!(
                ran.lines().iter().any(|line| line["type"] == "error" && line["exit_code"] == code),
                "{}",
                ran.text()
            );
        }
    }
}

/// Wrong arguments are told in JSON too where it was asked for.
#[test]
fn wrong_arguments_end_with_a_summary() {
    let place = small();
    place.run(&["run", "--json", "--no-such-flag"]).ends_with(2).summary();
}

#[test]
fn data_is_on_stdout_and_the_rest_on_stderr() {
    let place = small();
    place.run(&["run", "p.yaml"]).ends_with(0);
    let query = place
        .run(&["catalog", "query", "latest", "SELECT id, n FROM rows ORDER BY n", "-r", "repo", "--format", "csv"])
        .ends_with(0);
    assert_eq!(query.stdout, "id,n\nrow-5,5\nrow-6,6\nrow-7,7\nrow-8,8\nrow-9,9\n");
    assert_eq!(query.stderr, "");
    let failed = place.run(&["catalog", "show", "nothing", "-r", "repo"]).ends_with(10);
    assert_eq!(failed.stdout, "");
    assert!(!failed.stderr.contains('\x1b'), "colours without a terminal");
}

#[test]
fn commands_for_people() {
    let place = small();
    place.run(&["plan", "p.yaml"]).ends_with(0).snapshot("plan");
    assert!(!place.path("repo").exists(), "a plan made the repository");
    place.run(&["run", "p.yaml", "--dry-run", "sample"]).ends_with(0).snapshot("dry_run_sample");
    assert!(!place.path("repo").exists(), "a sample made the repository");
    place.run(&["run", "p.yaml"]).ends_with(0).snapshot("run");
    place.run(&["catalog", "list", "-r", "repo"]).ends_with(0).snapshot("catalog_list");
    place.run(&["catalog", "show", "-r", "repo"]).ends_with(0).snapshot("catalog_show");
    place.run(&["repository", "info", "repo"]).ends_with(0).snapshot("repository_info");
    place.run(&["list"]).ends_with(0).snapshot("list");
    place.run(&["list", "filter"]).ends_with(0).snapshot("list_filter");
    place.run(&["list", "files"]).ends_with(0).snapshot("list_files");
    place.run(&["--help"]).ends_with(0).snapshot("help");
    place.run(&["restore", "repo", "--to", "out", "--yes"]).ends_with(0).snapshot("restore");
}

#[test]
fn repositories_are_made_by_command() {
    let place = small();
    let made = place.run(&["repository", "create", "new", "--key-file", "new.key", "--create-key"]).ends_with(0);
    made.snapshot("repository_create");
    assert_eq!(made.text().matches("rsk1_").count(), 1, "the recovery key, once");
    place.run(&["repository", "info", "new", "--key-file", "new.key"]).ends_with(0).says("AES-256-GCM");
    place.run(&["repository", "create", "new", "--key-file", "new.key"]).ends_with(7);
}

#[test]
fn a_starter_passes_lint() {
    let place = Place::new();
    for expression in [
        "files/repository",
        "files/filter/transform/parquet/aes-256-gcm/repository",
        "repository/files",
        "files/jsonl/files",
    ] {
        let made = place.run(&["create", expression]).ends_with(0);
        place.write("made.yaml", &made.stdout);
        place.run(&["lint", "made.yaml"]).ends_with(0);
    }
    let refused = place.run(&["create", "files/jsonl/repository"]).ends_with(2);
    refused
        .says("a repository stores Parquet, and the codec stage says jsonl")
        .says("use `codec: { parquet: {} }` here");
    place.run(&["create", "files/repository", "--output", "new.yaml"]).ends_with(0);
    place.run(&["lint", "new.yaml"]).ends_with(0);
    // What exists is not overwritten.
    let before = place.read("new.yaml");
    assert_ne!(place.run(&["create", "repository/files", "--output", "new.yaml"]).code, 0);
    assert_eq!(place.read("new.yaml"), before);
}

#[test]
fn the_schema_accepts_the_pipelines_of_the_checkout() {
    let place = Place::with_example();
    let schema = place.run(&["schema"]).ends_with(0);
    let schema: Value = serde_json::from_str(&schema.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let lint = place.run(&["lint", "pipelines", "examples", "--deny-warnings"]).ends_with(0);
    assert_eq!(lint.stdout, "");
    place.run(&["test", "pipelines"]).ends_with(0).says("ok").says_not("FAILED");
}

/// `restow schema --write schemas` was run after the last change of an option.
#[test]
fn the_checked_in_schemas_are_those_of_this_build() {
    let place = Place::new();
    place.run(&["schema", "--write", "schemas"]).ends_with(0);
    for (name, path) in place.files("schemas") {
        let checked_in = std::fs::read_to_string(checkout().join("schemas").join(&name)).unwrap_or_default();
        assert!(
            std::fs::read_to_string(path).unwrap() == checked_in,
            "schemas/{name} is stale: run `restow schema --write schemas`"
        );
    }
}

#[test]
fn completions_and_manual_pages() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.run(&["completions", shell]).ends_with(0);
        assert!(script.stdout.contains("restow") && script.stdout.contains("catalog"), "{shell}");
    }
    place.run(&["man"]).ends_with(0).says(".TH restow");
    place.run(&["man", "--write", "man"]).ends_with(0);
    assert!(place.path("man/restow.1").exists());
}

/// Whoever reads may stop reading: `restow catalog query ... | head`.
#[test]
fn a_closed_pipe_is_no_error() {
    let place = Place::new();
    place.write("rows.jsonl", rows(0, 20_000));
    place.write("p.yaml", backup("rows.jsonl", "repo", ""));
    place.run(&["run", "p.yaml"]).ends_with(0);
    let mut command =
        place.command(&["catalog", "query", "latest", "SELECT * FROM rows", "-r", "repo", "--format", "json"]);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn plan_prints_the_next_three_runs() {
    let place = small();
    let text = place.read("p.yaml") + "schedule: { cron: \"30 2 * * *\", timezone: Europe/Berlin }\n";
    place.write("p.yaml", text);
    let plan = place.run(&["plan", "p.yaml"]).ends_with(0);
    assert_eq!(plan.stdout.lines().filter(|line| line.trim().starts_with("next run")).count(), 3, "{}", plan.text());
}

#[test]
fn queries_are_only_selects() {
    let place = small();
    place.run(&["run", "p.yaml"]).ends_with(0);
    for sql in [
        "DROP TABLE rows",
        "INSERT INTO rows SELECT * FROM rows",
        "SET a = 1",
        "CREATE VIEW v AS SELECT 1",
        "COPY rows TO 'x.csv'",
        "SELECT 1; SELECT 2",
        "SELEC 1",
    ] {
        place.run(&["catalog", "query", "latest", sql, "-r", "repo"]).ends_with(2);
    }
    assert!(!place.path("x.csv").exists());
}

//! `restow test`.

use restow_core::testing::{TestOutcome, run_tests};
use restow_spec::diagnostic::Diagnostic;
use restow_spec::load::{LoadOptions, load, load_markdown};
use restow_spec::pipeline::Pipeline;
use serde_json::json;

use super::find::{Found, find};
use crate::app::App;
use crate::args::TestArgs;
use crate::error::CliError;
use crate::exit;
use crate::render::number::counted;

/// Runs the tests inside the files; a file with errors fails.
pub async fn test(app: &App, arguments: &TestArgs) -> Result<u8, CliError> {
    let (files, _) = find(&arguments.paths)?;
    let vars = arguments.vars.iter().cloned().collect();
    // Tests read no source and write no target: what those would need may be unset.
    let options = LoadOptions {
        catalogue: app.registry.catalogue(),
        env: app.environment.as_ref(),
        vars: &vars,
        unset_is_error: false,
    };
    let (mut passed, mut failed, mut broken) = (0_u64, 0_u64, 0_u64);
    for file in &files {
        for (pipeline, diagnostics) in pipelines(file, &options) {
            let errors: Vec<Diagnostic> = diagnostics.into_iter().filter(Diagnostic::is_error).collect();
            app.console.diagnostics(&errors);
            let Some(pipeline) = pipeline else {
                broken += 1;
                continue;
            };
            let outcomes = run_tests(&pipeline, &app.registry, chrono::Utc::now()).await?;
            for outcome in &outcomes {
                if outcome.passed {
                    passed += 1
                } else {
                    failed += 1
                }
                print(app, &pipeline, outcome);
            }
        }
    }
    app.console.summarise(&json!({ "passed": passed, "failed": failed, "broken_files": broken }));
    if !app.console.is_json() {
        app.console.note(&format!("{}: {passed} passed, {failed} failed", counted(passed + failed, "test")));
    }
    if broken > 0 {
        return Ok(exit::USAGE);
    }
    if passed + failed == 0 && !arguments.allow_empty {
        let hint = "add `tests:` to a pipeline, or --allow-empty".to_owned();
        app.console.warn(&format!("no test was found in {}\nhint: {hint}", arguments.paths.join(", ")));
        return Ok(exit::FAILED);
    }
    Ok(if failed > 0 { exit::FAILED } else { exit::DONE })
}

fn pipelines(file: &Found, options: &LoadOptions<'_>) -> Vec<(Option<Pipeline>, Vec<Diagnostic>)> {
    let path = file.path.display().to_string();
    let text = match &file.text {
        Ok(text) => text,
        Err(diagnostic) => return vec![(None, vec![diagnostic.clone()])],
    };
    if file.is_markdown() {
        let blocks = load_markdown(&path, text, options);
        return blocks.into_iter().map(|block| (block.pipeline, block.diagnostics)).collect();
    }
    vec![load(&path, text, options)]
}

fn print(app: &App, pipeline: &Pipeline, outcome: &TestOutcome) {
    if app.console.is_json() {
        let value = json!({ "file": pipeline.path, "pipeline": pipeline.name, "test": outcome });
        return app.console.record("test", &value);
    }
    let mark = if outcome.passed { "ok    " } else { "FAILED" };
    app.console.data(&format!("{mark} {}: {}", pipeline.path, outcome.name));
    for difference in &outcome.differences {
        app.console.data(&format!("       {difference}"));
    }
}

//! `restow lint`.

use restow_spec::diagnostic::{self, Diagnostic, Style};
use restow_spec::load::{LoadOptions, load, load_markdown};
use serde_json::json;

use super::find::{Found, find};
use crate::app::App;
use crate::args::{LintArgs, LintFormat};
use crate::console::diagnostic_value;
use crate::error::CliError;
use crate::exit;
use crate::render::number::counted;

/// Checks files without a network. What is found is the data of this command.
pub fn lint(app: &App, arguments: &LintArgs) -> Result<u8, CliError> {
    let (files, others) = find(&arguments.paths)?;
    let vars = arguments.vars.iter().cloned().collect();
    let options = LoadOptions {
        catalogue: app.registry.catalogue(),
        env: app.environment.as_ref(),
        vars: &vars,
        unset_is_error: false,
    };
    let (mut pipelines, mut errors, mut warnings) = (0_u64, 0_u64, 0_u64);
    for file in &files {
        let (count, diagnostics) = check(file, &options);
        pipelines += count;
        for diagnostic in &diagnostics {
            if diagnostic.is_error() {
                errors += 1
            } else {
                warnings += 1
            }
            print(app, arguments.format, diagnostic);
        }
    }
    let skipped = if others > 0 {
        format!(", {} left out as no pipeline", counted(others as u64, "file"))
    } else {
        String::new()
    };
    let of = format!("{} in {}{skipped}", counted(pipelines, "pipeline"), counted(files.len() as u64, "file"));
    let text = format!("{of}: {}, {}", counted(errors, "error"), counted(warnings, "warning"));
    if app.console.is_json() {
        app.console.summarise(&json!({
            "files": files.len(), "pipelines": pipelines, "left_out": others, "errors": errors, "warnings": warnings,
        }));
    } else {
        app.console.note(&text);
    }
    let failed = errors > 0 || (arguments.deny_warnings && warnings > 0);
    Ok(if failed { exit::USAGE } else { exit::DONE })
}

fn check(file: &Found, options: &LoadOptions<'_>) -> (u64, Vec<Diagnostic>) {
    let path = file.path.display().to_string();
    let text = match &file.text {
        Ok(text) => text,
        Err(diagnostic) => return (1, vec![diagnostic.clone()]),
    };
    if file.is_markdown() {
        let blocks = load_markdown(&path, text, options);
        return (blocks.len() as u64, blocks.into_iter().flat_map(|block| block.diagnostics).collect());
    }
    (1, load(&path, text, options).1)
}

fn print(app: &App, format: LintFormat, diagnostic: &Diagnostic) {
    match format {
        _ if app.console.is_json() => app.console.record("diagnostic", &diagnostic_value(diagnostic)),
        LintFormat::Text => app.console.data(&diagnostic::text(diagnostic, style(app))),
        LintFormat::Json => app.console.data(&diagnostic::json(diagnostic)),
        LintFormat::Github => app.console.data(&diagnostic::github(diagnostic)),
    }
}

/// Standard output is coloured only where it is a terminal itself.
fn style(app: &App) -> Style {
    use std::io::IsTerminal;
    if std::io::stdout().is_terminal() { app.console.style() } else { Style::Plain }
}

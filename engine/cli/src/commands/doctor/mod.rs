//! `restow doctor`: whether what restow needs is there, before a run needs it.

mod repository;
mod system;

use restow_spec::settings::Settings;
use serde::Serialize;
use serde_json::json;

use super::target::Target;
use crate::app::App;
use crate::args::DoctorArgs;
use crate::context;
use crate::error::CliError;
use crate::exit;
use crate::render::number::counted;
use crate::render::table::Table;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// As it should be.
    Ok,
    /// Not looked at, and why.
    Skipped,
    /// It works, and something should be done.
    Warning,
    /// It does not work.
    Error,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    check: &'static str,
    status: Status,
    /// The file, repository or folder.
    subject: String,
    message: String,
}

/// Everything that was checked, in order.
#[derive(Debug, Default)]
struct Report {
    checks: Vec<Check>,
}

impl Report {
    fn add(&mut self, status: Status, check: &'static str, subject: &str, message: impl Into<String>) {
        self.checks.push(Check { check, status, subject: subject.to_owned(), message: message.into() });
    }

    fn ok(&mut self, check: &'static str, subject: &str, message: impl Into<String>) {
        self.add(Status::Ok, check, subject, message);
    }

    fn skipped(&mut self, check: &'static str, subject: &str, message: impl Into<String>) {
        self.add(Status::Skipped, check, subject, message);
    }

    fn warning(&mut self, check: &'static str, subject: &str, message: impl Into<String>) {
        self.add(Status::Warning, check, subject, message);
    }

    /// An error in the words of the command line, with its remedy.
    fn error(&mut self, check: &'static str, subject: &str, error: &CliError) {
        let message = match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        };
        self.add(Status::Error, check, subject, message);
    }

    fn count(&self, status: Status) -> usize {
        self.checks.iter().filter(|check| check.status == status).count()
    }

    fn table(&self) -> String {
        let mut table = Table::new(&["status", "check", "of", "what"]);
        for check in &self.checks {
            let status = match check.status {
                Status::Ok => "ok",
                Status::Skipped => "skipped",
                Status::Warning => "warning",
                Status::Error => "error",
            };
            table.row([status.to_owned(), check.check.to_owned(), check.subject.clone(), check.message.clone()]);
        }
        table.render()
    }
}

/// Checks everything, prints what was found.
pub async fn doctor(app: &App, arguments: &DoctorArgs) -> Result<u8, CliError> {
    let mut report = Report::default();
    let settings = settings(app, &mut report);
    match Target::all(app, &settings, &arguments.repository) {
        Err(error) => report.error("connections", app.settings_name(), &error),
        Ok(targets) if targets.is_empty() => {
            report.skipped("repository", "-", "the settings name none; -r URL checks one");
        }
        Ok(targets) => {
            let named = arguments.repository.repository.is_some();
            for (name, target) in targets {
                repository::check(&mut report, &name, target, repository::How { named, write: arguments.write }).await;
            }
        }
    }
    system::clock(&mut report);
    system::state(app, &mut report, &settings).await;
    print(app, &report)
}

/// The settings; where they are wrong the other checks go on without them.
fn settings(app: &App, report: &mut Report) -> Settings {
    match app.settings() {
        Ok(settings) => {
            let found = match settings.connections.len() {
                0 => "no connections; defaults, and what the environment sets".to_owned(),
                count => counted(count as u64, "connection"),
            };
            report.ok("settings", app.settings_name(), found);
            settings
        }
        Err(error) => {
            report.error("settings", app.settings_name(), &error);
            context::no_settings(app.environment.as_ref()).unwrap_or_default()
        }
    }
}

fn print(app: &App, report: &Report) -> Result<u8, CliError> {
    let (warnings, errors) = (report.count(Status::Warning), report.count(Status::Error));
    if app.console.is_json() {
        report.checks.iter().for_each(|check| app.console.record("check", check));
    } else {
        app.console.raw(report.table().as_bytes());
    }
    app.console.summarise(&json!({ "checks": report.checks.len(), "warnings": warnings, "errors": errors }));
    match errors {
        0 => {
            app.console.note(&format!("no errors, {}", counted(warnings as u64, "warning")));
            Ok(exit::DONE)
        }
        _ => Err(CliError::Unhealthy { errors: counted(errors as u64, "error") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_and_names_the_remedy() {
        let mut report = Report::default();
        report.ok("settings", "restow.yaml", "1 connection");
        report.warning("recovery", "backups", "never tried");
        report.error("key", "backups", &CliError::usage("no key", "give one"));
        assert_eq!((report.count(Status::Warning), report.count(Status::Error)), (1, 1));
        let text = report.table();
        assert!(text.ends_with("error    key       backups      no key; give one\n"), "{text}");
    }
}

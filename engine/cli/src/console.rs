//! Where everything is printed: data on standard output, all else on standard error; with `--json` JSON lines on
//! standard output.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use restow_spec::diagnostic::{self, Diagnostic, Style};
use restow_spec::environment::Environment;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::args::Global;
use crate::error::CliError;
use crate::exit;

/// The two streams and how to use them.
#[derive(Debug, Clone, Default)]
pub struct Console {
    json: bool,
    quiet: bool,
    colour: bool,
    live: bool,
    /// The first error of standard output; nothing is written to it afterwards.
    broken: Arc<Mutex<Option<io::Error>>>,
    /// The figures for the last line.
    summary: Arc<Mutex<Map<String, Value>>>,
}

impl Console {
    /// As the flags, the terminal and `NO_COLOR` (<https://no-color.org>) say.
    pub fn new(global: &Global, environment: &dyn Environment) -> Self {
        let terminal = io::stderr().is_terminal();
        let set = |name: &str| environment.get(name).is_some_and(|value| !value.is_empty());
        let dumb = environment.get("TERM").is_some_and(|term| term == "dumb");
        Self {
            json: global.json,
            quiet: global.quiet,
            colour: terminal && !dumb && !set("NO_COLOR"),
            live: terminal && !dumb && !global.no_progress && !global.quiet && !global.json,
            ..Self::default()
        }
    }

    /// For people, without colours.
    pub fn plain() -> Self {
        Self::default()
    }

    /// For programs.
    pub fn json() -> Self {
        Self { json: true, ..Self::default() }
    }

    /// Whether output is JSON lines.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a progress bar may be drawn.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// How diagnostics look on standard error.
    pub fn style(&self) -> Style {
        if self.colour { Style::Colour } else { Style::Plain }
    }

    /// A line of data.
    pub fn data(&self, text: &str) {
        self.raw(text.as_bytes());
        self.raw(b"\n");
    }

    /// Bytes of data.
    pub fn raw(&self, bytes: &[u8]) {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        if broken.is_none() {
            *broken = io::stdout().lock().write_all(bytes).err();
        }
    }

    /// Whether nobody reads standard output any more, as in `restow catalog query ... | head`.
    pub fn is_closed(&self) -> bool {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// A JSON line: `type`, then the members of `value`.
    pub fn record(&self, kind: &str, value: &impl Serialize) {
        self.data(&Value::Object(object(kind, value)).to_string());
    }

    /// The result of the command: JSON with `--json`, else the text as data.
    pub fn result(&self, kind: &str, value: &impl Serialize, text: impl FnOnce() -> String) {
        if self.json {
            self.record(kind, value);
        } else {
            self.raw(text().as_bytes());
        }
    }

    /// Members of the summary, the last line of `--json`.
    pub fn summarise(&self, value: &impl Serialize) {
        let mut members = object("summary", value);
        members.shift_remove("type");
        self.summary.lock().unwrap_or_else(PoisonError::into_inner).extend(members);
    }

    /// A line about what is going on.
    pub fn note(&self, text: &str) {
        if self.json {
            self.record("status", &json!({ "message": text }));
        } else if !self.quiet {
            self.stderr(text);
        }
    }

    /// A line that is shown with `--quiet` too.
    pub fn warn(&self, text: &str) {
        if self.json {
            self.record("warning", &json!({ "message": text }));
        } else {
            self.stderr(text);
        }
    }

    /// Diagnostics of a pipeline file.
    pub fn diagnostics(&self, diagnostics: &[Diagnostic]) {
        for diagnostic in diagnostics {
            if self.json {
                self.record("diagnostic", &diagnostic_value(diagnostic));
            } else {
                self.stderr(&diagnostic::text(diagnostic, self.style()));
            }
        }
    }

    /// An error, with its remedy.
    pub fn error(&self, error: &CliError) {
        let code = error.code();
        match error {
            _ if self.json => {
                let (message, hint) = (error.to_string(), error.hint());
                if let CliError::Placed { diagnostic, .. } = error {
                    self.diagnostics(std::slice::from_ref(diagnostic));
                }
                self.record("error", &json!({ "message": message, "hint": hint, "exit_code": code }));
            }
            CliError::Placed { diagnostic, .. } => self.diagnostics(std::slice::from_ref(diagnostic)),
            _ => {
                self.stderr(&format!("{}: {error}", self.paint("1;31", "error")));
                if let Some(hint) = error.hint() {
                    self.stderr(&format!("{}: {hint}", self.paint("1;36", "hint")));
                }
            }
        }
    }

    /// Prints how the command ended, and gives the exit code.
    pub fn end(&self, ended: Result<u8, CliError>) -> u8 {
        let mut code = match ended {
            Ok(code) => code,
            Err(error) => {
                self.error(&error);
                error.code()
            }
        };
        if self.json {
            let mut summary = self.summary.lock().unwrap_or_else(PoisonError::into_inner).clone();
            summary.insert("exit_code".into(), code.into());
            self.record("summary", &summary);
        }
        self.raw(b"");
        let flushed = io::stdout().lock().flush().err();
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner).take().or(flushed);
        match broken {
            // Whoever reads has enough: `| head`.
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Some(error) if code == exit::DONE => {
                let error = CliError::Output(error);
                code = error.code();
                self.stderr(&format!("error: {error}"));
            }
            _ => {}
        }
        code
    }

    fn stderr(&self, text: &str) {
        // Where standard error is gone there is nobody to tell.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A diagnostic as a JSON value.
pub fn diagnostic_value(diagnostic: &Diagnostic) -> Value {
    serde_json::from_str(&diagnostic::json(diagnostic)).unwrap_or_default()
}

fn object(kind: &str, value: &impl Serialize) -> Map<String, Value> {
    let mut members = Map::from_iter([("type".to_owned(), kind.into())]);
    match serde_json::to_value(value) {
        Ok(Value::Object(own)) => members.extend(own.into_iter().filter(|(name, _)| name != "type")),
        Ok(Value::Null) => {}
        Ok(other) => {
            members.insert("value".into(), other);
        }
        Err(error) => {
            members.insert("problem".into(), error.to_string().into());
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_begin_with_their_type() {
        let line = Value::Object(object("status", &json!({ "message": "x", "type": "other" }))).to_string();
        assert_eq!(line, r#"{"type":"status","message":"x"}"#);
        assert_eq!(Value::Object(object("rows", &[1, 2])).to_string(), r#"{"type":"rows","value":[1,2]}"#);
    }

    #[test]
    fn an_error_gives_its_code() {
        let error = CliError::usage("no such thing", "name another");
        assert_eq!(Console { quiet: true, ..Console::default() }.end(Err(error)), 2);
        assert_eq!(Console::default().end(Ok(3)), 3);
    }
}

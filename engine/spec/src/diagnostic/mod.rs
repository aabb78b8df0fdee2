//! The one type for every problem in a file, used by lint, plan and run.

pub mod codes;
mod render;

pub use codes::{CODES, explain};
pub use render::{Style, github, json, text};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Works, but is likely not what was meant.
    Warning,
    /// Does not work.
    Error,
}

impl Severity {
    /// `error` or `warning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One problem with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Its code, such as `E102`; [`codes::CODES`] explains each.
    pub code: &'static str,
    /// What is wrong: lowercase, no final period.
    pub message: String,
    /// The file as it was named by the caller.
    pub file: String,
    /// Line, from 1; 0 where the problem is not at a place in the file.
    pub line: u32,
    /// Column in characters, from 1; 0 where the problem is not at a place in the file.
    pub column: u32,
    /// The column after the last character concerned, on the same line.
    pub end_column: u32,
    /// The line concerned, secrets masked, cut to a window around the place where it is very long.
    pub source_line: Option<String>,
    /// The column within `source_line`, from 1: differs from `column` only where the line was cut.
    pub source_column: u32,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A problem of a file as a whole, without a place in it.
    pub fn of_file(code: &'static str, file: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: codes::severity(code),
            code,
            message: message.into(),
            file: file.into(),
            line: 0,
            column: 0,
            end_column: 0,
            source_line: None,
            source_column: 0,
            help: None,
        }
    }

    /// Adds the remedy.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether it stops the pipeline.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Prints the uncoloured text form.
impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&text(self, Style::Plain))
    }
}

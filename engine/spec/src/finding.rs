//! Problems while a file is being read: places in the text, made into diagnostics once all is known that must be
//! masked.

use std::collections::HashSet;

use crate::diagnostic::Diagnostic;
use crate::yaml::{Document, Place};

/// A problem at a place of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub code: &'static str,
    pub place: Place,
    pub message: String,
    pub help: Option<String>,
}

impl Finding {
    pub fn new(code: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self { code, place, message: message.into(), help: None }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    pub fn is_error(&self) -> bool {
        self.code.starts_with('E')
    }
}

/// Most problems shown for one file: a hostile file must not make a report a thousand times its size.
pub(crate) const MOST: usize = 500;

/// Sorts by place, drops repetitions, and makes diagnostics.
pub(crate) fn diagnostics(document: &Document, mut findings: Vec<Finding>) -> Vec<Diagnostic> {
    findings.sort_by(|a, b| (a.place.start, a.code, &a.message).cmp(&(b.place.start, b.code, &b.message)));
    let mut seen = HashSet::new();
    findings.retain(|finding| seen.insert((finding.place.clone(), finding.code, finding.message.clone())));
    // Errors first where not everything can be shown: a warning must not push an error out.
    if findings.len() > MOST {
        findings.sort_by_key(|finding| !finding.is_error());
        findings.truncate(MOST);
        findings.sort_by_key(|finding| finding.place.start);
    }
    findings
        .into_iter()
        .map(|finding| document.diagnostic(finding.code, finding.place, finding.message, finding.help))
        .collect()
}

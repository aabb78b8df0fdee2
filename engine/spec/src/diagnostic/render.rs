//! The three forms in which diagnostics are shown: text, JSON, and GitHub workflow commands.

use super::{Diagnostic, Severity};

/// Whether the text form is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// No escape sequences.
    Plain,
    /// ANSI colours.
    Colour,
}

/// `file:line:column: error[E102]: message`, the line, a caret, and the help; no line end at the end.
pub fn text(diagnostic: &Diagnostic, style: Style) -> String {
    let paint = |code: &str, part: &str| match style {
        Style::Plain => part.to_owned(),
        Style::Colour => format!("\x1b[{code}m{part}\x1b[0m"),
    };
    let colour = if diagnostic.severity == Severity::Error { "1;31" } else { "1;33" };
    let mut out = clean(&diagnostic.file);
    if diagnostic.line > 0 {
        out.push_str(&format!(":{}:{}", diagnostic.line, diagnostic.column));
    }
    out = paint("1", &out);
    let label = format!("{}[{}]", diagnostic.severity.as_str(), diagnostic.code);
    out.push_str(&format!(": {}: {}", paint(colour, &label), clean(&diagnostic.message)));
    if let Some(line) = &diagnostic.source_line {
        let line = clean(line);
        let before = usize::try_from(diagnostic.source_column.saturating_sub(1)).unwrap_or(0);
        // A tab stays a tab under the line, so that the caret stands right at any tab width.
        let mut pad: String = line.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        pad.extend(std::iter::repeat_n(' ', before.saturating_sub(line.chars().count())));
        let rest = line.chars().count().saturating_sub(before).max(1);
        let wanted = usize::try_from(diagnostic.end_column.saturating_sub(diagnostic.column)).unwrap_or(1);
        let carets = "^".repeat(wanted.clamp(1, rest));
        out.push_str(&format!("\n  {line}\n  {pad}{}", paint(colour, &carets)));
    }
    if let Some(help) = &diagnostic.help {
        out.push_str(&format!("\n{}: {}", paint("1;36", "help"), clean(help)));
    }
    out
}

/// One JSON object on one line.
pub fn json(diagnostic: &Diagnostic) -> String {
    serde_json::json!({
        "severity": diagnostic.severity.as_str(),
        "code": diagnostic.code,
        "message": diagnostic.message,
        "file": diagnostic.file,
        "line": diagnostic.line,
        "column": diagnostic.column,
        "end_column": diagnostic.end_column,
        "source_line": diagnostic.source_line,
        "help": diagnostic.help,
    })
    .to_string()
}

/// A GitHub workflow command, which becomes an annotation of a pull request.
/// Source: "Workflow commands for GitHub Actions", setting an error message.
pub fn github(diagnostic: &Diagnostic) -> String {
    let mut message = clean(&diagnostic.message);
    if let Some(help) = &diagnostic.help {
        message.push_str(&format!("\nhelp: {}", clean(help)));
    }
    let mut place = format!("file={}", property(&diagnostic.file));
    if diagnostic.line > 0 {
        // `endColumn` is the last column concerned.
        let last = diagnostic.end_column.saturating_sub(1).max(diagnostic.column);
        place.push_str(&format!(",line={},col={},endColumn={last}", diagnostic.line, diagnostic.column));
    }
    let data = message.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    format!("::{} {place},title={}::{data}", diagnostic.severity.as_str(), diagnostic.code)
}

fn property(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A").replace(':', "%3A").replace(',', "%2C")
}

/// Replaces what could steer a terminal: a file is data, also where it is shown.
fn clean(text: &str) -> String {
    let steers = |c: char| {
        (c.is_control() && c != '\t')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Diagnostic {
        let mut diagnostic = Diagnostic::of_file("E102", "pipelines/a.yaml", "unknown field \"fitler\"")
            .with_help("did you mean \"filter\"?");
        (diagnostic.line, diagnostic.column, diagnostic.end_column, diagnostic.source_column) = (14, 5, 11, 5);
        diagnostic.source_line = Some("  - fitler: \"a > 1\"".into());
        diagnostic
    }

    #[test]
    fn text_form() {
        assert_eq!(
            text(&sample(), Style::Plain),
            "pipelines/a.yaml:14:5: error[E102]: unknown field \"fitler\"\n    - fitler: \"a > 1\"\n      ^^^^^^\nhelp: did you mean \"filter\"?"
        );
        assert!(text(&sample(), Style::Colour).contains("\x1b[1;31merror[E102]\x1b[0m"));
    }

    #[test]
    fn json_form() {
        assert_eq!(
            json(&sample()),
            r#"{"severity":"error","code":"E102","message":"unknown field \"fitler\"","file":"pipelines/a.yaml","line":14,"column":5,"end_column":11,"source_line":"  - fitler: \"a > 1\"","help":"did you mean \"filter\"?"}"#
        );
    }

    #[test]
    fn github_form() {
        assert_eq!(
            github(&sample()),
            "::error file=pipelines/a.yaml,line=14,col=5,endColumn=10,title=E102::unknown field \"fitler\"%0Ahelp: did you mean \"filter\"?"
        );
    }

    #[test]
    fn a_file_cannot_steer_the_terminal() {
        let mut diagnostic = sample();
        diagnostic.source_line = Some("\x1b[2J".into());
        assert!(!text(&diagnostic, Style::Plain).contains('\x1b'));
    }
}

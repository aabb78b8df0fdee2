//! From the text of a file to a checked pipeline, or to all that is wrong with it.

mod assemble;
mod connections;
mod markdown;
mod order;
mod promises;
mod rows;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::catalogue::{Catalogue, Kind};
use crate::check::{self, Outcome};
use crate::diagnostic::Diagnostic;
use crate::environment::Environment;
use crate::finding::{Finding, MOST, diagnostics};
use crate::interpolate::{Inputs, Interpolated, interpolate};
use crate::pipeline::Pipeline;
use crate::schema::{Compiled, MAX_STAGES};
use crate::yaml::{self, Data, Document, Node, Style};

pub use markdown::{Block, load_markdown};

/// What loading depends on beside the file.
#[derive(Clone, Copy)]
pub struct LoadOptions<'a> {
    /// The components of this build.
    pub catalogue: &'a Catalogue,
    /// Where `${env:...}` looks.
    pub env: &'a dyn Environment,
    /// `--var name=value`.
    pub vars: &'a BTreeMap<String, String>,
    /// Whether an unset variable is an error (`run`, `plan`) or a warning (`lint`).
    pub unset_is_error: bool,
}

impl std::fmt::Debug for LoadOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadOptions").field("unset_is_error", &self.unset_is_error).finish_non_exhaustive()
    }
}

/// Loads a pipeline file and checks all that can be checked without a network.
///
/// The diagnostics are in the order of the file. There is a pipeline if and only if none of them is an error. With
/// `unset_is_error` off a pipeline may hold texts that are not interpolated, with a warning for each.
pub fn load(path: &str, text: &str, options: &LoadOptions<'_>) -> (Option<Pipeline>, Vec<Diagnostic>) {
    load_from_line(path, text, 1, options)
}

fn load_from_line(
    path: &str,
    text: &str,
    first_line: u32,
    options: &LoadOptions<'_>,
) -> (Option<Pipeline>, Vec<Diagnostic>) {
    let parsed = yaml::parse(path, text, first_line);
    let (mut document, mut findings) = (parsed.document, parsed.findings);
    if !parsed.usable {
        mask_by_name(&mut document);
        mask_lines(&mut document);
        return (None, diagnostics(&document, findings));
    }
    if !matches!(document.root().data, Data::Map(_)) {
        let finding = Finding::new("E007", 0..0, "a pipeline file must be a mapping")
            .help("write a starter with: restow create files/repository");
        return (None, diagnostics(&document, vec![finding]));
    }
    let inputs = Inputs { env: options.env, vars: options.vars, unset_is_error: options.unset_is_error };
    let mut interpolated = interpolate(&document, &inputs);
    document.pieces = std::mem::take(&mut interpolated.pieces);
    findings.append(&mut interpolated.findings);
    let checked = Checked::new(&document, interpolated, options.catalogue);
    findings.extend(checked.findings);
    let pipeline = checked.pipeline;
    document.masked = masked(&document, &checked.literals);
    let document = std::sync::Arc::new(document);
    let diagnostics = diagnostics(&document, findings);
    let pipeline = pipeline.filter(|_| !diagnostics.iter().any(Diagnostic::is_error)).map(|mut pipeline| {
        pipeline.document = document;
        pipeline
    });
    (pipeline, diagnostics)
}

/// The result of all checks on one tree.
struct Checked {
    pipeline: Option<Pipeline>,
    findings: Vec<Finding>,
    literals: Vec<String>,
}

impl Checked {
    fn new(document: &Document, mut interpolated: Interpolated, catalogue: &Catalogue) -> Self {
        let compiled = Compiled::of(catalogue);
        let mut outcome = check::check(&compiled.schema, document, &interpolated);
        version_finding(document, &interpolated, &mut outcome);
        for (pointer, value) in std::mem::take(&mut outcome.edits) {
            if let Some(place) = interpolated.value.pointer_mut(&pointer) {
                *place = value;
            }
        }
        misplaced_secrets(document, &interpolated, &mut outcome);
        let value = &interpolated.value;
        let context = Context { document, value, unknown: &interpolated.unknown, catalogue };
        let mut findings = Vec::new();
        findings.extend(order::check(&context));
        findings.extend(promises::check(&context, order::sink_of(&context)));
        findings.extend(connections::check(&context, &outcome.leaves));
        findings.extend(rows::check(&context, &outcome));
        findings.extend(own_checks(&context, &outcome));
        findings.append(&mut outcome.findings);
        if !findings.iter().any(Finding::is_error) && interpolated.unknown.is_empty() {
            findings.extend(validate(document, value, compiled));
        }
        let pipeline = if findings.iter().any(Finding::is_error) {
            None
        } else {
            match assemble::assemble(&context, interpolated.vars.clone()) {
                Ok(pipeline) => Some(pipeline),
                Err(finding) => {
                    findings.push(finding);
                    None
                }
            }
        };
        Self { pipeline, findings, literals: outcome.literals }
    }
}

/// What the checks look at.
struct Context<'a> {
    document: &'a Document,
    /// The tree after interpolation.
    value: &'a Value,
    /// Texts that depend on something unset.
    unknown: &'a std::collections::BTreeSet<String>,
    catalogue: &'a Catalogue,
}

impl<'a> Context<'a> {
    /// Whether something inside of a value is not known.
    fn is_open(&self, pointer: &str) -> bool {
        let inside =
            |other: &String| other == pointer || other.strip_prefix(pointer).is_some_and(|rest| rest.starts_with('/'));
        self.unknown.range(pointer.to_owned()..).take_while(|other| other.starts_with(pointer)).any(inside)
    }

    /// Every component in the file: kind, name, pointer of the options, options.
    fn components(&self) -> Vec<(Kind, &'a str, String, &'a Value)> {
        let mut found = Vec::new();
        let mut add = |kind: Kind, pointer: &str, value: &'a Value| {
            if let Some((name, options)) = only_entry(value) {
                found.push((kind, name, format!("{pointer}/{}", yaml::escape(name)), options));
            }
        };
        for (name, value) in self.value.get("connections").and_then(Value::as_object).into_iter().flatten() {
            add(Kind::Connection, &format!("/connections/{}", yaml::escape(name)), value);
        }
        for (index, stage) in self.stages().iter().enumerate() {
            let Some((key, value)) = only_entry(stage) else {
                continue;
            };
            let kind = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Connection).find(|kind| kind.as_str() == key);
            if let Some(kind) = kind {
                add(kind, &format!("/stages/{index}/{key}"), value);
            }
        }
        found
    }

    fn stages(&self) -> &'a [Value] {
        // More than the schema allows is an error by itself; what follows need not be looked at.
        let stages = self.value.get("stages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        stages.get(..MAX_STAGES).unwrap_or(stages)
    }
}

/// The one entry of a mapping that has exactly one.
fn only_entry(value: &Value) -> Option<(&str, &Value)> {
    let map = value.as_object().filter(|map| map.len() == 1)?;
    map.iter().next().map(|(name, value)| (name.as_str(), value))
}

/// A version that is a number but not ours is worth its own words.
fn version_finding(document: &Document, interpolated: &Interpolated, outcome: &mut Outcome) {
    if let Some(Value::Number(number)) = interpolated.value.get("version")
        && number.as_u64() != Some(1)
    {
        let place = document.value_place("/version");
        outcome.findings.retain(|finding| finding.place != place);
        let finding = Finding::new("E110", place, format!("version {number} of the pipeline file is not supported"));
        outcome.findings.push(finding.help("this build reads version 1"));
    }
}

/// Secret references that stand where no secret belongs.
fn misplaced_secrets(document: &Document, interpolated: &Interpolated, outcome: &mut Outcome) {
    for pointer in &interpolated.secrets {
        let accepted = outcome.secrets.contains(pointer);
        let mut around = pointer.match_indices('/').filter_map(|(end, _)| pointer.get(..end));
        let reported = outcome.bad.contains(pointer) || around.any(|outer| outcome.bad.contains(outer));
        if accepted || reported || outcome.findings.len() > 2 * MOST {
            continue;
        }
        let name = pointer.rsplit('/').next().map(yaml::unescape).unwrap_or_default();
        let message = format!("{name:?} is not a secret field: the secret would be printed and stored");
        let finding =
            Finding::new("E212", document.value_place(pointer), message).help("use ${env:NAME} for what is no secret");
        outcome.findings.push(finding);
    }
}

/// The components' own checks, on options that satisfy their schema.
fn own_checks(context: &Context<'_>, outcome: &Outcome) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (kind, name, pointer, options) in context.components() {
        let Some(component) = context.catalogue.get(kind, name) else {
            continue;
        };
        let place = context.document.whole(&pointer);
        let failed = |finding: &Finding| {
            finding.is_error() && (place.contains(&finding.place.start) || place.start == finding.place.start)
        };
        let missing = outcome
            .findings
            .iter()
            .any(|finding| finding.code == "E104" && finding.place == context.document.value_place(&pointer));
        if context.is_open(&pointer) || missing || outcome.findings.iter().any(failed) {
            continue;
        }
        for problem in (component.check)(options) {
            let place = context.document.value_place(&format!("{pointer}{}", problem.pointer));
            findings.push(Finding::new("E109", place, problem.message).maybe_help(problem.help));
        }
    }
    findings
}

/// The generic validator, for the keywords that the walk does not know: it speaks only where the walk was silent.
fn validate(document: &Document, value: &Value, compiled: &Compiled) -> Vec<Finding> {
    let Some(validator) = &compiled.validator else {
        return Vec::new();
    };
    validator
        .iter_errors(value)
        .map(|error| {
            let pointer = error.instance_path().to_string();
            Finding::new("E106", document.value_place(&pointer), error.masked().to_string())
        })
        .collect()
}

/// The places of literals that were to be secrets, wherever they stand.
fn masked(document: &Document, literals: &[String]) -> Vec<std::ops::Range<usize>> {
    let mut masked: Vec<_> = literals.iter().map(|pointer| document.whole(pointer)).collect();
    by_name("", document.root(), &mut masked);
    masked
}

fn mask_by_name(document: &mut Document) {
    let mut masked = Vec::new();
    by_name("", document.root(), &mut masked);
    document.masked = masked;
}

/// Values whose key says that they are secret, also where no component asked for them, and passwords in URLs.
fn by_name(key: &str, node: &Node, masked: &mut Vec<std::ops::Range<usize>>) {
    match &node.data {
        Data::Map(entries) => entries.iter().for_each(|entry| by_name(&entry.key, &entry.value, masked)),
        Data::List(items) => items.iter().for_each(|item| by_name(key, item, masked)),
        Data::Scalar { value: Value::String(text), style } => {
            if sounds_secret(key) && !text.starts_with("${") {
                masked.push(node.range.clone());
            } else if let Some(password) = check::format::password_range(text) {
                masked.push(password_place(node, *style, text, password));
            }
        }
        Data::Scalar { value: Value::Number(_), .. } if sounds_secret(key) => masked.push(node.range.clone()),
        Data::Scalar { .. } => {}
    }
}

/// The password where it can be told exactly, else the whole value.
fn password_place(node: &Node, style: Style, text: &str, password: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let quotes = usize::from(matches!(style, Style::Single | Style::Double));
    if node.range.len() == text.len() + 2 * quotes {
        let start = node.range.start + quotes;
        return start + password.start..start + password.end;
    }
    node.range.clone()
}

fn sounds_secret(key: &str) -> bool {
    const WORDS: &[&str] = &[
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "api_key",
        "apikey",
        "api-key",
        "access_key",
        "private_key",
    ];
    let key = key.to_ascii_lowercase();
    key == "key" || WORDS.iter().any(|word| key.contains(word))
}

/// A file that is no YAML has no tree to go by: mask by the text of each line.
fn mask_lines(document: &mut Document) {
    let mut masked = Vec::new();
    let mut start = 0;
    for line in document.text().split_inclusive('\n') {
        if let Some((key, value)) = line.split_once(':') {
            let word = key
                .rsplit(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')))
                .find(|word| !word.is_empty());
            if word.is_some_and(sounds_secret) && !value.contains("${secret:") {
                masked.push(start + key.len() + 1..start + line.trim_end().len());
            }
        }
        if let Some(password) = check::format::password_range(line) {
            masked.push(start + password.start..start + password.end);
        }
        start += line.len();
    }
    document.masked.extend(masked);
}

#[cfg(test)]
mod tests;

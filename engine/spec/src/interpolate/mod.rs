//! Interpolation: after parsing, only in string values, never in keys and never twice.

mod parse;
mod vars;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::environment::Environment;
use crate::finding::{Finding, MOST};
use crate::secret::{self, Secret, SecretError};
use crate::yaml::{Data, Document, Node, Piece, escape};

use parse::{Otherwise, Part, parts};

/// Most bytes that interpolation may make of one text.
const MAX_TEXT: usize = 64 << 10;
/// Most bytes that interpolation may make of a file.
const MAX_TOTAL: usize = 4 << 20;

/// What interpolation needs from outside.
pub(crate) struct Inputs<'a> {
    pub env: &'a dyn Environment,
    /// `--var name=value`.
    pub vars: &'a BTreeMap<String, String>,
    /// Whether what is not set is an error or a warning.
    pub unset_is_error: bool,
}

/// The tree after interpolation, and what later checks must know of it.
#[derive(Default)]
pub(crate) struct Interpolated {
    pub value: Value,
    /// Texts that interpolation made: they may stand for a number or a boolean.
    pub made: BTreeSet<String>,
    /// Texts that depend on something unset: nothing can be said about them.
    pub unknown: BTreeSet<String>,
    /// Values that are a whole, well-formed secret reference.
    pub secrets: BTreeSet<String>,
    pub pieces: BTreeMap<String, Vec<Piece>>,
    pub vars: BTreeMap<String, String>,
    pub findings: Vec<Finding>,
}

/// Interpolates a whole file.
pub(crate) fn interpolate(document: &Document, inputs: &Inputs<'_>) -> Interpolated {
    let mut done = Interpolated::default();
    let vars = vars::resolve(document, inputs, &mut done.findings);
    let mut walk = Walk { document, inputs, vars: &vars, done, total: 0 };
    let value = walk.node(document.root(), &mut String::new());
    let mut done = walk.done;
    done.value = value;
    done.vars = vars.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    done
}

/// Every variable; `None` where it has no value that could be found out.
type Vars = BTreeMap<String, Option<String>>;

struct Walk<'a> {
    document: &'a Document,
    inputs: &'a Inputs<'a>,
    vars: &'a Vars,
    done: Interpolated,
    total: usize,
}

impl Walk<'_> {
    fn node(&mut self, node: &Arc<Node>, pointer: &mut String) -> Value {
        let length = pointer.len();
        match &node.data {
            Data::Scalar { value: Value::String(text), .. } if text.contains("$") => self.leaf(text, pointer),
            Data::Scalar { value, .. } => value.clone(),
            Data::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    pointer.push_str(&format!("/{index}"));
                    list.push(self.node(item, pointer));
                    pointer.truncate(length);
                }
                Value::Array(list)
            }
            Data::Map(entries) => {
                let mut map = serde_json::Map::with_capacity(entries.len());
                for entry in entries {
                    if entry.key.contains("${") {
                        let finding = Finding::new("E207", entry.key_range.clone(), "an interpolation in a key");
                        self.done.findings.push(finding.help("only values are interpolated: write the key out"));
                    }
                    pointer.push('/');
                    pointer.push_str(&escape(&entry.key));
                    map.insert(entry.key.clone(), self.node(&entry.value, pointer));
                    pointer.truncate(length);
                }
                Value::Object(map)
            }
        }
    }

    fn leaf(&mut self, text: &str, pointer: &str) -> Value {
        if let Some(body) = secret::reference_body(text)
            && is_one_reference(body)
        {
            self.secret(text, body, pointer);
            return Value::String(text.into());
        }
        // The variables were resolved, and their problems reported, before.
        if pointer.starts_with("/vars/") && pointer.matches('/').count() == 2 {
            let name = crate::yaml::unescape(pointer.trim_start_matches("/vars/"));
            let value = self.vars.get(&name).cloned().flatten();
            if value.is_none() {
                self.done.unknown.insert(pointer.into());
            }
            self.done.made.insert(pointer.into());
            return Value::String(value.unwrap_or_else(|| text.into()));
        }
        let lookup = |name: &str| match self.vars.get(name) {
            Some(Some(value)) => Lookup::Found(value.clone()),
            Some(None) => Lookup::Unknown,
            // What will not be shown is not worth a search.
            None if self.done.findings.len() > MOST => Lookup::Undeclared(None),
            None => Lookup::Undeclared(crate::suggest::help(name, "variables", self.vars.keys().map(String::as_str))),
        };
        let mut expanded = expand(text, self.inputs, lookup);
        self.total = self.total.saturating_add(expanded.text.len());
        if self.total > MAX_TOTAL && expanded.text.len() > text.len() {
            expanded.problems.push(Trouble {
                from: 0,
                length: text.chars().count(),
                code: "E201",
                message: format!("interpolation makes the file larger than {MAX_TOTAL} bytes"),
                help: None,
            });
            expanded.unknown = true;
            expanded.text = text.into();
        }
        place_troubles(self.document, pointer, &expanded.problems, &mut self.done.findings);
        if expanded.unknown {
            self.done.unknown.insert(pointer.into());
        }
        if expanded.pieces.iter().any(|piece| !piece.literal) {
            self.done.made.insert(pointer.into());
            self.done.pieces.insert(pointer.into(), expanded.pieces);
        }
        Value::String(expanded.text)
    }

    fn secret(&mut self, text: &str, body: &str, pointer: &str) {
        let place = || self.document.value_place(pointer);
        let finding = if body.contains("${") {
            let finding = Finding::new("E214", place(), "an interpolation inside of a secret reference");
            finding.help("write the name, path or command out")
        } else {
            match Secret::parse(text) {
                Ok(_) => {
                    self.done.secrets.insert(pointer.into());
                    return;
                }
                Err(error @ SecretError::UnknownBackend(_)) => Finding::new("E214", place(), error.to_string())
                    .help("write ${secret:env:NAME}, ${secret:file:PATH} or ${secret:exec:COMMAND}"),
                Err(error) => Finding::new("E214", place(), error.to_string()),
            }
        };
        self.done.unknown.insert(pointer.into());
        self.done.findings.push(finding);
    }
}

/// Whether the braces around it belong together: `${secret:env:A}-${secret:env:B}` is not one reference.
fn is_one_reference(body: &str) -> bool {
    match (body.find('}'), body.find("${")) {
        (None, _) => true,
        (Some(close), Some(open)) if open < close => true,
        (Some(_), _) => body.starts_with("exec:"),
    }
}

/// What a variable stands for.
enum Lookup {
    Found(String),
    /// It is declared, and why it has no value was reported where it is declared.
    Unknown,
    Undeclared(Option<String>),
}

/// A problem inside of a text, by characters.
struct Trouble {
    from: usize,
    length: usize,
    code: &'static str,
    message: String,
    help: Option<String>,
}

/// A text after interpolation.
struct Expanded {
    text: String,
    pieces: Vec<Piece>,
    problems: Vec<Trouble>,
    unknown: bool,
}

fn expand(text: &str, inputs: &Inputs<'_>, lookup: impl Fn(&str) -> Lookup) -> Expanded {
    let mut out = Expanded { text: String::new(), pieces: Vec::new(), problems: Vec::new(), unknown: false };
    let mut from = 0;
    for (part, length) in parts(text) {
        let found = one(&part, inputs, &lookup);
        let literal = matches!(part, Part::Literal(_));
        let new = match found {
            Ok(Some(new)) => new,
            Ok(None) => {
                out.unknown = true;
                String::new()
            }
            Err((code, message, help)) => {
                out.problems.push(Trouble { from, length, code, message, help });
                out.unknown = true;
                String::new()
            }
        };
        out.pieces.push(Piece { output: new.chars().count(), input: length, literal });
        out.text.push_str(&new);
        if out.text.len() > MAX_TEXT && !literal {
            let message = format!("interpolation makes a text longer than {MAX_TEXT} bytes");
            out.problems.push(Trouble { from, length, code: "E201", message, help: None });
            out.unknown = true;
            break;
        }
        from += length;
    }
    if out.unknown {
        // What cannot be known is shown as it was written.
        (out.text, out.pieces) = (text.into(), Vec::new());
    }
    out
}

type Refusal = (&'static str, String, Option<String>);

/// What one part stands for; `None` where that cannot be known and was reported elsewhere.
fn one(part: &Part, inputs: &Inputs<'_>, lookup: impl Fn(&str) -> Lookup) -> Result<Option<String>, Refusal> {
    match part {
        Part::Literal(text) => Ok(Some(text.clone())),
        Part::Dollar => Ok(Some("$".into())),
        Part::Var(name) => match lookup(name) {
            Lookup::Found(value) => Ok(Some(value)),
            Lookup::Unknown => Ok(None),
            Lookup::Undeclared(help) => {
                let help = help.or_else(|| Some(format!("declare it: vars: {{ {name}: value }}")));
                Err(("E203", format!("unknown variable {name:?}"), help))
            }
        },
        Part::Env { name, otherwise } => environment(name, otherwise, inputs).map(Some),
        Part::Secret => Err((
            "E213",
            "a secret reference as a part of a longer text".into(),
            Some("a secret must be the whole value, and of a field that is secret".into()),
        )),
        Part::Open => Err((
            "E201",
            "an interpolation without its closing brace".into(),
            Some("close it with }, or write $$ for a dollar sign".into()),
        )),
        Part::Unknown(body) => Err(unknown(body)),
    }
}

fn environment(name: &str, otherwise: &Otherwise, inputs: &Inputs<'_>) -> Result<String, Refusal> {
    let value = inputs.env.get(name);
    let code = if inputs.unset_is_error { "E202" } else { "W202" };
    match (value, otherwise) {
        (Some(value), Otherwise::Refuse) => Ok(value),
        (Some(value), _) if !value.is_empty() => Ok(value),
        (_, Otherwise::Default(default)) => Ok(default.clone()),
        (_, Otherwise::Message(message)) => {
            let help = Some(format!("export {name}"));
            Err((code, format!("environment variable {name} is not set: {message}"), help))
        }
        (_, Otherwise::Refuse) => {
            let help = format!("export {name}, or give a default: ${{env:{name}:-value}}");
            Err((code, format!("environment variable {name} is not set"), Some(help)))
        }
    }
}

fn unknown(body: &str) -> Refusal {
    let plain = body.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !body.is_empty();
    let help = if plain {
        format!("write ${{env:{body}}}, ${{var:{body}}} or ${{secret:env:{body}}}; $$ stands for a dollar sign")
    } else {
        "write ${env:NAME}, ${env:NAME:-default}, ${env:NAME:?message}, ${var:name} or ${secret:env:NAME}; $$ stands \
         for a dollar sign"
            .into()
    };
    ("E201", format!("unknown interpolation \"${{{body}}}\""), Some(help))
}

fn place_troubles(document: &Document, pointer: &str, troubles: &[Trouble], findings: &mut Vec<Finding>) {
    for trouble in troubles {
        if findings.len() > MOST {
            return;
        }
        let place = document.char_place(pointer, trouble.from, trouble.length);
        findings.push(Finding::new(trouble.code, place, trouble.message.clone()).maybe_help(trouble.help.clone()));
    }
}

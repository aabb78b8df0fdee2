//! Alternatives in a schema: the one that was meant is checked and reported, not all of them.

use serde_json::{Map, Value};

use super::{Outcome, Walk, words};
use crate::catalogue::Kind;
use crate::finding::Finding;
use crate::suggest;
use crate::yaml::escape;

impl<'a> Walk<'a> {
    pub(super) fn union(&mut self, branches: &'a [Value], value: &Value, pointer: &mut String, out: &mut Outcome) {
        let branches: Vec<&'a Value> = branches.iter().map(|branch| self.resolve(branch)).collect();
        let constants = words::constants(&branches);
        if !constants.is_empty() && constants.contains(&value) {
            return;
        }
        let fitting: Vec<&'a Value> = branches.iter().copied().filter(|branch| words::accepts(branch, value)).collect();
        if value.is_string() && !constants.is_empty() && fitting.iter().all(|branch| words::is_constant(branch)) {
            let finding = words::not_allowed(value, &constants, pointer, self.document);
            return self.fail(out, pointer, finding);
        }
        let mut best: Option<Outcome> = None;
        for branch in self.meant(&fitting, value) {
            let mut attempt = Outcome::default();
            self.node(branch, value, pointer, &mut attempt);
            if attempt.findings.is_empty() {
                return out.merge(attempt);
            }
            if best.as_ref().is_none_or(|best| attempt.findings.len() < best.findings.len()) {
                best = Some(attempt);
            }
        }
        match best {
            Some(best) => out.merge(best),
            None => self.no_branch(&branches, value, pointer, out),
        }
    }

    /// Of alternatives that are mappings with a required key, those whose key is there; else all.
    fn meant(&self, branches: &[&'a Value], value: &Value) -> Vec<&'a Value> {
        let Value::Object(map) = value else {
            return branches.to_vec();
        };
        let has_key = |branch: &&&Value| {
            let required = branch.get("required").and_then(Value::as_array);
            required.is_some_and(|names| names.iter().filter_map(Value::as_str).any(|name| map.contains_key(name)))
        };
        let keyed: Vec<&Value> = branches.iter().filter(has_key).copied().collect();
        if keyed.is_empty() { branches.to_vec() } else { keyed }
    }

    fn no_branch(&mut self, branches: &[&Value], value: &Value, pointer: &str, out: &mut Outcome) {
        let mut types: Vec<&str> = Vec::new();
        for branch in branches.iter().filter_map(|branch| branch.as_object()) {
            for kind in words::types(branch) {
                if !types.contains(&kind) {
                    types.push(kind);
                }
            }
        }
        let (name, found) = (words::place_name(pointer), words::describe(value));
        let message = format!("wrong type for {name}: expected {}, found {found}", words::list(&types));
        let place = self.document.value_place(pointer);
        let finding = Finding::new("E101", place, message).maybe_help(words::type_help(&types, "", value));
        self.fail(out, pointer, finding);
    }

    /// `{ milvus: {...} }`: a mapping with one key, the component's name.
    pub(super) fn component(
        &mut self,
        kind: &str,
        schema: &'a Map<String, Value>,
        value: &Value,
        pointer: &mut String,
        out: &mut Outcome,
    ) {
        let Some(known) = schema.get("properties").and_then(Value::as_object) else {
            return;
        };
        let Value::Object(map) = value else {
            let named = value.as_str().and_then(|text| {
                known
                    .get_key_value(text)
                    .map(|(name, _)| name.as_str())
                    .or_else(|| suggest::nearest(text, known.keys().map(String::as_str)))
            });
            let help = match named {
                Some(name) => format!("write: {kind}: {{ {name}: {{}} }}"),
                None => format!("such as: {kind}: {{ {}: {{}} }}", known.keys().next().map_or("name", String::as_str)),
            };
            let found = words::describe(value);
            let message = format!("{} must be a mapping with one key, its name, not {found}", a(kind));
            return self.fail(
                out,
                pointer,
                Finding::new("E107", self.document.value_place(pointer), message).help(help),
            );
        };
        if map.len() != 1 {
            let message = format!("{} must have exactly one key, its name, this has {}", a(kind), map.len());
            let help =
                format!("known {}: {}", plural(kind), known.keys().map(String::as_str).collect::<Vec<_>>().join(", "));
            self.fail(out, pointer, Finding::new("E107", self.document.value_place(pointer), message).help(help));
        }
        let length = pointer.len();
        for (name, options) in map {
            pointer.push('/');
            pointer.push_str(&escape(name));
            match known.get(name) {
                Some(inner) => self.node(inner, options, pointer, out),
                None => {
                    let help = self.elsewhere(kind, name).or_else(|| {
                        suggest::help(name, &plural(kind), known.keys().map(String::as_str).collect::<Vec<_>>())
                    });
                    let finding = Finding::new(
                        "E103",
                        self.document.key_place(pointer),
                        format!("unknown {} {name:?}", noun(kind)),
                    );
                    self.fail(out, pointer, finding.maybe_help(help));
                }
            }
            pointer.truncate(length);
        }
    }

    /// A name that exists, but as another kind of component.
    fn elsewhere(&self, kind: &str, name: &str) -> Option<String> {
        let others = Kind::ALL.iter().map(|other| other.as_str()).filter(|other| *other != kind);
        let holders: Vec<&str> = others
            .filter(|other| {
                let component = self.root.pointer(&format!("/$defs/{other}/properties"));
                component.and_then(Value::as_object).is_some_and(|known| known.contains_key(name))
            })
            .collect();
        let holders: Vec<String> = holders.into_iter().map(a).collect();
        if holders.is_empty() { None } else { Some(format!("{name:?} is {}, not {}", holders.join(" and "), a(kind))) }
    }
}

/// What the name of a component is the name of.
fn noun(kind: &str) -> &str {
    match kind {
        "encrypt" => "encryption",
        "connection" => "connection type",
        "reshape" => "layout",
        kind => kind,
    }
}

fn plural(kind: &str) -> String {
    format!("{}s", noun(kind))
}

/// The kind with its article.
fn a(kind: &str) -> String {
    match kind {
        "encrypt" => "an encryption".into(),
        "reshape" => "a layout".into(),
        kind => format!("a {kind}"),
    }
}

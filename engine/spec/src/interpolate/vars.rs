//! The variables of a file: their defaults, what `--var` gives, and circles among them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Inputs, Lookup, Vars, expand, place_troubles};
use crate::finding::{Finding, MOST};
use crate::yaml::{Data, Document, Entry, escape};
use crate::{secret, suggest};

/// Longest chain of variables that refer to each other.
const MAX_CHAIN: usize = 32;

/// The value of every declared variable.
pub(super) fn resolve(document: &Document, inputs: &Inputs<'_>, findings: &mut Vec<Finding>) -> Vars {
    let entries = declared(document);
    let names: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
    for name in inputs.vars.keys().take(MOST).filter(|name| !names.contains(&name.as_str())) {
        let help = suggest::help(name, "variables", names.iter().copied())
            .unwrap_or_else(|| format!("declare it: vars: {{ {name}: value }}"));
        let place = document.key_place("/vars");
        findings.push(Finding::new("E206", place, format!("--var {name}: the file has no such variable")).help(help));
    }
    let by_name: BTreeMap<&str, &Entry> = entries.iter().map(|entry| (entry.key.as_str(), entry)).collect();
    let mut resolver = Resolver { document, inputs, by_name, done: Vars::new(), path: Vec::new(), total: 0, findings };
    for entry in entries {
        resolver.value(&entry.key);
    }
    resolver.done
}

fn declared(document: &Document) -> &[Entry] {
    let Data::Map(root) = &document.root().data else {
        return &[];
    };
    match root.iter().find(|entry| entry.key == "vars").map(|entry| &entry.value.data) {
        Some(Data::Map(entries)) => entries,
        _ => &[],
    }
}

struct Resolver<'a> {
    document: &'a Document,
    inputs: &'a Inputs<'a>,
    by_name: BTreeMap<&'a str, &'a Entry>,
    done: Vars,
    path: Vec<String>,
    /// Bytes of all values so far.
    total: usize,
    findings: &'a mut Vec<Finding>,
}

impl Resolver<'_> {
    fn value(&mut self, name: &str) -> Lookup {
        if let Some(value) = self.done.get(name) {
            return value.clone().map_or(Lookup::Unknown, Lookup::Found);
        }
        let Some(entry) = self.by_name.get(name).copied() else {
            if self.findings.len() > MOST {
                return Lookup::Undeclared(None);
            }
            return Lookup::Undeclared(suggest::help(name, "variables", self.by_name.keys().copied()));
        };
        if let Some(given) = self.inputs.vars.get(name) {
            self.done.insert(name.into(), Some(given.clone()));
            return Lookup::Found(given.clone());
        }
        let circle = self.path.iter().position(|seen| seen == name);
        if circle.is_some() || self.path.len() >= MAX_CHAIN {
            self.refuse_chain(entry, circle);
            return Lookup::Unknown;
        }
        self.path.push(name.into());
        let value = self.compute(entry);
        self.path.pop();
        // A circle has been settled from inside: what was found out there stays.
        let value = self.done.entry(name.into()).or_insert(value).clone();
        value.map_or(Lookup::Unknown, Lookup::Found)
    }

    fn refuse_chain(&mut self, entry: &Entry, circle: Option<usize>) {
        let finding = match circle.and_then(|start| self.path.get(start..)) {
            Some(members) => {
                let shown = members.iter().chain(members.first()).cloned().collect::<Vec<_>>().join(" -> ");
                for member in members {
                    self.done.insert(member.clone(), None);
                }
                Finding::new("E204", entry.key_range.clone(), format!("variables in a circle: {shown}"))
                    .help("give one of them a value that does not refer to the others")
            }
            None => {
                let message = format!("a chain of more than {MAX_CHAIN} variables");
                Finding::new("E204", entry.key_range.clone(), message)
            }
        };
        if self.findings.len() <= MOST {
            self.findings.push(finding);
        }
    }

    fn compute(&mut self, entry: &Entry) -> Option<String> {
        let pointer = format!("/vars/{}", escape(&entry.key));
        match &entry.value.data {
            Data::Scalar { value: Value::Null, .. } => {
                let code = if self.inputs.unset_is_error { "E205" } else { "W205" };
                let message = format!("variable {:?} has no value", entry.key);
                let help = format!("give it with --var {}=VALUE, or write a default", entry.key);
                self.findings.push(Finding::new(code, entry.key_range.clone(), message).help(help));
                None
            }
            Data::Scalar { value: Value::String(text), .. } => self.text(text, &pointer),
            // As it was written: `1.0` stays `1.0`.
            Data::Scalar { .. } => self.document.text().get(entry.value.range.clone()).map(str::to_owned),
            Data::List(_) | Data::Map(_) => None,
        }
    }

    fn text(&mut self, text: &str, pointer: &str) -> Option<String> {
        if secret::reference_body(text).is_some() {
            // Reported with all other secrets in fields that are not secret.
            return None;
        }
        let mut found: BTreeMap<String, Lookup> = BTreeMap::new();
        for (part, _) in super::parts(text) {
            if let super::Part::Var(name) = part {
                let value = self.value(&name);
                found.insert(name, value);
            }
        }
        let lookup = |name: &str| match found.get(name) {
            Some(Lookup::Found(value)) => Lookup::Found(value.clone()),
            Some(Lookup::Undeclared(help)) => Lookup::Undeclared(help.clone()),
            Some(Lookup::Unknown) | None => Lookup::Unknown,
        };
        let expanded = expand(text, self.inputs, lookup);
        place_troubles(self.document, pointer, &expanded.problems, self.findings);
        self.total = self.total.saturating_add(expanded.text.len());
        if self.total > super::MAX_TOTAL {
            let message = format!("variables of more than {} bytes in all", super::MAX_TOTAL);
            self.findings.push(Finding::new("E201", self.document.value_place(pointer), message));
            return None;
        }
        (!expanded.unknown).then_some(expanded.text)
    }
}

//! SQL and columns: what filters and transforms may name, as far as earlier stages define it.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde_json::{Map, Value};

use super::{Context, only_entry};
use crate::check::Outcome;
use crate::finding::{Finding, MOST};
use crate::sql::{self, Columns, Gone, SqlError};
use crate::types::TypeName;
use crate::yaml::escape;

/// Most SQL texts of a file: each may cost the parser all that it is allowed.
const MAX_TEXTS: usize = 1_000;

pub(super) fn check(context: &Context<'_>, outcome: &Outcome) -> Vec<Finding> {
    let mut findings = Vec::new();
    let leaves = || outcome.leaves.iter().filter(|leaf| leaf.format.starts_with("sql-"));
    if let Some(leaf) = leaves().nth(MAX_TEXTS) {
        let place = context.document.value_place(&leaf.pointer);
        findings.push(Finding::new("E505", place, format!("more than {MAX_TEXTS} SQL texts in one file")));
        return findings;
    }
    for leaf in leaves() {
        let Some(text) = context.value.pointer(&leaf.pointer).and_then(Value::as_str) else {
            continue;
        };
        let problem = match leaf.format.as_str() {
            "sql-expression" => sql::expression(text).err(),
            "sql-query" => sql::query(text).err(),
            _ => None,
        };
        findings.extend(problem.map(|problem| place(context, &leaf.pointer, problem)));
    }
    findings.extend(types(context, outcome));
    let mut flow = Flow { context, columns: Columns::default(), findings };
    for (index, stage) in context.stages().iter().enumerate() {
        match only_entry(stage) {
            Some(("filter", value)) => flow.filter(value, &format!("/stages/{index}/filter")),
            Some(("transform", Value::Object(map))) => flow.transform(map, &format!("/stages/{index}/transform")),
            // The columns of a layout are its own.
            Some(("reshape", _)) => flow.columns = Columns::default(),
            _ => {}
        }
    }
    flow.findings.extend(tests(context));
    flow.findings
}

/// Names of types.
fn types(context: &Context<'_>, outcome: &Outcome) -> Vec<Finding> {
    let mut findings = Vec::new();
    for leaf in outcome.leaves.iter().filter(|leaf| leaf.format == "sql-type") {
        let text = context.value.pointer(&leaf.pointer).and_then(Value::as_str);
        if let Some(Err(error)) = text.map(TypeName::from_str) {
            let place = match error.length {
                0 => context.document.value_place(&leaf.pointer),
                length => context.document.char_place(&leaf.pointer, error.start, length),
            };
            findings.push(Finding::new("E506", place, error.message).help(error.help));
        }
    }
    findings
}

fn place(context: &Context<'_>, pointer: &str, error: SqlError) -> Finding {
    let place = context.document.text_place(pointer, error.line, error.column, error.length);
    Finding::new(error.code, place, error.message).maybe_help(error.help)
}

/// What is known of the columns while walking down the chain.
struct Flow<'a> {
    context: &'a Context<'a>,
    columns: Columns,
    findings: Vec<Finding>,
}

/// A stage for which columns may lack without an error, or that may not run for every dataset.
struct Scope {
    checked: bool,
    partial: bool,
}

impl Scope {
    fn of(map: &Map<String, Value>) -> Self {
        let missing = map.get("missing").and_then(Value::as_str).unwrap_or("error");
        let some = map.get("datasets").and_then(Value::as_array).is_some_and(|globs| !globs.is_empty());
        Self { checked: missing == "error", partial: some || missing == "skip" }
    }
}

impl Flow<'_> {
    fn filter(&mut self, value: &Value, pointer: &str) {
        let (text, pointer, checked) = match value {
            Value::String(text) => (text.as_str(), pointer.to_owned(), true),
            Value::Object(map) => match map.get("sql").and_then(Value::as_str) {
                Some(text) => (text, format!("{pointer}/sql"), Scope::of(map).checked),
                None => return,
            },
            _ => return,
        };
        if checked {
            self.expression(text, &pointer);
        }
    }

    fn expression(&mut self, text: &str, pointer: &str) {
        if self.context.unknown.contains(pointer) || self.findings.len() > MOST {
            return;
        }
        // What cannot be parsed has been reported.
        if let Ok(expression) = sql::expression(text) {
            let problems = sql::check_expression_columns(&expression, &self.columns);
            self.findings.extend(problems.into_iter().map(|problem| place(self.context, pointer, problem)));
        }
    }

    fn transform(&mut self, map: &Map<String, Value>, pointer: &str) {
        let scope = Scope::of(map);
        let before = if scope.partial { self.columns.clone() } else { Columns::default() };
        let line = self.context.document.locate(pointer).0;
        self.rename(map, pointer, &scope, line);
        let dropped = self.drop(map, pointer, &scope, line);
        self.keep(map, pointer, &scope, line, &dropped);
        for column in object(map, "cast").map(|(column, _)| column) {
            self.must_exist(column, &format!("{pointer}/cast/{}", escape(column)), true, &scope);
        }
        self.set(map, pointer, &scope);
        if let Some(text) = map.get("sql").and_then(Value::as_str) {
            self.query(text, &format!("{pointer}/sql"), &scope);
        }
        if self.context.is_open(pointer) {
            // Something in it depends on what is not set: nothing is certain any more.
            self.columns = Columns::default();
        } else if scope.partial {
            self.columns = before.or(std::mem::take(&mut self.columns));
        }
    }

    fn rename(&mut self, map: &Map<String, Value>, pointer: &str, scope: &Scope, line: u32) {
        let pairs: Vec<(&str, &str)> =
            object(map, "rename").filter_map(|(old, new)| Some((old, new.as_str()?))).collect();
        let olds: BTreeSet<&str> = pairs.iter().map(|(old, _)| *old).collect();
        let mut news: BTreeMap<&str, &str> = BTreeMap::new();
        for (old, new) in &pairs {
            let place = format!("{pointer}/rename/{}", escape(old));
            self.must_exist(old, &place, true, scope);
            let taken = match news.get(new) {
                Some(other) => Some(format!("{other:?} is renamed to it too")),
                None if self.is_known(new) && !olds.contains(new) => {
                    Some("a column of that name is there already".into())
                }
                None => None,
            };
            if let Some(help) = taken.filter(|_| self.findings.len() <= MOST) {
                let at = self.context.document.value_place(&place);
                self.findings.push(Finding::new("E507", at, format!("two columns would be called {new:?}")).help(help));
            }
            news.insert(new, old);
        }
        for (old, new) in &pairs {
            let how = format!("renamed by the transform at line {line}");
            self.columns.remove(old, Gone { how, now: Some((*new).into()) });
        }
        pairs.iter().for_each(|(_, new)| self.columns.add(new));
    }

    fn is_known(&self, column: &str) -> bool {
        self.columns.known.as_ref().is_some_and(|known| known.contains(column))
    }

    fn drop<'m>(&mut self, map: &'m Map<String, Value>, pointer: &str, scope: &Scope, line: u32) -> BTreeSet<&'m str> {
        let mut dropped = BTreeSet::new();
        for (index, column) in list(map, "drop") {
            self.must_exist(column, &format!("{pointer}/drop/{index}"), false, scope);
            dropped.insert(column);
        }
        for column in &dropped {
            let how = format!("dropped by the transform at line {line}");
            self.columns.remove(column, Gone { how, now: None });
        }
        dropped
    }

    fn keep(&mut self, map: &Map<String, Value>, pointer: &str, scope: &Scope, line: u32, dropped: &BTreeSet<&str>) {
        if !map.get("keep").is_some_and(Value::is_array) {
            return;
        }
        let mut kept: BTreeSet<String> = BTreeSet::new();
        for (index, column) in list(map, "keep") {
            let place = format!("{pointer}/keep/{index}");
            let clash = match (dropped.contains(column), kept.insert(column.into())) {
                (true, _) => Some(format!("column {column:?} is both kept and dropped")),
                (_, false) => Some(format!("column {column:?} is kept twice")),
                _ => None,
            };
            match clash {
                Some(message) => {
                    self.findings.push(Finding::new("E507", self.context.document.value_place(&place), message))
                }
                None => self.must_exist(column, &place, false, scope),
            }
        }
        if let Some(known) = self.columns.known.take() {
            for column in known.difference(&kept) {
                let how = format!("left out by the keep at line {line}");
                self.columns.gone.insert(column.clone(), Gone { how, now: None });
            }
        }
        self.columns.gone.retain(|name, _| !kept.contains(name));
        self.columns.known = Some(kept);
    }

    fn set(&mut self, map: &Map<String, Value>, pointer: &str, scope: &Scope) {
        // An expression may read what the same stage sets.
        object(map, "set").for_each(|(column, _)| self.columns.add(column));
        for (column, text) in object(map, "set") {
            if let Some(text) = text.as_str().filter(|_| scope.checked) {
                self.expression(text, &format!("{pointer}/set/{}", escape(column)));
            }
        }
    }

    fn query(&mut self, text: &str, pointer: &str, scope: &Scope) {
        match sql::query(text) {
            Ok(query) if !self.context.unknown.contains(pointer) => {
                let (problems, columns) = sql::query_columns(&query, &self.columns);
                if scope.checked {
                    self.findings.extend(problems.into_iter().map(|problem| place(self.context, pointer, problem)));
                }
                self.columns = columns;
            }
            _ => self.columns = Columns::default(),
        }
    }

    /// A column named by a verb: `key` where its name is the key of the pointer, not the value.
    fn must_exist(&mut self, column: &str, pointer: &str, key: bool, scope: &Scope) {
        if !scope.checked || self.context.unknown.contains(pointer) || self.findings.len() > MOST {
            return;
        }
        let Some(missing) = self.columns.missing(column) else {
            return;
        };
        let document = self.context.document;
        let place = if key { document.key_place(pointer) } else { document.value_place(pointer) };
        self.findings.push(Finding::new("E502", place, format!("unknown column {column:?}")).maybe_help(missing.help));
    }
}

fn object<'m>(map: &'m Map<String, Value>, key: &str) -> impl Iterator<Item = (&'m str, &'m Value)> + use<'m> {
    map.get(key).and_then(Value::as_object).into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn list<'m>(map: &'m Map<String, Value>, key: &str) -> impl Iterator<Item = (usize, &'m str)> + use<'m> {
    let items = map.get(key).and_then(Value::as_array).into_iter().flatten();
    items.enumerate().filter_map(|(index, item)| Some((index, item.as_str()?)))
}

/// Two tests with one name could not be told apart.
fn tests(context: &Context<'_>) -> Vec<Finding> {
    let mut seen: BTreeMap<&str, String> = BTreeMap::new();
    let mut findings = Vec::new();
    let tests = context.value.get("tests").and_then(Value::as_array).into_iter().flatten();
    for (index, test) in tests.enumerate() {
        let Some(name) = test.get("name").and_then(Value::as_str) else {
            continue;
        };
        let pointer = format!("/tests/{index}/name");
        if let Some(first) = seen.get(name) {
            let line = context.document.locate(first).0;
            let place = context.document.value_place(&pointer);
            let finding = Finding::new("E601", place, format!("two tests are called {name:?}"));
            findings.push(finding.help(format!("the first is at line {line}")));
        } else {
            seen.insert(name, pointer);
        }
    }
    findings
}

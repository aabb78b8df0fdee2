//! A walk over the schema and the value together. It knows the words of a pipeline file, so its messages can name the
//! thing that is wrong; a plain validator can only say that none of several alternatives matched.

pub(crate) mod format;
mod union;
mod words;

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::finding::{Finding, MOST};
use crate::interpolate::Interpolated;
use crate::schema::{COMPONENT, STAGE};
use crate::suggest;
use crate::yaml::{Document, escape};

/// A leaf that other parts check further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub pointer: String,
    /// The schema's `format`: `sql-expression`, `sql-query`, `sql-type` or `connection`.
    pub format: String,
}

/// What a walk found.
#[derive(Default)]
pub(crate) struct Outcome {
    pub findings: Vec<Finding>,
    /// Texts that stand for a number or a boolean, by pointer.
    pub edits: Vec<(String, Value)>,
    pub leaves: Vec<Leaf>,
    /// Secret references that stand in secret fields.
    pub secrets: HashSet<String>,
    /// Literals in secret fields.
    pub literals: Vec<String>,
    /// Values with an error, so that nothing else need be said about them.
    pub bad: HashSet<String>,
}

impl Outcome {
    fn merge(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.edits.extend(other.edits);
        self.leaves.extend(other.leaves);
        self.secrets.extend(other.secrets);
        self.literals.extend(other.literals);
        self.bad.extend(other.bad);
    }
}

/// Checks a value against a schema; `root` is where `$ref` points into.
pub(crate) fn check(root: &Value, document: &Document, interpolated: &Interpolated) -> Outcome {
    let mut walk = Walk { root, document, interpolated, budget: MAX_STEPS };
    let mut outcome = Outcome::default();
    walk.node(root, &interpolated.value, &mut String::new(), &mut outcome);
    outcome
}

/// Most pairs of schema and value looked at: alternatives inside alternatives must not multiply without end.
const MAX_STEPS: usize = 4_000_000;

struct Walk<'a> {
    root: &'a Value,
    document: &'a Document,
    interpolated: &'a Interpolated,
    budget: usize,
}

impl<'a> Walk<'a> {
    fn node(&mut self, schema: &'a Value, value: &Value, pointer: &mut String, out: &mut Outcome) {
        if self.budget == 0 || out.findings.len() > 2 * MOST {
            return;
        }
        self.budget -= 1;
        if self.interpolated.unknown.contains(pointer.as_str()) {
            return;
        }
        let schema = self.resolve(schema);
        let Some(schema) = schema.as_object() else {
            return;
        };
        if let Some(branches) = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array) {
            self.union(branches, value, pointer, out);
        }
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.node(part, value, pointer, out);
        }
        if let Some(kind) = schema.get(COMPONENT).and_then(Value::as_str) {
            return self.component(kind, schema, value, pointer, out);
        }
        let coerced = self.coerce(schema, value, pointer, out);
        let value = coerced.as_ref().unwrap_or(value);
        if !self.has_type(schema, value, pointer, out) || !self.is_allowed(schema, value, pointer, out) {
            return;
        }
        match value {
            Value::Object(map) => self.object(schema, map, pointer, out),
            Value::Array(items) => self.array(schema, items, pointer, out),
            Value::String(text) => self.text(schema, text, pointer, out),
            Value::Number(_) => self.number(schema, value, pointer, out),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        // Generated schemas nest references once or twice; the bound is for a circle of them.
        for _ in 0..16 {
            let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
            match target.and_then(|pointer| self.root.pointer(pointer)) {
                Some(next) => schema = next,
                None => break,
            }
        }
        schema
    }

    fn fail(&self, out: &mut Outcome, pointer: &str, finding: Finding) {
        out.bad.insert(pointer.into());
        out.findings.push(finding);
    }

    /// What interpolation made is a text; where the schema wants a number or a boolean, it is read as one.
    fn coerce(&self, schema: &Map<String, Value>, value: &Value, pointer: &str, out: &mut Outcome) -> Option<Value> {
        let Value::String(text) = value else {
            return None;
        };
        let types = words::types(schema);
        if types.is_empty() || types.contains(&"string") || !self.interpolated.made.contains(pointer) {
            return None;
        }
        let read = |kind: &&str| match *kind {
            "integer" => {
                text.parse::<u64>().ok().map(Value::from).or_else(|| text.parse::<i64>().ok().map(Value::from))
            }
            "number" => text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from),
            "boolean" => text.parse::<bool>().ok().map(Value::from),
            _ => None,
        };
        let new = types.iter().find_map(read)?;
        out.edits.push((pointer.into(), new.clone()));
        Some(new)
    }

    fn has_type(&self, schema: &Map<String, Value>, value: &Value, pointer: &str, out: &mut Outcome) -> bool {
        let types = words::types(schema);
        if types.is_empty() || types.iter().any(|kind| words::is(value, kind)) {
            return true;
        }
        if schema.contains_key(STAGE) {
            let finding =
                Finding::new("E306", self.document.value_place(pointer), "a stage must be a mapping with one key")
                    .help("such as: - filter: \"year > 2000\"");
            self.fail(out, pointer, finding);
            return false;
        }
        let format = schema.get("format").and_then(Value::as_str).unwrap_or("");
        if format == "secret" {
            self.secret(pointer, out);
            return false;
        }
        let message = format!(
            "wrong type for {}: expected {}, found {}",
            words::place_name(pointer),
            words::list(&types),
            words::describe(value)
        );
        let place = self.document.value_place(pointer);
        let finding = Finding::new("E101", place, message).maybe_help(words::type_help(&types, format, value));
        self.fail(out, pointer, finding);
        false
    }

    fn is_allowed(&self, schema: &Map<String, Value>, value: &Value, pointer: &str, out: &mut Outcome) -> bool {
        let allowed: Vec<&Value> = match (schema.get("const"), schema.get("enum").and_then(Value::as_array)) {
            (Some(only), _) => vec![only],
            (None, Some(several)) => several.iter().collect(),
            (None, None) => return true,
        };
        if allowed.contains(&value) {
            return true;
        }
        let finding = words::not_allowed(value, &allowed, pointer, self.document);
        self.fail(out, pointer, finding);
        false
    }

    fn object(
        &mut self,
        schema: &'a Map<String, Value>,
        map: &Map<String, Value>,
        pointer: &mut String,
        out: &mut Outcome,
    ) {
        let none = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object);
        let names = || properties.unwrap_or(&none).keys().map(String::as_str);
        let length = pointer.len();
        for (key, value) in map {
            if out.findings.len() > 2 * MOST {
                return;
            }
            pointer.push('/');
            pointer.push_str(&escape(key));
            let known = properties.and_then(|properties| properties.get(key));
            match (known, schema.get("additionalProperties")) {
                (Some(inner), _) => self.node(inner, value, pointer, out),
                (None, Some(Value::Bool(false))) => {
                    let suggested = suggest::nearest(key, names());
                    self.mask_misspelt(properties, suggested, pointer, out);
                    let help = match suggested {
                        None if names().next().is_none() => Some("nothing can be written here".into()),
                        _ => suggest::help(
                            key,
                            if schema.contains_key(STAGE) { "stages" } else { "fields" },
                            names().collect::<Vec<_>>(),
                        ),
                    };
                    let finding =
                        Finding::new("E102", self.document.key_place(pointer), format!("unknown field {key:?}"));
                    self.fail(out, pointer, finding.maybe_help(help));
                }
                (None, Some(inner @ Value::Object(_))) => self.node(inner, value, pointer, out),
                (None, _) => {}
            }
            pointer.truncate(length);
        }
        self.required(schema, map, pointer, out);
        self.size(schema, "Properties", map.len(), pointer, out);
    }

    /// `api_kye: hunter2` must not show its value in the report.
    fn mask_misspelt(
        &self,
        properties: Option<&'a Map<String, Value>>,
        suggested: Option<&str>,
        pointer: &str,
        out: &mut Outcome,
    ) {
        let meant = suggested.and_then(|name| properties?.get(name)).map(|schema| self.resolve(schema));
        if meant.is_some_and(words::is_secret) {
            out.literals.push(pointer.into());
        }
    }

    fn required(&self, schema: &Map<String, Value>, map: &Map<String, Value>, pointer: &str, out: &mut Outcome) {
        let names = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        for name in names.filter(|name| !map.contains_key(*name)) {
            let place = self.document.value_place(pointer);
            let finding = Finding::new("E104", place, format!("missing field {name:?}"));
            let meaning = schema.get("properties").and_then(|all| all.get(name)).and_then(|one| one.get("description"));
            let help = match (pointer.is_empty(), name, meaning.and_then(Value::as_str)) {
                (true, "version", _) => Some("add: version: 1".into()),
                (_, name, Some(meaning)) => Some(format!("{name}: {}", words::first_line(meaning))),
                _ => None,
            };
            out.findings.push(finding.maybe_help(help));
        }
    }

    fn array(&mut self, schema: &'a Map<String, Value>, items: &[Value], pointer: &mut String, out: &mut Outcome) {
        let prefix = schema.get("prefixItems").and_then(Value::as_array);
        let length = pointer.len();
        for (index, item) in items.iter().enumerate() {
            let inner = prefix.and_then(|prefix| prefix.get(index)).or_else(|| schema.get("items"));
            if let Some(inner) = inner {
                pointer.push_str(&format!("/{index}"));
                self.node(inner, item, pointer, out);
                pointer.truncate(length);
            }
        }
        self.size(schema, "Items", items.len(), pointer, out);
    }

    fn text(&self, schema: &Map<String, Value>, text: &str, pointer: &str, out: &mut Outcome) {
        if let Some(format) = schema.get("format").and_then(Value::as_str) {
            self.format(format, text, pointer, out);
        }
        self.size(schema, "Length", text.chars().count(), pointer, out);
        if let Some(pattern) = schema.get("pattern")
            && !jsonschema::is_valid(&serde_json::json!({ "pattern": pattern }), &Value::String(text.into()))
        {
            let shown = pattern.as_str().unwrap_or("");
            let message = format!("{} does not have the form required: {shown}", words::place_name(pointer));
            self.fail(out, pointer, Finding::new("E106", self.document.value_place(pointer), message));
        }
    }

    /// `minItems`, `maxLength` and their like.
    fn size(&self, schema: &Map<String, Value>, what: &str, size: usize, pointer: &str, out: &mut Outcome) {
        if schema.contains_key(STAGE) && size != 1 {
            let place = self.document.value_place(pointer);
            let finding = Finding::new("E306", place, format!("a stage must have exactly one key, this has {size}"))
                .help("begin each stage with a dash of its own");
            return self.fail(out, pointer, finding);
        }
        let bound = |side: &str| schema.get(&format!("{side}{what}")).and_then(Value::as_u64);
        let size = size as u64;
        let (side, limit) = match (bound("min"), bound("max")) {
            (Some(least), _) if size < least => ("at least", least),
            (_, Some(most)) if size > most => ("at most", most),
            _ => return,
        };
        let unit = match what {
            "Items" => "items",
            "Length" => "characters",
            _ => "fields",
        };
        let message = format!("{} must have {side} {limit} {unit}, has {size}", words::place_name(pointer));
        self.fail(out, pointer, Finding::new("E106", self.document.value_place(pointer), message));
    }

    fn number(&self, schema: &Map<String, Value>, value: &Value, pointer: &str, out: &mut Outcome) {
        let number = value.as_f64().unwrap_or(0.0);
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64).map(|limit| (limit, schema.get(name)));
        let (side, limit) = match (bound("minimum"), bound("maximum"), bound("exclusiveMinimum")) {
            (Some((least, shown)), _, _) if number < least => ("at least", shown),
            (_, Some((most, shown)), _) if number > most => ("at most", shown),
            (_, _, Some((least, shown))) if number <= least => ("more than", shown),
            _ => return,
        };
        let limit = limit.map(Value::to_string).unwrap_or_default();
        let message = format!("{} must be {side} {limit}, is {value}", words::place_name(pointer));
        self.fail(out, pointer, Finding::new("E106", self.document.value_place(pointer), message));
    }
}

//! The words of messages about a schema.

use serde_json::{Map, Value};

use crate::finding::Finding;
use crate::suggest;
use crate::yaml::{Document, unescape};

/// The types that a schema names; empty where it names none.
pub(super) fn types(schema: &Map<String, Value>) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

pub(super) fn is(value: &Value, kind: &str) -> bool {
    match (value, kind) {
        (Value::Null, "null")
        | (Value::Bool(_), "boolean")
        | (Value::String(_), "string")
        | (Value::Number(_), "number")
        | (Value::Array(_), "array")
        | (Value::Object(_), "object") => true,
        (Value::Number(number), "integer") => {
            // JSON Schema counts 1.0 among the integers; the typed read does not.
            number.is_u64() || number.is_i64()
        }
        _ => false,
    }
}

/// Whether a value could be meant for this alternative, going by its type alone.
pub(super) fn accepts(branch: &Value, value: &Value) -> bool {
    let Some(schema) = branch.as_object() else {
        return branch.as_bool() == Some(true);
    };
    let types = types(schema);
    if types.is_empty() {
        return match constants(&[branch]).as_slice() {
            [] => true,
            several => several.iter().any(|constant| describe(constant) == describe(value)),
        };
    }
    types.iter().any(|kind| is(value, kind))
}

/// The values that alternatives name one by one.
pub(super) fn constants<'a>(branches: &[&'a Value]) -> Vec<&'a Value> {
    let mut found = Vec::new();
    for branch in branches {
        found.extend(branch.get("const"));
        found.extend(branch.get("enum").and_then(Value::as_array).into_iter().flatten());
    }
    found
}

pub(super) fn is_constant(branch: &Value) -> bool {
    branch.get("const").is_some() || branch.get("enum").is_some()
}

pub(super) fn is_secret(schema: &Value) -> bool {
    let holds = |schema: &Value| schema.get("format").and_then(Value::as_str) == Some("secret");
    let branches = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
    holds(schema) || branches.is_some_and(|branches| branches.iter().any(holds))
}

pub(super) fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// `a text or a number`, from the words of JSON Schema; null goes unsaid.
pub(super) fn list(types: &[&str]) -> String {
    let words: Vec<&str> = types
        .iter()
        .filter_map(|kind| match *kind {
            "string" => Some("a text"),
            "integer" => Some("a whole number"),
            "number" => Some("a number"),
            "boolean" => Some("true or false"),
            "array" => Some("a list"),
            "object" => Some("a mapping"),
            _ => None,
        })
        .collect();
    match words.split_last() {
        None => "nothing".into(),
        Some((last, [])) => (*last).into(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

pub(super) fn type_help(types: &[&str], format: &str, value: &Value) -> Option<String> {
    let wants = |kind: &str| types.contains(&kind);
    match value {
        Value::String(text) if wants("integer") || wants("number") => {
            text.parse::<f64>().ok().map(|_| format!("remove the quotes: {text}"))
        }
        Value::String(text) if wants("boolean") => match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "true" => Some("write true".into()),
            "no" | "off" | "false" => Some("write false".into()),
            _ => None,
        },
        Value::String(text) if wants("array") && text.len() <= 40 => Some(format!("write a list: [{text}]")),
        Value::Number(number) if format == "duration" => Some(format!("write a unit, such as {number}s")),
        Value::Number(_) if format == "byte-size" => Some("write a whole number and a unit, such as 512MiB".into()),
        Value::Number(_) | Value::Bool(_) if wants("string") => Some(format!("quote it: \"{value}\"")),
        _ => None,
    }
}

/// `"level"`, `item 2 of "collections"`, or `the file`.
pub(super) fn place_name(pointer: &str) -> String {
    let tokens: Vec<String> = pointer.split('/').skip(1).map(unescape).collect();
    match tokens.as_slice() {
        [] => "the file".into(),
        [.., list, index] if index.bytes().all(|byte| byte.is_ascii_digit()) && !index.is_empty() => {
            let number = index.parse::<usize>().map_or_else(|_| index.clone(), |index| (index + 1).to_string());
            format!("item {number} of {list:?}")
        }
        [.., name] => format!("{name:?}"),
    }
}

pub(super) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("").trim_end_matches('.')
}

/// A value that is not among those allowed.
pub(super) fn not_allowed(value: &Value, allowed: &[&Value], pointer: &str, document: &Document) -> Finding {
    let shown = match value {
        Value::String(text) if text.chars().count() > 60 => format!("{:?}", text.chars().take(60).collect::<String>()),
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) | Value::Object(_) => describe(value).to_owned(),
        other => other.to_string(),
    };
    let texts: Vec<String> = allowed
        .iter()
        .filter(|value| !value.is_null())
        .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        .collect();
    let names: Vec<&str> = texts.iter().map(String::as_str).collect();
    let help = suggest::help(value.as_str().unwrap_or(""), "values", names.iter().copied());
    let message = format!("unknown value {shown} for {}", place_name(pointer));
    Finding::new("E105", document.value_place(pointer), message).maybe_help(help)
}

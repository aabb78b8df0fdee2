//! Whether what arrives can be kept by the target as it is: by a class that exists, or by one that its version can make. Decided
//! before the first change, and again when a class was made.

use restow_core::{EngineError, ExitClass, Result};
use serde_json::{Value, json};

use super::super::class::VectorIndex;
use super::super::client::Client;
use super::super::config::{Mode, SinkOptions};
use super::super::lengths::{self, Lengths};
use super::definition::{Change, changes, foretold};
use super::mapping::{Mapping, Use};
use super::schema;

/// Objects of the target that are looked at for the length of their vectors, in each tenant.
const SAMPLE: u32 = 20;
/// Tenants that are looked at.
const TENANTS: usize = 200;

/// Refuses what the mode does not allow, and what an existing class cannot hold. What differs without harm comes back as notes.
pub async fn check_existing(
    client: &Client,
    mapping: &Mapping,
    existing: &Value,
    objects: u64,
    options: &SinkOptions,
) -> Result<Vec<String>> {
    match options.mode {
        Mode::Create => Err(EngineError::new(
            ExitClass::Refused,
            format!("{}: collection {:?} exists already, with {objects} objects", client.name(), mapping.class),
        )
        .with_hint(format!(
            "restore under another name with `rename: {{ {}: Name }}`, add to it with `mode: append`, or replace it with `mode: drop`; nothing was changed",
            mapping.dataset
        ))),
        Mode::Drop => check_new(client, mapping, options),
        Mode::Append => {
            let added = missing_properties(mapping, existing);
            let mut notes = forecast(client, mapping, &json!({ "properties": added }), options)?;
            let vectors = VectorIndex::of(existing);
            let found = if objects == 0 { Lengths::new() } else { lengths_of(client, mapping, existing, &vectors).await? };
            notes.extend(judge(&client.name(), mapping, existing, (&vectors, &found), options)?);
            Ok(notes)
        }
    }
}

/// Refuses a class of which the version of the server is known to drop something that matters.
pub fn check_new(client: &Client, mapping: &Mapping, options: &SinkOptions) -> Result<Vec<String>> {
    let mut wanted = mapping.definition.clone();
    if let Some(properties) = wanted.get_mut("properties").and_then(Value::as_array_mut) {
        properties.extend(mapping.references.iter().cloned());
    }
    forecast(client, mapping, &wanted, options)
}

fn forecast(client: &Client, mapping: &Mapping, wanted: &Value, options: &SinkOptions) -> Result<Vec<String>> {
    kept(client, mapping, foretold(client.server(), wanted), options, "nothing was changed")
}

/// The properties that a class does not have yet. A server can add some and remove none.
fn missing_properties(mapping: &Mapping, existing: &Value) -> Vec<Value> {
    let name = |property: &Value| property.get("name").and_then(Value::as_str).map(str::to_owned);
    let list = |class: &Value| class.get("properties").and_then(Value::as_array).cloned().unwrap_or_default();
    let there: Vec<_> = list(existing).iter().map(name).collect();
    let wanted = list(&mapping.definition).into_iter().chain(mapping.references.iter().cloned());
    wanted.filter(|property| !there.contains(&name(property))).collect()
}

/// Refuses a class that was not made as it was asked for.
pub fn check_made(
    client: &Client,
    mapping: &Mapping,
    wanted: &Value,
    made: &Value,
    options: &SinkOptions,
) -> Result<Vec<String>> {
    kept(client, mapping, changes(wanted, made), options, "what was made is removed again")
}

fn kept(
    client: &Client,
    mapping: &Mapping,
    changes: Vec<Change>,
    options: &SinkOptions,
    safe: &str,
) -> Result<Vec<String>> {
    let class = &mapping.class;
    let (mut notes, mut lost) = (Vec::new(), Vec::new());
    for change in changes {
        match change.harmless() {
            Some(why) => notes.push(format!("{class}: the server does not keep {}: {why}", change.shown())),
            None if change.is_accepted(&options.accept) => {
                notes.push(format!("{class}: the server does not keep {}, as `accept` allows", change.shown()));
            }
            None => lost.push(change),
        }
    }
    let Some(first) = lost.first() else { return Ok(notes) };
    let message = format!(
        "{}: version {} does not keep all of collection {class:?}: {}",
        client.name(),
        client.server().version,
        lost.iter().map(Change::shown).collect::<Vec<_>>().join("; ")
    );
    Err(EngineError::new(ExitClass::Refused, message).with_hint(format!(
        "restore to a newer server, drop the columns concerned in a transform, or go on without it: `accept: [{}]` in the sink; {safe}",
        first.path
    )))
}

/// The lengths of the vectors that are there, of the tenants that get objects.
async fn lengths_of(client: &Client, mapping: &Mapping, existing: &Value, vectors: &[VectorIndex]) -> Result<Lengths> {
    let mut found = Lengths::new();
    if mapping.lengths.is_empty() || schema::has_tenants(existing) != mapping.has_tenants {
        return Ok(found);
    }
    if !mapping.has_tenants {
        lengths::of_first(client, &mapping.class, vectors, None, SAMPLE, &mut found).await?;
        return Ok(found);
    }
    let there = schema::tenants(client, &mapping.class).await?;
    let asked = |name: &str| mapping.tenants.is_empty() || mapping.tenants.iter().any(|(tenant, _)| tenant == name);
    for tenant in there.iter().filter(|tenant| tenant.is_active() && asked(&tenant.name)).take(TENANTS) {
        lengths::of_first(client, &mapping.class, vectors, Some(&tenant.name), SAMPLE, &mut found).await?;
    }
    Ok(found)
}

/// Whether the rows can be added to a class without loss. Pure.
fn judge(
    server: &str,
    mapping: &Mapping,
    existing: &Value,
    (vectors, lengths): (&[VectorIndex], &Lengths),
    options: &SinkOptions,
) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let tenancy = schema::has_tenants(existing);
    if tenancy != mapping.has_tenants {
        let word = |has: bool| if has { "tenants" } else { "no tenants" };
        problems.push(format!("it has {}, and the rows have {}", word(tenancy), word(mapping.has_tenants)));
    }
    problems.extend(other_types(mapping, existing));
    problems.extend(other_vectors(mapping, vectors, lengths));
    let (mut notes, mut paths) = (Vec::new(), Vec::new());
    for change in other_settings(mapping, existing) {
        let (wanted, there) = (change.wanted.to_string(), change.made.to_string());
        let text = format!("its {} is {there}, and the source has {wanted}", change.path);
        if !changes_vectors(&change.path) {
            notes.push(format!("{}: {text}: it stays as it is", mapping.class));
        } else if change.is_accepted(&options.accept) {
            notes.push(format!("{}: {text}, as `accept` allows", mapping.class));
        } else {
            problems.push(text);
            paths.push(change.path);
        }
    }
    if problems.is_empty() {
        return Ok(notes);
    }
    let message = format!(
        "{server}: collection {:?} cannot take dataset {:?}: {}",
        mapping.class,
        mapping.dataset,
        problems.join("; ")
    );
    let mut hint =
        "cast, rename or drop columns in a transform, or restore under another name; nothing was changed".to_owned();
    if paths.len() == problems.len() {
        hint = format!(
            "restore under another name, or say that it is meant: `accept: [{}]` in the sink; nothing was changed",
            paths.join(", ")
        );
    }
    Err(EngineError::new(ExitClass::Refused, message).with_hint(hint))
}

/// Properties that are there with another type.
fn other_types(mapping: &Mapping, existing: &Value) -> Vec<String> {
    let properties = |class: &Value| class.get("properties").and_then(Value::as_array).cloned().unwrap_or_default();
    let known = properties(existing);
    let mut problems = Vec::new();
    for property in properties(&mapping.definition).iter().chain(&mapping.references) {
        let name = property.get("name").and_then(Value::as_str).unwrap_or_default();
        let Some(there) = known.iter().find(|known| known.get("name").and_then(Value::as_str) == Some(name)) else {
            continue;
        };
        let (wanted, has) = (property.get("dataType"), there.get("dataType"));
        if wanted != has {
            let shown = |kind: Option<&Value>| kind.map_or_else(|| "nothing".to_owned(), Value::to_string);
            problems.push(format!("property {name:?} is {}, and the rows have {}", shown(has), shown(wanted)));
        }
    }
    problems
}

/// Vectors that are not there, or of another kind or length.
fn other_vectors(mapping: &Mapping, vectors: &[VectorIndex], lengths: &Lengths) -> Vec<String> {
    let title =
        |name: Option<&str>| name.map_or_else(|| "unnamed vector".to_owned(), |name| format!("vector {name:?}"));
    let has: Vec<String> = vectors.iter().map(|vector| title(vector.name.as_deref())).collect();
    let mut problems = Vec::new();
    for used in &mapping.uses {
        let Use::Vector { name, multi } = used else { continue };
        let title = title(name.as_deref());
        let Some(index) = vectors.iter().position(|vector| vector.name == *name) else {
            problems.push(format!("it has no {title}, it has {}", has.join(", ")));
            continue;
        };
        if vectors.get(index).is_some_and(|vector| vector.multi != *multi) {
            let word = |multi: bool| if multi { "several vectors a value" } else { "one vector a value" };
            problems.push(format!("its {title} has {}, and the rows have {}", word(!multi), word(*multi)));
            continue;
        }
        let (Some(there), Some(length)) = (lengths.get(&index), mapping.lengths.get(name)) else { continue };
        if !there.contains(length) {
            let there: Vec<String> = there.iter().map(i32::to_string).collect();
            let there = there.join(" or ");
            problems.push(format!("its {title} has the length {there}, and the rows have the length {length}"));
        }
    }
    problems
}

/// Settings that the class has otherwise than the one from which the rows come. Without such a class nobody has said anything.
fn other_settings(mapping: &Mapping, existing: &Value) -> Vec<Change> {
    if !mapping.is_described {
        return Vec::new();
    }
    let found = changes(&mapping.definition, existing).into_iter();
    // What is missing is added, or a problem of its own; types are one too.
    found
        .filter(|change| !change.made.is_null() && !change.path.ends_with(".dataType") && change.path != "class")
        .collect()
}

/// Whether a setting says what the numbers of a vector mean.
fn changes_vectors(path: &str) -> bool {
    let parts: Vec<&str> = path.split('.').collect();
    let rest = match parts.as_slice() {
        ["vectorConfig", _, rest @ ..] => rest,
        rest => rest,
    };
    matches!(rest, ["vectorizer", ..] | ["vectorIndexConfig", .., "distance"])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn options(accept: &[&str]) -> SinkOptions {
        serde_json::from_value(json!({ "url": "http://h", "mode": "append", "accept": accept })).expect("options")
    }

    fn mapping(definition: Value, uses: Vec<Use>, lengths: &[(Option<&str>, i32)]) -> Mapping {
        let lengths = lengths.iter().map(|(name, length)| (name.map(str::to_owned), *length));
        Mapping {
            dataset: "Doc".to_owned(),
            class: "Doc".to_owned(),
            definition,
            references: Vec::new(),
            uses,
            has_tenants: false,
            tenants: Vec::new(),
            notes: Vec::new(),
            lengths: lengths.collect::<BTreeMap<_, _>>(),
            is_described: true,
        }
    }

    fn judged(mapping: &Mapping, existing: &Value, lengths: &Lengths, accept: &[&str]) -> Result<Vec<String>, String> {
        let found = judge("s", mapping, existing, (&VectorIndex::of(existing), lengths), &options(accept));
        found.map_err(|error| format!("{} | {}", error.message(), error.hint().unwrap_or_default()))
    }

    fn unnamed() -> Use {
        Use::Vector { name: None, multi: false }
    }

    #[test]
    fn another_metric_is_refused_and_can_be_accepted() {
        let class = |distance: &str, ef: u32| json!({ "class": "Doc", "vectorizer": "none", "vectorIndexType": "hnsw", "vectorIndexConfig": { "distance": distance, "ef": ef } });
        let rows = mapping(class("cosine", 10), vec![unnamed()], &[]);
        assert_eq!(judged(&rows, &class("cosine", 10), &Lengths::new(), &[]), Ok(Vec::new()));
        let error = judged(&rows, &class("l2-squared", 20), &Lengths::new(), &[]).expect_err("a refusal");
        assert!(
            error.contains("vectorIndexConfig.distance is \"l2-squared\", and the source has \"cosine\""),
            "{error}"
        );
        assert!(error.contains("accept: [vectorIndexConfig.distance]") && !error.contains(".ef"), "{error}");
        let notes = judged(&rows, &class("l2-squared", 20), &Lengths::new(), &["vectorIndexConfig.distance"]);
        assert_eq!(notes.expect("accepted").len(), 2);
    }

    #[test]
    fn another_vectorizer_is_refused_for_named_vectors_too() {
        let class = |vectorizer: Value| json!({ "vectorConfig": { "a": { "vectorizer": vectorizer, "vectorIndexType": "hnsw" } } });
        let named = Use::Vector { name: Some("a".to_owned()), multi: false };
        let rows = mapping(class(json!({ "text2vec-openai": { "model": "x" } })), vec![named], &[]);
        let error = judged(&rows, &class(json!({ "text2vec-openai": { "model": "y" } })), &Lengths::new(), &[]);
        assert!(error.expect_err("a refusal").contains("vectorConfig.a.vectorizer.text2vec-openai.model is \"y\""));
    }

    #[test]
    fn lengths_and_kinds_of_vectors() {
        let existing = json!({ "vectorConfig": { "a": {}, "m": { "vectorIndexConfig": { "multivector": { "enabled": true } } } } });
        let lengths = Lengths::from([(0, vec![8]), (1, vec![128])]);
        let named = |name: &str, multi| Use::Vector { name: Some(name.to_owned()), multi };
        let of = |uses: Vec<Use>, length| {
            judged(&mapping(json!({}), uses, &[(Some("a"), length)]), &existing, &lengths, &[])
        };
        assert_eq!(of(vec![named("a", false), named("m", true)], 8), Ok(Vec::new()));
        let error = of(vec![named("a", false)], 7).expect_err("a refusal");
        assert!(error.contains("vector \"a\" has the length 8, and the rows have the length 7"), "{error}");
        let error = of(vec![named("m", false), named("b", false), unnamed()], 8).expect_err("a refusal");
        assert!(error.contains("\"m\" has several vectors a value, and the rows have one"), "{error}");
        assert!(error.contains("it has no vector \"b\", it has vector \"a\", vector \"m\""), "{error}");
        assert!(error.contains("it has no unnamed vector"), "{error}");
    }
}

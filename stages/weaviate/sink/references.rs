//! Cross references: they follow the objects, because a reference is checked against what it names.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use restow_core::stage::{ItemDone, Reject};
use restow_core::{EngineError, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::client::{Client, Fault};
use super::convert::Object;

/// References of one request.
const AT_ONCE: usize = 1_000;
/// Objects whose references are emptied at once.
const RESETS_AT_ONCE: usize = 8;
/// What every reference begins with.
pub const BEACON: &str = "weaviate://localhost/";

/// The references of one object, as they lie in the run state, a line each.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    tenant: String,
    id: String,
    property: String,
    /// As the source has it.
    list: Box<RawValue>,
}

#[derive(Deserialize)]
struct Reference {
    beacon: String,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: AnswerResult,
}

#[derive(Deserialize, Default)]
struct AnswerResult {
    #[serde(default)]
    status: String,
    #[serde(default)]
    errors: Value,
}

/// The lines of an object's references.
pub fn lines_of(object: &Object, out: &mut Vec<u8>) -> Result<()> {
    for (property, list) in &object.references {
        let line = Line {
            tenant: object.tenant.clone(),
            id: object.id.hyphenated().to_string(),
            property: property.clone(),
            list: list.clone(),
        };
        serde_json::to_writer(&mut *out, &line).map_err(|error| EngineError::failed(format!("references: {error}")))?;
        out.push(b'\n');
    }
    Ok(())
}

/// Writes the references of one split. `reset` empties them first: where an earlier attempt may have written some, or where objects
/// had some before, they would be doubled.
pub async fn write(
    client: &Client,
    class: &str,
    lines: &[u8],
    rename: &BTreeMap<String, String>,
    reset: bool,
) -> Result<ItemDone> {
    let about = |fault: Fault| fault.about(format!("{}: writing references of {class:?}", client.name()));
    let lines: Vec<Line> = serde_json::Deserializer::from_slice(lines)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| EngineError::failed(format!("the references in the run state cannot be read: {error}")))?;
    if reset {
        empty(client, class, &lines).await.map_err(about)?;
    }
    let wire = wire_of(class, &lines, rename)?;
    let mut done = ItemDone::default();
    for part in wire.chunks(AT_ONCE) {
        let body = client.send(Method::POST, "/batch/references", &json!(part)).await.map_err(about)?;
        let answers: Vec<Answer> = serde_json::from_slice(&body)
            .map_err(|error| about(Fault::Refused(format!("unexpected answer: {error}"))))?;
        if answers.len() != part.len() {
            return Err(about(Fault::Refused(format!(
                "{} references were sent, and {} were answered for",
                part.len(),
                answers.len()
            ))));
        }
        for (answer, reference) in answers.iter().zip(part) {
            if answer.result.status == "SUCCESS" {
                done.done += 1;
                continue;
            }
            let reason = answer
                .result
                .errors
                .pointer("/error/0/message")
                .and_then(Value::as_str)
                .unwrap_or("refused without a reason");
            let place =
                reference.get("from").and_then(Value::as_str).unwrap_or_default().trim_start_matches(BEACON).to_owned();
            done.rejects.push(Reject { place, reason: reason.to_owned(), row: Some(reference.to_string()) });
        }
    }
    Ok(done)
}

/// Takes the properties that have references off their objects. Not `PUT .. []`: that leaves an empty list behind, to which the server
/// then adds nothing ("is present, but not a ref"), and so do deletions one by one.
async fn empty(client: &Client, class: &str, lines: &[Line]) -> Result<(), Fault> {
    let mut objects: BTreeMap<(&str, &str), Map<String, Value>> = BTreeMap::new();
    for line in lines {
        objects.entry((&line.tenant, &line.id)).or_default().insert(line.property.clone(), Value::Null);
    }
    let requests: Vec<(String, Value)> = objects
        .into_iter()
        .map(|((tenant, id), properties)| {
            let mut body = json!({ "class": class, "id": id, "properties": properties });
            if let (false, Some(map)) = (tenant.is_empty(), body.as_object_mut()) {
                map.insert("tenant".to_owned(), json!(tenant));
            }
            (format!("/objects/{class}/{id}"), body)
        })
        .collect();
    stream::iter(requests)
        .map(|(path, body)| async move { client.send(Method::PATCH, &path, &body).await })
        .buffer_unordered(RESETS_AT_ONCE)
        .try_for_each(|_| async { Ok(()) })
        .await
}

/// The references one by one, as the server takes them.
fn wire_of(class: &str, lines: &[Line], rename: &BTreeMap<String, String>) -> Result<Vec<Value>> {
    let mut wire = Vec::new();
    for line in lines {
        let list: Vec<Reference> = serde_json::from_str(line.list.get()).map_err(|error| {
            EngineError::failed(format!(
                "object {}: property {:?} holds no references: {error}",
                line.id, line.property
            ))
        })?;
        for reference in list {
            let from = format!("{BEACON}{class}/{}/{}", line.id, line.property);
            let mut value = json!({ "from": from, "to": renamed(&reference.beacon, rename) });
            if let (false, Some(map)) = (line.tenant.is_empty(), value.as_object_mut()) {
                map.insert("tenant".to_owned(), json!(line.tenant));
            }
            wire.push(value);
        }
    }
    Ok(wire)
}

/// The class in a beacon under its new name. Older beacons name no class.
fn renamed(beacon: &str, rename: &BTreeMap<String, String>) -> String {
    let parts = beacon.strip_prefix(BEACON).and_then(|rest| rest.split_once('/'));
    match parts.and_then(|(class, id)| Some((rename.get(class)?, id))) {
        Some((class, id)) => format!("{BEACON}{class}/{id}"),
        None => beacon.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_follow_their_class() {
        let rename = BTreeMap::from([("Person".to_owned(), "Human".to_owned())]);
        assert_eq!(renamed("weaviate://localhost/Person/1", &rename), "weaviate://localhost/Human/1");
        assert_eq!(renamed("weaviate://localhost/Org/1", &rename), "weaviate://localhost/Org/1");
        assert_eq!(renamed("weaviate://localhost/1", &rename), "weaviate://localhost/1");
    }
}

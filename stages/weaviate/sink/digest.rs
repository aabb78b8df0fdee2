//! What an object is, as a digest that is the same for what was sent and for what the server has made of it: dates count by their
//! moment, coordinates as 32-bit floats, telephone numbers by what was entered, references in any order.

use std::collections::BTreeMap;

use restow_core::{EngineError, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::convert::{Datum, Object};
use super::references::BEACON;

/// What a class must be known by to compare its objects.
#[derive(Debug, Clone, Default)]
pub struct Canon {
    /// Properties as the class declares them, by name.
    properties: BTreeMap<String, Value>,
    /// Collections under their new names: references follow.
    renames: BTreeMap<String, String>,
    /// Whether vectors that were not sent may be there: a module makes them.
    makes_vectors: bool,
}

/// What a run leaves of one object for its verification, a line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Tenant; empty where there is none.
    pub tenant: String,
    /// The id as a number.
    pub id: u128,
    /// Digest of properties and vectors.
    pub object: String,
    /// Digest of the references.
    pub references: String,
    /// The properties that were sent, where the object keeps others too (merge).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Vec<String>>,
    /// The vectors that were sent, where the object may have others too; the unnamed one is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vectors: Option<Vec<String>>,
}

impl Canon {
    /// For a class as the target has it.
    pub fn new(class: &Value, renames: BTreeMap<String, String>) -> Self {
        let named = |property: &Value| {
            let name = property.get("name").and_then(Value::as_str)?.to_owned();
            Some((name, property.clone()))
        };
        let properties = class.get("properties").and_then(Value::as_array).into_iter().flatten().filter_map(named);
        let own = class.get("vectorizer").and_then(Value::as_str);
        let of_names = class.get("vectorConfig").and_then(Value::as_object).into_iter().flatten();
        let mut modules: Vec<&str> = own.into_iter().collect();
        modules.extend(
            of_names
                .filter_map(|(_, config)| config.get("vectorizer")?.as_object())
                .flat_map(|vectorizer| vectorizer.keys().map(String::as_str)),
        );
        let makes_vectors = modules.iter().any(|module| !matches!(*module, "none" | ""));
        Self { properties: properties.collect(), renames, makes_vectors }
    }

    /// The line of an object that was sent. `merged` says that what it lacks stays at the target.
    pub fn sent(&self, object: &Object, merged: bool) -> Line {
        let names = || {
            let properties = object.properties.iter().map(|(name, _)| name.clone());
            properties.chain(object.references.iter().map(|(name, _)| name.clone())).collect()
        };
        let vectors = || object.vectors.iter().map(|(name, ..)| name.clone().unwrap_or_default()).collect();
        let mut line = Line {
            tenant: object.tenant.clone(),
            id: object.id.as_u128(),
            object: String::new(),
            references: String::new(),
            properties: merged.then(names),
            vectors: (merged || self.makes_vectors).then(vectors),
        };
        (line.object, line.references) = self.digests(object, &line);
        line
    }

    /// Whether an object of the target is what was sent: in itself, and in its references.
    pub fn is(&self, object: &Object, line: &Line) -> (bool, bool) {
        let (found, references) = self.digests(object, line);
        (found == line.object, references == line.references)
    }

    /// Digests of what the line says that was sent.
    fn digests(&self, object: &Object, line: &Line) -> (String, String) {
        let wanted = |name: &str| line.properties.as_ref().is_none_or(|names| names.iter().any(|known| known == name));
        let mut hasher = Sha256::new();
        let mut properties: Vec<&(String, Datum)> = object.properties.iter().filter(|(name, _)| wanted(name)).collect();
        properties.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, datum) in properties {
            let value = self.value(name, datum);
            if !value.is_null() {
                put(&mut hasher, name.as_bytes());
                put(&mut hasher, value.to_string().as_bytes());
            }
        }
        put(&mut hasher, b"vectors");
        let mut vectors: Vec<_> = object.vectors.iter().collect();
        vectors.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, bytes, length) in vectors {
            let name = name.as_deref().unwrap_or_default();
            if line.vectors.as_ref().is_none_or(|names| names.iter().any(|known| known == name)) {
                put(&mut hasher, name.as_bytes());
                put(&mut hasher, &length.unwrap_or(0).to_le_bytes());
                put(&mut hasher, bytes);
            }
        }
        let mut references = Sha256::new();
        let mut lists: Vec<_> = object.references.iter().filter(|(name, _)| wanted(name)).collect();
        lists.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, list) in lists {
            let targets = self.targets(name, list.get());
            if !targets.is_empty() {
                put(&mut references, name.as_bytes());
                targets.iter().for_each(|target| put(&mut references, target.as_bytes()));
            }
        }
        (hex(&hasher), hex(&references))
    }

    /// What a property says, in one form for each meaning.
    fn value(&self, name: &str, datum: &Datum) -> Value {
        let property = self.properties.get(name);
        let one = |text: &str| leaf(property, &json!(text));
        match datum {
            Datum::Text(text) => one(text),
            Datum::Int(value) => number(*value as f64),
            Datum::Number(value) => number(*value),
            Datum::Bool(value) => json!(value),
            Datum::Texts(values) => Value::Array(values.iter().map(|text| one(text)).collect()),
            Datum::Ints(values) => Value::Array(values.iter().map(|value| number(*value as f64)).collect()),
            Datum::Numbers(values) => Value::Array(values.iter().map(|value| number(*value)).collect()),
            Datum::Bools(values) => json!(values),
            Datum::Json(text) => match serde_json::from_str::<Value>(text.get()) {
                Ok(value) => leaf(property, &value),
                Err(_) => json!(text.get()),
            },
        }
    }

    /// Where the references of a property lead, in the order of the text. A property of one collection needs no name of it, and
    /// older beacons have none.
    fn targets(&self, name: &str, list: &str) -> Vec<String> {
        #[derive(Deserialize)]
        struct Reference {
            beacon: String,
        }
        let Ok(list) = serde_json::from_str::<Vec<Reference>>(list) else { return vec![list.to_owned()] };
        let declared = self.properties.get(name).and_then(|property| property.get("dataType")?.as_array());
        let is_single = declared.is_some_and(|classes| classes.len() == 1);
        let one = |reference: Reference| {
            let target = reference.beacon.strip_prefix(BEACON).unwrap_or(&reference.beacon);
            match target.split_once('/') {
                Some((_, id)) if is_single => id.to_lowercase(),
                Some((class, id)) => {
                    format!("{}/{}", self.renames.get(class).map_or(class, String::as_str), id.to_lowercase())
                }
                None => target.to_lowercase(),
            }
        };
        let mut targets: Vec<String> = list.into_iter().map(one).collect();
        targets.sort_unstable();
        targets
    }
}

/// A value by the type that a property (or a part of one) declares.
fn leaf(property: Option<&Value>, value: &Value) -> Value {
    let data_type = property.and_then(|property| property.pointer("/dataType/0")?.as_str()).unwrap_or_default();
    match (data_type.trim_end_matches("[]"), value) {
        (_, Value::Array(items)) => Value::Array(items.iter().map(|item| leaf(property, item)).collect()),
        (_, Value::Number(value)) => number(value.as_f64().unwrap_or_default()),
        // Whatever went in, a digest of it comes out.
        ("blobHash", _) => Value::Null,
        ("date", Value::String(text)) => chrono::DateTime::parse_from_rfc3339(text)
            .map_or_else(|_| json!(text), |moment| json!([moment.timestamp(), moment.timestamp_subsec_nanos()])),
        ("uuid", Value::String(text)) => {
            Uuid::try_parse(text).map_or_else(|_| json!(text), |id| json!(id.hyphenated().to_string()))
        }
        ("geoCoordinates", Value::Object(map)) => {
            let part = |key: &str| map.get(key).and_then(Value::as_f64).unwrap_or_default() as f32;
            json!([part("latitude").to_bits(), part("longitude").to_bits()])
        }
        ("phoneNumber", Value::Object(map)) => {
            let part = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default();
            json!([part("input"), part("defaultCountry").to_lowercase()])
        }
        (_, Value::Object(map)) => nested(property, map),
        (_, value) => value.clone(),
    }
}

/// The parts of an object, in the order of their names.
fn nested(property: Option<&Value>, map: &Map<String, Value>) -> Value {
    let declared = property.and_then(|property| property.get("nestedProperties")?.as_array());
    let of =
        |name: &str| declared.into_iter().flatten().find(|part| part.get("name").and_then(Value::as_str) == Some(name));
    let parts: BTreeMap<&String, Value> = map.iter().map(|(name, value)| (name, leaf(of(name), value))).collect();
    json!(parts)
}

/// Whole numbers and others, zero and minus zero are the same to the server.
fn number(value: f64) -> Value {
    json!(format!("{:016x}", (value + 0.0).to_bits()))
}

/// With its length, so that no two sequences give the same bytes.
fn put(hasher: &mut Sha256, bytes: &[u8]) {
    hasher.update((bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

/// 128 bits are enough: nobody makes these objects to be mistaken for each other.
fn hex(hasher: &Sha256) -> String {
    hasher.clone().finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Lines as they lie in the run state.
///
/// # Errors
/// A line cannot be written.
pub fn to_bytes(lines: &[Line]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut bytes, line).map_err(|error| EngineError::failed(format!("digests: {error}")))?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// Lines of the run state.
///
/// # Errors
/// They have another form.
pub fn from_bytes(bytes: &[u8]) -> Result<Vec<Line>> {
    let lines = serde_json::Deserializer::from_slice(bytes).into_iter().collect::<Result<_, _>>();
    lines.map_err(|error| EngineError::failed(format!("the digests in the run state cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::value::RawValue;

    use super::*;

    fn class() -> Value {
        json!({ "class": "Doc", "properties": [
            { "name": "when", "dataType": ["date"] }, { "name": "place", "dataType": ["geoCoordinates"] },
            { "name": "call", "dataType": ["phoneNumber"] }, { "name": "to", "dataType": ["Doc"] },
            { "name": "any", "dataType": ["Doc", "Other"] },
            { "name": "deep", "dataType": ["object"], "nestedProperties": [{ "name": "day", "dataType": ["date"] }] },
        ]})
    }

    fn raw(value: &Value) -> Box<RawValue> {
        RawValue::from_string(value.to_string()).expect("JSON")
    }

    fn object(properties: &[(&str, Datum)]) -> Object {
        let properties = properties.iter().map(|(name, datum)| ((*name).to_owned(), datum.clone())).collect();
        Object { properties, ..Object::default() }
    }

    fn same(sent: &Object, found: &Object) -> (bool, bool) {
        let canon = Canon::new(&class(), BTreeMap::from([("Old".to_owned(), "Other".to_owned())]));
        canon.is(found, &canon.sent(sent, false))
    }

    #[test]
    fn what_means_the_same_is_the_same() {
        let text = |text: &str| Datum::Text(text.to_owned());
        let pairs = [
            ("when", text("2024-01-01T01:00:00+01:00"), text("2024-01-01T00:00:00Z")),
            (
                "place",
                Datum::Json(raw(&json!({ "latitude": 1.100_000_000_01, "longitude": 2 }))),
                Datum::Json(raw(&json!({ "longitude": 2.0, "latitude": 1.1 }))),
            ),
            (
                "call",
                Datum::Json(raw(&json!({ "input": "030", "defaultCountry": "DE" }))),
                Datum::Json(raw(&json!({ "input": "030", "defaultCountry": "de", "valid": true }))),
            ),
            (
                "deep",
                Datum::Json(raw(&json!({ "b": 1, "day": "2024-01-01T00:00:00.0Z" }))),
                Datum::Json(raw(&json!({ "day": "2024-01-01T00:00:00Z", "b": 1.0 }))),
            ),
            ("n", Datum::Int(3), Datum::Number(3.0)),
            ("zero", Datum::Number(-0.0), Datum::Number(0.0)),
        ];
        for (name, sent, found) in pairs {
            assert_eq!(same(&object(&[(name, sent)]), &object(&[(name, found)])), (true, true), "{name}");
        }
    }

    #[test]
    fn what_differs_differs() {
        let text = |text: &str| Datum::Text(text.to_owned());
        let sent = object(&[("title", text("a")), ("n", Datum::Int(1))]);
        for found in [
            object(&[("title", text("a"))]),
            object(&[("title", text("b")), ("n", Datum::Int(1))]),
            object(&[("title", text("a")), ("n", Datum::Int(2))]),
            object(&[("title", text("a")), ("n", Datum::Int(1)), ("more", text(""))]),
            Object { vectors: vec![(None, Bytes::from_static(&[0; 8]), None)], ..sent.clone() },
        ] {
            assert_eq!(same(&sent, &found), (false, true), "{found:?}");
        }
    }

    #[test]
    fn references_follow_their_class_and_are_counted() {
        let with = |name: &str, beacons: &[&str]| {
            let list: Vec<Value> =
                beacons.iter().map(|beacon| json!({ "beacon": format!("{BEACON}{beacon}") })).collect();
            Object { references: vec![(name.to_owned(), raw(&json!(list)))], ..Object::default() }
        };
        assert_eq!(same(&with("to", &["Doc/1", "2"]), &with("to", &["Doc/2", "Doc/1"])), (true, true));
        assert_eq!(same(&with("any", &["Old/1"]), &with("any", &["Other/1"])), (true, true));
        assert_eq!(same(&with("to", &["Doc/1"]), &with("to", &["Doc/1", "Doc/1"])), (true, false));
        assert_eq!(same(&with("to", &[]), &Object::default()), (true, true));
    }

    #[test]
    fn a_merged_object_is_compared_in_what_was_sent() {
        let canon = Canon::new(&class(), BTreeMap::new());
        let sent = object(&[("n", Datum::Int(1))]);
        let found = object(&[("n", Datum::Int(1)), ("kept", Datum::Bool(true))]);
        assert_eq!(canon.is(&found, &canon.sent(&sent, true)), (true, true));
        assert_eq!(canon.is(&found, &canon.sent(&sent, false)), (false, true));
    }
}

//! The JSON Schema (2020-12) of a pipeline file, from the Rust types and the catalogue.

use std::fmt;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::catalogue::{Catalogue, Kind};
use crate::pipeline::{Missing, OnError, Retention, Verify};
use crate::schedule::ScheduleOptions;
use crate::units::{ByteSize, HumanDuration};

/// Marks the mapping of one kind of component, for messages.
pub(crate) const COMPONENT: &str = "x-restow-component";
/// Marks the mapping of a stage, for messages.
pub(crate) const STAGE: &str = "x-restow-stage";

/// Most stages of a pipeline.
pub(crate) const MAX_STAGES: usize = 200;

/// The schema of a pipeline file with the components of a catalogue.
pub fn pipeline_schema(catalogue: &Catalogue) -> Value {
    let mut definitions = Map::new();
    for kind in Kind::ALL {
        let component = component_schema(catalogue, kind, &mut definitions);
        definitions.insert(kind.as_str().into(), component);
    }
    let properties = properties(&mut definitions);
    definitions.insert("stage".into(), stage_schema());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "restow pipeline",
        "description": "One chain of stages from a source to a sink.",
        "type": "object",
        "properties": properties,
        "required": ["version", "stages"],
        "additionalProperties": false,
        "$defs": definitions,
    })
}

/// The schema of the options of one component, complete in itself.
pub fn component_options_schema(catalogue: &Catalogue, kind: Kind, name: &str) -> Option<Value> {
    catalogue.get(kind, name).map(|component| component.schema.clone().to_value())
}

/// The JSON Schema of a type, for options that are read and never written.
pub fn schema_of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_deserialize().into_generator().into_root_schema_for::<T>()
}

fn properties(definitions: &mut Map<String, Value>) -> Value {
    json!({
        "version": { "description": "Version of the file format: 1.", "type": "integer", "const": 1 },
        "name": {
            "description": "Name of the pipeline. Default: the file's name without its ending.",
            "type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        },
        "description": { "description": "What it is for, in words.", "type": "string" },
        "vars": {
            "description": "Variables for ${var:name}, with their defaults; null means that --var must give it.",
            "type": "object",
            "additionalProperties": { "type": ["string", "number", "boolean", "null"] },
        },
        "connections": {
            "description": "How to reach databases and repositories, by a name that stages use.",
            "type": "object",
            "additionalProperties": { "$ref": "#/$defs/connection" },
        },
        "schedule": embed::<ScheduleOptions>("schedule", definitions),
        "stages": {
            "description": "The chain: one source, filters and transforms, codec and encrypt, one sink.",
            "type": "array",
            "items": { "$ref": "#/$defs/stage" },
            "maxItems": MAX_STAGES,
        },
        "on_error": embed::<OnError>("on_error", definitions),
        "retention": embed::<Retention>("retention", definitions),
        "verify": embed::<Verify>("verify", definitions),
        "tests": {
            "description": "Rows in, rows out: what `restow test` runs.",
            "type": "array",
            "items": embed::<TestOptions>("test", definitions),
        },
        "memory": described::<ByteSize>("Bound on the memory of a run, such as 512MiB. Default: the settings' value.", definitions),
        "parallel": {
            "description": "Splits that are open at once, over all datasets. Default: the settings' value.",
            "type": "integer", "minimum": 1, "maximum": 1024,
        },
        "state": embed::<StateOptions>("state", definitions),
        "resume_within": described::<HumanDuration>("How old an unfinished run may be to be taken up again. Default: 6h.", definitions),
    })
}

fn described<T: JsonSchema>(description: &str, definitions: &mut Map<String, Value>) -> Value {
    let mut schema = embed::<T>("", definitions);
    if let Some(map) = schema.as_object_mut() {
        map.insert("description".into(), description.into());
    }
    schema
}

fn stage_schema() -> Value {
    let component = |kind: Kind| json!({ "$ref": format!("#/$defs/{kind}") });
    let mut definitions = Map::new();
    let long = embed::<FilterOptions>("filter", &mut definitions);
    let transform = embed::<TransformOptions>("transform", &mut definitions);
    json!({
        "description": "One link of the chain: a mapping with one key.",
        "type": "object",
        "properties": {
            "source": component(Kind::Source),
            "filter": {
                "description": "Keeps the rows for which an SQL predicate is true.",
                "anyOf": [{ "type": "string", "format": "sql-expression" }, long],
            },
            "transform": transform,
            "reshape": component(Kind::Reshape),
            "codec": component(Kind::Codec),
            "encrypt": component(Kind::Encrypt),
            "sink": component(Kind::Sink),
        },
        "additionalProperties": false,
        "minProperties": 1,
        "maxProperties": 1,
        (STAGE): true,
    })
}

fn component_schema(catalogue: &Catalogue, kind: Kind, definitions: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for component in catalogue.iter().filter(|component| component.kind == kind) {
        let prefix = format!("{kind}.{}", component.name);
        let mut schema = inline(component.schema.clone().to_value(), &prefix, definitions);
        if let Some(map) = schema.as_object_mut() {
            map.insert("description".into(), component.summary.into());
        }
        properties.insert(component.name.into(), schema);
    }
    json!({
        "description": format!("One {kind}: a mapping whose one key is its name."),
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "minProperties": 1,
        "maxProperties": 1,
        (COMPONENT): kind.as_str(),
    })
}

fn embed<T: JsonSchema>(prefix: &str, definitions: &mut Map<String, Value>) -> Value {
    inline(schema_of::<T>().to_value(), prefix, definitions)
}

/// Moves the definitions of a schema under names of their own and yields the rest.
fn inline(mut schema: Value, prefix: &str, definitions: &mut Map<String, Value>) -> Value {
    rename_references(&mut schema, prefix);
    if let Some(map) = schema.as_object_mut() {
        map.remove("$schema");
        map.remove("title");
        if let Some(Value::Object(own)) = map.remove("$defs") {
            definitions.extend(own.into_iter().map(|(name, schema)| (format!("{prefix}.{name}"), schema)));
        }
    }
    schema
}

fn rename_references(schema: &mut Value, prefix: &str) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get_mut("$ref")
                && let Some(name) = target.strip_prefix("#/$defs/")
            {
                *target = format!("#/$defs/{prefix}.{name}");
            }
            map.values_mut().for_each(|inner| rename_references(inner, prefix));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| rename_references(inner, prefix)),
        _ => {}
    }
}

/// The long form of a filter.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FilterOptions {
    /// The predicate: SQL over the columns of the dataset.
    #[schemars(extend("format" = "sql-expression"))]
    pub sql: String,
    /// Globs of the datasets it applies to. Default: all.
    #[serde(default)]
    #[schemars(with = "Vec<Glob>")]
    pub datasets: Vec<String>,
    /// What happens where a dataset lacks a column. Default: error.
    #[serde(default)]
    pub missing: Missing,
}

/// Changes columns, in the order: rename, drop, keep, cast, set, sql.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransformOptions {
    /// Old name to new name.
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    pub rename: indexmap::IndexMap<String, String>,
    /// Columns to remove, by their names after rename.
    #[serde(default)]
    pub drop: Vec<String>,
    /// The only columns to keep, in this order, by their names after rename. Default: all.
    #[serde(default)]
    pub keep: Option<Vec<String>>,
    /// Column to SQL type, such as int, double, text or timestamp.
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, SqlType>")]
    pub cast: indexmap::IndexMap<String, String>,
    /// Column, new or old, to SQL expression.
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, SqlExpression>")]
    pub set: indexmap::IndexMap<String, String>,
    /// One SELECT from input, applied last.
    #[serde(default)]
    #[schemars(extend("format" = "sql-query"))]
    pub sql: Option<String>,
    /// Globs of the datasets it applies to. Default: all.
    #[serde(default)]
    #[schemars(with = "Vec<Glob>")]
    pub datasets: Vec<String>,
    /// What happens where a dataset lacks a column. Default: error.
    #[serde(default)]
    pub missing: Missing,
}

/// An SQL expression, for the schema of options: `#[schemars(with = "SqlExpression")]`.
#[derive(JsonSchema)]
#[schemars(inline, extend("format" = "sql-expression"))]
pub struct SqlExpression(#[allow(dead_code)] String);

/// An SQL query from `input`, for the schema of options: `#[schemars(with = "SqlQuery")]`.
#[derive(JsonSchema)]
#[schemars(inline, extend("format" = "sql-query"))]
pub struct SqlQuery(#[allow(dead_code)] String);

/// A pattern of dataset names, for the schema of options: `#[schemars(with = "Vec<Glob>")]`.
#[derive(JsonSchema)]
#[schemars(inline, extend("format" = "glob"))]
pub struct Glob(#[allow(dead_code)] String);

#[derive(JsonSchema)]
#[schemars(inline, extend("format" = "sql-type"))]
struct SqlType(#[allow(dead_code)] String);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestOptions {
    /// Its name, unique in the file.
    pub name: String,
    /// Rows that enter.
    pub given: Vec<Map<String, Value>>,
    /// Rows that must leave.
    pub expect: Vec<Map<String, Value>>,
    /// The dataset they belong to, where stages differ by dataset.
    #[serde(default)]
    pub dataset: Option<String>,
}

/// Where the run state is kept if the sink is no repository.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateOptions {
    /// A URL or a path. Default: ./.restow/state.
    #[schemars(extend("format" = "url"))]
    pub url: String,
}

/// The schema of a catalogue, ready for use.
pub(crate) struct Compiled {
    pub schema: Value,
    pub validator: Option<jsonschema::Validator>,
}

impl Compiled {
    pub fn of(catalogue: &Catalogue) -> &Self {
        catalogue.compiled.get_or_init(|| {
            let schema = pipeline_schema(catalogue);
            let validator = jsonschema::validator_for(&schema).ok();
            Self { schema, validator }
        })
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled").field("validator", &self.validator.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::catalogue;

    /// Every mapping with named fields, by where it stands.
    fn closed(schema: &Value, place: &str, open: &mut Vec<String>) {
        match schema {
            Value::Object(map) => {
                let named = map.get("properties").is_some_and(Value::is_object) && map.get("type").is_some();
                if named && map.get("additionalProperties") != Some(&Value::Bool(false)) {
                    open.push(place.into());
                }
                map.iter().for_each(|(key, inner)| closed(inner, &format!("{place}/{key}"), open));
            }
            Value::Array(items) => items.iter().for_each(|inner| closed(inner, place, open)),
            _ => {}
        }
    }

    #[test]
    fn it_is_a_schema_and_denies_unknown_fields_everywhere() {
        let schema = pipeline_schema(&catalogue());
        assert!(jsonschema::meta::is_valid(&schema));
        let mut open = Vec::new();
        closed(&schema, "", &mut open);
        assert_eq!(open, Vec::<String>::new());
    }

    #[test]
    fn every_reference_has_its_target() {
        fn references<'a>(schema: &'a Value, found: &mut Vec<&'a str>) {
            match schema {
                Value::Object(map) => {
                    found.extend(map.get("$ref").and_then(Value::as_str));
                    map.values().for_each(|inner| references(inner, found));
                }
                Value::Array(items) => items.iter().for_each(|inner| references(inner, found)),
                _ => {}
            }
        }
        let schema = pipeline_schema(&catalogue());
        let mut found = Vec::new();
        references(&schema, &mut found);
        assert!(found.contains(&"#/$defs/stage") && found.iter().any(|target| target.contains("files")), "{found:?}");
        for target in found {
            assert!(schema.pointer(target.trim_start_matches('#')).is_some(), "{target}");
        }
    }

    #[test]
    fn leaves_say_what_they_are() {
        let schema = pipeline_schema(&catalogue());
        let format =
            |pointer: &str| schema.pointer(pointer).and_then(|leaf| leaf.get("format")).and_then(Value::as_str);
        let transform = "/$defs/stage/properties/transform/properties";
        assert_eq!(format(&format!("{transform}/set/additionalProperties")), Some("sql-expression"));
        assert_eq!(format(&format!("{transform}/sql")), Some("sql-query"));
        assert_eq!(format(&format!("{transform}/cast/additionalProperties")), Some("sql-type"));
        assert_eq!(format(&format!("{transform}/datasets/items")), Some("glob"));
        assert_eq!(format("/$defs/encrypt/properties/aes-256-gcm/properties/key"), Some("secret"));
    }
}

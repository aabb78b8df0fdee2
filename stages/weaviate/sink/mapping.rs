//! What a dataset becomes at the target: a class, and the use of every column. Pure: decided from the incoming columns and
//! definitions alone.

use std::collections::BTreeMap;

use arrow::datatypes::Field;
use restow_core::record::{EXPLICIT_NULLS, Role, TEXT_PREFIX, is_json};
use restow_core::stage::{Incoming, SinkDataset};
use restow_core::{EngineError, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::class::Kind;
use super::super::columns::TENANT;
use super::super::config::{is_class_name, is_property_name};
use super::kinds::{declared_kind, is_vector_column, kind_of, length_of, own_vector, vector_kind, vector_name, word};

/// Keys of a class that the server makes by itself, or that mean nothing to another one.
const INTERNAL_OF_PROPERTY: [&str; 2] = ["searchableBlockmax", "bucketGeneration"];
const INTERNAL_OF_SHARDING: [&str; 2] = ["actualCount", "actualVirtualCount"];

/// A dataset at the target.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// The dataset.
    pub dataset: String,
    /// The class that it becomes.
    pub class: String,
    /// The class JSON to create, without references.
    pub definition: Value,
    /// The reference properties to add, once all classes are there.
    pub references: Vec<Value>,
    /// What each column is used for, in their order.
    pub uses: Vec<Use>,
    /// Whether objects belong to tenants.
    pub has_tenants: bool,
    /// Tenants and their states, where they are known beforehand.
    pub tenants: Vec<(String, String)>,
    /// What somebody may not expect, for `plan`.
    pub notes: Vec<String>,
    /// The lengths of the vectors, where all rows have one.
    pub lengths: BTreeMap<Option<String>, i32>,
    /// Whether the definition is that of a class, and no guess from columns.
    pub is_described: bool,
}

impl Mapping {
    /// One that only says what columns are used for.
    pub fn of_uses(uses: Vec<Use>) -> Self {
        Self {
            dataset: String::new(),
            class: String::new(),
            definition: Value::Null,
            references: Vec::new(),
            uses,
            has_tenants: false,
            tenants: Vec::new(),
            notes: Vec::new(),
            lengths: BTreeMap::new(),
            is_described: false,
        }
    }
}

/// What a column is used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Use {
    Id,
    Tenant,
    Property {
        name: String,
        kind: Kind,
    },
    /// The exact texts of the dates of that column.
    DateText(String),
    Reference(String),
    Vector {
        name: Option<String>,
        multi: bool,
    },
    /// Kept by the server itself.
    Nothing,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tenant {
    name: String,
    #[serde(default)]
    activity_status: String,
}

/// The mappings of everything that arrives.
///
/// # Errors
/// A dataset cannot become a class without loss: names dataset, column and remedy.
pub fn mappings(incoming: &Incoming, rename: &BTreeMap<String, String>) -> Result<Vec<Mapping>> {
    if let Some(unknown) = rename.keys().find(|name| incoming.datasets.iter().all(|dataset| dataset.name != **name)) {
        let names: Vec<&str> = incoming.datasets.iter().map(|dataset| dataset.name.as_str()).collect();
        return Err(EngineError::usage(format!("rename: there is no dataset {unknown:?}"))
            .with_hint(format!("there are {}", names.join(", "))));
    }
    let mappings =
        incoming.datasets.iter().map(|dataset| mapping(dataset, incoming, rename)).collect::<Result<Vec<_>>>()?;
    for (index, mapping) in mappings.iter().enumerate() {
        // Folders of classes are lower-cased on the server.
        if let Some(other) = mappings.iter().take(index).find(|other| other.class.eq_ignore_ascii_case(&mapping.class))
        {
            let message =
                format!("datasets {:?} and {:?} would both become {:?}", other.dataset, mapping.dataset, mapping.class);
            return Err(EngineError::usage(message).with_hint("give one of them another name with `rename`"));
        }
    }
    Ok(mappings)
}

fn mapping(dataset: &SinkDataset, incoming: &Incoming, rename: &BTreeMap<String, String>) -> Result<Mapping> {
    let class = class_name(&dataset.name, rename)?;
    let base = base_of(dataset, incoming)?;
    let mut draft = Draft {
        dataset,
        base: &base,
        properties: Vec::new(),
        references: Vec::new(),
        vectors: Vec::new(),
        notes: Vec::new(),
        lengths: BTreeMap::new(),
        rename,
    };
    let mut uses = Vec::new();
    for field in dataset.schema.fields() {
        uses.push(draft.place(field)?);
    }
    let Draft { properties, references, vectors, notes, lengths, .. } = draft;
    if !uses.contains(&Use::Id) {
        return Err(EngineError::usage(format!("dataset {:?} has no id column", dataset.name))
            .with_hint("declare it at the source, for example `files: { path: .., id: uuid }`"));
    }
    let has_tenants = uses.contains(&Use::Tenant);
    let mut definition = base.clone();
    definition.insert("class".to_owned(), json!(class));
    definition.insert("properties".to_owned(), Value::Array(properties));
    set_vectors(&mut definition, &base, &vectors);
    set_tenancy(&mut definition, has_tenants);
    if let Some(Value::Object(sharding)) = definition.get_mut("shardingConfig") {
        INTERNAL_OF_SHARDING.iter().for_each(|key| drop(sharding.shift_remove(*key)));
        // A class with tenants has a shard for each, and says so by an empty object or null.
        if has_tenants || sharding.is_empty() {
            definition.shift_remove("shardingConfig");
        }
    }
    let tenants = if has_tenants { tenants_of(dataset, incoming)? } else { Vec::new() };
    Ok(Mapping {
        dataset: dataset.name.clone(),
        class,
        definition: Value::Object(definition),
        references,
        uses,
        has_tenants,
        tenants,
        notes,
        lengths,
        is_described: base.contains_key("class"),
    })
}

/// The name that the user gave, or that of the dataset with a capital letter.
fn class_name(dataset: &str, rename: &BTreeMap<String, String>) -> Result<String> {
    let name = rename.get(dataset).cloned().unwrap_or_else(|| {
        let mut letters = dataset.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    });
    if is_class_name(&name) {
        return Ok(name);
    }
    Err(EngineError::usage(format!("dataset {dataset:?} cannot become a collection called {name:?}"))
        .with_hint(format!("a collection begins with a capital letter and has letters, digits and _: add `rename: {{ {dataset}: Name }}` to the sink")))
}

/// The class JSON that came with the dataset; a plain one where none did.
fn base_of(dataset: &SinkDataset, incoming: &Incoming) -> Result<Map<String, Value>> {
    let Some(artifact) = incoming.artifact(&dataset.name, "class.json") else {
        return Ok(Map::from_iter([("vectorizer".to_owned(), json!("none"))]));
    };
    serde_json::from_slice(&artifact.bytes).map_err(|error| {
        EngineError::failed(format!("dataset {:?}: its class.json cannot be read: {error}", dataset.name))
    })
}

fn tenants_of(dataset: &SinkDataset, incoming: &Incoming) -> Result<Vec<(String, String)>> {
    let Some(artifact) = incoming.artifact(&dataset.name, "tenants.json") else { return Ok(Vec::new()) };
    let tenants: Vec<Tenant> = serde_json::from_slice(&artifact.bytes).map_err(|error| {
        EngineError::failed(format!("dataset {:?}: its tenants.json cannot be read: {error}", dataset.name))
    })?;
    Ok(tenants.into_iter().map(|tenant| (tenant.name, tenant.activity_status)).collect())
}

struct Draft<'a> {
    dataset: &'a SinkDataset,
    base: &'a Map<String, Value>,
    properties: Vec<Value>,
    references: Vec<Value>,
    /// Column, name of the vector at the target, name at the source where it has one.
    vectors: Vec<(Option<String>, Option<Origin>)>,
    notes: Vec<String>,
    lengths: BTreeMap<Option<String>, i32>,
    rename: &'a BTreeMap<String, String>,
}

/// The vector that a column comes from.
pub type Origin = Option<String>;

impl Draft<'_> {
    fn place(&mut self, field: &Field) -> Result<Use> {
        let name = field.name().as_str();
        if name == EXPLICIT_NULLS {
            return Ok(Use::Nothing);
        }
        if let Some(of) = name.strip_prefix(TEXT_PREFIX) {
            return Ok(Use::DateText(of.to_owned()));
        }
        // A property may be called like a column of ours, which then has another name.
        let is_property = self.dataset.lineage.get(name).is_some_and(|origin| self.known(origin).is_some());
        match self.dataset.roles.get(name) {
            Role::Id => return Ok(Use::Id),
            Role::Tenant => return Ok(Use::Tenant),
            _ if is_property => return self.property(field),
            _ if name == TENANT => return Ok(Use::Tenant),
            // The server makes both times itself; under another name they are properties.
            Role::CreatedAt | Role::UpdatedAt if self.is_own_time(name) => return Ok(Use::Nothing),
            _ => {}
        }
        match vector_kind(field.data_type()) {
            Some(multi) if is_vector_column(self.dataset.roles.get(name), field) => {
                let used = self.vector(name, multi)?;
                if let (Use::Vector { name, .. }, Some(length)) = (&used, length_of(field.data_type())) {
                    self.lengths.insert(name.clone(), length);
                }
                Ok(used)
            }
            _ => self.property(field),
        }
    }

    fn is_own_time(&self, name: &str) -> bool {
        let origin = self.dataset.lineage.get(name).map(String::as_str);
        origin.is_none_or(|origin| origin == name)
    }

    fn vector(&mut self, column: &str, multi: bool) -> Result<Use> {
        let from_weaviate = self.base.contains_key("class");
        let name = vector_name(column);
        let origin = self.dataset.lineage.get(column).filter(|_| from_weaviate).and_then(|origin| own_vector(origin));
        if let Some(name) = name.as_deref().filter(|name| !is_property_name(name)) {
            return Err(self.refused(column, &format!("{name:?} is no name of a vector")));
        }
        self.vectors.push((name.clone(), origin));
        Ok(Use::Vector { name, multi })
    }

    fn property(&mut self, field: &Field) -> Result<Use> {
        let name = field.name().as_str();
        if !is_property_name(name) {
            return Err(self.refused(
                name,
                "it is no name of a property: letters, digits and _, not beginning with a digit, and not id",
            ));
        }
        let known = self.dataset.lineage.get(name).and_then(|origin| self.known(origin)).cloned();
        if self.dataset.roles.get(name) == Role::Reference
            && let Some(known) = &known
        {
            let mut property = renamed(known, name);
            retarget(&mut property, self.rename);
            self.references.push(property);
            return Ok(Use::Reference(name.to_owned()));
        }
        let kind = kind_of(field)
            .ok_or_else(|| self.refused(name, &format!("there is no property of the type {}", field.data_type())))?;
        match known {
            Some(known) => {
                let declared = declared_kind(&known).unwrap_or(kind);
                let mut property = renamed(&known, name);
                if property.pointer("/dataType/0").and_then(Value::as_str) == Some("blobHash") {
                    // Written to such a property, the digest would be digested again.
                    property = json!({ "name": name, "dataType": ["text"], "tokenization": "field" });
                    self.notes
                        .push(format!("{name}: digests of blobs become text, since the blobs themselves are nowhere"));
                }
                self.properties.push(property);
                Ok(Use::Property { name: name.to_owned(), kind: declared })
            }
            None => {
                if is_json(field) {
                    self.notes.push(format!("{name}: nested values become text, since nothing declares their parts"));
                }
                let kind = if kind == Kind::Json { Kind::Text } else { kind };
                self.properties.push(json!({ "name": name, "dataType": [word(kind)] }));
                Ok(Use::Property { name: name.to_owned(), kind })
            }
        }
    }

    /// The property of the source's class.
    fn known(&self, origin: &str) -> Option<&Value> {
        let properties = self.base.get("properties")?.as_array()?;
        properties.iter().find(|property| property.get("name").and_then(Value::as_str) == Some(origin))
    }

    fn refused(&self, column: &str, what: &str) -> EngineError {
        EngineError::usage(format!("dataset {:?}, column {column:?}: {what}", self.dataset.name))
            .with_hint("rename, cast or drop it in a transform; nothing was written")
    }
}

fn renamed(property: &Value, name: &str) -> Value {
    let mut property = property.clone();
    if let Some(map) = property.as_object_mut() {
        map.insert("name".to_owned(), json!(name));
        INTERNAL_OF_PROPERTY.iter().for_each(|key| drop(map.shift_remove(*key)));
    }
    property
}

/// References follow the classes that they name.
fn retarget(property: &mut Value, rename: &BTreeMap<String, String>) {
    for target in property.get_mut("dataType").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(renamed) = target.as_str().and_then(|name| rename.get(name)) {
            *target = json!(renamed);
        }
    }
}

/// The vectors of the class: those of the source under their new names, and plain ones for new columns. A vector that no column
/// fills is left out.
fn set_vectors(
    definition: &mut Map<String, Value>,
    base: &Map<String, Value>,
    vectors: &[(Option<String>, Option<Origin>)],
) {
    const UNNAMED: [&str; 3] = ["vectorizer", "vectorIndexType", "vectorIndexConfig"];
    let plain = || json!({ "vectorizer": { "none": {} }, "vectorIndexType": "hnsw" });
    let known = base.get("vectorConfig").and_then(Value::as_object);
    let mut named = Map::new();
    for (name, origin) in vectors {
        let Some(name) = name else { continue };
        let config = match origin {
            Some(Some(origin)) => known.and_then(|known| known.get(origin)).cloned(),
            // The unnamed vector gets a name: its index goes with it.
            Some(None) => Some(json!({
                "vectorizer": { base.get("vectorizer").and_then(Value::as_str).unwrap_or("none"): {} },
                "vectorIndexType": base.get("vectorIndexType").cloned().unwrap_or_else(|| json!("hnsw")),
                "vectorIndexConfig": base.get("vectorIndexConfig").cloned().unwrap_or_else(|| json!({})),
            })),
            None => None,
        };
        named.insert(name.clone(), config.unwrap_or_else(plain));
    }
    let keeps_unnamed = vectors.iter().any(|(name, _)| name.is_none());
    if named.is_empty() {
        definition.shift_remove("vectorConfig");
    } else {
        definition.insert("vectorConfig".to_owned(), Value::Object(named));
        if !keeps_unnamed {
            UNNAMED.iter().for_each(|key| drop(definition.shift_remove(*key)));
        }
    }
    if definition.get("vectorIndexType").and_then(Value::as_str) == Some("") {
        UNNAMED.iter().for_each(|key| drop(definition.shift_remove(*key)));
    }
}

fn set_tenancy(definition: &mut Map<String, Value>, has_tenants: bool) {
    let config = definition.entry("multiTenancyConfig").or_insert_with(|| json!({}));
    let was = config.get("enabled").and_then(Value::as_bool).unwrap_or(false);
    if has_tenants == was {
        if !was {
            definition.shift_remove("multiTenancyConfig");
        }
        return;
    }
    if has_tenants {
        *config = json!({ "enabled": true });
    } else {
        definition.shift_remove("multiTenancyConfig");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use restow_core::record::{Roles, vector_type};
    use restow_core::stage::Artifact;

    use super::*;

    /// A dataset `Doc` of these columns, each with its role and the column of the source that it comes from.
    fn incoming(columns: &[(Field, Option<Role>, Option<&str>)], class: Option<Value>) -> Incoming {
        let mut roles = Roles::default();
        let mut lineage = BTreeMap::new();
        for (field, role, origin) in columns {
            if let Some(role) = role {
                roles.set(field.name().clone(), *role);
            }
            if let Some(origin) = origin {
                lineage.insert(field.name().clone(), (*origin).to_owned());
            }
        }
        let fields: Vec<Field> = columns.iter().map(|(field, ..)| field.clone()).collect();
        let schema = Arc::new(Schema::new(fields));
        let dataset =
            SinkDataset { name: "Doc".to_owned(), schema: Arc::clone(&schema), roles, source_schema: schema, lineage };
        let artifacts = class.into_iter().map(|class| Artifact {
            scope: "Doc".to_owned(),
            name: "class.json".to_owned(),
            bytes: class.to_string().into_bytes(),
        });
        Incoming { datasets: vec![dataset], artifacts: artifacts.collect() }
    }

    fn id() -> (Field, Option<Role>, Option<&'static str>) {
        (Field::new("id", DataType::Utf8, true), Some(Role::Id), Some("id"))
    }

    fn only(incoming: &Incoming) -> Mapping {
        mappings(incoming, &BTreeMap::new()).expect("a mapping").remove(0)
    }

    #[test]
    fn a_renamed_column_is_a_renamed_property_with_all_that_belongs_to_it() {
        let class = json!({ "class": "Doc", "vectorIndexType": "flat", "vectorizer": "none",
            "properties": [{ "name": "title", "dataType": ["text"], "tokenization": "field", "searchableBlockmax": true }] });
        let title = (Field::new("heading", DataType::Utf8, true), None, Some("title"));
        let vector = (Field::new("_vector", vector_type(4), true), Some(Role::Vector), Some("_vector"));
        let mapping = only(&incoming(&[id(), title, vector], Some(class)));
        let expected = json!([{ "name": "heading", "dataType": ["text"], "tokenization": "field" }]);
        assert_eq!(mapping.definition.get("properties"), Some(&expected));
        assert_eq!(mapping.definition.get("vectorIndexType"), Some(&json!("flat")));
        assert_eq!(mapping.uses.last(), Some(&Use::Vector { name: None, multi: false }));
    }

    #[test]
    fn a_property_may_be_called_like_a_column_of_ours() {
        let class = json!({ "class": "Doc", "properties": [{ "name": "_tenant", "dataType": ["text"] }] });
        let column = |origin| (Field::new("_tenant", DataType::Utf8, true), None, origin);
        let mapping = only(&incoming(&[id(), column(Some("_tenant"))], Some(class)));
        assert!(!mapping.has_tenants);
        // Made by a transform, it is the tenant.
        assert!(only(&incoming(&[id(), column(None)], None)).has_tenants);
    }

    #[test]
    fn digests_of_blobs_become_text() {
        let class = json!({ "class": "Doc", "properties": [{ "name": "picture", "dataType": ["blobHash"] }] });
        let picture = (Field::new("picture", DataType::Utf8, true), None, Some("picture"));
        let mapping = only(&incoming(&[id(), picture], Some(class)));
        assert_eq!(mapping.definition.pointer("/properties/0/dataType/0"), Some(&json!("text")));
        assert_eq!(mapping.notes.len(), 1);
    }

    #[test]
    fn what_cannot_be_a_class_is_refused_by_name() {
        let refused =
            |incoming: &Incoming| mappings(incoming, &BTreeMap::new()).expect_err("a refusal").message().to_owned();
        assert!(
            refused(&incoming(&[(Field::new("n", DataType::Int64, true), None, None)], None)).contains("no id column")
        );
        let spaced = (Field::new("a b", DataType::Utf8, true), None, None);
        assert!(refused(&incoming(&[id(), spaced], None)).contains("\"a b\""));
    }
}

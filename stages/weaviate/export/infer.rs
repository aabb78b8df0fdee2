//! The definition of a collection, from its objects alone: for exports whose definitions nobody kept. A type is taken only where
//! every value has it and keeps all of it; what fits none stays JSON. What no value shows (tokenisation, indexes, properties
//! that no object has, whether a text is a date or a UUID) is not known.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::TryStreamExt;
use restow_core::{EngineError, Result};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::class::{Class, Kind, Property, VectorIndex};
use super::super::columns::Shape;
use super::files::{Export, ID, NAMED, PROPERTIES, SEVERAL, TENANT, VECTOR};
use super::folder::Part;
use super::read::{Stored, rows_at_once};

/// Digits that a 64-bit float keeps.
const DIGITS: usize = 17;
/// The members of a stored phone number.
const PHONE: [&str; 7] =
    ["countryCode", "defaultCountry", "input", "internationalFormatted", "national", "nationalFormatted", "valid"];

/// What all objects of a collection show.
#[derive(Debug, Default)]
pub struct Shown {
    properties: BTreeMap<String, Seen>,
    /// Lengths of each vector: its name, and whether it is several.
    vectors: BTreeMap<(Option<String>, bool), BTreeSet<usize>>,
}

/// What the values of a property are.
#[derive(Debug, Default)]
struct Seen {
    texts: bool,
    ints: bool,
    numbers: bool,
    /// Whole numbers, or others, that a 64-bit float does not keep.
    wide: bool,
    booleans: bool,
    /// Of lists: nulls.
    nulls: bool,
    objects: Option<Box<Parts>>,
    list: Option<Box<Seen>>,
}

/// What objects inside properties are.
#[derive(Debug)]
struct Parts {
    members: BTreeMap<String, Seen>,
    is_geo: bool,
    is_phone: bool,
    /// The collections that beacons name; `None` where one is no beacon, or names none.
    targets: Option<BTreeSet<String>>,
}

/// Looks at every object of a collection.
///
/// # Errors
/// A file cannot be read, or properties are no JSON.
pub async fn look(export: &Export, class: &str) -> Result<Shown> {
    let mut shown = Shown::default();
    let folder = &export.folder;
    for file in export.files_of(class) {
        let columns: Vec<&str> =
            [ID, VECTOR, NAMED, SEVERAL, PROPERTIES].into_iter().filter(|column| file.has(column)).collect();
        for part in file.parts() {
            look_at(&mut shown, export, file, &part, &columns).await.map_err(|error| {
                error.context(format!("finding the types of {class:?} in {:?}", folder.show(&file.path)))
            })?;
        }
    }
    Ok(shown)
}

async fn look_at(
    shown: &mut Shown,
    export: &Export,
    file: &super::files::ExportFile,
    part: &Part,
    columns: &[&str],
) -> Result<()> {
    let folder = &export.folder;
    let (mut batches, _) = folder.rows(&file.path, &file.meta, part, columns, rows_at_once(file, 8192)).await?;
    while let Some(batch) = batches.try_next().await.map_err(|error| folder.unreadable(&file.path, error))? {
        let stored = Stored::of(&batch, file)?;
        for row in 0..batch.num_rows() {
            // A row that cannot be understood is a reject when it is read; its neighbours tell the types.
            let Ok(vectors) = stored.vectors(row) else { continue };
            shown.vectors(vectors);
            shown.properties(stored.properties(row)).map_err(EngineError::failed)?;
        }
    }
    Ok(())
}

impl Shown {
    fn vectors(
        &mut self,
        (unnamed, named, several): (Option<Vec<f32>>, super::vectors::Named, super::vectors::Several),
    ) {
        let mut add = |name: Option<String>, multi: bool, length: Option<usize>| {
            self.vectors.entry((name, multi)).or_default().extend(length.filter(|length| *length > 0));
        };
        if let Some(vector) = unnamed {
            add(None, false, Some(vector.len()));
        }
        for (name, vector) in named {
            add(Some(name), false, Some(vector.len()));
        }
        for (name, rows) in several {
            add(Some(name), true, rows.first().map(Vec::len));
        }
    }

    fn properties(&mut self, text: &str) -> Result<(), String> {
        let properties: Option<HashMap<String, &RawValue>> =
            serde_json::from_str(text).map_err(|error| format!("properties cannot be read: {error}"))?;
        for (name, value) in properties.unwrap_or_default() {
            if value.get() != "null" {
                self.properties.entry(name).or_default().add(value)?;
            }
        }
        Ok(())
    }

    /// The class, and the shapes of its vectors.
    ///
    /// # Errors
    /// Its JSON cannot be made.
    pub fn class(self, name: &str, has_tenants: bool) -> Result<(Class, Vec<Shape>)> {
        let (mut properties, mut declared) = (Vec::new(), Vec::new());
        for (property, seen) in &self.properties {
            let found = seen.property(true);
            properties
                .push(Property { name: property.clone(), kind: found.as_ref().map_or(Kind::Json, |(kind, _)| *kind) });
            // One that is of several types cannot be declared: a target that needs types makes it text.
            if let Some((_, mut json)) = found {
                json["name"] = json!(property);
                declared.push(json);
            }
        }
        let mut class = json!({ "class": name, "properties": declared });
        self.declare_vectors(&mut class);
        if has_tenants {
            class["multiTenancyConfig"] = json!({ "enabled": true });
        }
        let text = RawValue::from_string(class.to_string())
            .map_err(|error| EngineError::failed(format!("the definition of {name:?}: {error}")))?;
        let (mut vectors, mut shapes) = (Vec::new(), Vec::new());
        for ((vector, multi), lengths) in self.vectors {
            vectors.push(VectorIndex { name: vector, multi });
            shapes.push(match lengths.first().and_then(|length| i32::try_from(*length).ok()) {
                Some(length) if lengths.len() == 1 => Shape::Fixed(length),
                _ => Shape::Varying,
            });
        }
        Ok((Class { name: name.to_owned(), text, properties, vectors, has_tenants }, shapes))
    }

    fn declare_vectors(&self, class: &mut Value) {
        let mut named = serde_json::Map::new();
        for (name, multi) in self.vectors.keys() {
            let Some(name) = name else { continue };
            let mut config = json!({ "vectorizer": { "none": {} }, "vectorIndexType": "hnsw" });
            if *multi {
                config["vectorIndexConfig"] = json!({ "multivector": { "enabled": true } });
            }
            named.insert(name.clone(), config);
        }
        let unnamed = self.vectors.contains_key(&(None, false));
        if unnamed || named.is_empty() {
            class["vectorizer"] = json!("none");
        }
        if unnamed {
            class["vectorIndexType"] = json!("hnsw");
        }
        if !named.is_empty() {
            class["vectorConfig"] = Value::Object(named);
        }
    }
}

impl Seen {
    fn add(&mut self, value: &RawValue) -> Result<(), String> {
        let text = value.get();
        let wrong = |error: serde_json::Error| format!("a property cannot be read: {error}");
        match text.as_bytes().first() {
            Some(b'"') => self.texts = true,
            Some(b't' | b'f') => self.booleans = true,
            Some(b'n') => self.nulls = true,
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text).map_err(wrong)?;
                let list = self.list.get_or_insert_default();
                items.into_iter().try_for_each(|item| list.add(item))?;
            }
            Some(b'{') => {
                let members: HashMap<String, &RawValue> = serde_json::from_str(text).map_err(wrong)?;
                self.objects.get_or_insert_default().add(&members)?;
            }
            _ => self.number(text),
        }
        Ok(())
    }

    fn number(&mut self, text: &str) {
        let whole = text.parse::<i64>().ok().filter(|_| text != "-0");
        match whole {
            Some(value) => {
                self.ints = true;
                self.wide |= value == i64::MAX || value as f64 as i64 != value;
            }
            None => {
                self.numbers = true;
                let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
                let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
                self.wide |= digits.trim_matches('0').len() > DIGITS;
            }
        }
    }

    /// The type that all values have, and its declaration without the name.
    fn property(&self, top: bool) -> Option<(Kind, Value)> {
        let numeric = self.ints || self.numbers;
        let forms = [self.texts, numeric, self.booleans, self.nulls, self.objects.is_some(), self.list.is_some()];
        if forms.iter().filter(|form| **form).count() != 1 {
            return None;
        }
        let plain = |kind: Kind, word: &str| Some((kind, json!({ "dataType": [word] })));
        match (&self.objects, &self.list) {
            (Some(parts), _) => parts.property(top),
            (_, Some(list)) => list.as_list(top),
            _ if self.texts => plain(Kind::Text, "text"),
            _ if self.booleans => plain(Kind::Boolean, "boolean"),
            _ if self.ints && !self.numbers => plain(Kind::Int, "int"),
            _ if numeric && !self.wide => plain(Kind::Number, "number"),
            _ => None,
        }
    }

    fn as_list(&self, top: bool) -> Option<(Kind, Value)> {
        let plain = |kind: Kind, word: &str| Some((kind, json!({ "dataType": [word] })));
        if let Some(parts) = &self.objects
            && let Some(targets) = parts.targets.as_ref().filter(|targets| top && !targets.is_empty())
            && self.property(true).is_some()
        {
            return Some((Kind::Reference, json!({ "dataType": targets })));
        }
        let is_empty = !(self.texts || self.ints || self.numbers || self.booleans || self.nulls)
            && self.objects.is_none()
            && self.list.is_none();
        if is_empty {
            // Lists without an item are lists of anything.
            return plain(Kind::Texts, "text[]");
        }
        let (kind, item) = self.property(false)?;
        match kind {
            Kind::Text => plain(Kind::Texts, "text[]"),
            Kind::Boolean => plain(Kind::Booleans, "boolean[]"),
            Kind::Int => plain(Kind::Ints, "int[]"),
            Kind::Number => plain(Kind::Numbers, "number[]"),
            Kind::Json if item.get("nestedProperties").is_some() => {
                Some((Kind::Json, json!({ "dataType": ["object[]"], "nestedProperties": item["nestedProperties"] })))
            }
            _ => None,
        }
    }
}

impl Default for Parts {
    fn default() -> Self {
        Self { members: BTreeMap::new(), is_geo: true, is_phone: true, targets: Some(BTreeSet::new()) }
    }
}

impl Parts {
    fn add(&mut self, members: &HashMap<String, &RawValue>) -> Result<(), String> {
        let has = |name: &str| members.contains_key(name);
        self.is_geo &= members.len() == 2 && has("latitude") && has("longitude");
        self.is_phone &= has("input") && has("valid") && members.keys().all(|name| PHONE.contains(&name.as_str()));
        self.targets = self.targets.take().and_then(|mut targets| {
            let beacon: String = serde_json::from_str(members.get("beacon")?.get()).ok()?;
            let others = members.keys().all(|name| matches!(name.as_str(), "beacon" | "href"));
            targets.insert(target_of(&beacon).filter(|_| others)?);
            Some(targets)
        });
        for (name, value) in members {
            if value.get() != "null" {
                self.members.entry(name.clone()).or_default().add(value)?;
            }
        }
        Ok(())
    }

    fn property(&self, top: bool) -> Option<(Kind, Value)> {
        let plain = |word: &str| Some((Kind::Json, json!({ "dataType": [word] })));
        if top && self.is_geo {
            return plain("geoCoordinates");
        }
        if top && self.is_phone {
            return plain("phoneNumber");
        }
        let mut nested = Vec::new();
        for (name, seen) in &self.members {
            let (_, mut json) = seen.property(false)?;
            json["name"] = json!(name);
            nested.push(json);
        }
        // An object without members cannot be declared.
        (!nested.is_empty()).then(|| (Kind::Json, json!({ "dataType": ["object"], "nestedProperties": nested })))
    }
}

/// The collection that `weaviate://localhost/Class/id` names.
fn target_of(beacon: &str) -> Option<String> {
    let mut parts = beacon.strip_prefix("weaviate://")?.split('/').skip(1);
    let (class, _id) = (parts.next()?, parts.next()?);
    class.starts_with(|letter: char| letter.is_ascii_uppercase()).then(|| class.to_owned())
}

/// Whether objects of a collection have tenants, as far as its files tell.
pub fn has_tenants(export: &Export, class: &str) -> bool {
    export.files_of(class).iter().any(|file| file.tenant.is_some() || file.has(TENANT))
}

//! A class as the server describes it, as far as restow must understand it. The text itself is kept verbatim beside this.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// What `GET /v1/schema` says of one class.
#[derive(Debug, Clone)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// The class JSON, as the server wrote it.
    pub text: Box<RawValue>,
    /// Its properties, in their order.
    pub properties: Vec<Property>,
    /// Its vectors, the unnamed one first.
    pub vectors: Vec<VectorIndex>,
    /// Whether its objects belong to tenants.
    pub has_tenants: bool,
}

/// One property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
}

/// The types of properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `text`, and the older `string`.
    Text,
    Int,
    Number,
    Boolean,
    Date,
    Uuid,
    /// Base64 on the wire.
    Blob,
    /// `geoCoordinates`, `phoneNumber`, `object` and `object[]`: JSON.
    Json,
    Texts,
    Ints,
    Numbers,
    Booleans,
    /// Kept as texts: nothing of a date's form is lost.
    Dates,
    Uuids,
    /// References to objects of the classes that the data type names.
    Reference,
}

/// One vector of each object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorIndex {
    /// Its name; `None` for the vector of classes without named vectors.
    pub name: Option<String>,
    /// Whether a value is several vectors.
    pub multi: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    class: String,
    #[serde(default)]
    properties: Option<Vec<WireProperty>>,
    #[serde(default)]
    vector_config: Option<serde_json::Map<String, Value>>,
    #[serde(default)]
    vector_index_type: Option<String>,
    #[serde(default)]
    multi_tenancy_config: Option<Tenancy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireProperty {
    name: String,
    data_type: Vec<String>,
}

#[derive(Deserialize)]
struct Tenancy {
    #[serde(default)]
    enabled: bool,
}

impl VectorIndex {
    /// The vectors of a class by what it says of them, the unnamed one first.
    fn all(named: &serde_json::Map<String, Value>, own_index: Option<&str>) -> Vec<Self> {
        let mut vectors = Vec::new();
        // Classes with named vectors have no index of their own, unless the names were added later.
        if named.is_empty() || own_index.is_some_and(|index| !index.is_empty()) {
            vectors.push(Self { name: None, multi: false });
        }
        for (name, config) in named {
            let multi = config.pointer("/vectorIndexConfig/multivector/enabled").and_then(Value::as_bool);
            vectors.push(Self { name: Some(name.clone()), multi: multi.unwrap_or(false) });
        }
        vectors
    }

    /// The vectors of a class, as the server gives it.
    pub fn of(class: &Value) -> Vec<Self> {
        let named = class.get("vectorConfig").and_then(Value::as_object).cloned().unwrap_or_default();
        Self::all(&named, class.get("vectorIndexType").and_then(Value::as_str))
    }
}

impl Class {
    /// Understands a class.
    ///
    /// # Errors
    /// It has a shape or a data type that restow does not know: reading it would lose something.
    pub fn parse(text: Box<RawValue>) -> Result<Self, String> {
        let wire: Wire =
            serde_json::from_str(text.get()).map_err(|error| format!("the class cannot be understood: {error}"))?;
        let mut properties = Vec::new();
        for property in wire.properties.unwrap_or_default() {
            let kind = Kind::of(&property.data_type).ok_or_else(|| {
                format!(
                    "property {:?} has the data type {:?}, which this version does not know",
                    property.name, property.data_type
                )
            })?;
            properties.push(Property { name: property.name, kind });
        }
        let vectors = VectorIndex::all(&wire.vector_config.unwrap_or_default(), wire.vector_index_type.as_deref());
        let has_tenants = wire.multi_tenancy_config.is_some_and(|tenancy| tenancy.enabled);
        Ok(Self { name: wire.class, text, properties, vectors, has_tenants })
    }

    /// Whether gRPC gives everything of an object: it resolves references and leaves out dangling ones, and has forms of
    /// its own for objects.
    pub fn is_whole_by_grpc(&self) -> bool {
        !self.properties.iter().any(|property| matches!(property.kind, Kind::Reference | Kind::Json))
    }
}

impl Kind {
    /// The type that a property of this data type has; `None` where restow does not know it.
    pub fn of(data_type: &[String]) -> Option<Self> {
        let first = data_type.first()?;
        if first.starts_with(|letter: char| letter.is_uppercase()) {
            return Some(Self::Reference);
        }
        Some(match first.as_str() {
            "text" | "string" | "blobHash" => Self::Text,
            "int" => Self::Int,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            "date" => Self::Date,
            "uuid" => Self::Uuid,
            "blob" => Self::Blob,
            "geoCoordinates" | "phoneNumber" | "object" | "object[]" => Self::Json,
            "text[]" | "string[]" => Self::Texts,
            "int[]" => Self::Ints,
            "number[]" => Self::Numbers,
            "boolean[]" => Self::Booleans,
            "date[]" => Self::Dates,
            "uuid[]" => Self::Uuids,
            _ => return None,
        })
    }
}

//! Objects in the forms of gRPC and of REST.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::client::proto::{
    BatchObject, BatchProperties, BoolArray, IntArray, MULTI_FP32, NumberArray, Struct, StructField, StructKind,
    StructList, StructValue, TextArray, Vectors,
};
use super::super::decode::id_text;
use super::convert::{Datum, Object};

impl Object {
    /// Whether it goes by gRPC. Nested values go by REST, which checks them as it always has; but for vectors with numbers that JSON cannot
    /// write there is no other way.
    pub fn fits_grpc(&self) -> bool {
        let is_nested = self.properties.iter().any(|(_, datum)| matches!(datum, Datum::Json(_)));
        let is_finite =
            |bytes: &Bytes| bytes.as_chunks::<4>().0.iter().all(|bytes| f32::from_le_bytes(*bytes).is_finite());
        !is_nested || !self.vectors.iter().all(|(_, bytes, _)| is_finite(bytes))
    }

    /// About how many bytes it has on the wire.
    pub fn size(&self) -> usize {
        let of = |datum: &Datum| match datum {
            Datum::Text(text) => text.len(),
            Datum::Json(json) => json.get().len(),
            Datum::Texts(texts) => texts.iter().map(|text| text.len() + 4).sum(),
            Datum::Ints(values) => values.len() * 8,
            Datum::Numbers(values) => values.len() * 8,
            Datum::Bools(values) => values.len(),
            Datum::Int(_) | Datum::Number(_) | Datum::Bool(_) => 9,
        };
        let properties: usize = self.properties.iter().map(|(name, datum)| name.len() + 8 + of(datum)).sum();
        64 + properties + self.vectors.iter().map(|(_, bytes, _)| bytes.len() + 16).sum::<usize>()
    }

    /// For gRPC. References are left out: they follow when all objects are there.
    pub fn to_grpc(&self, class: &str) -> BatchObject {
        let mut properties = BatchProperties::default();
        let mut plain = Struct::default();
        for (name, datum) in &self.properties {
            match datum.scalar() {
                Some(kind) => plain.fields.push(StructField::new(name.clone(), kind)),
                None => datum.put_list(name, &mut properties),
            }
        }
        properties.non_ref_properties = Some(plain);
        let mut object = BatchObject {
            uuid: id_text(self.id.as_u128()),
            properties: Some(properties),
            collection: class.to_owned(),
            tenant: self.tenant.clone(),
            ..BatchObject::default()
        };
        for (name, bytes, length) in &self.vectors {
            let Some(name) = name else {
                object.vector_bytes = bytes.clone();
                continue;
            };
            let (vector_bytes, kind) = match length {
                None => (bytes.clone(), 0),
                Some(length) => {
                    let mut several = BytesMut::with_capacity(bytes.len() + 2);
                    several.put_u16_le(*length);
                    several.extend_from_slice(bytes);
                    (several.freeze(), MULTI_FP32)
                }
            };
            object.vectors.push(Vectors { name: name.clone(), vector_bytes, kind });
        }
        object
    }

    /// For REST, as one object of a batch.
    pub fn to_json(&self, class: &str) -> Result<Value, String> {
        let mut properties = Map::new();
        for (name, datum) in &self.properties {
            let value = match datum {
                Datum::Text(text) => json!(text),
                Datum::Int(value) => json!(value),
                Datum::Number(value) => json!(value),
                Datum::Bool(value) => json!(value),
                Datum::Json(text) => serde_json::from_str(text.get()).map_err(|error| error.to_string())?,
                Datum::Texts(values) => json!(values),
                Datum::Ints(values) => json!(values),
                Datum::Numbers(values) => json!(values),
                Datum::Bools(values) => json!(values),
            };
            properties.insert(name.clone(), value);
        }
        let mut object = Map::from_iter([
            ("class".to_owned(), json!(class)),
            ("id".to_owned(), json!(self.id.hyphenated().to_string())),
            ("properties".to_owned(), Value::Object(properties)),
        ]);
        if !self.tenant.is_empty() {
            object.insert("tenant".to_owned(), json!(self.tenant));
        }
        let mut named = Map::new();
        for (name, bytes, length) in &self.vectors {
            let values = json_floats(bytes)?;
            let value = match length {
                Some(length) if *length > 0 => {
                    Value::Array(values.chunks(usize::from(*length)).map(|row| json!(row)).collect())
                }
                _ => json!(values),
            };
            match name {
                None => drop(object.insert("vector".to_owned(), value)),
                Some(name) => drop(named.insert(name.clone(), value)),
            }
        }
        if !named.is_empty() {
            object.insert("vectors".to_owned(), Value::Object(named));
        }
        Ok(Value::Object(object))
    }
}

impl Datum {
    /// A value that stands by itself.
    fn scalar(&self) -> Option<StructKind> {
        Some(match self {
            Self::Text(text) => StructKind::Text(text.clone()),
            Self::Int(value) => StructKind::Number(*value as f64),
            Self::Number(value) => StructKind::Number(*value),
            Self::Bool(value) => StructKind::Bool(*value),
            Self::Json(text) => nested(serde_json::from_str(text.get()).ok()?),
            _ => return None,
        })
    }

    /// Lists have places of their own, by type; the empty list has none.
    fn put_list(&self, name: &str, properties: &mut BatchProperties) {
        let prop_name = name.to_owned();
        match self {
            Self::Texts(values) if !values.is_empty() => {
                properties.text_array_properties.push(TextArray { values: values.clone(), prop_name });
            }
            Self::Ints(values) if !values.is_empty() => {
                properties.int_array_properties.push(IntArray { values: values.clone(), prop_name });
            }
            Self::Numbers(values) if !values.is_empty() => {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                properties.number_array_properties.push(NumberArray { prop_name, values_bytes: bytes.into() });
            }
            Self::Bools(values) if !values.is_empty() => {
                properties.boolean_array_properties.push(BoolArray { values: values.clone(), prop_name });
            }
            _ => properties.empty_list_props.push(prop_name),
        }
    }
}

/// A nested value in the form that gRPC has for any value; the server reads it as it reads JSON.
fn nested(value: Value) -> StructKind {
    let one = |value| StructValue { kind: Some(nested(value)) };
    match value {
        Value::Null => StructKind::Null(0),
        Value::Bool(value) => StructKind::Bool(value),
        Value::Number(value) => StructKind::Number(value.as_f64().unwrap_or_default()),
        Value::String(text) => StructKind::Text(text),
        Value::Array(values) => StructKind::List(StructList { values: values.into_iter().map(one).collect() }),
        Value::Object(map) => {
            let fields = map.into_iter().map(|(name, value)| StructField::new(name, nested(value)));
            StructKind::Struct(Struct { fields: fields.collect() })
        }
    }
}

/// Floats as JSON numbers, each the shortest that reads back as the same 32-bit float.
fn json_floats(bytes: &[u8]) -> Result<Vec<Box<RawValue>>, String> {
    let one = |bytes: &[u8; 4]| {
        let value = f32::from_le_bytes(*bytes);
        if !value.is_finite() {
            return Err(format!("a vector with {value}, which REST cannot carry"));
        }
        RawValue::from_string(serde_json::to_string(&value).unwrap_or_default()).map_err(|error| error.to_string())
    };
    bytes.as_chunks::<4>().0.iter().map(one).collect()
}

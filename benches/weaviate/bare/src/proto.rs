//! The messages of `weaviate.v1.Weaviate`, as far as this program needs them. What is left out is skipped in decoding.

use std::collections::HashMap;

use prost::bytes::Bytes;

#[derive(Clone, PartialEq, prost::Message)]
pub struct SearchRequest {
    #[prost(string, tag = "1")]
    pub collection: String,
    #[prost(message, optional, tag = "20")]
    pub properties: Option<PropertiesRequest>,
    #[prost(message, optional, tag = "21")]
    pub metadata: Option<MetadataRequest>,
    #[prost(uint32, tag = "30")]
    pub limit: u32,
    #[prost(string, tag = "33")]
    pub after: String,
    #[prost(bool, tag = "100")]
    pub uses_123_api: bool,
    #[prost(bool, tag = "101")]
    pub uses_125_api: bool,
    #[prost(bool, tag = "102")]
    pub uses_127_api: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PropertiesRequest {
    #[prost(bool, tag = "11")]
    pub return_all_nonref_properties: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct MetadataRequest {
    #[prost(bool, tag = "1")]
    pub uuid: bool,
    #[prost(bool, tag = "2")]
    pub vector: bool,
    #[prost(bool, tag = "3")]
    pub creation_time_unix: bool,
    #[prost(bool, tag = "4")]
    pub last_update_time_unix: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SearchReply {
    #[prost(message, repeated, tag = "2")]
    pub results: Vec<SearchResult>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SearchResult {
    #[prost(message, optional, tag = "1")]
    pub properties: Option<PropertiesResult>,
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<MetadataResult>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PropertiesResult {
    #[prost(message, optional, tag = "11")]
    pub non_ref_props: Option<Properties>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct MetadataResult {
    #[prost(int64, tag = "3")]
    pub creation_time_unix: i64,
    #[prost(int64, tag = "5")]
    pub last_update_time_unix: i64,
    #[prost(bytes = "bytes", tag = "19")]
    pub vector_bytes: Bytes,
    #[prost(bytes = "bytes", tag = "20")]
    pub id_as_bytes: Bytes,
    #[prost(message, repeated, tag = "23")]
    pub vectors: Vec<Vectors>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Vectors {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub vector_bytes: Bytes,
    #[prost(int32, tag = "4")]
    pub kind: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Properties {
    #[prost(map = "string, message", tag = "1")]
    pub fields: HashMap<String, Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    #[prost(oneof = "Kind", tags = "1, 3, 8, 13")]
    pub kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    #[prost(double, tag = "1")]
    Number(f64),
    #[prost(bool, tag = "3")]
    Bool(bool),
    #[prost(int64, tag = "8")]
    Int(i64),
    #[prost(string, tag = "13")]
    Text(String),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BatchObjectsRequest {
    #[prost(message, repeated, tag = "1")]
    pub objects: Vec<BatchObject>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BatchObject {
    #[prost(string, tag = "1")]
    pub uuid: String,
    #[prost(message, optional, tag = "3")]
    pub properties: Option<BatchProperties>,
    #[prost(string, tag = "4")]
    pub collection: String,
    #[prost(bytes = "bytes", tag = "6")]
    pub vector_bytes: Bytes,
    #[prost(message, repeated, tag = "23")]
    pub vectors: Vec<Vectors>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BatchProperties {
    #[prost(message, optional, tag = "1")]
    pub non_ref_properties: Option<Struct>,
}

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Struct {
    #[prost(map = "string, message", tag = "1")]
    pub fields: HashMap<String, StructValue>,
}

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StructValue {
    #[prost(oneof = "StructKind", tags = "2, 3, 4")]
    pub kind: Option<StructKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum StructKind {
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Bool(bool),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BatchObjectsReply {
    #[prost(message, repeated, tag = "2")]
    pub errors: Vec<BatchError>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BatchError {
    #[prost(int32, tag = "1")]
    pub index: i32,
    #[prost(string, tag = "2")]
    pub error: String,
}

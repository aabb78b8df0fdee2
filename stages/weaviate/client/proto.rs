//! The messages of `weaviate.v1.Weaviate` as far as restow uses them, written from the field numbers of Weaviate's
//! `grpc/proto/v1`. A field that is left out is skipped in decoding: above all number 2 of the metadata, in which the server
//! repeats the whole vector.

use prost::bytes::Bytes;

/// `Vectors.VectorType` of several vectors in one value: u16 dimension, then the rows.
pub const MULTI_FP32: i32 = 2;

#[derive(Clone, PartialEq, prost::Message)]
pub struct SearchRequest {
    #[prost(string, tag = "1")]
    pub collection: String,
    #[prost(string, tag = "10")]
    pub tenant: String,
    #[prost(message, optional, tag = "20")]
    pub properties: Option<PropertiesRequest>,
    #[prost(message, optional, tag = "21")]
    pub metadata: Option<MetadataRequest>,
    #[prost(uint32, tag = "30")]
    pub limit: u32,
    #[prost(string, tag = "33")]
    pub after: String,
    #[prost(message, optional, tag = "40")]
    pub filters: Option<Filters>,
    #[prost(bool, tag = "100")]
    pub uses_123_api: bool,
    #[prost(bool, tag = "101")]
    pub uses_125_api: bool,
    #[prost(bool, tag = "102")]
    pub uses_127_api: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PropertiesRequest {
    #[prost(string, repeated, tag = "1")]
    pub non_ref_properties: Vec<String>,
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
    #[prost(string, repeated, tag = "10")]
    pub vectors: Vec<String>,
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
    #[prost(bytes = "bytes", tag = "1")]
    pub id: Bytes,
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

/// A map on the wire, taken as the list that it is: a page has it once an object.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Properties {
    #[prost(message, repeated, tag = "1")]
    pub fields: Vec<Field>,
}

/// One property.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Field {
    #[prost(bytes = "bytes", tag = "1")]
    pub name: Bytes,
    #[prost(message, optional, tag = "2")]
    pub value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    #[prost(oneof = "Kind", tags = "1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13")]
    pub kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    #[prost(double, tag = "1")]
    Number(f64),
    #[prost(bool, tag = "3")]
    Bool(bool),
    #[prost(message, tag = "4")]
    Object(Properties),
    #[prost(message, tag = "5")]
    List(ListValue),
    #[prost(string, tag = "6")]
    Date(String),
    #[prost(string, tag = "7")]
    Uuid(String),
    #[prost(int64, tag = "8")]
    Int(i64),
    #[prost(message, tag = "9")]
    Geo(GeoCoordinate),
    #[prost(string, tag = "10")]
    Blob(String),
    #[prost(bytes = "bytes", tag = "11")]
    Phone(Bytes),
    #[prost(int32, tag = "12")]
    Null(i32),
    #[prost(string, tag = "13")]
    Text(String),
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct GeoCoordinate {
    #[prost(float, tag = "1")]
    pub longitude: f32,
    #[prost(float, tag = "2")]
    pub latitude: f32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ListValue {
    #[prost(oneof = "ListKind", tags = "2, 3, 4, 5, 6, 7, 8")]
    pub kind: Option<ListKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ListKind {
    #[prost(message, tag = "2")]
    Numbers(PackedValues),
    #[prost(message, tag = "3")]
    Bools(BoolValues),
    #[prost(bytes = "bytes", tag = "4")]
    Objects(Bytes),
    #[prost(message, tag = "5")]
    Dates(TextValues),
    #[prost(message, tag = "6")]
    Uuids(TextValues),
    #[prost(message, tag = "7")]
    Ints(PackedValues),
    #[prost(message, tag = "8")]
    Texts(TextValues),
}

/// Eight little-endian bytes a value: f64 for numbers, i64 for integers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PackedValues {
    #[prost(bytes = "bytes", tag = "1")]
    pub values: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BoolValues {
    #[prost(bool, repeated, tag = "1")]
    pub values: Vec<bool>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct TextValues {
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
}

/// `Filters.Operator`.
pub mod operator {
    pub const EQUAL: i32 = 1;
    pub const GREATER_THAN_EQUAL: i32 = 4;
    pub const LESS_THAN_EQUAL: i32 = 6;
    pub const AND: i32 = 7;
    pub const OR: i32 = 8;
    pub const CONTAINS_ANY: i32 = 12;
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Filters {
    #[prost(int32, tag = "1")]
    pub operator: i32,
    #[prost(message, repeated, tag = "3")]
    pub filters: Vec<Filters>,
    // One of these: what is set is sent, also where it is zero or empty.
    #[prost(string, optional, tag = "4")]
    pub value_text: Option<String>,
    #[prost(int64, optional, tag = "5")]
    pub value_int: Option<i64>,
    #[prost(bool, optional, tag = "6")]
    pub value_boolean: Option<bool>,
    #[prost(double, optional, tag = "7")]
    pub value_number: Option<f64>,
    #[prost(message, optional, tag = "9")]
    pub value_text_array: Option<TextValues>,
    #[prost(message, optional, tag = "20")]
    pub target: Option<FilterTarget>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct FilterTarget {
    #[prost(string, optional, tag = "1")]
    pub property: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct AggregateRequest {
    #[prost(string, tag = "1")]
    pub collection: String,
    #[prost(string, tag = "10")]
    pub tenant: String,
    #[prost(bool, tag = "20")]
    pub objects_count: bool,
    #[prost(message, optional, tag = "40")]
    pub filters: Option<Filters>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct AggregateReply {
    #[prost(message, optional, tag = "2")]
    pub single_result: Option<AggregateGroup>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct AggregateGroup {
    #[prost(int64, optional, tag = "1")]
    pub objects_count: Option<i64>,
}

/// Without a consistency level the server takes a quorum where a class is replicated. Servers before 1.28 refuse any that is
/// named where it is not.
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
    #[prost(string, tag = "5")]
    pub tenant: String,
    #[prost(bytes = "bytes", tag = "6")]
    pub vector_bytes: Bytes,
    #[prost(message, repeated, tag = "23")]
    pub vectors: Vec<Vectors>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BatchProperties {
    #[prost(message, optional, tag = "1")]
    pub non_ref_properties: Option<Struct>,
    #[prost(message, repeated, tag = "4")]
    pub number_array_properties: Vec<NumberArray>,
    #[prost(message, repeated, tag = "5")]
    pub int_array_properties: Vec<IntArray>,
    #[prost(message, repeated, tag = "6")]
    pub text_array_properties: Vec<TextArray>,
    #[prost(message, repeated, tag = "7")]
    pub boolean_array_properties: Vec<BoolArray>,
    #[prost(message, repeated, tag = "8")]
    pub object_properties: Vec<ObjectProperty>,
    #[prost(message, repeated, tag = "9")]
    pub object_array_properties: Vec<ObjectArray>,
    #[prost(string, repeated, tag = "10")]
    pub empty_list_props: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct NumberArray {
    #[prost(string, tag = "2")]
    pub prop_name: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub values_bytes: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct IntArray {
    #[prost(int64, repeated, tag = "1")]
    pub values: Vec<i64>,
    #[prost(string, tag = "2")]
    pub prop_name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct TextArray {
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
    #[prost(string, tag = "2")]
    pub prop_name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BoolArray {
    #[prost(bool, repeated, tag = "1")]
    pub values: Vec<bool>,
    #[prost(string, tag = "2")]
    pub prop_name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ObjectProperty {
    #[prost(message, optional, tag = "1")]
    pub value: Option<ObjectValue>,
    #[prost(string, tag = "2")]
    pub prop_name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ObjectArray {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<ObjectValue>,
    #[prost(string, tag = "2")]
    pub prop_name: String,
}

/// `ObjectPropertiesValue`: as [`BatchProperties`], with the numbers that it has for objects.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ObjectValue {
    #[prost(message, optional, tag = "1")]
    pub non_ref_properties: Option<Struct>,
    #[prost(message, repeated, tag = "2")]
    pub number_array_properties: Vec<NumberArray>,
    #[prost(message, repeated, tag = "3")]
    pub int_array_properties: Vec<IntArray>,
    #[prost(message, repeated, tag = "4")]
    pub text_array_properties: Vec<TextArray>,
    #[prost(message, repeated, tag = "5")]
    pub boolean_array_properties: Vec<BoolArray>,
    #[prost(message, repeated, tag = "6")]
    pub object_properties: Vec<ObjectProperty>,
    #[prost(message, repeated, tag = "7")]
    pub object_array_properties: Vec<ObjectArray>,
    #[prost(string, repeated, tag = "10")]
    pub empty_list_props: Vec<String>,
}

/// `google.protobuf.Struct`: a map on the wire, given as the list that it is. No name may come twice.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Struct {
    #[prost(message, repeated, tag = "1")]
    pub fields: Vec<StructField>,
}

/// One entry of it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StructField {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<StructValue>,
}

impl StructField {
    /// An entry with a value.
    pub fn new(name: String, kind: StructKind) -> Self {
        Self { name, value: Some(StructValue { kind: Some(kind) }) }
    }
}

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StructValue {
    #[prost(oneof = "StructKind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<StructKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum StructKind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(message, tag = "5")]
    Struct(Struct),
    #[prost(message, tag = "6")]
    List(StructList),
}

/// `google.protobuf.ListValue`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StructList {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<StructValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BatchObjectsReply {
    #[prost(message, repeated, tag = "2")]
    pub errors: Vec<BatchError>,
}

/// What became of the item at `index` of the request; an item without one was taken.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BatchError {
    #[prost(int32, tag = "1")]
    pub index: i32,
    #[prost(string, tag = "2")]
    pub error: String,
}

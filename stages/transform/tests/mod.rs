//! Tests of filter and transform over small tables in memory.

mod query;
mod verbs;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit, UInt16Type};
use datafusion::prelude::SessionContext;
use restow_core::record::{NULL_NUMBER, ROLE_KEY, Roles, json_field, list_item, vector_type};
use restow_core::session::{SessionLimits, session};
use restow_core::stage::{Registry, RowContext, RowStageFactory, Rows};
use restow_core::{EngineError, Result};
use restow_spec::pipeline::{Filter, Missing, RowStage, Transform};

use crate::filter::FilterStage;
use crate::transform::TransformStage;

/// The session that the engine itself uses.
pub(crate) fn context() -> RowContext {
    let mut registry = Registry::default();
    crate::transform::register(&mut registry);
    let limits = SessionLimits { memory: 64 << 20, parallel: 2, batch_rows: 1024 };
    RowContext { dataset: "cities".to_owned(), session: session(&registry, limits).unwrap() }
}

fn number(field: Field, number: u16) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(NULL_NUMBER.to_owned(), number.to_string());
    field.with_metadata(metadata)
}

fn role(field: Field, role: &str) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(ROLE_KEY.to_owned(), role.to_owned());
    field.with_metadata(metadata)
}

/// Three cities with every kind of column: id, text, a date with its own text, JSON, a vector, names that need quotes.
pub(crate) fn cities() -> RecordBatch {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let fields = vec![
        role(Field::new("id", DataType::Utf8, false), "id"),
        number(Field::new("name", DataType::Utf8, true), 1),
        number(Field::new("population", DataType::Int64, true), 2),
        number(Field::new("createdDate", utc, true), 3),
        json_field("meta"),
        role(Field::new("embedding", vector_type(3), true), "vector"),
        Field::new("a.b", DataType::Int64, true),
        Field::new("größe 😀", DataType::Float64, true),
        Field::new("_restow_text_createdDate", DataType::Utf8, true),
        Field::new("_restow_null", DataType::List(list_item(DataType::UInt16).into()), true),
    ];
    let vectors = Float32Array::from(vec![3.0, 0.0, 4.0, 0.0, 0.0, 0.0, 1.0, 2.0, 2.0]);
    let vectors = FixedSizeListArray::try_new(list_item(DataType::Float32).into(), 3, Arc::new(vectors), None).unwrap();
    let nulls = ListArray::from_iter_primitive::<UInt16Type, _, _>([None, Some(vec![Some(2)]), None]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["a", "b", "c"])),
        Arc::new(StringArray::from(vec!["Paris", "Rome", "Bern"])),
        Arc::new(Int64Array::from(vec![Some(2_100_000), None, Some(134_000)])),
        Arc::new(TimestampMicrosecondArray::from(vec![0, 1, 2]).with_timezone("UTC")),
        Arc::new(StringArray::from(vec![
            r#"{"mayor":{"name":"A"},"area":105,"big":true}"#,
            r#"{"area":1285}"#,
            "null",
        ])),
        Arc::new(vectors),
        Arc::new(Int64Array::from(vec![1, 2, 3])),
        Arc::new(Float64Array::from(vec![1.5, 2.5, 3.5])),
        Arc::new(StringArray::from(vec![Some("1970-01-01T00:00:00.000000001Z"), None, None])),
        Arc::new(nulls),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// Rows as a source gives them.
pub(crate) fn rows(session: &SessionContext, batch: RecordBatch) -> Rows {
    let schema = batch.schema();
    let lineage: BTreeMap<_, _> =
        schema.fields().iter().map(|field| (field.name().clone(), field.name().clone())).collect();
    Rows { frame: session.read_batch(batch).unwrap(), roles: Roles::of(&schema), lineage }
}

pub(crate) fn filter(sql: &str) -> RowStage {
    filter_missing(sql, Missing::Error)
}

pub(crate) fn filter_missing(sql: &str, missing: Missing) -> RowStage {
    let pointer = "/stages/1/filter".to_owned();
    RowStage::Filter(Filter { sql: sql.to_owned(), datasets: vec![], missing, sql_pointer: pointer.clone(), pointer })
}

/// A transform from the YAML of its verbs, as JSON.
pub(crate) fn transform(verbs: serde_json::Value) -> RowStage {
    let names = |key: &str| -> Option<Vec<String>> { serde_json::from_value(verbs.get(key)?.clone()).ok() };
    let pairs = |key: &str| {
        let map = verbs.get(key).and_then(serde_json::Value::as_object).cloned().unwrap_or_default();
        map.into_iter().map(|(name, value)| (name, value.as_str().unwrap().to_owned())).collect()
    };
    RowStage::Transform(Transform {
        rename: pairs("rename"),
        drop: names("drop").unwrap_or_default(),
        keep: names("keep"),
        cast: pairs("cast"),
        set: pairs("set"),
        sql: verbs.get("sql").and_then(serde_json::Value::as_str).map(str::to_owned),
        datasets: names("datasets").unwrap_or_default(),
        missing: verbs.get("missing").map(|value| serde_json::from_value(value.clone()).unwrap()).unwrap_or_default(),
        pointer: "/stages/2/transform".to_owned(),
    })
}

pub(crate) fn apply(stage: &RowStage, rows: Rows, context: &RowContext) -> Result<Rows> {
    match stage {
        RowStage::Filter(_) => FilterStage.apply(stage, rows, context),
        RowStage::Transform(_) => TransformStage.apply(stage, rows, context),
        RowStage::Reshape(_) => panic!("no stage of this folder"),
    }
}

/// The stage over the three cities.
pub(crate) fn on_cities(stage: &RowStage) -> Result<Rows> {
    let context = context();
    apply(stage, rows(&context.session, cities()), &context)
}

/// An error as its whole text: message, hint, place.
pub(crate) fn text(error: &EngineError) -> String {
    let mut text = error.message().to_owned();
    if let Some(hint) = error.hint() {
        text.push_str(&format!(" | {hint}"));
    }
    if let Some(place) = error.place() {
        text.push_str(&format!(" | {}", place.pointer));
        if let Some((line, column)) = place.inside {
            text.push_str(&format!(":{line}:{column}"));
        }
    }
    text
}

pub(crate) fn error(stage: &RowStage) -> String {
    match on_cities(stage) {
        Ok(rows) => panic!("the stage must not fit: {}", rows.frame.logical_plan().display_indent()),
        Err(error) => text(&error),
    }
}

pub(crate) async fn collect(rows: &Rows) -> RecordBatch {
    let schema = Arc::new(rows.frame.schema().as_arrow().clone());
    let batches = rows.frame.clone().collect().await.unwrap();
    match batches.first() {
        Some(first) => arrow::compute::concat_batches(&first.schema(), &batches).unwrap(),
        None => RecordBatch::new_empty(schema),
    }
}

pub(crate) fn names(rows: &Rows) -> Vec<String> {
    rows.frame.schema().fields().iter().map(|field| field.name().clone()).collect()
}

/// A column's values as text, nulls as `-`.
pub(crate) fn values(batch: &RecordBatch, column: &str) -> Vec<String> {
    let array = batch.column_by_name(column).unwrap_or_else(|| panic!("no column {column}"));
    let options = arrow::util::display::FormatOptions::default().with_null("-");
    let format = arrow::util::display::ArrayFormatter::try_new(array.as_ref(), &options).unwrap();
    (0..array.len()).map(|row| format.value(row).to_string()).collect()
}

pub(crate) fn metadata(rows: &Rows, column: &str) -> Vec<String> {
    let field = rows.frame.schema().fields().iter().find(|field| field.name() == column).cloned().unwrap();
    let mut keys: Vec<String> = field.metadata().iter().map(|(key, value)| format!("{key}={value}")).collect();
    keys.sort();
    keys
}

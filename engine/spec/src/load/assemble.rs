//! The checked tree as a `Pipeline`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Context, only_entry};
use crate::catalogue::Kind;
use crate::check::format::password_range;
use crate::finding::Finding;
use crate::pipeline::{Component, Filter, Missing, Pipeline, PipelineTest, RowStage, Transform};
use crate::schedule::{Schedule, ScheduleOptions};
use crate::schema::{FilterOptions, StateOptions, TestOptions, TransformOptions};
use crate::units::{ByteSize, HumanDuration};
use crate::yaml::{Document, escape};

/// Builds the pipeline of a tree without errors. What fails here is a place where schema and type disagree.
pub(super) fn assemble(context: &Context<'_>, vars: BTreeMap<String, String>) -> Result<Pipeline, Finding> {
    let document = context.document;
    let stages = Stages::of(context)?;
    let (Some(source), Some(sink)) = (stages.source, stages.sink) else {
        return Err(Finding::new("E301", document.key_place("/stages"), "the pipeline has no source or no sink"));
    };
    let name = context.value.get("name").and_then(Value::as_str).map_or_else(|| stem(document.path()), str::to_owned);
    Ok(Pipeline {
        path: document.path().into(),
        name,
        version: 1,
        vars,
        connections: connections(context),
        schedule: schedule(context)?,
        source,
        rows: stages.rows,
        codec: stages.codec,
        encrypt: stages.encrypt,
        sink,
        on_error: field(context, "on_error")?.unwrap_or_default(),
        retention: field(context, "retention")?,
        verify: field(context, "verify")?,
        tests: tests(context)?,
        memory: field::<ByteSize>(context, "memory")?,
        parallel: field::<u32>(context, "parallel")?,
        state: field::<StateOptions>(context, "state")?.map(|state| state.url),
        resume_within: field::<HumanDuration>(context, "resume_within")?.map(HumanDuration::get),
        redacted: redacted(context.value),
        document: Arc::new(Document::new(document.path(), String::new(), 1)),
    })
}

/// A field of the file as its type. A field with something unset in it is left at its default: `lint` goes on.
fn field<T: DeserializeOwned>(context: &Context<'_>, name: &str) -> Result<Option<T>, Finding> {
    let pointer = format!("/{name}");
    if context.is_open(&pointer) {
        return Ok(None);
    }
    match context.value.get(name) {
        None => Ok(None),
        Some(value) => typed(context, value, &pointer).map(Some),
    }
}

fn typed<T: DeserializeOwned>(context: &Context<'_>, value: &Value, pointer: &str) -> Result<T, Finding> {
    T::deserialize(value)
        .map_err(|error| Finding::new("E109", context.document.value_place(pointer), error.to_string()))
}

#[derive(Default)]
struct Stages {
    source: Option<Component>,
    rows: Vec<RowStage>,
    codec: Option<Component>,
    encrypt: Option<Component>,
    sink: Option<Component>,
}

impl Stages {
    fn of(context: &Context<'_>) -> Result<Self, Finding> {
        let mut stages = Self::default();
        for (index, stage) in context.stages().iter().enumerate() {
            let Some((key, value)) = only_entry(stage) else {
                continue;
            };
            let pointer = format!("/stages/{index}/{key}");
            match key {
                "source" => stages.source = component(Kind::Source, value, &pointer),
                "codec" => stages.codec = component(Kind::Codec, value, &pointer),
                "encrypt" => stages.encrypt = component(Kind::Encrypt, value, &pointer),
                "sink" => stages.sink = component(Kind::Sink, value, &pointer),
                "filter" => stages.rows.push(RowStage::Filter(filter(context, value, pointer)?)),
                "reshape" => stages.rows.extend(component(Kind::Reshape, value, &pointer).map(RowStage::Reshape)),
                "transform" => stages.rows.push(RowStage::Transform(transform(context, value, pointer)?)),
                _ => {}
            }
        }
        Ok(stages)
    }
}

fn component(kind: Kind, value: &Value, pointer: &str) -> Option<Component> {
    let (name, options) = only_entry(value)?;
    let pointer = format!("{pointer}/{}", escape(name));
    Some(Component { kind, name: name.into(), options: options.clone(), pointer })
}

fn connections(context: &Context<'_>) -> BTreeMap<String, Component> {
    let all = context.value.get("connections").and_then(Value::as_object).into_iter().flatten();
    all.filter_map(|(name, value)| {
        let pointer = format!("/connections/{}", escape(name));
        Some((name.clone(), component(Kind::Connection, value, &pointer)?))
    })
    .collect()
}

fn filter(context: &Context<'_>, value: &Value, pointer: String) -> Result<Filter, Finding> {
    if let Some(sql) = value.as_str() {
        let sql_pointer = pointer.clone();
        return Ok(Filter { sql: sql.into(), datasets: Vec::new(), missing: Missing::Error, pointer, sql_pointer });
    }
    let FilterOptions { sql, datasets, missing } = typed(context, value, &pointer)?;
    let sql_pointer = format!("{pointer}/sql");
    Ok(Filter { sql, datasets, missing, pointer, sql_pointer })
}

fn transform(context: &Context<'_>, value: &Value, pointer: String) -> Result<Transform, Finding> {
    let options: TransformOptions = typed(context, value, &pointer)?;
    let TransformOptions { rename, drop, keep, cast, set, sql, datasets, missing } = options;
    Ok(Transform { rename, drop, keep, cast, set, sql, datasets, missing, pointer })
}

fn schedule(context: &Context<'_>) -> Result<Option<Schedule>, Finding> {
    let Some(options) = field::<ScheduleOptions>(context, "schedule")? else {
        return Ok(None);
    };
    match Schedule::new(&options) {
        Ok(schedule) => Ok(Some(schedule)),
        Err(error) => {
            let place = context.document.value_place("/schedule");
            Err(Finding::new("E401", place, error.to_string()).maybe_help(error.help()))
        }
    }
}

fn tests(context: &Context<'_>) -> Result<Vec<PipelineTest>, Finding> {
    let all = context.value.get("tests").and_then(Value::as_array).into_iter().flatten();
    let mut tests = Vec::new();
    for (index, value) in all.enumerate() {
        let pointer = format!("/tests/{index}");
        let options: TestOptions = typed(context, value, &pointer)?;
        let rows = |rows: Vec<Map<String, Value>>| rows.into_iter().map(Value::Object).collect();
        let TestOptions { name, given, expect, dataset } = options;
        tests.push(PipelineTest { name, given: rows(given), expect: rows(expect), dataset, pointer });
    }
    Ok(tests)
}

/// Secrets are references already; a password in a URL is not, and goes.
fn redacted(value: &Value) -> Value {
    match value {
        Value::String(text) => match password_range(text) {
            Some(range) => {
                let mut text = text.clone();
                text.replace_range(range, "***");
                Value::String(text)
            }
            None => value.clone(),
        },
        Value::Array(items) => Value::Array(items.iter().map(redacted).collect()),
        Value::Object(map) => Value::Object(map.iter().map(|(key, value)| (key.clone(), redacted(value))).collect()),
        other => other.clone(),
    }
}

/// The file's name without folder and ending.
fn stem(path: &str) -> String {
    let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let stem = file.strip_suffix(".yaml").or_else(|| file.strip_suffix(".yml")).unwrap_or(file);
    if stem.is_empty() { "pipeline".into() } else { stem.into() }
}

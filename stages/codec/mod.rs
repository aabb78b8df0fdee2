//! Codecs: how rows become the bytes of a file, and how files become rows.
//!
//! [`Codec`] is the codec stage of a pipeline; [`decode`] reads the row formats that DataFusion does not read for us;
//! [`infer`] finds the columns of JSON and CSV. `schemas/records.md` is normative for what the columns mean.

pub mod compression;
pub mod decode;
pub mod encode;
pub mod infer;
mod ipc;
mod json;
pub mod options;
mod parquet;
mod pool;
pub(crate) mod text;
pub mod types;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashSet;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use restow_core::stage::Registry;
use restow_core::{EngineError, Result};
use restow_spec::catalogue::{ComponentInfo, Kind, Problem};
use restow_spec::pipeline::Component;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use encode::{ByteOutput, Encoded, Encoder, MemoryOutput};
pub use options::{ArrowFormat, ArrowOptions, JsonLinesOptions, JsonOptions, ParquetOptions, StreamCompression};
pub(crate) use parquet::VectorPage;

use encode::{BatchWriter, BlockingEncoder};

/// A format with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Codec {
    /// Apache Parquet.
    Parquet(ParquetOptions),
    /// One JSON object a line.
    JsonLines(JsonLinesOptions),
    /// One JSON array of objects.
    Json(JsonOptions),
    /// Arrow IPC.
    Arrow(ArrowOptions),
}

impl Default for Codec {
    fn default() -> Self {
        Self::Parquet(ParquetOptions::default())
    }
}

impl Codec {
    /// The codec of a codec stage; without one, Parquet with zstd 3.
    ///
    /// # Errors
    /// The options are not those of the codec.
    pub fn of(component: Option<&Component>) -> Result<Self> {
        let Some(component) = component else { return Ok(Self::default()) };
        let problem = |problem: Problem| {
            let error = EngineError::usage(problem.message).at(format!("{}{}", component.pointer, problem.pointer));
            match problem.help {
                Some(help) => error.with_hint(help),
                None => error,
            }
        };
        let codec = match component.name.as_str() {
            "parquet" => component.typed().map(Self::Parquet),
            "jsonl" => component.typed().map(Self::JsonLines),
            "json" => component.typed().map(Self::Json),
            "arrow" => component.typed().map(Self::Arrow),
            other => Err(Problem::new("", format!("this build has no codec {other:?}"))
                .with_help("the codecs are parquet, jsonl, json and arrow")),
        };
        let codec = codec.map_err(problem)?;
        match codec.problems().into_iter().next() {
            Some(first) => Err(problem(first)),
            None => Ok(codec),
        }
    }

    /// Its key in a pipeline file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Parquet(_) => "parquet",
            Self::JsonLines(_) => "jsonl",
            Self::Json(_) => "json",
            Self::Arrow(_) => "arrow",
        }
    }

    /// What a file's name ends in, without the first point: `parquet`, `jsonl.gz`, `arrow`.
    pub fn extension(&self) -> String {
        match self {
            Self::Parquet(_) => "parquet".to_owned(),
            Self::JsonLines(options) => format!("jsonl{}", options.compression.extension()),
            Self::Json(options) => format!("json{}", options.compression.extension()),
            Self::Arrow(options) => match options.format {
                ArrowFormat::File => "arrow".to_owned(),
                ArrowFormat::Stream => "arrows".to_owned(),
            },
        }
    }

    /// Whether every value and every type comes back bit for bit, which a repository needs.
    pub fn lossless(&self) -> bool {
        matches!(self, Self::Parquet(_) | Self::Arrow(_))
    }

    /// Checks what the format cannot hold by type. What it cannot hold by value (NaN in JSON) is an error of
    /// [`Encoder::write`], never a null.
    ///
    /// # Errors
    /// Names the dataset, the column and its type.
    pub fn check(&self, dataset: &str, schema: &Schema) -> Result<()> {
        let mut names = HashSet::new();
        for field in schema.fields() {
            if !names.insert(field.name()) {
                return Err(EngineError::usage(format!("dataset {dataset:?} has two columns {:?}", field.name()))
                    .with_hint("rename or drop one of them in a transform"));
            }
            if let Some(found) = self.unsupported(field.data_type()) {
                return Err(EngineError::usage(format!(
                    "dataset {dataset:?}: the codec {} cannot hold column {:?} without loss: {found}",
                    self.name(),
                    field.name()
                ))
                .with_hint("cast or drop the column in a transform, or use another codec"));
            }
        }
        if schema.fields().is_empty() && matches!(self, Self::Parquet(_)) {
            return Err(EngineError::usage(format!("dataset {dataset:?} has no columns, which Parquet cannot hold"))
                .with_hint("leave the dataset out, or declare its columns"));
        }
        Ok(())
    }

    /// Begins a file. The schema is that of all batches, with the roles stamped; [`Codec::check`] has passed it.
    ///
    /// # Errors
    /// The format cannot hold the schema.
    pub fn encoder(&self, schema: SchemaRef, output: Box<dyn ByteOutput>) -> Result<Box<dyn Encoder>> {
        let writer: Box<dyn BatchWriter> = match self {
            Self::Parquet(options) => Box::new(parquet::ParquetFile::new(options, &schema)?),
            Self::JsonLines(options) => {
                Box::new(json::JsonFile::new(&schema, false, options.compression, options.level)?)
            }
            Self::Json(options) => Box::new(json::JsonFile::new(&schema, true, options.compression, options.level)?),
            Self::Arrow(options) => Box::new(ipc::ArrowFile::new(options, &schema)?),
        };
        Ok(Box::new(BlockingEncoder::new(writer, schema, output)))
    }

    fn unsupported(&self, data_type: &DataType) -> Option<String> {
        match self {
            Self::Parquet(_) => parquet::unsupported(data_type),
            Self::JsonLines(_) | Self::Json(_) => json::unsupported(data_type),
            Self::Arrow(_) => None,
        }
    }

    fn problems(&self) -> Vec<Problem> {
        match self {
            Self::Parquet(options) => options.problems(),
            Self::JsonLines(options) => options::stream_problems(options.compression, options.level),
            Self::Json(options) => options::stream_problems(options.compression, options.level),
            Self::Arrow(_) => Vec::new(),
        }
    }
}

/// Adds the four codecs.
pub fn register(registry: &mut Registry) {
    registry.add_options(info::<ParquetOptions>(
        "parquet",
        "columns, compressed; the default: every type comes back as it was",
        "compression: zstd\nlevel: 3\n",
        |options| checked(options, Codec::Parquet),
    ));
    registry.add_options(info::<JsonLinesOptions>(
        "jsonl",
        "one JSON object a line",
        "compression: gzip\n",
        |options| checked(options, Codec::JsonLines),
    ));
    registry.add_options(info::<JsonOptions>("json", "one JSON array of objects", "compression: none\n", |options| {
        checked(options, Codec::Json)
    }));
    registry.add_options(info::<ArrowOptions>(
        "arrow",
        "Arrow IPC file or stream: every type comes back as it was",
        "compression: zstd\nformat: file\n",
        |options| checked(options, Codec::Arrow),
    ));
}

fn info<T: schemars::JsonSchema>(
    name: &'static str,
    summary: &'static str,
    example: &'static str,
    check: fn(&Value) -> Vec<Problem>,
) -> ComponentInfo {
    let schema = schemars::schema_for!(T);
    ComponentInfo {
        kind: Kind::Codec,
        name,
        summary,
        example,
        schema,
        byte_sink: false,
        codecs: None,
        verifies: &[],
        bytes_source: false,
        check,
    }
}

/// What the schema of the options cannot say.
fn checked<T: DeserializeOwned>(options: &Value, codec: fn(T) -> Codec) -> Vec<Problem> {
    match T::deserialize(options) {
        Ok(options) => codec(options).problems(),
        Err(error) => vec![Problem::new("", error.to_string())],
    }
}

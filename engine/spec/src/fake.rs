//! A small catalogue for tests.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::schema::schema_of;
use crate::{
    ByteSize, Catalogue, ComponentInfo, Diagnostic, Kind, LoadOptions, Pipeline, Problem, Secret, VerifyLevel, load,
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct DemoConnection {
    /// Where it is.
    #[schemars(extend("format" = "url"))]
    url: String,
    /// The key of the service.
    #[serde(default)]
    api_key: Option<Secret>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct DemoOptions {
    connection: String,
    #[serde(default)]
    collections: Vec<String>,
    #[serde(default)]
    batch_rows: Option<u32>,
    #[serde(default)]
    tls: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct FilesOptions {
    /// A path or a URL.
    path: String,
    #[serde(default)]
    format: Option<Format>,
    #[serde(default)]
    roll: Option<ByteSize>,
    #[serde(default, rename = "where")]
    #[schemars(extend("format" = "sql-expression"))]
    condition: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code)]
enum Format {
    /// Columns.
    Parquet,
    /// Lines.
    Jsonl,
    Csv,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct RepositoryConnection {
    url: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct RepositoryOptions {
    connection: String,
    #[serde(default)]
    mode: Option<Mode>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code)]
enum Mode {
    Full,
    Incremental,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Parquet {
    #[serde(default)]
    compression: Option<Compression>,
    #[serde(default)]
    #[schemars(range(min = 1, max = 22))]
    level: Option<i32>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Jsonl {}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code)]
enum Compression {
    None,
    Zstd,
    Lz4,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Aes {
    #[serde(default)]
    key: Option<Secret>,
    #[serde(default)]
    key_file: Option<String>,
}

fn none(_: &Value) -> Vec<Problem> {
    Vec::new()
}

fn one_key(options: &Value) -> Vec<Problem> {
    if options.get("key").is_some() && options.get("key_file").is_some() {
        return vec![Problem::new("/key_file", "both key and key_file are given").with_help("keep one of them")];
    }
    Vec::new()
}

fn info<T: JsonSchema>(kind: Kind, name: &'static str, summary: &'static str, example: &'static str) -> ComponentInfo {
    let schema = schema_of::<T>();
    ComponentInfo {
        kind,
        name,
        summary,
        example,
        schema,
        byte_sink: false,
        codecs: None,
        verifies: &[],
        bytes_source: false,
        check: none,
    }
}

pub(crate) fn catalogue() -> Catalogue {
    let bytes = |info: ComponentInfo| ComponentInfo { byte_sink: true, ..info };
    [
        info::<DemoConnection>(
            Kind::Connection,
            "demo",
            "A demo database",
            "url: http://localhost:1\napi_key: \"${secret:env:DEMO_KEY}\"",
        ),
        info::<RepositoryConnection>(Kind::Connection, "repository", "A repository", "url: ./backups"),
        info::<DemoOptions>(Kind::Source, "demo", "Reads a demo database", "connection: prod\ncollections: [Article]"),
        info::<FilesOptions>(Kind::Source, "files", "Reads files", "path: data/*.jsonl"),
        info::<RepositoryOptions>(Kind::Source, "repository", "Reads a snapshot", "connection: backups"),
        info::<Jsonl>(Kind::Reshape, "plain", "A plain layout", "{}"),
        info::<Parquet>(Kind::Codec, "parquet", "Columns in Parquet", "compression: zstd\nlevel: 3"),
        info::<Jsonl>(Kind::Codec, "jsonl", "One JSON object a line", "{}"),
        ComponentInfo {
            check: one_key,
            ..info::<Aes>(Kind::Encrypt, "aes-256-gcm", "Seals with AES", "key: \"${secret:env:RESTOW_KEY}\"")
        },
        info::<DemoOptions>(Kind::Sink, "demo", "Writes a demo database", "connection: prod"),
        bytes(info::<FilesOptions>(Kind::Sink, "files", "Writes files", "path: out/")),
        ComponentInfo {
            codecs: Some(&["parquet"]),
            verifies: &[VerifyLevel::Checksum, VerifyLevel::Sample, VerifyLevel::Read],
            ..bytes(info::<RepositoryOptions>(Kind::Sink, "repository", "Writes a snapshot", "connection: backups"))
        },
    ]
    .into_iter()
    .collect()
}

/// Loads as `lint` does, with `HOST=h` in the environment.
pub(crate) fn load_with(text: &str, catalogue: &Catalogue) -> (Option<Pipeline>, Vec<Diagnostic>) {
    let env = BTreeMap::from([("HOST".to_owned(), "h".to_owned()), ("N".to_owned(), "7".to_owned())]);
    let vars = BTreeMap::new();
    load("p.yaml", text, &LoadOptions { catalogue, env: &env, vars: &vars, unset_is_error: false })
}

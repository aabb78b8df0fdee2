//! The options of the files source, sink and connection, as a pipeline file writes them.

use std::borrow::Cow;
use std::fmt;

use globset::GlobBuilder;
use restow_spec::catalogue::Problem;
use restow_spec::units::ByteSize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

pub(super) use crate::codec::StreamCompression as Compression;
use crate::codec::types::parse_type;
use crate::encrypt::Unlock;

/// Size at which a sink begins the next file of a split, in bytes.
const PART_SIZE: u64 = 1 << 30;
/// Smallest `part_size`, in bytes: smaller files cost more in requests than they hold.
const MIN_PART_SIZE: u64 = 1 << 20;
/// Largest `part_size`, in bytes: stores copy larger objects only in pieces.
const MAX_PART_SIZE: u64 = 4 << 30;

/// `source: { files: { .. } }`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceOptions {
    /// What to read: a file, a folder, a glob, or a list of them; a path or a store URL.
    /// A glob matches names that begin with `_` like any other; names that begin with `.` need that dot in the pattern.
    /// A folder takes every file below it except names that begin with `.` and the side files of Spark, Parquet and
    /// Delta: `_SUCCESS`, `_metadata`, `_common_metadata`, `_delta_log/`, `_change_data/`, `_temporary/`.
    /// Neither takes restow's own names, `_restow_*`. All of this goes for folders inside a path too.
    pub path: Paths,
    /// Name of the dataset; joins all files. Default: the file's name without extensions, or the folder's name.
    #[serde(default)]
    pub dataset: Option<String>,
    /// Format of the files. Default: by their extension.
    #[serde(default)]
    pub format: Option<Format>,
    /// Compression of whole files (jsonl, json, csv, arrow). Default: by their extension.
    #[serde(default)]
    pub compression: Option<Compression>,
    /// Column that identifies a row. Default: the one that the files' own metadata names, else none.
    #[serde(default)]
    pub id: Option<String>,
    /// Types of columns, over what inference finds: `{ population: int, embedding: vector(384) }`. Default: none.
    #[serde(default)]
    pub schema: Columns,
    /// Columns that stand in the names of folders (`year=2024/`), with their types: `{ year: int }`.
    /// `{}` leaves the values of such folders out. Default: none, and such folders below the path are an error.
    #[serde(default)]
    pub partitions: Option<Columns>,
    /// How CSV files are laid out. Default: comma, a header line, double quotes.
    #[serde(default)]
    pub csv: CsvOptions,
    /// The key of an encrypted export, with the same options as the encrypt stage. Default: none.
    #[serde(default)]
    pub unlock: Option<Unlock>,
    /// A files connection; `path` is then relative to its url. Default: none.
    #[serde(default)]
    pub connection: Option<String>,
}

/// `sink: { files: { .. } }`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SinkOptions {
    /// The folder to write, a path or a store URL. It must not hold an export yet.
    pub path: String,
    /// Several files in a folder for each dataset, or one file for each dataset. Default: parts.
    #[serde(default)]
    pub layout: Layout,
    /// Columns whose values become folders, `country=FR/`, as in Hive: text, whole numbers, dates or booleans. The files do
    /// not hold them. Needs the layout parts, and no encryption, since the names of folders are in clear. A name of a folder
    /// cannot tell null from absent: a property of JSON that was an explicit null is absent when it is read back. Default: none.
    #[serde(default)]
    pub partition_by: Vec<String>,
    /// Size at which the next file of a split is begun. Default: 1GiB. Minimum: 1MiB. Maximum: 4GiB.
    #[serde(default = "part_size")]
    pub part_size: ByteSize,
    /// A files connection; `path` is then relative to its url. Default: none.
    #[serde(default)]
    pub connection: Option<String>,
}

/// `connections: { name: { files: { .. } } }`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectionOptions {
    /// A folder, a path or a store URL (`s3://bucket/prefix`, `gs://`, `az://`, `https://`), that paths are relative to.
    #[schemars(extend("format" = "url"))]
    pub url: String,
    /// Address of an S3-compatible server, or of an emulator. Default: the provider's own.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Region of an S3 bucket. Default: AWS_REGION, else us-east-1.
    #[serde(default)]
    pub region: Option<String>,
    /// Whether an endpoint without TLS may be used. Default: false.
    #[serde(default)]
    pub allow_http: bool,
    /// Whether to send requests without a signature, for public buckets. Default: false.
    #[serde(default)]
    pub anonymous: bool,
}

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// Apache Parquet: `.parquet`, `.parq`, `.pq`.
    Parquet,
    /// One JSON object a line: `.jsonl`, `.ndjson`.
    Jsonl,
    /// One JSON array of objects: `.json`.
    Json,
    /// Arrow IPC, file or stream: `.arrow`, `.arrows`, `.feather`, `.ipc`.
    Arrow,
    /// Comma-separated values: `.csv`, `.tsv`.
    Csv,
}

/// How CSV files are laid out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CsvOptions {
    /// The one-byte character between values. Default: comma; a tab for `.tsv`.
    pub delimiter: Option<char>,
    /// Whether the first line names the columns; without it they are column_1, column_2, ... Default: true.
    pub header: bool,
    /// The one-byte character around values. Default: ".
    pub quote: char,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { delimiter: None, header: true, quote: '"' }
    }
}

/// How an export is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Layout {
    /// `<dataset>/part-*`, written in parallel and resumable.
    #[default]
    Parts,
    /// `<dataset>.<ext>`: gathered into one file, not resumable.
    Single,
}

/// One path or a list of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paths(pub Vec<String>);

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Paths;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path or a list of paths")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Paths, E> {
                Ok(Paths(vec![text.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Paths, A::Error> {
                let mut paths = Vec::new();
                while let Some(path) = sequence.next_element()? {
                    paths.push(path);
                }
                Ok(Paths(paths))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for Paths {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Paths".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "array"], "items": { "type": "string" }, "minItems": 1, "minLength": 1 })
    }
}

/// Columns with their types, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Columns(pub Vec<(String, String)>);

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Columns;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from column to type")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Columns, A::Error> {
                let mut columns = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    columns.push(entry);
                }
                Ok(Columns(columns))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl JsonSchema for Columns {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Columns".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}

/// What the schema of the source cannot say.
pub(super) fn check_source(options: &Value) -> Vec<Problem> {
    let options = match SourceOptions::deserialize(options) {
        Ok(options) => options,
        Err(error) => return vec![Problem::new("", error.to_string())],
    };
    let mut problems = Vec::new();
    for (n, path) in options.path.0.iter().enumerate() {
        let pointer = if options.path.0.len() == 1 { "/path".to_owned() } else { format!("/path/{n}") };
        if path.is_empty() {
            problems.push(Problem::new(pointer, "the path is empty").with_help("write . for the current folder"));
        } else if let Err(error) = GlobBuilder::new(path).literal_separator(true).build() {
            problems.push(Problem::new(pointer, format!("{path:?} is not a valid glob: {}", error.kind())));
        }
    }
    let partitions = options.partitions.clone().unwrap_or_default();
    for (name, columns) in [("schema", &options.schema), ("partitions", &partitions)] {
        for (column, type_name) in &columns.0 {
            if let Err(error) = parse_type(type_name) {
                let pointer = format!("/{name}/{}", column.replace('~', "~0").replace('/', "~1"));
                let problem = Problem::new(pointer, error.message());
                problems.push(error.hint().map_or(problem.clone(), |hint| problem.with_help(hint)));
            }
        }
    }
    for (column, _) in &partitions.0 {
        if options.schema.0.iter().any(|(other, _)| other == column) {
            problems.push(
                Problem::new("/partitions", format!("column {column:?} stands in both `schema` and `partitions`"))
                    .with_help("name it once, where its values are"),
            );
        }
    }
    problems.extend(csv_problems(&options.csv));
    problems
}

fn csv_problems(csv: &CsvOptions) -> Vec<Problem> {
    let letters = [("delimiter", csv.delimiter), ("quote", Some(csv.quote))];
    let wide = letters.into_iter().filter_map(|(name, letter)| Some((name, letter.filter(|c| !c.is_ascii())?)));
    wide.map(|(name, letter)| Problem::new(format!("/csv/{name}"), format!("{letter:?} is not one byte"))).collect()
}

/// What the schema of the sink cannot say.
pub(super) fn check_sink(options: &Value) -> Vec<Problem> {
    let options = match SinkOptions::deserialize(options) {
        Ok(options) => options,
        Err(error) => return vec![Problem::new("", error.to_string())],
    };
    let mut problems = Vec::new();
    if options.path.is_empty() {
        problems.push(Problem::new("/path", "the path is empty").with_help("write . for the current folder"));
    }
    if options.path.contains(['*', '?', '[', '{']) {
        problems.push(
            Problem::new("/path", format!("{:?} looks like a glob, and an export goes into one folder", options.path))
                .with_help("name the folder"),
        );
    }
    if !options.partition_by.is_empty() && options.layout == Layout::Single {
        let problem = Problem::new("/partition_by", "a single file has no folders to partition");
        problems.push(problem.with_help("use `layout: parts`"));
    }
    for (n, column) in options.partition_by.iter().enumerate() {
        let (pointer, twice) = (format!("/partition_by/{n}"), options.partition_by.iter().take(n).any(|c| c == column));
        if column.is_empty() || column.contains('=') {
            problems.push(
                Problem::new(pointer, format!("{column:?} cannot name a folder"))
                    .with_help("rename the column in a transform stage"),
            );
        } else if twice {
            problems.push(Problem::new(pointer, format!("{column:?} is named twice")));
        }
    }
    let size = options.part_size;
    if !(MIN_PART_SIZE..=MAX_PART_SIZE).contains(&size.bytes()) {
        problems.push(Problem::new("/part_size", format!("parts of {size} are not possible")).with_help(format!(
            "use {} to {}",
            ByteSize(MIN_PART_SIZE),
            ByteSize(MAX_PART_SIZE)
        )));
    }
    problems
}

/// Nothing beyond the schema: an address is checked when it is opened.
pub(super) fn check_connection(_: &Value) -> Vec<Problem> {
    Vec::new()
}

fn part_size() -> ByteSize {
    ByteSize(PART_SIZE)
}

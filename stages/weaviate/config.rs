//! The options of the Weaviate connection, source and sink, as a pipeline file writes them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use restow_core::stage::OpenContext;
use restow_core::{EngineError, Result};
use restow_spec::catalogue::Problem;
use restow_spec::pipeline::Component;
use restow_spec::secret::Secret;
use restow_spec::units::ByteSize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use zeroize::Zeroizing;

use super::address::{Address, addresses_of};

/// The name of the component.
pub(super) const NAME: &str = "weaviate";
/// What a page of objects should hold, in bytes.
const PAGE_BYTES: u64 = 2 << 20;

/// A Weaviate server or cluster.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WeaviateConnection {
    /// Address of the REST interface: `http://host:8080`, `https://host`; `weaviate://host` is the same as `http://host:8080`. Several
    /// of one cluster with commas, `weaviate://one:8080,two:8080`: the work is spread over those that answer.
    #[schemars(extend("format" = "url"))]
    pub url: String,
    /// Address of the gRPC interface, `host:port`; of each address of `url`, in the same order, with commas. Default: the hosts of
    /// `url`, port 50051, with TLS where `url` has it.
    #[serde(default)]
    pub grpc: Option<String>,
    /// API key, or a token of OIDC. Default: none, for servers with anonymous access.
    #[serde(default)]
    pub api_key: Option<Secret>,
    /// Certificate of an own certification authority, a PEM file. Default: those that the system trusts.
    #[serde(default)]
    pub ca_file: Option<String>,
}

/// `source: { weaviate: { .. } }`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceOptions {
    /// A connection of kind `weaviate`. Either this or `url`.
    #[serde(default)]
    pub connection: Option<String>,
    /// The address, without a connection.
    #[serde(default)]
    #[schemars(extend("format" = "url"))]
    pub url: Option<String>,
    /// Only these collections; `*` and `?` stand for any text and any character. Default: all.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub collections: Option<Vec<String>>,
    /// Not these collections, with the same signs. Default: none.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Only these tenants, with the same signs; collections without tenants are read whole. Default: all.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub tenants: Option<Vec<String>>,
    /// What happens where a tenant is inactive and cannot be read. Default: refuse.
    #[serde(default)]
    pub cold_tenants: ColdTenants,
    /// Whether the vectors of a collection have one length, as far as its first objects tell, or may differ. Default: found.
    #[serde(default)]
    pub vector_lengths: VectorLengths,
    /// How objects are read: `scan`, over the API, or `{ export: { backend: filesystem } }`, by the server's own export. Default: scan.
    #[serde(default)]
    pub reader: Reader,
    /// Whether what changes while it is read is read again, until all of it is as it was at one moment: into a repository, or files that are
    /// written in parts. Default: fuzzy.
    #[serde(default)]
    pub consistency: Consistency,
    /// Whether filters on properties and times are looked up in the server's inverted index, where it finds few objects. It does not
    /// know objects that were written before a property was indexed: they would be left out without a word. Default: ignore, which
    /// reads every object and filters here. Filters on ids and tenants need no index. With `consistency: settled` whole ranges are read.
    #[serde(default)]
    pub inverted_index: InvertedIndex,
    /// What a page of objects should hold. Smaller pages take longer and need less memory. Default: 2MiB.
    #[serde(default = "page_bytes")]
    pub page_bytes: ByteSize,
}

/// How objects are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum Reader {
    /// Over the API, page by page.
    #[default]
    Scan,
    /// The server writes an export (1.37 and newer, where it is enabled), and its files are read. Faster, inactive tenants included, and
    /// each shard is as it was at one moment. The files stay where they are.
    Export(ExportReader),
}

/// Where the server puts exports, and where they are read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct ExportReader {
    /// The backend at the server.
    pub backend: Backend,
    /// The folder or bucket that the server puts exports into, as this machine reaches it. Default: what the server answers.
    #[serde(default)]
    pub files: Option<String>,
    /// A connection of kind `files`; `files` is then below its url. Default: none.
    #[serde(default)]
    pub connection: Option<String>,
}

/// Where a server keeps backups and exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum Backend {
    Filesystem,
    S3,
    Gcs,
    Azure,
}

impl Backend {
    /// Its name at the server.
    pub fn name(self) -> &'static str {
        match self {
            Self::Filesystem => "filesystem",
            Self::S3 => "s3",
            Self::Gcs => "gcs",
            Self::Azure => "azure",
        }
    }
}

/// Whether the inverted index is used for filters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum InvertedIndex {
    /// Every object is read.
    #[default]
    Ignore,
    /// Objects that it does not find are not read. For collections whose index was never changed, and servers from 1.29 on.
    Trust,
}

/// Whether vectors have one length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum VectorLengths {
    /// The first objects of every tenant are looked at; one of another length is a reject.
    #[default]
    Found,
    /// Any length is taken, and the columns are lists of any length.
    Varying,
}

/// What a scan is of objects that are written while it goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum Consistency {
    /// Each object as it was at some moment of the run.
    #[default]
    Fuzzy,
    /// All objects as they were at one moment, where writers ever pause; the manifest says whether that was reached.
    Settled,
}

/// What happens where a tenant is inactive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum ColdTenants {
    /// The run is refused, and names them.
    #[default]
    Refuse,
    /// They are left out; the manifest names them.
    Skip,
    /// They are activated while they are read, and then put back, also after a run that was killed.
    Activate,
}

/// `sink: { weaviate: { .. } }`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SinkOptions {
    /// A connection of kind `weaviate`. Either this or `url`.
    #[serde(default)]
    pub connection: Option<String>,
    /// The address, without a connection.
    #[serde(default)]
    #[schemars(extend("format" = "url"))]
    pub url: Option<String>,
    /// What becomes of collections that are there already. Default: create, which refuses them.
    #[serde(default)]
    pub mode: Mode,
    /// What becomes of objects that are there already, with `mode: append`. Default: fail.
    #[serde(default)]
    pub conflicts: Conflicts,
    /// Datasets under other names: `{ Doc: Article }`. References follow. Default: a collection is called as its dataset.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    /// Where a snapshot of what will be overwritten or removed is kept first: `{ connection: backups }`, or `none`.
    /// Needed by `mode: drop`, and by `conflicts: overwrite` and `merge`, where there are objects. Default: the run is refused.
    #[serde(default)]
    pub safety: Option<Safety>,
    /// Whether to make the roles of the source that the target lacks. Users and their keys cannot be made: a server tells nobody
    /// its keys. Default: false.
    #[serde(default)]
    pub roles: bool,
    /// Settings of collections that may be lost or differ at the target, by the paths that a refusal names:
    /// `[objectTtlConfig, vectorIndexConfig.distance, "properties.*.textAnalyzer"]`. Default: the run is refused.
    #[serde(default)]
    pub accept: Vec<String>,
    /// What a request with objects should hold, in bytes. Default: 4MiB.
    #[serde(default = "batch_bytes")]
    pub batch_bytes: ByteSize,
}

/// What becomes of collections that are there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum Mode {
    /// The run is refused.
    #[default]
    Create,
    /// They get the objects, and the properties that they lack.
    Append,
    /// They are removed first, with all their objects.
    Drop,
}

/// What becomes of objects that are there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum Conflicts {
    /// The run fails at the first of them.
    #[default]
    Fail,
    /// They are replaced.
    Overwrite,
    /// They stay as they are.
    Skip,
    /// The properties and vectors that the rows have are replaced, the others stay.
    Merge,
}

/// Where a safety snapshot goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Safety {
    /// Nowhere.
    None,
    /// Into the repository of this connection.
    Connection(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SafetyConnection {
    connection: String,
}

impl<'de> Deserialize<'de> for Safety {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(none) if none == "none" => Ok(Self::None),
            value => SafetyConnection::deserialize(value).map(|safety| Self::Connection(safety.connection)).map_err(
                |error| serde::de::Error::custom(format!("safety is {{ connection: NAME }} or none: {error}")),
            ),
        }
    }
}

impl JsonSchema for Safety {
    fn schema_name() -> Cow<'static, str> {
        "Safety".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "oneOf": [
                { "const": "none", "description": "No snapshot: what is overwritten is lost." },
                {
                    "type": "object",
                    "properties": { "connection": { "type": "string", "description": "A connection of kind `repository`." } },
                    "required": ["connection"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

fn batch_bytes() -> ByteSize {
    ByteSize(4 << 20)
}

fn page_bytes() -> ByteSize {
    ByteSize(PAGE_BYTES)
}

impl WeaviateConnection {
    /// The addresses of every node that is named, one at least.
    ///
    /// # Errors
    /// The url is none, or has parts that an address does not have.
    pub fn addresses(&self) -> Result<Vec<Address>> {
        addresses_of(&self.url, self.grpc.as_deref()).map_err(|problem| {
            let error = EngineError::usage(problem.message);
            match problem.help {
                Some(help) => error.with_hint(help),
                None => error,
            }
        })
    }

    /// The key, where there is one.
    ///
    /// # Errors
    /// The reference names nothing.
    pub fn bearer(&self, context: &OpenContext) -> Result<Option<Zeroizing<String>>> {
        let key = self.api_key.as_ref().map(|secret| secret.resolve(context.environment.as_ref())).transpose();
        key.map_err(|error| EngineError::usage(format!("api_key: {error}")).with_hint("nothing was read or written"))
    }
}

pub(super) fn check_connection(options: &Value) -> Vec<Problem> {
    let Ok(connection) = WeaviateConnection::deserialize(options) else { return Vec::new() };
    addresses_of(&connection.url, connection.grpc.as_deref()).err().into_iter().collect()
}

pub(super) fn check_source(options: &Value) -> Vec<Problem> {
    let mut problems = one_address(options);
    let Ok(source) = SourceOptions::deserialize(options) else { return problems };
    if source.reader != Reader::Scan && source.consistency != Consistency::Fuzzy {
        problems.push(
            Problem::new(
                "/consistency",
                "the server's own export is not settled: each shard of it is as it was at one moment",
            )
            .with_help("take `consistency` or `reader` out"),
        );
    }
    problems
}

pub(super) fn check_sink(options: &Value) -> Vec<Problem> {
    let mut problems = one_address(options);
    let Ok(sink) = SinkOptions::deserialize(options) else { return problems };
    if sink.conflicts != Conflicts::Fail && sink.mode != Mode::Append {
        problems.push(
            Problem::new("/conflicts", "conflicts go with mode: append only")
                .with_help("add `mode: append`: with create and drop there is nothing to be in conflict with"),
        );
    }
    for (from, to) in &sink.rename {
        if !is_class_name(to) {
            let message = format!(
                "{to:?} is no name of a collection: it begins with a capital letter, and has letters, digits and _"
            );
            problems.push(Problem::new(format!("/rename/{}", from.replace('~', "~0").replace('/', "~1")), message));
        }
    }
    problems
}

/// Whether a collection may be called so.
pub(super) fn is_class_name(name: &str) -> bool {
    name.len() <= 255
        && name.starts_with(|letter: char| letter.is_ascii_uppercase())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a property or a named vector may be called so.
pub(super) fn is_property_name(name: &str) -> bool {
    name.len() <= 230
        && name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !matches!(name, "id" | "_id" | "_additional")
}

/// Either a connection or a url.
pub(super) fn one_address(options: &Value) -> Vec<Problem> {
    let url = options.get("url").and_then(Value::as_str);
    match (options.get("connection").is_some(), url) {
        (true, Some(_)) => {
            vec![Problem::new("/url", "both connection and url are given").with_help("keep one of them")]
        }
        (false, None) => {
            let help = "for example { connection: server }, and connections: { server: { weaviate: { url: \"http://localhost:8080\" } } }";
            vec![Problem::new("", "weaviate needs a connection or a url").with_help(help)]
        }
        (false, Some(url)) => addresses_of(url, None).err().into_iter().collect(),
        (true, None) => Vec::new(),
    }
}

/// Reads a component's options.
pub(super) fn options<T: DeserializeOwned>(component: &Component) -> Result<T> {
    component.typed().map_err(|problem| EngineError::usage(problem.message).at(component.pointer.clone()))
}

/// The connection that a source or sink means.
pub(super) fn connection(name: Option<&str>, url: Option<&str>, context: &OpenContext) -> Result<WeaviateConnection> {
    match (name, url) {
        (Some(name), _) => {
            let component = context.connections.get(name).ok_or_else(|| {
                EngineError::usage(format!("there is no connection {name:?}"))
                    .with_hint("declare it under `connections:`")
            })?;
            if component.name != NAME {
                let message = format!("connection {name:?} is of kind {:?}, not of kind weaviate", component.name);
                return Err(EngineError::usage(message));
            }
            options(component)
        }
        (None, Some(url)) => Ok(WeaviateConnection { url: url.to_owned(), grpc: None, api_key: None, ca_file: None }),
        (None, None) => Err(EngineError::usage("weaviate needs a connection or a url")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers() {
        let of = |reader: Value| {
            SourceOptions::deserialize(serde_json::json!({ "url": "http://a", "reader": reader }))
                .map(|options| options.reader)
        };
        assert_eq!(of(serde_json::json!("scan")).unwrap(), Reader::Scan);
        let reader = of(serde_json::json!({ "export": { "backend": "s3", "files": "b", "connection": "c" } })).unwrap();
        let wanted =
            ExportReader { backend: Backend::S3, files: Some("b".to_owned()), connection: Some("c".to_owned()) };
        assert_eq!(reader, Reader::Export(wanted));
        for wrong in [serde_json::json!("export"), serde_json::json!({ "export": {} })] {
            assert!(of(wrong).is_err());
        }
    }
}

//! Options of the repository's connection, source and sink, and how they become an address and a key.

use restow_core::stage::OpenContext;
use restow_core::{EngineError, ExitClass, Result};
use restow_spec::catalogue::Problem;
use restow_spec::pipeline::Component;
use restow_store::keys::KeySource;
use restow_store::location::{self, Location, StoreOptions};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::encrypt::{self, Unlock};

/// The name of the component.
pub(super) const NAME: &str = "repository";

/// A repository by address.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RepositoryConnection {
    /// Where it lies: a path, `s3://bucket/prefix`, `gs://`, `az://`, `https://` (read-only).
    #[schemars(extend("format" = "url"))]
    pub url: String,
    /// Whether a sink may make the repository where there is none. A mistyped address must not become a new
    /// repository, so the default is `never`.
    pub create: Create,
    /// The key of an encrypted repository, unless the pipeline has an `encrypt` stage.
    pub unlock: Option<Unlock>,
    /// Address of an S3-compatible server or of an emulator. Default: the provider's own.
    pub endpoint: Option<String>,
    /// Region of an S3 bucket. Default: `AWS_REGION`, else us-east-1.
    pub region: Option<String>,
    /// Whether an endpoint without TLS may be used. Default false.
    pub allow_http: bool,
    /// Whether to send requests without a signature, for public buckets. Default false.
    pub anonymous: bool,
}

/// Whether a sink may make the repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Create {
    /// It must exist.
    #[default]
    Never,
    /// The first run makes it.
    IfMissing,
}

/// Reads the datasets of a snapshot.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RepositorySource {
    /// A connection of kind `repository`. Either this or `url`.
    pub connection: Option<String>,
    /// The address, without a connection.
    #[schemars(extend("format" = "url"))]
    pub url: Option<String>,
    /// The key, where `url` is given. Different keys here and at the connection are an error.
    pub unlock: Option<Unlock>,
    /// A snapshot id, a unique prefix of one, or `latest`. Default latest. Plain HTTP servers do not list: there the
    /// whole id is needed.
    pub snapshot: String,
    /// Only these datasets; `*` and `?` stand for any text and any character. Default all.
    #[schemars(length(min = 1))]
    pub datasets: Option<Vec<String>>,
    /// Whether a partial snapshot may be read whole. Default false.
    pub allow_partial: bool,
}

impl Default for RepositorySource {
    fn default() -> Self {
        Self {
            connection: None,
            url: None,
            unlock: None,
            snapshot: "latest".to_owned(),
            datasets: None,
            allow_partial: false,
        }
    }
}

/// Writes one snapshot a run.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RepositorySink {
    /// A connection of kind `repository`. Either this or `url`.
    pub connection: Option<String>,
    /// The address, without a connection.
    #[schemars(extend("format" = "url"))]
    pub url: Option<String>,
    /// Whether the first run makes the repository, where `url` is given.
    pub create: Create,
}

pub(super) fn check_connection(options: &Value) -> Vec<Problem> {
    let Ok(connection) = RepositoryConnection::deserialize(options) else { return Vec::new() };
    let mut problems = Vec::new();
    if connection.url.is_empty() {
        problems.push(Problem::new("", "a repository needs a url").with_help("for example { url: backups }"));
    }
    if let Some(unlock) = options.get("unlock") {
        problems.extend(below("/unlock", encrypt::check(unlock)));
    }
    problems
}

pub(super) fn check_source(options: &Value) -> Vec<Problem> {
    let mut problems = address(options);
    if let Some(unlock) = options.get("unlock") {
        problems.extend(below("/unlock", encrypt::check(unlock)));
    }
    problems
}

pub(super) fn check_sink(options: &Value) -> Vec<Problem> {
    address(options)
}

fn below(pointer: &str, problems: Vec<Problem>) -> Vec<Problem> {
    problems
        .into_iter()
        .map(|problem| Problem { pointer: format!("{pointer}{}", problem.pointer), ..problem })
        .collect()
}

fn address(options: &Value) -> Vec<Problem> {
    match (options.get("connection").is_some(), options.get("url").is_some()) {
        (true, true) => vec![Problem::new("/url", "both connection and url are given").with_help("keep one of them")],
        (false, false) => {
            let help =
                "for example { connection: backups }, and connections: { backups: { repository: { url: backups } } }";
            vec![Problem::new("", "a repository needs a connection or a url").with_help(help)]
        }
        _ => Vec::new(),
    }
}

/// Reads a component's options.
pub(super) fn options<T: DeserializeOwned>(component: &Component) -> Result<T> {
    component.typed().map_err(|problem| EngineError::usage(problem.message).at(component.pointer.clone()))
}

/// A repository that is meant, not yet opened.
#[derive(Debug)]
pub(super) struct Target {
    pub location: Location,
    pub key: Option<KeySource>,
    pub create: Create,
    pub recovery_key_file: Option<String>,
}

/// What the options of a source or sink mean, together with the encrypt stage of the pipeline.
pub(super) fn target(
    connection: Option<&str>,
    url: Option<&str>,
    own: Option<&Unlock>,
    stage: Option<&Unlock>,
    context: &OpenContext,
) -> Result<Target> {
    let connection = match (connection, url) {
        (Some(name), _) => named(name, context)?,
        (None, Some(url)) => RepositoryConnection { url: url.to_owned(), ..RepositoryConnection::default() },
        (None, None) => return Err(EngineError::usage("a repository needs a connection or a url")),
    };
    let options = StoreOptions {
        environment: context.store_environment(),
        endpoint: connection.endpoint.clone(),
        region: connection.region.clone(),
        allow_http: connection.allow_http,
        anonymous: connection.anonymous,
        ..StoreOptions::default()
    };
    let location = location::open(&in_directory(&connection.url, context), &options)?;
    let location = Location { anchors: context.anchors.clone(), ..location };
    let unlock = one_unlock([own, connection.unlock.as_ref(), stage], context)?;
    let recovery_key_file =
        [own, connection.unlock.as_ref(), stage].into_iter().flatten().find_map(|u| u.recovery_key_file.clone());
    Ok(Target { location, key: unlock, create: connection.create, recovery_key_file })
}

/// Relative local paths are relative to the folder of the run.
fn in_directory(url: &str, context: &OpenContext) -> String {
    if url.contains("://") || url.starts_with("memory:") || url.starts_with('/') {
        return url.to_owned();
    }
    context.directory.join(url).display().to_string()
}

fn named(name: &str, context: &OpenContext) -> Result<RepositoryConnection> {
    let component = context.connections.get(name).ok_or_else(|| {
        EngineError::usage(format!("there is no connection {name:?}")).with_hint("declare it under `connections:`")
    })?;
    if component.name != NAME {
        return Err(EngineError::usage(format!(
            "connection {name:?} is of kind {:?}, not of kind repository",
            component.name
        )));
    }
    options(component)
}

/// The one key that all places agree on.
fn one_unlock(places: [Option<&Unlock>; 3], context: &OpenContext) -> Result<Option<KeySource>> {
    let mut found: Option<KeySource> = None;
    for unlock in places.into_iter().flatten() {
        let key = unlock.key_source(context)?;
        match &found {
            Some(first) if !same(first, &key) => {
                let message = "the encrypt stage and the `unlock:` of the connection name different keys";
                return Err(EngineError::new(ExitClass::Usage, message)
                    .with_hint("keep one of them; nothing was read or written"));
            }
            Some(_) => {}
            None => found = Some(key),
        }
    }
    Ok(found)
}

fn same(a: &KeySource, b: &KeySource) -> bool {
    match (a, b) {
        (KeySource::Key(a), KeySource::Key(b)) | (KeySource::Passphrase(a), KeySource::Passphrase(b)) => a == b,
        (KeySource::KeyFile { path: a, .. }, KeySource::KeyFile { path: b, .. }) => a == b,
        (KeySource::Command(a), KeySource::Command(b)) => a == b,
        _ => false,
    }
}

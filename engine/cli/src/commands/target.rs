//! Which repository a command means, where it lies and what opens it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use restow_core::stage::OpenContext;
use restow_spec::catalogue::Kind;
use restow_spec::environment::Environment;
use restow_spec::pipeline::{Component, Pipeline};
use restow_spec::secret::Secret;
use restow_spec::settings::Settings;
use restow_store::keys::{KEY_PREFIX, KeyError, KeySource};
use restow_store::location::{self, Location, StoreOptions};
use restow_store::repository::{Repository, RepositoryError};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::app::App;
use crate::args::RepositoryArgs;
use crate::ask;
use crate::context::{self, KEY_VARIABLE, Limits, WithVariable, key_reference};
use crate::error::CliError;

/// The component of a repository, whatever its address.
pub const REPOSITORY: &str = "repository";
/// The name of the connection that a command makes for itself.
const CONNECTION: &str = "repository";

/// A repository that is meant.
pub struct Target {
    /// Its options, as those of a connection.
    pub connection: Component,
    /// The environment, with a key that was typed.
    pub environment: Arc<dyn Environment + Send + Sync>,
}

/// What of a connection's options opens the repository; the stage that owns them checks them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    url: String,
    endpoint: Option<String>,
    region: Option<String>,
    allow_http: bool,
    anonymous: bool,
    unlock: Option<Unlock>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Unlock {
    key: Option<Secret>,
    key_file: Option<PathBuf>,
    command: Option<String>,
    passphrase: Option<Secret>,
}

impl Target {
    /// The repository of `-r`, else of the settings.
    pub fn of(app: &App, arguments: &RepositoryArgs) -> Result<Self, CliError> {
        let settings = app.settings()?;
        let connections = context::connections(&settings, app)?;
        let wanted = arguments.repository.clone().or(settings.default_repository);
        let connection = match wanted {
            Some(wanted) => by_name_or_url(&wanted, &connections),
            None => only_one(&connections)?,
        };
        Ok(Self::with(app, connection, arguments))
    }

    /// Every repository that the settings name, by its name, and the default one where it is an address; only that of `-r`
    /// where it is given.
    pub fn all(app: &App, settings: &Settings, arguments: &RepositoryArgs) -> Result<Vec<(String, Self)>, CliError> {
        let connections = context::connections(settings, app)?;
        if let Some(wanted) = &arguments.repository {
            let connection = by_name_or_url(wanted, &connections);
            return Ok(vec![(wanted.clone(), Self::with(app, connection, arguments))]);
        }
        let mut found: Vec<(String, Component)> =
            connections.iter().filter(|(_, of)| of.name == REPOSITORY).map(|(n, of)| (n.clone(), of.clone())).collect();
        if let Some(default) = settings.default_repository.as_ref().filter(|name| !connections.contains_key(*name)) {
            found.push((default.clone(), by_name_or_url(default, &connections)));
        }
        Ok(found.into_iter().map(|(name, of)| (name, Self::with(app, of, arguments))).collect())
    }

    /// A connection, and the key that the arguments name.
    fn with(app: &App, connection: Component, arguments: &RepositoryArgs) -> Self {
        let target = Self { connection, environment: Arc::clone(&app.environment) };
        match (&arguments.key_file, &arguments.passphrase_file) {
            (Some(file), _) => target.with_key_file(file),
            (None, Some(file)) => target.with_passphrase_file(file),
            (None, None) => target,
        }
    }

    /// The repository that a pipeline writes to, opened as its sink opens it. `context` has its connections.
    pub fn of_sink(app: &App, pipeline: &Pipeline, context: &OpenContext) -> Self {
        let options = &pipeline.sink.options;
        let text = |name: &str| options.get(name).and_then(Value::as_str);
        let named = text("connection").and_then(|name| context.connections.get(name)).cloned();
        let connection = named.unwrap_or_else(|| of_url(text("url").unwrap_or_default()));
        let mut target = Self { connection, environment: Arc::clone(&app.environment) };
        let own = options.get("unlock").or(pipeline.encrypt.as_ref().map(|stage| &stage.options));
        if let Some(unlock) = own {
            target.set_unlock(unlock.clone());
        }
        target
    }

    /// The repository of a URL alone, without any settings.
    pub fn at(app: &App, url: &str, key_file: Option<&Path>) -> Self {
        let target = Self { connection: of_url(url), environment: Arc::clone(&app.environment) };
        match key_file {
            Some(file) => target.with_key_file(file),
            None => target,
        }
    }

    /// Its address as the user gave it.
    pub fn url(&self) -> &str {
        self.connection.options.get("url").and_then(Value::as_str).unwrap_or_default()
    }

    /// The options that open it, where any do.
    pub fn unlock(&self) -> Option<&Value> {
        self.connection.options.get("unlock")
    }

    /// What its stages are opened with: a connection named [`Self::connection_name`].
    pub fn open_context(&self, limits: Limits) -> OpenContext {
        let connections = BTreeMap::from([(CONNECTION.to_owned(), self.connection.clone())]);
        context::open_context(connections, Arc::clone(&self.environment), limits)
    }

    /// The name of its connection in [`Self::open_context`].
    pub fn connection_name(&self) -> &'static str {
        CONNECTION
    }

    /// Where it lies.
    pub fn location(&self) -> Result<Location, CliError> {
        let options = self.options()?;
        let store = StoreOptions {
            environment: self.open_context(Limits::default()).store_environment(),
            endpoint: options.endpoint,
            region: options.region,
            allow_http: options.allow_http,
            anonymous: options.anonymous,
            ..StoreOptions::default()
        };
        let anchors = context::anchors(self.environment.as_ref());
        Ok(Location { anchors, ..location::open(&options.url, &store)? })
    }

    /// Opens it. Where it is encrypted and nothing names a key, the environment, a file beside a local repository and
    /// the terminal are tried, in this order; what is found is kept for the stages.
    pub async fn open(&mut self, app: &App) -> Result<Repository, CliError> {
        let location = self.location()?;
        let key = self.key_source()?;
        match Repository::open(location.clone(), key.as_ref()).await {
            Err(RepositoryError::Key { source: KeyError::Missing, .. }) if key.is_none() => {}
            opened => return noted(app, opened?).await,
        }
        self.find_key(app, &location.url)?;
        noted(app, Repository::open(location, self.key_source()?.as_ref()).await?).await
    }

    /// Names the key that would be found without asking, where none is named: that of the environment, then a file beside
    /// a local repository. Says what it found.
    pub fn name_key(&mut self) -> Option<String> {
        if self.unlock().is_some() {
            return None;
        }
        if self.environment.get(KEY_VARIABLE).is_some_and(|key| !key.is_empty()) {
            self.set_unlock(json!({ "key": key_reference() }));
            return Some(format!("the key in {KEY_VARIABLE}"));
        }
        let file = key_beside(self.url())?;
        self.set_unlock(json!({ "key_file": file }));
        Some(format!("the key file {}", file.display()))
    }

    /// Finds a key where none is named.
    fn find_key(&mut self, app: &App, url: &str) -> Result<(), CliError> {
        if let Some(found) = self.name_key() {
            app.console.note(&format!("using {found}"));
            return Ok(());
        }
        if !ask::has_terminal() {
            return Err(CliError::NoKey { url: url.to_owned() });
        }
        let key = ask::secret(&format!("key, recovery key or passphrase of {url}: "))?;
        if key.is_empty() {
            return Err(CliError::NoKey { url: url.to_owned() });
        }
        let kind = if key.trim_start().starts_with(KEY_PREFIX) { "key" } else { "passphrase" };
        self.environment = Arc::new(WithVariable::new(Arc::clone(&self.environment), KEY_VARIABLE, key));
        self.set_unlock(Value::Object(Map::from_iter([(kind.to_owned(), key_reference())])));
        Ok(())
    }

    fn with_key_file(mut self, file: &Path) -> Self {
        self.set_unlock(json!({ "key_file": file }));
        self
    }

    /// With the passphrase in a file.
    pub fn with_passphrase_file(mut self, file: &Path) -> Self {
        self.set_unlock(json!({ "passphrase": format!("${{secret:file:{}}}", file.display()) }));
        self
    }

    /// Replaces what opens it.
    pub fn set_unlock(&mut self, unlock: Value) {
        if let Value::Object(options) = &mut self.connection.options {
            options.insert("unlock".to_owned(), unlock);
        }
    }

    fn options(&self) -> Result<Options, CliError> {
        Options::deserialize(&self.connection.options)
            .map_err(|error| CliError::usage(format!("repository {}: {error}", self.url()), ""))
    }

    /// What opens it, resolved; none where nothing is named.
    pub fn key_source(&self) -> Result<Option<KeySource>, CliError> {
        let Some(unlock) = self.options()?.unlock else { return Ok(None) };
        let resolve = |secret: &Secret| -> Result<Zeroizing<String>, CliError> {
            secret.resolve(self.environment.as_ref()).map_err(|error| {
                CliError::Engine(restow_core::EngineError::new(restow_core::ExitClass::WrongKey, error.to_string()))
            })
        };
        Ok(match unlock {
            Unlock { key: Some(key), .. } => Some(KeySource::Key(resolve(&key)?)),
            Unlock { passphrase: Some(passphrase), .. } => Some(KeySource::Passphrase(resolve(&passphrase)?)),
            Unlock { command: Some(command), .. } => Some(KeySource::Command(command)),
            // A command never makes a key: only a run that makes the repository does.
            Unlock { key_file: Some(path), .. } => Some(KeySource::KeyFile { path, create: false }),
            _ => None,
        })
    }
}

/// Tells the warnings; notes that the recovery key works, where it was the one, for `restow doctor`.
async fn noted(app: &App, repository: Repository) -> Result<Repository, CliError> {
    for warning in repository.warnings() {
        app.console.warn(&format!("warning: {warning}"));
    }
    repository.note_recovery().await;
    Ok(repository)
}

/// `backups.key` beside the local repository `backups`, as the quickstart has it.
fn key_beside(url: &str) -> Option<PathBuf> {
    if url.contains("://") || url.starts_with("memory:") {
        return None;
    }
    let file = PathBuf::from(format!("{}.key", url.trim_end_matches('/')));
    file.is_file().then_some(file)
}

/// A connection of that name, one with that address, or the address alone.
fn by_name_or_url(wanted: &str, connections: &BTreeMap<String, Component>) -> Component {
    let repositories = || connections.iter().filter(|(_, connection)| connection.name == REPOSITORY);
    let same = |url: &Value| url.as_str().is_some_and(|url| url.trim_end_matches('/') == wanted.trim_end_matches('/'));
    let named = repositories().find(|(name, _)| *name == wanted);
    let placed = || repositories().find(|(_, connection)| connection.options.get("url").is_some_and(same));
    named.or_else(placed).map_or_else(|| of_url(wanted), |(_, connection)| connection.clone())
}

fn only_one(connections: &BTreeMap<String, Component>) -> Result<Component, CliError> {
    let mut repositories = connections.iter().filter(|(_, connection)| connection.name == REPOSITORY);
    match (repositories.next(), repositories.next()) {
        (Some((_, connection)), None) => Ok(connection.clone()),
        (None, _) => Err(CliError::usage(
            "no repository is named",
            "give -r URL, set RESTOW_REPOSITORY, or name one under `connections:` of restow.yaml",
        )),
        (Some(_), Some(_)) => {
            let names: Vec<&str> =
                connections.iter().filter(|(_, of)| of.name == REPOSITORY).map(|(name, _)| name.as_str()).collect();
            let message = format!("the settings name several repositories: {}", names.join(", "));
            Err(CliError::usage(message, "choose one with -r NAME, or set default_repository"))
        }
    }
}

fn of_url(url: &str) -> Component {
    let options = Map::from_iter([("url".to_owned(), url.into())]);
    Component {
        kind: Kind::Connection,
        name: REPOSITORY.to_owned(),
        options: Value::Object(options),
        pointer: format!("/connections/{CONNECTION}/{REPOSITORY}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(urls: &[(&str, &str)]) -> BTreeMap<String, Component> {
        urls.iter().map(|(name, url)| ((*name).to_owned(), of_url(url))).collect()
    }

    #[test]
    fn by_name_by_address_or_alone() {
        let known = connections(&[("a", "s3://bucket/a"), ("b", "backups")]);
        let url = |wanted: &str| by_name_or_url(wanted, &known).options["url"].clone();
        assert_eq!(url("a"), "s3://bucket/a");
        assert_eq!(url("backups/"), "backups");
        assert_eq!(url("other"), "other");
    }

    #[test]
    fn one_or_none_is_chosen() {
        assert!(only_one(&connections(&[("a", "x")])).is_ok());
        assert_eq!(only_one(&connections(&[])).unwrap_err().code(), 2);
        let several = only_one(&connections(&[("a", "x"), ("b", "y")])).unwrap_err();
        assert_eq!(several.to_string(), "the settings name several repositories: a, b");
    }

    #[test]
    fn a_key_file_beside() {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().join("backups").display().to_string();
        assert_eq!(key_beside(&url), None);
        std::fs::write(format!("{url}.key"), "x").unwrap();
        assert_eq!(key_beside(&format!("{url}/")), Some(PathBuf::from(format!("{url}.key"))));
        assert_eq!(key_beside("s3://bucket/backups"), None);
    }
}

//! From settings, arguments and environment to what the engine opens pipelines and repositories with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::Utc;
use restow_core::run::default_parallel;
use restow_core::session::DEFAULT_MEMORY;
use restow_core::stage::OpenContext;
use restow_spec::environment::Environment;
use restow_spec::load::{LoadOptions, load};
use restow_spec::pipeline::Component;
use restow_spec::settings::{Settings, SettingsFile};
use restow_spec::units::ByteSize;
use serde_json::{Value, json};

use crate::app::{App, read};
use crate::error::CliError;

/// The variable that commands take a repository's key from where no file and no connection names one.
pub const KEY_VARIABLE: &str = "RESTOW_KEY";
/// The tool's settings in the working directory.
pub const SETTINGS: &str = "restow.yaml";

/// Memory and parallelism, where given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory of the run.
    pub memory: Option<ByteSize>,
    /// Splits open at once.
    pub parallel: Option<u32>,
}

impl Limits {
    /// Those of the settings.
    pub fn of(settings: &Settings) -> Self {
        Self { memory: settings.memory, parallel: settings.parallel }
    }

    /// These, and where they say nothing the others.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { memory: self.memory.or(other.memory), parallel: self.parallel.or(other.parallel) }
    }

    /// In bytes.
    pub fn memory(self) -> u64 {
        self.memory.map_or(DEFAULT_MEMORY, ByteSize::bytes)
    }

    /// As a count.
    pub fn parallel(self) -> usize {
        self.parallel.and_then(|parallel| usize::try_from(parallel).ok()).unwrap_or_else(default_parallel)
    }
}

/// The layered settings; `file` must exist, `restow.yaml` may.
pub fn settings(file: Option<&Path>, environment: &dyn Environment) -> Result<Settings, CliError> {
    let path = file.map_or_else(|| PathBuf::from(SETTINGS), Path::to_owned);
    let text = match read(&path) {
        Ok(Ok(text)) => Some(text),
        Ok(Err(wrong)) => {
            return Err(CliError::usage(format!("{}: {}", path.display(), wrong.message), "save it as UTF-8"));
        }
        Err(CliError::Read { source, .. }) if file.is_none() && source.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let shown = path.display().to_string();
    let layer = text.as_deref().map(|text| SettingsFile { path: &shown, text });
    Ok(Settings::load(layer, environment, &BTreeMap::new())?)
}

/// The settings without any file.
pub fn no_settings(environment: &dyn Environment) -> Result<Settings, CliError> {
    Ok(Settings::load(None, environment, &BTreeMap::new())?)
}

/// The context in which stages are opened. Relative paths stay relative to the working directory, so that messages and
/// printed commands read as the user wrote them.
pub fn open_context(
    connections: BTreeMap<String, Component>,
    environment: Arc<dyn Environment + Send + Sync>,
    limits: Limits,
) -> OpenContext {
    let anchors = anchors(environment.as_ref());
    OpenContext {
        connections: Arc::new(connections),
        environment,
        anchors,
        directory: PathBuf::new(),
        now: Utc::now(),
        parallel: limits.parallel(),
        memory: limits.memory(),
    }
}

/// Where this machine remembers what it saw of repositories: `restow/anchors` below `XDG_STATE_HOME`, by default
/// `~/.local/state` (XDG Base Directory Specification). None on a machine without a home.
pub fn anchors(environment: &dyn Environment) -> Option<PathBuf> {
    let folder = |name: &str| environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("restow/anchors"))
}

/// The connections of the settings, interpolated and checked by the same code as those of a pipeline.
pub fn connections(settings: &Settings, app: &App) -> Result<BTreeMap<String, Component>, CliError> {
    if settings.connections.is_empty() {
        return Ok(BTreeMap::new());
    }
    // A pipeline around them, since only pipelines are checked; JSON is YAML.
    let text = json!({
        "version": 1,
        "connections": settings.connections,
        "stages": [{ "source": { "files": { "path": "in" } } }, { "sink": { "files": { "path": "out" } } }],
    })
    .to_string();
    let vars = BTreeMap::new();
    // A variable that is not set may belong to a connection that this command does not use.
    let options = LoadOptions {
        catalogue: app.registry.catalogue(),
        env: app.environment.as_ref(),
        vars: &vars,
        unset_is_error: false,
    };
    let (pipeline, diagnostics) = load(SETTINGS, &text, &options);
    if let Some(pipeline) = pipeline {
        return Ok(pipeline.connections);
    }
    let problem = diagnostics.into_iter().find(|diagnostic| diagnostic.is_error());
    let (message, help) = problem.map(|problem| (problem.message, problem.help)).unwrap_or_default();
    Err(CliError::usage(format!("connections of the settings: {message}"), help.unwrap_or_default()))
}

/// The environment with one variable set, for a key that was typed.
pub struct WithVariable {
    inner: Arc<dyn Environment + Send + Sync>,
    name: &'static str,
    value: zeroize::Zeroizing<String>,
}

impl WithVariable {
    /// `name` is `value`, everything else as in `inner`.
    pub fn new(
        inner: Arc<dyn Environment + Send + Sync>,
        name: &'static str,
        value: zeroize::Zeroizing<String>,
    ) -> Self {
        Self { inner, name, value }
    }
}

impl Environment for WithVariable {
    fn get(&self, name: &str) -> Option<String> {
        if name == self.name { Some(self.value.to_string()) } else { self.inner.get(name) }
    }
}

/// `${secret:env:RESTOW_KEY}`: the key by reference, as it stands in options.
pub fn key_reference() -> Value {
    Value::String(format!("${{secret:env:{KEY_VARIABLE}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_says_something_counts() {
        let flags = Limits { memory: None, parallel: Some(3) };
        let own = Limits { memory: Some(ByteSize(7)), parallel: Some(1) };
        assert_eq!(flags.or(own), Limits { memory: Some(ByteSize(7)), parallel: Some(3) });
        assert_eq!(Limits::default().memory(), DEFAULT_MEMORY);
    }

    #[test]
    fn anchors_are_kept_where_state_is() {
        let of = |name: &str, value: &str| anchors(&BTreeMap::from([(name.to_owned(), value.to_owned())]));
        assert_eq!(of("HOME", "/home/u"), Some(PathBuf::from("/home/u/.local/state/restow/anchors")));
        assert_eq!(of("XDG_STATE_HOME", "/state"), Some(PathBuf::from("/state/restow/anchors")));
        assert_eq!((of("HOME", ""), of("A", "/b")), (None, None));
    }

    #[test]
    fn a_typed_key_is_only_that_variable() {
        let outer: Arc<dyn Environment + Send + Sync> = Arc::new(BTreeMap::from([("A".to_owned(), "1".to_owned())]));
        let with = WithVariable::new(outer, KEY_VARIABLE, "k".to_owned().into());
        assert_eq!((with.get("A").as_deref(), with.get(KEY_VARIABLE).as_deref()), (Some("1"), Some("k")));
    }
}

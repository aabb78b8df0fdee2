//! The tool's own settings: defaults, then `restow.yaml`, then the known `RESTOW_*` variables, then flags.

use std::collections::BTreeMap;

use figment::value::{Dict, Map, Value as FigmentValue};
use figment::{Error, Figment, Metadata, Profile, Provider};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::environment::Environment;
use crate::suggest;
use crate::units::ByteSize;

/// Settings of the tool, apart from any pipeline.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The repository that commands use where none is named: the name of a connection, or a URL.
    #[serde(alias = "repository", skip_serializing_if = "Option::is_none")]
    pub default_repository: Option<String>,
    /// Connections by name, each a mapping with one key, as in a pipeline file.
    pub connections: BTreeMap<String, Value>,
    /// Bound on the memory of a run. Default: the engine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// Splits that are open at once. Default: the number of processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// URL of the run state where a sink is no repository. Default: ./.restow/state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Folder for spill files. Default: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temp: Option<String>,
    /// What is logged: error, warn, info, debug or trace. Default: warn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// The variables that are read, and the setting that each stands for. Any other `RESTOW_*` is the user's own.
pub const VARIABLES: &[(&str, &str)] = &[
    ("RESTOW_REPOSITORY", "default_repository"),
    ("RESTOW_MEMORY", "memory"),
    ("RESTOW_PARALLEL", "parallel"),
    ("RESTOW_STATE", "state"),
    ("RESTOW_TEMP", "temp"),
    ("RESTOW_LOG", "log"),
];

/// Why settings could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A setting that does not exist.
    #[error("{place}: unknown setting {name:?}{help}")]
    Unknown {
        /// File, variable or flag.
        place: String,
        /// What was written.
        name: String,
        /// `: did you mean ...`, or nothing.
        help: String,
    },
    /// A value that does not fit.
    #[error("{place}: {setting}: {reason}")]
    Value {
        /// File, variable or flag.
        place: String,
        /// The setting.
        setting: String,
        /// What is wrong.
        reason: String,
    },
}

/// The content of `restow.yaml`.
#[derive(Debug, Clone, Copy)]
pub struct SettingsFile<'a> {
    /// The file as it was named or found.
    pub path: &'a str,
    /// Its text.
    pub text: &'a str,
}

impl Settings {
    /// Layers the settings. `flags` are settings by name, as the command line gives them.
    ///
    /// # Errors
    /// An unknown setting or a value that does not fit, with the file, variable or flag it comes from.
    pub fn load(
        file: Option<SettingsFile<'_>>,
        env: &dyn Environment,
        flags: &BTreeMap<String, Value>,
    ) -> Result<Self, SettingsError> {
        let mut figment = Figment::new();
        if let Some(file) = file {
            figment = figment.merge(yaml_layer(file)?);
        }
        for (variable, setting) in VARIABLES {
            if let Some(value) = env.get(variable).filter(|value| !value.is_empty()) {
                figment = figment.merge(Layer::one(variable, setting, from_variable(setting, value)));
            }
        }
        for (setting, value) in flags {
            let flag = format!("--{}", setting.replace('_', "-"));
            figment = figment.merge(Layer::one(&flag, setting, FigmentValue::serialize(value).unwrap_or(false.into())));
        }
        let settings: Self = figment.extract().map_err(|error| explain(&error))?;
        match settings.parallel {
            Some(0) => Err(SettingsError::Value {
                place: "settings".into(),
                setting: "parallel".into(),
                reason: "must be at least 1".into(),
            }),
            _ => Ok(settings),
        }
    }
}

/// A variable is text; the settings that are numbers are read as such.
fn from_variable(setting: &str, value: String) -> FigmentValue {
    match (setting, value.trim().parse::<u32>()) {
        ("parallel", Ok(number)) => number.into(),
        _ => value.into(),
    }
}

/// A file as a layer. Figment's own YAML feature would pull in an archived parser.
fn yaml_layer(file: SettingsFile<'_>) -> Result<Layer, SettingsError> {
    let refuse = |reason: String| SettingsError::Value { place: file.path.into(), setting: "file".into(), reason };
    if file.text.trim().is_empty() {
        return Ok(Layer { name: file.path.into(), values: Dict::new() });
    }
    // The marked parser bounds depth and size, finds keys that are there twice, and knows the place.
    let parsed = crate::yaml::parse(file.path, file.text, 1);
    if let Some(finding) = parsed.findings.first().filter(|finding| finding.code != "E007") {
        let (line, column) = parsed.document.line_column(finding.place.start);
        return Err(refuse(format!("line {line}, column {column}: {}", finding.message)));
    }
    let values: Option<Dict> = serde_yaml::from_str(file.text).map_err(|error| refuse(error.to_string()))?;
    Ok(Layer { name: file.path.into(), values: values.unwrap_or_default() })
}

/// Some settings and where they come from.
struct Layer {
    name: String,
    values: Dict,
}

impl Layer {
    fn one(name: &str, setting: &str, value: FigmentValue) -> Self {
        Self { name: name.into(), values: Dict::from([(setting.to_owned(), value)]) }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

fn explain(error: &Error) -> SettingsError {
    let place = error.metadata.as_ref().map_or_else(|| "settings".to_owned(), |metadata| metadata.name.to_string());
    match &error.kind {
        figment::error::Kind::UnknownField(name, known) => {
            let help = suggest::help(name, "settings", known.iter().copied());
            let help = help.map(|help| format!(": {help}")).unwrap_or_default();
            SettingsError::Unknown { place, name: name.clone(), help }
        }
        kind => SettingsError::Value { place, setting: error.path.join("."), reason: kind.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn load(text: &str, env: &[(&str, &str)], flags: &[(&str, Value)]) -> Result<Settings, SettingsError> {
        let env: BTreeMap<String, String> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let flags = flags.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        Settings::load(Some(SettingsFile { path: "restow.yaml", text }), &env, &flags)
    }

    #[test]
    fn each_layer_wins_over_the_one_before() {
        let file = "default_repository: backups\nmemory: 1GiB\nlog: info\nconnections:\n  backups: { repository: { url: /b } }\n";
        let settings =
            load(file, &[("RESTOW_MEMORY", "2GiB"), ("RESTOW_OTHER", "x")], &[("log", json!("debug"))]).unwrap();
        assert_eq!(settings.default_repository.as_deref(), Some("backups"));
        assert_eq!(settings.memory, Some(ByteSize(2 << 30)));
        assert_eq!(settings.log.as_deref(), Some("debug"));
        assert_eq!(settings.connections["backups"], json!({ "repository": { "url": "/b" } }));
        assert_eq!(load("", &[("RESTOW_PARALLEL", "3")], &[]).unwrap().parallel, Some(3));
        assert_eq!(load("# nothing\n", &[], &[]).unwrap(), Settings::default());
    }

    #[test]
    fn what_is_refused() {
        let message = |text: &str, env: &[(&str, &str)]| load(text, env, &[]).unwrap_err().to_string();
        assert_eq!(message("memroy: 1GiB\n", &[]), "restow.yaml: unknown setting \"memroy\": did you mean \"memory\"?");
        assert_eq!(
            message("", &[("RESTOW_MEMORY", "lots")]),
            "RESTOW_MEMORY: memory: \"lots\" is not a size: write a whole number and a unit, such as 512MiB, 1GB or 64KiB"
        );
        assert_eq!(message("a: 1\na: 2\n", &[]), "restow.yaml: file: line 2, column 1: duplicate key \"a\"");
    }
}

//! What every command has at hand.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use restow_core::stage::{OpenContext, Registry};
use restow_spec::diagnostic::Diagnostic;
use restow_spec::environment::Environment;
use restow_spec::load::{LoadOptions, load};
use restow_spec::pipeline::Pipeline;
use restow_spec::settings::Settings;
use restow_spec::yaml::MAX_BYTES;

use crate::args::PipelineArgs;
use crate::console::Console;
use crate::context::{self, Limits};
use crate::error::CliError;
use crate::render::number::counted;

/// The stages of this build, the streams, the environment.
pub struct App {
    /// The stages of this build.
    pub registry: Registry,
    /// Where to print.
    pub console: Console,
    /// The environment of the process.
    pub environment: Arc<dyn Environment + Send + Sync>,
    settings: Option<PathBuf>,
}

impl App {
    /// With `settings` as `--settings` names it.
    pub fn new(
        registry: Registry,
        console: Console,
        settings: Option<PathBuf>,
        environment: Arc<dyn Environment + Send + Sync>,
    ) -> Self {
        Self { registry, console, environment, settings }
    }

    /// The tool's settings. Read only by the commands that need them, so that a broken file does not keep anybody from
    /// the others.
    pub fn settings(&self) -> Result<Settings, CliError> {
        context::settings(self.settings.as_deref(), self.environment.as_ref())
    }

    /// The file of the settings as messages name it.
    pub fn settings_name(&self) -> &str {
        self.settings.as_deref().and_then(std::path::Path::to_str).unwrap_or(context::SETTINGS)
    }

    /// Where a pipeline is opened: its connections and then those of the settings.
    pub fn open_context(
        &self,
        pipeline: &Pipeline,
        settings: &Settings,
        arguments: &PipelineArgs,
    ) -> Result<OpenContext, CliError> {
        let mut connections = context::connections(settings, self)?;
        connections.extend(pipeline.connections.clone());
        let own = Limits { memory: pipeline.memory, parallel: pipeline.parallel };
        let flags = Limits { memory: arguments.memory, parallel: arguments.parallel };
        Ok(context::open_context(connections, Arc::clone(&self.environment), flags.or(own).or(Limits::of(settings))))
    }

    /// Loads the files, prints what is wrong with any of them, and goes on only where none has an error.
    pub fn load(&self, files: &[PathBuf], vars: &BTreeMap<String, String>) -> Result<Vec<Pipeline>, CliError> {
        let options = LoadOptions {
            catalogue: self.registry.catalogue(),
            env: self.environment.as_ref(),
            vars,
            unset_is_error: true,
        };
        let (mut pipelines, mut errors, mut broken) = (Vec::new(), 0, Vec::new());
        for file in files {
            let (pipeline, diagnostics) = match read(file)? {
                Ok(text) => load(&file.display().to_string(), &text, &options),
                Err(diagnostic) => (None, vec![diagnostic]),
            };
            self.console.diagnostics(&diagnostics);
            let found = diagnostics.iter().filter(|diagnostic| Diagnostic::is_error(diagnostic)).count();
            match pipeline {
                Some(pipeline) if found == 0 => pipelines.push(pipeline),
                _ => {
                    errors += found;
                    broken.push(file.display().to_string());
                }
            }
        }
        if broken.is_empty() {
            return Ok(pipelines);
        }
        Err(CliError::Diagnostics { errors: counted(errors as u64, "error"), files: broken.join(", ") })
    }
}

/// The text of a pipeline file, or what is wrong with it as a text; `-` is not special, as messages need a name. Reads no
/// more than what a pipeline file may have and one byte.
pub fn read(path: &std::path::Path) -> Result<Result<String, Diagnostic>, CliError> {
    let failed = |source| CliError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        Diagnostic::of_file(
            "E001",
            path.display().to_string(),
            format!("the file is not UTF-8 text from byte {place} on"),
        )
        .with_help("save it as UTF-8")
    }))
}

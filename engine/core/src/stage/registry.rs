//! All stages of this build, as a value. `stages::registry()` fills it; the engine only looks up.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionContext;
use restow_spec::catalogue::{Catalogue, ComponentInfo, Kind};

use super::{RowStageFactory, SinkFactory, SourceFactory};
use crate::error::{EngineError, Result};

/// Registers functions with a session (for function packages that do more than give a list).
pub type RegisterFunctions = fn(&SessionContext) -> datafusion::error::Result<()>;

/// The stages of this build by name.
#[derive(Default, Clone)]
pub struct Registry {
    catalogue: Catalogue,
    sources: BTreeMap<&'static str, Arc<dyn SourceFactory>>,
    sinks: BTreeMap<&'static str, Arc<dyn SinkFactory>>,
    rows: Vec<Arc<dyn RowStageFactory>>,
    functions: Vec<Arc<ScalarUDF>>,
    register: Vec<RegisterFunctions>,
}

impl Registry {
    /// Adds a source.
    pub fn add_source(&mut self, info: ComponentInfo, factory: Arc<dyn SourceFactory>) {
        self.sources.insert(info.name, factory);
        self.catalogue.add(info);
    }

    /// Adds a sink.
    pub fn add_sink(&mut self, info: ComponentInfo, factory: Arc<dyn SinkFactory>) {
        self.sinks.insert(info.name, factory);
        self.catalogue.add(info);
    }

    /// Adds a component that is only options: a connection, a codec, an encrypt stage.
    pub fn add_options(&mut self, info: ComponentInfo) {
        self.catalogue.add(info);
    }

    /// Adds a row stage.
    pub fn add_row_stage(&mut self, factory: Arc<dyn RowStageFactory>) {
        self.rows.push(factory);
    }

    /// Adds SQL functions of our own.
    pub fn add_functions(&mut self, functions: impl IntoIterator<Item = ScalarUDF>) {
        self.functions.extend(functions.into_iter().map(Arc::new));
    }

    /// Adds a package of SQL functions.
    pub fn add_function_package(&mut self, register: RegisterFunctions) {
        self.register.push(register);
    }

    /// What exists, for lint, list, schema and create.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The source of this name.
    ///
    /// # Errors
    /// There is none in this build.
    pub fn source(&self, name: &str) -> Result<&Arc<dyn SourceFactory>> {
        self.sources.get(name).ok_or_else(|| missing(Kind::Source, name))
    }

    /// The sink of this name.
    ///
    /// # Errors
    /// There is none in this build.
    pub fn sink(&self, name: &str) -> Result<&Arc<dyn SinkFactory>> {
        self.sinks.get(name).ok_or_else(|| missing(Kind::Sink, name))
    }

    /// The row stages.
    pub fn row_stages(&self) -> &[Arc<dyn RowStageFactory>] {
        &self.rows
    }

    /// Makes all functions known to a session.
    ///
    /// # Errors
    /// A package refuses to register.
    pub fn register_functions(&self, session: &SessionContext) -> Result<()> {
        for function in &self.functions {
            session.register_udf(ScalarUDF::clone(function));
        }
        for register in &self.register {
            register(session)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("sources", &self.sources.keys()).field("sinks", &self.sinks.keys()).finish()
    }
}

fn missing(kind: Kind, name: &str) -> EngineError {
    EngineError::usage(format!("this build has no {} {name:?}", kind.as_str()))
        .with_hint("`restow list` shows what it has")
}

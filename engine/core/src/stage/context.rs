//! What a stage gets when it is opened.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use restow_spec::environment::Environment;
use restow_spec::pipeline::Component;

/// The variables by which the tools of the object stores are configured; no others are passed on.
const STORE_VARIABLES: [&str; 29] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ALLOW_HTTP",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    "AWS_SKIP_SIGNATURE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "GOOGLE_ALLOW_HTTP",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "AZURE_ALLOW_HTTP",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    // Of the testing aid behind `fault+` addresses; no other store looks at it.
    "RESTOW_FAULTS",
];

/// A named connection of the pipeline file, or of the tool's settings.
pub type Connection = Component;

/// What a stage may know of the world when it is opened. Clock, environment and working directory come from here, so
/// that runs can be repeated in tests.
#[derive(Clone)]
pub struct OpenContext {
    /// The connections by name: those of the pipeline, then those of the settings.
    pub connections: Arc<BTreeMap<String, Connection>>,
    /// Resolves `${secret:...}` references and the usual variables of the object stores.
    pub environment: Arc<dyn Environment + Send + Sync>,
    /// Relative paths are relative to this folder.
    pub directory: PathBuf,
    /// The time that the run calls now.
    pub now: DateTime<Utc>,
    /// How many splits the run reads at once.
    pub parallel: usize,
    /// The memory that the run may use, in bytes.
    pub memory: u64,
    /// The folder in which this machine remembers what it saw of repositories; none where there is no such folder.
    pub anchors: Option<PathBuf>,
}

impl OpenContext {
    /// The variables of the object stores, which `object_store` reads under their usual names.
    pub fn store_environment(&self) -> BTreeMap<String, String> {
        STORE_VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), self.environment.get(name)?))).collect()
    }
}

impl std::fmt::Debug for OpenContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenContext")
            .field("directory", &self.directory)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

//! Settings and credentials of remote stores.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::{HttpBuilder, HttpStore};
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use super::LocationError;

/// How to reach a remote store. Local and memory stores need none of it.
#[derive(Clone, Default)]
pub struct StoreOptions {
    /// Variables of the environment, of which those that begin with `AWS_`, `GOOGLE_` and `AZURE_` are used as the
    /// stores' own tools use them. The caller chooses what to pass: this crate reads no environment.
    pub environment: BTreeMap<String, String>,
    /// Address of an S3-compatible server, of a GCS or an Azure emulator. Default: the provider's own.
    pub endpoint: Option<String>,
    /// Region of an S3 bucket. Default: `AWS_REGION`, else us-east-1.
    pub region: Option<String>,
    /// Whether an endpoint without TLS may be used. Default: false.
    pub allow_http: bool,
    /// Whether to send requests without a signature, for public buckets. Default: false.
    pub anonymous: bool,
    /// Further settings by `object_store`'s names, such as `access_key_id` or `virtual_hosted_style_request`. They win
    /// over the environment.
    pub settings: BTreeMap<String, String>,
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("allow_http", &self.allow_http)
            .field("anonymous", &self.anonymous)
            .field("settings", &self.settings.keys())
            .finish_non_exhaustive()
    }
}

/// One request may take this long, ...
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// ... and no new attempt is made after this time. The attempts that a pipeline asks for are made above this.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
/// Attempts below one operation: a lost connection costs no split.
const RETRIES: usize = 3;

fn retry() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT }
}

fn client(allow_http: bool) -> ClientOptions {
    ClientOptions::new()
        .with_timeout(REQUEST_TIMEOUT)
        .with_connect_timeout(Duration::from_secs(10))
        .with_allow_http(allow_http)
}

impl StoreOptions {
    /// The settings of one kind of store: the environment's, then the explicit ones. Variables that `object_store` does
    /// not know are somebody else's and left out; an unknown explicit setting is an error.
    fn keys<K>(&self, prefix: &str, shown: &str) -> Result<Vec<(K, String)>, LocationError>
    where
        K: FromStr<Err = object_store::Error>,
    {
        let mut found = Vec::new();
        for (name, value) in &self.environment {
            if name.starts_with(prefix)
                && let Ok(key) = name.to_ascii_lowercase().parse()
            {
                found.push((key, value.clone()));
            }
        }
        for (name, value) in &self.settings {
            let key = name.parse().map_err(|source| LocationError::Settings { url: shown.to_owned(), source })?;
            found.push((key, value.clone()));
        }
        Ok(found)
    }

    fn check_endpoint(&self, shown: &str, allow_http: bool) -> Result<(), LocationError> {
        match &self.endpoint {
            Some(endpoint) if endpoint.starts_with("http://") && !allow_http => {
                Err(LocationError::PlainHttp { url: shown.to_owned(), endpoint: endpoint.clone() })
            }
            _ => Ok(()),
        }
    }

    fn is_set(&self, name: &str) -> bool {
        self.environment.get(name).is_some_and(|v| matches!(v.to_ascii_lowercase().as_str(), "1" | "true" | "yes"))
    }
}

fn built<S: ObjectStore>(store: object_store::Result<S>, shown: &str) -> Result<Arc<dyn ObjectStore>, LocationError> {
    match store {
        Ok(store) => Ok(Arc::new(store)),
        Err(source) => Err(LocationError::Settings { url: shown.to_owned(), source }),
    }
}

pub(super) fn s3(url: &Url, options: &StoreOptions, shown: &str) -> Result<Arc<dyn ObjectStore>, LocationError> {
    let allow_http = options.allow_http || options.is_set("AWS_ALLOW_HTTP");
    options.check_endpoint(shown, allow_http)?;
    let mut builder = AmazonS3Builder::new().with_retry(retry()).with_client_options(client(allow_http));
    for (key, value) in options.keys::<AmazonS3ConfigKey>("AWS_", shown)? {
        builder = builder.with_config(key, value);
    }
    builder = builder.with_bucket_name(url.host_str().unwrap_or_default()).with_allow_http(allow_http);
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    if options.anonymous {
        builder = builder.with_skip_signature(true);
    }
    built(builder.build(), shown)
}

pub(super) fn gcs(url: &Url, options: &StoreOptions, shown: &str) -> Result<Arc<dyn ObjectStore>, LocationError> {
    let allow_http = options.allow_http || options.is_set("GOOGLE_ALLOW_HTTP");
    options.check_endpoint(shown, allow_http)?;
    let mut builder = GoogleCloudStorageBuilder::new().with_retry(retry()).with_client_options(client(allow_http));
    for (key, value) in options.keys::<GoogleConfigKey>("GOOGLE_", shown)? {
        builder = builder.with_config(key, value);
    }
    builder = builder.with_bucket_name(url.host_str().unwrap_or_default());
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_base_url(endpoint);
    }
    if options.anonymous {
        builder = builder.with_skip_signature(true);
    }
    built(builder.build(), shown)
}

pub(super) fn azure(url: &Url, options: &StoreOptions, shown: &str) -> Result<Arc<dyn ObjectStore>, LocationError> {
    let allow_http =
        options.allow_http || options.is_set("AZURE_ALLOW_HTTP") || options.is_set("AZURE_STORAGE_USE_EMULATOR");
    options.check_endpoint(shown, allow_http)?;
    let mut builder = MicrosoftAzureBuilder::new().with_retry(retry()).with_client_options(client(allow_http));
    for (key, value) in options.keys::<AzureConfigKey>("AZURE_", shown)? {
        builder = builder.with_config(key, value);
    }
    let host = url.host_str().unwrap_or_default();
    builder = match (url.username(), host.split_once('.')) {
        // abfs[s]://container@account.dfs.core.windows.net/prefix
        (container, Some((account, _))) if !container.is_empty() => {
            builder.with_container_name(container).with_account(account)
        }
        _ => builder.with_container_name(host),
    };
    builder = builder.with_allow_http(allow_http);
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    if options.anonymous {
        builder = builder.with_skip_signature(true);
    }
    built(builder.build(), shown)
}

pub(super) fn http(origin: &Url, shown: &str) -> Result<HttpStore, LocationError> {
    HttpBuilder::new()
        .with_url(origin.as_str())
        .with_retry(retry())
        // Whoever writes http:// means it: nothing secret is sent, and what is read is checked.
        .with_client_options(client(true))
        .build()
        .map_err(|source| LocationError::Settings { url: shown.to_owned(), source })
}

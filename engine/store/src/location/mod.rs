//! Store URLs: from `s3://bucket/prefix`, a path, ... to an object store and the place inside it.

mod http;
mod options;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::path::{Component, Path as FsPath, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use url::Url;

use crate::fault::{self, FaultStore};
use crate::local::{LocalError, LocalStore};
use http::HttpReadOnly;
pub use options::StoreOptions;

/// A place on an object store: where a repository, a set of files or run state begins.
#[derive(Clone)]
pub struct Location {
    /// The store. Its paths include [`Self::root`].
    pub store: Arc<dyn ObjectStore>,
    /// The prefix of everything at this location; for local stores the absolute path of the directory.
    pub root: Path,
    /// The address without credentials, as shown to people and kept in manifests.
    pub url: String,
    /// Whether the store can list its objects. Plain http servers cannot.
    pub lists: bool,
    /// Whether the store can be written. Plain http servers cannot.
    pub writable: bool,
    /// The local folder in which this machine remembers what it saw of repositories, so that it notices what was removed
    /// or rolled back. Default: none, which remembers nothing.
    pub anchors: Option<PathBuf>,
    /// The directory on this machine, for local stores.
    pub folder: Option<PathBuf>,
}

/// Why an address is no usable location. Always a mistake of the configuration (exit code 2).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocationError {
    /// The address cannot be parsed.
    #[error("the store address {url:?} is not usable: {reason}")]
    BadUrl {
        /// The address without credentials.
        url: String,
        /// What is wrong and what to write.
        reason: String,
    },
    /// No store is known for the scheme.
    #[error(
        "the store address {url:?} has the unknown scheme {scheme:?}; use a path, file://, memory:, s3://, gs://, az://, abfs://, https:// or http://"
    )]
    UnknownScheme {
        /// The address without credentials.
        url: String,
        /// Its scheme.
        scheme: String,
    },
    /// An endpoint without TLS was given.
    #[error("the endpoint {endpoint:?} of {url:?} is not encrypted; set allow_http: true where that is meant")]
    PlainHttp {
        /// The address without credentials.
        url: String,
        /// The endpoint.
        endpoint: String,
    },
    /// The store's own settings are incomplete or wrong.
    #[error("the store {url:?} cannot be set up: {source}")]
    Settings {
        /// The address without credentials.
        url: String,
        /// The cause; names the setting.
        #[source]
        source: object_store::Error,
    },
    /// A local directory cannot be used.
    #[error("the local store {url:?} cannot be used: {source}")]
    Local {
        /// The path.
        url: String,
        /// The cause.
        #[source]
        source: LocalError,
    },
}

/// Opens a store address: a path or `file://` URL, `memory:NAME` (shared by the whole process, for tests and dry runs),
/// `s3://`, `gs://`, `az://` or `abfs://`, and `http://` or `https://`, which are read-only and cannot list.
///
/// No network access happens here, so a location that opens may still be unreachable.
pub fn open(url: &str, options: &StoreOptions) -> Result<Location, LocationError> {
    if let Some(address) = url.strip_prefix(FAULT) {
        return faulty(address, options);
    }
    if let Some(name) = url.strip_prefix("memory:") {
        return memory(name.trim_start_matches('/'));
    }
    let Some((scheme, _)) = url.split_once("://") else { return local(url, FsPath::new(url)) };
    let parsed = Url::parse(url).map_err(|e| bad(&without_credentials_text(url), e.to_string()))?;
    let shown = without_credentials(&parsed);
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(bad(&shown, "it has a query or a fragment; write only scheme, host and path".to_owned()));
    }
    match scheme.to_ascii_lowercase().as_str() {
        "file" => match parsed.to_file_path() {
            Ok(path) => local(&shown, &path),
            Err(()) => Err(bad(&shown, "a file URL has an absolute path and no host: file:///directory".to_owned())),
        },
        "s3" | "s3a" => remote(&parsed, shown, options, options::s3),
        "gs" => remote(&parsed, shown, options, options::gcs),
        "az" | "azure" | "abfs" | "abfss" => remote(&parsed, shown, options, options::azure),
        "http" | "https" => http(&parsed, shown),
        other => Err(LocationError::UnknownScheme { url: shown, scheme: other.to_owned() }),
    }
}

/// Stored bytes of a part of an upload to a store behind a network: what S3 (5 MiB at least) and R2 (all but the last alike) are content
/// with. S3's 10,000 parts bound an object to 78 GiB.
pub const REMOTE_PART: usize = 8 << 20;

/// Of one to a local folder: parts are writes into one file there, and what waits for a part is memory.
pub const LOCAL_PART: usize = 1 << 20;

impl Location {
    /// A location on a store that the caller has made, for tests and layers. Assumes that it lists and can be written.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path, url: impl Into<String>) -> Self {
        Self { store, root, url: url.into(), lists: true, writable: true, anchors: None, folder: None }
    }

    /// The location `relative` below this one; the parts are separated by slashes and taken as they are.
    pub fn join(&self, relative: &str) -> Result<Self, LocationError> {
        let root = self.path(relative)?;
        let relative = relative.trim_matches('/');
        let url = if relative.is_empty() {
            self.url.clone()
        } else {
            format!("{}/{relative}", self.url.trim_end_matches('/'))
        };
        let folder = self.folder.as_ref().map(|folder| folder.join(relative));
        Ok(Self { root, url, folder, ..self.clone() })
    }

    /// Stored bytes of a part of an upload. An object that is not longer is one request.
    pub fn part_bytes(&self) -> usize {
        if self.folder.is_some() { LOCAL_PART } else { REMOTE_PART }
    }

    /// The path on the store of `relative`, a path below the root such as `keys/1.json`.
    pub fn path(&self, relative: &str) -> Result<Path, LocationError> {
        let relative = relative.trim_matches('/');
        let whole = match (self.root.as_ref(), relative) {
            (root, "") => root.to_owned(),
            ("", relative) => relative.to_owned(),
            (root, relative) => format!("{root}/{relative}"),
        };
        Path::parse(&whole).map_err(|e| bad(&self.url, e.to_string()))
    }

    /// What of `path` lies below the root, or `None` where it lies elsewhere. The root itself gives an empty string.
    pub fn relative<'a>(&self, path: &'a Path) -> Option<&'a str> {
        relative_to(&self.root, path)
    }
}

/// What of `path` lies below `root`.
pub(crate) fn relative_to<'a>(root: &Path, path: &'a Path) -> Option<&'a str> {
    let rest = path.as_ref().strip_prefix(root.as_ref())?;
    if root.as_ref().is_empty() || rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Location").field("url", &self.url).field("root", &self.root).finish_non_exhaustive()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

fn bad(url: &str, reason: String) -> LocationError {
    LocationError::BadUrl { url: url.to_owned(), reason }
}

/// A local directory, or file: absolute, with the links of the part that exists resolved.
fn local(shown: &str, path: &FsPath) -> Result<Location, LocationError> {
    if path.as_os_str().is_empty() {
        return Err(bad(shown, "it is empty; write . for the current directory".to_owned()));
    }
    let failed = |source: std::io::Error| LocationError::Local {
        url: shown.to_owned(),
        source: LocalError::Io { action: "resolve", path: path.to_path_buf(), source },
    };
    let real = resolve(path).map_err(failed)?;
    let root = Path::from_absolute_path(&real).map_err(|e| bad(shown, e.to_string()))?;
    // An existing file is a location too, of one object; what is written beside it belongs to its directory.
    let base = if real.is_file() { real.parent().unwrap_or(&real) } else { &real };
    let store = LocalStore::new(base).map_err(|source| LocationError::Local { url: shown.to_owned(), source })?;
    Ok(Location { folder: Some(real), ..Location::new(Arc::new(store), root, shown) })
}

/// The absolute path, where the longest part that exists has its links resolved and the rest is taken by its text.
fn resolve(path: &FsPath) -> std::io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let mut existing = absolute.as_path();
    let real = loop {
        match std::fs::canonicalize(existing) {
            Ok(real) => break real,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => match existing.parent() {
                Some(parent) => existing = parent,
                None => return Err(e),
            },
            Err(e) => return Err(e),
        }
    };
    let mut whole = real;
    for component in absolute.strip_prefix(existing).unwrap_or(FsPath::new("")).components() {
        match component {
            Component::Normal(name) => whole.push(name),
            Component::ParentDir => {
                whole.pop();
            }
            _ => {}
        }
    }
    Ok(whole)
}

/// Every store named by `memory:` in this process.
static MEMORY: LazyLock<Mutex<HashMap<String, Arc<InMemory>>>> = LazyLock::new(Mutex::default);

fn memory(name: &str) -> Result<Location, LocationError> {
    let shown = format!("memory:{name}");
    let (store_name, prefix) = name.split_once('/').unwrap_or((name, ""));
    if store_name.is_empty() {
        return Err(bad(&shown, "it has no name; write memory:NAME".to_owned()));
    }
    let root = Path::parse(prefix.trim_matches('/')).map_err(|e| bad(&shown, e.to_string()))?;
    let mut stores = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let store = Arc::clone(stores.entry(store_name.to_owned()).or_default());
    Ok(Location::new(store, root, shown))
}

type Builder = fn(&Url, &StoreOptions, &str) -> Result<Arc<dyn ObjectStore>, LocationError>;

fn remote(url: &Url, shown: String, options: &StoreOptions, build: Builder) -> Result<Location, LocationError> {
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad(&shown, format!("it names no bucket; write {}://BUCKET/PREFIX", url.scheme())));
    }
    let root = Path::from_url_path(url.path()).map_err(|e| bad(&shown, e.to_string()))?;
    Ok(Location::new(build(url, options, &shown)?, root, shown))
}

fn http(url: &Url, shown: String) -> Result<Location, LocationError> {
    let root = Path::from_url_path(url.path()).map_err(|e| bad(&shown, e.to_string()))?;
    let mut origin = url.clone();
    origin.set_path("/");
    let store = options::http(&origin, &shown)?;
    Ok(Location { lists: false, writable: false, ..Location::new(Arc::new(HttpReadOnly::new(store)), root, shown) })
}

/// What begins the address of a store that goes wrong on purpose: see [`crate::fault`].
const FAULT: &str = "fault+";

/// The variable with the fault plan of such addresses.
const FAULT_PLAN: &str = "RESTOW_FAULTS";

/// A place behind a layer that goes wrong as a plan says, for tests.
fn faulty(address: &str, options: &StoreOptions) -> Result<Location, LocationError> {
    let shown = |address: &str| format!("{FAULT}{}", without_credentials_text(address));
    let (address, plan) = match address.split_once("?fault=") {
        Some((address, plan)) => (address, Some(plan)),
        None => (address, options.environment.get(FAULT_PLAN).map(String::as_str)),
    };
    let missing = || format!("it has no fault plan; set {FAULT_PLAN}, `none` for no fault, or write ?fault=PLAN");
    let plan = plan.ok_or_else(|| bad(&shown(address), missing()))?;
    let faults = fault::by_address(address, plan).map_err(|e| bad(&shown(address), e.to_string()))?;
    let place = open(address, options)?;
    Ok(Location { url: format!("{FAULT}{}", place.url), ..FaultStore::over(&place, &faults) })
}

/// The address as it may be shown: user names and passwords are taken out.
fn without_credentials(url: &Url) -> String {
    let mut shown = url.clone();
    // abfs://container@account carries no credential: the user part is the container.
    if !url.scheme().starts_with("abfs") {
        let _ = shown.set_username("");
    }
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string().trim_end_matches('/').to_owned()
}

/// The same for text that is no URL.
fn without_credentials_text(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => text.to_owned(),
    }
}

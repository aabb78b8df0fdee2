//! From a path of the options to a place on a store.

use std::path::Path as FsPath;

use globset::{GlobBuilder, GlobMatcher};
use restow_core::stage::OpenContext;
use restow_core::{EngineError, Result};
use restow_spec::catalogue::Kind;
use restow_store::location::{self, Location, StoreOptions};

use super::config::ConnectionOptions;
use super::error::FilesError;

/// The characters that make a path a glob.
const GLOB: [char; 4] = ['*', '?', '[', '{'];

/// What every name of restow's own begins with.
pub(super) const OWN: &str = "_restow_";

/// A place that a path of the options names.
#[derive(Debug)]
pub(super) struct Place {
    /// The file or folder, or for a glob the longest part without a glob character.
    pub location: Location,
    /// The same as the user wrote it, for messages.
    pub shown: String,
    /// What the part of a file's path below `location` must match.
    pub glob: Option<Glob>,
}

/// The rest of a path from the first glob character on.
#[derive(Debug)]
pub(super) struct Glob {
    matcher: GlobMatcher,
    /// The glob as it was written, below the place.
    pub text: String,
    /// How many of its names begin with a dot.
    dots: usize,
}

impl Glob {
    /// Whether the glob takes this path. A wildcard takes no name that begins with a dot, as in a shell, and no glob
    /// takes a name of restow's own.
    pub fn takes(&self, relative: &str) -> bool {
        let own = relative.split('/').any(|part| part.starts_with(OWN));
        // A name of the glob that begins with a dot takes one of these, so any more were taken by wildcards.
        let hidden = relative.split('/').filter(|part| part.starts_with('.')).count();
        !own && hidden <= self.dots && self.matcher.is_match(relative)
    }
}

/// How many names of a glob begin with a dot, counting each alternative in braces.
fn dots(glob: &str) -> usize {
    let (mut count, mut begins, mut braces) = (0, true, Vec::new());
    for letter in glob.chars() {
        match letter {
            '{' => braces.push(begins),
            ',' => begins = braces.last().copied().unwrap_or(false),
            _ => {
                count += usize::from(begins && letter == '.');
                if letter == '}' {
                    braces.pop();
                }
                begins = letter == '/';
            }
        }
    }
    count
}

impl Place {
    /// Opens a path, below the connection's url where one is named.
    ///
    /// # Errors
    /// The connection is not there, or the address is not usable.
    pub fn open(path: &str, connection: Option<&str>, context: &OpenContext) -> Result<Self> {
        let (text, options) = match connection {
            None => {
                (path.to_owned(), StoreOptions { environment: context.store_environment(), ..StoreOptions::default() })
            }
            Some(name) => below_connection(path, name, context)?,
        };
        let (base, glob) = split_glob(&text, context);
        let glob = glob.map(|rest| compile(&text, rest)).transpose()?;
        let address = address(base, context);
        let location = location::open(&address, &options).map_err(|error| EngineError::usage(error.to_string()))?;
        let shown = if is_address(base) { location.url.clone() } else { base.to_owned() };
        Ok(Self { location, shown, glob })
    }

    /// The name of something below this place, as the user would write it.
    pub fn show(&self, relative: &str) -> String {
        match (self.shown.as_str(), relative) {
            (shown, "") => shown.to_owned(),
            ("" | ".", relative) => relative.to_owned(),
            (shown, relative) => format!("{}/{relative}", shown.trim_end_matches('/')),
        }
    }

    /// The last part of the path: the name of the folder.
    pub fn name(&self) -> String {
        let last = |text: &str| text.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default().to_owned();
        self.location.root.filename().map_or_else(|| last(&self.location.url), str::to_owned)
    }
}

/// Whether a path is the address of a store and no path of this machine.
fn is_address(path: &str) -> bool {
    path.contains("://") || path.starts_with("memory:")
}

fn below_connection(path: &str, name: &str, context: &OpenContext) -> Result<(String, StoreOptions)> {
    let unknown = || FilesError::Connection { name: name.to_owned() };
    let component = context.connections.get(name).filter(|c| c.kind == Kind::Connection && c.name == "files");
    let options: ConnectionOptions =
        component.ok_or_else(unknown)?.typed().map_err(|problem| EngineError::usage(problem.to_string()))?;
    if is_address(path) || path.starts_with('/') {
        return Err(FilesError::TwoAddresses { path: path.to_owned(), connection: name.to_owned() }.into());
    }
    let relative = if path == "." { "" } else { path.trim_start_matches("./") };
    let base = options.url.trim_end_matches('/');
    let text = if relative.is_empty() { options.url.clone() } else { format!("{base}/{relative}") };
    let store = StoreOptions {
        environment: context.store_environment(),
        endpoint: options.endpoint,
        region: options.region,
        allow_http: options.allow_http,
        anonymous: options.anonymous,
        ..StoreOptions::default()
    };
    Ok((text, store))
}

/// The part before the first component with a glob character, and the rest. A local file whose name has such a character
/// is that file.
fn split_glob<'a>(text: &'a str, context: &OpenContext) -> (&'a str, Option<&'a str>) {
    if !text.contains(GLOB) || (!is_address(text) && context.directory.join(text).exists()) {
        return (text, None);
    }
    let mut begin = 0;
    for part in text.split_inclusive('/') {
        if part.contains(GLOB) {
            break;
        }
        begin += part.len();
    }
    let (base, rest) = text.split_at(begin);
    let base = match base.strip_suffix('/') {
        Some("") => "/",
        Some(base) if !base.ends_with('/') => base,
        _ if base.is_empty() => ".",
        _ => base,
    };
    (base, Some(rest))
}

fn compile(text: &str, rest: &str) -> Result<Glob> {
    let glob = GlobBuilder::new(rest).literal_separator(true).build();
    match glob {
        Ok(glob) => Ok(Glob { matcher: glob.compile_matcher(), text: rest.to_owned(), dots: dots(rest) }),
        Err(error) => Err(FilesError::Glob { path: text.to_owned(), reason: error.kind().to_string() }.into()),
    }
}

/// The address to open: local paths are taken relative to the run's folder.
fn address(text: &str, context: &OpenContext) -> String {
    if is_address(text) {
        return text.to_owned();
    }
    let path = FsPath::new(text);
    if path.is_absolute() { text.to_owned() } else { context.directory.join(path).display().to_string() }
}

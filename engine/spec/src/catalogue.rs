//! What stages exist. `stages::registry()` builds the value; `spec` itself knows no database.

use std::fmt;
use std::sync::OnceLock;

use schemars::Schema;
use serde_json::Value;

use crate::pipeline::VerifyLevel;
use crate::suggest;

/// What a component is for. Filter and transform are part of `spec` and not listed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// How to reach a database or a repository, named under `connections`.
    Connection,
    /// Where rows come from.
    Source,
    /// A known layout that rows are brought into, for those who read it elsewhere.
    Reshape,
    /// How rows become bytes.
    Codec,
    /// How bytes are sealed.
    Encrypt,
    /// Where rows or bytes go.
    Sink,
}

impl Kind {
    /// Every kind, in the order of a pipeline file.
    pub const ALL: [Self; 6] = [Self::Connection, Self::Source, Self::Reshape, Self::Codec, Self::Encrypt, Self::Sink];

    /// The word for it in a pipeline file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Source => "source",
            Self::Reshape => "reshape",
            Self::Codec => "codec",
            Self::Encrypt => "encrypt",
            Self::Sink => "sink",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One problem in the options of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer relative to the options, such as `/collections/0`; empty for the options as a whole.
    pub pointer: String,
    /// What is wrong: lowercase, no final period.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    /// A problem without a remedy.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into(), help: None }
    }

    /// Adds the remedy.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

/// What `spec` must know of one component.
#[derive(Debug, Clone)]
pub struct ComponentInfo {
    /// What it is for.
    pub kind: Kind,
    /// Its key in a pipeline file, such as `files`.
    pub name: &'static str,
    /// One line: what it does.
    pub summary: &'static str,
    /// YAML of its options, complete enough to pass `lint`.
    pub example: &'static str,
    /// The JSON Schema of its option struct. Secret leaves have `"format": "secret"`; SQL leaves have
    /// `"format": "sql-expression"` or `"sql-query"`.
    pub schema: Schema,
    /// Sinks only: stores bytes, so that codec and encrypt stages may stand before it.
    pub byte_sink: bool,
    /// Sinks that store bytes only: the codecs that they take, first the one to suggest; `None`: every codec.
    pub codecs: Option<&'static [&'static str]>,
    /// Sinks only: the levels of `verify: { after: .. }` that a run can prove afterwards.
    pub verifies: &'static [VerifyLevel],
    /// Sources only: reads stored bytes.
    pub bytes_source: bool,
    /// A pure check beyond the schema, run only on options that satisfy the schema.
    pub check: fn(&Value) -> Vec<Problem>,
}

/// All components that this build has.
#[derive(Debug, Default)]
pub struct Catalogue {
    components: Vec<ComponentInfo>,
    pub(crate) compiled: OnceLock<crate::schema::Compiled>,
}

impl Catalogue {
    /// An empty catalogue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a component; a later one of the same kind and name replaces the earlier.
    pub fn add(&mut self, component: ComponentInfo) {
        self.compiled = OnceLock::new();
        match self.components.iter_mut().find(|known| known.kind == component.kind && known.name == component.name) {
            Some(known) => *known = component,
            None => self.components.push(component),
        }
    }

    /// The component of that kind and name.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&ComponentInfo> {
        self.components.iter().find(|component| component.kind == kind && component.name == name)
    }

    /// Every component, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &ComponentInfo> {
        self.components.iter()
    }

    /// The names of one kind, in the order in which they were added.
    pub fn names(&self, kind: Kind) -> impl Iterator<Item = &'static str> + Clone {
        self.components.iter().filter(move |component| component.kind == kind).map(|component| component.name)
    }

    /// What is wrong with a codec before a sink, if that sink does not take it.
    pub(crate) fn refused_codec(&self, sink: &ComponentInfo, codec: &str) -> Option<Problem> {
        let taken = sink.codecs.filter(|taken| !taken.contains(&codec))?;
        let first = taken.first()?;
        let titles: Vec<String> = taken.iter().map(|name| title(name)).collect();
        let message = format!("a {} stores {}, and the codec stage says {codec}", sink.name, titles.join(" or "));
        let open = |other: &&ComponentInfo| other.kind == Kind::Sink && other.byte_sink && other.codecs.is_none();
        let open: Vec<&str> = self.iter().filter(open).map(|other| other.name).collect();
        let here = format!("use `codec: {{ {first}: {{}} }}` here");
        let help = match open.as_slice() {
            [] => here,
            names => format!("{here}; a {} sink takes every codec", names.join(" or ")),
        };
        Some(Problem::new("", message).with_help(help))
    }

    /// The help for a name that is not known.
    pub(crate) fn suggest(&self, kind: Kind, name: &str) -> Option<String> {
        suggest::help(name, &format!("{kind}s"), self.names(kind))
    }
}

/// `Parquet`, as the beginning of a name is written in a sentence.
fn title(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}", first.to_uppercase(), letters.as_str()))
}

impl Clone for Catalogue {
    fn clone(&self) -> Self {
        Self { components: self.components.clone(), compiled: OnceLock::new() }
    }
}

impl FromIterator<ComponentInfo> for Catalogue {
    fn from_iter<T: IntoIterator<Item = ComponentInfo>>(components: T) -> Self {
        let mut catalogue = Self::new();
        components.into_iter().for_each(|component| catalogue.add(component));
        catalogue
    }
}

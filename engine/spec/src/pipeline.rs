//! A checked pipeline: what `load` yields and every later phase works from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalogue::{Kind, Problem};
use crate::diagnostic::Diagnostic;
use crate::schedule::Schedule;
use crate::units::{ByteSize, HumanDuration};
use crate::yaml::Document;

/// One pipeline file, read, interpolated and checked as far as that needs no network.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The file as it was named by the caller.
    pub path: String,
    /// Its name: `name:`, or the file's name without the ending.
    pub name: String,
    /// The version of the file format: 1.
    pub version: u32,
    /// Every variable with the value that this run uses.
    pub vars: BTreeMap<String, String>,
    /// How to reach databases and repositories, by the name that stages use.
    pub connections: BTreeMap<String, Component>,
    /// When it runs by itself.
    pub schedule: Option<Schedule>,
    /// Where rows come from.
    pub source: Component,
    /// Filters and transforms, in order.
    pub rows: Vec<RowStage>,
    /// How rows become bytes.
    pub codec: Option<Component>,
    /// How bytes are sealed.
    pub encrypt: Option<Component>,
    /// Where rows or bytes go.
    pub sink: Component,
    /// What happens to rows and datasets that fail.
    pub on_error: OnError,
    /// Which snapshots a `retention apply` keeps.
    pub retention: Option<Retention>,
    /// How far a run proves what it wrote.
    pub verify: Option<Verify>,
    /// Rows in, rows out: what `restow test` runs.
    pub tests: Vec<PipelineTest>,
    /// Bound on the memory of a run; the settings' value where absent.
    pub memory: Option<ByteSize>,
    /// Splits that are open at once over all datasets; the settings' value where absent.
    pub parallel: Option<u32>,
    /// URL of the run state where the sink is no repository; `./.restow/state` where absent.
    pub state: Option<String>,
    /// How old an unfinished run may be to be taken up again; [`DEFAULT_RESUME_WITHIN`] where absent.
    pub resume_within: Option<Duration>,
    /// The file as a value tree after interpolation, secrets as references and passwords in URLs masked: for the
    /// manifest, and for the hash of what was asked.
    pub redacted: Value,
    /// The text and where each value stands in it.
    pub document: Arc<Document>,
}

/// What `resume_within` is where a file does not say it: six hours.
pub const DEFAULT_RESUME_WITHIN: Duration = Duration::from_secs(6 * 3600);

impl Pipeline {
    /// `resume_within`, or its default.
    pub fn resume_within_or_default(&self) -> Duration {
        self.resume_within.unwrap_or(DEFAULT_RESUME_WITHIN)
    }

    /// A diagnostic at the value of a JSON pointer into the file, or at the nearest value around it.
    pub fn diagnostic_at(
        &self,
        pointer: &str,
        code: &'static str,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Diagnostic {
        self.document.diagnostic(code, self.document.value_place(pointer), message.into(), help)
    }

    /// A diagnostic inside SQL text: line and column, both from 1, as the SQL parser counts them in the text after
    /// interpolation.
    pub fn sql_diagnostic_at(
        &self,
        pointer: &str,
        sql_line: u64,
        sql_column: u64,
        code: &'static str,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Diagnostic {
        self.document.diagnostic(code, self.document.text_place(pointer, sql_line, sql_column, 1), message.into(), help)
    }

    /// A problem that a component found in its options, at its place.
    pub fn component_diagnostic(&self, component: &Component, problem: &Problem) -> Diagnostic {
        let pointer = format!("{}{}", component.pointer, problem.pointer);
        self.diagnostic_at(&pointer, "E109", problem.message.clone(), problem.help.clone())
    }

    /// The connection that a component names in its `connection` option.
    pub fn connection_of(&self, component: &Component) -> Option<&Component> {
        self.connections.get(component.options.get("connection")?.as_str()?)
    }
}

/// A source, codec, encryption, sink or connection with its options.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// What it is for.
    pub kind: Kind,
    /// Its key in the file, such as `files`.
    pub name: String,
    /// Its options after interpolation; secrets are still references.
    pub options: Value,
    /// Where the options stand, such as `/stages/0/source/files`.
    pub pointer: String,
}

impl Component {
    /// The options as the component's own type.
    ///
    /// # Errors
    /// Options that passed `load` fail here only where the schema and the type disagree.
    pub fn typed<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        T::deserialize(&self.options)
            .map_err(|error| Problem::new("", format!("options of the {} {:?}: {error}", self.kind, self.name)))
    }
}

/// A stage that works on rows.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a pipeline has a handful of stages")]
pub enum RowStage {
    /// Keeps the rows for which a predicate is true.
    Filter(Filter),
    /// Changes columns.
    Transform(Transform),
    /// Brings all rows into a known layout.
    Reshape(Component),
}

impl RowStage {
    /// Globs of the datasets it applies to; empty means all.
    pub fn datasets(&self) -> &[String] {
        match self {
            Self::Filter(filter) => &filter.datasets,
            Self::Transform(transform) => &transform.datasets,
            Self::Reshape(_) => &[],
        }
    }

    /// What happens where a dataset lacks a column.
    pub fn missing(&self) -> Missing {
        match self {
            Self::Filter(filter) => filter.missing,
            Self::Transform(transform) => transform.missing,
            Self::Reshape(_) => Missing::Error,
        }
    }

    /// Where the stage's value stands, such as `/stages/1/filter`.
    pub fn pointer(&self) -> &str {
        match self {
            Self::Filter(filter) => &filter.pointer,
            Self::Transform(transform) => &transform.pointer,
            Self::Reshape(component) => &component.pointer,
        }
    }

    /// `filter`, `transform` or `reshape`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Filter(_) => "filter",
            Self::Transform(_) => "transform",
            Self::Reshape(_) => "reshape",
        }
    }

    /// Whether it applies to a dataset.
    pub fn applies_to(&self, dataset: &str) -> bool {
        let globs = self.datasets();
        // Every glob was compiled once by `load`; one that no longer compiles matches nothing.
        globs.is_empty()
            || globs
                .iter()
                .any(|glob| globset::Glob::new(glob).is_ok_and(|glob| glob.compile_matcher().is_match(dataset)))
    }
}

/// Keeps the rows for which a predicate is true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The predicate.
    pub sql: String,
    /// Globs of the datasets it applies to; empty means all.
    pub datasets: Vec<String>,
    /// What happens where a dataset lacks a column.
    pub missing: Missing,
    /// Where the stage's value stands, such as `/stages/1/filter`.
    pub pointer: String,
    /// Where the SQL text stands: `pointer`, or `pointer/sql` in the long form.
    pub sql_pointer: String,
}

/// Changes columns. The verbs are applied in the order of the fields, however the file orders them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transform {
    /// Old name to new name.
    pub rename: IndexMap<String, String>,
    /// Columns to remove, by their names after `rename`.
    pub drop: Vec<String>,
    /// The only columns to keep, in this order, by their names after `rename`.
    pub keep: Option<Vec<String>>,
    /// Column to SQL type.
    pub cast: IndexMap<String, String>,
    /// Column, new or old, to SQL expression.
    pub set: IndexMap<String, String>,
    /// One SELECT from `input`, applied last.
    pub sql: Option<String>,
    /// Globs of the datasets it applies to; empty means all.
    pub datasets: Vec<String>,
    /// What happens where a dataset lacks a column.
    pub missing: Missing,
    /// Where the stage's value stands, such as `/stages/2/transform`.
    pub pointer: String,
}

/// What a row stage does with a dataset that lacks a column it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Missing {
    /// An error in `plan` that names every such dataset.
    #[default]
    Error,
    /// The column counts as null.
    Null,
    /// The stage is skipped for that dataset.
    Skip,
}

/// What happens to rows and datasets that fail.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OnError {
    /// Rows that may be rejected before the run fails. Default: 0.
    pub max_rejects: u64,
    /// Where rejected rows are also written, readable: a path. Default: only the run state.
    pub rejects: Option<String>,
    /// What happens to the other datasets when one fails for good. Default: continue.
    pub dataset: DatasetFailure,
    /// How often and how patiently a failed operation is tried again.
    pub retry: Retry,
}

/// What happens to the other datasets when one fails for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum DatasetFailure {
    /// The others go on; the snapshot says `partial`.
    #[default]
    Continue,
    /// Nothing is committed.
    Fail,
}

/// How often and how patiently a failed operation is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Attempts in all, the first included. Default: 5. Minimum: 1.
    #[schemars(range(min = 1, max = 1000))]
    pub attempts: u32,
    /// Pause before the second attempt; it doubles from one to the next, with jitter. Default: 200ms.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "HumanDuration")]
    pub delay: Duration,
    /// Longest pause. Default: 30s.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "HumanDuration")]
    pub max_delay: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 5, delay: Duration::from_millis(200), max_delay: Duration::from_secs(30) }
    }
}

/// Which snapshots are kept: those that any rule names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// The newest so many. Default: 0.
    pub last: u32,
    /// The newest of each of so many hours. Default: 0.
    pub hourly: u32,
    /// The newest of each of so many days. Default: 0.
    pub daily: u32,
    /// The newest of each of so many weeks. Default: 0.
    pub weekly: u32,
    /// The newest of each of so many months. Default: 0.
    pub monthly: u32,
    /// The newest of each of so many years. Default: 0.
    pub yearly: u32,
    /// All that are younger. Default: none.
    pub within: Option<HumanDuration>,
    /// Never fewer than so many. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub min_keep: u32,
}

fn one() -> u32 {
    1
}

/// How far a run proves what it wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// The level that runs after the commit.
    pub after: VerifyLevel,
}

/// Levels of verification, everywhere the same words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum VerifyLevel {
    /// All stored bytes; needs no key.
    #[default]
    Checksum,
    /// A rotating part, with its coverage stated.
    Sample,
    /// Decrypts and decodes everything.
    Read,
    /// Restored rows against the snapshot.
    Rows,
    /// Restores into a scratch dataset and compares.
    Deep,
    /// Nothing beyond the read-back that precedes every receipt.
    None,
}

impl VerifyLevel {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Checksum => "checksum",
            Self::Sample => "sample",
            Self::Read => "read",
            Self::Rows => "rows",
            Self::Deep => "deep",
            Self::None => "none",
        }
    }
}

/// One test in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineTest {
    /// Its name, unique in the file.
    pub name: String,
    /// Rows that enter.
    pub given: Vec<Value>,
    /// Rows that must leave.
    pub expect: Vec<Value>,
    /// The dataset they belong to, where stages differ by dataset.
    pub dataset: Option<String>,
    /// Where the test stands, such as `/tests/0`.
    pub pointer: String,
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    HumanDuration::deserialize(deserializer).map(HumanDuration::get)
}

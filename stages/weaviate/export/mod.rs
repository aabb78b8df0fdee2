//! Weaviate's own export as a source: Parquet files that `POST /v1/export` has written, read without a server into the same
//! records. It holds objects and no definitions: those come from a file, or are found in the objects.

mod files;
mod folder;
mod infer;
mod layout;
mod metadata;
mod own;
mod read;
mod vectors;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::logical_expr::Expr;
use globset::{GlobBuilder, GlobMatcher};
use restow_core::stage::{
    Artifact, Dataset, Effects, OpenContext, Pushdown, ReadRequest, Source, SourceFactory, SourceIdentity, Split,
    SplitStream,
};
use restow_core::{EngineError, ExitClass, Result};
use restow_spec::catalogue::Problem;
use restow_spec::pipeline::Component;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::backup::MissingTenants;
use super::class::Class;
use super::columns::{Shape, columns_of, schema_of};
use super::config::{self, VectorLengths};

pub(super) use files::{Export, Piece};
pub(super) use folder::Folder;
pub(super) use layout::{Layout, LayoutOptions};
pub(super) use metadata::METADATA;
pub(super) use read::{Readable, read};

/// The name of the component.
pub(super) const NAME: &str = "weaviate_export";
/// Objects of each file that are looked at for the length of their vectors.
const SAMPLE: u64 = 100;

/// `source: { weaviate_export: { .. } }`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportOptions {
    /// The folder of one export, on this machine or a store: `exports/nightly`, `s3://bucket/exports/nightly`.
    pub path: String,
    /// A connection of kind `files`; `path` is then below its url. Default: none.
    #[serde(default)]
    pub connection: Option<String>,
    /// The definitions of the collections, which an export does not hold: a file with the answer to `GET /v1/schema`, or to
    /// `GET /v1/schema/NAME`. Default: types are found in the objects, all of which are read for it first.
    #[serde(default)]
    pub definitions: Option<String>,
    /// Only these collections; `*` and `?` stand for any text and any character. Default: all.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub collections: Option<Vec<String>>,
    /// Not these collections, with the same signs. Default: none.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whether the vectors of a collection have one length, as far as the first objects of each file tell, or may differ. Default: found.
    #[serde(default)]
    pub vector_lengths: VectorLengths,
    /// What happens where the server left tenants out, since they were offloaded. Default: refuse.
    #[serde(default)]
    pub missing_tenants: MissingTenants,
}

pub(super) fn check(options: &Value) -> Vec<Problem> {
    let path = options.get("path").and_then(Value::as_str).unwrap_or("x");
    if path.ends_with(".parquet") {
        let problem = Problem::new("/path", format!("{path:?} is one file, and an export is a folder"));
        return vec![problem.with_help("name the folder that holds export_metadata.json and all its Parquet files")];
    }
    Vec::new()
}

/// Opens an export.
pub(super) struct Factory;

#[async_trait]
impl SourceFactory for Factory {
    async fn open(&self, component: &Component, context: &OpenContext) -> Result<Arc<dyn Source>> {
        let options: ExportOptions = config::options(component)?;
        let folder = Folder::open(&options.path, options.connection.as_deref(), context)?;
        let definitions =
            options.definitions.as_ref().map(|file| definitions(&context.directory.join(file))).transpose()?;
        Ok(Arc::new(Opened::open(folder, definitions, &options).await?))
    }
}

/// An opened export.
#[derive(Debug)]
struct Opened {
    export: Export,
    collections: BTreeMap<String, Readable>,
    datasets: Vec<Dataset>,
    artifacts: Vec<Artifact>,
    /// Tenants that the export lacks.
    absent: Vec<String>,
    /// Whether the types were found in the objects.
    is_inferred: bool,
    fingerprint: String,
}

impl Opened {
    async fn open(
        folder: Folder,
        definitions: Option<BTreeMap<String, Class>>,
        options: &ExportOptions,
    ) -> Result<Self> {
        let export = Export::open(folder).await?;
        let wanted = wanted(&export, options)?;
        let mut opened = Self {
            fingerprint: fingerprint(&export, definitions.as_ref()),
            export,
            collections: BTreeMap::new(),
            datasets: Vec::new(),
            artifacts: Vec::new(),
            absent: Vec::new(),
            is_inferred: definitions.is_none(),
        };
        for name in wanted {
            opened.add(&name, definitions.as_ref(), options.vector_lengths).await?;
        }
        if !opened.absent.is_empty() && options.missing_tenants == MissingTenants::Refuse {
            let message = format!(
                "the export at {:?} lacks these tenants: {}",
                opened.export.folder.shown,
                opened.absent.join(", ")
            );
            return Err(EngineError::new(ExitClass::Refused, message)
                .with_hint("set `missing_tenants: skip` to read the others; nothing was read"));
        }
        Ok(opened)
    }

    async fn add(
        &mut self,
        name: &str,
        definitions: Option<&BTreeMap<String, Class>>,
        asked: VectorLengths,
    ) -> Result<()> {
        let left_out = self.export.left_out(name)?;
        let (class, mut shapes) = match definitions {
            None => infer::look(&self.export, name).await?.class(name, infer::has_tenants(&self.export, name))?,
            Some(definitions) => {
                let class = definitions.get(name).cloned().ok_or_else(|| no_definition(name, definitions))?;
                let lengths = read::lengths(&self.export, &class, SAMPLE).await?;
                let shapes = lengths.iter().map(|lengths| match lengths.as_slice() {
                    [length] => Shape::Fixed(*length),
                    _ => Shape::Varying,
                });
                let shapes = shapes.collect();
                (class, shapes)
            }
        };
        if asked == VectorLengths::Varying {
            shapes.fill(Shape::Varying);
        }
        self.artifacts.push(artifact(name, "class.json", class.text.get().as_bytes().to_vec()));
        if class.has_tenants {
            let tenants: Vec<Value> = self
                .tenants(name, &left_out)
                .await?
                .into_iter()
                // The export does not tell their states.
                .map(|tenant| json!({ "name": tenant, "activityStatus": "HOT" }))
                .collect();
            self.artifacts.push(artifact(name, "tenants.json", Value::Array(tenants).to_string().into_bytes()));
        }
        self.absent.extend(left_out.iter().map(|(shard, reason)| format!("{name}/{shard} ({reason})")));
        let columns = columns_of(&class, &shapes);
        let (schema, roles) = schema_of(&columns);
        let files = self.export.files_of(name);
        let (rows, bytes) = (files.iter().map(|file| file.rows()).sum(), files.iter().map(|file| file.meta.size).sum());
        self.datasets.push(Dataset { name: name.to_owned(), schema, roles, rows: Some(rows), bytes: Some(bytes) });
        self.collections.insert(name.to_owned(), Readable { class, columns });
        Ok(())
    }

    /// The tenants that the export has, those without an object among them.
    async fn tenants(&self, class: &str, left_out: &[(String, String)]) -> Result<BTreeSet<String>> {
        let mut tenants = read::tenants(&self.export, class).await?;
        tenants.extend(self.export.files_of(class).iter().filter_map(|file| file.tenant.clone()));
        if let Some(metadata) = &self.export.metadata {
            tenants.extend(metadata.shards(class).into_iter().map(str::to_owned));
        }
        tenants.retain(|tenant| !left_out.iter().any(|(shard, _)| shard == tenant));
        Ok(tenants)
    }

    fn collection(&self, name: &str) -> Result<&Readable> {
        self.collections.get(name).ok_or_else(|| {
            let message = format!("the export at {:?} has no collection {name:?}", self.export.folder.shown);
            EngineError::new(ExitClass::NotFound, message)
        })
    }
}

fn artifact(scope: &str, name: &str, bytes: Vec<u8>) -> Artifact {
    Artifact { scope: scope.to_owned(), name: name.to_owned(), bytes }
}

fn no_definition(name: &str, definitions: &BTreeMap<String, Class>) -> EngineError {
    let known: Vec<&str> = definitions.keys().map(String::as_str).collect();
    EngineError::new(ExitClass::NotFound, format!("the file of `definitions` has no collection {name:?}")).with_hint(
        format!(
            "it has {}; leave the collection out with `exclude`, or let the types be found without `definitions`; nothing was read",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        ),
    )
}

/// Changes with any file, and with the definitions.
fn fingerprint(export: &Export, definitions: Option<&BTreeMap<String, Class>>) -> String {
    let mut hasher = Sha256::new();
    for line in export.versions() {
        hasher.update(line.as_bytes());
        hasher.update(b"\n");
    }
    for class in definitions.into_iter().flat_map(BTreeMap::values) {
        hasher.update(class.text.get().as_bytes());
    }
    let id = export.metadata.as_ref().map_or("", |metadata| metadata.id.as_str());
    let digest: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("weaviate export {id} {digest}")
}

/// The collections that the options name.
fn wanted(export: &Export, options: &ExportOptions) -> Result<Vec<String>> {
    let include = options.collections.as_deref().map(matchers).transpose()?;
    let exclude = matchers(&options.exclude)?;
    let all = export.classes();
    let asked = |name: &&String| include.as_ref().is_none_or(|globs| matches(globs, name)) && !matches(&exclude, name);
    let found: Vec<String> = all.iter().filter(asked).cloned().collect();
    let has = || format!("it has {}", all.iter().map(String::as_str).collect::<Vec<_>>().join(", "));
    // A name without signs is one collection that somebody counts on.
    let plain = options.collections.iter().flatten().filter(|name| !name.contains(['*', '?', '[', '{']));
    let missing: Vec<&str> = plain.filter(|name| !all.contains(*name)).map(String::as_str).collect();
    if missing.is_empty() && !found.is_empty() {
        return Ok(found);
    }
    let what = if missing.is_empty() {
        "no collection that was asked for".to_owned()
    } else {
        format!("no collection {}", missing.join(", "))
    };
    let message = format!("the export at {:?} has {what}", export.folder.shown);
    Err(EngineError::new(ExitClass::NotFound, message).with_hint(has()))
}

fn matchers(globs: &[String]) -> Result<Vec<GlobMatcher>> {
    let built = globs.iter().map(|glob| {
        let built = GlobBuilder::new(glob).literal_separator(false).build();
        built.map(|glob| glob.compile_matcher()).map_err(|error| EngineError::usage(format!("{glob:?}: {error}")))
    });
    built.collect()
}

fn matches(globs: &[GlobMatcher], name: &str) -> bool {
    globs.iter().any(|glob| glob.is_match(name))
}

/// Either `{"classes":[..]}` or one class.
#[derive(Deserialize)]
struct SchemaFile {
    #[serde(default)]
    classes: Option<Vec<Box<RawValue>>>,
    #[serde(default)]
    class: Option<String>,
}

fn definitions(file: &Path) -> Result<BTreeMap<String, Class>> {
    let wrong = |what: String| {
        EngineError::usage(format!("definitions {}: {what}", file.display()))
            .with_hint("it holds the answer to GET /v1/schema, or to GET /v1/schema/NAME")
    };
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let parsed: SchemaFile = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let classes = match (parsed.classes, parsed.class) {
        (Some(classes), _) => classes,
        (None, Some(_)) => vec![RawValue::from_string(text).map_err(|error| wrong(error.to_string()))?],
        (None, None) => return Err(wrong("it holds neither classes nor a class".to_owned())),
    };
    let parsed = classes.into_iter().map(|text| Class::parse(text).map(|class| (class.name.clone(), class)));
    parsed.collect::<Result<_, String>>().map_err(wrong)
}

#[async_trait]
impl Source for Opened {
    fn identity(&self) -> SourceIdentity {
        let mut consistency = self.export.consistency();
        if self.is_inferred {
            consistency.push_str(
                "; the types of properties and vectors were found in the objects, since no definitions were given: dates and \
                 UUIDs are texts, settings of indexes are the server's own, properties that no object has are unknown",
            );
        }
        if self.collections.values().any(|collection| collection.class.has_tenants) {
            consistency.push_str("; an export does not tell the states of tenants: all count as active");
        }
        if !self.absent.is_empty() {
            consistency.push_str("; not in the export: ");
            consistency.push_str(&self.absent.join(", "));
        }
        SourceIdentity {
            kind: NAME.to_owned(),
            address: self.export.folder.shown.clone(),
            fingerprint: self.fingerprint.clone(),
            consistency,
        }
    }

    fn datasets(&self) -> &[Dataset] {
        &self.datasets
    }

    fn artifacts(&self) -> &[Artifact] {
        &self.artifacts
    }

    async fn acquire(&self, _effects: &Effects) -> Result<Value> {
        Ok(json!({ "files": self.fingerprint }))
    }

    /// While no file has changed.
    async fn still_valid(&self, token: &Value) -> Result<bool> {
        Ok(token.get("files").and_then(Value::as_str) == Some(&self.fingerprint))
    }

    async fn splits(&self, dataset: &Dataset, _parallel: usize) -> Result<Vec<Split>> {
        Ok(self.export.splits(&dataset.name, |_| true))
    }

    fn pushdown(&self, _dataset: &Dataset, _filter: &Expr) -> Pushdown {
        Pushdown::No
    }

    async fn read(&self, request: ReadRequest) -> Result<SplitStream> {
        let collection = self.collection(&request.dataset)?;
        let piece: Piece = serde_json::from_value(request.split.payload.clone()).map_err(|error| {
            EngineError::failed(format!("split {:?} of the run cannot be read: {error}", request.split.id))
        })?;
        read(&self.export, collection, piece, &request).await
    }
}

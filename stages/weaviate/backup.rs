//! A native backup of Weaviate as a source: read from its files, without a server, into the same records.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::logical_expr::Expr;
use futures::{StreamExt, stream};
use globset::{GlobBuilder, GlobMatcher};
use restow_core::stage::{
    Artifact, Dataset, Effects, Evidence, OpenContext, Pushdown, ReadRequest, Source, SourceFactory, SourceIdentity,
    Split, SplitEvent, SplitStream,
};
use restow_core::{EngineError, ExitClass, Result};
use restow_spec::catalogue::Problem;
use restow_spec::pipeline::Component;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::class::Class;
use super::columns::{Column, Shape, columns_of, schema_of};
use super::config::{self, VectorLengths};
use super::decode;
use super::native::{Backup, Object};
use super::rows::RowBuilder;

/// The name of the component.
pub(super) const NAME: &str = "weaviate_backup";
/// Where a backup is unpacked, below the folder of the run.
const WORK: &str = ".restow/tmp";
/// Batches that wait for the engine.
const AHEAD: usize = 2;
/// Objects of each collection that are looked at for the length of their vectors.
const SAMPLE: usize = 100;

/// `source: { weaviate_backup: { .. } }`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BackupOptions {
    /// The folder of one backup, which holds its `backup_config.json`.
    pub path: String,
    /// Only these collections; `*` and `?` stand for any text and any character. Default: all.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub collections: Option<Vec<String>>,
    /// Not these collections, with the same signs. Default: none.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whether the vectors of a collection have one length, as far as its first objects tell, or may differ. Default: found.
    #[serde(default)]
    pub vector_lengths: VectorLengths,
    /// What happens where the backup has tenants without their data: offloaded ones, and before 1.37 inactive ones. Default: refuse.
    #[serde(default)]
    pub missing_tenants: MissingTenants,
}

/// What happens where a backup has tenants without their data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum MissingTenants {
    /// The run is refused, and names them.
    #[default]
    Refuse,
    /// They are left out; the manifest names them.
    Skip,
}

pub(super) fn check(options: &Value) -> Vec<Problem> {
    let path = options.get("path").and_then(Value::as_str).unwrap_or("x");
    if path.contains("://") {
        let problem = Problem::new("/path", format!("{path:?} is no folder of this machine"));
        return vec![problem.with_help("copy the backup here first: it is unpacked while it is read")];
    }
    Vec::new()
}

/// Opens a backup.
pub(super) struct Factory;

#[async_trait]
impl SourceFactory for Factory {
    async fn open(&self, component: &Component, context: &OpenContext) -> Result<Arc<dyn Source>> {
        let options: BackupOptions = config::options(component)?;
        let (folder, work) = (context.directory.join(&options.path), context.directory.join(WORK));
        let opened = tokio::task::spawn_blocking(move || Opened::open(folder, work, &options)).await;
        Ok(Arc::new(opened.map_err(|error| EngineError::failed(format!("the reader of a backup died: {error}")))??))
    }
}

/// An opened backup.
#[derive(Debug)]
struct Opened {
    folder: PathBuf,
    work: PathBuf,
    backup: Arc<Backup>,
    collections: Vec<Collection>,
    datasets: Vec<Dataset>,
    artifacts: Vec<Artifact>,
    /// Tenants whose data is not in the backup.
    absent: Vec<String>,
}

#[derive(Debug, Clone)]
struct Collection {
    class: Class,
    columns: Vec<Column>,
}

/// Shards that share chunks.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Piece {
    node: String,
    shards: Vec<String>,
}

impl Opened {
    fn open(folder: PathBuf, work: PathBuf, options: &BackupOptions) -> Result<Self> {
        let backup = Backup::open(&folder).map_err(failed)?;
        let include = options.collections.as_deref().map(matchers).transpose()?;
        let exclude = matchers(&options.exclude)?;
        std::fs::create_dir_all(&work).map_err(|error| EngineError::failed(format!("{}: {error}", work.display())))?;
        let (mut collections, mut datasets, mut artifacts, mut absent) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for found in &backup.classes {
            let asked = include.as_ref().is_none_or(|globs| matches(globs, &found.name));
            if !asked || matches(&exclude, &found.name) {
                continue;
            }
            let text = RawValue::from_string(found.schema.clone()).map_err(|error| {
                EngineError::new(ExitClass::Tampered, format!("the definition of {:?}: {error}", found.name))
            })?;
            let class =
                Class::parse(text).map_err(|what| EngineError::failed(format!("{}: {what}", folder.display())))?;
            artifacts.push(artifact(&class.name, "class.json", found.schema.clone().into_bytes()));
            artifacts.push(artifact(&class.name, "sharding.json", found.sharding_state.clone().into_bytes()));
            if found.tenants {
                let kept = found.shards.iter().filter(|shard| !shard.nodes.is_empty());
                let tenants: Vec<Value> =
                    kept.map(|shard| json!({ "name": shard.name, "activityStatus": shard.status })).collect();
                artifacts.push(artifact(&class.name, "tenants.json", Value::Array(tenants).to_string().into_bytes()));
            }
            absent.extend(found.shards.iter().filter(|shard| shard.nodes.is_empty()).map(|shard| {
                format!("{}/{} ({})", class.name, shard.name, shard.status.as_deref().unwrap_or("no data"))
            }));
            let shapes = shapes(&backup, found, &class, &work, options.vector_lengths)?;
            let columns = columns_of(&class, &shapes);
            let (schema, roles) = schema_of(&columns);
            datasets.push(Dataset { name: class.name.clone(), schema, roles, rows: None, bytes: None });
            collections.push(Collection { class, columns });
        }
        if !absent.is_empty() && options.missing_tenants == MissingTenants::Refuse {
            let message = format!("backup {} has no data of these tenants: {}", folder.display(), absent.join(", "));
            return Err(EngineError::new(ExitClass::Refused, message)
                .with_hint("set `missing_tenants: skip` to read the others; nothing was changed"));
        }
        if datasets.is_empty() {
            let names: Vec<&str> = backup.classes.iter().map(|class| class.name.as_str()).collect();
            let message = format!("backup {} has no collection that was asked for", folder.display());
            return Err(
                EngineError::new(ExitClass::NotFound, message).with_hint(format!("it has {}", names.join(", ")))
            );
        }
        let aliases: Vec<Value> = backup
            .classes
            .iter()
            .flat_map(|class| class.aliases.iter().map(|alias| json!({ "alias": alias, "class": class.name })))
            .collect();
        artifacts.push(artifact("server", "aliases.json", json!({ "aliases": aliases }).to_string().into_bytes()));
        Ok(Self { folder, work, backup: Arc::new(backup), collections, datasets, artifacts, absent })
    }

    fn collection(&self, name: &str) -> Result<&Collection> {
        self.collections.iter().find(|collection| collection.class.name == name).ok_or_else(|| {
            EngineError::new(
                ExitClass::NotFound,
                format!("backup {} has no collection {name:?}", self.folder.display()),
            )
        })
    }
}

fn artifact(scope: &str, name: &str, bytes: Vec<u8>) -> Artifact {
    Artifact { scope: scope.to_owned(), name: name.to_owned(), bytes }
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

/// Damage is damage, whatever else went wrong is a failure.
fn failed(error: super::native::NativeError) -> EngineError {
    EngineError::failed(error.to_string()).with_hint("the backup was only read; nothing was changed")
}

/// The lengths of the vectors, from the first objects of the first shards that have any. Tenants may differ.
fn shapes(
    backup: &Backup,
    found: &super::native::Class,
    class: &Class,
    work: &std::path::Path,
    asked: VectorLengths,
) -> Result<Vec<Shape>> {
    let mut lengths: Vec<Vec<i32>> = vec![Vec::new(); class.vectors.len()];
    if asked == VectorLengths::Found && !found.tenants {
        for group in found.groups() {
            let extracted = backup.extract(&found.name, &group.shards, Some(group.node), work).map_err(failed)?;
            for shard in &group.shards {
                for object in extracted.objects(shard).map_err(failed)?.take(SAMPLE) {
                    let object = object.map_err(failed)?;
                    for (vector, lengths) in class.vectors.iter().zip(&mut lengths) {
                        let length = decode::native_length(vector, &object);
                        lengths.extend(length.filter(|length| !lengths.contains(length)));
                    }
                }
            }
        }
    }
    let shape = |lengths: &Vec<i32>| match lengths.as_slice() {
        [length] => Shape::Fixed(*length),
        _ => Shape::Varying,
    };
    Ok(lengths.iter().map(shape).collect())
}

#[async_trait]
impl Source for Opened {
    fn identity(&self) -> SourceIdentity {
        let backup = &self.backup;
        let base = backup.base.as_ref().map(|base| format!(", an increment of {base}")).unwrap_or_default();
        let mut consistency = format!(
            "as Weaviate's own backup {}{base} ({}, version {}, nodes {}): each shard as it was at some moment between {} and {}",
            backup.id,
            backup.compression.name(),
            backup.server_version,
            backup.nodes.join(", "),
            backup.started_at,
            backup.completed_at
        );
        if !self.absent.is_empty() {
            consistency.push_str("; not in the backup: ");
            consistency.push_str(&self.absent.join(", "));
        }
        SourceIdentity {
            kind: NAME.to_owned(),
            address: self.folder.display().to_string(),
            fingerprint: format!(
                "weaviate backup {} {} {}",
                self.backup.id, self.backup.started_at, self.backup.completed_at
            ),
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
        Ok(json!({ "backup": self.backup.id, "completed": self.backup.completed_at }))
    }

    /// A finished backup does not change.
    async fn still_valid(&self, token: &Value) -> Result<bool> {
        Ok(token.get("completed").and_then(Value::as_str) == Some(&self.backup.completed_at))
    }

    async fn splits(&self, dataset: &Dataset, _parallel: usize) -> Result<Vec<Split>> {
        let class = self.backup.class(&dataset.name).map_err(failed)?;
        let splits = class.groups().into_iter().enumerate().map(|(number, group)| {
            let piece = Piece {
                node: group.node.to_owned(),
                shards: group.shards.iter().map(|name| (*name).to_owned()).collect(),
            };
            Split { id: format!("g{number:05}"), payload: json!(piece), rows: None, bytes: None }
        });
        Ok(splits.collect())
    }

    fn pushdown(&self, _dataset: &Dataset, _filter: &Expr) -> Pushdown {
        Pushdown::No
    }

    async fn read(&self, request: ReadRequest) -> Result<SplitStream> {
        let collection = self.collection(&request.dataset)?;
        let piece: Piece = serde_json::from_value(request.split.payload.clone()).map_err(|error| {
            EngineError::failed(format!("split {:?} of the run cannot be read: {error}", request.split.id))
        })?;
        let columns = request.schema.fields().iter().map(|field| {
            let column = collection.columns.iter().find(|column| column.field.name() == field.name());
            column.cloned().ok_or_else(|| EngineError::failed(format!("there is no column {:?}", field.name())))
        });
        let reading = Reading {
            backup: Arc::clone(&self.backup),
            work: self.work.clone(),
            class: collection.class.name.clone(),
            has_tenants: collection.class.has_tenants,
            columns: columns.collect::<Result<_>>()?,
            builder: RowBuilder::new(&request.schema)?,
            batch_rows: request.batch_rows.max(1),
            piece,
        };
        let (sender, receiver) = mpsc::channel(AHEAD);
        // Ends by itself where nobody listens any more.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = reading.run(&sender) {
                let _ = sender.blocking_send(Err(error));
            }
        });
        Ok(stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|event| (event, receiver)) })
            .boxed())
    }
}

/// Shards being read, on a thread of their own.
struct Reading {
    backup: Arc<Backup>,
    work: PathBuf,
    class: String,
    has_tenants: bool,
    columns: Vec<Column>,
    builder: RowBuilder,
    batch_rows: usize,
    piece: Piece,
}

type Events = mpsc::Sender<Result<SplitEvent>>;

impl Reading {
    fn run(mut self, events: &Events) -> Result<()> {
        let shards: Vec<&str> = self.piece.shards.iter().map(String::as_str).collect();
        let extracted =
            self.backup.extract(&self.class, &shards, Some(&self.piece.node), &self.work).map_err(failed)?;
        let (mut rows, mut bytes) = (0, 0);
        for shard in self.piece.shards.clone() {
            for object in extracted.objects(&shard).map_err(failed)? {
                let object = object.map_err(failed)?;
                rows += 1;
                bytes += size(&object);
                if !self.take(object, if self.has_tenants { &shard } else { "" }, events)? {
                    return Ok(());
                }
            }
        }
        self.flush(events)?;
        let proof = format!("the end of {} shards of node {}", self.piece.shards.len(), self.piece.node);
        let _ = events.blocking_send(Ok(SplitEvent::End(Evidence { rows: Some(rows), bytes, proof, state: None })));
        Ok(())
    }

    /// Whether anybody still listens.
    fn take(&mut self, object: Object, tenant: &str, events: &Events) -> Result<bool> {
        let id = uuid::Uuid::from_bytes(object.id).hyphenated().to_string();
        match decode::of_native(&self.columns, object, &id, tenant) {
            Ok(cells) => self.builder.push(cells)?,
            Err(reason) => {
                let reject = decode::reject(&self.class, tenant, &id, reason, None);
                return Ok(events.blocking_send(Ok(SplitEvent::Reject(reject))).is_ok());
            }
        }
        if self.builder.len() >= self.batch_rows { self.flush(events) } else { Ok(true) }
    }

    fn flush(&mut self, events: &Events) -> Result<bool> {
        if self.builder.len() == 0 {
            return Ok(true);
        }
        let batch = self.builder.finish()?;
        Ok(events.blocking_send(Ok(SplitEvent::Rows(batch))).is_ok())
    }
}

fn size(object: &Object) -> u64 {
    let vectors = object.vectors.values().map(Vec::len).sum::<usize>() + object.vector.as_ref().map_or(0, Vec::len);
    (object.properties.len() + 4 * vectors) as u64
}

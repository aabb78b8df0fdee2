//! A snapshot as a source.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::convert::try_schema_from_ipc_buffer;
use async_trait::async_trait;
use datafusion::logical_expr::Expr;
use futures::{StreamExt, TryStreamExt, stream};
use globset::{GlobBuilder, GlobMatcher};
use restow_core::record::{Role, Roles};
use restow_core::stage::{
    Artifact, Dataset, Effects, Evidence, OpenContext, Pushdown, ReadRequest, Source, SourceFactory, SourceIdentity,
    Split, SplitEvent, SplitStream,
};
use restow_core::{EngineError, ExitClass, Result};
use restow_spec::pipeline::Component;
use restow_store::keys::Keys;
use restow_store::repository::{DatasetEntry, FileEntry, Manifest, Repository, SnapshotId, SnapshotStatus};
use serde_json::{Value, json};

use super::config::{RepositorySource, options, target};
use super::read::{ParquetScan, scan_parquet};

/// Opens a snapshot.
pub(super) struct Factory;

#[async_trait]
impl SourceFactory for Factory {
    async fn open(&self, component: &Component, context: &OpenContext) -> Result<Arc<dyn Source>> {
        let options: RepositorySource = options(component)?;
        let target =
            target(options.connection.as_deref(), options.url.as_deref(), options.unlock.as_ref(), None, context)?;
        let repository = Repository::open(target.location, target.key.as_ref()).await?;
        let id = repository.resolve(&options.snapshot).await?;
        let manifest = repository.manifest(&id).await?;
        Ok(Arc::new(Snapshot::new(repository, id, manifest, &options).await?))
    }
}

/// An opened snapshot.
#[derive(Debug)]
struct Snapshot {
    repository: Repository,
    id: SnapshotId,
    manifest: Manifest,
    datasets: Vec<Dataset>,
    artifacts: Vec<Artifact>,
}

impl Snapshot {
    async fn new(
        repository: Repository,
        id: SnapshotId,
        manifest: Manifest,
        options: &RepositorySource,
    ) -> Result<Self> {
        let url = &repository.location().url;
        if manifest.status == SnapshotStatus::Partial && options.datasets.is_none() && !options.allow_partial {
            let failed: Vec<&str> = manifest.failed.iter().map(|failed| failed.name.as_str()).collect();
            return Err(EngineError::new(
                ExitClass::Refused,
                format!("snapshot {id} is partial: it lacks {}", failed.join(", ")),
            )
            .with_hint("name the datasets to read, set `allow_partial: true`, or take another snapshot"));
        }
        let globs = options.datasets.iter().flatten().map(|glob| matcher(glob)).collect::<Result<Vec<_>>>()?;
        let wanted = |name: &str| globs.is_empty() || globs.iter().any(|glob| glob.is_match(name));
        let mut datasets = Vec::new();
        for entry in manifest.datasets.iter().filter(|entry| wanted(&entry.name)) {
            datasets.push(dataset(entry).map_err(|error| error.context(format!("snapshot {id} of {url}")))?);
        }
        if datasets.is_empty() {
            let names: Vec<&str> = manifest.datasets.iter().map(|entry| entry.name.as_str()).collect();
            return Err(EngineError::new(
                ExitClass::NotFound,
                format!("snapshot {id} of {url} has no dataset that was asked for"),
            )
            .with_hint(format!("it has {}", names.join(", "))));
        }
        let mut artifacts = Vec::new();
        for entry in manifest.all_artifacts() {
            let bytes = repository.artifact(entry).await?.to_vec();
            artifacts.push(Artifact { scope: entry.scope.clone(), name: entry.name.clone(), bytes });
        }
        Ok(Self { repository, id, manifest, datasets, artifacts })
    }

    fn file(&self, split: &Split) -> Result<FileEntry> {
        serde_json::from_value(split.payload.clone())
            .map_err(|error| EngineError::failed(format!("split {:?} of the run cannot be read: {error}", split.id)))
    }

    fn schema_of(&self, name: &str) -> Result<SchemaRef> {
        let dataset = self.datasets.iter().find(|dataset| dataset.name == name);
        dataset.map(|dataset| Arc::clone(&dataset.schema)).ok_or_else(|| {
            EngineError::new(ExitClass::NotFound, format!("snapshot {} has no dataset {name:?}", self.id))
        })
    }
}

fn matcher(glob: &str) -> Result<GlobMatcher> {
    let built = GlobBuilder::new(glob).literal_separator(false).build();
    built.map(|glob| glob.compile_matcher()).map_err(|error| EngineError::usage(format!("datasets: {glob:?}: {error}")))
}

fn dataset(entry: &DatasetEntry) -> Result<Dataset> {
    let damaged = |what: String| EngineError::new(ExitClass::Tampered, format!("dataset {:?}: {what}", entry.name));
    let bytes = data_encoding::BASE64
        .decode(entry.schema.as_bytes())
        .map_err(|error| damaged(format!("its schema is no base64: {error}")))?;
    let schema: Schema = try_schema_from_ipc_buffer(&bytes).map_err(|error| damaged(format!("its schema: {error}")))?;
    let mut roles = Roles::default();
    for (column, role) in &entry.roles {
        let role =
            Role::parse(role).ok_or_else(|| damaged(format!("column {column:?} has an unknown role {role:?}")))?;
        roles.set(column.clone(), role);
    }
    Ok(Dataset {
        name: entry.name.clone(),
        schema: roles.stamp(&schema),
        roles,
        rows: Some(entry.rows),
        bytes: Some(entry.files.iter().map(|file| file.stored_bytes).sum()),
    })
}

#[async_trait]
impl Source for Snapshot {
    fn identity(&self) -> SourceIdentity {
        SourceIdentity {
            kind: super::config::NAME.to_owned(),
            address: format!("{} snapshot {}", self.repository.location().url, self.id),
            fingerprint: format!("repository {} snapshot {}", self.repository.id(), self.id),
            consistency: format!("as snapshot {}: {}", self.id, self.manifest.source.consistency),
        }
    }

    fn datasets(&self) -> &[Dataset] {
        &self.datasets
    }

    fn keys(&self) -> Option<Keys> {
        self.repository.keys().cloned()
    }

    fn artifacts(&self) -> &[Artifact] {
        &self.artifacts
    }

    /// A snapshot never changes: it is there or it is not.
    async fn acquire(&self, _effects: &Effects) -> Result<Value> {
        Ok(json!({ "snapshot": self.id }))
    }

    async fn still_valid(&self, token: &Value) -> Result<bool> {
        Ok(*token == json!({ "snapshot": self.id }))
    }

    async fn splits(&self, dataset: &Dataset, _parallel: usize) -> Result<Vec<Split>> {
        let Some(entry) = self.manifest.dataset(&dataset.name) else { return Ok(Vec::new()) };
        let splits = entry.files.iter().enumerate().map(|(number, file)| {
            let payload =
                serde_json::to_value(file).map_err(|error| EngineError::failed(format!("file entry: {error}")))?;
            let id = format!("f{number:05}");
            Ok(Split { id, payload, rows: Some(file.rows), bytes: Some(file.stored_bytes) })
        });
        splits.collect()
    }

    /// Pruning by statistics and late filtering leave out only rows that do not match; DataFusion filters above.
    fn pushdown(&self, _dataset: &Dataset, _filter: &Expr) -> Pushdown {
        Pushdown::Inexact
    }

    async fn read(&self, request: ReadRequest) -> Result<SplitStream> {
        let file = self.file(&request.split)?;
        self.repository.remember(&file)?;
        let scan = ParquetScan {
            store: self.repository.objects(),
            path: self.repository.path(&file.path)?.to_string(),
            bytes: file.plain_bytes,
            file_schema: self.schema_of(&request.dataset)?,
            schema: Arc::clone(&request.schema),
            filters: &request.filters,
            limit: request.limit,
            batch_rows: request.batch_rows,
        };
        // With a filter or a limit the scan may leave rows out, so that the manifest's count says nothing.
        let whole = request.filters.is_empty() && request.limit.is_none();
        let evidence = Evidence {
            rows: whole.then_some(file.rows),
            bytes: file.stored_bytes,
            proof: format!("end of {}", file.path),
            state: None,
        };
        let rows = scan_parquet(scan, &request.task)?.map_ok(SplitEvent::Rows);
        Ok(rows.chain(stream::once(async move { Ok(SplitEvent::End(evidence)) })).boxed())
    }
}

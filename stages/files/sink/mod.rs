//! The files sink.
//!
//! Files are written under `_restow_unfinished/<run>/`, each read back there, and moved to their names by the commit;
//! `_restow_export.json` comes last. So nothing looks finished before all of it is.

mod commit;
mod output;
mod partition;
mod writer;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::TryStreamExt;
use object_store::path::{Path, PathPart};
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use restow_core::stage::{
    Abandoned, ByteStages, CommitRequest, Committed, Incoming, Receipt, Sink, SinkContext, SinkFactory, SplitTarget,
    SplitWriter, Work,
};
use restow_core::{EngineError, Result};
use restow_spec::pipeline::Component;
use restow_store::keys::Keys;
use restow_store::location::Location;
use restow_store::repository::SnapshotId;
use serde::{Deserialize, Serialize};

use super::config::{Compression, Format, Layout, SinkOptions};
use super::error::FilesError;
use super::export::Export;
use super::find::UNFINISHED;
use super::place::{OWN, Place};
use super::unlock;
use crate::codec::Codec;
use crate::encrypt;
use writer::{PartWriter, files_of};

/// The mark of a run that writes to the target.
const RUN: &str = "run.json";

/// Opens the files sink.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FilesSinkFactory;

#[async_trait]
impl SinkFactory for FilesSinkFactory {
    async fn open(&self, component: &Component, bytes: &ByteStages, context: &SinkContext) -> Result<Arc<dyn Sink>> {
        let options: SinkOptions =
            component.typed().map_err(|problem| EngineError::usage(problem.message).at(component.pointer.clone()))?;
        let sink = FilesSink::open(&options, bytes, context).await;
        Ok(Arc::new(sink.map_err(|error| error.at(component.pointer.clone()))?))
    }
}

/// A folder that an export goes to.
pub(super) struct FilesSink {
    target: Arc<Target>,
}

/// What the writers of the splits share.
pub(super) struct Target {
    location: Location,
    shown: String,
    layout: Layout,
    /// Columns whose values name folders.
    partition_by: Vec<String>,
    part_size: u64,
    codec: Codec,
    /// The keys of an encrypted export; none yet where the sink was opened only to plan.
    keys: Option<Keys>,
    encrypted: bool,
}

/// What [`RUN`] holds.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    run: String,
    snapshot: String,
}

/// The names of a file, below the target.
struct Names {
    unfinished: String,
    path: String,
}

impl FilesSink {
    /// Opens the target; makes the keyring of an encrypted export where there is none.
    ///
    /// # Errors
    /// The target cannot be reached or written, or the key is wrong.
    pub async fn open(options: &SinkOptions, bytes: &ByteStages, context: &SinkContext) -> Result<Self> {
        let place = Place::open(&options.path, options.connection.as_deref(), &context.open)?;
        if !place.location.writable {
            return Err(FilesError::ReadOnly { path: place.shown }.into());
        }
        let codec = Codec::of(bytes.codec.as_ref())?;
        let unlock = encrypt::of_stage(bytes)?;
        if unlock.is_some() && !options.partition_by.is_empty() {
            return Err(EngineError::usage(
                "an encrypted export cannot be partitioned: the names of folders are in clear",
            )
            .with_hint("leave out `partition_by` or the encrypt stage"));
        }
        let mut keys = None;
        if let Some(unlock) = &unlock
            && context.may_create
            && Export::read(&place.location, &place.shown).await?.is_none_or(|export| export.encrypted)
        {
            keys = Some(unlock::create_or_open(&place.location, unlock, context).await?);
        }
        let target = Target {
            shown: place.shown,
            location: place.location,
            layout: options.layout,
            partition_by: options.partition_by.clone(),
            part_size: options.part_size.bytes(),
            codec,
            keys,
            encrypted: unlock.is_some(),
        };
        Ok(Self { target: Arc::new(target) })
    }
}

impl Target {
    /// The path on the store of a name below the target.
    fn place(&self, relative: &str) -> Result<Path> {
        self.location.path(relative).map_err(|error| EngineError::failed(error.to_string()))
    }

    /// A store with the layer that encrypts, where the export is encrypted.
    fn view(&self, store: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        match &self.keys {
            Some(keys) => Arc::new(unlock::layer(store, self.location.root.clone(), keys.clone())),
            None => store,
        }
    }

    /// Format and compression of the files, by the codec's extension.
    fn format(&self) -> (Format, Compression) {
        let name = format!("x.{}", self.codec.extension());
        let (compression, inner) = Compression::of_name(&name);
        (Format::of_name(inner).unwrap_or(Format::Parquet), compression)
    }

    /// The folder of a run's unfinished files, below the target.
    fn run_folder(run: &str) -> String {
        format!("{UNFINISHED}/{}", part(run))
    }

    /// The columns inside the files.
    fn inside(&self, schema: &SchemaRef) -> SchemaRef {
        partition::inside(schema, &self.partition_by)
    }

    /// The names of a file; `below` is its folder below that of the dataset, or empty.
    fn names(&self, target: &SplitTarget, below: &str, random: &str) -> Names {
        let extension = self.codec.extension();
        let folder = Self::run_folder(&target.run);
        let (dataset, split) = (part(&target.dataset), part(&target.split));
        match self.layout {
            Layout::Parts => {
                let below = if below.is_empty() { String::new() } else { format!("{below}/") };
                let path = format!("{dataset}/{below}part-{split}-{random}.{extension}");
                Names { unfinished: format!("{folder}/{path}.unfinished"), path }
            }
            Layout::Single => Names {
                unfinished: format!("{folder}/{dataset}-{random}.{extension}.unfinished"),
                path: format!("{dataset}.{extension}"),
            },
        }
    }

    fn exists(&self, export: &Export) -> EngineError {
        let by = format!(", made by run {} of the pipeline {:?}", export.run, export.pipeline);
        FilesError::Exists { path: self.shown.clone(), by }.into()
    }

    /// The runs that write here and have not finished.
    async fn marks(&self) -> Result<Vec<Mark>> {
        let store = &self.location.store;
        let folder = self.place(UNFINISHED)?;
        let listed: Vec<_> = store.list(Some(&folder)).try_collect().await?;
        let mut marks = Vec::new();
        for meta in listed {
            if meta.location.filename() == Some(RUN) {
                let bytes = store.get(&meta.location).await?.bytes().await?;
                marks.extend(serde_json::from_slice::<Mark>(&bytes).ok());
            }
        }
        Ok(marks)
    }

    /// Leaves a mark that this run writes here; says whether it was there already.
    async fn mark(&self, run: &str, snapshot: &SnapshotId) -> Result<bool> {
        let path = self.place(&format!("{}/{RUN}", Self::run_folder(run)))?;
        let mark = Mark { run: run.to_owned(), snapshot: snapshot.as_str().to_owned() };
        let text = serde_json::to_vec(&mark).map_err(|error| EngineError::failed(format!("{RUN}: {error}")))?;
        match self.location.store.put_opts(&path, text.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(false),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

/// One component of a path: whatever a store could not keep is percent-encoded.
fn part(name: &str) -> String {
    PathPart::from(name).as_ref().to_owned()
}

#[async_trait]
impl Sink for FilesSink {
    fn describe(&self) -> String {
        format!("files {}", self.target.shown)
    }

    fn fingerprint(&self) -> String {
        let target = &self.target;
        let encrypted = if target.encrypted { "encrypted" } else { "in clear" };
        let (url, layout, by) = (&target.location.url, target.layout, target.partition_by.join(","));
        format!("files {url} {layout:?} {} {encrypted} {by}", target.codec.extension())
    }

    fn keys(&self) -> Option<Keys> {
        self.target.keys.clone()
    }

    fn to_be_made(&self) -> bool {
        self.target.encrypted && self.target.keys.is_none()
    }

    fn gathers(&self) -> bool {
        self.target.layout == Layout::Single
    }

    fn needs_identity(&self) -> bool {
        false
    }

    fn check(&self, incoming: &Incoming) -> Result<()> {
        let mut parts = BTreeSet::new();
        for dataset in &incoming.datasets {
            if dataset.name.starts_with(OWN) || !parts.insert(part(&dataset.name)) {
                return Err(FilesError::Reserved { dataset: dataset.name.clone() }.into());
            }
            partition::check(dataset, &self.target.partition_by)?;
            self.target.codec.check(&dataset.name, &self.target.inside(&dataset.schema))?;
        }
        Ok(())
    }

    async fn prepare(&self, work: &Arc<Work>) -> Result<()> {
        let (run, target) = (work.run.as_str(), &self.target);
        match Export::read(&target.location, &target.shown).await? {
            // A resumed run whose commit came through, and only its reply was lost.
            Some(export) if export.run == run => return Ok(()),
            Some(export) => return Err(target.exists(&export)),
            None => {}
        }
        if target.encrypted && target.keys.is_none() {
            return Err(EngineError::failed("the sink was opened only to plan, and has no keys"));
        }
        // The single files of a resumed run may have their names already.
        let resumed = target.mark(run, &work.snapshot).await?;
        if target.layout == Layout::Single && !resumed {
            for dataset in &work.incoming.datasets {
                let name = format!("{}.{}", part(&dataset.name), target.codec.extension());
                match target.location.store.head(&target.place(&name)?).await {
                    Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(error.into()),
                    Ok(_) => {
                        target.forget(run).await;
                        return Err(FilesError::InTheWay { file: name }.into());
                    }
                }
            }
        }
        Ok(())
    }

    async fn begin(&self, target: SplitTarget) -> Result<Box<dyn SplitWriter>> {
        Ok(Box::new(PartWriter::new(Arc::clone(&self.target), target)))
    }

    async fn prove(&self, receipt: &Receipt) -> Result<bool> {
        for file in files_of(&receipt.output)? {
            if self.target.find(&file).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn abandon(&self, snapshot: &SnapshotId, nonce: &str) -> Result<Abandoned> {
        let target = &self.target;
        if let Some(export) = Export::read(&target.location, &target.shown).await?
            && export.nonce == nonce
        {
            return Err(target.exists(&export));
        }
        for mark in target.marks().await? {
            if mark.snapshot == snapshot.as_str() {
                target.forget(&mark.run).await;
            }
        }
        Ok(Abandoned::ByOutcome)
    }

    async fn commit(&self, request: CommitRequest) -> Result<Committed> {
        commit::commit(&self.target, request).await
    }
}

impl fmt::Debug for FilesSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilesSink").field("target", &self.target.shown).finish_non_exhaustive()
    }
}

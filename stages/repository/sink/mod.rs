//! A repository as a sink: one file a split, one snapshot a run.

mod commit;
mod open;
mod read_back;
mod vector_pages;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;
use restow_core::stage::{
    Abandoned, ByteStages, CommitRequest, Committed, Incoming, Receipt, Sink, SinkContext, SinkFactory, SplitTarget,
    SplitWriter, Work,
};
use restow_core::{EngineError, ExitClass, Result};
use restow_spec::pipeline::Component;
use restow_store::repository::{FileEntry, Repository, SnapshotId, WrittenObject};
use restow_store::run_state::RunStateStore;
use serde::Deserialize;

use crate::codec::Codec;

/// Opens or makes a repository.
pub(super) struct Factory;

#[async_trait]
impl SinkFactory for Factory {
    async fn open(&self, component: &Component, bytes: &ByteStages, context: &SinkContext) -> Result<Arc<dyn Sink>> {
        let codec = Codec::of(bytes.codec.as_ref())?;
        if !matches!(codec, Codec::Parquet(_)) {
            let pointer = bytes.codec.as_ref().map(|codec| codec.pointer.clone()).unwrap_or_default();
            return Err(EngineError::usage(format!(
                "a repository stores Parquet, and the codec stage says {}",
                codec.name()
            ))
            .with_hint("use `codec: { parquet: {} }` here; a files sink takes every codec")
            .at(pointer));
        }
        Ok(Arc::new(open::open(component, bytes, context, codec).await?))
    }
}

/// An opened repository, or one that the run would make.
#[derive(Debug)]
struct Target {
    url: String,
    /// `None` in a plan whose run would make the repository.
    repository: Option<Repository>,
    codec: Codec,
}

impl Target {
    fn repository(&self) -> Result<&Repository> {
        self.repository
            .as_ref()
            .ok_or_else(|| EngineError::new(ExitClass::NotFound, format!("repository {} does not exist", self.url)))
    }
}

#[async_trait]
impl Sink for Target {
    fn describe(&self) -> String {
        let state = match &self.repository {
            None => " (to be made by the run)",
            Some(repository) if repository.is_encrypted() => " (encrypted)",
            Some(_) => " (not encrypted)",
        };
        format!("repository {}{state}", self.url)
    }

    fn fingerprint(&self) -> String {
        self.repository
            .as_ref()
            .map_or_else(|| format!("repository {}", self.url), |repository| format!("repository {}", repository.id()))
    }

    fn run_state(&self) -> Option<RunStateStore> {
        self.repository.as_ref().map(Repository::run_state)
    }

    fn to_be_made(&self) -> bool {
        self.repository.is_none()
    }

    fn check(&self, incoming: &Incoming) -> Result<()> {
        incoming.datasets.iter().try_for_each(|dataset| self.codec.check(&dataset.name, &dataset.schema))
    }

    async fn prepare(&self, _work: &Arc<Work>) -> Result<()> {
        let repository = self.repository()?;
        match repository.warnings().first() {
            None => Ok(()),
            Some(warning) => Err(EngineError::new(ExitClass::Tampered, format!("repository {}: {warning}", self.url))
                .with_hint("reading goes on, writing stops; `restow repository info` tells more; nothing was changed")),
        }
    }

    async fn begin(&self, target: SplitTarget) -> Result<Box<dyn SplitWriter>> {
        Ok(Box::new(writer::PartWriter::begin(self.repository()?.clone(), &self.codec, target)?))
    }

    async fn prove(&self, receipt: &Receipt) -> Result<bool> {
        let repository = self.repository()?;
        for file in files_of(receipt)? {
            match repository.check_stored(&written_object(&file)).await {
                Ok(()) => {}
                Err(error) if error.exit_class() == restow_store::repository::ExitClass::Unreachable => {
                    return Err(error.into());
                }
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    async fn abandon(&self, snapshot: &SnapshotId, nonce: &str) -> Result<Abandoned> {
        self.repository()?.abort(snapshot, nonce).await?;
        Ok(Abandoned::ByManifest)
    }

    async fn commit(&self, request: CommitRequest) -> Result<Committed> {
        commit::commit(self.repository()?, request).await
    }
}

/// The files that a receipt names.
fn files_of(receipt: &Receipt) -> Result<Vec<FileEntry>> {
    Vec::deserialize(&receipt.output.written)
        .map_err(|error| EngineError::failed(format!("receipt of split {:?}: {error}", receipt.split)))
}

fn written_object(file: &FileEntry) -> WrittenObject {
    WrittenObject {
        path: file.path.clone(),
        stored_bytes: file.stored_bytes,
        plain_bytes: file.plain_bytes,
        sha256: file.sha256.clone(),
        header: file.header.clone(),
        blocks: file.blocks.clone(),
    }
}

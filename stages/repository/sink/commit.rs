//! The manifest of a run, and its commit.

use arrow::datatypes::Schema;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, write_message};
use restow_core::stage::{CommitReport, CommitRequest, Committed, DatasetOutcome, Receipt, SplitCounts};
use restow_core::{EngineError, Result};
use restow_store::repository::{
    self as store, ArtifactEntry, Counters, DatasetEntry, FailedDataset, Features, Manifest, PipelineRecord,
    Repository, SnapshotStatus, SourceRecord, VERSION,
};
use serde_json::json;

use super::files_of;

pub(super) async fn commit(repository: &Repository, request: CommitRequest) -> Result<Committed> {
    let mut artifacts = Vec::new();
    for artifact in &request.artifacts {
        let entry = repository.put_artifact(&request.snapshot, &artifact.scope, &artifact.name, &artifact.bytes);
        artifacts.push(entry.await?);
    }
    let manifest = manifest(repository, &request, artifacts)?;
    let committed = repository.commit(store::CommitRequest { manifest }).await?;
    let id = committed.manifest.snapshot.to_string();
    let stored: u64 = committed.manifest.files().map(|file| file.stored_bytes).sum();
    let report = CommitReport {
        made: format!("snapshot {id} in {}", repository.location().url),
        next: Some(format!("restow restore {} --snapshot {id} --to out/", repository.location().url)),
        stored_bytes: Some(stored),
    };
    Ok(Committed { snapshot: Some(id), report })
}

fn manifest(repository: &Repository, request: &CommitRequest, artifacts: Vec<ArtifactEntry>) -> Result<Manifest> {
    let mut datasets = Vec::new();
    let mut failed = Vec::new();
    for outcome in &request.datasets {
        match &outcome.failure {
            Some(error) => failed.push(FailedDataset { name: outcome.dataset.name.clone(), error: error.clone() }),
            None => datasets.push(dataset_entry(repository, outcome)?),
        }
    }
    let mut counters = Counters::default();
    for dataset in &datasets {
        add(&mut counters, &dataset.counters);
    }
    Ok(Manifest {
        format: String::new(),
        features: Features::default(),
        snapshot: request.snapshot.clone(),
        run_id: request.run.clone(),
        nonce: request.nonce.clone(),
        created: request.started,
        finished: request.finished,
        restow: VERSION.to_owned(),
        pipeline: PipelineRecord {
            name: request.pipeline_name.clone(),
            hash: request.pipeline_hash.clone(),
            text: request.pipeline.to_string(),
        },
        source: SourceRecord {
            connector: request.source.kind.clone(),
            fingerprint: request.source.fingerprint.clone(),
            identity: json!({ "address": request.source.address, "token": request.token }),
            consistency: request.source.consistency.clone(),
        },
        status: if failed.is_empty() { SnapshotStatus::Complete } else { SnapshotStatus::Partial },
        failed,
        datasets,
        artifacts,
        counters,
        keyring: None,
        inventory: None,
        sequence: 0,
        parents: Vec::new(),
        pins: Vec::new(),
        changes: Vec::new(),
    })
}

fn dataset_entry(repository: &Repository, outcome: &DatasetOutcome) -> Result<DatasetEntry> {
    let dataset = &outcome.dataset;
    let mut files = Vec::new();
    let mut counters = Counters::default();
    for receipt in &outcome.receipts {
        files.extend(files_of(receipt)?);
        add(&mut counters, &counters_of(receipt));
    }
    Ok(DatasetEntry {
        name: dataset.name.clone(),
        path_part: repository.path_part(&dataset.name),
        schema: schema_text(&dataset.schema)?,
        roles: dataset.roles.iter().map(|(column, role)| (column.to_owned(), role.as_str().to_owned())).collect(),
        rows: files.iter().map(|file| file.rows).sum(),
        bytes_in: counters.bytes_in,
        counters,
        files,
        ..DatasetEntry::default()
    })
}

fn counters_of(receipt: &Receipt) -> Counters {
    let SplitCounts { scanned, filtered, written, skipped, rejected, bytes_read, .. } = receipt.counts;
    let bytes_out = receipt.output.stored_bytes;
    Counters { scanned, filtered, written, skipped, rejected, bytes_in: bytes_read, bytes_out }
}

fn add(sum: &mut Counters, other: &Counters) {
    sum.scanned += other.scanned;
    sum.filtered += other.filtered;
    sum.written += other.written;
    sum.skipped += other.skipped;
    sum.rejected += other.rejected;
    sum.bytes_in += other.bytes_in;
    sum.bytes_out += other.bytes_out;
}

/// An encapsulated IPC schema message in base64.
fn schema_text(schema: &Schema) -> Result<String> {
    let options = IpcWriteOptions::default();
    let mut tracker = DictionaryTracker::new(false);
    let encoded = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(schema, &mut tracker, &options);
    let mut bytes = Vec::new();
    write_message(&mut bytes, encoded, &options).map_err(|error| EngineError::failed(format!("schema: {error}")))?;
    Ok(data_encoding::BASE64.encode(&bytes))
}

//! The objects of run state.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::repository::{FileEntry, KeyringRef, SnapshotId};

/// What a run is about to do: created before anything else, and never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// Format of run state. Set by [`super::RunStateStore::begin`].
    #[serde(default)]
    pub format: String,
    /// The run: letters, digits and `-`; names its folder.
    pub run_id: String,
    /// The snapshot that it makes; also made once where the sink is no repository.
    pub snapshot_id: SnapshotId,
    /// 128 random bits in hex: tells this run's commit from any other.
    pub nonce: String,
    /// Hash of what was asked: file, variables, flags, secrets by reference.
    pub pipeline_hash: String,
    /// When the run began; what `now()` means in it.
    pub created: DateTime<Utc>,
    /// Version of restow.
    pub restow: String,
    /// The sink, so that a run of another sink in the same state is not taken up.
    #[serde(default)]
    pub sink: String,
    /// Fingerprint of the source.
    #[serde(default)]
    pub source_fingerprint: String,
    /// Tokens of the source's cuts, and what `latest` meant.
    #[serde(default)]
    pub tokens: Value,
    /// The frozen split descriptors of each dataset.
    #[serde(default)]
    pub splits: BTreeMap<String, Value>,
    /// The keyring generation under which the run began; none where nothing is encrypted. Set by
    /// [`super::RunStateStore::begin`].
    #[serde(default)]
    pub keyring: Option<KeyringRef>,
    /// Whatever else the engine keeps.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub extra: Value,
}

/// What a sink has written for one split: created after it was read back, decrypted and decoded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The sink's phase; `write` for files and repositories.
    pub phase: String,
    /// The dataset.
    pub dataset: String,
    /// Identity of the split.
    pub split: String,
    /// 1 for the first receipt of a split, one more each time that it was written anew. Readers take the highest.
    pub n: u64,
    /// What was written; none for sinks without files.
    #[serde(default)]
    pub file: Option<FileEntry>,
    /// More files of the same split, where the sink rolls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_files: Vec<FileEntry>,
    /// Rows written, checked against the rows decoded at read-back.
    pub rows: u64,
    /// Rows scanned.
    #[serde(default)]
    pub scanned: u64,
    /// Rows that filters left out.
    #[serde(default)]
    pub filtered: u64,
    /// Rows rejected.
    #[serde(default)]
    pub rejected: u64,
    /// Rows that were there already.
    #[serde(default)]
    pub skipped: u64,
    /// Bytes read from the source.
    #[serde(default)]
    pub bytes: u64,
    /// Digest of the rows, where the sink is a database: count and hash of ids.
    #[serde(default)]
    pub digest: String,
    /// The source's evidence that the scan came to its end.
    #[serde(default)]
    pub evidence: Value,
    /// Path below the state's root of the rejected rows of this attempt.
    #[serde(default)]
    pub rejects: Option<String>,
    /// When it was written.
    #[serde(default)]
    pub created: Option<DateTime<Utc>>,
}

/// A receipt as it is stored, with the run that it belongs to: in a plain state nothing else tells the receipts of two
/// runs apart.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReceiptRecord {
    pub(super) run_id: String,
    #[serde(flatten)]
    pub(super) receipt: Receipt,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It did what it was to do.
    Done,
    /// What it had done was undone.
    Undone,
    /// It was given up; a new run began instead.
    Abandoned,
}

/// `outcome.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OutcomeRecord {
    pub(super) format: String,
    pub(super) run_id: String,
    pub(super) outcome: Outcome,
}

/// `claims/<n>`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ClaimRecord {
    pub(super) format: String,
    pub(super) run_id: String,
    pub(super) n: u64,
    pub(super) nonce: String,
}

/// `runs/effects/<name>.json`, and with `-undone` where it is undone.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EffectRecord {
    pub(super) format: String,
    pub(super) effect: Value,
}

/// `marks/<mark>.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MarkRecord {
    pub(super) format: String,
    pub(super) run_id: String,
    pub(super) mark: String,
}

/// The right of one process to write to a database for a run, until another one claims a higher number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The run.
    pub run_id: String,
    /// Its number.
    pub n: u64,
}

/// A lock of the operating system, see [`super::RunStateStore::lock`].
#[derive(Debug)]
pub struct WorkLock {
    pub(super) _file: std::fs::File,
}

/// What came of [`super::RunStateStore::put_receipt`].
#[derive(Debug, Clone, PartialEq)]
pub enum PutReceipt {
    /// The receipt is in the state now.
    Created,
    /// Another process was faster, or an earlier attempt's reply was lost: this receipt counts, and its file.
    Existing(Box<Receipt>),
}

/// The runs without outcome.
#[derive(Debug, Clone, Default)]
pub struct OpenRuns {
    /// Their intents, newest first.
    pub intents: Vec<Intent>,
    /// Runs whose intent or outcome cannot be read, and why: they cannot be taken up, and nothing else is lost.
    pub damaged: Vec<(String, String)>,
}

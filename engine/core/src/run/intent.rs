//! What a run is about, written down before the first row, so that it can be taken up.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use restow_store::repository::{SnapshotId, random_hex};
use restow_store::run_state::{Intent, Outcome};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{OpenedPipeline, RunRequest, phases};
use crate::error::{EngineError, Result};
use crate::exec::receipt_of;
use crate::stage::{Abandoned, Effects, Incoming, Receipt, Split};

/// What was asked, reduced to what decides whether two runs are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// SHA-256 of pipeline (secrets by reference), variables and selection, hex.
    pub hash: String,
    /// The source.
    pub source: String,
    /// The target.
    pub sink: String,
}

impl Asked {
    /// What this request asks.
    pub fn of(request: &RunRequest<'_>, opened: &OpenedPipeline) -> Self {
        let flags = json!({ "objects": request.selection.objects, "properties": request.selection.properties });
        Self {
            hash: ask_hash(&request.pipeline.redacted, &request.pipeline.vars, &flags),
            source: opened.source.identity().fingerprint,
            sink: opened.sink.fingerprint(),
        }
    }
}

/// SHA-256 over the pipeline with its secrets as references, the variables and the flags, hex.
pub fn ask_hash(pipeline: &Value, vars: &BTreeMap<String, String>, flags: &Value) -> String {
    let text = json!({ "pipeline": pipeline, "vars": vars, "flags": flags }).to_string();
    hex(&Sha256::digest(text.as_bytes()))
}

/// A run that has its intent written down.
#[derive(Debug)]
pub(super) struct Begun {
    pub intent: Intent,
    /// Whether an earlier process began it.
    pub resumed: bool,
    /// Receipts of earlier processes: dataset -> split -> number and receipt.
    pub receipts: BTreeMap<String, BTreeMap<String, (u64, Receipt)>>,
    splits: BTreeMap<String, Vec<Split>>,
}

impl Begun {
    /// The frozen splits of a dataset.
    pub fn splits_of(&self, dataset: &str) -> Vec<Split> {
        self.splits.get(dataset).cloned().unwrap_or_default()
    }

    /// The source's token.
    pub fn token(&self) -> Value {
        self.intent.tokens.clone()
    }
}

/// Takes up the newest fitting run, or begins one.
pub(super) async fn begin(
    request: &RunRequest<'_>,
    opened: &OpenedPipeline,
    asked: &Asked,
    incoming: &Incoming,
    effects: &Effects,
) -> Result<Begun> {
    let runs = opened.state.open_runs().await?;
    for (run, problem) in runs.damaged {
        request.progress.say(&format!("run {run} cannot be taken up: {problem}; nothing else is lost"));
    }
    for intent in runs.intents {
        if intent.sink != asked.sink {
            continue;
        }
        let run = intent.run_id.clone();
        if is_ours(request, opened, asked, &intent)
            && (request.fresh || opened.state.is_marked(&run, phases::UNDO).await?)
        {
            abandon(request, opened, intent, incoming).await?;
            continue;
        }
        if intent.pipeline_hash != asked.hash {
            continue;
        }
        if intent.source_fingerprint != asked.source {
            request.progress.say(&format!("run {run} is not taken up: its source has changed since"));
        } else if !young(request, intent.created) {
            request.progress.say(&format!("run {run} is not taken up: it is older than `resume_within`"));
        } else if let Some(begun) = take_up(request, opened, intent, effects).await? {
            return Ok(begun);
        }
    }
    new_run(request, opened, asked, effects).await
}

/// Whether `--fresh` means this run. What a pipeline left in a database is its own also after its file was changed.
fn is_ours(request: &RunRequest<'_>, opened: &OpenedPipeline, asked: &Asked, intent: &Intent) -> bool {
    let same_name = intent.extra.get("pipeline").and_then(Value::as_str) == Some(&request.pipeline.name);
    intent.pipeline_hash == asked.hash || (same_name && opened.sink.database().is_some())
}

fn young(request: &RunRequest<'_>, created: DateTime<Utc>) -> bool {
    let age = request.context.now.signed_duration_since(created).to_std().unwrap_or_default();
    age <= request.pipeline.resume_within_or_default()
}

async fn take_up(
    request: &RunRequest<'_>,
    opened: &OpenedPipeline,
    intent: Intent,
    effects: &Effects,
) -> Result<Option<Begun>> {
    if !opened.source.still_valid(&intent.tokens).await? {
        request.progress.say(&format!("run {} is not taken up: its source has changed since", intent.run_id));
        return Ok(None);
    }
    opened.source.resume(&intent.tokens, effects).await?;
    let mut splits: BTreeMap<String, Vec<Split>> = BTreeMap::new();
    for (dataset, frozen) in &intent.splits {
        let frozen = Vec::<Split>::deserialize(frozen).map_err(|error| {
            EngineError::failed(format!("the intent of run {} cannot be read: {error}", intent.run_id))
        })?;
        splits.insert(dataset.clone(), frozen);
    }
    let mut receipts: BTreeMap<String, BTreeMap<String, (u64, Receipt)>> = BTreeMap::new();
    for stored in opened.state.receipts(&intent.run_id).await? {
        if stored.evidence.get("item").is_some() {
            continue;
        }
        let (number, receipt) = (stored.n, receipt_of(&stored)?);
        receipts.entry(receipt.dataset.clone()).or_default().insert(receipt.split.clone(), (number, receipt));
    }
    let done: usize = receipts.values().map(BTreeMap::len).sum();
    let all: usize = splits.values().map(Vec::len).sum();
    request.progress.say(&format!("resuming run {}: {done} of {all} splits are written", intent.run_id));
    Ok(Some(Begun { intent, resumed: true, receipts, splits }))
}

async fn new_run(request: &RunRequest<'_>, opened: &OpenedPipeline, asked: &Asked, effects: &Effects) -> Result<Begun> {
    let token = opened.source.acquire(effects).await?;
    let mut splits = BTreeMap::new();
    for dataset in opened.source.datasets().iter().filter(|dataset| request.selection.wants(&dataset.name)) {
        splits.insert(dataset.name.clone(), opened.source.splits(dataset, request.context.parallel).await?);
    }
    let snapshot = SnapshotId::generate(request.context.now).map_err(|error| no_random(&error))?;
    let intent = Intent {
        run_id: snapshot.to_string(),
        snapshot_id: snapshot,
        nonce: random_hex().map_err(|error| no_random(&error))?,
        format: String::new(),
        restow: env!("CARGO_PKG_VERSION").to_owned(),
        keyring: None,
        extra: json!({ "pipeline": request.pipeline.name }),
        pipeline_hash: asked.hash.clone(),
        created: request.context.now,
        source_fingerprint: asked.source.clone(),
        sink: asked.sink.clone(),
        tokens: token,
        splits: splits.iter().map(|(dataset, splits)| (dataset.clone(), json!(splits))).collect(),
    };
    opened.state.begin(&intent).await?;
    Ok(Begun { intent, resumed: false, receipts: BTreeMap::new(), splits })
}

/// Ends an unfinished run for good. In a repository the aborted manifest is the outcome: no late commit can follow. In a database
/// what it has changed is taken back.
async fn abandon(request: &RunRequest<'_>, opened: &OpenedPipeline, intent: Intent, incoming: &Incoming) -> Result<()> {
    if opened.sink.database().is_some() {
        return phases::undo(request, opened, intent, incoming).await;
    }
    match opened.sink.abandon(&intent.snapshot_id, &intent.nonce).await? {
        Abandoned::ByManifest => Ok(()),
        Abandoned::ByOutcome => {
            opened.state.outcome(&intent.run_id, Outcome::Abandoned).await?;
            Ok(())
        }
    }
}

fn no_random(error: &dyn std::fmt::Display) -> EngineError {
    EngineError::failed(format!("the system gives no random numbers: {error}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

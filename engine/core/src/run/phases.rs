//! The phases of a database: items before the rows and after them, each with a receipt, each tried again where that may help.

use std::sync::Arc;

use futures::{TryStreamExt, stream};
use restow_spec::pipeline::VerifyLevel;
use restow_store::run_state::{self, Intent, Outcome, PutReceipt, RunStateStore, WorkLock};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::datasets::Writing;
use super::intent::Begun;
use super::{Asked, OpenedPipeline, RunRequest, safety};
use crate::error::{EngineError, ExitClass, Result};
use crate::exec::RetryPolicy;
use crate::plan::incoming;
use crate::stage::{Database, DatasetOutcome, Incoming, Item, ItemDone, ItemReceipt, Phase, Reject, Work};

/// The mark of a run that is being taken back.
pub(super) const UNDO: &str = "undo";
/// Items of one phase that are done at the same time.
const AT_ONCE: usize = 2;

/// Keeps other processes of this machine from the same run. Only databases need it: files and repositories bear twins.
pub(super) fn lock(opened: &OpenedPipeline, asked: &Asked) -> Result<Option<WorkLock>> {
    if opened.sink.database().is_none() {
        return Ok(None);
    }
    let digest = Sha256::digest(format!("{}\n{}", asked.sink, asked.hash).as_bytes());
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(opened.state.lock(&name)?)
}

/// The run as its sink sees it, with the right to write where that is a database.
pub(super) async fn work(
    request: &RunRequest<'_>,
    opened: &OpenedPipeline,
    begun: &Begun,
    writing: &Writing,
    lock: Option<WorkLock>,
) -> Result<Arc<Work>> {
    let (run, snapshot) = (begun.intent.run_id.clone(), begun.intent.snapshot_id.clone());
    let incoming = incoming(opened, &writing.compiled);
    let work = Work::new(run.clone(), snapshot, incoming, opened.state.clone(), Arc::clone(&request.progress))
        .verified(verifies(request));
    if opened.sink.database().is_none() {
        return Ok(Arc::new(work));
    }
    let claim = opened.state.claim(&run).await?;
    let rows = begun.receipts.values().flat_map(|splits| splits.values().map(|(_, receipt)| receipt.clone())).collect();
    Ok(Arc::new(work.claimed(claim, lock, items_of(&opened.state, &run).await?, rows)))
}

/// Takes back what a run has changed that the target refused in the middle, unless it has its outcome.
pub(super) async fn undo_refused(
    request: &RunRequest<'_>,
    opened: &OpenedPipeline,
    intent: &Intent,
    incoming: &Incoming,
) -> Result<()> {
    if opened.sink.database().is_none() || opened.state.outcome_of(&intent.run_id).await?.is_some() {
        return Ok(());
    }
    undo(request, opened, intent.clone(), incoming).await
}

/// Takes back what an unfinished run has changed. Once begun, nothing but the undo goes on, whoever comes next.
pub(super) async fn undo(
    request: &RunRequest<'_>,
    opened: &OpenedPipeline,
    intent: Intent,
    incoming: &Incoming,
) -> Result<()> {
    let Some(database) = opened.sink.database() else { return Ok(()) };
    let run = intent.run_id.clone();
    opened.state.mark(&run, UNDO).await?;
    let progress = Arc::clone(&request.progress);
    let claim = opened.state.claim(&run).await?;
    let items = items_of(&opened.state, &run).await?;
    let work = Work::new(run.clone(), intent.snapshot_id, incoming.clone(), opened.state.clone(), progress).claimed(
        claim,
        None,
        items,
        Vec::new(),
    );
    let undone = database.undo(&work).await.map_err(|error| error.context(format!("taking back run {run}")))?;
    for line in undone.said {
        request.progress.say(&format!("run {run}: {line}"));
    }
    if let Some(wanted) = undone.put_back {
        safety::put_back(request, database, &work, wanted).await?;
    }
    opened.state.outcome(&run, Outcome::Undone).await?;
    Ok(())
}

/// The receipts of items that earlier processes have left.
pub(super) async fn items_of(state: &RunStateStore, run: &str) -> Result<Vec<ItemReceipt>> {
    let stored = state.receipts(run).await?;
    let items = stored.iter().filter_map(|stored| stored.evidence.get("item"));
    items
        .map(|item| {
            ItemReceipt::deserialize(item)
                .map_err(|error| EngineError::failed(format!("a receipt of run {run} cannot be read: {error}")))
        })
        .collect()
}

/// Everything that precedes the rows. What would be overwritten is kept after the survey, before the first change.
pub(super) async fn before(request: &RunRequest<'_>, opened: &OpenedPipeline, work: &Work) -> Result<()> {
    let Some(database) = opened.sink.database() else { return Ok(()) };
    let mut phases = database.before().iter();
    if let Some(survey) = phases.next() {
        let mut seen = items(request, database, *survey, work).await;
        if seen.is_ok() {
            seen = safety::keep(request, database, work).await;
        }
        if let Err(error) = seen {
            // Refused before anything was changed: there is nothing to go on with.
            if !matches!(error.class(), ExitClass::Unreachable | ExitClass::Interrupted | ExitClass::LostRace) {
                work.state.outcome(&work.run, Outcome::Abandoned).await?;
            }
            return Err(error);
        }
    }
    for phase in phases {
        items(request, database, *phase, work).await?;
    }
    Ok(())
}

/// Whether rows are read back and compared.
fn verifies(request: &RunRequest<'_>) -> bool {
    request.pipeline.verify.as_ref().is_some_and(|verify| verify.after == VerifyLevel::Rows)
}

/// Everything that follows the rows. Where they are to be compared and are not what they should be, the run is taken back.
pub(super) async fn after_or_back(
    request: &RunRequest<'_>,
    opened: &OpenedPipeline,
    begun: &Begun,
    work: &Work,
    outcomes: &[(DatasetOutcome, Option<EngineError>)],
) -> Result<()> {
    let Err(error) = after(request, opened, work, outcomes).await else { return Ok(()) };
    if error.class() != ExitClass::Damaged || !verifies(request) {
        return Err(error);
    }
    // Another process that has finished the run is not taken back by one that stood still.
    work.check_claim().await?;
    request.progress.say(&format!("{error}; taking the run back"));
    undo(request, opened, begun.intent.clone(), &work.incoming).await?;
    Err(error.with_hint(
        "what this run had written was taken back, and what it had overwritten was put back; the source is untouched",
    ))
}

/// Everything that follows the rows, for the datasets that were written.
async fn after(
    request: &RunRequest<'_>,
    opened: &OpenedPipeline,
    work: &Work,
    outcomes: &[(DatasetOutcome, Option<EngineError>)],
) -> Result<()> {
    let Some(database) = opened.sink.database() else { return Ok(()) };
    work.set_rows(outcomes.iter().flat_map(|(outcome, _)| outcome.receipts.clone()).collect());
    for phase in database.after() {
        items(request, database, *phase, work).await?;
    }
    Ok(())
}

async fn items(request: &RunRequest<'_>, database: &dyn Database, phase: Phase, work: &Work) -> Result<()> {
    let retry = &request.pipeline.on_error.retry;
    let policy = RetryPolicy { attempts: retry.attempts.max(1), first_delay: retry.delay, max_delay: retry.max_delay };
    let items = database.items(phase.name, work).await.map_err(|error| error.context(phase.name))?;
    let width = if phase.at_once { AT_ONCE } else { 1 };
    stream::iter(items.into_iter().map(Ok::<_, EngineError>))
        .try_for_each_concurrent(width, |item| async move { one(request, database, phase, &item, work, policy).await })
        .await
}

/// One item, unless it has its receipt.
async fn one(
    request: &RunRequest<'_>,
    database: &dyn Database,
    phase: Phase,
    item: &Item,
    work: &Work,
    policy: RetryPolicy,
) -> Result<()> {
    if work.receipt(phase.name, &item.dataset, &item.id).is_some() {
        return Ok(());
    }
    let mut tries = 1;
    let done = loop {
        work.check_claim().await?;
        let error = match database.item(phase.name, item, work).await {
            Ok(done) => break done,
            Err(error) => error.context(format!("{} of {:?}", phase.name, item.dataset)),
        };
        let Some(pause) = policy.pause(tries, &error) else {
            return Err(match error.hint() {
                Some(_) => error,
                None => error.with_hint("what is done has its receipt; run the same command again to go on behind it"),
            });
        };
        request.progress.retry(&error, tries, pause);
        tokio::time::sleep(pause).await;
        tries += 1;
    };
    put(phase, item, done, work).await
}

async fn put(phase: Phase, item: &Item, done: ItemDone, work: &Work) -> Result<()> {
    let rejects = keep_rejects(&done.rejects, work).await?;
    let receipt = ItemReceipt {
        phase: phase.name.to_owned(),
        dataset: item.dataset.clone(),
        item: item.id.clone(),
        done: done.done,
        rejected: done.rejects.len() as u64,
        rejects: rejects.clone(),
        value: done.value,
    };
    let stored = run_state::Receipt {
        phase: format!("item-{}", phase.name),
        dataset: item.dataset.clone(),
        split: item.id.clone(),
        n: 1,
        rows: done.done,
        rejected: receipt.rejected,
        evidence: json!({ "item": receipt }),
        rejects,
        created: Some(chrono::Utc::now()),
        ..run_state::Receipt::default()
    };
    match work.state.put_receipt(&work.run, &stored).await? {
        PutReceipt::Created => work.add(receipt),
        PutReceipt::Existing(existing) => {
            let found = existing.evidence.get("item").cloned().unwrap_or_default();
            work.add(
                ItemReceipt::deserialize(found).map_err(|error| EngineError::failed(format!("a receipt: {error}")))?,
            );
        }
    }
    Ok(())
}

async fn keep_rejects(rejects: &[Reject], work: &Work) -> Result<Option<String>> {
    if rejects.is_empty() {
        return Ok(None);
    }
    let mut writer = work.state.reject_writer(&work.run, "jsonl")?;
    for reject in rejects {
        let mut line = serde_json::to_vec(reject).map_err(|error| EngineError::failed(format!("reject: {error}")))?;
        line.push(b'\n');
        writer.write(line.into()).await?;
    }
    Ok(Some(writer.finish().await?.path))
}

//! Reads again what has changed since it was read, until nothing has. The rows are then those of one moment: each was read before it,
//! and was the same after it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use futures::{StreamExt, TryStreamExt, stream};

use super::datasets::{Writing, write_one};
use super::intent::Begun;
use super::{OpenedPipeline, RunRequest, compiler};
use crate::compile::CompiledDataset;
use crate::error::{EngineError, Result};
use crate::exec::receipt_of;
use crate::stage::{DatasetOutcome, Receipt, Settled, Split};

/// What became of each dataset.
type Outcomes = [(DatasetOutcome, Option<EngineError>)];

/// Refuses what cannot be settled, before the first row is read: pieces must be written by themselves to be written again.
pub(super) fn check(opened: &OpenedPipeline, compiled: &[CompiledDataset]) -> Result<()> {
    if opened.source.settle_rounds().is_none() {
        return Ok(());
    }
    let refused = |what: String| {
        Err(EngineError::usage(what).with_hint(
            "settle a backup into a repository, and restore or export from there; nothing was read or written",
        ))
    };
    if opened.sink.database().is_some() {
        return refused("a settled scan cannot be written straight into a database".to_owned());
    }
    let gathered = compiled.iter().find(|dataset| super::datasets::gathered(opened, dataset));
    gathered.map_or(Ok(()), |dataset| {
        refused(format!(
            "dataset {:?} is written as one stream, and a settled scan writes pieces of it again",
            dataset.sink.name
        ))
    })
}

/// Settles everything that was written.
///
/// # Errors
/// The source or the target stayed away, or what was read again could not be written.
pub(super) async fn settle(
    request: &RunRequest<'_>,
    opened: &OpenedPipeline,
    begun: &Begun,
    writing: &Writing,
    outcomes: &mut Outcomes,
) -> Result<Option<Settled>> {
    let Some(rounds) = opened.source.settle_rounds() else { return Ok(None) };
    for round in 0.. {
        let moment = Utc::now();
        let changed = changed(request, opened, writing, outcomes).await?;
        let pieces = changed.values().map(BTreeSet::len).sum::<usize>();
        if pieces == 0 {
            return Ok(Some(Settled::At(moment)));
        }
        if round == rounds {
            return Ok(Some(Settled::Changing { pieces, rounds }));
        }
        request.progress.say(&format!("{pieces} pieces have changed since they were read: reading them again"));
        for (dataset, splits) in changed {
            again(request, opened, begun, writing, outcomes, (&dataset, &splits)).await?;
        }
    }
    Ok(None)
}

/// The splits that are no longer what was read, by dataset.
async fn changed(
    request: &RunRequest<'_>,
    opened: &OpenedPipeline,
    writing: &Writing,
    outcomes: &Outcomes,
) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut pieces: Vec<(&CompiledDataset, &Split, &Receipt)> = Vec::new();
    for (outcome, _) in outcomes {
        let Some(dataset) = writing.compiled.iter().find(|dataset| dataset.sink.name == outcome.dataset.name) else {
            continue;
        };
        for receipt in &outcome.receipts {
            let split = dataset.splits.iter().find(|split| split.id == receipt.split);
            pieces.extend(split.map(|split| (dataset, split, receipt)));
        }
    }
    let asked = stream::iter(pieces).map(|(dataset, split, receipt)| async move {
        let as_read = match receipt.evidence.first() {
            Some(evidence) => still(request, opened, &dataset.source.name, split, evidence, writing).await?,
            None => false,
        };
        Ok::<_, EngineError>((!as_read).then(|| (dataset.sink.name.clone(), split.id.clone())))
    });
    let found: Vec<Option<(String, String)>> = asked.buffered(request.context.parallel.max(1)).try_collect().await?;
    let mut changed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (dataset, split) in found.into_iter().flatten() {
        changed.entry(dataset).or_default().insert(split);
    }
    Ok(changed)
}

/// Whether a split is as it was read; asked again where the source stays away for a moment.
async fn still(
    request: &RunRequest<'_>,
    opened: &OpenedPipeline,
    dataset: &str,
    split: &Split,
    evidence: &crate::stage::Evidence,
    writing: &Writing,
) -> Result<bool> {
    let mut tries = 1;
    loop {
        let error = match opened.source.is_as_read(dataset, split, evidence).await {
            Ok(as_read) => return Ok(as_read),
            Err(error) => error,
        };
        let Some(pause) = writing.retry.pause(tries, &error) else { return Err(error) };
        request.progress.retry(&error, tries, pause);
        tokio::time::sleep(pause).await;
        tries += 1;
    }
}

/// Reads these splits of a dataset again, and puts their receipts in the place of the old ones.
async fn again(
    request: &RunRequest<'_>,
    opened: &OpenedPipeline,
    begun: &Begun,
    writing: &Writing,
    outcomes: &mut Outcomes,
    (name, stale): (&str, &BTreeSet<String>),
) -> Result<()> {
    let whole = writing.compiled.iter().find(|dataset| dataset.sink.name == name);
    let outcome = outcomes.iter_mut().find(|(outcome, _)| outcome.dataset.name == name);
    let (Some(whole), Some((outcome, _))) = (whole, outcome) else { return Ok(()) };
    let splits: Vec<Split> = whole.splits.iter().filter(|split| stale.contains(&split.id)).cloned().collect();
    let part = compiler(request, opened, begun)
        .dataset(&opened.source, &whole.source, splits, Some(opened.sink.as_ref()))
        .await?;
    let mut earlier = BTreeMap::new();
    for stored in opened.state.receipts(&begun.intent.run_id).await? {
        if stored.dataset == name && stale.contains(&stored.split) && stored.evidence.get("item").is_none() {
            writing.budget.give_back(receipt_of(&stored)?.counts.rejected);
            earlier.insert(stored.split.clone(), (stored.n, None));
        }
    }
    let (written, error) = write_one(request, opened, begun, writing, &part, earlier).await;
    if let Some(error) = error {
        return Err(error);
    }
    for receipt in written.receipts {
        let place = outcome.receipts.iter_mut().find(|old| old.split == receipt.split);
        if let Some(old) = place {
            *old = receipt;
        }
    }
    Ok(())
}

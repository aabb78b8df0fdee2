//! A run: open, compile, take up or begin, write every split, commit.

mod datasets;
mod intent;
mod opened;
mod phases;
mod rejects;
mod safety;
mod settle;
mod summary;

use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use restow_spec::pipeline::{DatasetFailure, Pipeline};
use restow_store::run_state::{Outcome, WorkLock};
use serde_json::Value;
use tokio::sync::Semaphore;

pub use intent::{Asked, ask_hash};
pub use opened::{OpenedPipeline, default_parallel, open_pipeline};
pub use summary::{DatasetSummary, RunStatus, RunSummary, StageProfile};

use crate::compile::{Compiler, Selection};
use crate::error::{EngineError, ExitClass, Result};
use crate::exec::{RejectBudget, RetryPolicy};
use crate::plan::{compile_all, incoming};
use crate::progress::Progress;
use crate::stage::{CommitRequest, DatasetOutcome, Effects, Incoming, OpenContext, Registry, Settled, Work};
use datasets::Writing;
use intent::Begun;

/// What to run.
#[derive(Debug, Clone)]
pub struct RunRequest<'a> {
    /// The checked pipeline.
    pub pipeline: &'a Pipeline,
    /// The stages of this build.
    pub registry: &'a Registry,
    /// Clock, environment, folder, connections.
    pub context: OpenContext,
    /// `--objects` and `--properties`.
    pub selection: Selection,
    /// Abandon an unfinished run first instead of taking it up.
    pub fresh: bool,
    /// Live figures.
    pub progress: Arc<Progress>,
}

/// Runs a pipeline to its commit.
///
/// # Errors
/// Nothing was committed. Where a server or store stayed away the run can be taken up by the same call.
pub async fn run(request: RunRequest<'_>) -> Result<RunSummary> {
    let began = Instant::now();
    // A pipeline that does not fit its source must not leave a key and an empty repository behind.
    let (mut opened, mut compiled) =
        compile_all(request.pipeline, request.registry, &request.context, &request.selection).await?;
    let effects = Effects::new(opened.state.clone(), Arc::clone(&request.progress));
    if opened.source.clear(&effects).await? {
        request.progress.say("undid what a run that died had left on the source");
        (opened, compiled) =
            compile_all(request.pipeline, request.registry, &request.context, &request.selection).await?;
    }
    opened.source.notes().iter().for_each(|note| request.progress.say(note));
    let arriving = incoming(&opened, &compiled);
    let opened = opened::make_sink(opened, &request).await?;
    let asked = Asked::of(&request, &opened);
    let lock = phases::lock(&opened, &asked)?;
    let effects = Effects::new(opened.state.clone(), Arc::clone(&request.progress));
    let ended = to_its_end(&request, &opened, &asked, &arriving, &effects, lock, began).await;
    // Whether it went well or not. The snapshot stands in any case.
    let token = ended.as_ref().map(|(_, token)| token.clone()).unwrap_or_default();
    if let Err(error) = opened.source.release(&token, &effects).await {
        request.progress.say(&format!("the source could not be released: {error}; the next run will try again"));
    }
    ended.map(|(summary, _)| summary)
}

/// Undoes what a run that was interrupted has left on the server that it read. Whether there was anything; the next run does the same.
///
/// # Errors
/// The source cannot be reached.
pub async fn clear(pipeline: &Pipeline, registry: &Registry, context: &OpenContext) -> Result<bool> {
    let opened = open_pipeline(pipeline, registry, context).await?;
    opened.source.clear(&Effects::new(opened.state.clone(), Arc::default())).await
}

/// Takes up or begins the run, and brings it to its end.
async fn to_its_end(
    request: &RunRequest<'_>,
    opened: &OpenedPipeline,
    asked: &Asked,
    arriving: &Incoming,
    effects: &Effects,
    lock: Option<WorkLock>,
    began: Instant,
) -> Result<(RunSummary, Value)> {
    let begun = intent::begin(request, opened, asked, arriving, effects).await?;
    let ended = written(request, opened, &begun, lock, began).await;
    if let Err(error) = &ended
        && error.class() == ExitClass::Refused
    {
        // Whoever is refused finds everything as it was.
        phases::undo_refused(request, opened, &begun.intent, arriving).await?;
    }
    ended
}

/// Writes everything and makes it visible.
async fn written(
    request: &RunRequest<'_>,
    opened: &OpenedPipeline,
    begun: &Begun,
    lock: Option<WorkLock>,
    began: Instant,
) -> Result<(RunSummary, Value)> {
    let writing = compile(request, opened, begun).await?;
    let work = phases::work(request, opened, begun, &writing, lock).await?;
    let ended = carried_out(request, opened, begun, &writing, &work, began).await;
    match (&ended, work.check_claim().await) {
        // Whatever else went wrong may be of the other process's making, and is its to mend.
        (Err(error), Err(lost)) if error.class() != ExitClass::Damaged && lost.class() == ExitClass::LostRace => {
            Err(lost)
        }
        _ => ended,
    }
}

async fn carried_out(
    request: &RunRequest<'_>,
    opened: &OpenedPipeline,
    begun: &Begun,
    writing: &Writing,
    work: &Arc<Work>,
    began: Instant,
) -> Result<(RunSummary, Value)> {
    phases::before(request, opened, work).await?;
    opened.sink.prepare(work).await?;
    let mut outcomes = datasets::write_all(request, opened, begun, writing).await?;
    let failures = failures(&outcomes);
    if let Some(error) = verdict(request.pipeline.on_error.dataset, &outcomes, failures) {
        let safe = match opened.sink.run_state() {
            Some(_) => "nothing was committed; earlier snapshots are untouched",
            None => "the target is not finished; the source is untouched; run the same command again to go on",
        };
        return Err(if error.hint().is_some() { error } else { error.with_hint(safe) });
    }
    let settled = settle::settle(request, opened, begun, writing, &mut outcomes).await?;
    phases::after_or_back(request, opened, begun, work, &outcomes).await?;
    rejects::copy(request, opened, &outcomes, work).await?;
    let committed = commit(request, opened, begun, &outcomes, settled.as_ref()).await?;
    if opened.sink.run_state().is_none() {
        opened.state.outcome(&begun.intent.run_id, Outcome::Done).await?;
    }
    let token = begun.token();
    let summary = RunSummary::of(request, writing, begun, outcomes, committed, began.elapsed()).with_items(work);
    Ok((summary, token))
}

fn compiler<'a>(request: &'a RunRequest<'_>, opened: &OpenedPipeline, begun: &Begun) -> Compiler<'a> {
    Compiler {
        registry: request.registry,
        session: opened.session.clone(),
        stages: &request.pipeline.rows,
        selection: &request.selection,
        now: begun.intent.created,
        parallel: request.context.parallel,
    }
}

/// Compiles everything and checks it against the target, before the first row is read.
async fn compile(request: &RunRequest<'_>, opened: &OpenedPipeline, begun: &Begun) -> Result<Writing> {
    let compiler = compiler(request, opened, begun);
    let mut compiled = Vec::new();
    let mut problems = Vec::new();
    for dataset in opened.source.datasets().iter().filter(|dataset| request.selection.wants(&dataset.name)) {
        let splits = begun.splits_of(&dataset.name);
        match compiler.dataset(&opened.source, dataset, splits, Some(opened.sink.as_ref())).await {
            Ok(dataset) => compiled.push(dataset),
            Err(error) => problems.push(error),
        }
    }
    // A dataset that does not fit the pipeline is a wrong pipeline, not a failed dataset: nothing is written.
    if let Some(first) = problems.into_iter().next() {
        return Err(first);
    }
    if compiled.is_empty() {
        return Err(EngineError::new(
            ExitClass::NotFound,
            format!("{} has no dataset that was asked for", opened.source.identity().address),
        )
        .with_hint("`restow plan` shows the datasets of a pipeline"));
    }
    opened.sink.check(&incoming(opened, &compiled))?;
    settle::check(opened, &compiled)?;
    let pipeline = request.pipeline;
    let retry = &pipeline.on_error.retry;
    Ok(Writing {
        compiled,
        retry: RetryPolicy { attempts: retry.attempts.max(1), first_delay: retry.delay, max_delay: retry.max_delay },
        budget: Arc::new(RejectBudget::new(pipeline.on_error.max_rejects)),
        permits: Arc::new(Semaphore::new(request.context.parallel.max(1))),
    })
}

fn failures(outcomes: &[(DatasetOutcome, Option<EngineError>)]) -> usize {
    outcomes.iter().filter(|(outcome, _)| outcome.failure.is_some()).count()
}

/// Whether the failures of datasets keep the run from committing.
fn verdict(
    policy: DatasetFailure,
    outcomes: &[(DatasetOutcome, Option<EngineError>)],
    failures: usize,
) -> Option<EngineError> {
    let errors = || outcomes.iter().filter_map(|(_, error)| error.as_ref());
    // Whoever stayed away may come back: leave the run uncommitted and resumable.
    let away = errors().find(|error| {
        use ExitClass::{Denied, LostRace, NoSpace, Refused, Tampered, Unreachable};
        matches!(error.class(), Unreachable | Denied | NoSpace | LostRace | Tampered | Refused)
    });
    let fatal = away.or_else(|| {
        let all_failed = failures == outcomes.len();
        (failures > 0 && (all_failed || policy == DatasetFailure::Fail)).then(|| errors().next()).flatten()
    })?;
    let mut error = EngineError::new(fatal.class(), fatal.message()).with_retry(fatal.retry());
    if let Some(hint) = fatal.hint() {
        error = error.with_hint(hint);
    }
    if let Some(place) = fatal.place() {
        error = error.at(place.pointer.clone());
    }
    Some(error)
}

async fn commit(
    request: &RunRequest<'_>,
    opened: &OpenedPipeline,
    begun: &Begun,
    outcomes: &[(DatasetOutcome, Option<EngineError>)],
    settled: Option<&Settled>,
) -> Result<crate::stage::Committed> {
    let intent = &begun.intent;
    let mut source = opened.source.identity();
    if let Some(settled) = settled {
        source.consistency = opened.source.settled_consistency(settled);
    }
    let commit = CommitRequest {
        run: intent.run_id.clone(),
        snapshot: intent.snapshot_id.clone(),
        nonce: intent.nonce.clone(),
        started: intent.created,
        finished: Utc::now(),
        pipeline_name: request.pipeline.name.clone(),
        pipeline: request.pipeline.redacted.clone(),
        pipeline_hash: intent.pipeline_hash.clone(),
        source,
        token: begun.token(),
        datasets: outcomes.iter().map(|(outcome, _)| outcome.clone()).collect(),
        artifacts: opened.source.artifacts().to_vec(),
    };
    let policy = RetryPolicy {
        attempts: request.pipeline.on_error.retry.attempts.max(1),
        first_delay: request.pipeline.on_error.retry.delay,
        max_delay: request.pipeline.on_error.retry.max_delay,
    };
    let mut tries = 1;
    loop {
        let error = match opened.sink.commit(commit.clone()).await {
            Ok(committed) => return Ok(committed),
            Err(error) => error,
        };
        let Some(pause) = policy.pause(tries, &error) else { return Err(error) };
        request.progress.retry(&error, tries, pause);
        tokio::time::sleep(pause).await;
        tries += 1;
    }
}

//! `restow run`.

use std::sync::Arc;

use restow_core::compile::Selection;
use restow_core::plan;
use restow_core::progress::Progress;
use restow_core::run::{RunRequest, RunSummary, run as run_pipeline};
use restow_core::stage::OpenContext;
use restow_spec::pipeline::Pipeline;
use restow_spec::settings::Settings;
use restow_spec::units::ByteSize;
use serde_json::json;

use super::target::Target;
use super::verify;
use crate::app::App;
use crate::args::{DryRun, RunArgs, SelectionArgs};
use crate::context::Limits;
use crate::error::CliError;
use crate::exit;
use crate::interrupt::interruptible;
use crate::render::number::{counted, grouped};
use crate::render::progress::watch;
use crate::render::summary;

const SAFE: &str = "what was written so far is kept, earlier snapshots are untouched";
const RESUME: &str = "run the same command again to resume, or add --fresh to begin anew";
/// How long an interrupted run may take to put right what it changed on the server that it read.
const CLEARING: std::time::Duration = std::time::Duration::from_secs(20);

/// Runs the files in order.
pub async fn run(app: &App, arguments: &RunArgs) -> Result<u8, CliError> {
    let pipelines = app.load(&arguments.files, &arguments.pipeline.vars())?;
    let level = arguments.dry_run;
    if level == Some(DryRun::Static) {
        for pipeline in &pipelines {
            app.console.note(&format!("{}: the file is valid; nothing was opened", pipeline.path));
        }
        return Ok(exit::DONE);
    }
    let settings = app.settings()?;
    let selection = selection(&arguments.selection)?;
    let mut code = exit::DONE;
    for mut pipeline in pipelines {
        own_state(&mut pipeline, &settings);
        let context = app.open_context(&pipeline, &settings, &arguments.pipeline)?;
        let limits = Limits { memory: Some(ByteSize(context.memory)), parallel: u32::try_from(context.parallel).ok() };
        match level {
            None => {
                let target = Target::of_sink(app, &pipeline, &context);
                let summary = execute(app, &pipeline, context, selection.clone(), arguments.fresh).await?;
                code = code.max(exit::of_status(summary.status));
                report(app, &summary, arguments.files.len());
                if let (Some(asked), Some(snapshot)) = (&pipeline.verify, &summary.snapshot) {
                    let work = verify::after_run(app, target, snapshot, asked.after, limits);
                    interruptible(work, "the snapshot is committed, and was not verified to the end", "").await?;
                }
            }
            Some(DryRun::Sample) => {
                let work = sample(app, &pipeline, &context, &selection, arguments.sample_limit);
                code = code.max(interruptible(work, "nothing was written", "").await?);
            }
            Some(_) => interruptible(connect(app, &pipeline, &context, &selection), "nothing was written", "").await?,
        }
    }
    Ok(code)
}

/// `--objects` and `--properties`.
pub fn selection(arguments: &SelectionArgs) -> Result<Selection, CliError> {
    Ok(Selection::parse(&arguments.objects, &arguments.properties)?)
}

/// The settings say where run state goes where neither the pipeline nor its sink does.
pub fn own_state(pipeline: &mut Pipeline, settings: &Settings) {
    if pipeline.state.is_none() {
        pipeline.state.clone_from(&settings.state);
    }
}

/// Runs one pipeline with progress, to its commit or to an error or signal that leaves it resumable.
pub async fn execute(
    app: &App,
    pipeline: &Pipeline,
    context: OpenContext,
    selection: Selection,
    fresh: bool,
) -> Result<RunSummary, CliError> {
    let progress = Arc::new(Progress::default());
    let request = RunRequest {
        pipeline,
        registry: &app.registry,
        context: context.clone(),
        selection,
        fresh,
        progress: Arc::clone(&progress),
    };
    let work = async { run_pipeline(request).await.map_err(|error| CliError::in_pipeline(error, pipeline)) };
    let ended = interruptible(watch(&app.console, &progress, work), SAFE, RESUME).await;
    let figures = progress.figures();
    if matches!(ended, Err(CliError::Interrupted { .. })) && figures.expected_splits > 0 {
        let of = grouped(figures.expected_splits);
        app.console.warn(&format!("{}: {} of {of} splits are written", pipeline.name, grouped(figures.splits)));
    }
    if matches!(ended, Err(CliError::Interrupted { .. })) && figures.effects > 0 {
        let cleared = tokio::time::timeout(CLEARING, restow_core::run::clear(pipeline, &app.registry, &context)).await;
        if !matches!(cleared, Ok(Ok(_))) {
            app.console.warn(
                "what the run had changed on the server that it read could not be put back; the next run will do it",
            );
        }
    }
    ended
}

/// Prints what a run did; with one file the figures are in the last line of `--json` too.
pub fn report(app: &App, run: &RunSummary, files: usize) {
    if app.console.is_json() {
        for dataset in run.datasets.iter().filter(|dataset| dataset.failure.is_some()) {
            app.console.record("error", &json!({ "dataset": dataset.name, "message": dataset.failure }));
        }
        for object in &run.rejects {
            app.console.record("reject", &json!({ "run": run.run, "object": object }));
        }
    }
    match (app.console.is_json(), files) {
        (true, 1) => app.console.summarise(run),
        (true, _) => app.console.record("run", run),
        (false, _) => app.console.raw(summary::render(run).as_bytes()),
    }
}

async fn connect(app: &App, pipeline: &Pipeline, context: &OpenContext, selection: &Selection) -> Result<(), CliError> {
    let report = plan::plan(pipeline, &app.registry, context, selection).await;
    let report = report.map_err(|error| CliError::in_pipeline(error, pipeline))?;
    let datasets = counted(report.datasets.len() as u64, "dataset");
    let splits: usize = report.datasets.iter().map(|dataset| dataset.splits).sum();
    let splits = counted(splits as u64, "split");
    app.console.result("connect", &report, || {
        format!(
            "{}: {} and {} are there; {datasets} in {splits} fit the pipeline; nothing was written\n",
            report.pipeline, report.source, report.sink
        )
    });
    Ok(())
}

async fn sample(
    app: &App,
    pipeline: &Pipeline,
    context: &OpenContext,
    selection: &Selection,
    limit: u64,
) -> Result<u8, CliError> {
    let samples = plan::sample(pipeline, &app.registry, context, selection, limit).await;
    let samples = samples.map_err(|error| CliError::in_pipeline(error, pipeline))?;
    let mut code = exit::DONE;
    for sample in &samples {
        if sample.rejected > 0 {
            code = exit::INCOMPLETE;
        }
        app.console.result("sample", sample, || {
            let rows = counted(sample.rows, "row");
            let splits = counted(sample.splits as u64, "split");
            let rejected = grouped(sample.rejected);
            format!("{}: {rows} of {splits} reach the sink, {rejected} rejected; nothing was written\n", sample.dataset)
        });
    }
    Ok(code)
}

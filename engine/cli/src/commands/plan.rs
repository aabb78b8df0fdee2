//! `restow plan`.

use restow_core::plan;
use restow_spec::pipeline::Pipeline;
use serde_json::json;

use super::run::{own_state, selection};
use crate::app::App;
use crate::args::PlanArgs;
use crate::error::CliError;
use crate::exit;
use crate::render;

/// Scheduled runs that are shown.
const NEXT_RUNS: usize = 3;

/// Opens source and target, and shows what a run would do.
pub async fn plan(app: &App, arguments: &PlanArgs) -> Result<u8, CliError> {
    let pipelines = app.load(std::slice::from_ref(&arguments.file), &arguments.pipeline.vars())?;
    let (settings, wanted) = (app.settings()?, selection(&arguments.selection)?);
    for mut pipeline in pipelines {
        own_state(&mut pipeline, &settings);
        let context = app.open_context(&pipeline, &settings, &arguments.pipeline)?;
        let next = next_runs(&pipeline, context.now);
        let report = plan::plan(&pipeline, &app.registry, &context, &wanted).await;
        let report = report.map_err(|error| CliError::in_pipeline(error, &pipeline))?;
        let value = json!({ "plan": report, "next_runs": next });
        app.console.result("plan", &value, || render::plan::render(&report, &next, arguments.physical));
    }
    Ok(exit::DONE)
}

fn next_runs(pipeline: &Pipeline, now: chrono::DateTime<chrono::Utc>) -> Vec<String> {
    let Some(schedule) = &pipeline.schedule else { return Vec::new() };
    schedule.next(now, NEXT_RUNS).iter().map(|run| run.format("%Y-%m-%d %H:%M %Z (%:z)").to_string()).collect()
}

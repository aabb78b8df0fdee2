//! The level `read`: every row of every file is decoded, and counted against the manifest.

use futures::{StreamExt, TryStreamExt};
use restow_core::record::batch_rows;
use restow_core::session::{SessionLimits, session};
use restow_core::stage::{Dataset, ReadRequest, Source, Split, SplitEvent};
use restow_core::{EngineError, ExitClass};
use restow_spec::catalogue::Kind;
use restow_spec::pipeline::Component;
use restow_store::repository::FileEntry;
use restow_store::repository::verify::{Concerned, Finding, SnapshotReport};
use serde_json::json;

use crate::app::App;
use crate::commands::target::{REPOSITORY, Target};
use crate::context::Limits;
use crate::error::CliError;

/// Decodes the snapshot of a report, and adds what cannot be decoded to it; gives the rows that were. Objects that
/// already have a finding are left out: they cannot be read.
pub async fn decode(app: &App, target: &Target, report: &mut SnapshotReport, limits: Limits) -> Result<u64, CliError> {
    // Without a whole manifest there is nothing to decode by, and a finding says so.
    if report.manifest.is_none() {
        return Ok(0);
    }
    let context = target.open_context(limits);
    let options = json!({ "connection": target.connection_name(), "snapshot": report.snapshot, "allow_partial": true });
    let component = Component { kind: Kind::Source, name: REPOSITORY.to_owned(), options, pointer: String::new() };
    let source = match app.registry.source(REPOSITORY)?.open(&component, &context).await {
        Ok(source) => source,
        Err(error) => {
            let finding = found(error, "", None)?;
            if report.findings.is_empty() {
                report.findings.push(finding);
            }
            return Ok(0);
        }
    };
    let mut work = Vec::new();
    for dataset in source.datasets() {
        for split in source.splits(dataset, limits.parallel()).await? {
            let file: FileEntry = serde_json::from_value(split.payload.clone())
                .map_err(|error| EngineError::failed(format!("split {:?}: {error}", split.id)))?;
            let known = |finding: &Finding| {
                finding.object == file.path || finding.object.starts_with(&format!("{}.", file.path))
            };
            if !report.findings.iter().any(known) {
                work.push((dataset.clone(), split, file));
            }
        }
    }
    let rows = work.iter().map(|(dataset, ..)| batch_rows(&dataset.schema)).min().unwrap_or(1);
    let limits = SessionLimits { memory: context.memory, parallel: context.parallel, batch_rows: rows };
    let task = session(&app.registry, limits)?.task_ctx();
    let decoded = work.iter().map(|(dataset, split, file)| {
        let request = request(dataset, split, &task);
        let source = &source;
        async move { one(source.as_ref(), request, dataset, file).await }
    });
    let mut decoded = futures::stream::iter(decoded).buffered(limits.parallel.max(1));
    let mut count = 0u64;
    while let Some(file) = decoded.try_next().await? {
        match file {
            Ok(rows) => count = count.saturating_add(rows),
            Err(finding) => report.findings.push(*finding),
        }
    }
    Ok(count)
}

fn request(dataset: &Dataset, split: &Split, task: &std::sync::Arc<datafusion::execution::TaskContext>) -> ReadRequest {
    ReadRequest {
        dataset: dataset.name.clone(),
        split: split.clone(),
        schema: std::sync::Arc::clone(&dataset.schema),
        filters: Vec::new(),
        limit: None,
        batch_rows: batch_rows(&dataset.schema),
        task: std::sync::Arc::clone(task),
    }
}

/// Decodes one file: its rows, or what is wrong with it.
async fn one(
    source: &dyn Source,
    request: ReadRequest,
    dataset: &Dataset,
    file: &FileEntry,
) -> Result<Result<u64, Box<Finding>>, CliError> {
    let concerned = || {
        let (dataset, split) = (dataset.name.clone(), file.split.clone());
        Some(Concerned { dataset, split, rows: Some(file.rows) })
    };
    match rows_of(source, request).await {
        Ok(rows) if rows == file.rows => Ok(Ok(rows)),
        Ok(rows) => {
            let problem = format!("it has {rows} rows, and the manifest says {}", file.rows);
            Ok(Err(Box::new(Finding::data(&file.path, problem, concerned()))))
        }
        Err(error) => Ok(Err(Box::new(found(error, &file.path, concerned())?))),
    }
}

async fn rows_of(source: &dyn Source, request: ReadRequest) -> Result<u64, EngineError> {
    let mut events = source.read(request).await?;
    let (mut rows, mut ended) = (0u64, false);
    while let Some(event) = events.next().await {
        match event? {
            SplitEvent::Rows(batch) => rows = rows.saturating_add(batch.num_rows() as u64),
            SplitEvent::Reject(reject) => {
                return Err(EngineError::failed(format!("{}: {}", reject.place, reject.reason)));
            }
            SplitEvent::End(_) => ended = true,
        }
    }
    if ended { Ok(rows) } else { Err(EngineError::failed("the file ended without its end being proven")) }
}

/// A finding, unless the error says that the store stayed away, that the memory is too small, or the like.
fn found(error: EngineError, object: &str, concerned: Option<Concerned>) -> Result<Finding, CliError> {
    match error.class() {
        ExitClass::Unreachable
        | ExitClass::NoSpace
        | ExitClass::Usage
        | ExitClass::WrongKey
        | ExitClass::Interrupted => Err(error.into()),
        _ => Ok(Finding::data(object, format!("it cannot be decoded: {}", error.message()), concerned)),
    }
}

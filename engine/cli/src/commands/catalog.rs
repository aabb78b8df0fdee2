//! `restow catalog list` and `show`.

use std::fmt::Write;

use arrow::datatypes::Schema;
use arrow::ipc::convert::try_schema_from_ipc_buffer;
use data_encoding::BASE64;
use restow_core::compile::type_name;
use restow_store::repository::{DatasetEntry, Manifest, SnapshotStatus, SnapshotSummary};
use serde_json::{Value, json};

use super::target::Target;
use crate::app::App;
use crate::args::{CatalogListArgs, CatalogShowArgs};
use crate::error::CliError;
use crate::exit;
use crate::render::number::{bytes, counted, grouped};
use crate::render::table::Table;

/// Times in lists: to the second, in UTC.
const TIME: &str = "%Y-%m-%d %H:%M:%S";
/// Dataset names in a list, at most.
const LISTED: usize = 3;

/// Lists the snapshots. A damaged one is listed too, exit code 13: it must not look like none.
pub async fn list(app: &App, arguments: &CatalogListArgs) -> Result<u8, CliError> {
    let mut target = Target::of(app, &arguments.repository)?;
    let repository = target.open(app).await?;
    let snapshots = repository.snapshots().await?;
    if app.console.is_json() {
        snapshots.iter().for_each(|snapshot| app.console.record("snapshot", &summary_value(snapshot)));
    } else if snapshots.is_empty() {
        app.console.note(&format!("{} has no snapshots", repository.location().url));
    } else {
        app.console.raw(snapshot_table(&snapshots).as_bytes());
    }
    let damaged: Vec<&SnapshotSummary> = snapshots.iter().filter(|snapshot| snapshot.problem.is_some()).collect();
    for snapshot in &damaged {
        app.console.warn(&format!("snapshot {}: {}", snapshot.id, snapshot.problem.as_deref().unwrap_or_default()));
    }
    app.console.summarise(
        &json!({ "repository": repository.location().url, "snapshots": snapshots.len(), "damaged": damaged.len() }),
    );
    Ok(if damaged.is_empty() { exit::DONE } else { exit::of_class(restow_core::ExitClass::Tampered) })
}

/// The snapshots as a table.
pub fn snapshot_table(snapshots: &[SnapshotSummary]) -> String {
    let mut table = Table::new(&["snapshot", "created (UTC)", "status", "pipeline", "datasets", ">rows", ">stored"]);
    for snapshot in snapshots {
        let mut datasets = snapshot.datasets.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
        if snapshot.datasets.len() > LISTED {
            let _ = write!(datasets, " and {} more", snapshot.datasets.len() - LISTED);
        }
        table.row([
            snapshot.id.to_string(),
            snapshot.created.format(TIME).to_string(),
            status(snapshot.status).to_owned(),
            snapshot.pipeline.clone(),
            datasets,
            grouped(snapshot.rows),
            bytes(snapshot.stored_bytes),
        ]);
    }
    table.render()
}

fn status(status: Option<SnapshotStatus>) -> &'static str {
    match status {
        Some(SnapshotStatus::Complete) => "complete",
        Some(SnapshotStatus::Partial) => "partial",
        None => "damaged",
    }
}

fn summary_value(snapshot: &SnapshotSummary) -> Value {
    json!({
        "snapshot": snapshot.id,
        "status": status(snapshot.status),
        "created": snapshot.created,
        "finished": snapshot.finished,
        "pipeline": snapshot.pipeline,
        "datasets": snapshot.datasets,
        "rows": snapshot.rows,
        "stored_bytes": snapshot.stored_bytes,
        "problem": snapshot.problem,
    })
}

/// Shows one snapshot.
pub async fn show(app: &App, arguments: &CatalogShowArgs) -> Result<u8, CliError> {
    let mut target = Target::of(app, &arguments.repository)?;
    let repository = target.open(app).await?;
    let id = repository.resolve(&arguments.snapshot).await?;
    let manifest = repository.manifest(&id).await?;
    let value = manifest_value(&manifest);
    app.console.result("snapshot", &value, || render(&manifest, &repository.location().url));
    Ok(exit::DONE)
}

/// Name, type and role of a column.
type ColumnLine<'a> = (String, String, Option<&'a str>);

/// The columns of a dataset, or why they cannot be told.
fn columns(dataset: &DatasetEntry) -> Result<Vec<ColumnLine<'_>>, String> {
    let bytes = BASE64.decode(dataset.schema.as_bytes()).map_err(|error| error.to_string())?;
    let schema: Schema = try_schema_from_ipc_buffer(&bytes).map_err(|error| error.to_string())?;
    let role = |name: &String| dataset.roles.get(name).map(String::as_str);
    let column =
        |field: &arrow::datatypes::FieldRef| (field.name().clone(), type_name(field.data_type()), role(field.name()));
    Ok(schema.fields().iter().map(column).collect())
}

fn stored(dataset: &DatasetEntry) -> u64 {
    dataset.files.iter().map(|file| file.stored_bytes).sum()
}

fn manifest_value(manifest: &Manifest) -> Value {
    let datasets = manifest.datasets.iter().map(|dataset| {
        let columns = columns(dataset).map(|columns| {
            let column = |(name, data_type, role)| json!({ "name": name, "type": data_type, "role": role });
            columns.into_iter().map(column).collect::<Vec<_>>()
        });
        json!({
            "name": dataset.name,
            "rows": dataset.rows,
            "stored_bytes": stored(dataset),
            "bytes_in": dataset.bytes_in,
            "files": dataset.files.len(),
            "columns": columns.as_ref().ok(),
            "problem": columns.as_ref().err(),
        })
    });
    let datasets = datasets.collect::<Vec<_>>();
    json!({
        "snapshot": manifest.snapshot,
        "status": manifest.status,
        "created": manifest.created,
        "finished": manifest.finished,
        "restow": manifest.restow,
        "format": manifest.format,
        "pipeline": { "name": manifest.pipeline.name, "hash": manifest.pipeline.hash },
        "source": manifest.source,
        "counters": manifest.counters,
        "failed": manifest.failed,
        "datasets": datasets,
    })
}

fn render(manifest: &Manifest, url: &str) -> String {
    let mut out = format!("snapshot     {}\n", manifest.snapshot);
    let rows: u64 = manifest.datasets.iter().map(|dataset| dataset.rows).sum();
    let size: u64 = manifest.datasets.iter().map(stored).sum();
    let took = (manifest.finished - manifest.created).num_milliseconds().max(0) as f64 / 1000.0;
    let source = &manifest.source;
    let address = source.identity.get("address").or(Some(&source.identity)).and_then(Value::as_str).unwrap_or_default();
    let mut line = |name: &str, text: String| {
        if !text.trim().is_empty() {
            let _ = writeln!(out, "{name:<12} {text}");
        }
    };
    line("repository", url.to_owned());
    line("status", status(Some(manifest.status)).to_owned());
    let took = crate::render::number::seconds(took);
    line("created", format!("{} UTC, in {took}, by restow {}", manifest.created.format(TIME), manifest.restow));
    line("pipeline", manifest.pipeline.name.clone());
    line("source", format!("{} {address}", source.connector));
    line("consistency", source.consistency.clone());
    line("size", format!("{}, {} stored", counted(rows, "row"), bytes(size)));
    for failed in &manifest.failed {
        line("not in it", format!("{}: {}", failed.name, failed.error));
    }
    for dataset in &manifest.datasets {
        out.push('\n');
        out.push_str(&render_dataset(dataset));
    }
    out
}

fn render_dataset(dataset: &DatasetEntry) -> String {
    let files = counted(dataset.files.len() as u64, "file");
    let mut out =
        format!("dataset {}: {}, {} in {files}\n", dataset.name, counted(dataset.rows, "row"), bytes(stored(dataset)));
    match columns(dataset) {
        Err(problem) => {
            let _ = writeln!(out, "  its columns cannot be shown: {problem}");
        }
        Ok(columns) => {
            let mut table = Table::new(&["column", "type", "role"]);
            for (name, data_type, role) in columns {
                table.row([name, data_type, role.unwrap_or_default().to_owned()]);
            }
            for line in table.render().lines() {
                let _ = writeln!(out, "  {line}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use restow_store::repository::SnapshotId;

    use super::*;

    #[test]
    fn a_damaged_snapshot_is_listed() {
        let id: SnapshotId = "20260131T023000Z-k7q2mzx4ab".parse().unwrap();
        let snapshot = SnapshotSummary {
            created: id.time(),
            id,
            status: None,
            finished: None,
            pipeline: "p".into(),
            datasets: ["a", "b", "c", "d"].map(str::to_owned).to_vec(),
            rows: 1234,
            stored_bytes: 5_000_000,
            problem: Some("its digest is another".into()),
        };
        let text = snapshot_table(&[snapshot]);
        let last = text.lines().last().unwrap();
        assert_eq!(
            last,
            "20260131T023000Z-k7q2mzx4ab  2026-01-31 02:30:00  damaged  p         a, b, c and 1 more  1,234  5.0 MB"
        );
    }
}

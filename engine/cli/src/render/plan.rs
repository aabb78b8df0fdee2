//! What a run would do, for people.

use std::fmt::Write;

use restow_core::compile::{ColumnInfo, StageColumns};
use restow_core::plan::{DatasetPlan, PlanReport};
use restow_core::stage::Pushdown;

use super::number::{bytes, counted};

/// Columns are listed in full up to this number; more are counted.
const LISTED: usize = 40;

/// The text; every line ends with a line feed.
pub fn render(report: &PlanReport, next_runs: &[String], physical: bool) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}", report.pipeline);
    let _ = writeln!(out, "  source       {}", report.source);
    let _ = writeln!(out, "  consistency  {}", report.consistency);
    let _ = writeln!(out, "  sink         {}", report.sink);
    let estimate: Option<u64> = report.datasets.iter().map(|dataset| dataset.bytes).sum();
    let rows: Option<u64> = report.datasets.iter().map(|dataset| dataset.rows).sum();
    let of = counted(report.datasets.len() as u64, "dataset");
    let _ = writeln!(out, "  estimate     {} in {of}", amount(rows, estimate));
    for run in next_runs {
        let _ = writeln!(out, "  next run     {run}");
    }
    if !report.target.is_empty() {
        let _ = writeln!(out, "\ntarget");
    }
    for line in &report.target {
        let _ = writeln!(out, "  {line}");
    }
    for dataset in &report.datasets {
        out.push('\n');
        out.push_str(&render_dataset(dataset, physical));
    }
    out
}

fn render_dataset(dataset: &DatasetPlan, physical: bool) -> String {
    let mut out = format!("dataset {}\n", dataset.name);
    let _ = writeln!(out, "  size         {}", amount(dataset.rows, dataset.bytes));
    let _ = writeln!(out, "  splits       {}", super::number::grouped(dataset.splits as u64));
    if let Some(gathered) = &dataset.gathered {
        let _ = writeln!(out, "  gathered     {gathered}");
    }
    for pushed in &dataset.pushed {
        let how = match pushed.pushdown {
            Pushdown::Exact => "exact: evaluated by the source alone",
            Pushdown::Inexact => "inexact: the source skips what it can, and the filter is applied again",
            Pushdown::No => "no: applied to every row here",
        };
        let _ = writeln!(out, "  pushed down  {} ({how})", pushed.filter);
    }
    for read in &dataset.at_source {
        let _ = writeln!(out, "  at source    {read}");
    }
    for filter in &dataset.evaluated_here {
        let _ = writeln!(out, "  filter here  {filter}");
    }
    if !dataset.columns_left.is_empty() {
        let _ = writeln!(out, "  not fetched  {}", names(&dataset.columns_left));
    }
    let mut before: &[ColumnInfo] = &[];
    for (number, stage) in dataset.stages.iter().enumerate() {
        render_stage(&mut out, number + 1, stage, before);
        before = &stage.columns;
    }
    if physical {
        out.push_str("  physical plan\n");
        for line in dataset.physical.lines() {
            let _ = writeln!(out, "    {line}");
        }
    }
    out
}

fn render_stage(out: &mut String, number: usize, stage: &StageColumns, before: &[ColumnInfo]) {
    let detail = if stage.detail.is_empty() { String::new() } else { format!("  {}", stage.detail) };
    let _ = writeln!(out, "  {number}. {}{detail}", stage.stage);
    if stage.columns == before {
        let _ = writeln!(out, "     the same {}", counted(stage.columns.len() as u64, "column"));
        return;
    }
    let width = stage.columns.iter().take(LISTED).map(|column| column.name.chars().count()).max().unwrap_or(0);
    for column in stage.columns.iter().take(LISTED) {
        let role = column.role.map(|role| format!("  {role}")).unwrap_or_default();
        let new = if before.is_empty() || before.contains(column) { "" } else { "  (changed)" };
        let pad = " ".repeat(width - column.name.chars().count().min(width));
        let _ = writeln!(out, "     {}{pad}  {}{role}{new}", column.name, column.data_type);
    }
    if let Some(more) = stage.columns.len().checked_sub(LISTED).filter(|more| *more > 0) {
        let _ = writeln!(out, "     and {} (all of them with --json)", counted(more as u64, "more column"));
    }
}

fn names(columns: &[String]) -> String {
    let mut shown = columns.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    if columns.len() > LISTED {
        let _ = write!(shown, " and {} more", columns.len() - LISTED);
    }
    shown
}

fn amount(rows: Option<u64>, size: Option<u64>) -> String {
    let rows = rows.map_or_else(|| "an unknown number of rows".to_owned(), |rows| counted(rows, "row"));
    match size {
        Some(size) => format!("{rows}, {}", bytes(size)),
        None => rows,
    }
}

#[cfg(test)]
mod tests {
    use restow_core::plan::PushedFilter;
    use restow_core::record::Role;

    use super::*;

    #[test]
    fn a_plan() {
        let column = |name: &str, role| ColumnInfo { name: name.into(), data_type: "int".into(), role };
        let columns = vec![column("id", Some(Role::Id)), column("n", None)];
        let stage = |name: &str, columns: &[ColumnInfo]| StageColumns {
            stage: name.into(),
            detail: String::new(),
            columns: columns.to_vec(),
        };
        let dataset = DatasetPlan {
            name: "cities".into(),
            stages: vec![stage("source", &columns), stage("filter", &columns)],
            pushed: vec![PushedFilter { filter: "n > 1".into(), pushdown: Pushdown::Inexact }],
            at_source: vec!["ids 1 to 7".into()],
            evaluated_here: vec!["n > 1".into()],
            columns_read: vec!["id".into(), "n".into()],
            columns_left: vec!["vector".into()],
            splits: 2,
            rows: Some(4000),
            bytes: Some(9_800_000),
            gathered: None,
            physical: "ScanExec".into(),
        };
        let report = PlanReport {
            pipeline: "p".into(),
            source: "files a".into(),
            consistency: "files as they are".into(),
            sink: "repository b".into(),
            datasets: vec![dataset],
            target: vec!["collection C is made".into()],
        };
        let text = render(&report, &["2026-01-31 02:30 Europe/Berlin".into()], false);
        let expected = "\
p
  source       files a
  consistency  files as they are
  sink         repository b
  estimate     4,000 rows, 9.8 MB in 1 dataset
  next run     2026-01-31 02:30 Europe/Berlin

target
  collection C is made

dataset cities
  size         4,000 rows, 9.8 MB
  splits       2
  pushed down  n > 1 (inexact: the source skips what it can, and the filter is applied again)
  at source    ids 1 to 7
  filter here  n > 1
  not fetched  vector
  1. source
     id  int  id
     n   int
  2. filter
     the same 2 columns
";
        assert_eq!(text, expected);
    }
}

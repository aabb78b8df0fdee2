//! What a run did, for people.

use std::fmt::Write;

use restow_core::run::{RunStatus, RunSummary, StageProfile};
use restow_core::stage::SplitCounts;

use super::number::{bytes, counted, grouped, rate, ratio, seconds};

/// The text; every line ends with a line feed.
pub fn render(summary: &RunSummary) -> String {
    let mut out = String::new();
    let how = match (summary.status, summary.resumed) {
        (RunStatus::Done, false) => "done",
        (RunStatus::Done, true) => "done, resumed",
        (RunStatus::Incomplete, false) => "done, but not everything",
        (RunStatus::Incomplete, true) => "done, resumed, but not everything",
    };
    let _ = writeln!(out, "{}: {how}", summary.pipeline);
    line(&mut out, "made", &summary.report.made);
    if let Some(snapshot) = summary.snapshot.as_ref().filter(|id| !summary.report.made.contains(id.as_str())) {
        line(&mut out, "snapshot", snapshot);
    }
    figures(&mut out, summary);
    if summary.datasets.len() > 1 {
        for dataset in &summary.datasets {
            let counts = &dataset.counts;
            let text = format!("{} written, {} stored", counted(counts.written, "row"), bytes(dataset.stored_bytes));
            line(&mut out, "dataset", &format!("{}: {text}", dataset.name));
        }
    }
    let stage = |stage: &StageProfile| {
        let (time, rows) = (seconds(stage.seconds), counted(stage.rows, "row"));
        format!("{} {time}, {rows}, {}", stage.stage, bytes(stage.bytes))
    };
    let stages: Vec<String> = summary.profile.iter().map(stage).collect();
    if !stages.is_empty() {
        let bottleneck = summary.bottleneck.as_ref().map(|stage| format!("; bottleneck: {stage}")).unwrap_or_default();
        line(&mut out, "profile", &format!("{}{bottleneck}", stages.join("; ")));
    }
    troubles(&mut out, summary);
    if let Some(next) = &summary.report.next {
        line(&mut out, "next", next);
    }
    out
}

fn figures(out: &mut String, summary: &RunSummary) {
    let SplitCounts { scanned, filtered, written, skipped, rejected, bytes_read, .. } = summary.counts;
    let source = if bytes_read > 0 { format!(", {} read", bytes(bytes_read)) } else { String::new() };
    line(out, "scanned", &format!("{}{source}", counted(scanned, "row")));
    if !summary.pushed.is_empty() {
        let one = |filter: &String| if filter.contains(" OR ") { format!("({filter})") } else { filter.clone() };
        let filters: Vec<String> = summary.pushed.iter().map(one).collect();
        let filters = filters.join(" AND ");
        line(out, "pushed", &format!("{filters}: rows that the source left out were not scanned"));
    }
    line(out, "filtered", &grouped(filtered));
    line(out, "written", &grouped(written));
    if skipped > 0 {
        line(out, "skipped", &grouped(skipped));
    }
    line(out, "rejected", &grouped(rejected));
    for item in &summary.items {
        let refused = if item.rejected > 0 { format!(", {} refused", grouped(item.rejected)) } else { String::new() };
        line(out, "also", &format!("{} {}{refused}", grouped(item.done), item.phase));
    }
    if let Some(node) = &summary.uncounted {
        line(out, "counts", &format!("{node} makes more or fewer rows of those scanned; only both ends are checked"));
    }
    line(out, "stored", &stored(summary));
    line(out, "time", &format!("{}, {}", seconds(summary.seconds), rate(scanned, bytes_read, summary.seconds)));
}

fn stored(summary: &RunSummary) -> String {
    let stored = summary.stored_bytes;
    let (plain, read) = (summary.plain_bytes, summary.counts.bytes_read);
    let mut text = bytes(stored);
    if let Some(whole) = summary.report.stored_bytes.filter(|whole| *whole > stored) {
        let _ = write!(text, " ({} with metadata)", bytes(whole));
    }
    if stored > 0 && plain > 0 {
        let _ = write!(text, ", ratio {} to the {} in memory", ratio(plain, stored), bytes(plain));
    }
    if stored > 0 && read > 0 {
        let _ = write!(text, ", {} to the bytes read", ratio(read, stored));
    }
    text
}

fn troubles(out: &mut String, summary: &RunSummary) {
    for dataset in &summary.datasets {
        if let Some(failure) = &dataset.failure {
            line(out, "failed", &format!("dataset {:?}: {failure}", dataset.name));
        }
    }
    if !summary.missing_ids.is_empty() {
        line(out, "not found", &format!("no dataset has the ids {}", summary.missing_ids.join(", ")));
    }
    for object in &summary.rejects {
        line(out, "rejects", &format!("in {object} of the run state of {}", summary.run));
    }
}

fn line(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, "  {name:<9} {text}");
}

#[cfg(test)]
mod tests {
    use restow_core::run::DatasetSummary;
    use restow_core::stage::CommitReport;

    use super::*;

    #[test]
    fn a_run() {
        let counts = SplitCounts {
            scanned: 4000,
            filtered: 5,
            arrived: 3995,
            written: 3994,
            skipped: 0,
            rejected: 1,
            bytes_read: 9_800_000,
        };
        let summary = RunSummary {
            status: RunStatus::Incomplete,
            pipeline: "quickstart".into(),
            run: "20260131T023000Z-k7q2mzx4ab".into(),
            resumed: false,
            snapshot: Some("20260131T023000Z-k7q2mzx4ab".into()),
            counts,
            pushed: vec!["population > Int64(5)".into()],
            uncounted: None,
            plain_bytes: 12_400_000,
            stored_bytes: 3_100_000,
            seconds: 1.2,
            datasets: vec![DatasetSummary {
                name: "cities".into(),
                counts,
                splits: 1,
                stored_bytes: 3_100_000,
                failure: None,
            }],
            profile: vec![StageProfile { stage: "scan".into(), seconds: 0.4, rows: 4000, bytes: 12_400_000 }],
            bottleneck: Some("scan".into()),
            items: Vec::new(),
            missing_ids: vec!["x".into()],
            rejects: vec!["rejects/1.jsonl".into()],
            report: CommitReport {
                made: "a snapshot in backups".into(),
                next: Some("restow restore backups".into()),
                stored_bytes: None,
            },
        };
        let expected = "\
quickstart: done, but not everything
  made      a snapshot in backups
  snapshot  20260131T023000Z-k7q2mzx4ab
  scanned   4,000 rows, 9.8 MB read
  pushed    population > Int64(5): rows that the source left out were not scanned
  filtered  5
  written   3,994
  rejected  1
  stored    3.1 MB, ratio 4.0 to the 12.4 MB in memory, 3.2 to the bytes read
  time      1.2 s, 3,333 rows/s, 8.2 MB/s
  profile   scan 0.4 s, 4,000 rows, 12.4 MB; bottleneck: scan
  not found no dataset has the ids x
  rejects   in rejects/1.jsonl of the run state of 20260131T023000Z-k7q2mzx4ab
  next      restow restore backups
";
        assert_eq!(render(&summary), expected);
    }
}

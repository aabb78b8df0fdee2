//! What verification says to people.

use std::fmt::Write;

use restow_store::repository::verify::{Finding, FindingKind, Part, SnapshotReport};

use crate::render::number::{bytes, counted, grouped};

/// Ranges that one line names.
const RANGES: usize = 3;

/// `snapshot X: whole: 3 objects, 4.9 MB of 4.9 MB read, 3,043 rows decoded`.
pub fn snapshot(report: &SnapshotReport, decoded: Option<u64>, part: Option<Part>) -> String {
    let coverage = &report.coverage;
    let mut text = match report.findings.len() as u64 {
        0 => format!("snapshot {}: whole", report.snapshot),
        count => format!("snapshot {}: {}", report.snapshot, counted(count, "finding")),
    };
    let _ = write!(text, ": {}, ", counted(coverage.objects, "object"));
    let _ = match part {
        Some(part) => {
            let percent = coverage.checked_bytes as f64 * 100.0 / coverage.bytes.max(1) as f64;
            write!(
                text,
                "part {part} of the data read ({} of {}, {percent:.1} %)",
                bytes(coverage.checked_bytes),
                bytes(coverage.bytes)
            )
        }
        None => write!(text, "{} of {} read", bytes(coverage.checked_bytes), bytes(coverage.bytes)),
    };
    if let Some(rows) = decoded {
        let _ = write!(text, ", {} decoded", counted(rows, "row"));
    }
    text
}

/// `damaged: data/...: its bytes are not what was written: 65,552 bytes at 80; 3,043 rows of cities are concerned`.
pub fn finding(finding: &Finding) -> String {
    let kind = match finding.kind {
        FindingKind::Data => "damaged",
        FindingKind::Metadata => "metadata",
        FindingKind::TooNew => "too new",
    };
    let mut text = format!("{kind}: {}: {}", finding.object, finding.problem);
    let mut ranges: Vec<String> = finding
        .ranges
        .iter()
        .take(RANGES)
        .map(|range| format!("{} from offset {}", counted(range.bytes, "byte"), grouped(range.offset)))
        .collect();
    let more = finding.damaged_ranges.saturating_sub(ranges.len());
    if more > 0 {
        ranges.push(format!("{} more ranges", grouped(more as u64)));
    }
    if !ranges.is_empty() {
        let _ = write!(text, ": {}", ranges.join(", "));
    }
    if let Some(concerned) = &finding.concerned {
        let _ = match concerned.rows {
            Some(rows) => write!(
                text,
                "; concerns {} of dataset {} (split {})",
                counted(rows, "row"),
                concerned.dataset,
                concerned.split
            ),
            None => write!(text, "; concerns a definition of {}", concerned.dataset),
        };
    }
    text
}

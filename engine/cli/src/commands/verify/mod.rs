//! `restow catalog verify`: proves that what snapshots name is what was written.

mod decode;
mod words;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use restow_store::repository::verify::{Depth, Finding, Part, SnapshotReport, Verifier, VerifyOptions, class_of};
use restow_store::repository::{RepositoryError, SnapshotId};
use serde_json::{Value, json};

use super::target::Target;
use crate::app::App;
use crate::args::{CatalogVerifyArgs, VerifyLevel};
use crate::context::Limits;
use crate::error::CliError;
use crate::exit;
use crate::render::meter::{self, Meter};
use crate::render::number::counted;

/// Parts of a sample where none are given: a month of daily checks reads everything once.
const DEFAULT_PARTS: u32 = 30;

/// Verifies snapshots; 4 or 13 where something is not what was written.
pub async fn verify(app: &App, arguments: &CatalogVerifyArgs) -> Result<u8, CliError> {
    let mut target = Target::of(app, &arguments.repository)?;
    let verifier = open(app, &mut target, arguments).await?;
    let part = part(arguments)?;
    let limits = Limits { memory: arguments.memory, parallel: arguments.parallel }.or(Limits::of(&app.settings()?));
    let mut totals = Totals::default();
    let keyring = verifier.keyring().await?;
    keyring.iter().for_each(|finding| tell(app, None, finding));
    totals.findings(&keyring);
    for id in chosen(&verifier, &arguments.snapshots).await? {
        totals.add(&one(app, &verifier, &target, &id, arguments.level, part, limits).await?);
    }
    totals.end(app, &verifier, arguments.level, part)
}

/// Verifies the snapshot that a run has just committed, as its `verify: { after: .. }` asks.
pub async fn after_run(
    app: &App,
    mut target: Target,
    snapshot: &str,
    asked: restow_spec::pipeline::VerifyLevel,
    limits: Limits,
) -> Result<(), CliError> {
    use restow_spec::pipeline::VerifyLevel as Asked;
    let (level, part) = match asked {
        Asked::Checksum => (VerifyLevel::Checksum, None),
        Asked::Sample => (VerifyLevel::Sample, Part::of_day(DEFAULT_PARTS, chrono::Utc::now())),
        Asked::Read => (VerifyLevel::Read, None),
        // The levels of databases; `lint` and `run` refuse them for a repository.
        Asked::Rows | Asked::Deep | Asked::None => return Ok(()),
    };
    let verifier = Verifier::new(target.open(app).await?);
    let mut totals = Totals::default();
    let id = snapshot.parse().map_err(|error| restow_core::EngineError::failed(format!("{snapshot}: {error}")))?;
    totals.add(&one(app, &verifier, &target, &id, level, part, limits).await?);
    totals.end(app, &verifier, level, part).map(|_| ())
}

/// Verifies one snapshot, and shows what came of it.
async fn one(
    app: &App,
    verifier: &Verifier,
    target: &Target,
    id: &SnapshotId,
    level: VerifyLevel,
    part: Option<Part>,
    limits: Limits,
) -> Result<Outcome, CliError> {
    let report = read(app, verifier, id, part, limits).await?;
    let mut outcome = Outcome { report, decoded: None };
    if level == VerifyLevel::Read {
        outcome.decoded = Some(decode::decode(app, target, &mut outcome.report, limits).await?);
    }
    show(app, &outcome, part);
    Ok(outcome)
}

/// Opens the repository: for `checksum` without the key where none is found, since that asks nobody.
async fn open(app: &App, target: &mut Target, arguments: &CatalogVerifyArgs) -> Result<Verifier, CliError> {
    let found = target.unlock().is_some() || target.name_key().is_some();
    if arguments.level != VerifyLevel::Checksum || (found && !arguments.no_key) {
        return Ok(Verifier::new(target.open(app).await?));
    }
    let verifier = Verifier::without_key(target.location()?).await?;
    if verifier.is_sealed() {
        app.console.note(
            "no key is used: all stored bytes are compared with the inventory, which finds accidents; with the key, \
             tampering is found too, and damage is placed",
        );
    }
    Ok(verifier)
}

/// The part of the data that a sample reads.
fn part(arguments: &CatalogVerifyArgs) -> Result<Option<Part>, CliError> {
    if arguments.level != VerifyLevel::Sample {
        return match arguments.part {
            None => Ok(None),
            Some(_) => Err(CliError::usage("--part belongs to --level sample", "add --level sample, or leave it out")),
        };
    }
    let default = || Part::of_day(DEFAULT_PARTS, chrono::Utc::now());
    arguments.part.or_else(default).map(Some).ok_or_else(|| CliError::usage("no part can be chosen", "give --part N/T"))
}

async fn chosen(verifier: &Verifier, named: &[String]) -> Result<Vec<SnapshotId>, RepositoryError> {
    if named.is_empty() {
        return verifier.snapshots().await;
    }
    let mut ids = Vec::new();
    for selector in named {
        // A full id needs no look: what is wrong with its manifest is a finding.
        let id = match selector.parse() {
            Ok(id) => id,
            Err(_) => verifier.resolve(selector).await?,
        };
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Reads the stored bytes of one snapshot, with progress.
async fn read(
    app: &App,
    verifier: &Verifier,
    id: &SnapshotId,
    part: Option<Part>,
    limits: Limits,
) -> Result<SnapshotReport, CliError> {
    let bytes = AtomicU64::new(0);
    let advance = |more: u64| {
        bytes.fetch_add(more, Relaxed);
    };
    let depth = part.map_or(Depth::All, Depth::Sample);
    let options = VerifyOptions { depth, parallel: limits.parallel(), advance: &advance };
    let meter = Meter { what: format!("verifying {id}"), done: &bytes };
    Ok(meter::watch(&app.console, &meter, verifier.snapshot(id, &options)).await?)
}

/// What came of one snapshot.
struct Outcome {
    report: SnapshotReport,
    /// Rows that were decoded; none where none were to be.
    decoded: Option<u64>,
}

fn show(app: &App, outcome: &Outcome, part: Option<Part>) {
    let report = &outcome.report;
    report.findings.iter().for_each(|finding| tell(app, Some(&report.snapshot), finding));
    if app.console.is_json() {
        app.console.record("snapshot", &value(outcome));
    } else {
        app.console.data(&words::snapshot(report, outcome.decoded, part));
    }
}

fn value(outcome: &Outcome) -> Value {
    let report = &outcome.report;
    json!({
        "snapshot": report.snapshot,
        "whole": report.findings.is_empty(),
        "findings": report.findings.len(),
        "objects": report.coverage.objects,
        "bytes": report.coverage.bytes,
        "checked_bytes": report.coverage.checked_bytes,
        "decoded_rows": outcome.decoded,
    })
}

fn tell(app: &App, snapshot: Option<&SnapshotId>, finding: &Finding) {
    if app.console.is_json() {
        let mut value = json!({ "snapshot": snapshot });
        if let (Value::Object(to), Value::Object(from)) = (&mut value, json!(finding)) {
            to.extend(from);
        }
        app.console.record("finding", &value);
    } else {
        app.console.data(&words::finding(finding));
    }
}

/// Over all snapshots.
#[derive(Default)]
struct Totals {
    snapshots: u64,
    damaged: u64,
    bytes: u64,
    checked_bytes: u64,
    rows: Option<u64>,
    all: Vec<Finding>,
}

impl Totals {
    fn findings(&mut self, findings: &[Finding]) {
        self.all.extend_from_slice(findings);
    }

    fn add(&mut self, outcome: &Outcome) {
        self.snapshots += 1;
        self.damaged += u64::from(!outcome.report.findings.is_empty());
        self.bytes = self.bytes.saturating_add(outcome.report.coverage.bytes);
        self.checked_bytes = self.checked_bytes.saturating_add(outcome.report.coverage.checked_bytes);
        if let Some(rows) = outcome.decoded {
            self.rows = Some(self.rows.unwrap_or(0).saturating_add(rows));
        }
        self.findings(&outcome.report.findings);
    }

    fn end(self, app: &App, verifier: &Verifier, level: VerifyLevel, part: Option<Part>) -> Result<u8, CliError> {
        let url = &verifier.location().url;
        app.console.summarise(&json!({
            "repository": url,
            "level": level.word(),
            "part": part,
            "with_key": !verifier.is_sealed(),
            "snapshots": self.snapshots,
            "damaged": self.damaged,
            "findings": self.all.len(),
            "bytes": self.bytes,
            "checked_bytes": self.checked_bytes,
            "decoded_rows": self.rows,
        }));
        let Some(class) = class_of(&self.all) else {
            if self.snapshots == 0 {
                app.console.note(&format!("{url} has no snapshots: nothing was verified"));
            }
            return Ok(exit::DONE);
        };
        let message = match self.damaged {
            0 => format!("the keyring of {url} is not what was written"),
            damaged => {
                let of = counted(self.snapshots, "snapshot");
                format!(
                    "{damaged} of {of} in {url} are not what was written: {}",
                    counted(self.all.len() as u64, "finding")
                )
            }
        };
        Err(CliError::Verification { message, code: class.code() })
    }
}

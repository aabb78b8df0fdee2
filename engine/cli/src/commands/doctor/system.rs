//! The machine: clock, disks, folders.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chrono::{DateTime, Utc};
use restow_spec::settings::Settings;
use restow_store::location;
use restow_store::repository::Repository;

use super::Report;
use super::repository::within;
use crate::app::App;
use crate::context::{self, Limits};
use crate::error::CliError;
use crate::render::number::bytes;

/// This program was not there before: a clock that says so is wrong. 2026-01-01.
const NOT_BEFORE: i64 = 1_767_225_600;
/// Less free space than this is told.
const LITTLE: u64 = 1 << 30;
/// Where run state goes where nothing else is said.
const STATE: &str = ".restow/state";

/// Whether the clock can be right at all. Snapshot ids and schedules come from it.
pub(super) fn clock(report: &mut Report) {
    judge_clock(report, Utc::now());
}

fn judge_clock(report: &mut Report, now: DateTime<Utc>) {
    let shown = now.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    match now.timestamp() < NOT_BEFORE {
        true => {
            let message =
                format!("it says {shown}, which is before this program was made; ids of snapshots come from it");
            report.error("clock", "this machine", &CliError::usage(message, "set it"));
        }
        false => report.ok("clock", "this machine", shown),
    }
}

/// Free space below a folder, by `df`, as there is no safe call for it.
pub(super) fn disk(report: &mut Report, name: &str, folder: &Path) {
    let existing = existing(folder);
    let df = Command::new("df").args(["-P", "-k"]).arg(&existing).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let text = df.ok().filter(|df| df.status.success()).and_then(|df| String::from_utf8(df.stdout).ok());
    match text.as_deref().and_then(free) {
        None => report.skipped("disk", name, "`df` did not tell the free space"),
        Some(free) if free < LITTLE => {
            let message = format!(
                "{} free at {}; a run that does not fit ends with exit code 6 and loses no snapshot",
                bytes(free),
                existing.display()
            );
            report.warning("disk", name, message);
        }
        Some(free) => report.ok("disk", name, format!("{} free", bytes(free))),
    }
}

/// The fourth column of the second line, in KiB (POSIX `df -P -k`).
fn free(df: &str) -> Option<u64> {
    df.lines().nth(1)?.split_whitespace().nth(3)?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Whether run state can be kept: the folder written, or the store reached.
pub(super) async fn state(app: &App, report: &mut Report, settings: &Settings) {
    const CHECK: &str = "state";
    let wanted = settings.state.as_deref().unwrap_or(STATE);
    if wanted.contains("://") || wanted.starts_with("memory:") {
        let options = context::open_context(Default::default(), app.environment.clone(), Limits::default());
        let options = location::StoreOptions { environment: options.store_environment(), ..Default::default() };
        match location::open(wanted, &options) {
            Err(error) => report.error(CHECK, wanted, &error.into()),
            // Nothing is looked for but an answer.
            Ok(location) => match within(Repository::made(&location), &location.url).await {
                Err(error) => report.error(CHECK, wanted, &error),
                Ok(_) => report.ok(CHECK, wanted, "answers"),
            },
        }
        return;
    }
    let folder = existing(Path::new(wanted));
    match writable(&folder) {
        Some(true) => report.ok(CHECK, wanted, "can be written"),
        Some(false) => {
            let message = format!(
                "{} cannot be written, so runs between files have no place for their receipts",
                folder.display()
            );
            report.error(CHECK, wanted, &CliError::usage(message, "set `state:` in the settings"));
        }
        None => report.skipped(CHECK, wanted, "`test -w` could not be run"),
    }
}

/// The folder, or the nearest above it that exists.
fn existing(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let found = absolute.ancestors().find(|path| path.is_dir());
    found.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Whether this user may write into a folder, without writing: permission bits alone do not tell.
fn writable(folder: &Path) -> Option<bool> {
    let test = |flag: &str| Command::new("test").arg(flag).arg(folder).stdin(Stdio::null()).status().ok();
    Some(test("-w")?.success() && test("-x")?.success())
}

/// Permission bits of a file.
#[cfg(unix)]
pub(super) fn mode(file: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    Some(file.metadata().ok()?.permissions().mode())
}

/// Permission bits of a file; this system has none.
#[cfg(not(unix))]
pub(super) fn mode(_file: &Path) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn df_is_read() {
        let text = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda1 1000 400 600 40% /\n";
        assert_eq!(free(text), Some(600 * 1024));
        assert_eq!((free(""), free("a\nb c d x"), free("a\nb c d 18446744073709551615 e")), (None, None, None));
    }

    #[test]
    fn a_clock_of_1970_is_an_error() {
        let mut report = Report::default();
        judge_clock(&mut report, DateTime::UNIX_EPOCH);
        judge_clock(&mut report, Utc::now());
        assert_eq!((report.count(Status::Error), report.count(Status::Ok)), (1, 1));
    }

    #[test]
    fn folders_that_do_not_exist_yet() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("a/b");
        assert_eq!(existing(&below), folder.path());
        assert_eq!(writable(folder.path()), Some(true));
    }
}

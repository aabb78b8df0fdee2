//! Whether a repository can be reached, written and opened, and whether its recovery key is known to work.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use restow_store::keys::KeyError;
use restow_store::location::Location;
use restow_store::repository::{RecoveryState, Repository, RepositoryError};
use serde_json::Value;

use super::super::target::Target;
use super::{Report, system};
use crate::error::CliError;
use crate::render::number::seconds;

/// A store that does not answer within this time is one that does not answer: its own retries take minutes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Clocks that differ by more than this are told, in seconds.
const SKEW: i64 = 60;

/// How to check.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    /// The user named this repository: it has to exist.
    pub named: bool,
    /// A small object may be written.
    pub write: bool,
}

/// All checks of one repository, as far as each is possible after the one before.
pub(super) async fn check(report: &mut Report, name: &str, mut target: Target, how: How) {
    let location = match target.location() {
        Ok(location) => location,
        Err(error) => return report.error("address", name, &error),
    };
    if !reachable(report, name, &location, how).await {
        return;
    }
    creates(report, name, &location, how.write).await;
    if let Some(folder) = local_folder(target.url()) {
        system::disk(report, name, &folder);
    }
    let opened = opens(report, name, &mut target, location).await;
    key_file(report, name, &target);
    if let Some(repository) = opened {
        recovery(report, name, &repository).await;
    }
}

/// Whether the store answers and has a repository.
async fn reachable(report: &mut Report, name: &str, location: &Location, how: How) -> bool {
    match within(Repository::made(location), &location.url).await {
        Err(error) => report.error("repository", name, &error),
        Ok(Some(made)) => {
            ahead(report, name, made);
            report.ok("repository", name, format!("{} answers", location.url));
            return true;
        }
        Ok(None) if how.named => {
            report.error("repository", name, &RepositoryError::NotFound { url: location.url.clone() }.into());
        }
        Ok(None) => {
            let message = format!(
                "{} answers, and there is no repository yet; check the address, or make one with `restow repository create`",
                location.url
            );
            report.warning("repository", name, message);
        }
    }
    false
}

/// What was made in the future was made by another clock.
fn ahead(report: &mut Report, name: &str, made: DateTime<Utc>) {
    let lead = (made - Utc::now()).num_seconds();
    if lead > SKEW {
        let message = format!(
            "the store says that the repository was made in {}; set the clock of this machine",
            seconds(lead as f64)
        );
        report.warning("clock", name, message);
    }
}

/// Whether the store creates an object only where none exists. That takes a write, so it is done only where asked for.
async fn creates(report: &mut Report, name: &str, location: &Location, write: bool) {
    const CHECK: &str = "create-if-absent";
    if !location.writable {
        return report.skipped(CHECK, name, "the store is read-only");
    }
    if !write {
        return report.skipped(CHECK, name, "takes a small write, which --write allows");
    }
    match within(Repository::try_store(location), &location.url).await {
        Err(error) => report.error(CHECK, name, &error),
        Ok(time) => {
            let skew = (time - Utc::now()).num_seconds();
            report.ok(CHECK, name, "an object is created only where none exists");
            match skew.abs() > SKEW {
                true => {
                    let message = format!(
                        "the clock of the store differs by {}; set the clock of this machine",
                        seconds(skew.abs() as f64)
                    );
                    report.warning("clock", name, message);
                }
                false => report.ok("clock", name, "that of the store agrees"),
            }
        }
    }
}

/// A key file that others may read is everybody's.
fn key_file(report: &mut Report, name: &str, target: &Target) {
    let file = target.unlock().and_then(|unlock| unlock.get("key_file")).and_then(Value::as_str);
    let Some(file) = file.map(Path::new) else { return };
    if let Some(mode) = system::mode(file).filter(|mode| mode & 0o077 != 0) {
        let file = file.display();
        report.warning(
            "key file",
            name,
            format!("{file} may be read by others (mode {:o}); run `chmod 600 {file}`", mode & 0o777),
        );
    }
}

/// Whether the key that would be used opens it. Nobody is asked for one.
async fn opens(report: &mut Report, name: &str, target: &mut Target, location: Location) -> Option<Repository> {
    const CHECK: &str = "key";
    let repository = match open(target, location).await {
        Ok(repository) => repository,
        Err(CliError::Repository(RepositoryError::Key { source: KeyError::Missing, .. })) => {
            let message = "it is encrypted and no key was given, so it was not opened; give --key-file or --passphrase-file, or set RESTOW_KEY";
            report.warning(CHECK, name, message);
            return None;
        }
        Err(error) => {
            report.error(CHECK, name, &error);
            return None;
        }
    };
    match repository.keys() {
        None => report.ok(CHECK, name, "it is not encrypted"),
        Some(keys) => {
            let slot = keys.opened_by();
            let message = format!(
                "opens slot {} ({}); keyring generation {}, epoch {}",
                slot.id,
                slot.kind,
                keys.generation(),
                keys.epoch()
            );
            report.ok(CHECK, name, message);
        }
    }
    for warning in repository.warnings() {
        let error = CliError::usage(warning.clone(), "nothing can be written until `keys/` is restored from a replica");
        report.error("keyring", name, &error);
    }
    Some(repository)
}

/// Opens it as other commands do: a key that nobody names is looked for only where one is needed.
async fn open(target: &mut Target, location: Location) -> Result<Repository, CliError> {
    let url = location.url.clone();
    let key = target.key_source()?;
    let opened = within(Repository::open(location.clone(), key.as_ref()), &url).await;
    let missing = matches!(opened, Err(CliError::Repository(RepositoryError::Key { source: KeyError::Missing, .. })));
    if !missing || target.name_key().is_none() {
        return opened;
    }
    let key = target.key_source()?;
    within(Repository::open(location, key.as_ref()), &url).await
}

/// Warns until the recovery key has opened the repository once.
async fn recovery(report: &mut Report, name: &str, repository: &Repository) {
    const CHECK: &str = "recovery key";
    if !repository.is_encrypted() {
        return;
    }
    let url = &repository.location().url;
    repository.note_recovery().await;
    match within(repository.recovery_state(), url).await {
        Err(error) => report.error(CHECK, name, &error),
        Ok(RecoveryState::Proven { at, .. }) => {
            report.ok(CHECK, name, format!("it has opened the repository on {}", at.format("%Y-%m-%d")));
        }
        Ok(RecoveryState::Untried { .. }) => {
            let message = format!(
                "it has never opened the repository, so nobody knows whether it does; try it once: `restow doctor -r {url} --key-file FILE`"
            );
            report.warning(CHECK, name, message);
        }
        Ok(RecoveryState::Absent) => {
            let message =
                format!("there is none: who loses the key has lost the data; make one: `restow key recovery -r {url}`");
            report.warning(CHECK, name, message);
        }
    }
}

/// The answer of a store, or that there was none.
pub(super) async fn within<T>(
    work: impl Future<Output = Result<T, RepositoryError>>,
    url: &str,
) -> Result<T, CliError> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(CliError::NoAnswer { url: url.to_owned(), seconds: PATIENCE.as_secs() }),
    }
}

/// The folder of a repository on this machine.
fn local_folder(url: &str) -> Option<PathBuf> {
    match url.split_once("://") {
        Some(("file", path)) => Some(PathBuf::from(path)),
        Some(_) => None,
        None if url.starts_with("memory:") || url.is_empty() => None,
        None => Some(PathBuf::from(url)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_this_machine() {
        assert_eq!(local_folder("backups"), Some("backups".into()));
        assert_eq!(local_folder("file:///srv/backups"), Some("/srv/backups".into()));
        for url in ["s3://bucket/x", "memory:x", ""] {
            assert_eq!(local_folder(url), None, "{url}");
        }
    }

    #[test]
    fn a_repository_from_the_future_is_told() {
        let mut report = Report::default();
        ahead(&mut report, "backups", Utc::now());
        assert!(report.checks.is_empty());
        ahead(&mut report, "backups", Utc::now() + chrono::Duration::hours(2));
        assert!(report.checks.iter().any(|check| check.message.contains("set the clock")));
    }
}

//! What verification says.

use serde::Serialize;

use super::object::{Checked, Expected};
use crate::repository::{ExitClass, Manifest, RepositoryError, SnapshotId};

/// Damaged ranges that are listed of one object; more are counted.
pub(super) const RANGES: usize = 16;

/// One thing that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Path of the object below the root.
    pub object: String,
    /// What kind of object.
    pub kind: FindingKind,
    /// What does not hold.
    pub problem: String,
    /// Where, as far as it can be told; at most 16 ranges.
    pub ranges: Vec<StoredRange>,
    /// How many ranges there are in all.
    pub damaged_ranges: usize,
    /// What is in the object, as far as it can be told.
    pub concerned: Option<Concerned>,
}

/// What a finding is about; with it the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Data or an artifact is not what was written: 4.
    Data,
    /// Metadata is not what was written, or was rolled back: 13.
    Metadata,
    /// Metadata of a newer restow, which this one cannot judge: 14.
    TooNew,
}

/// A range of stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StoredRange {
    /// The first byte.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
}

/// What an object holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Concerned {
    /// The dataset; of an artifact, its scope.
    pub dataset: String,
    /// The split that wrote it; empty for an artifact.
    pub split: String,
    /// Rows in it; none for an artifact.
    pub rows: Option<u64>,
}

/// How much of the data was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Objects that the snapshot names.
    pub objects: u64,
    /// Their stored bytes.
    pub bytes: u64,
    /// Stored bytes that were read and compared.
    pub checked_bytes: u64,
}

/// What was found of one snapshot.
#[derive(Debug, Clone)]
pub struct SnapshotReport {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// What is wrong, by object.
    pub findings: Vec<Finding>,
    /// How much was read.
    pub coverage: Coverage,
    /// Bytes of its inventory.
    pub metadata_bytes: u64,
    /// Its manifest, where the key is there and it is whole.
    pub manifest: Option<Manifest>,
}

impl SnapshotReport {
    pub(super) fn new(snapshot: SnapshotId) -> Self {
        Self { snapshot, findings: Vec::new(), coverage: Coverage::default(), metadata_bytes: 0, manifest: None }
    }

    pub(super) fn add(&mut self, checked: Checked) {
        self.coverage.checked_bytes = self.coverage.checked_bytes.saturating_add(checked.bytes);
        self.findings.extend(checked.finding);
    }

    /// What metadata said, or a finding where it is not what was written.
    pub(super) fn take<T>(&mut self, read: Result<T, RepositoryError>) -> Result<Option<T>, RepositoryError> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_finding(&error) => {
                self.findings.push(Finding::of(&error));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Coverage {
    pub(super) fn of(expected: &[Expected]) -> Self {
        let bytes = expected.iter().fold(0u64, |sum, object| sum.saturating_add(object.stored_bytes));
        Self { objects: expected.len() as u64, bytes, checked_bytes: 0 }
    }
}

impl Finding {
    /// Something wrong with metadata.
    pub fn metadata(object: &str, problem: &str) -> Self {
        let (object, problem) = (object.to_owned(), problem.to_owned());
        Self { object, kind: FindingKind::Metadata, problem, ranges: Vec::new(), damaged_ranges: 0, concerned: None }
    }

    /// Something wrong with data, without a place inside the object.
    pub fn data(object: &str, problem: String, concerned: Option<Concerned>) -> Self {
        let (object, kind) = (object.to_owned(), FindingKind::Data);
        Self { object, kind, problem, ranges: Vec::new(), damaged_ranges: 0, concerned }
    }

    fn of(error: &RepositoryError) -> Self {
        let finding = match error {
            RepositoryError::Tampered { object, problem, .. } | RepositoryError::TooNew { object, problem, .. } => {
                Self::metadata(object, problem)
            }
            RepositoryError::Key { source, .. } => Self::metadata("keys", &source.to_string()),
            other => Self::metadata("", &other.to_string()),
        };
        match error.exit_class() {
            ExitClass::TooNew => Self { kind: FindingKind::TooNew, ..finding },
            _ => finding,
        }
    }
}

/// Whether an error says that metadata is not what was written, and not that it could not be read.
pub(super) fn is_finding(error: &RepositoryError) -> bool {
    matches!(error.exit_class(), ExitClass::Tampered | ExitClass::TooNew)
}

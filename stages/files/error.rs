//! What can be wrong with files.

use restow_core::{EngineError, ExitClass};

/// The name of the object that ends an export.
pub(super) const EXPORT: &str = "_restow_export.json";

/// Why files cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilesError {
    /// No file has this path, and none matches the glob.
    #[error("no file at {path:?}")]
    NoFile { path: String },
    /// The store cannot list.
    #[error("{path:?} names no single file, and this server cannot list its files")]
    CannotList { path: String },
    /// The glob cannot be compiled.
    #[error("{path:?} is not a valid glob: {reason}")]
    Glob { path: String, reason: String },
    /// A connection is not there, or is of another kind.
    #[error("there is no files connection {name:?}")]
    Connection { name: String },
    /// A path of a connection is an address of its own.
    #[error("the path {path:?} is an address of its own, and the connection {connection:?} has a url already")]
    TwoAddresses { path: String, connection: String },
    /// The extension says nothing.
    #[error("the format of {file:?} is not known from its name")]
    UnknownFormat { file: String },
    /// One dataset, two formats.
    #[error("dataset {dataset:?} has files of two formats: {first:?} and {second:?}")]
    TwoFormats { dataset: String, first: String, second: String },
    /// A whole-file compression where the format has its own.
    #[error("{file:?} is a Parquet file compressed as a whole, which cannot be read in parts")]
    CompressedParquet { file: String },
    /// Two files, two types.
    #[error("dataset {dataset:?}: column {column:?} is {left} in {left_file:?} and {right} in {right_file:?}")]
    TypeConflict { dataset: String, column: String, left: String, left_file: String, right: String, right_file: String },
    /// A declared type that would lose values.
    #[error("dataset {dataset:?}: column {column:?} is {found}, and cannot be read as {declared} without loss")]
    Narrowing { dataset: String, column: String, found: String, declared: String },
    /// A declared column that is not there.
    #[error("dataset {dataset:?} has no column {column:?}, which `{option}:` names")]
    NoColumn { dataset: String, column: String, option: &'static str, help: Option<String> },
    /// A path without the folder of a partition column.
    #[error("the path of {file:?} has no folder {column}=...")]
    NoPartition { file: String, column: String },
    /// A folder name whose value is not of the type.
    #[error("in the path of {file:?}, {column}={value} is no {type_name}")]
    PartitionValue { file: String, column: String, value: String, type_name: String },
    /// Folder names with values, and no word on whether they are columns.
    #[error("dataset {dataset:?}: the values of the folders {folders} would be lost, since `partitions:` is not given")]
    FolderValues { dataset: String, folders: String, columns: String },
    /// A partition column that is inside the files too.
    #[error("dataset {dataset:?} has the column {column:?} inside its files and as a folder name")]
    PartitionTwice { dataset: String, column: String },
    /// A file is not what it was when the run began.
    #[error("{file:?} changed while it was being read")]
    Changed { file: String },
    /// An export that has no end.
    #[error("{path:?} holds an export that was not finished")]
    Unfinished { path: String },
    /// The end of an export cannot be read.
    #[error("{path:?} is damaged: {reason}")]
    BadExport { path: String, reason: String },
    /// A file of an export is not there, or has another size.
    #[error("{file:?} is not what the export says: {reason}")]
    NotAsExported { file: String, reason: String },
    /// Encrypted, and no key was given.
    #[error("{file:?} is encrypted by restow, and no key was given")]
    Locked { file: String },
    /// A key was given, and there is no keyring.
    #[error("`unlock:` was given, and no _restow_keys.json stands beside {file:?}")]
    NoKeyring { file: String },
    /// A target that holds an export.
    #[error("{path:?} already holds an export{by}")]
    Exists { path: String, by: String },
    /// A single file that is in the way.
    #[error("{file:?} exists already, and does not belong to an export of this run")]
    InTheWay { file: String },
    /// A target that cannot be written.
    #[error("{path:?} can only be read")]
    ReadOnly { path: String },
    /// A dataset whose name is the sink's own.
    #[error("a dataset is named {dataset:?}, and names that begin with \"_restow_\" are restow's own")]
    Reserved { dataset: String },
    /// What was read back is not what was written.
    #[error("{file:?} was read back and differs from what was written: {reason}")]
    ReadBack { file: String, reason: String },
    /// What stands in a receipt or split is not this sink's.
    #[error("{what} is not of the files stage: {reason}")]
    Foreign { what: &'static str, reason: String },
}

impl FilesError {
    fn class(&self) -> ExitClass {
        match self {
            Self::NoFile { .. } => ExitClass::NotFound,
            Self::NotAsExported { .. } | Self::BadExport { .. } => ExitClass::Damaged,
            Self::Locked { .. } => ExitClass::WrongKey,
            Self::Exists { .. } | Self::InTheWay { .. } | Self::Unfinished { .. } => ExitClass::Refused,
            Self::Changed { .. } | Self::ReadBack { .. } | Self::Foreign { .. } => ExitClass::Failed,
            _ => ExitClass::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoFile { .. } => "check the path; relative paths start at the working directory",
            Self::CannotList { .. } => "name each file: `path: [URL, URL]`",
            Self::Glob { .. } => "brackets and braces must be closed",
            Self::Connection { .. } => "name it under `connections:` as `{ files: { url: ... } }`",
            Self::TwoAddresses { .. } => "write the path relative to the connection's url",
            Self::UnknownFormat { .. } => {
                "say `format: parquet | jsonl | json | arrow | csv`, or select the files by a glob"
            }
            Self::TwoFormats { .. } => "select the files of one format by a glob",
            Self::CompressedParquet { .. } => "decompress it; Parquet has its own compression",
            Self::TypeConflict { .. } => "say its type under `schema:`, or read the files as two datasets",
            Self::Narrowing { .. } => "leave it out of `schema:` and cast it with a transform stage",
            Self::NoColumn { help, .. } => return help.clone(),
            Self::NoPartition { .. } => {
                "take the column out of `partitions:`, or select only files below such a folder"
            }
            Self::PartitionValue { .. } => "give the column another type under `partitions:`",
            Self::FolderValues { columns, .. } => {
                return Some(format!(
                    "say `partitions: {{ {columns} }}` to read them as columns, or `partitions: {{}}` to leave them out"
                ));
            }
            Self::PartitionTwice { .. } => "take it out of `partitions:`; the last one leaves `partitions: {}`",
            Self::Changed { .. } => "run again once nobody writes it",
            Self::Unfinished { .. } => {
                "run the pipeline that writes it again: it resumes; or select its files by a glob"
            }
            Self::BadExport { .. } => "export again into another folder",
            Self::NotAsExported { .. } => "export again, or select the files that are left by a glob",
            Self::Locked { .. } => {
                "give the key of the export: `unlock: { key_file: PATH }` (or key, command, passphrase)"
            }
            Self::NoKeyring { .. } => "take `unlock:` out for files that are not encrypted",
            Self::Exists { .. } => "nothing was changed; remove that export, or write to another path",
            Self::InTheWay { .. } => "nothing was overwritten; move that file, or write to another path",
            Self::ReadOnly { .. } => "write to a path, s3://, gs:// or az:// instead",
            Self::Reserved { .. } => "rename the dataset at its source",
            Self::ReadBack { .. } => "the store or the disk changes what it is given; this split was not finished",
            Self::Foreign { .. } => "start over with --fresh",
        };
        Some(text.to_owned())
    }
}

impl From<FilesError> for EngineError {
    fn from(error: FilesError) -> Self {
        let (class, hint) = (error.class(), error.hint());
        let own = Self::new(class, error.to_string());
        match hint {
            Some(hint) => own.with_hint(hint),
            None => own,
        }
    }
}

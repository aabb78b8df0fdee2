//! Exports that restow itself has written in this layout: `_restow_export.json` ends them, and tells their files.

use futures::TryStreamExt;
use object_store::ObjectMeta;
use restow_core::{EngineError, ExitClass, Result};
use serde::Deserialize;

use super::files::ExportFile;
use super::folder::{Folder, Part};
use super::read::texts;

const END: &str = "_restow_export.json";
const UNFINISHED: &str = "_restow_unfinished/";

/// The end of an export of restow, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
pub struct OwnExport {
    #[serde(default)]
    encrypted: bool,
    datasets: Vec<OwnDataset>,
}

#[derive(Debug, Clone, Deserialize)]
struct OwnDataset {
    name: String,
    files: Vec<OwnFile>,
}

#[derive(Debug, Clone, Deserialize)]
struct OwnFile {
    path: String,
    rows: u64,
    bytes: u64,
}

impl OwnExport {
    /// Reads it; `None` where there is none.
    ///
    /// # Errors
    /// It was not finished, or is encrypted.
    pub async fn read(folder: &Folder, listed: &[(String, ObjectMeta)]) -> Result<Option<Self>> {
        let refused = |what: &str, hint: &str| {
            Err(EngineError::new(ExitClass::Refused, format!("{:?} {what}", folder.shown)).with_hint(hint))
        };
        let Some(bytes) = folder.bytes(END).await? else {
            return match listed.iter().any(|(path, _)| path.starts_with(UNFINISHED)) {
                true => refused(
                    "holds an export of restow that was not finished",
                    "run that pipeline again; nothing was read",
                ),
                false => Ok(None),
            };
        };
        let own: Self = serde_json::from_slice(&bytes)
            .map_err(|error| EngineError::failed(format!("{:?} cannot be understood: {error}", folder.show(END))))?;
        if own.encrypted {
            return refused(
                "is encrypted",
                "decrypt it first, with a source `files` and a sink `files`; nothing was read",
            );
        }
        Ok(Some(own))
    }

    /// The dataset that a file belongs to.
    pub fn dataset_of(&self, path: &str) -> Option<&str> {
        let dataset = self.datasets.iter().find(|dataset| dataset.files.iter().any(|file| file.path == path))?;
        Some(&dataset.name)
    }

    /// Datasets without a row, which have no file.
    pub fn without_files(&self) -> impl Iterator<Item = &str> {
        self.datasets.iter().filter(|dataset| dataset.files.is_empty()).map(|dataset| dataset.name.as_str())
    }

    /// Whether the files are those that were written.
    ///
    /// # Errors
    /// One is missing, of another size, or too many.
    pub fn check(&self, folder: &Folder, files: &[ExportFile]) -> Result<()> {
        let wrong = |path: &str, what: &str| {
            EngineError::failed(format!("{:?} {what}", folder.show(path)))
                .with_hint(format!("{END} tells the files of the export: copy it again; nothing was read"))
        };
        let mut written = self.datasets.iter().flat_map(|dataset| &dataset.files);
        if let Some(missing) = written.find(|written| {
            let same = |file: &ExportFile| file.meta.size == written.bytes && file.rows() == written.rows;
            !files.iter().any(|file| file.path == written.path && same(file))
        }) {
            return Err(wrong(&missing.path, "is not there as it was written"));
        }
        let stranger = files.iter().find(|file| self.dataset_of(&file.path).is_none());
        stranger.map_or(Ok(()), |file| Err(wrong(&file.path, "is not part of the export")))
    }
}

/// The first value of a text column of a part.
pub async fn first_text(folder: &Folder, file: &ExportFile, part: &Part, column: &str) -> Result<Option<String>> {
    let (mut batches, _) = folder.rows(&file.path, &file.meta, part, &[column], 1).await?;
    let batch = batches.try_next().await.map_err(|error| folder.unreadable(&file.path, error))?;
    let Some(batch) = batch else { return Ok(None) };
    let values = texts(&batch, column)?;
    Ok(values.iter().next().flatten().map(str::to_owned))
}

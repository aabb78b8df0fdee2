//! Rejected rows in one readable file, where `on_error.rejects` names one. The run state keeps them in any case.

use object_store::{ObjectStoreExt, PutPayload};
use restow_store::location::{self, StoreOptions};

use super::{OpenedPipeline, RunRequest};
use crate::error::{EngineError, Result};
use crate::stage::{DatasetOutcome, Work};

/// Writes the rejects of all datasets as JSON lines to the place that the pipeline names, before the commit: rows that
/// are in no snapshot must be in the file.
pub(super) async fn copy(
    request: &RunRequest<'_>,
    opened: &OpenedPipeline,
    outcomes: &[(DatasetOutcome, Option<EngineError>)],
    work: &Work,
) -> Result<()> {
    let Some(target) = &request.pipeline.on_error.rejects else { return Ok(()) };
    let rows = outcomes.iter().flat_map(|(outcome, _)| &outcome.receipts).filter_map(|receipt| receipt.rejects.clone());
    let objects = rows.chain(work.all().into_iter().filter_map(|item| item.rejects));
    let mut lines = Vec::new();
    for object in objects {
        lines.extend_from_slice(&opened.state.rejects(&object).await?);
    }
    if lines.is_empty() {
        return Ok(());
    }
    let (folder, name) = match target.rsplit_once('/') {
        Some((folder, name)) => (folder.to_owned(), name),
        None => (String::new(), target.as_str()),
    };
    let remote = folder.contains("://") || folder.starts_with('/');
    let folder = if remote { folder } else { request.context.directory.join(".").join(folder).display().to_string() };
    let options = StoreOptions { environment: request.context.store_environment(), ..StoreOptions::default() };
    let place = location::open(&folder, &options)?;
    let path = place.path(name)?;
    place.store.put(&path, PutPayload::from(lines)).await?;
    Ok(())
}

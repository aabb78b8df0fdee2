//! Receipts in the run state: the engine's receipt in the store's form, and back.

use restow_store::repository::FileEntry;
use restow_store::run_state::{self, PutReceipt};
use serde::Deserialize;
use serde_json::json;

use super::super::Attempt;
use super::SplitJob;
use crate::error::{EngineError, Result};
use crate::stage::Receipt;

/// The phase of a sink that writes rows.
const ROWS: &str = "rows";

/// Keeps the rejected rows, then the receipt that names them. The receipt that exists already wins.
pub(super) async fn record(job: &SplitJob, mut receipt: Receipt, attempt: &Attempt, number: u64) -> Result<Receipt> {
    let rejects = attempt.rejects();
    if !rejects.is_empty() {
        let mut writer = job.state.reject_writer(&job.run, "jsonl")?;
        for reject in &rejects {
            let mut line =
                serde_json::to_vec(reject).map_err(|error| EngineError::failed(format!("reject: {error}")))?;
            line.push(b'\n');
            writer.write(line.into()).await?;
        }
        receipt.rejects = Some(writer.finish().await?.path);
    }
    let stored = stored(&receipt, number)?;
    let counted = match job.state.put_receipt(&job.run, &stored).await? {
        PutReceipt::Created => receipt,
        PutReceipt::Existing(existing) => receipt_of(&existing)?,
    };
    job.progress.split_done(&counted);
    Ok(counted)
}

fn stored(receipt: &Receipt, number: u64) -> Result<run_state::Receipt> {
    // A sink that writes files says which: a collector must find them without knowing the sink.
    let mut files = Vec::<FileEntry>::deserialize(&receipt.output.written).unwrap_or_default().into_iter();
    let whole = serde_json::to_value(receipt).map_err(|error| EngineError::failed(format!("receipt: {error}")))?;
    Ok(run_state::Receipt {
        phase: ROWS.to_owned(),
        dataset: receipt.dataset.clone(),
        split: receipt.split.clone(),
        n: number,
        file: files.next(),
        more_files: files.collect(),
        rows: receipt.counts.written,
        scanned: receipt.counts.scanned,
        filtered: receipt.counts.filtered,
        rejected: receipt.counts.rejected,
        skipped: receipt.counts.skipped,
        bytes: receipt.counts.bytes_read,
        digest: receipt.output.digest.clone(),
        evidence: json!({ "source": receipt.evidence, "engine": whole }),
        rejects: receipt.rejects.clone(),
        created: Some(chrono::Utc::now()),
    })
}

/// The engine's receipt that the run state holds.
///
/// # Errors
/// It was written by something else.
pub fn receipt_of(stored: &run_state::Receipt) -> Result<Receipt> {
    let engine = stored.evidence.get("engine").unwrap_or(&serde_json::Value::Null);
    Receipt::deserialize(engine).map_err(|error| {
        EngineError::failed(format!(
            "the receipt of dataset {:?}, split {:?} cannot be read: {error}",
            stored.dataset, stored.split
        ))
        .with_hint("run with --fresh to begin anew; earlier snapshots are untouched")
    })
}

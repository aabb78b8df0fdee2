//! The server's own exports, 1.37 and newer.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::{Client, Fault};

/// What a server says of an export.
#[derive(Debug, Clone, Deserialize)]
pub struct ExportStatus {
    /// `STARTED`, `TRANSFERRING`, `SUCCESS`, `FAILED` or `CANCELED`.
    pub status: String,
    /// Where it puts the files.
    #[serde(default)]
    pub path: String,
    /// The collections. Those that the key has no right to export are left out without a word.
    #[serde(default)]
    pub classes: Option<Vec<String>>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
}

impl Client {
    /// Starts an export. Once the answer is there, the snapshots of all shards are taken.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn start_export(&self, backend: &str, id: &str, classes: &[String]) -> Result<ExportStatus, Fault> {
        let body = json!({ "id": id, "file_format": "parquet", "include": classes });
        let answer = self.send(Method::POST, &format!("/export/{backend}"), &body).await?;
        serde_json::from_slice(&answer).map_err(|error| Fault::Refused(format!("unexpected answer: {error}")))
    }

    /// How far an export is.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn export_status(&self, backend: &str, id: &str) -> Result<ExportStatus, Fault> {
        self.get(&format!("/export/{backend}/{id}")).await
    }

    /// Cancels an export. One that has ended, or never was, is no fault.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn cancel_export(&self, backend: &str, id: &str) -> Result<(), Fault> {
        match self.raw(Method::DELETE, &format!("/export/{backend}/{id}"), None).await {
            Ok(_) | Err(Fault::Missing(_)) => Ok(()),
            Err(Fault::Refused(message)) if message.contains("already finished") => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}

//! The states of tenants: `HOT` ones can be read and written, `COLD` ones sleep.

use std::time::Duration;

use reqwest::Method;
use restow_core::Result;
use serde_json::{Value, json};

use super::client::{Client, Fault};

/// Tenants of one request: the server takes no more.
const AT_ONCE: usize = 100;
/// How often an activation is looked at, and how often at most.
const PAUSE: Duration = Duration::from_millis(100);
const PATIENCE: usize = 600;

/// Gives tenants of a class a state, `HOT` or `COLD`.
///
/// # Errors
/// The server refuses, or is away.
pub async fn set(client: &Client, class: &str, names: &[String], status: &str) -> Result<()> {
    for part in names.chunks(AT_ONCE) {
        let body: Vec<Value> = part.iter().map(|name| json!({ "name": name, "activityStatus": status })).collect();
        client
            .send(Method::PUT, &format!("/schema/{class}/tenants"), &Value::Array(body))
            .await
            .map_err(|fault| fault.about(format!("{}: setting tenants of {class} {status}", client.name())))?;
    }
    Ok(())
}

/// Until a tenant that was activated can be read.
///
/// # Errors
/// It never can, or the server is away.
pub async fn wait(client: &Client, class: &str, name: &str) -> Result<()> {
    let mut tries = 0;
    loop {
        match client.count(class, Some(name)).await {
            Ok(_) => return Ok(()),
            Err(Fault::Refused(_)) if tries < PATIENCE => {}
            Err(fault) => return Err(fault.about(format!("{}: waiting for tenant {name:?} of {class}", client.name()))),
        }
        tries += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

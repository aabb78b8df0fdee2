//! Inactive tenants: activated while they are read, and put back.

use std::collections::BTreeMap;

use restow_core::Result;
use restow_core::stage::Effects;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::tenants::{set, wait};

/// A recorded activation.
#[derive(Debug, Serialize, Deserialize)]
struct Activated {
    /// The address of the server.
    weaviate: String,
    /// Tenants by collection.
    tenants: BTreeMap<String, Vec<String>>,
}

/// Activates tenants, after that was recorded.
///
/// # Errors
/// It cannot be recorded, or the server refuses.
pub async fn activate(client: &Client, tenants: BTreeMap<String, Vec<String>>, effects: &Effects) -> Result<()> {
    if tenants.values().all(Vec::is_empty) {
        return Ok(());
    }
    let effect = Activated { weaviate: client.address().to_owned(), tenants };
    effects.record(json!(effect)).await?;
    for (class, names) in &effect.tenants {
        set(client, class, names, "HOT").await?;
        for name in names {
            wait(client, class, name).await?;
        }
    }
    Ok(())
}

/// Puts tenants back whose activation is recorded in these effects. Says whether there were any.
///
/// # Errors
/// The server refuses, or the record cannot be written.
pub async fn put_back(client: &Client, recorded: Vec<(String, Value)>, effects: &Effects) -> Result<bool> {
    let mut any = false;
    for (name, effect) in recorded {
        let Ok(activated) = serde_json::from_value::<Activated>(effect) else { continue };
        if activated.weaviate != client.address() {
            continue;
        }
        for (class, names) in &activated.tenants {
            match set(client, class, names, "COLD").await {
                Err(error) if error.class() == restow_core::ExitClass::NotFound => {}
                done => done?,
            }
        }
        effects.undone(&name).await?;
        any = true;
    }
    Ok(any)
}

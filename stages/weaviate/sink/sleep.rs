//! Tenants that slept at the source are put to sleep at the target, at the very end. Which ones were awake before is noted first: a run that
//! was killed then cannot ask them any more for what it wrote, and an undo has to wake them up.

use std::collections::HashSet;

use restow_core::stage::{ItemDone, Work};
use restow_core::{EngineError, Result};

use super::super::client::Client;
use super::super::tenants::{set, wait};
use super::mapping::Mapping;
use super::schema::{is_cold, tenants};

/// The beginning of a spool with the tenants that a run puts to sleep, a line each. No spool of ids begins so.
const SLEEPERS: &str = "sleepers\t";

fn mark(dataset: &str) -> String {
    format!("sleepers-{dataset}")
}

/// Gives tenants the states that they had.
///
/// # Errors
/// The target refuses, or the state of the run cannot be written.
pub async fn settle(client: &Client, mapping: &Mapping, work: &Work) -> Result<ItemDone> {
    let cold: HashSet<&String> =
        mapping.tenants.iter().filter(|(_, status)| is_cold(status)).map(|(name, _)| name).collect();
    if cold.is_empty() {
        return Ok(ItemDone::default());
    }
    let awake = tenants(client, &mapping.class).await?.into_iter().filter(|tenant| tenant.is_active());
    let names: Vec<String> = awake.map(|tenant| tenant.name).filter(|name| cold.contains(name)).collect();
    let lines = format!("{SLEEPERS}{}\n{}\n", mapping.dataset, names.join("\n"));
    work.spool(lines.into_bytes().into()).await?;
    work.mark(&mark(&mapping.dataset)).await?;
    set(client, &mapping.class, &names, "COLD").await?;
    Ok(ItemDone { done: cold.len() as u64, ..ItemDone::default() })
}

/// The tenants of a dataset that this run has put to sleep, or was about to.
///
/// # Errors
/// The state of the run cannot be read.
pub async fn sleepers(work: &Work, dataset: &str) -> Result<HashSet<String>> {
    let mut found = HashSet::new();
    if !work.state.is_marked(&work.run, &mark(dataset)).await? {
        return Ok(found);
    }
    let head = format!("{SLEEPERS}{dataset}\n");
    for name in work.spools().await? {
        let bytes = work.spooled(&name).await?;
        let Some(lines) = bytes.strip_prefix(head.as_bytes()) else { continue };
        let lines = std::str::from_utf8(lines)
            .map_err(|_| EngineError::failed("a list of tenants in the run state cannot be read"))?;
        found.extend(lines.lines().filter(|line| !line.is_empty()).map(str::to_owned));
    }
    Ok(found)
}

/// Those of them that sleep now: they were counted before, and answer no more.
///
/// # Errors
/// The target or the state of the run cannot be read.
pub async fn asleep(client: &Client, mapping: &Mapping, work: &Work) -> Result<HashSet<String>> {
    let noted = sleepers(work, &mapping.dataset).await?;
    if noted.is_empty() {
        return Ok(noted);
    }
    let there = tenants(client, &mapping.class).await?.into_iter().filter(|tenant| !tenant.is_active());
    Ok(there.map(|tenant| tenant.name).filter(|name| noted.contains(name)).collect())
}

/// Wakes them up again.
///
/// # Errors
/// The target refuses, or the state of the run cannot be read.
pub async fn wake(client: &Client, mapping: &Mapping, work: &Work) -> Result<()> {
    let names: Vec<String> = asleep(client, mapping, work).await?.into_iter().collect();
    set(client, &mapping.class, &names, "HOT").await?;
    for name in &names {
        wait(client, &mapping.class, name).await?;
    }
    Ok(())
}

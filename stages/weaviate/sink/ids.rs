//! Ids of objects: those that are at the target, and those that a run has touched. Both are kept in the run state as lines
//! `tenant<TAB>id`; before those that a run touches stands a line `touched<TAB>dataset`.

use std::collections::HashSet;
use std::fmt::Write;

use restow_core::{EngineError, Result};
use uuid::Uuid;

use super::super::client::proto::{
    FilterTarget, Filters, MetadataRequest, PropertiesRequest, SearchRequest, TextValues, operator,
};
use super::super::client::{Client, Fault};
use super::super::decode::id_of;

/// The beginning of a spool with the ids that a run touches. No tenant is called so: the line has no id.
const TOUCHED: &str = "touched\t";
/// Ids of one page, and of one question whether they are there.
const PAGE: u32 = 1_000;

/// A tenant (empty where there are none) and an id.
pub type Key = (String, Uuid);

/// As lines.
pub fn to_lines<'a>(keys: impl IntoIterator<Item = &'a Key>) -> String {
    let mut text = String::new();
    for (tenant, id) in keys {
        let _ = writeln!(text, "{tenant}\t{}", id.hyphenated());
    }
    text
}

/// As lines, for what a run touches of a dataset.
pub fn touched(dataset: &str, keys: &[Key]) -> String {
    format!("{TOUCHED}{dataset}\n{}", to_lines(keys))
}

/// What a spool says that a run touched of this dataset; `None` where it says something else.
///
/// # Errors
/// A line has another form.
pub fn of_dataset(bytes: &[u8], dataset: &str) -> Result<Option<HashSet<Key>>> {
    let head = format!("{TOUCHED}{dataset}\n");
    bytes.strip_prefix(head.as_bytes()).map(from_lines).transpose()
}

/// From lines.
///
/// # Errors
/// A line has another form.
pub fn from_lines(text: &[u8]) -> Result<HashSet<Key>> {
    let wrong = || EngineError::failed("a list of ids in the run state cannot be read");
    let text = std::str::from_utf8(text).map_err(|_| wrong())?;
    text.lines()
        .filter(|line| {
            !line.starts_with(TOUCHED) || line.split_once('\t').is_some_and(|(_, id)| Uuid::try_parse(id).is_ok())
        })
        .map(|line| {
            let (tenant, id) = line.split_once('\t').ok_or_else(wrong)?;
            Ok((tenant.to_owned(), Uuid::try_parse(id).map_err(|_| wrong())?))
        })
        .collect()
}

/// All ids of a class or of one of its tenants.
///
/// # Errors
/// See [`Fault`].
pub async fn all(client: &Client, class: &str, tenant: &str) -> Result<Vec<Key>, Fault> {
    let mut keys = Vec::new();
    let mut after = String::new();
    loop {
        let reply = client.search(SearchRequest { after: after.clone(), limit: PAGE, ..ids_of(class, tenant) }).await?;
        let ids: Vec<String> = reply.results.iter().filter_map(id_of).collect();
        let Some(last) = ids.last() else { return Ok(keys) };
        after.clone_from(last);
        for id in &ids {
            let id = Uuid::try_parse(id).map_err(|_| Fault::Refused(format!("an object with the id {id:?}")))?;
            keys.push((tenant.to_owned(), id));
        }
    }
}

/// How many of these ids of a tenant are there.
///
/// # Errors
/// See [`Fault`].
pub async fn there(client: &Client, class: &str, tenant: &str, ids: &[Uuid]) -> Result<usize, Fault> {
    let mut found = 0;
    for part in ids.chunks(PAGE as usize) {
        let values = part.iter().map(|id| id.hyphenated().to_string()).collect();
        let filters = Filters {
            operator: operator::CONTAINS_ANY,
            value_text_array: Some(TextValues { values }),
            target: Some(FilterTarget { property: Some("_id".to_owned()) }),
            ..Filters::default()
        };
        let limit = u32::try_from(part.len()).unwrap_or(PAGE);
        let reply = client.search(SearchRequest { filters: Some(filters), limit, ..ids_of(class, tenant) }).await?;
        found += reply.results.len();
    }
    Ok(found)
}

fn ids_of(class: &str, tenant: &str) -> SearchRequest {
    SearchRequest {
        collection: class.to_owned(),
        tenant: tenant.to_owned(),
        properties: Some(PropertiesRequest::default()),
        metadata: Some(MetadataRequest { uuid: true, ..MetadataRequest::default() }),
        ..SearchRequest::default()
    }
}

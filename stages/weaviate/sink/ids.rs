//! Ids of objects: those that are at the target, and those that a run has touched. Both are kept in the run state as lines
//! `tenant<TAB>id`; before those that a run touches stands a line `touched<TAB>dataset`.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use restow_core::{EngineError, Result};
use restow_store::repository::ObjectWriter;
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

/// Ids by tenant; the tenant is empty where there are none. About 20 to 40 bytes an id.
#[derive(Debug, Default)]
pub struct IdSet {
    by_tenant: HashMap<String, HashSet<Uuid>>,
}

impl IdSet {
    /// Whether it is in the set.
    pub fn contains(&self, tenant: &str, id: &Uuid) -> bool {
        self.by_tenant.get(tenant).is_some_and(|ids| ids.contains(id))
    }

    /// Adds an id. `false` where it was in the set already.
    pub fn insert(&mut self, tenant: &str, id: Uuid) -> bool {
        if let Some(ids) = self.by_tenant.get_mut(tenant) {
            return ids.insert(id);
        }
        self.by_tenant.insert(tenant.to_owned(), HashSet::from([id])).is_none()
    }

    /// The ids of each tenant, in any order.
    pub fn tenants(&self) -> impl Iterator<Item = (&str, &HashSet<Uuid>)> {
        self.by_tenant.iter().map(|(tenant, ids)| (tenant.as_str(), ids))
    }
}

fn line(text: &mut String, tenant: &str, id: &Uuid) {
    let _ = writeln!(text, "{tenant}\t{}", id.hyphenated());
}

/// As lines, for what a run touches of a dataset.
pub fn touched<'a>(dataset: &str, keys: impl Iterator<Item = (&'a str, &'a Uuid)>) -> String {
    let mut text = format!("{TOUCHED}{dataset}\n");
    keys.for_each(|(tenant, id)| line(&mut text, tenant, id));
    text
}

/// What a spool says that a run touched of this dataset; `None` where it says something else.
///
/// # Errors
/// A line has another form.
pub fn of_dataset(bytes: &[u8], dataset: &str) -> Result<Option<IdSet>> {
    let head = format!("{TOUCHED}{dataset}\n");
    bytes.strip_prefix(head.as_bytes()).map(from_lines).transpose()
}

/// From lines.
///
/// # Errors
/// A line has another form.
pub fn from_lines(text: &[u8]) -> Result<IdSet> {
    let wrong = || EngineError::failed("a list of ids in the run state cannot be read");
    let text = std::str::from_utf8(text).map_err(|_| wrong())?;
    let mut found = IdSet::default();
    for line in text.lines() {
        let (tenant, id) = line.split_once('\t').ok_or_else(wrong)?;
        match Uuid::try_parse(id) {
            Ok(id) => found.insert(tenant, id),
            // The line that names the dataset.
            Err(_) if line.starts_with(TOUCHED) => continue,
            Err(_) => return Err(wrong()),
        };
    }
    Ok(found)
}

/// Keeps all ids of a class or of one of its tenants as lines, page by page. What is not among them, an undo takes for the run's own.
///
/// # Errors
/// The server is away or refuses, or the lines cannot be written.
pub async fn keep_all(client: &Client, class: &str, tenant: &str, lines: &mut ObjectWriter) -> Result<()> {
    let about = |fault: Fault| fault.about(format!("{}: reading the ids of {class:?}", client.name()));
    let odd = |what: String| about(Fault::Refused(what));
    let mut after = String::new();
    loop {
        let request = SearchRequest { after: after.clone(), limit: PAGE, ..ids_of(class, tenant) };
        let reply = client.search(request).await.map_err(about)?;
        let ids =
            reply.results.iter().map(|found| id_of(found).ok_or_else(|| odd("an object without an id".to_owned())));
        let ids: Vec<String> = ids.collect::<Result<_>>()?;
        let Some(last) = ids.last() else { return Ok(()) };
        after.clone_from(last);
        let mut text = String::new();
        for id in &ids {
            let id = Uuid::try_parse(id).map_err(|_| odd(format!("an object with the id {id:?}")))?;
            line(&mut text, tenant, &id);
        }
        lines.write(text.into()).await?;
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

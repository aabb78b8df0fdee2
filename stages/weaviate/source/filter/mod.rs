//! Filters, as far as the server can save reading: which tenants and ids they leave, and, where the user trusts it, what the
//! inverted index finds. Everything found is too much rather than too little, and the filter stays above the scan.

mod ids;
mod index;
mod lookup;
mod scope;

use datafusion::logical_expr::Expr;
use restow_core::stage::Pushdown;

pub use ids::Ids;
pub use index::{Index, search};
pub use lookup::Lookups;

use super::super::columns::Content;
use super::discover::Collection;
use scope::Names;

/// Ids that are named in an explanation; more are counted.
const NAMED: usize = 3;

/// How far this collection can use a filter.
pub fn pushdown(collection: &Collection, filter: &Expr) -> Pushdown {
    if filter.is_volatile() {
        return Pushdown::No;
    }
    let filters = std::slice::from_ref(filter);
    let narrows =
        scopes_of(collection, filters).into_iter().any(|tenant| !ids_of(collection, filters, tenant).is_all());
    if narrows || index::takes(&collection.index, filter) { Pushdown::Inexact } else { Pushdown::No }
}

/// The tenants that filters may leave different ids of: all, or one that stands for all.
fn scopes_of<'a>(collection: &'a Collection, filters: &[Expr]) -> Vec<Option<&'a str>> {
    let mut scopes = collection.scopes();
    let tenant = name_of(collection, &Content::Tenant);
    let is_tenant = |name: &str| Some(name) == tenant;
    if !filters.iter().any(|filter| filter.column_refs().iter().any(|column| is_tenant(&column.name))) {
        scopes.truncate(1);
    }
    scopes
}

fn name_of<'a>(collection: &'a Collection, content: &Content) -> Option<&'a str> {
    collection.columns.iter().find(|column| column.content == *content).map(|column| column.field.name().as_str())
}

/// The ids for which the filters may hold, of a tenant or of a collection without tenants.
pub fn ids_of(collection: &Collection, filters: &[Expr], tenant: Option<&str>) -> Ids {
    let Some(id) = name_of(collection, &Content::Id) else { return Ids::all() };
    scope::ids_of(filters, Names { id, tenant: name_of(collection, &Content::Tenant) }, tenant)
}

/// What is read because of these filters, in words.
pub fn explain(collection: &Collection, filters: &[Expr]) -> Vec<String> {
    let scopes = scopes_of(collection, filters);
    let all: Vec<Ids> = scopes.iter().map(|tenant| ids_of(collection, filters, *tenant)).collect();
    let mut lines = Vec::new();
    let read: Vec<&str> =
        scopes.iter().zip(&all).filter(|(_, ids)| !ids.is_empty()).filter_map(|(name, _)| *name).collect();
    if collection.tenants.is_some() && scopes.len() > 1 && read.len() < scopes.len() {
        let names = listed(&read.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>());
        lines.push(format!("tenants {names} ({} of {})", read.len(), scopes.len()));
    }
    if let Some(most) = all.iter().filter(|ids| !ids.is_all()).max_by_key(|ids| ids.ranges().len()) {
        let some = all.iter().any(|ids| !ids.is_empty() && ids != most);
        let line = of_ids(most, all.iter().all(Ids::is_empty));
        lines
            .extend(line.map(|line| if some { format!("{line} (of some tenants; others have others)") } else { line }));
    }
    if let Some(search) = search(&collection.index, filters) {
        let few = format!("at most {} and a quarter of the objects", lookup::MOST);
        lines.push(format!("inverted index, where it finds {few}: {}", index::words(&search)));
    }
    lines
}

fn of_ids(ids: &Ids, nothing: bool) -> Option<String> {
    if ids.is_empty() {
        return nothing.then(|| "nothing: no id fits".to_owned());
    }
    let of_range = |(from, to): &(u128, u128)| {
        let text = super::ranges::text;
        if from == to { text(*from) } else { format!("{} to {}", text(*from), text(*to)) }
    };
    let ranges: Vec<String> = ids.ranges().iter().take(NAMED + 1).map(of_range).collect();
    let more = ids.ranges().len().saturating_sub(NAMED);
    let named = if more > 0 {
        format!("{} and {more} more", ranges.get(..NAMED).unwrap_or_default().join(", "))
    } else {
        ranges.join(", ")
    };
    Some(format!("ids {named}"))
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names if names.len() > NAMED => {
            format!("{} and {} more", names.get(..NAMED).unwrap_or_default().join(", "), names.len() - NAMED)
        }
        names => names.join(", "),
    }
}

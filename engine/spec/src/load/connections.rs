//! Connections: every name that a stage uses exists, and is of the stage's own kind.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Context, only_entry};
use crate::catalogue::Kind;
use crate::check::Leaf;
use crate::finding::{Finding, MOST};
use crate::suggest;
use crate::yaml::escape;

pub(super) fn check(context: &Context<'_>, leaves: &[Leaf]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut used: BTreeSet<String> = BTreeSet::new();
    for (kind, name, pointer, options) in context.components() {
        if kind == Kind::Connection || findings.len() > MOST {
            continue;
        }
        let mut pointers = Vec::new();
        named(options, &pointer, 0, &mut pointers);
        let leaves = leaves
            .iter()
            .filter(|leaf| leaf.format == "connection" && leaf.pointer.starts_with(&format!("{pointer}/")));
        pointers.extend(leaves.map(|leaf| leaf.pointer.clone()));
        pointers.sort();
        pointers.dedup();
        for place in pointers.into_iter().take(MOST) {
            let Some(connection) = context.value.pointer(&place).and_then(Value::as_str) else {
                continue;
            };
            used.insert(connection.into());
            if context.unknown.contains(&place) {
                // What it names cannot be known, so nothing can be called unused either.
                used.extend(names(context).map(str::to_owned));
                continue;
            }
            // The stage's own connection is of its kind; one deeper inside, such as that of a safety snapshot, is not.
            let own = place == format!("{pointer}/connection");
            findings.extend(one(context, connection, own.then_some((kind, name)), &place));
        }
    }
    findings.extend(unused(context, &used));
    findings
}

/// Pointers of all texts under a key `connection`.
fn named(value: &Value, pointer: &str, depth: usize, found: &mut Vec<String>) {
    let Some(map) = value.as_object().filter(|_| depth < 4) else {
        return;
    };
    for (key, inner) in map {
        let place = format!("{pointer}/{}", escape(key));
        if key == "connection" && inner.is_string() {
            found.push(place);
        } else {
            named(inner, &place, depth + 1, found);
        }
    }
}

fn names<'a>(context: &Context<'a>) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
    context.value.get("connections").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.as_str())
}

fn one(context: &Context<'_>, connection: &str, user: Option<(Kind, &str)>, pointer: &str) -> Option<Finding> {
    let place = context.document.value_place(pointer);
    let Some(found) = context.value.pointer(&format!("/connections/{}", escape(connection))) else {
        let help = suggest::help(connection, "connections", names(context)).unwrap_or_else(|| {
            format!(
                "define it: connections: {{ {connection}: {{ {}: {{ ... }} }} }}",
                user.map_or("repository", |user| user.1)
            )
        });
        return Some(Finding::new("E311", place, format!("unknown connection {connection:?}")).help(help));
    };
    let (name, _) = only_entry(found)?;
    let (kind, component) = user?;
    // A misspelt component of the connection is reported where it stands.
    context.catalogue.get(Kind::Connection, name)?;
    if name == component {
        return None;
    }
    let fitting = context.value.get("connections").and_then(Value::as_object).into_iter().flatten();
    let fitting: Vec<String> = fitting
        .filter(|(_, value)| only_entry(value).is_some_and(|(name, _)| name == component))
        .map(|(name, _)| format!("{name:?}"))
        .collect();
    let message = format!("connection {connection:?} is a {name} connection, but the {kind} is {component:?}");
    let help = if fitting.is_empty() {
        format!("define one: connections: {{ name: {{ {component}: {{ ... }} }} }}")
    } else {
        format!("{component} connections here: {}", fitting.join(", "))
    };
    Some(Finding::new("E312", place, message).help(help))
}

fn unused(context: &Context<'_>, used: &BTreeSet<String>) -> Vec<Finding> {
    names(context)
        .filter(|name| !used.contains(*name))
        .take(MOST)
        .map(|name| {
            let place = context.document.key_place(&format!("/connections/{}", escape(name)));
            Finding::new("W313", place, format!("no stage uses the connection {name:?}"))
        })
        .collect()
}

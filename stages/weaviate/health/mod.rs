//! Whether a server can do what is about to be asked of it: nodes, shards, modules, rights. Looked at before anything is
//! changed, so that whoever is refused finds everything as it was. Free disk is told by no interface: a server that runs out of
//! it makes its shards read-only, and that is seen here.

mod rights;

use std::collections::BTreeSet;

use restow_core::{EngineError, ExitClass, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::class::Class;
use super::client::{Client, Fault};
pub use rights::{May, Need, Principal, covers, principal};

/// Modules by the names that they had, and those that they have.
const RENAMED: [(&str, &str); 4] = [
    ("text2vec-palm", "text2vec-google"),
    ("multi2vec-palm", "multi2vec-google"),
    ("generative-palm", "generative-google"),
    ("text2colbert-jinaai", "text2multivec-jinaai"),
];

/// What is about to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Objects are read.
    Reading,
    /// Objects are written.
    Writing,
}

/// A node of the cluster.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    #[serde(default)]
    name: String,
    #[serde(default)]
    status: String,
    /// Unknown to servers before 1.34.
    #[serde(default)]
    operational_mode: Option<String>,
}

#[derive(Deserialize)]
struct Nodes {
    #[serde(default)]
    nodes: Option<Vec<Node>>,
}

#[derive(Deserialize)]
struct Shard {
    #[serde(default)]
    name: String,
    #[serde(default)]
    status: String,
}

/// Looks at the nodes.
///
/// # Errors
/// One of them cannot do what is wanted. What only may matter comes back as notes.
pub async fn nodes(client: &Client, purpose: Purpose) -> Result<Vec<String>> {
    let found: Nodes = match client.get("/nodes").await {
        Ok(found) => found,
        Err(Fault::Denied(_)) => {
            return Ok(vec!["the state of the nodes is not known: the key lacks the right read_nodes".to_owned()]);
        }
        Err(fault) => return Err(fault.about(format!("{}: asking for the state of the nodes", client.name()))),
    };
    let mut notes = judge(&client.name(), &found.nodes.unwrap_or_default(), purpose)?;
    notes.extend(client.left_out().iter().map(|away| format!("an address is left out: {away}")));
    Ok(notes)
}

fn judge(server: &str, nodes: &[Node], purpose: Purpose) -> Result<Vec<String>> {
    let bars = |mode: &str| match purpose {
        Purpose::Reading => mode == "WriteOnly",
        Purpose::Writing => mode != "ReadWrite",
    };
    for node in nodes {
        if let Some(mode) = node.operational_mode.as_deref().filter(|mode| !mode.is_empty() && bars(mode)) {
            let word = if purpose == Purpose::Reading { "read" } else { "written" };
            let message = format!("{server}: node {:?} is in the mode {mode}: nothing can be {word} there", node.name);
            return Err(EngineError::new(ExitClass::Refused, message).with_hint(
                "set OPERATIONAL_MODE of the server to ReadWrite, then run the same command again; nothing was changed",
            ));
        }
    }
    let ailing: Vec<String> = nodes
        .iter()
        .filter(|node| node.status != "HEALTHY")
        .map(|node| {
            format!("node {:?} is {}", node.name, if node.status.is_empty() { "of no status" } else { &node.status })
        })
        .collect();
    match (ailing.is_empty(), purpose) {
        (true, _) => Ok(Vec::new()),
        // Another node may have a copy; where none has, reading fails by itself.
        (false, Purpose::Reading) => Ok(vec![format!("{}: what only it holds cannot be read", ailing.join(", "))]),
        (false, Purpose::Writing) => Err(EngineError::transient(format!("{server}: {}", ailing.join(", "))).with_hint(
            "wait until every node is HEALTHY (GET /v1/nodes), then run the same command again; nothing was changed",
        )),
    }
}

/// Refuses classes that are about to get objects, and have shards that take none.
///
/// # Errors
/// See above, or the server cannot be asked.
pub async fn shards(client: &Client, class: &str) -> Result<Vec<String>> {
    let found: Vec<Shard> = match client.get(&format!("/schema/{class}/shards")).await {
        Ok(found) => found,
        Err(Fault::Denied(_)) => {
            return Ok(vec![format!(
                "whether {class} can be written is not known: the key lacks the right read_tenants"
            )]);
        }
        Err(fault) => return Err(fault.about(format!("{}: asking for the shards of {class:?}", client.name()))),
    };
    let closed: Vec<&str> =
        found.iter().filter(|shard| shard.status == "READONLY").map(|shard| shard.name.as_str()).collect();
    let Some(first) = closed.first() else { return Ok(Vec::new()) };
    let shown = if closed.len() > 3 { format!("{first} and {} more", closed.len() - 1) } else { closed.join(", ") };
    let message = format!("{}: collection {class:?} has shards that are READONLY: {shown}", client.name());
    Err(EngineError::new(ExitClass::Refused, message).with_hint(format!(
        "see that the server has free disk, then set them READY: PUT /v1/schema/{class}/shards/{first} with {{\"status\":\"READY\"}}; nothing was changed"
    )))
}

/// Refuses a class whose vectors the server could not make. Modules that only searches need are notes.
///
/// # Errors
/// See above.
pub fn modules(client: &Client, class: &str, definition: &Value) -> Result<Vec<String>> {
    let present = client.server().modules.clone().unwrap_or_default();
    let (needed, useful) = lacking(definition, &present);
    let mut has: Vec<&str> = present.keys().map(String::as_str).collect();
    has.sort_unstable();
    let has = if has.is_empty() { "it has none".to_owned() } else { format!("it has {}", has.join(", ")) };
    if !needed.is_empty() {
        let needed = needed.into_iter().collect::<Vec<_>>().join(", ");
        let message = format!("{}: collection {class:?} needs the module {needed}, and {has}", client.name());
        return Err(EngineError::new(ExitClass::Refused, message).with_hint(
            "add the module to ENABLE_MODULES of the server; or map the vectors to columns of their own in a transform, which leaves the vectorizer behind; nothing was changed",
        ));
    }
    let note = |module: String| {
        format!(
            "{class}: the server lacks the module {module}: searches that use it will fail until it is there ({has})"
        )
    };
    Ok(useful.into_iter().map(note).collect())
}

/// The modules that a class names and a server lacks: those without which it cannot be made, and the others.
fn lacking(definition: &Value, present: &Map<String, Value>) -> (BTreeSet<String>, BTreeSet<String>) {
    let now = |name: &str| RENAMED.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| *new).to_owned();
    let present: BTreeSet<String> = present.keys().map(|name| now(name)).collect();
    let own = definition.get("vectorizer").and_then(Value::as_str).into_iter().map(str::to_owned);
    let of_vectors = definition
        .get("vectorConfig")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|map| map.values())
        .filter_map(|config| config.get("vectorizer").and_then(Value::as_object))
        .flat_map(|vectorizer| vectorizer.keys().cloned());
    let missing = |name: &String| !matches!(name.as_str(), "" | "none") && !present.contains(&now(name));
    let needed: BTreeSet<String> = own.chain(of_vectors).filter(missing).collect();
    let configured = definition.get("moduleConfig").and_then(Value::as_object).into_iter().flat_map(|map| map.keys());
    let useful = configured.filter(|name| missing(name) && !needed.contains(*name)).cloned().collect();
    (needed, useful)
}

/// Refuses a run whose user lacks rights that it needs.
///
/// # Errors
/// See above.
pub fn rights(client: &Client, principal: &Principal, needs: &[Need], what: &str) -> Result<()> {
    let lacks = principal.lacks(needs);
    if lacks.is_empty() {
        return Ok(());
    }
    let message =
        format!("{}: user {:?} lacks rights that {what} needs: {}", client.name(), principal.name, lacks.join("; "));
    Err(EngineError::new(ExitClass::Refused, message)
        .with_hint("give a role of that user these permissions, or use another key; nothing was changed"))
}

/// What the user of the key may see of the collections that are about to be read. Lists leave out in silence what it may not.
///
/// # Errors
/// It may not see whole what it is asked for by name.
pub fn visible(
    client: &Client,
    principal: &Principal,
    classes: &[Class],
    asked: Option<&[String]>,
) -> Result<Vec<String>> {
    let mut needs = Vec::new();
    let mut notes = Vec::new();
    let name = &principal.name;
    for class in classes {
        let actions = if class.has_tenants { &["read_data", "read_tenants"][..] } else { &["read_data"][..] };
        for action in actions {
            needs.push(Need { action, class: class.name.clone() });
            if let May::Part(parts) = principal.may(action, &class.name) {
                notes.push(format!(
                    "user {name:?} has the right {action} of {} only for {}: everything else of it is left out",
                    class.name,
                    parts.join(", ")
                ));
            }
        }
    }
    rights(client, principal, &needs, "reading")?;
    let may = principal.where_may("read_collections");
    let everything = ["*".to_owned()];
    let hidden = asked.unwrap_or(&everything).iter().any(|asked| !may.iter().any(|pattern| covers(pattern, asked)));
    if hidden {
        notes.push(format!(
            "user {name:?} has the right read_collections only for {}: other collections, if there are any, are left out",
            may.join(", ")
        ));
    }
    for (action, what) in [("read_aliases", "aliases"), ("read_roles", "roles"), ("read_users", "users")] {
        if !principal.may_somewhere(action) {
            notes.push(format!("{what} are not kept: user {name:?} lacks the right {action}"));
        }
    }
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(status: &str, mode: Option<&str>) -> Node {
        Node { name: "node1".to_owned(), status: status.to_owned(), operational_mode: mode.map(str::to_owned) }
    }

    #[test]
    fn nodes_that_are_not_well() {
        let judged =
            |one: Node, purpose| judge("weaviate http://h", &[node("HEALTHY", Some("ReadWrite")), one], purpose);
        assert!(judged(node("HEALTHY", None), Purpose::Writing).expect("healthy").is_empty());
        let notes = judged(node("UNAVAILABLE", None), Purpose::Reading).expect("readable");
        assert!(notes.iter().any(|note| note.contains("node \"node1\" is UNAVAILABLE")));
        let away = judged(node("TIMEOUT", None), Purpose::Writing).expect_err("a refusal");
        assert_eq!(away.class(), ExitClass::Unreachable);
        assert!(judged(node("HEALTHY", Some("ReadOnly")), Purpose::Reading).is_ok());
        for (mode, purpose) in
            [("ReadOnly", Purpose::Writing), ("ScaleOut", Purpose::Writing), ("WriteOnly", Purpose::Reading)]
        {
            let error = judged(node("HEALTHY", Some(mode)), purpose).expect_err("a refusal");
            assert_eq!(error.class(), ExitClass::Refused);
            assert!(error.message().contains(mode), "{error}");
        }
    }

    #[test]
    fn modules_that_are_missing() {
        let present: Map<String, Value> = Map::from_iter([("text2vec-google".to_owned(), json!({}))]);
        let definition = json!({
            "vectorizer": "text2vec-palm",
            "vectorConfig": { "a": { "vectorizer": { "none": {} } }, "b": { "vectorizer": { "text2vec-openai": {} } } },
            "moduleConfig": { "text2vec-palm": {}, "text2vec-openai": {}, "generative-cohere": {} },
        });
        let (needed, useful) = lacking(&definition, &present);
        assert_eq!(needed.into_iter().collect::<Vec<_>>(), ["text2vec-openai"]);
        assert_eq!(useful.into_iter().collect::<Vec<_>>(), ["generative-cohere"]);
        let (needed, useful) = lacking(&json!({ "vectorizer": "none", "moduleConfig": null }), &present);
        assert!(needed.is_empty() && useful.is_empty());
    }
}

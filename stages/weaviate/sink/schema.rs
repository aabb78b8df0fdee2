//! Classes, tenants and aliases at the target.

use std::collections::HashSet;

use reqwest::Method;
use restow_core::stage::{Item, ItemDone, Reject};
use restow_core::{EngineError, ExitClass, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::client::{Client, Fault};
use super::super::config::{Mode, SinkOptions};
use super::fits::check_made;
use super::mapping::Mapping;

/// Tenants of one request: what the server takes for changes of their state.
const TENANTS_AT_ONCE: usize = 100;
/// Objects that one request removes.
const REMOVED_AT_ONCE: usize = 500;

/// What the survey found of one class.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Surveyed {
    /// The class as it was; none where it was absent.
    pub class: Option<Value>,
    /// Its objects, over all tenants that are active.
    pub objects: u64,
    /// Whether it has tenants that are not active: nobody can see what they hold.
    #[serde(default)]
    pub hidden: bool,
    /// Its tenants.
    #[serde(default)]
    pub tenants: Vec<String>,
    /// The objects with its ids, in the run state.
    #[serde(default)]
    pub ids: Option<String>,
}

/// The class of that name, if it is there.
pub async fn class_of(client: &Client, class: &str) -> Result<Option<Value>> {
    match client.get::<Value>(&format!("/schema/{class}")).await {
        Ok(found) => Ok(Some(found)),
        Err(Fault::Missing(_)) => Ok(None),
        Err(fault) => Err(fault.about(format!("{}: reading class {class}", client.name()))),
    }
}

/// Whether objects of a class belong to tenants.
pub fn has_tenants(class: &Value) -> bool {
    class.pointer("/multiTenancyConfig/enabled").and_then(Value::as_bool).unwrap_or(false)
}

/// Makes the class of a mapping, or brings the one that is there up to it. May have been done in part before. What the server made
/// otherwise without harm comes back as notes.
pub async fn make(
    client: &Client,
    mapping: &Mapping,
    surveyed: &Surveyed,
    options: &SinkOptions,
) -> Result<(ItemDone, Vec<String>)> {
    let about = |fault: Fault, what: &str| fault.about(format!("{}: {what} {:?}", client.name(), mapping.class));
    let mut there = class_of(client, &mapping.class).await?;
    if options.mode == Mode::Drop && there.is_some() {
        client
            .raw(Method::DELETE, &format!("/schema/{}", mapping.class), None)
            .await
            .map_err(|fault| about(fault, "removing"))?;
        there = None;
    }
    let (plain, added) = without_added_vectors(&mapping.definition);
    let existing = match there {
        None => {
            client.send(Method::POST, "/schema", &plain).await.map_err(|fault| about(fault, "creating"))?;
            present(client, &mapping.class).await?
        }
        Some(existing) => existing,
    };
    if surveyed.class.is_none() || options.mode == Mode::Drop {
        // It may have been made by an earlier attempt of this run: the survey saw nothing, and nobody else holds the claim.
        let mut made = existing;
        if let Some(added) = added {
            add_vectors(client, mapping, made, &added).await?;
            made = present(client, &mapping.class).await?;
        }
        let notes = check_made(client, mapping, &mapping.definition, &made, options)?;
        return Ok((ItemDone { done: 1, ..ItemDone::default() }, notes));
    }
    add_properties(client, mapping, &existing, mapping.definition.get("properties"), options).await
}

/// The class that this run has made or found.
async fn present(client: &Client, class: &str) -> Result<Value> {
    class_of(client, class).await?.ok_or_else(|| {
        let message =
            format!("{}: collection {class:?} is gone: somebody removed it while this run went on", client.name());
        EngineError::new(ExitClass::NotFound, message)
    })
}

/// A class with one vector of its own and named ones beside it: the server makes it only in two steps, as it once came to be.
fn without_added_vectors(definition: &Value) -> (Value, Option<Value>) {
    let mut plain = definition.clone();
    let has_own = definition.get("vectorIndexType").is_some() || definition.get("vectorIndexConfig").is_some();
    let added = plain.as_object_mut().filter(|_| has_own).and_then(|map| map.shift_remove("vectorConfig"));
    (plain, added)
}

/// Whether the server makes such a class only in two steps.
pub fn is_made_in_steps(definition: &Value) -> bool {
    without_added_vectors(definition).1.is_some()
}

async fn add_vectors(client: &Client, mapping: &Mapping, mut class: Value, added: &Value) -> Result<()> {
    if class.get("vectorConfig").is_some_and(|there| there.as_object().is_some_and(|there| !there.is_empty())) {
        return Ok(());
    }
    if let Some(map) = class.as_object_mut() {
        map.insert("vectorConfig".to_owned(), added.clone());
    }
    let sent = client.send(Method::PUT, &format!("/schema/{}", mapping.class), &class).await;
    sent.map(drop).map_err(|fault| match fault {
        Fault::Refused(reason) => {
            let version = &client.server().version;
            let message = format!(
                "{}: version {version} takes no named vectors beside the unnamed one of {:?}: {reason}",
                client.name(),
                mapping.class
            );
            EngineError::new(ExitClass::Refused, message).with_hint(
                "restore to a newer server, or give the unnamed vector a name in a transform; what was made is removed again",
            )
        }
        fault => fault.about(format!("{}: adding the named vectors of {:?}", client.name(), mapping.class)),
    })
}

/// Adds the reference properties, now that every class is there.
pub async fn make_references(
    client: &Client,
    mapping: &Mapping,
    options: &SinkOptions,
) -> Result<(ItemDone, Vec<String>)> {
    let existing = present(client, &mapping.class).await?;
    let wanted = Value::Array(mapping.references.clone());
    add_properties(client, mapping, &existing, Some(&wanted), options).await
}

/// Adds the properties that the class lacks, and looks at what became of them.
async fn add_properties(
    client: &Client,
    mapping: &Mapping,
    existing: &Value,
    wanted: Option<&Value>,
    options: &SinkOptions,
) -> Result<(ItemDone, Vec<String>)> {
    let name_of = |property: &Value| property.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let there: HashSet<String> =
        existing.get("properties").and_then(Value::as_array).into_iter().flatten().map(name_of).collect();
    let missing: Vec<&Value> = wanted
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|property| !there.contains(&name_of(property)))
        .collect();
    for property in &missing {
        let path = format!("/schema/{}/properties", mapping.class);
        client.send(Method::POST, &path, property).await.map_err(|fault| {
            fault.about(format!("{}: adding property {:?} to {:?}", client.name(), name_of(property), mapping.class))
        })?;
    }
    let done = ItemDone { done: missing.len() as u64, ..ItemDone::default() };
    if missing.is_empty() {
        return Ok((done, Vec::new()));
    }
    let made = present(client, &mapping.class).await?;
    let notes = check_made(client, mapping, &json!({ "properties": missing }), &made, options)?;
    Ok((done, notes))
}

/// Whether a tenant of this state sleeps.
pub fn is_cold(state: &str) -> bool {
    matches!(state, "COLD" | "INACTIVE")
}

/// A tenant at the target.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tenant {
    pub name: String,
    #[serde(default)]
    activity_status: String,
}

impl Tenant {
    /// Whether its objects can be read. Asking an inactive one may activate it.
    pub fn is_active(&self) -> bool {
        matches!(self.activity_status.as_str(), "HOT" | "ACTIVE" | "")
    }
}

/// The tenants of a class.
pub async fn tenants(client: &Client, class: &str) -> Result<Vec<Tenant>> {
    client
        .get(&format!("/schema/{class}/tenants"))
        .await
        .map_err(|fault| fault.about(format!("{}: reading the tenants of {class}", client.name())))
}

/// Makes the tenants that are not there, active.
pub async fn make_tenants(client: &Client, class: &str, wanted: &[String]) -> Result<u64> {
    let there: HashSet<String> = tenants(client, class).await?.into_iter().map(|tenant| tenant.name).collect();
    let missing: Vec<&String> = wanted.iter().filter(|tenant| !there.contains(*tenant)).collect();
    for part in missing.chunks(TENANTS_AT_ONCE) {
        let body: Vec<Value> = part.iter().map(|tenant| json!({ "name": tenant })).collect();
        client
            .send(Method::POST, &format!("/schema/{class}/tenants"), &Value::Array(body))
            .await
            .map_err(|fault| fault.about(format!("{}: creating tenants of {class}", client.name())))?;
    }
    Ok(missing.len() as u64)
}

/// Removes tenants, and what they hold.
pub async fn remove_tenants(client: &Client, class: &str, names: &[String]) -> Result<()> {
    for part in names.chunks(TENANTS_AT_ONCE) {
        let path = format!("/schema/{class}/tenants");
        let removed = client.send(Method::DELETE, &path, &json!(part)).await;
        removed.map_err(|fault| fault.about(format!("{}: removing tenants of {class}", client.name())))?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Aliases {
    #[serde(default)]
    aliases: Option<Vec<Alias>>,
}

#[derive(Deserialize)]
struct Alias {
    alias: String,
    class: String,
}

/// The aliases of the source that name a class of this run, as items. A class under another name gets none: its aliases go on
/// naming what they name.
pub fn alias_items(artifact: &[u8], mappings: &[Mapping]) -> Vec<Item> {
    let found: Aliases = serde_json::from_slice(artifact).unwrap_or(Aliases { aliases: None });
    let items = found.aliases.unwrap_or_default().into_iter().filter_map(|alias| {
        let mapping = mappings.iter().find(|mapping| mapping.dataset == alias.class && mapping.class == alias.class)?;
        let payload = json!({ "alias": alias.alias, "class": mapping.class });
        Some(Item { dataset: mapping.dataset.clone(), id: alias.alias, payload })
    });
    items.collect()
}

/// Makes an alias. One that names something else already stays, and is reported.
pub async fn make_alias(client: &Client, item: &Item) -> Result<ItemDone> {
    let class = item.payload.get("class").and_then(Value::as_str).unwrap_or_default();
    let reject = |reason: String| {
        let reject = Reject { place: format!("alias {}", item.id), reason, row: Some(item.payload.to_string()) };
        Ok(ItemDone { rejects: vec![reject], ..ItemDone::default() })
    };
    if !client.server().is_at_least(1, 32) {
        return reject(format!("version {} of the server has no aliases", client.server().version));
    }
    match client.get::<Alias>(&format!("/aliases/{}", item.id)).await {
        Ok(there) if there.class == class => return Ok(ItemDone { done: 1, ..ItemDone::default() }),
        Ok(there) => return reject(format!("it is there already, and names {:?}", there.class)),
        Err(Fault::Missing(_)) => {}
        Err(fault) => return Err(fault.about(format!("{}: reading alias {:?}", client.name(), item.id))),
    }
    match client.send(Method::POST, "/aliases", &item.payload).await {
        Ok(_) => Ok(ItemDone { done: 1, ..ItemDone::default() }),
        Err(Fault::Refused(reason)) => reject(reason),
        Err(fault) => Err(fault.about(format!("{}: creating alias {:?}", client.name(), item.id))),
    }
}

/// Roles that every server has.
const BUILT_IN: [&str; 4] = ["admin", "viewer", "root", "read-only"];

/// The roles of the source as items.
pub fn role_items(artifact: &[u8]) -> Vec<Item> {
    let roles: Vec<Value> = serde_json::from_slice(artifact).unwrap_or_default();
    let items = roles.into_iter().filter_map(|role| {
        let name = role.get("name")?.as_str()?.to_owned();
        (!BUILT_IN.contains(&name.as_str())).then(|| Item { dataset: "server".to_owned(), id: name, payload: role })
    });
    items.collect()
}

/// Makes a role. One that is there stays as it is; where it is another, that is reported.
pub async fn make_role(client: &Client, item: &Item) -> Result<ItemDone> {
    let about = |fault: Fault| fault.about(format!("{}: role {:?}", client.name(), item.id));
    let refused = |reason: String| {
        let reject = Reject { place: format!("role {}", item.id), reason, row: Some(item.payload.to_string()) };
        Ok(ItemDone { rejects: vec![reject], ..ItemDone::default() })
    };
    match client.get::<Value>(&format!("/authz/roles/{}", item.id)).await {
        Ok(there) if permissions(&there) == permissions(&item.payload) => {
            return Ok(ItemDone { done: 1, ..ItemDone::default() });
        }
        Ok(_) => return refused("it is there already, with other permissions".to_owned()),
        Err(Fault::Missing(_)) => {}
        Err(Fault::Refused(reason)) => return refused(reason),
        Err(fault) => return Err(about(fault)),
    }
    match client.send(Method::POST, "/authz/roles", &item.payload).await {
        Ok(_) => Ok(ItemDone { done: 1, ..ItemDone::default() }),
        Err(Fault::Refused(reason) | Fault::Missing(reason)) => refused(reason),
        Err(fault) => Err(about(fault)),
    }
}

/// The permissions of a role in an order of their own: the server gives them in any.
fn permissions(role: &Value) -> Vec<String> {
    let list = role.get("permissions").and_then(Value::as_array);
    let mut texts: Vec<String> = list.into_iter().flatten().map(Value::to_string).collect();
    texts.sort_unstable();
    texts
}

/// Removes objects by their ids, those of one tenant.
pub async fn remove(client: &Client, class: &str, tenant: &str, ids: &[uuid::Uuid]) -> Result<()> {
    let scope = if tenant.is_empty() { String::new() } else { format!("?tenant={tenant}") };
    let path = format!("/batch/objects{scope}");
    for part in ids.chunks(REMOVED_AT_ONCE) {
        let values: Vec<String> = part.iter().map(|id| id.hyphenated().to_string()).collect();
        let body = json!({
            "match": { "class": class, "where": { "operator": "ContainsAny", "path": ["id"], "valueTextArray": values } },
            "output": "minimal",
        });
        client
            .send(Method::DELETE, &path, &body)
            .await
            .map_err(|fault| fault.about(format!("{}: removing objects of {class:?}", client.name())))?;
    }
    Ok(())
}

//! What a server has: collections, tenants, the length of their vectors, and everything that is kept verbatim.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::{try_join, try_join_all};
use futures::{StreamExt, TryStreamExt, stream};
use globset::{GlobBuilder, GlobMatcher};
use restow_core::stage::{Artifact, Dataset};
use restow_core::{EngineError, ExitClass, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::super::class::Class;
use super::super::client::{Client, Fault};
use super::super::columns::{Column, Shape, columns_of, schema_of};
use super::super::config::{self, ColdTenants, Reader, SourceOptions, VectorLengths};
use super::super::health::{self, Principal, Purpose};
use super::super::lengths::{self, Lengths};
use super::filter::Index;
use super::pages::PageSize;

/// Objects that are looked at for the length of their vectors, in each tenant.
const SAMPLE: u32 = 100;
/// Tenants that are looked at at once.
const LOOKS_AT_ONCE: usize = 8;
/// What the server keeps beside collections, by the name of its artifact. Older servers lack some, and a key may lack the right.
const OF_SERVER: [(&str, &str); 4] =
    [("meta.json", "/meta"), ("aliases.json", "/aliases"), ("roles.json", "/authz/roles"), ("users.json", "/users/db")];

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// The collections to read.
    pub collections: Vec<Collection>,
    /// Definitions, verbatim.
    pub artifacts: Vec<Artifact>,
    /// Tenants left out, as `Collection/tenant`.
    pub skipped: Vec<String>,
    /// What may be missing of the whole, and why.
    pub notes: Vec<String>,
    /// Changes where the server or a collection of the run is another.
    pub fingerprint: String,
}

/// One collection to read.
#[derive(Debug, Clone)]
pub struct Collection {
    /// As the server describes it.
    pub class: Class,
    /// The tenants to read that are active; `None` where it has none at all.
    pub tenants: Option<Vec<String>>,
    /// The tenants to read that are not active: activated first, unless an export has them.
    pub inactive: Vec<String>,
    /// All its columns.
    pub columns: Vec<Column>,
    /// As a dataset.
    pub dataset: Dataset,
    /// How many objects each scope had that could be looked at.
    counts: HashMap<Option<String>, u64>,
    /// How large its pages are.
    pub page: Arc<PageSize>,
    /// What of its inverted index filters may use: nothing, unless the user trusts it.
    pub index: Index,
}

impl Collection {
    /// Whether a tenant is read.
    pub fn wants(&self, tenant: &str) -> bool {
        self.tenants.as_ref().is_none_or(|tenants| tenants.iter().chain(&self.inactive).any(|name| name == tenant))
    }

    /// How many objects a scope had when the server was looked at; `None` for tenants that were not active then.
    pub fn count(&self, tenant: Option<&str>) -> Option<u64> {
        self.counts.get(&tenant.map(str::to_owned)).copied()
    }

    /// What is read by itself: each tenant, or the whole collection.
    pub fn scopes(&self) -> Vec<Option<&str>> {
        match &self.tenants {
            None => vec![None],
            Some(tenants) => tenants.iter().chain(&self.inactive).map(|tenant| Some(tenant.as_str())).collect(),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Schema {
    #[serde(default)]
    classes: Option<Vec<Box<RawValue>>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tenant {
    name: String,
    #[serde(default)]
    activity_status: String,
}

/// Looks at a server.
///
/// # Errors
/// It cannot be reached, has nothing that was asked for, or something that could not be kept.
pub async fn discover(client: &Client, options: &SourceOptions) -> Result<Found> {
    // A server is slow in telling its roles: meanwhile it is asked for the rest.
    let (mut found, artifacts) = try_join(with_collections(client, options), of_server(client)).await?;
    found.artifacts.splice(0..0, artifacts);
    Ok(found)
}

/// What was found but for what the server keeps beside collections.
async fn with_collections(client: &Client, options: &SourceOptions) -> Result<Found> {
    let schema: Schema =
        client.get("/schema").await.map_err(|fault| fault.about(about(client, "reading the schema")))?;
    let (classes, notes) = looked_at(client, schema, options).await?;
    let mut artifacts = Vec::new();
    let (mut collections, mut skipped, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    let tenant_globs = options.tenants.as_deref().map(matchers).transpose()?;
    let mut hasher = Sha256::new();
    for class in classes {
        hasher.update(class.text.get().as_bytes());
        artifacts.push(artifact(&class.name, "class.json", class.text.get().as_bytes().to_vec()));
        let tenants = if class.has_tenants {
            let all = tenants_of(client, &class.name).await?;
            let asked = |tenant: &&Tenant| tenant_globs.as_ref().is_none_or(|globs| matches(globs, &tenant.name));
            let (active, cold): (Vec<&Tenant>, Vec<&Tenant>) =
                all.iter().filter(asked).partition(|tenant| tenant.is_active());
            let shown = |tenant: &Tenant| format!("{}/{} ({})", class.name, tenant.name, tenant.activity_status);
            let mut to_activate = Vec::new();
            for tenant in cold {
                match options.cold_tenants {
                    ColdTenants::Skip => skipped.push(shown(tenant)),
                    // Exports have them as they are.
                    ColdTenants::Refuse if tenant.is_cold() && options.reader != Reader::Scan => {
                        to_activate.push(tenant.name.clone());
                    }
                    ColdTenants::Activate if tenant.is_cold() => to_activate.push(tenant.name.clone()),
                    ColdTenants::Refuse | ColdTenants::Activate => refused.push(shown(tenant)),
                }
            }
            let read: Vec<&Tenant> = all
                .iter()
                .filter(asked)
                .filter(|tenant| tenant.is_active() || to_activate.contains(&tenant.name))
                .collect();
            let text = serde_json::to_vec(&read).map_err(|error| EngineError::failed(format!("tenants: {error}")))?;
            artifacts.push(artifact(&class.name, "tenants.json", text));
            Some((active.into_iter().map(|tenant| tenant.name.clone()).collect::<Vec<_>>(), to_activate))
        } else {
            None
        };
        let varying = options.vector_lengths == VectorLengths::Varying;
        collections.push(collection(client, class, tenants, varying).await?);
    }
    if !refused.is_empty() {
        let message = format!("{}: inactive tenants cannot be read: {}", client.name(), refused.join(", "));
        let hint = match options.cold_tenants {
            ColdTenants::Activate => {
                "offloaded tenants cannot be activated from here: load them, or set `cold_tenants: skip` to leave them out; nothing was read"
            }
            _ => {
                "set `cold_tenants: activate` to activate them while they are read, or `skip` to leave them out; nothing was read"
            }
        };
        return Err(EngineError::new(ExitClass::Refused, message).with_hint(hint));
    }
    let fingerprint = format!("weaviate {} {:x}", client.address(), HexOf(hasher.finalize().as_slice()));
    Ok(Found { collections, artifacts, skipped, notes, fingerprint })
}

/// The classes that the options name, once the server is well enough and the key may see them whole.
async fn looked_at(client: &Client, schema: Schema, options: &SourceOptions) -> Result<(Vec<Class>, Vec<String>)> {
    let mut notes = health::nodes(client, Purpose::Reading).await?;
    let any = options.collections.iter().flatten().find(|name| config::is_class_name(name));
    let principal = health::principal(client, any.map_or("Restow", String::as_str)).await;
    let principal = principal.map_err(|fault| fault.about(about(client, "asking what the key may do")))?;
    if let Some(principal) = principal.as_ref().filter(|principal| !principal.may_somewhere("read_collections")) {
        let message = format!(
            "{}: user {:?} may see no collection: it lacks the right read_collections",
            client.name(),
            principal.name
        );
        return Err(EngineError::new(ExitClass::Refused, message)
            .with_hint("give a role of that user read_collections, read_data and read_tenants, or use another key; nothing was read"));
    }
    let classes = wanted(client, schema, options, principal.as_ref())?;
    if let Some(principal) = &principal {
        notes.extend(health::visible(client, principal, &classes, options.collections.as_deref())?);
    }
    Ok((classes, notes))
}

struct HexOf<'a>(&'a [u8]);

impl std::fmt::LowerHex for HexOf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Tenant {
    fn is_active(&self) -> bool {
        matches!(self.activity_status.as_str(), "HOT" | "ACTIVE" | "")
    }

    fn is_cold(&self) -> bool {
        matches!(self.activity_status.as_str(), "COLD" | "INACTIVE")
    }
}

/// The classes that the options name.
fn wanted(
    client: &Client,
    schema: Schema,
    options: &SourceOptions,
    principal: Option<&Principal>,
) -> Result<Vec<Class>> {
    let include = options.collections.as_deref().map(matchers).transpose()?;
    let exclude = matchers(&options.exclude)?;
    let (mut classes, mut names) = (Vec::new(), Vec::new());
    for text in schema.classes.unwrap_or_default() {
        let class = Class::parse(text).map_err(|what| EngineError::failed(format!("{}: {what}", client.name())))?;
        let asked = include.as_ref().is_none_or(|globs| matches(globs, &class.name)) && !matches(&exclude, &class.name);
        names.push(class.name.clone());
        if asked {
            classes.push(class);
        }
    }
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    // A name without signs is one collection that somebody counts on.
    let plain = options.collections.iter().flatten().filter(|name| !name.contains(['*', '?', '[', '{']));
    let missing: Vec<&str> = plain.filter(|name| !names.contains(name)).map(String::as_str).collect();
    if !missing.is_empty() || classes.is_empty() {
        let what = if missing.is_empty() {
            "no collection that was asked for".to_owned()
        } else {
            format!("no collection {}", missing.join(", "))
        };
        let has =
            if names.is_empty() { "it has none at all".to_owned() } else { format!("it has {}", names.join(", ")) };
        let seen = principal.map_or_else(String::new, |principal| {
            let may = principal.where_may("read_collections").join(", ");
            format!("; user {:?} has the right read_collections only for {may}", principal.name)
        });
        return Err(EngineError::new(ExitClass::NotFound, format!("{} has {what}", client.name()))
            .with_hint(format!("{has}{seen}")));
    }
    Ok(classes)
}

fn matchers(globs: &[String]) -> Result<Vec<GlobMatcher>> {
    let built = globs.iter().map(|glob| {
        let built = GlobBuilder::new(glob).literal_separator(false).build();
        built.map(|glob| glob.compile_matcher()).map_err(|error| EngineError::usage(format!("{glob:?}: {error}")))
    });
    built.collect()
}

fn matches(globs: &[GlobMatcher], name: &str) -> bool {
    globs.iter().any(|glob| glob.is_match(name))
}

fn artifact(scope: &str, name: &str, bytes: Vec<u8>) -> Artifact {
    Artifact { scope: scope.to_owned(), name: name.to_owned(), bytes }
}

fn about(client: &Client, what: &str) -> String {
    format!("{}: {what}", client.name())
}

/// What the server keeps beside collections, as far as it has it and hands it over.
async fn of_server(client: &Client) -> Result<Vec<Artifact>> {
    let asked = OF_SERVER.map(|(name, path)| async move {
        match client.raw(reqwest::Method::GET, path, None).await {
            Ok(bytes) => Ok(Some(artifact("server", name, bytes.to_vec()))),
            // Not in this version, not switched on, or not for this key.
            Err(Fault::Missing(_) | Fault::Denied(_) | Fault::Refused(_)) => Ok(None),
            Err(fault) => Err(fault.about(about(client, &format!("reading {path}")))),
        }
    });
    Ok(try_join_all(asked).await?.into_iter().flatten().collect())
}

async fn tenants_of(client: &Client, class: &str) -> Result<Vec<Tenant>> {
    let path = format!("/schema/{class}/tenants");
    let failed = |fault: Fault| fault.about(about(client, &format!("reading the tenants of {class}")));
    let text = client.raw(reqwest::Method::GET, &path, None).await.map_err(failed)?;
    let mut tenants: Vec<Tenant> =
        serde_json::from_slice(&text).map_err(|error| failed(Fault::Refused(format!("unexpected answer: {error}"))))?;
    tenants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tenants)
}

/// Counts the objects, and finds the length of the vectors.
async fn collection(
    client: &Client,
    class: Class,
    tenants: Option<(Vec<String>, Vec<String>)>,
    varying: bool,
) -> Result<Collection> {
    let (tenants, inactive) = match tenants {
        None => (None, Vec::new()),
        Some((active, inactive)) => (Some(active), inactive),
    };
    let scopes: Vec<Option<&str>> = match &tenants {
        None => vec![None],
        Some(tenants) => tenants.iter().map(|tenant| Some(tenant.as_str())).collect(),
    };
    let looks = scopes.iter().map(|scope| look(client, &class, *scope)).collect::<Vec<_>>();
    let looks: Vec<(u64, Lengths)> = stream::iter(looks).buffered(LOOKS_AT_ONCE).try_collect().await?;
    let (mut lengths, mut counts) = (Lengths::new(), HashMap::new());
    for (scope, (count, found)) in scopes.iter().zip(looks) {
        counts.insert(scope.map(str::to_owned), count);
        lengths::merge(&mut lengths, found);
    }
    let rows = counts.values().sum();
    // Each tenant has an index, and so a length, of its own: those that nobody can look at may have another.
    let may_differ = varying || !inactive.is_empty();
    let shapes: Vec<Shape> = (0..class.vectors.len())
        .map(|index| match lengths.get(&index).map(Vec::as_slice) {
            Some([length]) if !may_differ => Shape::Fixed(*length),
            _ => Shape::Varying,
        })
        .collect();
    let columns = columns_of(&class, &shapes);
    let (schema, roles) = schema_of(&columns);
    let dataset = Dataset { name: class.name.clone(), schema, roles, rows: Some(rows), bytes: None };
    Ok(Collection { class, tenants, inactive, columns, dataset, counts, page: Arc::default(), index: Index::default() })
}

/// The number of objects of a class or of one of its tenants, and the lengths of its first vectors.
async fn look(client: &Client, class: &Class, tenant: Option<&str>) -> Result<(u64, Lengths)> {
    let failed = |fault: Fault| fault.about(about(client, &format!("counting {}", class.name)));
    let count = client.count(&class.name, tenant).await.map_err(failed)?;
    let mut lengths = Lengths::new();
    lengths::of_first(client, &class.name, &class.vectors, tenant, SAMPLE, &mut lengths).await?;
    Ok((count, lengths))
}

//! A server as a target: what is there is surveyed first; then classes, tenants, objects, references, aliases and the states of
//! tenants, each phase over all datasets before the next.

mod convert;
mod definition;
mod digest;
mod fits;
mod health;
mod ids;
mod kinds;
mod mapping;
mod phases;
mod references;
mod schema;
mod sleep;
mod undo;
mod verify;
mod wire;
mod write;
mod writer;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use restow_core::stage::{
    ByteStages, CommitReport, CommitRequest, Committed, Database, Incoming, Receipt, Sink, SinkContext, SinkFactory,
    SplitTarget, SplitWriter, Work,
};
use restow_core::{EngineError, Result};
use restow_spec::pipeline::Component;
use serde_json::Value;
use uuid::Uuid;

use super::client::Client;
use super::config::{self, Conflicts, SinkOptions};
pub(super) use convert::{Columns, Datum, Object};
use digest::Canon;
use ids::IdSet;
pub(super) use kinds::{kind_of, vector_kind, vector_name};
use mapping::mappings;
pub(super) use mapping::{Mapping, Use};
use schema::{Surveyed, class_of};
use writer::{Shared, Writer};

/// Opens a server.
pub(super) struct Factory;

#[async_trait]
impl SinkFactory for Factory {
    async fn open(&self, component: &Component, _bytes: &ByteStages, context: &SinkContext) -> Result<Arc<dyn Sink>> {
        let options: SinkOptions = config::options(component)?;
        let connection = config::connection(options.connection.as_deref(), options.url.as_deref(), &context.open)?;
        let client = Client::connect(&connection, &context.open).await?;
        Ok(Arc::new(Target { client, options, component: component.clone(), prepared: Mutex::default() }))
    }
}

/// An opened server.
#[derive(Debug)]
struct Target {
    client: Client,
    options: SinkOptions,
    component: Component,
    /// What a run has made ready; none before.
    prepared: Mutex<Option<Arc<Prepared>>>,
}

/// What the writers of a run share.
#[derive(Debug)]
struct Prepared {
    work: Arc<Work>,
    mappings: Vec<Mapping>,
    /// The ids that were there before, by dataset.
    present: BTreeMap<String, Arc<IdSet>>,
    /// By what objects will be compared, by dataset, where they will.
    canons: BTreeMap<String, Arc<Canon>>,
}

impl Target {
    fn prepared(&self) -> Result<Arc<Prepared>> {
        let prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).clone();
        prepared.ok_or_else(|| EngineError::failed("the sink was not prepared"))
    }

    fn mappings(&self, incoming: &Incoming) -> Result<Vec<Mapping>> {
        mappings(incoming, &self.options.rename)
    }

    /// What the survey of a dataset found.
    fn surveyed(work: &Work, dataset: &str) -> Result<Surveyed> {
        let receipt = work.receipt(phases::SURVEY.name, dataset, dataset);
        let value = receipt.map(|receipt| receipt.value).unwrap_or_default();
        serde_json::from_value(value).map_err(|error| {
            EngineError::failed(format!("the survey of {dataset:?} in the run state cannot be read: {error}"))
        })
    }
}

#[async_trait]
impl Sink for Target {
    fn describe(&self) -> String {
        format!("{} version {}", self.client.name(), self.client.server().version)
    }

    fn fingerprint(&self) -> String {
        format!("weaviate {}", self.client.address())
    }

    fn check(&self, incoming: &Incoming) -> Result<()> {
        self.mappings(incoming).map(drop)
    }

    fn database(&self) -> Option<&dyn Database> {
        Some(self)
    }

    async fn forecast(&self, incoming: &Incoming) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for note in self.healthy(incoming).await? {
            lines.push(format!("note: {note}"));
        }
        for mapping in self.mappings(incoming)? {
            let existing = class_of(&self.client, &mapping.class).await?;
            let (what, notes) = match &existing {
                None => ("is made", self.fits(&mapping, None, 0).await?),
                Some(existing) => {
                    let (objects, _) = phases::objects_of(&self.client, existing, &mapping.class).await?;
                    let notes = self.fits(&mapping, Some(existing), objects).await?;
                    match self.options.mode {
                        config::Mode::Drop => ("is removed and made anew", notes),
                        _ => ("is there, and gets the objects", notes),
                    }
                }
            };
            lines.push(format!("collection {} {what}", mapping.class));
            lines.extend(properties_of(&mapping));
            lines.extend(mapping.notes.iter().chain(&notes).map(|note| format!("  note: {note}")));
        }
        Ok(lines)
    }

    async fn prepare(&self, work: &Arc<Work>) -> Result<()> {
        let mappings = self.mappings(&work.incoming)?;
        let (mut present, mut canons) = (BTreeMap::new(), BTreeMap::new());
        for mapping in &mappings {
            if work.verifies_rows() {
                canons.insert(mapping.dataset.clone(), Arc::new(self.canon(mapping, &work.incoming).await?));
            }
            let surveyed = Self::surveyed(work, &mapping.dataset)?;
            let ids = match &surveyed.ids {
                Some(name) if self.options.mode == config::Mode::Append => ids::from_lines(&work.spooled(name).await?)?,
                _ => IdSet::default(),
            };
            present.insert(mapping.dataset.clone(), Arc::new(ids));
        }
        let prepared = Prepared { work: Arc::clone(work), mappings, present, canons };
        *self.prepared.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(prepared));
        Ok(())
    }

    async fn begin(&self, target: SplitTarget) -> Result<Box<dyn SplitWriter>> {
        let prepared = self.prepared()?;
        let mapping = prepared.mappings.iter().find(|mapping| mapping.dataset == target.dataset);
        let mapping = mapping
            .cloned()
            .ok_or_else(|| EngineError::failed(format!("dataset {:?} was not prepared", target.dataset)))?;
        let present = prepared.present.get(&target.dataset).cloned().unwrap_or_default();
        let batch_bytes = usize::try_from(self.options.batch_bytes.bytes())
            .unwrap_or(usize::MAX)
            .min(self.client.message_limit() / 2);
        let shared = Shared {
            client: self.client.fenced(prepared.work.fence()),
            work: Arc::clone(&prepared.work),
            mapping,
            present,
            canon: prepared.canons.get(&target.dataset).cloned(),
            conflicts: self.options.conflicts,
            batch_bytes,
        };
        Ok(Box::new(Writer::new(shared)))
    }

    /// Every id that was written is asked for again, but of tenants that this run has put to sleep already: those were counted before.
    async fn prove(&self, receipt: &Receipt) -> Result<bool> {
        let prepared = self.prepared()?;
        let Some(mapping) = prepared.mappings.iter().find(|mapping| mapping.dataset == receipt.dataset) else {
            return Ok(false);
        };
        let mut by_tenant: BTreeMap<String, Vec<Uuid>> = BTreeMap::new();
        for name in writer::spools_of(receipt)?.ids {
            for (tenant, ids) in ids::from_lines(&prepared.work.spooled(&name).await?)?.tenants() {
                by_tenant.entry(tenant.to_owned()).or_default().extend(ids);
            }
        }
        let asleep = sleep::asleep(&self.client, mapping, &prepared.work).await?;
        for (tenant, ids) in by_tenant.into_iter().filter(|(tenant, _)| !asleep.contains(tenant)) {
            let found = ids::there(&self.client, &mapping.class, &tenant, &ids).await;
            let found = found.map_err(|fault| {
                fault.about(format!("{}: proving what was written to {:?}", self.client.name(), mapping.class))
            })?;
            // The rows that the target refused or left out are among the ids too.
            if (found as u64) < receipt.counts.written.min(ids.len() as u64) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn commit(&self, request: CommitRequest) -> Result<Committed> {
        let prepared = self.prepared()?;
        let written: u64 =
            request.datasets.iter().flat_map(|dataset| &dataset.receipts).map(|receipt| receipt.counts.written).sum();
        let classes: Vec<&str> = prepared.mappings.iter().map(|mapping| mapping.class.as_str()).collect();
        let report = CommitReport {
            made: format!("{written} objects in {} of {}", classes.join(", "), self.client.name()),
            next: None,
            stored_bytes: None,
        };
        Ok(Committed { snapshot: None, report })
    }
}

/// The properties that a dataset becomes, a line each.
fn properties_of(mapping: &Mapping) -> Vec<String> {
    let properties = mapping.definition.get("properties").and_then(Value::as_array);
    let lines = properties.into_iter().flatten().chain(&mapping.references).map(|property| {
        let name = property.get("name").and_then(Value::as_str).unwrap_or_default();
        let types = property.get("dataType").and_then(Value::as_array).into_iter().flatten();
        let types: Vec<&str> = types.filter_map(Value::as_str).collect();
        format!("  {name}: {}", types.join(" or "))
    });
    lines.collect()
}

impl Conflicts {
    /// Whether objects that are there may change.
    fn endangers(self) -> bool {
        matches!(self, Self::Overwrite | Self::Merge)
    }
}

//! The phases before and after the objects.

use async_trait::async_trait;
use restow_core::stage::{Database, Item, ItemDone, Phase, Undone, Work};
use restow_core::{EngineError, ExitClass, Result};
use restow_spec::catalogue::Kind;
use restow_spec::pipeline::Component;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::client::{Client, Fault};
use super::super::config::{Conflicts, Mode, NAME, Safety};
use super::mapping::Mapping;
use super::schema::{self, Surveyed, class_of, has_tenants};
use super::writer::spools_of;
use super::{Target, ids, references, sleep};

pub const SURVEY: Phase = Phase { name: "survey", at_once: false };
/// The item of the survey that looks at the server and not at a dataset. A dataset's item is called as the dataset.
const SERVER: &str = "server";
const HEALTH: &str = "health";
const CLASSES: Phase = Phase { name: "collections", at_once: false };
const REFERENCE_PROPERTIES: Phase = Phase { name: "reference properties", at_once: false };
const TENANTS: Phase = Phase { name: "tenants", at_once: false };
pub const REFERENCES: Phase = Phase { name: "references", at_once: true };
const COUNTS: Phase = Phase { name: "counts", at_once: false };
/// Before anything names what was written, and before tenants sleep again.
const VERIFY: Phase = Phase { name: "verification", at_once: true };
const ALIASES: Phase = Phase { name: "aliases", at_once: false };
const ROLES: Phase = Phase { name: "roles", at_once: false };
const STATES: Phase = Phase { name: "tenant states", at_once: false };

/// Counts the objects of a class as it is, and says whether it has tenants that are inactive and cannot be counted.
pub async fn objects_of(client: &Client, existing: &Value, class: &str) -> Result<(u64, bool)> {
    let about = |fault: Fault| fault.about(format!("{}: counting {class:?}", client.name()));
    if !has_tenants(existing) {
        return Ok((client.count(class, None).await.map_err(about)?, false));
    }
    let (mut objects, mut hidden) = (0, false);
    for tenant in schema::tenants(client, class).await? {
        if tenant.is_active() {
            objects += client.count(class, Some(&tenant.name)).await.map_err(about)?;
        } else {
            hidden = true;
        }
    }
    Ok((objects, hidden))
}

impl Target {
    pub(super) fn mapping_of(&self, work: &Work, dataset: &str) -> Result<Mapping> {
        let mappings = self.mappings(&work.incoming)?;
        mappings
            .into_iter()
            .find(|mapping| mapping.dataset == dataset)
            .ok_or_else(|| EngineError::failed(format!("there is no dataset {dataset:?}")))
    }

    /// Looks at what is there, and refuses what cannot be done, before anything is changed.
    async fn survey(&self, mapping: &Mapping, work: &Work) -> Result<ItemDone> {
        let Some(existing) = class_of(&self.client, &mapping.class).await? else {
            self.tell(work, self.fits(mapping, None, 0).await?);
            return done(&Surveyed::default());
        };
        let (objects, hidden) = objects_of(&self.client, &existing, &mapping.class).await?;
        self.tell(work, self.fits(mapping, Some(&existing), objects).await?);
        let tenants =
            if has_tenants(&existing) { schema::tenants(&self.client, &mapping.class).await? } else { Vec::new() };
        let ids = if self.options.mode == Mode::Append && objects > 0 {
            let mut lines = work.state.spool_writer(&work.run)?;
            let active = tenants.iter().filter(|tenant| tenant.is_active()).map(|tenant| tenant.name.clone());
            let scopes: Vec<String> = if mapping.has_tenants { active.collect() } else { vec![String::new()] };
            for tenant in &scopes {
                ids::keep_all(&self.client, &mapping.class, tenant, &mut lines).await?;
            }
            Some(lines.finish().await?.path)
        } else {
            None
        };
        let tenants = tenants.into_iter().map(|tenant| tenant.name).collect();
        done(&Surveyed { class: Some(existing), objects, hidden, tenants, ids })
    }

    /// The objects of the class now are those of before and those that the receipts name as new.
    async fn counts(&self, mapping: &Mapping, work: &Work) -> Result<ItemDone> {
        let surveyed = Self::surveyed(work, &mapping.dataset)?;
        let before = if self.options.mode == Mode::Append { surveyed.objects } else { 0 };
        let mut new = 0;
        for receipt in work.rows().iter().filter(|receipt| receipt.dataset == mapping.dataset) {
            new += spools_of(receipt)?.new;
        }
        let existing = class_of(&self.client, &mapping.class).await?.unwrap_or_default();
        let (now, _) = objects_of(&self.client, &existing, &mapping.class).await?;
        if now == before + new {
            return Ok(ItemDone { done: now, value: json!({ "before": before, "new": new }), ..ItemDone::default() });
        }
        let message = format!(
            "counts do not meet: {:?} had {before} objects, {new} were added, and now it has {now}",
            mapping.class
        );
        Err(EngineError::new(ExitClass::Damaged, message)
            .with_hint("somebody else writes to it, or an id came in several splits; the source is untouched; run with --fresh to take this run back"))
    }

    /// One item for each split that has references.
    fn reference_items(work: &Work) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        for receipt in work.rows() {
            if let Some(name) = spools_of(&receipt)?.references {
                // A split that was written again has lost its references, and another spool.
                let digest: String =
                    Sha256::digest(name.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
                items.push(Item {
                    dataset: receipt.dataset.clone(),
                    id: format!("{}-{digest}", receipt.split),
                    payload: json!(name),
                });
            }
        }
        Ok(items)
    }

    async fn references(&self, item: &Item, mapping: &Mapping, work: &Work) -> Result<ItemDone> {
        let first = work.mark(&format!("references-{}-{}", item.dataset, item.id)).await?;
        let lines = work.spooled(item.payload.as_str().unwrap_or_default()).await?;
        let renames =
            self.mappings(&work.incoming)?.into_iter().map(|mapping| (mapping.dataset, mapping.class)).collect();
        // Objects that were merged into had references before.
        let reset = !first || self.options.conflicts == Conflicts::Merge;
        references::write(&self.client.fenced(work.fence()), &mapping.class, &lines, &renames, reset).await
    }
}

fn done(surveyed: &Surveyed) -> Result<ItemDone> {
    let value = serde_json::to_value(surveyed).map_err(|error| EngineError::failed(format!("survey: {error}")))?;
    Ok(ItemDone { value, ..ItemDone::default() })
}

/// One item a dataset.
fn each(work: &Work) -> Vec<Item> {
    let items = work.incoming.datasets.iter().map(|dataset| Item {
        dataset: dataset.name.clone(),
        id: dataset.name.clone(),
        payload: Value::Null,
    });
    items.collect()
}

#[async_trait]
impl Database for Target {
    fn before(&self) -> &'static [Phase] {
        &[SURVEY, CLASSES, REFERENCE_PROPERTIES, TENANTS]
    }

    fn after(&self) -> &'static [Phase] {
        &[REFERENCES, COUNTS, VERIFY, ALIASES, ROLES, STATES]
    }

    async fn items(&self, phase: &str, work: &Work) -> Result<Vec<Item>> {
        if phase == REFERENCES.name {
            return Self::reference_items(work);
        }
        if phase == VERIFY.name {
            return if work.verifies_rows() { Self::verify_items(work) } else { Ok(Vec::new()) };
        }
        if phase == ALIASES.name {
            let Some(artifact) = work.incoming.artifact("server", "aliases.json") else { return Ok(Vec::new()) };
            return Ok(schema::alias_items(&artifact.bytes, &self.mappings(&work.incoming)?));
        }
        if phase == ROLES.name {
            let artifact = work.incoming.artifact("server", "roles.json").filter(|_| self.options.roles);
            return Ok(artifact.map(|artifact| schema::role_items(&artifact.bytes)).unwrap_or_default());
        }
        if phase == COUNTS.name {
            // A dataset that failed has no receipts, and its count says nothing.
            let written: Vec<String> = work.rows().into_iter().map(|receipt| receipt.dataset).collect();
            return Ok(each(work).into_iter().filter(|item| written.contains(&item.dataset)).collect());
        }
        let mut items = each(work);
        if phase == SURVEY.name {
            items.insert(0, Item { dataset: SERVER.to_owned(), id: HEALTH.to_owned(), payload: Value::Null });
        }
        Ok(items)
    }

    async fn item(&self, phase: &str, item: &Item, work: &Work) -> Result<ItemDone> {
        let client = &self.client.fenced(work.fence());
        if phase == ROLES.name {
            return schema::make_role(client, item).await;
        }
        if phase == SURVEY.name && item.dataset == SERVER && item.id == HEALTH {
            return self.survey_server(work).await;
        }
        let mapping = self.mapping_of(work, &item.dataset)?;
        match phase {
            phase if phase == SURVEY.name => self.survey(&mapping, work).await,
            phase if phase == CLASSES.name => {
                work.mark(&format!("collection-{}", mapping.dataset)).await?;
                let surveyed = Self::surveyed(work, &mapping.dataset)?;
                let (done, notes) = schema::make(client, &mapping, &surveyed, &self.options).await?;
                self.tell_new(work, &mapping, notes);
                Ok(done)
            }
            phase if phase == REFERENCE_PROPERTIES.name => {
                let (done, notes) = schema::make_references(client, &mapping, &self.options).await?;
                self.tell_new(work, &mapping, notes);
                Ok(done)
            }
            phase if phase == TENANTS.name && mapping.has_tenants => {
                let names: Vec<String> = mapping.tenants.iter().map(|(name, _)| name.clone()).collect();
                let done = schema::make_tenants(client, &mapping.class, &names).await?;
                Ok(ItemDone { done, ..ItemDone::default() })
            }
            phase if phase == REFERENCES.name => self.references(item, &mapping, work).await,
            phase if phase == COUNTS.name => self.counts(&mapping, work).await,
            phase if phase == VERIFY.name => self.verify(item, &mapping, work).await,
            phase if phase == ALIASES.name => schema::make_alias(client, item).await,
            phase if phase == STATES.name && mapping.has_tenants => sleep::settle(client, &mapping, work).await,
            _ => Ok(ItemDone::default()),
        }
    }

    fn endangered(&self, work: &Work) -> Result<Option<Component>> {
        let mut classes = Vec::new();
        for mapping in self.mappings(&work.incoming)? {
            let surveyed = Self::surveyed(work, &mapping.dataset)?;
            let touched = self.options.mode == Mode::Drop || self.options.conflicts.endangers();
            if surveyed.class.is_some()
                && touched
                && (surveyed.objects > 0 || surveyed.hidden || self.options.mode == Mode::Drop)
            {
                classes.push(mapping.class);
            }
        }
        if classes.is_empty() {
            return Ok(None);
        }
        let mut options = json!({ "collections": classes });
        for key in ["connection", "url"] {
            if let (Some(value), Some(map)) = (self.component.options.get(key), options.as_object_mut()) {
                map.insert(key.to_owned(), value.clone());
            }
        }
        Ok(Some(Component {
            kind: Kind::Source,
            name: NAME.to_owned(),
            options,
            pointer: self.component.pointer.clone(),
        }))
    }

    fn safety(&self) -> Result<Option<Component>> {
        match &self.options.safety {
            Some(Safety::None) => Ok(None),
            Some(Safety::Connection(name)) => Ok(Some(Component {
                kind: Kind::Sink,
                name: "repository".to_owned(),
                options: json!({ "connection": name }),
                pointer: format!("{}/safety", self.component.pointer),
            })),
            None => Err(EngineError::new(
                ExitClass::Refused,
                "objects that are there would be overwritten or removed, and nothing keeps them",
            )
            .with_hint("add `safety: { connection: NAME }` with a repository, or `safety: none`; nothing was changed")
            .at(self.component.pointer.clone())),
        }
    }

    async fn undo(&self, work: &Work) -> Result<Undone> {
        self.take_back(work).await
    }
}

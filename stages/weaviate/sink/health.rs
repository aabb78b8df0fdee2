//! What is looked at before the first change: whether the server is well, has the modules, lets the user of the key do what the
//! run will do, and can keep what arrives.

use restow_core::Result;
use restow_core::stage::{Incoming, ItemDone, Work};
use serde_json::Value;

use super::super::config::Mode;
use super::super::health::{self, Need, Purpose};
use super::mapping::Mapping;
use super::{Target, fits, schema};

impl Target {
    /// Refuses a run that the server is in no state for. What only may matter comes back as notes.
    pub(super) async fn healthy(&self, incoming: &Incoming) -> Result<Vec<String>> {
        let mappings = self.mappings(incoming)?;
        let mut notes = health::nodes(&self.client, Purpose::Writing).await?;
        let Some(first) = mappings.first() else { return Ok(notes) };
        let principal = health::principal(&self.client, &first.class).await;
        let principal =
            principal.map_err(|fault| fault.about(format!("{}: asking what the key may do", self.client.name())))?;
        let Some(principal) = principal else { return Ok(notes) };
        health::rights(&self.client, &principal, &self.needs(&mappings, incoming), "this run")?;
        let undo: Vec<Need> =
            mappings.iter().map(|mapping| Need { action: self.undoing(), class: mapping.class.clone() }).collect();
        for missing in principal.lacks(&undo) {
            notes.push(format!(
                "user {:?} lacks the right {missing}: a run that is refused in the middle could not be taken back",
                principal.name
            ));
        }
        Ok(notes)
    }

    /// The same as an item of the survey; the notes are told.
    pub(super) async fn survey_server(&self, work: &Work) -> Result<ItemDone> {
        self.tell(work, self.healthy(&work.incoming).await?);
        Ok(ItemDone::default())
    }

    pub(super) fn tell(&self, work: &Work, notes: Vec<String>) {
        for note in notes {
            work.progress.say(&format!("{}: {note}", self.client.name()));
        }
    }

    /// Tells what the survey has not foretold.
    pub(super) fn tell_new(&self, work: &Work, mapping: &Mapping, notes: Vec<String>) {
        let foretold = fits::check_new(&self.client, mapping, &self.options).unwrap_or_default();
        self.tell(work, notes.into_iter().filter(|note| !foretold.contains(note)).collect());
    }

    /// Refuses a dataset that its collection, as it is or as it will be made, cannot keep.
    pub(super) async fn fits(&self, mapping: &Mapping, existing: Option<&Value>, objects: u64) -> Result<Vec<String>> {
        let is_made = existing.is_none() || self.options.mode == Mode::Drop;
        let mut notes = match existing {
            None => fits::check_new(&self.client, mapping, &self.options)?,
            Some(existing) => fits::check_existing(&self.client, mapping, existing, objects, &self.options).await?,
        };
        if is_made {
            notes.extend(health::modules(&self.client, &mapping.class, &mapping.definition)?);
        } else {
            notes.extend(health::shards(&self.client, &mapping.class).await?);
        }
        Ok(notes)
    }

    fn undoing(&self) -> &'static str {
        if self.options.mode == Mode::Append { "delete_data" } else { "delete_collections" }
    }

    /// The rights that the run needs, as the server calls them.
    fn needs(&self, mappings: &[Mapping], incoming: &Incoming) -> Vec<Need> {
        let mut needs = Vec::new();
        for mapping in mappings {
            let mut need = |action| needs.push(Need { action, class: mapping.class.clone() });
            ["read_collections", "read_data", "create_data", "update_data"].into_iter().for_each(&mut need);
            // What is added to needs less, as far as it has all properties and tenants: the first step would tell.
            let is_made = self.options.mode != Mode::Append;
            let in_steps = !mapping.references.is_empty() || schema::is_made_in_steps(&mapping.definition);
            if is_made {
                need("create_collections");
            }
            if is_made && in_steps {
                need("update_collections");
            }
            if self.options.mode == Mode::Drop {
                need("delete_collections");
            }
            if mapping.has_tenants {
                need("read_tenants");
            }
            if mapping.has_tenants && is_made {
                need("create_tenants");
            }
            if mapping.tenants.iter().any(|(_, state)| schema::is_cold(state)) {
                need("update_tenants");
            }
        }
        let aliases = incoming.artifact("server", "aliases.json");
        for item in aliases.map(|artifact| schema::alias_items(&artifact.bytes, mappings)).unwrap_or_default() {
            let class = item.payload.get("class").and_then(Value::as_str).unwrap_or_default();
            needs.extend(["read_aliases", "create_aliases"].map(|action| Need { action, class: class.to_owned() }));
        }
        let roles = incoming.artifact("server", "roles.json").filter(|_| self.options.roles);
        if roles.is_some_and(|artifact| !schema::role_items(&artifact.bytes).is_empty()) {
            needs.extend(["read_roles", "create_roles"].map(|action| Need { action, class: "*".to_owned() }));
        }
        needs
    }
}

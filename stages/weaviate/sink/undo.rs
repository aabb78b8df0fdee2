//! Takes back what a run has changed: what it made is removed, what it touched comes back from the safety snapshot.

use std::collections::{BTreeMap, BTreeSet};

use restow_core::Result;
use restow_core::stage::{PutBack, Undone, Work};
use restow_spec::catalogue::Kind;
use restow_spec::pipeline::Component;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::config::{Mode, NAME};
use super::ids::{self, IdSet};
use super::mapping::Mapping;
use super::schema::{Surveyed, class_of};
use super::{Target, schema, sleep};

impl Target {
    /// Every step may have been taken by an earlier attempt that was killed.
    pub(super) async fn take_back(&self, work: &Work) -> Result<Undone> {
        let mut undone = Undone::default();
        let mut changed = Vec::new();
        for mapping in self.mappings(&work.incoming)? {
            let Some(_) = work.receipt(super::phases::SURVEY.name, &mapping.dataset, &mapping.dataset) else {
                continue;
            };
            let begun = work.state.is_marked(&work.run, &format!("collection-{}", mapping.dataset)).await?;
            if !begun {
                continue;
            }
            let surveyed = Self::surveyed(work, &mapping.dataset)?;
            if surveyed.class.is_none() || self.options.mode == Mode::Drop {
                self.remove_class(&mapping, work, &mut undone).await?;
                if surveyed.class.is_some() {
                    changed.push(mapping.class);
                }
            } else {
                sleep::wake(&self.client.fenced(work.fence()), &mapping, work).await?;
                self.remove_added(&mapping, &surveyed, work, &mut undone).await?;
                if self.options.conflicts.endangers() && surveyed.objects > 0 {
                    changed.push(mapping.class);
                }
            }
        }
        if !changed.is_empty() {
            undone.put_back = Some(PutBack { sink: self.restorer(), datasets: changed });
        }
        Ok(undone)
    }

    /// Once only: a class of that name that is there afterwards is the one that was put back from the safety snapshot.
    async fn remove_class(&self, mapping: &Mapping, work: &Work, undone: &mut Undone) -> Result<()> {
        let removed = format!("removed-{}", mapping.dataset);
        if work.state.is_marked(&work.run, &removed).await? {
            return Ok(());
        }
        if class_of(&self.client, &mapping.class).await?.is_some() {
            let path = format!("/schema/{}", mapping.class);
            let answer = self.client.fenced(work.fence()).raw(reqwest::Method::DELETE, &path, None).await;
            answer.map_err(|fault| fault.about(format!("{}: removing {:?}", self.client.name(), mapping.class)))?;
            undone.said.push(format!("removed collection {}, which the run had made", mapping.class));
        }
        work.mark(&removed).await?;
        Ok(())
    }

    /// Removes the objects that the run touched and the survey had not seen.
    async fn remove_added(
        &self,
        mapping: &Mapping,
        surveyed: &Surveyed,
        work: &Work,
        undone: &mut Undone,
    ) -> Result<()> {
        let before = match &surveyed.ids {
            Some(name) => ids::from_lines(&work.spooled(name).await?)?,
            None => IdSet::default(),
        };
        let mut added: BTreeMap<String, BTreeSet<Uuid>> = BTreeMap::new();
        for name in work.spools().await? {
            let bytes = work.spooled(&name).await?;
            let Some(keys) = ids::of_dataset(&bytes, &mapping.dataset)? else { continue };
            for (tenant, ids) in keys.tenants() {
                let new = ids.iter().filter(|id| !before.contains(tenant, id));
                added.entry(tenant.to_owned()).or_default().extend(new);
            }
        }
        let count: usize = added.values().map(BTreeSet::len).sum();
        let named = mapping.tenants.iter().map(|(name, _)| name.clone());
        let tenants: BTreeSet<String> = named.chain(added.keys().cloned()).collect();
        let client = self.client.fenced(work.fence());
        for (tenant, ids) in added {
            let ids: Vec<Uuid> = ids.into_iter().collect();
            schema::remove(&client, &mapping.class, &tenant, &ids).await?;
        }
        undone.said.push(format!("removed {count} objects from {}, which the run had added", mapping.class));
        let new = tenants.into_iter().filter(|tenant| !tenant.is_empty() && !surveyed.tenants.contains(tenant));
        self.remove_tenants(&mapping.class, new.collect(), work, undone).await
    }

    /// Removes tenants that the run made, where nobody else has put anything into them.
    async fn remove_tenants(&self, class: &str, new: BTreeSet<String>, work: &Work, undone: &mut Undone) -> Result<()> {
        if new.is_empty() {
            return Ok(());
        }
        let mut empty = Vec::new();
        for tenant in schema::tenants(&self.client, class).await? {
            if !new.contains(&tenant.name) {
                continue;
            }
            if !tenant.is_active() {
                undone.said.push(format!("tenant {:?} of {class} stays: it is not active", tenant.name));
                continue;
            }
            let count = self.client.count(class, Some(&tenant.name)).await;
            match count.map_err(|fault| fault.about(format!("{}: counting {class:?}", self.client.name())))? {
                0 => empty.push(tenant.name),
                objects => undone.said.push(format!(
                    "tenant {:?} of {class} stays: it holds {objects} objects that are not the run's",
                    tenant.name
                )),
            }
        }
        if !empty.is_empty() {
            schema::remove_tenants(&self.client.fenced(work.fence()), class, &empty).await?;
            undone.said.push(format!("removed {} tenants from {class}, which the run had made", empty.len()));
        }
        Ok(())
    }

    /// A sink that puts back what a safety snapshot has.
    fn restorer(&self) -> Component {
        let mut options = match self.options.mode {
            Mode::Create | Mode::Drop => json!({ "mode": "create" }),
            Mode::Append => json!({ "mode": "append", "conflicts": "overwrite", "safety": "none" }),
        };
        for key in ["connection", "url"] {
            if let (Some(value), Some(map)) = (self.component.options.get(key), options.as_object_mut()) {
                map.insert(key.to_owned(), Value::clone(value));
            }
        }
        Component { kind: Kind::Sink, name: NAME.to_owned(), options, pointer: self.component.pointer.clone() }
    }
}

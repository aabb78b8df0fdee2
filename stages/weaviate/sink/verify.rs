//! Reads back what a run has written, and compares it object by object.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use restow_core::stage::{Artifact, Incoming, Item, ItemDone, Receipt, SinkDataset, Work};
use restow_core::{EngineError, ExitClass, Result};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::class::Class;
use super::super::columns::{Shape, columns_of, schema_of};
use super::super::rows::RowBuilder;
use super::super::source::pages::{Cursor, PageRequest};
use super::Target;
use super::convert::{Columns, Object};
use super::digest::{self, Canon, Line};
use super::mapping::{Mapping, mappings};
use super::schema::class_of;
use super::writer::spools_of;

/// Objects that are asked for at once.
const AT_ONCE: usize = 256;
/// Objects that a message names.
const NAMED: usize = 5;

impl Target {
    /// One item for each split that has written something.
    pub(super) fn verify_items(work: &Work) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        for receipt in work.rows() {
            items.extend(item_of(&receipt)?);
        }
        Ok(items)
    }

    /// By what the objects of a class are compared.
    pub(super) async fn canon(&self, mapping: &Mapping, incoming: &Incoming) -> Result<Canon> {
        let class = class_of(&self.client, &mapping.class).await?.unwrap_or_default();
        let renames = self.mappings(incoming)?.into_iter().map(|mapping| (mapping.dataset, mapping.class)).collect();
        Ok(Canon::new(&class, renames))
    }

    /// Compares what one split has written.
    pub(super) async fn verify(&self, item: &Item, mapping: &Mapping, work: &Work) -> Result<ItemDone> {
        let (spool, written) = (item.payload.get("spool"), item.payload.get("written").and_then(Value::as_u64));
        let lines = digest::from_bytes(&work.spooled(spool.and_then(Value::as_str).unwrap_or_default()).await?)?;
        if written != Some(lines.len() as u64) {
            return Err(not_noted(&item.dataset, &item.id));
        }
        let canon = self.canon(mapping, &work.incoming).await?;
        // References that the server refused are rejects, and are missing rightly.
        let with_references = work
            .done(super::phases::REFERENCES.name)
            .iter()
            .all(|receipt| receipt.dataset != item.dataset || receipt.rejected == 0);
        let reader = Reader::new(self, &mapping.class).await?;
        let mut by_tenant: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
        for line in &lines {
            by_tenant.entry(&line.tenant).or_default().push(line);
        }
        let mut wrong = Vec::new();
        for (tenant, lines) in by_tenant {
            for part in lines.chunks(AT_ONCE) {
                let ids: Vec<Uuid> = part.iter().map(|line| Uuid::from_u128(line.id)).collect();
                let found = reader.objects(tenant, &ids).await?;
                for line in part {
                    let verdict = match found.get(&Uuid::from_u128(line.id)) {
                        None => Some("is missing".to_owned()),
                        Some(Err(reason)) => Some(reason.clone()),
                        Some(Ok(object)) => match canon.is(object, line) {
                            (false, _) => Some("differs".to_owned()),
                            (true, false) if with_references => Some("has other references".to_owned()),
                            _ => None,
                        },
                    };
                    wrong.extend(verdict.map(|verdict| format!("{} {verdict}", Uuid::from_u128(line.id).hyphenated())));
                }
            }
        }
        if wrong.is_empty() {
            return Ok(ItemDone { done: lines.len() as u64, ..ItemDone::default() });
        }
        let message = format!(
            "{} of {} objects in {:?} are not as they were written: {}{}",
            wrong.len(),
            lines.len(),
            mapping.class,
            wrong.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", "),
            if wrong.len() > NAMED { ", .." } else { "" }
        );
        Err(EngineError::new(ExitClass::Damaged, message))
    }
}

/// What is to be compared of a split: all that it has written, or the run cannot say that it was.
fn item_of(receipt: &Receipt) -> Result<Option<Item>> {
    let written = receipt.counts.written;
    match spools_of(receipt)?.digests {
        Some(spool) => Ok(Some(Item {
            dataset: receipt.dataset.clone(),
            id: receipt.split.clone(),
            payload: json!({ "spool": spool, "written": written }),
        })),
        None if written == 0 => Ok(None),
        None => Err(not_noted(&receipt.dataset, &receipt.split)),
    }
}

fn not_noted(dataset: &str, split: &str) -> EngineError {
    EngineError::failed(format!(
        "dataset {dataset:?}, split {split:?}: what was written was not noted down whole, and cannot be compared"
    ))
    .with_hint("run with --fresh to take this run back and begin anew; the source is untouched")
}

/// Reads objects of a class by their ids, as they would be written.
struct Reader {
    pages: PageRequest,
    mapping: Mapping,
    name: String,
}

impl Reader {
    async fn new(target: &Target, class: &str) -> Result<Self> {
        let unreadable = |what: String| EngineError::failed(format!("{}: {class:?}: {what}", target.client.name()));
        let text = class_of(&target.client, class).await?.unwrap_or_default().to_string();
        let raw = RawValue::from_string(text.clone()).map_err(|error| unreadable(error.to_string()))?;
        let parsed = Class::parse(raw).map_err(unreadable)?;
        let columns = columns_of(&parsed, &vec![Shape::Varying; parsed.vectors.len()]);
        let (schema, roles) = schema_of(&columns);
        let lineage = schema.fields().iter().map(|field| (field.name().clone(), field.name().clone())).collect();
        let dataset =
            SinkDataset { name: class.to_owned(), schema: Arc::clone(&schema), roles, source_schema: schema, lineage };
        let artifact = Artifact { scope: class.to_owned(), name: "class.json".to_owned(), bytes: text.into_bytes() };
        let incoming = Incoming { datasets: vec![dataset], artifacts: vec![artifact] };
        let mapping = mappings(&incoming, &BTreeMap::new())?
            .pop()
            .ok_or_else(|| unreadable("it cannot be read back".to_owned()))?;
        let pages = PageRequest {
            client: target.client.clone(),
            class: class.to_owned(),
            tenant: String::new(),
            columns,
            by_grpc: parsed.is_whole_by_grpc(),
            page_bytes: 0,
        };
        Ok(Self { pages, mapping, name: format!("{}: reading back {class:?}", target.client.name()) })
    }

    /// The objects of these ids that are there, or why one cannot be read.
    async fn objects(&self, tenant: &str, ids: &[Uuid]) -> Result<HashMap<Uuid, Result<Object, String>>> {
        let pages = PageRequest { tenant: tenant.to_owned(), ..self.pages.clone() };
        let mut page = pages.of_ids(ids).await.map_err(|fault| fault.about(self.name.clone()))?;
        // An index has found them; whether one is missing is decided where objects are stored.
        let seen: HashSet<u128> = page.rows.iter().map(|(id, ..)| *id).collect();
        for id in ids.iter().map(Uuid::as_u128).filter(|id| !seen.contains(id)) {
            let stored = pages.fetch(&Cursor::at(id)).await.map_err(|fault| fault.about(self.name.clone()))?;
            page.rows.extend(stored.rows.into_iter().filter(|(found, ..)| *found == id));
        }
        let fields: Vec<_> = pages.columns.iter().map(|column| column.field.clone()).collect();
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        let mut builder = RowBuilder::new(&schema)?;
        let (mut found, mut keys) = (HashMap::new(), Vec::new());
        for (id, _, row) in page.rows {
            let id = Uuid::from_u128(id);
            match row {
                Ok(cells) => {
                    builder.push(cells)?;
                    keys.push(id);
                }
                Err(reject) => drop(found.insert(id, Err(reject.reason))),
            }
        }
        let batch = builder.finish()?;
        let columns = Columns::new(&self.mapping, &batch)?;
        for (row, id) in keys.into_iter().enumerate() {
            found.insert(id, columns.object(row));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use restow_core::stage::{SplitCounts, SplitOutput};

    use super::*;

    fn receipt(written: u64, spools: Value) -> Receipt {
        Receipt {
            dataset: "Doc".to_owned(),
            split: "r00001".to_owned(),
            counts: SplitCounts { written, ..SplitCounts::default() },
            output: SplitOutput { written: spools, ..SplitOutput::default() },
            evidence: Vec::new(),
            rejects: None,
            stages: Vec::new(),
        }
    }

    #[test]
    fn what_was_not_noted_down_is_no_success() {
        let none = json!({ "ids": [], "references": null, "new": 0 });
        assert!(item_of(&receipt(0, none.clone())).expect("nothing to compare").is_none());
        let error = item_of(&receipt(3, none)).expect_err("three rows that nobody can compare");
        assert!(error.message().contains("r00001"), "{error}");
        let noted = json!({ "ids": [], "references": null, "digests": "spool/1", "new": 3 });
        let item = item_of(&receipt(3, noted)).expect("an item").expect("an item");
        assert_eq!(item.payload, json!({ "spool": "spool/1", "written": 3 }));
    }
}

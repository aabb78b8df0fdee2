//! Writes the rows of one split, and notes what it touches before it touches it.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use restow_core::stage::{Receipt, Reject, SplitOutput, SplitWriter, Work, WriteReport};
use restow_core::{EngineError, ExitClass, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::client::{Client, Fault};
use super::super::config::Conflicts;
use super::convert::{Columns, Object};
use super::digest::{self, Canon, Line};
use super::ids::{IdSet, touched};
use super::mapping::Mapping;
use super::{references, schema, write};

/// What all writers of a dataset share.
pub struct Shared {
    pub client: Client,
    pub work: Arc<Work>,
    pub mapping: Mapping,
    /// The ids that were there before the run.
    pub present: Arc<IdSet>,
    /// By what objects will be compared, where they will.
    pub canon: Option<Arc<Canon>>,
    pub conflicts: Conflicts,
    pub batch_bytes: usize,
}

/// What a split left in the run state for later phases, as its receipt keeps it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Spools {
    /// Objects with the ids that were touched.
    pub ids: Vec<String>,
    /// The object with the references.
    pub references: Option<String>,
    /// The object with digests of what was written, where it will be compared.
    #[serde(default)]
    pub digests: Option<String>,
    /// Objects that are at the target now and were not before.
    pub new: u64,
}

/// What the receipt of a split says of its spools.
pub fn spools_of(receipt: &Receipt) -> Result<Spools> {
    Spools::deserialize(&receipt.output.written).map_err(|error| {
        EngineError::failed(format!("the receipt of split {:?} cannot be read: {error}", receipt.split))
    })
}

/// Writes one split.
pub struct Writer {
    shared: Shared,
    spools: Spools,
    references: Vec<u8>,
    lines: Vec<Line>,
    tenants: HashSet<String>,
    seen: IdSet,
    written: u64,
    bytes: u64,
    digest: Sha256,
}

impl Writer {
    pub fn new(shared: Shared) -> Self {
        let tenants = shared.mapping.tenants.iter().map(|(name, _)| name.clone()).collect();
        Self {
            shared,
            spools: Spools::default(),
            references: Vec::new(),
            lines: Vec::new(),
            tenants,
            seen: IdSet::default(),
            written: 0,
            bytes: 0,
            digest: Sha256::new(),
        }
    }

    /// The objects of a batch; what cannot be one is a reject, and what is there already as the options say.
    fn objects(&mut self, batch: &RecordBatch, report: &mut WriteReport) -> Result<(Vec<Object>, Vec<Object>)> {
        let columns = Columns::new(&self.shared.mapping, batch)?;
        let (mut whole, mut merged) = (Vec::with_capacity(columns.len()), Vec::new());
        for row in 0..columns.len() {
            let object = match columns.object(row) {
                Ok(object) => object,
                Err(reason) => {
                    report.rejects.push(Reject {
                        place: format!("{} row {row} of a batch", self.shared.mapping.class),
                        reason,
                        row: None,
                    });
                    continue;
                }
            };
            if !self.seen.insert(&object.tenant, object.id) {
                let reason = "its id comes twice in this run, and the later one would replace the earlier".to_owned();
                report.rejects.push(self.reject(&object, reason));
                continue;
            }
            match (self.shared.present.contains(&object.tenant, &object.id), self.shared.conflicts) {
                (false, _) => {
                    self.spools.new += 1;
                    whole.push(object);
                }
                (true, Conflicts::Overwrite) => whole.push(object),
                (true, Conflicts::Merge) => merged.push(object),
                (true, Conflicts::Skip) => report.skipped += 1,
                (true, Conflicts::Fail) => return Err(self.conflict(&object)),
            }
        }
        Ok((whole, merged))
    }

    fn conflict(&self, object: &Object) -> EngineError {
        let class = &self.shared.mapping.class;
        EngineError::new(ExitClass::Refused, format!("{}: {class:?} has an object {} already", self.shared.client.name(), object.id.hyphenated()))
            .with_hint("nothing that was there has changed, and what this run had added is removed; set `conflicts: overwrite`, `skip` or `merge`")
    }

    fn reject(&self, object: &Object, reason: String) -> Reject {
        let class = &self.shared.mapping.class;
        let place = if object.tenant.is_empty() {
            format!("{class}/{}", object.id)
        } else {
            format!("{class}/{}/{}", object.tenant, object.id)
        };
        let row = object.to_json(class).ok().map(|row| row.to_string());
        Reject { place, reason, row }
    }

    /// Tenants that nobody has named before are made when their first object comes.
    async fn make_tenants(&mut self, objects: &[&Object]) -> Result<()> {
        let new: HashSet<&String> = objects
            .iter()
            .map(|object| &object.tenant)
            .filter(|tenant| !tenant.is_empty() && !self.tenants.contains(*tenant))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let new: Vec<String> = new.into_iter().cloned().collect();
        schema::make_tenants(&self.shared.client, &self.shared.mapping.class, &new).await?;
        self.tenants.extend(new);
        Ok(())
    }

    async fn send(&mut self, whole: &[Object], merged: &[Object], report: &mut WriteReport) -> Result<()> {
        let Shared { client, mapping, batch_bytes, .. } = &self.shared;
        let about = |fault: Fault| fault.about(format!("{}: writing to {:?}", client.name(), mapping.class));
        let mut verdicts = write::write(client, &mapping.class, whole, *batch_bytes).await?;
        for object in merged {
            verdicts.push(write::merge(client, &mapping.class, object).await.map_err(about)?);
        }
        for (index, (verdict, object)) in verdicts.into_iter().zip(whole.iter().chain(merged)).enumerate() {
            match verdict {
                Ok(()) => {
                    report.written += 1;
                    self.written += 1;
                    self.bytes += object.size() as u64;
                    self.digest.update(object.id.as_bytes());
                    references::lines_of(object, &mut self.references)?;
                    if let Some(canon) = &self.shared.canon {
                        self.lines.push(canon.sent(object, index >= whole.len()));
                    }
                }
                Err(reason) => {
                    if !self.shared.present.contains(&object.tenant, &object.id) {
                        self.spools.new = self.spools.new.saturating_sub(1);
                    }
                    report.rejects.push(self.reject(object, reason));
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl SplitWriter for Writer {
    async fn write(&mut self, batch: RecordBatch) -> Result<WriteReport> {
        let mut report = WriteReport::default();
        let (whole, merged) = self.objects(&batch, &mut report)?;
        let all: Vec<&Object> = whole.iter().chain(&merged).collect();
        if all.is_empty() {
            return Ok(report);
        }
        self.shared.work.check_claim().await?;
        // Before anything is touched: what an undo would have to look at, even after a kill.
        let keys = all.iter().map(|object| (object.tenant.as_str(), &object.id));
        let lines = touched(&self.shared.mapping.dataset, keys);
        self.spools.ids.push(self.shared.work.spool(lines.into_bytes().into()).await?);
        self.make_tenants(&all).await?;
        self.send(&whole, &merged, &mut report).await?;
        Ok(report)
    }

    async fn finish(mut self: Box<Self>) -> Result<SplitOutput> {
        if !self.references.is_empty() {
            let lines = std::mem::take(&mut self.references);
            self.spools.references = Some(self.shared.work.spool(lines.into()).await?);
        }
        if !self.lines.is_empty() {
            let lines = digest::to_bytes(&std::mem::take(&mut self.lines))?;
            self.spools.digests = Some(self.shared.work.spool(lines.into()).await?);
        }
        let written =
            serde_json::to_value(&self.spools).map_err(|error| EngineError::failed(format!("receipt: {error}")))?;
        let digest = self.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(SplitOutput { rows: self.written, stored_bytes: self.bytes, plain_bytes: self.bytes, digest, written })
    }
}

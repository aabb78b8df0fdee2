//! What a database does as a target beside writing rows: it is looked at before anything is changed, gets its definitions, and
//! what can only follow the rows. Each step is an item with a receipt; a run that was killed goes on behind the last one.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use restow_spec::pipeline::Component;
use restow_store::repository::SnapshotId;
use restow_store::run_state::{Claim, RunStateStore, WorkLock};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Fence, Incoming, Receipt, Reject};
use crate::error::Result;
use crate::progress::Progress;

/// A sink that is a database. Phases run in their order, each over all datasets before the next one begins.
#[async_trait]
pub trait Database: Send + Sync {
    /// The phases before rows. The first one surveys the target, and changes nothing.
    fn before(&self) -> &'static [Phase];

    /// The phases after rows.
    fn after(&self) -> &'static [Phase];

    /// The items of a phase, in their order. Decided from the incoming datasets and the receipts of earlier phases, never from what
    /// this run has half written.
    ///
    /// # Errors
    /// The target cannot be asked, or refuses the work; nothing was changed in this phase.
    async fn items(&self, phase: &str, work: &Work) -> Result<Vec<Item>>;

    /// Does one item. It may have been done in part by a process that was killed.
    ///
    /// # Errors
    /// It is not done; tried again where the error says so.
    async fn item(&self, phase: &str, item: &Item, work: &Work) -> Result<ItemDone>;

    /// A source that reads what this run is about to overwrite or remove; none where it endangers nothing. Asked after the survey.
    ///
    /// # Errors
    /// The survey cannot be read.
    fn endangered(&self, work: &Work) -> Result<Option<Component>>;

    /// A sink that keeps what is endangered, as the options name it.
    ///
    /// # Errors
    /// The options name none, and do not say that none is wanted.
    fn safety(&self) -> Result<Option<Component>>;

    /// Takes back what a run has changed, as far as its receipts tell; may be called again after it was killed.
    ///
    /// # Errors
    /// It is not taken back whole; call it again.
    async fn undo(&self, work: &Work) -> Result<Undone>;
}

/// A phase of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// Its name, in receipts and messages.
    pub name: &'static str,
    /// Whether its items may be done at the same time.
    pub at_once: bool,
}

/// One thing to do at the target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// The dataset that it belongs to; `server` where it belongs to none.
    pub dataset: String,
    /// Unique within phase and dataset, the same in every attempt.
    pub id: String,
    /// The database's own.
    pub payload: Value,
}

/// What came of an item.
#[derive(Debug, Default)]
pub struct ItemDone {
    /// Things that the target took.
    pub done: u64,
    /// Things that it refused.
    pub rejects: Vec<Reject>,
    /// What later phases need to know.
    pub value: Value,
}

/// The durable record of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemReceipt {
    /// The phase.
    pub phase: String,
    /// The dataset.
    pub dataset: String,
    /// The item.
    pub item: String,
    /// Things that the target took.
    pub done: u64,
    /// Things that it refused.
    pub rejected: u64,
    /// The object with what was refused, where anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejects: Option<String>,
    /// What later phases need to know.
    pub value: Value,
}

/// What an undo took back.
#[derive(Debug, Default)]
pub struct Undone {
    /// For the user, a line each.
    pub said: Vec<String>,
    /// What must come back from the safety snapshot to finish it; none where nothing was overwritten or removed.
    pub put_back: Option<PutBack>,
}

/// What of a safety snapshot an undo needs.
#[derive(Debug)]
pub struct PutBack {
    /// The sink into which it is restored.
    pub sink: Component,
    /// The datasets of the snapshot that the run has changed; the others are as they were.
    pub datasets: Vec<String>,
}

/// One run at a target: what arrives, where its state lies, and what is done already.
pub struct Work {
    /// The run.
    pub run: String,
    /// The snapshot that it makes, or its id where it makes none.
    pub snapshot: SnapshotId,
    /// What arrives.
    pub incoming: Incoming,
    /// Where its receipts are.
    pub state: RunStateStore,
    /// Tells the user what happens.
    pub progress: Arc<Progress>,
    verifies_rows: bool,
    fence: Fence,
    _lock: Option<WorkLock>,
    items: Mutex<Vec<ItemReceipt>>,
    rows: Mutex<Vec<Receipt>>,
}

impl Work {
    /// A run at a target that is no database, or one in a test.
    pub fn new(
        run: String,
        snapshot: SnapshotId,
        incoming: Incoming,
        state: RunStateStore,
        progress: Arc<Progress>,
    ) -> Self {
        let (items, rows, fence) = (Mutex::default(), Mutex::default(), Fence::new(state.clone(), None));
        Self { run, snapshot, incoming, state, progress, verifies_rows: false, fence, _lock: None, items, rows }
    }

    /// With the right to write, and what earlier processes have done.
    #[must_use]
    pub fn claimed(self, claim: Claim, lock: Option<WorkLock>, items: Vec<ItemReceipt>, rows: Vec<Receipt>) -> Self {
        let fence = Fence::new(self.state.clone(), Some(claim));
        Self { fence, _lock: lock, items: Mutex::new(items), rows: Mutex::new(rows), ..self }
    }

    /// A run whose rows are read back and compared before anything names them.
    #[must_use]
    pub fn verified(self, verifies_rows: bool) -> Self {
        Self { verifies_rows, ..self }
    }

    /// Whether rows are read back and compared in one of the phases after them. What differs is [`ExitClass::Damaged`](crate::ExitClass),
    /// upon which the run is taken back.
    pub fn verifies_rows(&self) -> bool {
        self.verifies_rows
    }

    /// The right to change the target: to be asked for before every request that does, and once more before the request is whole.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Checks that no other process has taken this run over.
    ///
    /// # Errors
    /// Another process has (exit code 11), or the state cannot be read.
    pub async fn check_claim(&self) -> Result<()> {
        self.fence.ask().await
    }

    /// The receipts of a phase.
    pub fn done(&self, phase: &str) -> Vec<ItemReceipt> {
        let items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        items.iter().filter(|receipt| receipt.phase == phase).cloned().collect()
    }

    /// The receipts of all items.
    pub fn all(&self) -> Vec<ItemReceipt> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The receipt of an item.
    pub fn receipt(&self, phase: &str, dataset: &str, item: &str) -> Option<ItemReceipt> {
        let items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        items.iter().find(|r| r.phase == phase && r.dataset == dataset && r.item == item).cloned()
    }

    /// Adds the receipt of an item.
    pub fn add(&self, receipt: ItemReceipt) {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).push(receipt);
    }

    /// The receipts of the splits, once all rows are written.
    pub fn rows(&self) -> Vec<Receipt> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the receipts of the splits.
    pub fn set_rows(&self, rows: Vec<Receipt>) {
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    }

    /// Keeps bytes for a later phase; the name goes into a receipt.
    ///
    /// # Errors
    /// The state cannot be written.
    pub async fn spool(&self, bytes: Bytes) -> Result<String> {
        let mut writer = self.state.spool_writer(&self.run)?;
        writer.write(bytes).await?;
        Ok(writer.finish().await?.path)
    }

    /// The bytes of that name.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn spooled(&self, name: &str) -> Result<Bytes> {
        Ok(self.state.spool(name).await?)
    }

    /// The names of everything that was kept for a later phase, also by processes that were killed.
    ///
    /// # Errors
    /// The state cannot be listed.
    pub async fn spools(&self) -> Result<Vec<String>> {
        Ok(self.state.spools(&self.run).await?)
    }

    /// Records that something has begun, before it does. `false` where it had begun already.
    ///
    /// # Errors
    /// The state cannot be written.
    pub async fn mark(&self, mark: &str) -> Result<bool> {
        Ok(self.state.mark(&self.run, mark).await?)
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("run", &self.run).field("fence", &self.fence).finish_non_exhaustive()
    }
}

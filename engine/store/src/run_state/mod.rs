//! Run state: `<state>/runs/<run-id>/` with the intent, receipts, rejects, recorded side effects and the outcome of each
//! run. Normative text: `schemas/repository-format.md`, heading "Run state".
//!
//! Everything is created once and never changed. State lies inside a repository where the sink is one, else at a place
//! of its own; where source or sink is encrypted it is sealed with that repository's keys, and then no path part tells
//! the name of a dataset.

mod records;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::container::EncryptedStore;
use crate::keys::Keys;
use crate::location::{Location, relative_to};
use crate::repository::small::{self, Creation};
use crate::repository::{
    ExitClass, FORMAT, Features, ObjectWriter, Repository, RepositoryError, clear, exit_class_of, failed, features,
    part_for, paths, random_hex, tampered, writer_over,
};

pub use records::{Claim, Intent, OpenRuns, Outcome, PutReceipt, Receipt, WorkLock};
use records::{ClaimRecord, EffectRecord, MarkRecord, OutcomeRecord, ReceiptRecord};

/// Where side effects on servers are recorded. No run has that id: run ids begin with the time.
const EFFECTS: &str = "runs/effects";
/// Requests under way at once while state is read.
const READS: usize = 8;

/// What decides whether an object of run state may be read. Receipts have the format of their intent.
#[derive(Deserialize)]
struct Version {
    format: Option<String>,
    #[serde(default)]
    features: Features,
}

/// The runs of one place. Clones share everything.
#[derive(Clone)]
pub struct RunStateStore {
    location: Location,
    store: Arc<dyn ObjectStore>,
    keys: Option<Keys>,
    /// The repository that the state lies in: there the manifest is the outcome.
    repository: Option<Repository>,
}

impl RunStateStore {
    /// State at a place of its own. `seal` holds the keys of the encrypted repository that is source or sink.
    pub fn at(location: Location, seal: Option<&Keys>) -> Self {
        let store: Arc<dyn ObjectStore> = match seal {
            Some(keys) => {
                let store = Arc::clone(&location.store);
                let layer = EncryptedStore::new(store, location.root.clone(), keys.clone(), |_| false);
                Arc::new(layer.with_parts_of(location.part_bytes()))
            }
            None => Arc::clone(&location.store),
        };
        Self { location, store, keys: seal.cloned(), repository: None }
    }

    /// State inside a repository.
    pub fn in_repository(repository: &Repository) -> Self {
        Self {
            location: repository.location().clone(),
            store: repository.objects(),
            keys: repository.keys().cloned(),
            repository: Some(repository.clone()),
        }
    }

    /// Where it lies.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Creates the intent of a run. Fails where the run exists with another intent.
    pub async fn begin(&self, intent: &Intent) -> Result<(), RepositoryError> {
        let keyring = self.keys.as_ref().map(Keys::named);
        let intent = Intent { format: FORMAT.to_owned(), keyring, ..intent.clone() };
        let object = self.run_object(&intent.run_id, "intent.json")?;
        match self.create(&object, &intent).await? {
            None => Ok(()),
            Some(found) if self.parse::<Intent>(&object, &found)? == intent => Ok(()),
            Some(_) => Err(self.lost(&object, "a run of that id exists; nothing was changed; run again")),
        }
    }

    /// The intent of a run.
    pub async fn intent(&self, run_id: &str) -> Result<Option<Intent>, RepositoryError> {
        let object = self.run_object(run_id, "intent.json")?;
        match self.load::<Intent>(&object).await? {
            Some(intent) if intent.run_id != run_id => Err(self.tampered(&object, "it is the intent of another run")),
            found => Ok(found),
        }
    }

    /// The runs without outcome, newest first. Inside a repository a run whose snapshot has a manifest, committed or
    /// aborted, has its outcome by that.
    pub async fn open_runs(&self) -> Result<OpenRuns, RepositoryError> {
        let folders = self
            .location
            .store
            .list_with_delimiter(Some(&self.location.path("runs")?))
            .await
            .map_err(failed(&self.location, "list", "runs"))?;
        // What no run can be called was not put there by one, and must not keep others from running.
        let names = folders.common_prefixes.iter().filter_map(|f| f.filename()).filter(|f| is_run_id(f));
        let names = names.map(str::to_owned);
        let found: Vec<_> = futures::stream::iter(names.collect::<Vec<_>>())
            .map(|run_id| async move {
                let found = self.open_run(&run_id).await;
                (run_id, found)
            })
            .buffered(READS)
            .collect()
            .await;
        let mut runs = OpenRuns::default();
        for (run_id, found) in found {
            match found {
                Ok(Some(intent)) => runs.intents.push(intent),
                Ok(None) => {}
                Err(e) if matches!(e.exit_class(), ExitClass::Tampered | ExitClass::TooNew) => {
                    runs.damaged.push((run_id, e.to_string()));
                }
                Err(e) => return Err(e),
            }
        }
        runs.intents.sort_by(|a, b| (b.created, &b.run_id).cmp(&(a.created, &a.run_id)));
        Ok(runs)
    }

    /// Creates receipt `receipt.n` of a split. The one that exists already wins.
    pub async fn put_receipt(&self, run_id: &str, receipt: &Receipt) -> Result<PutReceipt, RepositoryError> {
        let object = format!("{}/{}.json", self.receipt_folder(run_id, receipt)?, receipt.n);
        let record = ReceiptRecord { run_id: run_id.to_owned(), receipt: receipt.clone() };
        let Some(found) = self.create(&object, &record).await? else { return Ok(PutReceipt::Created) };
        let found = self.of_run(run_id, &object, self.parse(&object, &found)?)?;
        let same = (&found.phase, &found.dataset, &found.split, found.n)
            == (&receipt.phase, &receipt.dataset, &receipt.split, receipt.n);
        match same {
            true => Ok(PutReceipt::Existing(Box::new(found))),
            // File systems that ignore case give `A` and `a` one folder.
            false => Err(self.tampered(&object, "it is the receipt of another split")),
        }
    }

    /// The receipts that count: of each phase, dataset and split the one with the highest number.
    pub async fn receipts(&self, run_id: &str) -> Result<Vec<Receipt>, RepositoryError> {
        let folder = self.run_object(run_id, "receipts")?;
        let objects: Vec<_> =
            self.location.store.list(Some(&self.location.path(&folder)?)).try_collect().await.map_err(failed(
                &self.location,
                "list",
                &folder,
            ))?;
        let mut highest: BTreeMap<String, u64> = BTreeMap::new();
        for meta in &objects {
            let relative = relative_to(&self.location.root, &meta.location).unwrap_or_default();
            let numbered = relative.strip_suffix(".json").and_then(|name| name.rsplit_once('/'));
            let Some((split, Ok(n))) = numbered.map(|(split, n)| (split, n.parse::<u64>())) else {
                return Err(self.tampered(relative, "it is no receipt"));
            };
            let known = highest.entry(split.to_owned()).or_default();
            *known = n.max(*known);
        }
        futures::stream::iter(highest)
            .map(|(split, n)| async move {
                let object = format!("{split}/{n}.json");
                let record = self.load(&object).await?.ok_or_else(|| self.tampered(&object, "it vanished"))?;
                let receipt = self.of_run(run_id, &object, record)?;
                match self.receipt_folder(run_id, &receipt)? == split && receipt.n == n {
                    true => Ok(receipt),
                    false => Err(self.tampered(&object, "it is the receipt of another split")),
                }
            })
            .buffered(READS)
            .try_collect()
            .await
    }

    /// A writer of the rejected rows of one attempt, under a random name that the receipt keeps.
    pub fn reject_writer(&self, run_id: &str, extension: &str) -> Result<ObjectWriter, RepositoryError> {
        let random = random_hex().map_err(|e| RepositoryError::Internal { problem: e.to_string() })?;
        let object = self.run_object(run_id, &format!("rejects/{random}.{extension}"))?;
        writer_over(&self.location, self.keys.as_ref(), &object)
    }

    /// The rejected rows that a receipt names, in plain text.
    pub async fn rejects(&self, object: &str) -> Result<bytes::Bytes, RepositoryError> {
        let path = self.location.path(object)?;
        let found = self.store.get(&path).await.map_err(failed(&self.location, "read", object))?;
        small::collect(found, u64::MAX).await.map_err(failed(&self.location, "read", object))
    }

    /// A writer of what a phase leaves for a later one (ids, references), under a random name that a receipt keeps.
    pub fn spool_writer(&self, run_id: &str) -> Result<ObjectWriter, RepositoryError> {
        let random = random_hex().map_err(|e| RepositoryError::Internal { problem: e.to_string() })?;
        let object = self.run_object(run_id, &format!("spool/{random}"))?;
        writer_over(&self.location, self.keys.as_ref(), &object)
    }

    /// The names of everything that spool writers of a run wrote.
    pub async fn spools(&self, run_id: &str) -> Result<Vec<String>, RepositoryError> {
        let folder = self.run_object(run_id, "spool")?;
        let listed = self.location.store.list_with_delimiter(Some(&self.location.path(&folder)?)).await;
        let found = listed.map_err(failed(&self.location, "list", &folder))?;
        Ok(found.objects.iter().filter_map(|m| m.location.filename()).map(|name| format!("{folder}/{name}")).collect())
    }

    /// What a spool writer wrote, in plain text.
    pub async fn spool(&self, object: &str) -> Result<bytes::Bytes, RepositoryError> {
        self.rejects(object).await
    }

    /// Records that something of a run has begun, before it does. `false` where that was recorded already.
    pub async fn mark(&self, run_id: &str, mark: &str) -> Result<bool, RepositoryError> {
        let object = self.run_object(run_id, &format!("marks/{}.json", paths::escape(mark)))?;
        let record = MarkRecord { format: FORMAT.to_owned(), run_id: run_id.to_owned(), mark: mark.to_owned() };
        Ok(self.create(&object, &record).await?.is_none())
    }

    /// Whether that was recorded.
    pub async fn is_marked(&self, run_id: &str, mark: &str) -> Result<bool, RepositoryError> {
        let object = self.run_object(run_id, &format!("marks/{}.json", paths::escape(mark)))?;
        self.is_there(&object).await
    }

    /// Records a side effect on a server before it happens. Gives its name.
    pub async fn record_effect(&self, effect: &Value) -> Result<String, RepositoryError> {
        let name = random_hex().map_err(|e| RepositoryError::Internal { problem: e.to_string() })?;
        let record = EffectRecord { format: FORMAT.to_owned(), effect: effect.clone() };
        match self.create(&format!("{EFFECTS}/{name}.json"), &record).await? {
            None => Ok(name),
            Some(_) => Err(RepositoryError::Internal { problem: "a random name came twice".to_owned() }),
        }
    }

    /// Records that a side effect is undone.
    pub async fn end_effect(&self, name: &str) -> Result<(), RepositoryError> {
        let record = EffectRecord { format: FORMAT.to_owned(), effect: Value::Null };
        self.create(&format!("{EFFECTS}/{name}-undone.json"), &record).await.map(drop)
    }

    /// The side effects that nobody has undone, by their names.
    pub async fn effects(&self) -> Result<Vec<(String, Value)>, RepositoryError> {
        let listed = self.location.store.list_with_delimiter(Some(&self.location.path(EFFECTS)?)).await;
        let found = listed.map_err(failed(&self.location, "list", EFFECTS))?;
        let names: Vec<&str> =
            found.objects.iter().filter_map(|m| m.location.filename()?.strip_suffix(".json")).collect();
        let mut effects = Vec::new();
        for name in names.iter().filter(|name| !name.contains('-')) {
            if names.contains(&format!("{name}-undone").as_str()) {
                continue;
            }
            if let Some(record) = self.load::<EffectRecord>(&format!("{EFFECTS}/{name}.json")).await? {
                effects.push(((*name).to_owned(), record.effect));
            }
        }
        Ok(effects)
    }

    /// Records how a run ended. The first outcome stays: it is returned where there was one.
    pub async fn outcome(&self, run_id: &str, outcome: Outcome) -> Result<Outcome, RepositoryError> {
        let object = self.run_object(run_id, "outcome.json")?;
        let record = OutcomeRecord { format: FORMAT.to_owned(), run_id: run_id.to_owned(), outcome };
        match self.create(&object, &record).await? {
            None => Ok(outcome),
            Some(found) => self.ended(run_id, &object, &self.parse(&object, &found)?),
        }
    }

    /// How a run ended, where `outcome.json` says so.
    pub async fn outcome_of(&self, run_id: &str) -> Result<Option<Outcome>, RepositoryError> {
        let object = self.run_object(run_id, "outcome.json")?;
        let found: Option<OutcomeRecord> = self.load(&object).await?;
        found.map(|record| self.ended(run_id, &object, &record)).transpose()
    }

    fn ended(&self, run_id: &str, object: &str, record: &OutcomeRecord) -> Result<Outcome, RepositoryError> {
        match record.run_id == run_id {
            true => Ok(record.outcome),
            false => Err(self.tampered(object, "it is the outcome of another run")),
        }
    }

    fn of_run(&self, run_id: &str, object: &str, record: ReceiptRecord) -> Result<Receipt, RepositoryError> {
        match record.run_id == run_id {
            true => Ok(record.receipt),
            false => Err(self.tampered(object, "it is a receipt of another run")),
        }
    }

    /// Keeps other processes of this machine from the same work while the lock lives; the system frees that of a dead process.
    /// `None` where the state is not on this machine: there only claims tell.
    pub fn lock(&self, work: &str) -> Result<Option<WorkLock>, RepositoryError> {
        let Some(folder) = &self.location.folder else { return Ok(None) };
        let path = folder.join("runs").join(format!("lock-{work}"));
        let failed = |e: std::io::Error| RepositoryError::Internal { problem: format!("lock {}: {e}", path.display()) };
        std::fs::create_dir_all(folder.join("runs")).map_err(failed)?;
        let file = std::fs::File::options().create(true).append(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(WorkLock { _file: file })),
            Err(std::fs::TryLockError::WouldBlock) => {
                Err(self
                    .lost(&path.display().to_string(), "another process is at the same work; this one changed nothing"))
            }
            Err(std::fs::TryLockError::Error(e)) => Err(failed(e)),
        }
    }

    /// Claims a run for this process: every earlier claim is void from now on.
    pub async fn claim(&self, run_id: &str) -> Result<Claim, RepositoryError> {
        let nonce = random_hex().map_err(|e| RepositoryError::Internal { problem: e.to_string() })?;
        loop {
            let highest = self.highest_claim(run_id).await?;
            let n = highest.checked_add(1).ok_or_else(|| self.tampered("claims", "there is no higher number"))?;
            let record = ClaimRecord { format: FORMAT.to_owned(), run_id: run_id.to_owned(), n, nonce: nonce.clone() };
            let object = self.run_object(run_id, &format!("claims/{n}"))?;
            match self.create(&object, &record).await? {
                None => return Ok(Claim { run_id: run_id.to_owned(), n }),
                Some(found) if self.parse::<ClaimRecord>(&object, &found)?.nonce == nonce => {
                    return Ok(Claim { run_id: run_id.to_owned(), n });
                }
                Some(_) => {}
            }
        }
    }

    /// Checks that a claim is still the highest; else another process has taken the run over (exit 11).
    pub async fn check_claim(&self, claim: &Claim) -> Result<(), RepositoryError> {
        if self.highest_claim(&claim.run_id).await? == claim.n {
            return Ok(());
        }
        Err(self.lost(
            &self.run_object(&claim.run_id, &format!("claims/{}", claim.n))?,
            "another process has taken this run over; this one stopped writing",
        ))
    }

    async fn highest_claim(&self, run_id: &str) -> Result<u64, RepositoryError> {
        let folder = self.run_object(run_id, "claims")?;
        let found = self
            .location
            .store
            .list_with_delimiter(Some(&self.location.path(&folder)?))
            .await
            .map_err(failed(&self.location, "list", &folder))?;
        Ok(found.objects.iter().filter_map(|m| m.location.filename()?.parse().ok()).max().unwrap_or(0))
    }

    async fn open_run(&self, run_id: &str) -> Result<Option<Intent>, RepositoryError> {
        let Some(intent) = self.intent(run_id).await? else { return Ok(None) };
        if self.outcome_of(run_id).await?.is_some() {
            return Ok(None);
        }
        if self.repository.is_some() && self.is_there(&paths::manifest(&intent.snapshot_id)).await? {
            return Ok(None);
        }
        if let (Some(keys), Some(named)) = (&self.keys, &intent.keyring) {
            keys.check_named(named.generation, &named.digest, &format!("runs/{run_id}/intent.json"))
                .map_err(|source| RepositoryError::Key { url: self.location.url.clone(), source })?;
        }
        Ok(Some(intent))
    }

    async fn is_there(&self, object: &str) -> Result<bool, RepositoryError> {
        small::exists(self.location.store.as_ref(), &self.location.path(object)?).await.map_err(failed(
            &self.location,
            "look for",
            object,
        ))
    }

    fn receipt_folder(&self, run_id: &str, receipt: &Receipt) -> Result<String, RepositoryError> {
        let (dataset, split) = (self.path_part(&receipt.dataset), self.path_part(&receipt.split));
        self.run_object(run_id, &format!("receipts/{}/{dataset}/{split}", paths::escape(&receipt.phase)))
    }

    fn path_part(&self, name: &str) -> String {
        part_for(self.keys.as_ref(), name)
    }

    /// The path below the root of an object of a run.
    fn run_object(&self, run_id: &str, name: &str) -> Result<String, RepositoryError> {
        match is_run_id(run_id) {
            true => Ok(format!("runs/{run_id}/{name}")),
            false => Err(RepositoryError::Usage {
                problem: format!("{run_id:?} is no run id; one has letters, digits and hyphens"),
            }),
        }
    }

    /// Creates an object; gives what is there where it exists.
    async fn create<T: Serialize>(&self, object: &str, value: &T) -> Result<Option<Bytes>, RepositoryError> {
        let bytes = clear::encode(value).map_err(|e| RepositoryError::Internal { problem: e.to_string() })?;
        let path = self.location.path(object)?;
        match small::create(self.store.as_ref(), &path, &bytes).await {
            Ok(Creation::Created) => Ok(None),
            Ok(Creation::Exists(found)) => Ok(Some(found)),
            Err(e) => Err(self.store_error("create", object, e)),
        }
    }

    async fn load<T: DeserializeOwned>(&self, object: &str) -> Result<Option<T>, RepositoryError> {
        let path: Path = self.location.path(object)?;
        match small::read_if_there(self.store.as_ref(), &path).await {
            Ok(Some(bytes)) => Ok(Some(self.parse(object, &bytes)?)),
            Ok(None) => Ok(None),
            Err(e) => Err(self.store_error("read", object, e)),
        }
    }

    fn parse<T: DeserializeOwned>(&self, object: &str, bytes: &[u8]) -> Result<T, RepositoryError> {
        let tampered = |e: clear::ClearError| self.tampered(object, &e.to_string());
        let version: Version = clear::decode(bytes).map_err(tampered)?;
        let other = version.format.filter(|format| format != FORMAT).map(|format| format!("it has format {format:?}"));
        let problem = other.or_else(|| version.features.unknown().map(features::problem));
        if let Some(problem) = problem {
            let (url, object) = (self.location.url.clone(), object.to_owned());
            return Err(RepositoryError::TooNew { url, object, problem });
        }
        clear::decode(bytes).map_err(tampered)
    }

    /// A sealed object that does not open is damage, whatever else the store says.
    fn store_error(&self, action: &'static str, object: &str, error: object_store::Error) -> RepositoryError {
        match exit_class_of(&error) {
            ExitClass::Tampered => self.tampered(object, &error.to_string()),
            _ => failed(&self.location, action, object)(error),
        }
    }

    fn tampered(&self, object: &str, problem: &str) -> RepositoryError {
        tampered(&self.location, object, problem)
    }

    fn lost(&self, object: &str, problem: &str) -> RepositoryError {
        RepositoryError::LostRace {
            url: self.location.url.clone(),
            object: object.to_owned(),
            problem: problem.to_owned(),
        }
    }
}

fn is_run_id(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

impl fmt::Debug for RunStateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunStateStore")
            .field("url", &self.location.url)
            .field("sealed", &self.keys.is_some())
            .finish_non_exhaustive()
    }
}

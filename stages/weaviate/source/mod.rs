//! A server as a source: collections as datasets, ranges of ids as splits.

mod activate;
mod discover;
mod export;
mod filter;
pub(super) mod pages;
mod ranges;
mod read;
mod state;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use datafusion::logical_expr::Expr;
use futures::StreamExt;
use restow_core::stage::{
    Artifact, Dataset, Effects, Evidence, OpenContext, Pushdown, ReadRequest, Settled, Source, SourceFactory,
    SourceIdentity, Split, SplitStream,
};
use restow_core::{EngineError, ExitClass, Result};
use restow_spec::pipeline::Component;
use serde_json::{Value, json};

use super::client::Client;
use super::config::{self, Consistency, InvertedIndex, Reader, SourceOptions};
use super::export::{self as exported, Export};
use discover::{Collection, discover};
use export::{Exporter, Made};
use filter::{Index, Lookups};
use ranges::{Piece, pieces};
use read::Task;

/// The first versions that count what a filter finds by gRPC: older ones are not asked.
const COUNTS_FILTERS: (u32, u32) = (1, 29);

/// How often what has changed since it was read is read again.
const SETTLE_ROUNDS: u32 = 10;
/// What a scan is by itself.
const FUZZY: &str = "fuzzy: each object as it was at some moment while its range of ids was read, between start and end of the run; of \
                     objects written or deleted meanwhile, any state in that time, or none";

/// Opens a server.
pub(super) struct Factory;

#[async_trait]
impl SourceFactory for Factory {
    async fn open(&self, component: &Component, context: &OpenContext) -> Result<Arc<dyn Source>> {
        let options: SourceOptions = config::options(component)?;
        let connection = config::connection(options.connection.as_deref(), options.url.as_deref(), context)?;
        let client = Client::connect(&connection, context).await?;
        let exporter = match &options.reader {
            Reader::Scan => None,
            Reader::Export(reader) => Some(Exporter::new(&client, reader, context).await?),
        };
        let mut found = discover(&client, &options).await?;
        let is_trusted = options.inverted_index == InvertedIndex::Trust;
        if is_trusted && client.server().is_at_least(COUNTS_FILTERS.0, COUNTS_FILTERS.1) {
            for collection in &mut found.collections {
                collection.index = Index::of(&collection.class.text, &collection.columns);
            }
        }
        let datasets = found.collections.iter().map(|collection| collection.dataset.clone()).collect();
        Ok(Arc::new(Weaviate {
            client,
            page_bytes: usize::try_from(options.page_bytes.bytes()).unwrap_or(usize::MAX),
            collections: found.collections,
            datasets,
            artifacts: found.artifacts,
            skipped: found.skipped,
            notes: found.notes,
            fingerprint: found.fingerprint,
            is_active: AtomicBool::new(false),
            settles: options.consistency == Consistency::Settled,
            exporter,
            export: OnceLock::new(),
            is_trusted,
            lookups: Lookups::default(),
            pieces: Mutex::default(),
        }))
    }
}

/// An opened server.
#[derive(Debug)]
struct Weaviate {
    client: Client,
    page_bytes: usize,
    collections: Vec<Collection>,
    datasets: Vec<Dataset>,
    artifacts: Vec<Artifact>,
    /// Tenants that are not read, as `Collection/tenant`.
    skipped: Vec<String>,
    /// What may be missing of the whole, and why.
    notes: Vec<String>,
    fingerprint: String,
    /// Whether the inactive tenants were activated.
    is_active: AtomicBool,
    /// Whether what changes while it is read is read again.
    settles: bool,
    /// Makes the server's own export, where that is the reader.
    exporter: Option<Exporter>,
    /// That export, once it is made.
    export: OnceLock<Export>,
    /// Whether the user trusts the inverted index.
    is_trusted: bool,
    lookups: Lookups,
    /// The ranges that were made, by collection, tenant and parallelism.
    pieces: Mutex<HashMap<Scope, Vec<Piece>>>,
}

/// A collection, its tenant, and how many ranges are read at once.
type Scope = (String, Option<String>, usize);

impl Weaviate {
    /// What the data is a copy of, for the manifest.
    fn consistency(&self) -> String {
        match (&self.exporter, self.export.get()) {
            (None, _) if self.settles => format!(
                "settled: what changes while it is read is read again, up to {SETTLE_ROUNDS} times, until all of it is as it was at one moment"
            ),
            (None, _) => FUZZY.to_owned(),
            (Some(_), Some(export)) => format!("{}; definitions as they were just before", export.consistency()),
            (Some(_), None) => "the server's own export, which is not made yet".to_owned(),
        }
    }

    /// The export of an earlier attempt, by its token.
    fn made(token: &Value) -> Option<Made> {
        serde_json::from_value(token.get("export")?.clone()).ok()
    }

    async fn activate(&self, effects: &Effects) -> Result<()> {
        let inactive = self.collections.iter().filter(|collection| !collection.inactive.is_empty());
        let tenants = inactive.map(|collection| (collection.class.name.clone(), collection.inactive.clone())).collect();
        activate::activate(&self.client, tenants, effects).await?;
        self.is_active.store(true, Relaxed);
        Ok(())
    }

    /// With the tenants that are left out, or are active only while they are read.
    fn with_tenants(&self, mut consistency: String) -> String {
        if !self.skipped.is_empty() {
            consistency.push_str("; inactive tenants left out: ");
            consistency.push_str(&self.skipped.join(", "));
        }
        let of = |collection: &Collection| {
            let class = collection.class.name.clone();
            collection.inactive.iter().map(move |tenant| format!("{class}/{tenant}")).collect::<Vec<_>>()
        };
        let inactive: Vec<String> = self.collections.iter().flat_map(of).collect();
        if !inactive.is_empty() && self.exporter.is_none() {
            consistency.push_str("; inactive tenants activated while they are read: ");
            consistency.push_str(&inactive.join(", "));
        }
        for note in &self.notes {
            consistency.push_str("; ");
            consistency.push_str(note);
        }
        consistency
    }

    /// What of a piece is left by the filters.
    async fn task(&self, collection: &Collection, piece: &Piece, filters: &[Expr]) -> Result<Task> {
        let (whole, tenant) = (piece.ids()?, piece.tenant.as_deref());
        let mut ids = filter::ids_of(collection, filters, tenant).and(&whole);
        let mut because = (ids != whole).then_some("the filters leave no other id of this range");
        if !ids.is_empty()
            && let Some(search) = filter::search(&collection.index, filters)
        {
            let class = collection.class.name.as_str();
            let found = self.lookups.find(&self.client, class, tenant, &search).await;
            let about = || format!("{}: searching the inverted index of {class}", self.client.name());
            if let Some(found) = found.map_err(|fault| fault.about(about()))? {
                ids = ids.and(&found);
                because = Some("the inverted index finds no other object of this range");
            }
        }
        Ok(Task { tenant: piece.tenant.clone(), ids, because })
    }

    /// The ranges of a scope. They hold every id there can be, so that those of the plan are as good for the run.
    async fn pieces(&self, collection: &Collection, tenant: Option<&str>, parallel: usize) -> Result<Vec<Piece>> {
        let class = collection.class.name.as_str();
        let key = (class.to_owned(), tenant.map(str::to_owned), parallel);
        if let Some(known) = self.pieces.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let found = pieces(&self.client, class, tenant, collection.count(tenant), parallel).await?;
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner).insert(key, found.clone());
        Ok(found)
    }

    fn collection(&self, name: &str) -> Result<&Collection> {
        self.collections.iter().find(|collection| collection.class.name == name).ok_or_else(|| {
            EngineError::new(ExitClass::NotFound, format!("{} has no collection {name:?}", self.client.name()))
        })
    }
}

fn piece_of(split: &Split) -> Result<Piece> {
    serde_json::from_value(split.payload.clone()).map_err(|error| unread(split, &error))
}

fn unread(split: &Split, error: &serde_json::Error) -> EngineError {
    EngineError::failed(format!("split {:?} of the run cannot be read: {error}", split.id))
}

#[async_trait]
impl Source for Weaviate {
    fn identity(&self) -> SourceIdentity {
        let consistency = self.consistency();
        SourceIdentity {
            kind: config::NAME.to_owned(),
            address: format!("{} version {}", self.client.name(), self.client.server().version),
            fingerprint: self.fingerprint.clone(),
            consistency: self.with_tenants(consistency),
        }
    }

    fn settle_rounds(&self) -> Option<u32> {
        self.settles.then_some(SETTLE_ROUNDS)
    }

    async fn is_as_read(&self, dataset: &str, split: &Split, evidence: &Evidence) -> Result<bool> {
        let piece = piece_of(split)?;
        let now = state::of_piece(&self.client, dataset, &piece)
            .await
            .map_err(|fault| fault.about(format!("{}: looking for changes in {dataset:?}", self.client.name())))?;
        Ok(evidence.state.as_deref() == Some(now.as_str()))
    }

    fn settled_consistency(&self, settled: &Settled) -> String {
        self.with_tenants(match settled {
            Settled::At(moment) => format!(
                "settled: the objects as they were at {}, by restow's clock: each was read before, and its time of the last change \
                 (to the millisecond) was the same after; collections and tenants are those that were there at the start of the run",
                moment.to_rfc3339()
            ),
            Settled::Changing { pieces, rounds } => format!(
                "{FUZZY}; not settled: {pieces} ranges of ids were still changing after they were read again {rounds} times"
            ),
        })
    }

    fn datasets(&self) -> &[Dataset] {
        &self.datasets
    }

    fn notes(&self) -> Vec<String> {
        self.notes.iter().map(|note| format!("{}: {note}", self.client.name())).collect()
    }

    fn artifacts(&self) -> &[Artifact] {
        &self.artifacts
    }

    /// Nothing can be pinned on a server: the token only says when the scan began. An export is a copy, and the token names it.
    async fn acquire(&self, effects: &Effects) -> Result<Value> {
        if let Some(exporter) = &self.exporter {
            let (made, export) = exporter.make(&self.collections, effects).await?;
            let _ = self.export.set(export);
            return Ok(
                json!({ "started": chrono::Utc::now(), "server": self.client.server().version, "export": made }),
            );
        }
        self.activate(effects).await?;
        Ok(json!({ "started": chrono::Utc::now(), "server": self.client.server().version }))
    }

    async fn clear(&self, effects: &Effects) -> Result<bool> {
        let dead = effects.of_the_dead().await?;
        let cancelled = export::cancel(&self.client, dead.clone(), effects).await?;
        Ok(activate::put_back(&self.client, dead, effects).await? || cancelled)
    }

    async fn resume(&self, token: &Value, effects: &Effects) -> Result<()> {
        if let (Some(exporter), Some(made)) = (&self.exporter, Self::made(token)) {
            let _ = self.export.set(exporter.reopen(&made, &self.collections).await?);
            return Ok(());
        }
        self.activate(effects).await
    }

    async fn release(&self, _token: &Value, effects: &Effects) -> Result<()> {
        export::cancel(&self.client, effects.own(), effects).await?;
        activate::put_back(&self.client, effects.own(), effects).await.map(drop)
    }

    /// What was read of a fuzzy scan stays as true as the rest of it; of an export, while that is there.
    async fn still_valid(&self, token: &Value) -> Result<bool> {
        match (&self.exporter, Self::made(token)) {
            (Some(exporter), Some(made)) => exporter.is_there(&made).await,
            (exporter, made) => Ok(exporter.is_none() && made.is_none()),
        }
    }

    async fn splits(&self, dataset: &Dataset, parallel: usize) -> Result<Vec<Split>> {
        let collection = self.collection(&dataset.name)?;
        if let Some(export) = self.export.get() {
            return Ok(export.splits(&dataset.name, |tenant| collection.wants(tenant)));
        }
        // Without an export, as for a plan or a sample, the API tells and reads the same.
        let mut splits = Vec::new();
        for tenant in collection.scopes() {
            // A plan or a sample activates nobody, and reading an inactive tenant may do just that.
            let inactive = tenant.is_some_and(|tenant| collection.inactive.iter().any(|name| name == tenant));
            if inactive && !self.is_active.load(Relaxed) {
                continue;
            }
            for piece in self.pieces(collection, tenant, parallel).await? {
                let payload =
                    serde_json::to_value(&piece).map_err(|error| EngineError::failed(format!("split: {error}")))?;
                let id = format!("r{:05}", splits.len());
                splits.push(Split { id, payload, rows: piece.rows, bytes: None });
            }
        }
        Ok(splits)
    }

    fn pushdown(&self, dataset: &Dataset, filter: &Expr) -> Pushdown {
        // A settled scan looks at whole ranges again, and must have read them; an export is read whole.
        let takes = !self.settles && self.exporter.is_none();
        let collection = self.collection(&dataset.name).ok().filter(|_| takes);
        collection.map_or(Pushdown::No, |collection| filter::pushdown(collection, filter))
    }

    fn explain(&self, dataset: &Dataset, filters: &[Expr]) -> Vec<String> {
        let Ok(collection) = self.collection(&dataset.name) else { return Vec::new() };
        let mut lines = filter::explain(collection, filters);
        let server = self.client.server();
        if self.is_trusted && !server.is_at_least(COUNTS_FILTERS.0, COUNTS_FILTERS.1) {
            lines
                .push(format!("the inverted index is not used: version {} cannot count what it finds", server.version));
        }
        lines
    }

    async fn read(&self, request: ReadRequest) -> Result<SplitStream> {
        let collection = self.collection(&request.dataset)?;
        let payload = &request.split.payload;
        if let Some(export) = self.export.get().filter(|_| payload.get("file").is_some()) {
            let (class, columns) = (collection.class.clone(), collection.columns.clone());
            let piece = serde_json::from_value(payload.clone()).map_err(|error| unread(&request.split, &error))?;
            return exported::read(export, &exported::Readable { class, columns }, piece, &request).await;
        }
        let piece = piece_of(&request.split)?;
        let task = self.task(collection, &piece, &request.filters).await?;
        let reading = read::Reading::new(self.client.clone(), collection, task, &request, self.page_bytes)?;
        Ok(reading.events().boxed())
    }
}

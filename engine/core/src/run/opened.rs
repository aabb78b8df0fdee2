//! The first effect of every command that touches the world: source, sink and session of a pipeline.

use std::sync::Arc;

use restow_spec::pipeline::Pipeline;
use restow_store::location::{self, StoreOptions};
use restow_store::run_state::RunStateStore;

use super::RunRequest;
use crate::error::Result;
use crate::exec::RetryPolicy;
use crate::record::batch_rows;
use crate::session::{SessionLimits, session};
use crate::stage::{ByteStages, OpenContext, Registry, Sink, SinkContext, Source};
use datafusion::prelude::SessionContext;

/// Where the run state lies if neither the sink nor the pipeline has a place for it.
const DEFAULT_STATE: &str = ".restow/state";

/// How many splits are read at once where the pipeline does not say.
pub fn default_parallel() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// A pipeline whose source and sink are open.
pub struct OpenedPipeline {
    /// The source.
    pub source: Arc<dyn Source>,
    /// The target.
    pub sink: Arc<dyn Sink>,
    /// The session that all its datasets are compiled in.
    pub session: SessionContext,
    /// Where the run state goes.
    pub state: RunStateStore,
}

/// Opens source and sink, and creates nothing.
///
/// # Errors
/// One of them cannot be reached, or refuses.
pub async fn open_pipeline(pipeline: &Pipeline, registry: &Registry, context: &OpenContext) -> Result<OpenedPipeline> {
    let source = registry.source(&pipeline.source.name)?;
    let opening = || async { source.open(&pipeline.source, context).await };
    let source = patiently(pipeline, opening).await.map_err(|error| error.at(&pipeline.source.pointer))?;
    let sink_context = SinkContext { open: context.clone(), may_create: false, progress: Arc::default() };
    let sink = open_sink(pipeline, registry, &sink_context).await?;
    let widest = source.datasets().iter().map(|dataset| batch_rows(&dataset.schema)).min().unwrap_or(1024);
    let limits = SessionLimits { memory: context.memory, parallel: context.parallel, batch_rows: widest };
    let session = session(registry, limits)?;
    let state = match sink.run_state() {
        Some(state) => state,
        None => own_state(pipeline, context, source.as_ref(), sink.as_ref())?,
    };
    Ok(OpenedPipeline { source, sink, session, state })
}

async fn open_sink(pipeline: &Pipeline, registry: &Registry, context: &SinkContext) -> Result<Arc<dyn Sink>> {
    let bytes = ByteStages { codec: pipeline.codec.clone(), encrypt: pipeline.encrypt.clone() };
    let sink = registry.sink(&pipeline.sink.name)?;
    let opening = || async { sink.open(&pipeline.sink, &bytes, context).await };
    patiently(pipeline, opening).await.map_err(|error| error.at(&pipeline.sink.pointer))
}

/// Opening is tried as often as everything else: a server that is asked for less, or just starts, is no reason to give up a run.
async fn patiently<T, F: Future<Output = Result<T>>>(pipeline: &Pipeline, open: impl Fn() -> F) -> Result<T> {
    let retry = &pipeline.on_error.retry;
    let policy = RetryPolicy { attempts: retry.attempts.max(1), first_delay: retry.delay, max_delay: retry.max_delay };
    let mut tries = 1;
    loop {
        let error = match open().await {
            Ok(opened) => return Ok(opened),
            Err(error) => error,
        };
        let Some(pause) = policy.pause(tries, &error) else { return Err(error) };
        tokio::time::sleep(pause).await;
        tries += 1;
    }
}

/// Lets the sink create what it lacks: keys, a repository, folders.
///
/// # Errors
/// It cannot be created; what was created before that is used by the next run.
pub(super) async fn make_sink(opened: OpenedPipeline, request: &RunRequest<'_>) -> Result<OpenedPipeline> {
    if !opened.sink.to_be_made() {
        return Ok(opened);
    }
    let progress = Arc::clone(&request.progress);
    let context = SinkContext { open: request.context.clone(), may_create: true, progress };
    let sink = open_sink(request.pipeline, request.registry, &context).await?;
    let state = match sink.run_state() {
        Some(state) => state,
        None => own_state(request.pipeline, &request.context, opened.source.as_ref(), sink.as_ref())?,
    };
    Ok(OpenedPipeline { sink, state, ..opened })
}

/// Sealed where source or sink is encrypted: intents and rejects hold values.
fn own_state(
    pipeline: &Pipeline,
    context: &OpenContext,
    source: &dyn Source,
    sink: &dyn Sink,
) -> Result<RunStateStore> {
    let url = match &pipeline.state {
        Some(url) => url.clone(),
        None => context.directory.join(DEFAULT_STATE).display().to_string(),
    };
    let options = StoreOptions { environment: context.store_environment(), ..StoreOptions::default() };
    let keys = sink.keys().or_else(|| source.keys());
    let place = location::open(&url, &options)?;
    // Runs under other keys, or none, have a place of their own: nobody finds what cannot be opened.
    let place = match &keys {
        Some(keys) => place.join(&format!("sealed-{}", keys.repository_id()))?,
        None => place,
    };
    Ok(RunStateStore::at(place, keys.as_ref()))
}

//! The first effect of every command that touches the world: source, sink and session of a pipeline.

use std::sync::Arc;

use restow_spec::pipeline::Pipeline;
use restow_store::location::{self, StoreOptions};
use restow_store::run_state::RunStateStore;

use crate::error::Result;
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

/// Opens source and sink; with `may_create` the sink may make keys, a repository or folders.
///
/// # Errors
/// One of them cannot be reached, or refuses.
pub async fn open_pipeline(
    pipeline: &Pipeline,
    registry: &Registry,
    context: &OpenContext,
    may_create: bool,
) -> Result<OpenedPipeline> {
    let source = registry.source(&pipeline.source.name)?;
    let source = source.open(&pipeline.source, context).await.map_err(|error| error.at(&pipeline.source.pointer))?;
    let bytes = ByteStages { codec: pipeline.codec.clone(), encrypt: pipeline.encrypt.clone() };
    let sink_context = SinkContext { open: context.clone(), may_create };
    let sink = registry.sink(&pipeline.sink.name)?;
    let sink =
        sink.open(&pipeline.sink, &bytes, &sink_context).await.map_err(|error| error.at(&pipeline.sink.pointer))?;
    let widest = source.datasets().iter().map(|dataset| batch_rows(&dataset.schema)).min().unwrap_or(1024);
    let limits = SessionLimits { memory: context.memory, parallel: context.parallel, batch_rows: widest };
    let session = session(registry, limits)?;
    let state = match sink.run_state() {
        Some(state) => state,
        None => own_state(pipeline, context, source.as_ref())?,
    };
    Ok(OpenedPipeline { source, sink, session, state })
}

fn own_state(pipeline: &Pipeline, context: &OpenContext, source: &dyn Source) -> Result<RunStateStore> {
    let url = match &pipeline.state {
        Some(url) => url.clone(),
        None => context.directory.join(DEFAULT_STATE).display().to_string(),
    };
    let options = StoreOptions { environment: context.store_environment(), ..StoreOptions::default() };
    Ok(RunStateStore::at(location::open(&url, &options)?, source.keys().as_ref()))
}

//! One function builds the session of every role: run, plan, test and query.

mod overflow;

use std::num::NonZeroUsize;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::error::Result;
use crate::stage::Registry;

/// The memory of a run where the pipeline names none, in bytes.
pub const DEFAULT_MEMORY: u64 = 512 << 20;
/// Consumers named in an out-of-memory message.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::new(5).unwrap();
/// Rules that would replace the scan by nothing (`WHERE false`) or take a filter apart from its counters: every plan
/// keeps its scan and its filters, so that the counts can meet. The last two push JSON functions below projections,
/// where DataFusion 55 makes a schema with both a qualified and an unqualified column of one name, and fails.
const RULES_LEFT_OUT: [&str; 4] =
    ["eliminate_filter", "propagate_empty_relation", "extract_leaf_expressions", "push_down_leaf_projections"];

/// What a session may use.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// Memory for sorts, joins, aggregates and writers, in bytes.
    pub memory: u64,
    /// Parallelism of the plan.
    pub parallel: usize,
    /// Rows a batch, see [`crate::record::batch_rows`].
    pub batch_rows: usize,
}

/// A session with restow's functions. SQL identifiers are case-sensitive, strings stay `Utf8`, nothing is repartitioned
/// behind our back.
///
/// # Errors
/// The runtime cannot be set up, or a function package refuses.
pub fn session(registry: &Registry, limits: SessionLimits) -> Result<SessionContext> {
    let rules = SessionStateBuilder::new_with_default_features().build().optimizer().rules.clone();
    let kept = rules.into_iter().filter(|rule| !RULES_LEFT_OUT.contains(&rule.name())).collect();
    let state = SessionStateBuilder::new()
        .with_config(config(limits))
        .with_runtime_env(runtime(limits.memory)?)
        .with_default_features()
        .with_optimizer_rules(kept)
        .build();
    let session = SessionContext::new_with_state(state);
    registry.register_functions(&session)?;
    Ok(session)
}

fn config(limits: SessionLimits) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(limits.parallel.max(1))
        .with_batch_size(limits.batch_rows.max(1))
        .with_round_robin_repartition(false)
        .with_information_schema(false);
    let options = config.options_mut();
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    options.execution.parquet.schema_force_view_types = false;
    options.execution.parquet.skip_metadata = false;
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    options.execution.time_zone = Some("+00:00".to_owned());
    config
}

/// Spilling to disk is off: spill files would be plaintext. What does not fit into `memory` is a clear error.
fn runtime(memory: u64) -> Result<Arc<RuntimeEnv>> {
    let memory = usize::try_from(memory).unwrap_or(usize::MAX);
    let pool = TrackConsumersPool::new(FairSpillPool::new(memory), NAMED_CONSUMERS);
    Ok(RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .with_object_list_cache_limit(0)
        .build_arc()?)
}

/// Optimises and plans, with `now()` meaning the given time.
///
/// # Errors
/// The plan is not valid.
pub async fn physical(
    session: &SessionContext,
    plan: &LogicalPlan,
    now: DateTime<Utc>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut state: SessionState = session.state();
    state.execution_props_mut().query_execution_start_time = Some(now);
    Ok(overflow::checked(state.create_physical_plan(plan).await?)?)
}

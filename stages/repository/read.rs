//! Reads Parquet objects through DataFusion's own scan: projection, pruning and late filtering for free.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::ToDFSchema;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::DefaultParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreUrl};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_plan::ExecutionPlan;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use restow_core::{EngineError, Result};

/// What to read of one Parquet object.
pub struct ParquetScan<'a> {
    /// The store that has it in plain text.
    pub store: Arc<dyn ObjectStore>,
    /// Its path there.
    pub path: String,
    /// Its plain bytes.
    pub bytes: u64,
    /// All its columns.
    pub file_schema: SchemaRef,
    /// The columns to give.
    pub schema: SchemaRef,
    /// Filters that rows must pass to be of interest; rows that do not pass may or may not be given.
    pub filters: &'a [Expr],
    /// At most this many rows are of interest.
    pub limit: Option<usize>,
    /// Rows a batch.
    pub batch_rows: usize,
}

/// The rows of one Parquet object.
///
/// # Errors
/// The filters do not fit the columns.
pub fn scan_parquet(scan: ParquetScan<'_>, task: &TaskContext) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let url = ObjectStoreUrl::parse("restow://data")?;
    let mut source = ParquetSource::new(Arc::clone(&scan.file_schema))
        // The caching reader would turn errors of the store into text, and with it what they mean.
        .with_parquet_file_reader_factory(Arc::new(DefaultParquetFileReaderFactory::new(Arc::clone(&scan.store))))
        .with_pushdown_filters(true)
        .with_bloom_filter_on_read(true)
        .with_enable_page_index(true);
    if let Some(filter) = conjunction(scan.filters.iter().cloned()) {
        let columns = Arc::clone(&scan.file_schema).to_dfschema()?;
        source = source.with_predicate(create_physical_expr(&filter, &columns, &ExecutionProps::new(), &PhysicalPlanningContext::default())?);
    }
    let indices: Vec<usize> =
        scan.schema.fields().iter().map(|field| scan.file_schema.index_of(field.name())).collect::<Result<_, _>>()?;
    let config = FileScanConfigBuilder::new(url.clone(), Arc::new(source))
        .with_file(PartitionedFile::new(scan.path, scan.bytes))
        .with_projection_indices(Some(indices))?
        .with_limit(scan.limit)
        .with_batch_size(Some(scan.batch_rows))
        .build();
    let plan = DataSourceExec::from_data_source(config);
    let rows = plan.execute(0, own_runtime(task, &url, scan.store)?)?;
    Ok(rows.map_err(EngineError::from).boxed())
}

/// The same memory and settings, and a store registry of its own: caches and stores of two repositories never meet.
fn own_runtime(task: &TaskContext, url: &ObjectStoreUrl, store: Arc<dyn ObjectStore>) -> Result<Arc<TaskContext>> {
    let runtime = RuntimeEnvBuilder::from_runtime_env(&task.runtime_env())
        .with_object_store_registry(Arc::new(DefaultObjectStoreRegistry::new()))
        .with_object_list_cache_limit(0)
        .build_arc()?;
    runtime.register_object_store(url.as_ref(), store);
    Ok(Arc::new(TaskContext::new(
        task.task_id(),
        task.session_id(),
        task.session_config().clone(),
        task.scalar_functions().clone(),
        task.higher_order_functions().clone(),
        task.aggregate_functions().clone(),
        task.window_functions().clone(),
        runtime,
    )))
}


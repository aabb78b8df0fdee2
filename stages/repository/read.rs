//! Reads Parquet objects through DataFusion's own scan: projection, pruning and late filtering for free.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::common::ToDFSchema;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetFileReaderFactory;
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
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use restow_core::{EngineError, ExitClass, Result};

/// Bytes at the end of an object that are fetched first: mostly they hold the whole footer.
const FOOTER_HINT: usize = 256 << 10;

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
        .with_parquet_file_reader_factory(Arc::new(Readers { store: Arc::clone(&scan.store), bytes: scan.bytes }))
        .with_pushdown_filters(true)
        .with_bloom_filter_on_read(true)
        .with_enable_page_index(true);
    if let Some(filter) = conjunction(scan.filters.iter().cloned()) {
        let columns = Arc::clone(&scan.file_schema).to_dfschema()?;
        source = source.with_predicate(create_physical_expr(
            &filter,
            &columns,
            &ExecutionProps::new(),
            &PhysicalPlanningContext::default(),
        )?);
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

/// The footer of an object of `bytes` plain bytes, and where its pages lie.
///
/// # Errors
/// It cannot be read, or is no Parquet.
pub fn footer<'a>(
    store: &'a Arc<dyn ObjectStore>,
    path: &'a Path,
    bytes: u64,
) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
    async move {
        let mut object = Object { store: Arc::clone(store), path: path.clone(), bytes, hint: FOOTER_HINT };
        // The places of the pages too: they lie just before the footer.
        let reader = ParquetMetaDataReader::new()
            .with_prefetch_hint(Some(FOOTER_HINT))
            .with_offset_index_policy(PageIndexPolicy::Optional);
        Ok(Arc::new(reader.load_and_finish(&mut object, bytes).await?))
    }
    .boxed()
}

/// Opens the one object of a scan. DataFusion's own readers turn errors of the store into text, and with it what they
/// mean: damage, or a store that stayed away.
#[derive(Debug)]
struct Readers {
    store: Arc<dyn ObjectStore>,
    bytes: u64,
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        _partition: usize,
        file: PartitionedFile,
        hint: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> datafusion::error::Result<Box<dyn AsyncFileReader + Send>> {
        let path = file.object_meta.location;
        let hint = hint.unwrap_or(FOOTER_HINT);
        Ok(Box::new(Object { store: Arc::clone(&self.store), path, bytes: self.bytes, hint }))
    }
}

/// Ranges of one object; its errors stay the store's own.
struct Object {
    store: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
    hint: usize,
}

impl AsyncFileReader for Object {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move { self.store.get_range(&self.path, range).await.map_err(damaged) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move { self.store.get_ranges(&self.path, &ranges).await.map_err(damaged) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let (size, hint) = (self.bytes, self.hint);
            let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(hint));
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}

/// A manifest names this object: where it is gone, the repository was damaged. Everything else means what it meant.
fn damaged(error: object_store::Error) -> ParquetError {
    if let object_store::Error::NotFound { path, .. } = &error {
        let message = format!("{path}: a file that the manifest names is gone");
        let error = EngineError::new(ExitClass::Tampered, message)
            .with_hint("restore another snapshot, or the datasets that are whole with `datasets:`");
        return ParquetError::External(Box::new(error));
    }
    ParquetError::External(Box::new(error))
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

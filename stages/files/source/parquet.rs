//! Parquet through DataFusion's own source: an explicit file, a range of its row groups, a projection and a predicate.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, ParquetFileReaderFactory};
use datafusion::datasource::physical_plan::{FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::context::ExecutionProps;
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreUrl};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use restow_core::stage::ReadRequest;
use restow_core::{EngineError, Result};

use super::super::find::FoundFile;

/// Bytes of a split, about: row groups are put together until they have so many.
pub(super) const SPLIT_BYTES: u64 = 64 << 20;
/// Bytes that are read from the end of a file to get its footer in one request.
const FOOTER_HINT: u64 = 512 << 10;
/// The address under which DataFusion looks the file's store up, in a registry that only this scan sees.
const STORE_URL: &str = "restow-files://source";

/// Reads the footer of a file.
///
/// # Errors
/// The file is no Parquet file, or the store cannot be asked.
pub(super) async fn footer(file: &FoundFile) -> Result<Arc<ParquetMetaData>> {
    let mut reader = StoreReader::new(file, None, Arc::default());
    reader
        .load()
        .await
        .map(Arc::new)
        .map_err(|error| EngineError::from(error).context(format!("{:?} cannot be read as Parquet", file.shown)))
}

/// The Arrow schema that a footer describes.
///
/// # Errors
/// A type of the file has no counterpart in Arrow.
pub(super) fn schema_of(file: &FoundFile, footer: &ParquetMetaData) -> Result<Schema> {
    let metadata = footer.file_metadata();
    parquet_to_arrow_schema(metadata.schema_descr(), metadata.key_value_metadata())
        .map_err(|error| EngineError::from(error).context(format!("{:?} cannot be read as Parquet", file.shown)))
}

/// A range of row groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupRange {
    /// The groups.
    pub groups: Range<usize>,
    /// Their rows, by the footer.
    pub rows: u64,
    /// Their bytes, compressed.
    pub bytes: u64,
}

/// Cuts a file into ranges of about [`SPLIT_BYTES`]; at least one, so that an empty file is read too.
pub(super) fn ranges(footer: &ParquetMetaData) -> Vec<GroupRange> {
    let mut ranges: Vec<GroupRange> = Vec::new();
    for (n, group) in footer.row_groups().iter().enumerate() {
        let rows = u64::try_from(group.num_rows()).unwrap_or(0);
        let bytes = u64::try_from(group.compressed_size()).unwrap_or(0);
        match ranges.last_mut() {
            Some(last) if last.bytes + bytes <= SPLIT_BYTES => {
                last.groups.end = n + 1;
                last.rows += rows;
                last.bytes += bytes;
            }
            _ => ranges.push(GroupRange { groups: n..n + 1, rows, bytes }),
        }
    }
    if ranges.is_empty() {
        ranges.push(GroupRange { groups: 0..0, rows: 0, bytes: 0 });
    }
    ranges
}

/// One scan of a file.
pub(super) struct Scan<'a> {
    /// The file.
    pub file: &'a FoundFile,
    /// Its footer.
    pub footer: Arc<ParquetMetaData>,
    /// The row groups to read.
    pub groups: Range<usize>,
    /// All columns of the dataset that stand in its files.
    pub schema: &'a SchemaRef,
    /// The columns to give, as positions in `schema`.
    pub columns: Vec<usize>,
    /// Filters, batch size and memory.
    pub request: &'a ReadRequest,
}

/// Starts a scan. The counter gets the bytes that are fetched.
///
/// # Errors
/// The filter does not fit the columns.
pub(super) fn scan(scan: Scan<'_>) -> Result<(SendableRecordBatchStream, Arc<AtomicU64>)> {
    let fetched = Arc::new(AtomicU64::new(0));
    let readers = Readers { file: scan.file.clone(), footer: Arc::clone(&scan.footer), fetched: Arc::clone(&fetched) };
    let table = TableSchema::from(Arc::clone(scan.schema));
    let mut source = ParquetSource::new(table)
        .with_parquet_file_reader_factory(Arc::new(readers))
        .with_pushdown_filters(true)
        .with_reorder_filters(true)
        .with_enable_page_index(true);
    if let Some(predicate) = predicate(&scan.request.filters, scan.schema)? {
        source = source.with_predicate(predicate);
    }
    let mut access = ParquetAccessPlan::new_none(scan.footer.num_row_groups());
    for group in scan.groups {
        if group >= scan.footer.num_row_groups() {
            return Err(super::super::error::FilesError::Changed { file: scan.file.shown.clone() }.into());
        }
        access.scan(group);
    }
    let url = ObjectStoreUrl::parse(STORE_URL)?;
    let task = private_task(&scan.request.task, &url, &scan.file.store);
    let config = FileScanConfigBuilder::new(url, Arc::new(source))
        .with_file(PartitionedFile::new_from_meta(scan.file.meta.clone()).with_extension(access))
        .with_projection_indices(Some(scan.columns))?
        .with_batch_size(Some(scan.request.batch_rows.max(1)))
        .build();
    Ok((DataSourceExec::from_data_source(config).execute(0, task)?, fetched))
}

/// The run's context with a registry of its own: stores and caches are keyed by path, and collide across sources.
fn private_task(task: &TaskContext, url: &ObjectStoreUrl, store: &Arc<dyn ObjectStore>) -> Arc<TaskContext> {
    let runtime = RuntimeEnv {
        object_store_registry: Arc::new(DefaultObjectStoreRegistry::new()),
        ..RuntimeEnv::clone(&task.runtime_env())
    };
    runtime.register_object_store(url.as_ref(), Arc::clone(store));
    Arc::new(TaskContext::new(
        task.task_id(),
        task.session_id(),
        task.session_config().clone(),
        task.scalar_functions().clone(),
        task.higher_order_functions().clone(),
        task.aggregate_functions().clone(),
        task.window_functions().clone(),
        Arc::new(runtime),
    ))
}

fn predicate(filters: &[Expr], schema: &SchemaRef) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let Some(expr) = conjunction(filters.iter().cloned()) else { return Ok(None) };
    let bare = expr.transform(|node| {
        Ok(match node {
            Expr::Column(mut column) => {
                column.relation = None;
                Transformed::yes(Expr::Column(column))
            }
            other => Transformed::no(other),
        })
    })?;
    let columns = DFSchema::try_from(Arc::clone(schema))?;
    Ok(Some(create_physical_expr(&bare.data, &columns, &ExecutionProps::new(), &PhysicalPlanningContext::default())?))
}

/// Makes readers of one file that know its footer.
#[derive(Debug)]
struct Readers {
    file: FoundFile,
    footer: Arc<ParquetMetaData>,
    fetched: Arc<AtomicU64>,
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        _partition: usize,
        _file: PartitionedFile,
        _hint: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> datafusion::error::Result<Box<dyn AsyncFileReader + Send>> {
        Ok(Box::new(StoreReader::new(&self.file, Some(Arc::clone(&self.footer)), Arc::clone(&self.fetched))))
    }
}

/// Ranges of a file on an object store.
struct StoreReader {
    file: FoundFile,
    footer: Option<Arc<ParquetMetaData>>,
    fetched: Arc<AtomicU64>,
}

impl StoreReader {
    fn new(file: &FoundFile, footer: Option<Arc<ParquetMetaData>>, fetched: Arc<AtomicU64>) -> Self {
        Self { file: file.clone(), footer, fetched }
    }

    async fn load(&mut self) -> Result<ParquetMetaData, ParquetError> {
        let size = self.file.meta.size;
        let hint = usize::try_from(FOOTER_HINT.min(size)).ok();
        ParquetMetaDataReader::new().with_prefetch_hint(hint).load_and_finish(self, size).await
    }
}

impl fmt::Debug for StoreReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreReader").field("file", &self.file).finish_non_exhaustive()
    }
}

impl AsyncFileReader for StoreReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move {
            self.fetched.fetch_add(range.end.saturating_sub(range.start), Ordering::Relaxed);
            self.file.store.get_range(&self.file.meta.location, range).await.map_err(external)
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move {
            let bytes: u64 = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
            self.fetched.fetch_add(bytes, Ordering::Relaxed);
            self.file.store.get_ranges(&self.file.meta.location, &ranges).await.map_err(external)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            match &self.footer {
                Some(footer) => Ok(Arc::clone(footer)),
                None => self.load().await.map(Arc::new),
            }
        }
        .boxed()
    }
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// Decodes every column of a whole file that was just written, and counts its rows.
///
/// # Errors
/// It cannot be decoded.
pub(in crate::files) async fn scan_all(file: &FoundFile, request: &ReadRequest) -> Result<u64> {
    let footer = footer(file).await?;
    let groups = 0..footer.num_row_groups();
    let columns = (0..request.schema.fields().len()).collect();
    let (mut batches, _) = scan(Scan { file, footer, groups, schema: &request.schema, columns, request })?;
    let mut rows = 0;
    while let Some(batch) = batches.try_next().await? {
        rows += batch.num_rows() as u64;
    }
    Ok(rows)
}

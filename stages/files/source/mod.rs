//! The files source: datasets are files, splits are row groups of a Parquet file or whole files of rows.

mod parquet;
mod partitions;
mod rows;
mod table;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use futures::{StreamExt, TryStreamExt, stream};
use restow_core::stage::{
    Dataset, Effects, Evidence, OpenContext, Pushdown, ReadRequest, Source, SourceFactory, SourceIdentity, Split,
    SplitEvent, SplitStream,
};
use restow_core::{EngineError, Result};
use restow_spec::pipeline::Component;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::config::{Format, SourceOptions};
use super::error::FilesError;
use super::find::find;
use super::place::Place;
use crate::codec::decode::Decoded;
pub(super) use parquet::scan_all;
pub(super) use partitions::NULL;
pub(super) use rows::decode_all;
use table::{Table, TableFile};

/// Opens the files source.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FilesSourceFactory;

#[async_trait]
impl SourceFactory for FilesSourceFactory {
    async fn open(&self, component: &Component, context: &OpenContext) -> Result<Arc<dyn Source>> {
        let options: SourceOptions =
            component.typed().map_err(|problem| EngineError::usage(problem.message).at(component.pointer.clone()))?;
        let source = FilesSource::open(&options, context).await;
        Ok(Arc::new(source.map_err(|error| error.at(component.pointer.clone()))?))
    }
}

/// An opened set of files.
pub(super) struct FilesSource {
    address: String,
    datasets: Vec<Dataset>,
    tables: Vec<Table>,
    token: Value,
}

/// What a split needs: the payload in the intent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece {
    /// The file's path on its store.
    file: String,
    /// The row groups of a Parquet file: from, to (exclusive).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    groups: Option<(usize, usize)>,
    /// The rows of those groups, by the footer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
}

impl FilesSource {
    /// Finds the files and their columns.
    ///
    /// # Errors
    /// Files are missing, cannot be read, or do not fit together.
    pub async fn open(options: &SourceOptions, context: &OpenContext) -> Result<Self> {
        let mut tables = Vec::new();
        for group in find(options, context).await? {
            tables.push(Table::open(group, options).await?);
        }
        let datasets = tables.iter().map(|table| table.dataset.clone()).collect();
        let mut shown = Vec::new();
        for path in &options.path.0 {
            let place = Place::open(path, options.connection.as_deref(), context)?;
            shown.push(place.show(place.glob.as_ref().map_or("", |glob| &glob.text)));
        }
        let token = token(&tables);
        Ok(Self { address: shown.join(", "), datasets, tables, token })
    }

    fn table(&self, dataset: &str) -> Result<&Table> {
        self.tables.iter().find(|table| table.dataset.name == dataset).ok_or_else(|| {
            EngineError::failed(format!("the files have no dataset {dataset:?}")).with_hint("start over with --fresh")
        })
    }
}

/// Paths, sizes and versions of all files.
fn token(tables: &[Table]) -> Value {
    let file = |file: &TableFile| json!([file.found.shown, file.found.meta.size, file.found.version()]);
    let dataset = |table: &Table| (table.dataset.name.clone(), table.files.iter().map(file).collect());
    json!({ "files": tables.iter().map(dataset).collect::<serde_json::Map<String, Value>>() })
}

#[async_trait]
impl Source for FilesSource {
    fn identity(&self) -> SourceIdentity {
        let digest = Sha256::digest(self.token.to_string().as_bytes());
        SourceIdentity {
            kind: "files".to_owned(),
            address: self.address.clone(),
            fingerprint: super::hex(&digest),
            consistency: "each file as it was when the run began; a file that changes meanwhile is an error".to_owned(),
        }
    }

    fn datasets(&self) -> &[Dataset] {
        &self.datasets
    }

    async fn acquire(&self, _effects: &Effects) -> Result<Value> {
        Ok(self.token.clone())
    }

    async fn still_valid(&self, token: &Value) -> Result<bool> {
        if *token != self.token {
            return Ok(false);
        }
        for file in self.tables.iter().flat_map(|table| &table.files) {
            match file.found.check_unchanged().await {
                Ok(()) => {}
                Err(error) if error.class() == restow_core::ExitClass::Unreachable => return Err(error),
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    async fn splits(&self, dataset: &Dataset, _parallel: usize) -> Result<Vec<Split>> {
        let table = self.table(&dataset.name)?;
        let mut splits = Vec::new();
        for (n, file) in table.files.iter().enumerate() {
            let path = file.found.meta.location.to_string();
            if table.format != Format::Parquet {
                let piece = Piece { file: path, groups: None, rows: file.found.rows };
                splits.push(split(format!("f{n}"), &piece, file.found.rows, file.found.meta.size)?);
                continue;
            }
            for range in parquet::ranges(file.footer().await?.as_ref()) {
                let groups = Some((range.groups.start, range.groups.end));
                let piece = Piece { file: path.clone(), groups, rows: Some(range.rows) };
                splits.push(split(format!("f{n}-g{}", range.groups.start), &piece, Some(range.rows), range.bytes)?);
            }
        }
        Ok(splits)
    }

    fn pushdown(&self, dataset: &Dataset, filter: &Expr) -> Pushdown {
        let Ok(table) = self.table(&dataset.name) else { return Pushdown::No };
        let inside = |name: &str| table.inner.field_with_name(name).is_ok();
        let usable = table.format == Format::Parquet
            && !filter.is_volatile()
            && filter.column_refs().iter().all(|column| inside(&column.name));
        if usable { Pushdown::Inexact } else { Pushdown::No }
    }

    async fn read(&self, request: ReadRequest) -> Result<SplitStream> {
        let table = self.table(&request.dataset)?;
        let foreign = |reason: String| FilesError::Foreign { what: "a split", reason };
        let piece: Piece = Piece::deserialize(&request.split.payload).map_err(|error| foreign(error.to_string()))?;
        let file = table
            .files
            .iter()
            .find(|file| file.found.meta.location.as_ref() == piece.file)
            .ok_or_else(|| foreign(format!("{:?} is none of the files", piece.file)))?;
        file.found.check_unchanged().await?;
        let columns = Assembly::new(table, file, &request.schema)?;
        let (events, read) = match table.format {
            Format::Parquet => parquet_events(table, file, &piece, columns, &request).await?,
            _ => row_events(table, file, columns, &request),
        };
        let figure = match piece.rows {
            _ if !request.filters.is_empty() => Figure::Unknown,
            Some(rows) => Figure::Said(rows),
            None => Figure::Counted,
        };
        Ok(ended(events, file.found.clone(), figure, read))
    }
}

fn split(id: String, piece: &Piece, rows: Option<u64>, bytes: u64) -> Result<Split> {
    let payload = serde_json::to_value(piece).map_err(|error| EngineError::failed(format!("split {id}: {error}")))?;
    Ok(Split { id, payload, rows, bytes: Some(bytes) })
}

type Events = (SplitStream, Arc<AtomicU64>);

async fn parquet_events(
    table: &Table,
    file: &TableFile,
    piece: &Piece,
    columns: Assembly,
    request: &ReadRequest,
) -> Result<Events> {
    let footer = file.footer().await?;
    let (from, to) = piece.groups.unwrap_or((0, footer.num_row_groups()));
    let positions = columns.inner.fields().iter().map(|field| table.inner.index_of(field.name()));
    let scan = parquet::Scan {
        file: &file.found,
        footer,
        groups: from..to,
        schema: &table.inner,
        columns: positions.collect::<Result<_, _>>()?,
        request,
    };
    let (batches, read) = parquet::scan(scan)?;
    let name = file.found.shown.clone();
    let events = batches.map(move |batch| {
        let batch = batch.map_err(|error| EngineError::from(error).context(format!("{name:?}")))?;
        Ok(SplitEvent::Rows(columns.assemble(&batch)?))
    });
    Ok((events.boxed(), read))
}

fn row_events(table: &Table, file: &TableFile, columns: Assembly, request: &ReadRequest) -> Events {
    let read = Arc::new(AtomicU64::new(0));
    let wanted = rows::Wanted {
        columns: Arc::clone(&table.inner),
        schema: Arc::clone(&columns.inner),
        batch_rows: request.batch_rows,
    };
    let decoded = rows::decode(&file.found, &table.csv, wanted, Arc::clone(&read));
    let events = decoded.map(move |decoded| match decoded? {
        Decoded::Batch(batch) => Ok(SplitEvent::Rows(columns.assemble(&batch)?)),
        Decoded::Reject(reject) => Ok(SplitEvent::Reject(reject)),
    });
    (events.boxed(), read)
}

/// Where the evidence has its number of rows from.
#[derive(Debug, Clone, Copy)]
enum Figure {
    /// The file's own footer says it, or the export that the file belongs to.
    Said(u64),
    /// Only the decoder knows it.
    Counted,
    /// Nobody: a filter was pushed down.
    Unknown,
}

/// Adds the proof of the end: the file is still the one that was opened.
fn ended(events: SplitStream, file: super::find::FoundFile, figure: Figure, read: Arc<AtomicU64>) -> SplitStream {
    let seen = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&seen);
    let counted = events.inspect_ok(move |event| {
        let rows = match event {
            SplitEvent::Rows(batch) => batch.num_rows() as u64,
            SplitEvent::Reject(_) => 1,
            SplitEvent::End(_) => 0,
        };
        counter.fetch_add(rows, Ordering::Relaxed);
    });
    let end = async move {
        file.check_unchanged().await?;
        let rows = match figure {
            Figure::Said(rows) => Some(rows),
            Figure::Counted => Some(seen.load(Ordering::Relaxed)),
            Figure::Unknown => None,
        };
        let proof = format!("end of file, unchanged at version {}", file.version());
        Ok(SplitEvent::End(Evidence { rows, bytes: read.load(Ordering::Relaxed), proof, state: None }))
    };
    counted.chain(stream::once(end)).boxed()
}

/// Puts the columns of a file and those of its folders together in the order of the request.
struct Assembly {
    schema: SchemaRef,
    /// The wanted columns that stand in the file.
    inner: SchemaRef,
    /// Where each wanted column comes from.
    origins: Vec<Origin>,
}

enum Origin {
    /// A position in `inner`.
    File(usize),
    /// A value of a folder's name.
    Folder(ScalarValue),
}

impl Assembly {
    fn new(table: &Table, file: &TableFile, schema: &SchemaRef) -> Result<Self> {
        let (mut inner, mut origins) = (Vec::new(), Vec::new());
        for field in schema.fields() {
            let folder = table.partitions.iter().position(|partition| partition.name() == field.name());
            if let Some(value) = folder.and_then(|at| file.partitions.get(at)) {
                origins.push(Origin::Folder(value.clone()));
                continue;
            }
            let own = table.inner.field_with_name(field.name()).map_err(|_| {
                EngineError::failed(format!("dataset {:?} has no column {:?}", table.dataset.name, field.name()))
            })?;
            origins.push(Origin::File(inner.len()));
            inner.push(own.clone());
        }
        Ok(Self { schema: Arc::clone(schema), inner: Arc::new(Schema::new(inner)), origins })
    }

    fn assemble(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.origins.len());
        for origin in &self.origins {
            columns.push(match origin {
                Origin::File(at) => batch.columns().get(*at).cloned().ok_or_else(|| {
                    EngineError::failed(format!(
                        "a batch has {} columns instead of {}",
                        batch.num_columns(),
                        self.inner.fields().len()
                    ))
                })?,
                Origin::Folder(value) => value.to_array_of_size(batch.num_rows())?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

impl fmt::Debug for FilesSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilesSource").field("address", &self.address).finish_non_exhaustive()
    }
}

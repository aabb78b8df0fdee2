//! A dataset that is ready to be read: its files, its columns and what they are for.

use std::sync::Arc;

use ::parquet::file::metadata::ParquetMetaData;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use futures::{StreamExt, TryStreamExt, stream};
use restow_core::Result;
use restow_core::record::{self, RESERVED_PREFIX, Role, Roles};
use restow_core::stage::Dataset;
use restow_spec::suggest;

use super::super::config::{Columns, CsvOptions, Format, SourceOptions};
use super::super::error::FilesError;
use super::super::find::{FoundFile, Group};
use super::{parquet, partitions, rows};
use crate::codec::types::parse_field;

/// Footers that are read at once.
const FOOTERS_AT_ONCE: usize = 8;
/// Footers of a dataset that are kept in memory, in bytes; the others are read again.
const FOOTERS_KEPT: usize = 32 << 20;

/// A dataset and its files.
#[derive(Debug)]
pub(super) struct Table {
    /// Name, columns and roles.
    pub dataset: Dataset,
    /// The files.
    pub files: Vec<TableFile>,
    /// Their format.
    pub format: Format,
    /// The columns that stand in the files.
    pub inner: SchemaRef,
    /// The columns that stand in the names of folders.
    pub partitions: Vec<FieldRef>,
    /// How CSV files are laid out.
    pub csv: CsvOptions,
}

/// One file of a dataset.
#[derive(Debug)]
pub(super) struct TableFile {
    /// The file.
    pub found: FoundFile,
    /// The values of the partition columns.
    pub partitions: Vec<ScalarValue>,
    /// The footer of a Parquet file, where it is kept.
    footer: Option<Arc<ParquetMetaData>>,
}

impl TableFile {
    /// The footer of a Parquet file.
    ///
    /// # Errors
    /// It has to be read again, and cannot be.
    pub async fn footer(&self) -> Result<Arc<ParquetMetaData>> {
        match &self.footer {
            Some(footer) => Ok(Arc::clone(footer)),
            None => parquet::footer(&self.found).await,
        }
    }
}

impl Table {
    /// Finds out the columns of a dataset.
    ///
    /// # Errors
    /// The files do not agree, or do not have what the options name.
    pub async fn open(group: Group, options: &SourceOptions) -> Result<Self> {
        let format = one_format(&group, options)?;
        let mut partitions = match &options.partitions {
            Some(columns) => partitions::fields(columns)?,
            None if group.folders.is_empty() => {
                partitions::require_none(&group)?;
                Vec::new()
            }
            None => Vec::new(),
        };
        for folder in &group.folders {
            if partitions.iter().all(|declared| declared.name() != folder.name()) {
                partitions.push(Arc::clone(folder));
            }
        }
        let mut files = Vec::with_capacity(group.files.len());
        let mut rows = Some(0);
        let columns = match format {
            Format::Parquet => {
                let (schema, footers) = parquet_columns(&group, &options.schema).await?;
                rows = Some(footers.iter().map(|(count, _)| count).sum());
                for (found, (_, footer)) in group.files.iter().zip(footers) {
                    let values = partitions::values(found, &partitions)?;
                    files.push(TableFile { found: found.clone(), partitions: values, footer });
                }
                schema
            }
            _ => {
                for found in &group.files {
                    rows = rows.and_then(|sum: u64| Some(sum + found.rows?));
                    let values = partitions::values(found, &partitions)?;
                    files.push(TableFile { found: found.clone(), partitions: values, footer: None });
                }
                rows::columns(&group, format, options).await?
            }
        };
        let bytes = group.files.iter().map(|file| file.meta.size).sum();
        let inner: SchemaRef = Arc::new(columns);
        let whole = with_partitions(&group.name, &inner, &partitions)?;
        let dataset = describe(&group.name, &whole, options, rows, bytes)?;
        Ok(Self { dataset, files, format, inner, partitions, csv: options.csv.clone() })
    }
}

fn one_format(group: &Group, options: &SourceOptions) -> Result<Format> {
    let Some(first) = group.files.first() else {
        // An exported dataset without files: whatever the format is, there is nothing to read.
        return Ok(options.format.unwrap_or(Format::Jsonl));
    };
    match group.files.iter().find(|file| file.format != first.format) {
        None => Ok(first.format),
        Some(other) => Err(FilesError::TwoFormats {
            dataset: group.name.clone(),
            first: first.shown.clone(),
            second: other.shown.clone(),
        }
        .into()),
    }
}

/// The dataset with its roles.
fn describe(name: &str, schema: &Schema, options: &SourceOptions, rows: Option<u64>, bytes: u64) -> Result<Dataset> {
    record::check_reserved(name, schema)?;
    let mut roles = Roles::default();
    for (column, role) in Roles::of(schema).iter() {
        if role != Role::Id || options.id.is_none() {
            roles.set(column, role);
        }
    }
    for field in schema.fields() {
        let unmarked = roles.iter().all(|(column, _)| column != field.name());
        if unmarked && is_vector(field.data_type()) && !field.name().starts_with(RESERVED_PREFIX) {
            roles.set(field.name(), Role::Vector);
        }
    }
    if let Some(id) = &options.id {
        require(name, schema, id, "id")?;
        roles.set(id, Role::Id);
    }
    Ok(Dataset { name: name.to_owned(), schema: roles.stamp(schema), roles, rows, bytes: Some(bytes) })
}

/// The field of a column that an option names.
pub(super) fn require<'a>(dataset: &str, schema: &'a Schema, column: &str, option: &'static str) -> Result<&'a Field> {
    schema.field_with_name(column).map_err(|_| {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let help = suggest::help(column, "columns", names);
        FilesError::NoColumn { dataset: dataset.to_owned(), column: column.to_owned(), option, help }.into()
    })
}

fn is_vector(data_type: &DataType) -> bool {
    matches!(data_type, DataType::FixedSizeList(item, _) if item.data_type().is_floating())
}

fn with_partitions(dataset: &str, inner: &Schema, partitions: &[FieldRef]) -> Result<Schema> {
    let mut fields: Vec<FieldRef> = inner.fields().iter().cloned().collect();
    for partition in partitions {
        if inner.field_with_name(partition.name()).is_ok() {
            let column = partition.name().clone();
            return Err(FilesError::PartitionTwice { dataset: dataset.to_owned(), column }.into());
        }
        fields.push(Arc::clone(partition));
    }
    Ok(Schema::new(fields))
}

type Footers = Vec<(u64, Option<Arc<ParquetMetaData>>)>;

/// The columns of Parquet files, and per file its rows and its footer.
async fn parquet_columns(group: &Group, declared: &Columns) -> Result<(Schema, Footers)> {
    let mut read =
        stream::iter(group.files.clone().into_iter().map(|file| async move { parquet::footer(&file).await }))
            .buffered(FOOTERS_AT_ONCE);
    let (mut merged, mut footers, mut kept) = (Merge::new(group, declared)?, Footers::new(), 0);
    for file in &group.files {
        let Some(footer) = read.try_next().await? else { break };
        merged.add(file, &parquet::schema_of(file, &footer)?)?;
        let rows = u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0);
        kept += footer.memory_size();
        footers.push((rows, Some(footer).filter(|_| kept <= FOOTERS_KEPT)));
    }
    drop(read);
    Ok((merged.finish(declared)?, footers))
}

/// Columns of several files, merged by name.
struct Merge<'a> {
    dataset: &'a str,
    declared: Vec<Field>,
    /// Each column, the first file that has it, and how many files have it.
    columns: Vec<(Field, &'a str, usize)>,
    files: usize,
}

impl<'a> Merge<'a> {
    fn new(group: &'a Group, declared: &Columns) -> Result<Self> {
        let declared = declared.0.iter().map(|(column, name)| parse_field(column, name)).collect::<Result<_>>()?;
        Ok(Self { dataset: &group.name, declared, columns: Vec::new(), files: 0 })
    }

    fn add(&mut self, file: &'a FoundFile, schema: &Schema) -> Result<()> {
        self.files += 1;
        for field in schema.fields() {
            let field = self.as_declared(field)?;
            let Some((known, first, count)) = self.columns.iter_mut().find(|(known, ..)| known.name() == field.name())
            else {
                self.columns.push((field, &file.shown, 1));
                continue;
            };
            if known.data_type() != field.data_type() {
                return Err(FilesError::TypeConflict {
                    dataset: self.dataset.to_owned(),
                    column: field.name().clone(),
                    left: known.data_type().to_string(),
                    left_file: (*first).to_owned(),
                    right: field.data_type().to_string(),
                    right_file: file.shown.clone(),
                }
                .into());
            }
            *count += 1;
            if field.is_nullable() {
                known.set_nullable(true);
            }
        }
        Ok(())
    }

    /// The field as the options declare it, or with the list elements that restow uses everywhere.
    fn as_declared(&self, field: &Field) -> Result<Field> {
        let Some(declared) = self.declared.iter().find(|declared| declared.name() == field.name()) else {
            return Ok(field.clone().with_data_type(usual_lists(field.data_type())));
        };
        if !widens(field.data_type(), declared.data_type()) {
            return Err(FilesError::Narrowing {
                dataset: self.dataset.to_owned(),
                column: field.name().clone(),
                found: field.data_type().to_string(),
                declared: declared.data_type().to_string(),
            }
            .into());
        }
        let mut metadata = field.metadata().clone();
        metadata.extend(declared.metadata().clone());
        Ok(field.clone().with_data_type(declared.data_type().clone()).with_metadata(metadata))
    }

    fn finish(self, declared: &Columns) -> Result<Schema> {
        let files = self.files;
        let fields = self.columns.into_iter().map(|(mut field, _, count)| {
            if count < files {
                field.set_nullable(true);
            }
            field
        });
        let schema = Schema::new(fields.collect::<Vec<_>>());
        for (column, _) in &declared.0 {
            require(self.dataset, &schema, column, "schema")?;
        }
        Ok(schema)
    }
}

/// Lists with the element field that restow uses everywhere, so that two files compare equal.
fn usual_lists(data_type: &DataType) -> DataType {
    let item = |field: &FieldRef| Arc::new(record::list_item(usual_lists(field.data_type())));
    match data_type {
        DataType::List(field) => DataType::List(item(field)),
        DataType::LargeList(field) => DataType::LargeList(item(field)),
        DataType::FixedSizeList(field, length) => DataType::FixedSizeList(item(field), *length),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|f| f.as_ref().clone().with_data_type(usual_lists(f.data_type())));
            DataType::Struct(Fields::from(fields.collect::<Vec<_>>()))
        }
        other => other.clone(),
    }
}

/// Whether every value of `from` is a value of `to`, so that reading it so loses nothing.
fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Date32, Dictionary, FixedSizeList, Float16, Float32, Float64, Int8, Int16, Int32, Int64,
        LargeBinary, LargeList, LargeUtf8, List, UInt8, UInt16, UInt32, UInt64, Utf8, Utf8View,
    };
    if from == to {
        return true;
    }
    match (from, to) {
        (Dictionary(_, value), to) => widens(value, to),
        (List(a) | LargeList(a) | FixedSizeList(a, _), List(b)) => widens(a.data_type(), b.data_type()),
        // Rows of another length are an error of the read, not a loss.
        (List(a) | LargeList(a), FixedSizeList(b, _)) => widens(a.data_type(), b.data_type()),
        (FixedSizeList(a, n), FixedSizeList(b, m)) => n == m && widens(a.data_type(), b.data_type()),
        (LargeUtf8 | Utf8View, Utf8) | (LargeBinary | BinaryView, Binary) => true,
        (Int8, Int16 | Int32 | Int64) | (Int16, Int32 | Int64) | (Int32, Int64) => true,
        (UInt8, UInt16 | UInt32 | UInt64 | Int16 | Int32 | Int64) => true,
        (UInt16, UInt32 | UInt64 | Int32 | Int64) | (UInt32, UInt64 | Int64) => true,
        (Float16, Float32 | Float64) | (Float32, Float64) => true,
        (Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32, Float64) => true,
        (Date32, DataType::Timestamp(..)) => true,
        _ => false,
    }
}

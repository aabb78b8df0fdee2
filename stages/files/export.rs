//! `_restow_export.json`, the object that ends an export: it says which files belong to it, and what they hold.
//!
//! It is written last, create-only, and in clear also where the files are encrypted: it holds names, types and figures,
//! no values. A folder with files but without it holds an export that was not finished.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use restow_core::Result;
use restow_store::location::Location;
use serde::{Deserialize, Serialize};

pub(super) use super::error::EXPORT;
use super::error::FilesError;

/// The version of the layout that this build writes, and the only one that it reads.
const FORMAT: &str = "restow-export/1";
/// Largest object that is taken for the end of an export, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// The end of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Export {
    /// [`FORMAT`].
    pub format: String,
    /// The version of restow that wrote it.
    pub restow: String,
    /// The run that made it.
    pub run: String,
    /// The nonce of that run, by which a lost reply is recognised.
    pub nonce: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// When the run began, RFC 3339.
    pub started: String,
    /// When its last split was done, RFC 3339.
    pub finished: String,
    /// Whether the files are encrypted; their keyring is `_restow_keys.json`.
    pub encrypted: bool,
    /// The codec and its whole-file compression, as the extension of the files.
    pub extension: String,
    /// Rows in all files.
    pub rows: u64,
    /// Bytes of all files, as stored.
    pub bytes: u64,
    /// Every dataset that is complete.
    pub datasets: Vec<ExportedDataset>,
    /// Names of the datasets that failed: no file of theirs is here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
}

/// One dataset of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ExportedDataset {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// Its bytes, as stored.
    pub bytes: u64,
    /// Its columns, in order.
    pub columns: Vec<ExportedColumn>,
    /// Those of them that are in the names of folders, outermost first, and not inside the files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<String>,
    /// Its files.
    pub files: Vec<ExportedFile>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ExportedColumn {
    /// Its name.
    pub name: String,
    /// Its Arrow type, as Arrow prints it.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether it has nulls.
    pub nullable: bool,
    /// Role and other marks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// What the type is made of, where its text cannot be read back (names with quotes, marks of inner fields).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nested: Option<Nested>,
}

/// The parts of a nested type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Nested {
    /// What it is.
    pub kind: NestedKind,
    /// Length of a fixed-size list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<i32>,
    /// Its fields; one of a list.
    pub fields: Vec<ExportedColumn>,
}

/// Nested types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NestedKind {
    /// Named fields.
    Struct,
    /// A list with 32-bit offsets.
    List,
    /// A list with 64-bit offsets.
    LargeList,
    /// A list of one length.
    FixedSizeList,
    /// Keys and values, keys unsorted.
    Map,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ExportedFile {
    /// Path below the folder of the export.
    pub path: String,
    /// Rows, counted when it was read back.
    pub rows: u64,
    /// Bytes as stored.
    pub bytes: u64,
    /// SHA-256 of the stored bytes, hex.
    pub sha256: String,
}

impl Export {
    /// An export without datasets.
    pub fn new(run: &str, nonce: &str, pipeline: &str) -> Self {
        Self {
            format: FORMAT.to_owned(),
            restow: env!("CARGO_PKG_VERSION").to_owned(),
            run: run.to_owned(),
            nonce: nonce.to_owned(),
            pipeline: pipeline.to_owned(),
            started: String::new(),
            finished: String::new(),
            encrypted: false,
            extension: String::new(),
            rows: 0,
            bytes: 0,
            datasets: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Adds a dataset and its figures.
    pub fn add(&mut self, name: &str, schema: &Schema, partitions: &[String], files: Vec<ExportedFile>) {
        let rows = files.iter().map(|file| file.rows).sum();
        let bytes = files.iter().map(|file| file.bytes).sum();
        self.rows += rows;
        self.bytes += bytes;
        let (name, columns, partitions) = (name.to_owned(), columns(schema), partitions.to_vec());
        self.datasets.push(ExportedDataset { name, rows, bytes, columns, partitions, files });
    }

    /// How many files there are.
    pub fn files(&self) -> usize {
        self.datasets.iter().map(|dataset| dataset.files.len()).sum()
    }

    /// Reads the end of the export at this folder, if there is one.
    ///
    /// # Errors
    /// The store cannot be asked, or the object is damaged or of another version.
    pub async fn read(folder: &Location, shown: &str) -> Result<Option<Self>> {
        let path = folder.root.clone().join(EXPORT);
        Self::read_at(folder.store.as_ref(), &path, shown).await
    }

    /// The same at a path of a store.
    pub async fn read_at(store: &dyn ObjectStore, path: &Path, shown: &str) -> Result<Option<Self>> {
        let bad = |reason: String| FilesError::BadExport { path: format!("{shown}/{EXPORT}"), reason };
        let found = match store.get(path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if found.meta.size > MAX_BYTES {
            return Err(bad(format!("it has {} bytes", found.meta.size)).into());
        }
        let bytes = found.bytes().await?;
        let export: Self = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        if export.format != FORMAT {
            return Err(bad(format!("its format is {:?}, and this build reads {FORMAT:?}", export.format)).into());
        }
        Ok(Some(export))
    }

    /// The bytes to store.
    ///
    /// # Errors
    /// Never for values that this module makes.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| FilesError::BadExport { path: EXPORT.to_owned(), reason: error.to_string() })?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

impl ExportedDataset {
    /// The schema with its marks.
    ///
    /// # Errors
    /// A type is none that Arrow knows.
    pub fn schema(&self, shown: &str) -> Result<SchemaRef> {
        let bad = |column: &str| FilesError::BadExport {
            path: format!("{shown}/{EXPORT}"),
            reason: format!("column {column:?} has a type that is not known"),
        };
        let fields = self.columns.iter().map(|column| column.field().ok_or_else(|| bad(&column.name).into()));
        Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
    }
}

impl ExportedColumn {
    fn of(field: &Field) -> Self {
        let text = field.data_type().to_string();
        let faithful = text.parse::<DataType>().is_ok_and(|parsed| parsed == *field.data_type());
        Self {
            name: field.name().clone(),
            nested: if faithful { None } else { Nested::of(field.data_type()) },
            data_type: text,
            nullable: field.is_nullable(),
            metadata: field.metadata().clone().into_iter().collect(),
        }
    }

    /// The field; `None` where its type makes no sense.
    fn field(&self) -> Option<Field> {
        let data_type = match &self.nested {
            Some(nested) => nested.data_type()?,
            None => self.data_type.parse().ok()?,
        };
        let metadata = self.metadata.clone().into_iter().collect();
        Some(Field::new(&self.name, data_type, self.nullable).with_metadata(metadata))
    }
}

impl Nested {
    fn of(data_type: &DataType) -> Option<Self> {
        let (kind, length, fields) = match data_type {
            DataType::Struct(fields) => (NestedKind::Struct, None, fields.iter().collect()),
            DataType::List(item) => (NestedKind::List, None, vec![item]),
            DataType::LargeList(item) => (NestedKind::LargeList, None, vec![item]),
            DataType::FixedSizeList(item, length) => (NestedKind::FixedSizeList, Some(*length), vec![item]),
            DataType::Map(entries, false) => (NestedKind::Map, None, vec![entries]),
            _ => return None,
        };
        Some(Self { kind, length, fields: fields.into_iter().map(|field| ExportedColumn::of(field)).collect() })
    }

    fn data_type(&self) -> Option<DataType> {
        let fields: Vec<Field> = self.fields.iter().map(ExportedColumn::field).collect::<Option<_>>()?;
        let only = || fields.first().map(|field| Arc::new(field.clone()));
        Some(match self.kind {
            NestedKind::Struct => DataType::Struct(fields.into()),
            NestedKind::List => DataType::List(only()?),
            NestedKind::LargeList => DataType::LargeList(only()?),
            NestedKind::FixedSizeList => DataType::FixedSizeList(only()?, self.length?),
            NestedKind::Map => DataType::Map(only()?, false),
        })
    }
}

fn columns(schema: &Schema) -> Vec<ExportedColumn> {
    schema.fields().iter().map(|field| ExportedColumn::of(field)).collect()
}

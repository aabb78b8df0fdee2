//! The files of an export: which there are, what they hold, and whether they are all.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::DataType;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::file::metadata::ParquetMetaData;
use restow_core::stage::Split;
use restow_core::{EngineError, ExitClass, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::folder::{Folder, Part, version};
use super::metadata::{METADATA, Metadata};
use super::own::{self, OwnExport};

/// Columns of an export: name, and whether every file has it.
const COLUMNS: [(&str, bool); 9] = [
    (ID, true),
    (CREATED, true),
    (UPDATED, true),
    (VECTOR, true),
    (NAMED, true),
    (PROPERTIES, true),
    // Older files may lack it, and those that restow writes always have it.
    (SEVERAL, false),
    // Beyond those of the server: it has both in the metadata of the file.
    (CLASS, false),
    (TENANT, false),
];
pub const ID: &str = "id";
pub const CLASS: &str = "class_name";
pub const TENANT: &str = "_tenant";
pub const CREATED: &str = "creation_time";
pub const UPDATED: &str = "update_time";
pub const VECTOR: &str = "vector";
pub const NAMED: &str = "named_vectors";
pub const SEVERAL: &str = "multi_vectors";
pub const PROPERTIES: &str = "properties";

/// Footers that are read at once.
const FOOTERS_AT_ONCE: usize = 16;
/// What a split should hold, uncompressed.
const SPLIT_BYTES: u64 = 128 << 20;

/// One Parquet file.
#[derive(Debug, Clone)]
pub struct ExportFile {
    /// Below the folder.
    pub path: String,
    /// What the store says of it.
    pub meta: ObjectMeta,
    /// The collection that all its objects belong to; `None` where each row says it.
    pub class: Option<String>,
    /// The tenant that all its objects belong to; `None` where the collection has none, or where each row says it.
    pub tenant: Option<String>,
    /// The shard, where the name of the file tells it.
    pub shard: Option<String>,
    /// Its number among the files of its shard.
    range: Option<u32>,
    /// Rows and uncompressed bytes of its row groups.
    groups: Vec<(u64, u64)>,
    /// The columns that it has beyond those of every export.
    extra: BTreeSet<String>,
}

impl ExportFile {
    /// Its rows.
    pub fn rows(&self) -> u64 {
        self.groups.iter().map(|(rows, _)| rows).sum()
    }

    /// Whether it has one of the columns that not every export has.
    pub fn has(&self, column: &str) -> bool {
        COLUMNS.iter().any(|(name, always)| *name == column && *always) || self.extra.contains(column)
    }

    /// Bytes of an object, about.
    pub fn row_bytes(&self) -> u64 {
        let bytes: u64 = self.groups.iter().map(|(_, bytes)| bytes).sum();
        (bytes / self.rows().max(1)).max(1)
    }

    /// One of these row groups, for tests: rows and uncompressed bytes.
    #[cfg(test)]
    pub fn of_groups(groups: Vec<(u64, u64)>) -> Self {
        let location = object_store::path::Path::from("f");
        let meta = ObjectMeta { location, last_modified: chrono::Utc::now(), size: 0, e_tag: None, version: None };
        let (path, extra) = ("f".to_owned(), BTreeSet::new());
        Self { path, meta, class: None, tenant: None, shard: None, range: None, groups, extra }
    }

    /// Its parts, each of about [`SPLIT_BYTES`].
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        for (group, (rows, bytes)) in self.groups.iter().enumerate() {
            let average = (bytes / (*rows).max(1)).max(1);
            let step = (SPLIT_BYTES / average).max(1);
            let mut from = 0;
            while from < *rows {
                let rows = step.min(rows - from);
                parts.push(Part { group, from, rows });
                from += rows;
            }
        }
        parts
    }
}

/// A part of a file, as a split names it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Piece {
    /// The file, below the folder.
    pub file: String,
    size: u64,
    version: String,
    group: usize,
    from: u64,
    rows: u64,
}

impl Piece {
    /// Whether it stands for a collection without objects.
    pub fn is_nothing(&self) -> bool {
        self.file.is_empty()
    }

    /// The rows of the file.
    pub fn part(&self) -> Part {
        Part { group: self.group, from: self.from, rows: self.rows }
    }

    /// Fails where the file is no longer what it was when the run began.
    ///
    /// # Errors
    /// It has changed.
    pub fn check_same(&self, folder: &Folder, now: &ObjectMeta) -> Result<()> {
        if now.size == self.size && version(now) == self.version {
            return Ok(());
        }
        Err(EngineError::failed(format!("{:?} changed while it was being read", folder.show(&self.file)))
            .with_hint("run again with --fresh to read the files as they are now"))
    }
}

/// An export whose files were found. Opening it proves that they are all there, as far as they tell.
#[derive(Debug, Clone)]
pub struct Export {
    /// Where they are.
    pub folder: Folder,
    /// What the server says of them; `None` where only the files are there.
    pub metadata: Option<Metadata>,
    /// What restow says of them, where it wrote them.
    own: Option<OwnExport>,
    /// Sorted by their paths.
    files: Vec<ExportFile>,
}

impl Export {
    /// Lists a folder, and reads the footers of its files.
    ///
    /// # Errors
    /// It holds no export, one that did not succeed, or a file that is none of an export's.
    pub async fn open(folder: Folder) -> Result<Self> {
        let metadata = Metadata::read(&folder).await?;
        if let Some(metadata) = &metadata {
            metadata.check_success(&folder)?;
        }
        let listed = folder.list().await?;
        let own = OwnExport::read(&folder, &listed).await?;
        if let Some((unfinished, _)) = listed.iter().find(|(path, _)| path.ends_with(".parquet.tmp"))
            && metadata.is_none()
        {
            let message = format!("{:?} was not finished", folder.show(unfinished));
            return Err(EngineError::new(ExitClass::Refused, message)
                .with_hint("the export was broken off while it was written: make a new one; nothing was read"));
        }
        let found: Vec<(String, ObjectMeta)> =
            listed.into_iter().filter(|(path, _)| path.ends_with(".parquet")).collect();
        if found.is_empty() && metadata.is_none() {
            let message =
                format!("{:?} is no export of Weaviate: it has neither {METADATA} nor a Parquet file", folder.shown);
            return Err(EngineError::new(ExitClass::NotFound, message)
                .with_hint("name the folder of one export: the path that the server answered, its id at the end"));
        }
        let files = stream::iter(found)
            .map(|(path, meta)| file(&folder, own.as_ref(), path, meta))
            .buffered(FOOTERS_AT_ONCE)
            .try_collect()
            .await?;
        let mut export = Self { folder, metadata, own, files };
        export.name_classes().await?;
        export.check_files()?;
        Ok(export)
    }

    /// A file without a name of its collection says it in every row; the first one stands for all, and reading checks the others.
    async fn name_classes(&mut self) -> Result<()> {
        for file in self.files.iter_mut().filter(|file| file.class.is_none()) {
            let first = match file.parts().first() {
                Some(part) if file.has(CLASS) => {
                    own::first_text(&self.folder, file, &Part { rows: 1, ..part.clone() }, CLASS).await?
                }
                _ => self.own.as_ref().and_then(|own| own.dataset_of(&file.path)).map(str::to_owned),
            };
            let name = first.ok_or_else(|| {
                let message = format!("{:?} does not tell the collection of its objects", self.folder.show(&file.path));
                EngineError::failed(message).with_hint(
                    "files of an export have the key `collection` in their metadata, or a column class_name; nothing was read",
                )
            })?;
            file.class = Some(name);
        }
        Ok(())
    }

    fn check_files(&self) -> Result<()> {
        if let Some(own) = &self.own {
            own.check(&self.folder, &self.files)?;
        }
        let Some(metadata) = &self.metadata else { return self.check_ranges() };
        let known = metadata.classes.clone().unwrap_or_default();
        let stranger = self.files.iter().find(|file| file.class.as_ref().is_none_or(|class| !known.contains(class)));
        stranger.map_or(Ok(()), |file| {
            let message = format!(
                "{:?} holds objects of {:?}, which is not part of the export that {METADATA} describes",
                self.folder.show(&file.path),
                file.class.as_deref().unwrap_or_default()
            );
            Err(EngineError::failed(message).with_hint(
                "two exports are mixed in this folder: copy the export again into an empty folder; nothing was read",
            ))
        })
    }

    /// Without metadata only the numbers of the files tell that one is missing; never that the last one is.
    fn check_ranges(&self) -> Result<()> {
        let mut ranges: BTreeMap<(&str, &str), Vec<u32>> = BTreeMap::new();
        for file in &self.files {
            if let (Some(class), Some(shard), Some(range)) = (&file.class, &file.shard, file.range) {
                ranges.entry((class.as_str(), shard.as_str())).or_default().push(range);
            }
        }
        for ((class, shard), mut ranges) in ranges {
            ranges.sort_unstable();
            if let Some(missing) = (0_u32..).zip(&ranges).find(|(wanted, found)| wanted != *found) {
                let message = format!(
                    "{:?} has no file {class}_{shard}_{:04}.parquet, but later ones of that shard",
                    self.folder.shown, missing.0
                );
                return Err(EngineError::failed(message).with_hint(format!(
                    "copy the whole export; {METADATA} beside the files would tell whether that file ever was; nothing was read"
                )));
            }
        }
        Ok(())
    }

    /// Its collections, sorted.
    pub fn classes(&self) -> BTreeSet<String> {
        let known = self.metadata.iter().flat_map(|metadata| metadata.classes.clone().unwrap_or_default());
        let empty = self.own.iter().flat_map(|own| own.without_files().map(str::to_owned));
        known.chain(empty).chain(self.files.iter().filter_map(|file| file.class.clone())).collect()
    }

    /// The files of a collection, in the order of their paths.
    pub fn files_of(&self, class: &str) -> Vec<&ExportFile> {
        self.files.iter().filter(|file| file.class.as_deref() == Some(class)).collect()
    }

    /// The file of this path.
    ///
    /// # Errors
    /// It was not there when the export was opened.
    pub fn file(&self, path: &str) -> Result<&ExportFile> {
        let at = self.files.binary_search_by(|file| file.path.as_str().cmp(path));
        at.ok().and_then(|at| self.files.get(at)).ok_or_else(|| {
            EngineError::failed(format!("{:?} is gone", self.folder.show(path)))
                .with_hint("run again with --fresh to read the files as they are now")
        })
    }

    /// Compares the files of a collection with what the server says of them. Gives the shards that it left out although they may
    /// have objects, with the reason.
    ///
    /// # Errors
    /// Objects or files are missing.
    pub fn left_out(&self, class: &str) -> Result<Vec<(String, String)>> {
        self.metadata
            .as_ref()
            .map_or_else(|| Ok(Vec::new()), |metadata| metadata.check(&self.folder, class, &self.files_of(class)))
    }

    /// The splits of a collection, of the tenants that are wanted.
    pub fn splits(&self, class: &str, wanted: impl Fn(&str) -> bool) -> Vec<Split> {
        let mut splits = Vec::new();
        for file in self.files_of(class) {
            if file.tenant.as_deref().is_some_and(|tenant| !wanted(tenant)) {
                continue;
            }
            for part in file.parts() {
                let (size, version) = (file.meta.size, version(&file.meta));
                let Part { group, from, rows } = part;
                let piece = Piece { file: file.path.clone(), size, version, group, from, rows };
                let bytes = file.meta.size.saturating_mul(rows) / file.rows().max(1);
                let id = format!("x{:05}", splits.len());
                splits.push(Split { id, payload: json!(piece), rows: Some(rows), bytes: Some(bytes) });
            }
        }
        if splits.is_empty() {
            // A collection without objects has no file, and is one all the same.
            let piece = Piece { file: String::new(), size: 0, version: String::new(), group: 0, from: 0, rows: 0 };
            splits.push(Split { id: "x00000".to_owned(), payload: json!(piece), rows: Some(0), bytes: Some(0) });
        }
        splits
    }

    /// Changes when any file does.
    pub fn versions(&self) -> impl Iterator<Item = String> {
        self.files.iter().map(|file| format!("{} {} {}", file.path, file.meta.size, version(&file.meta)))
    }

    /// What it says of its consistency, for the manifest.
    pub fn consistency(&self) -> String {
        match &self.metadata {
            Some(metadata) => format!(
                "as Weaviate's own export {:?} at {}: each shard (each tenant is one) as it was at one moment, of a time of its own, \
                 between {} and {}; every shard has as many objects as the server says that it wrote",
                metadata.id, self.folder.shown, metadata.started_at, metadata.completed_at
            ),
            None if self.own.is_some() => {
                format!(
                    "as the files at {} that restow wrote in the layout of Weaviate's export, all that it wrote",
                    self.folder.shown
                )
            }
            None => format!(
                "as the files at {}, of an export of Weaviate without its {METADATA}: whether files are missing cannot be told",
                self.folder.shown
            ),
        }
    }
}

/// Looks at one file.
async fn file(folder: &Folder, own: Option<&OwnExport>, path: String, meta: ObjectMeta) -> Result<ExportFile> {
    let footer = folder.footer(&path, &meta).await?;
    let extra = columns(folder, &path, &footer)?;
    let key = |name: &str| {
        let pairs = footer.file_metadata().key_value_metadata()?;
        pairs.iter().find(|pair| pair.key == name)?.value.clone()
    };
    let class = key("collection");
    let named = class.as_deref().filter(|_| own.is_none()).and_then(|class| of_name(&path, class));
    let (shard, range) = named.unzip();
    let tenant = key("tenant");
    if let (Some(tenant), Some(shard)) = (&tenant, &shard)
        && tenant != shard
    {
        let message = format!("{:?} holds tenant {tenant:?}, and its name says {shard:?}", folder.show(&path));
        return Err(EngineError::failed(message)
            .with_hint("give it its name again, or copy the export again; nothing was read"));
    }
    let number = |value: i64| u64::try_from(value).unwrap_or(0);
    let groups =
        footer.row_groups().iter().map(|group| (number(group.num_rows()), number(group.total_byte_size()))).collect();
    Ok(ExportFile { path, meta, class, tenant, shard, range, groups, extra })
}

/// Shard and number of `{class}_{shard}_{0000}.parquet`.
fn of_name(path: &str, class: &str) -> Option<(String, u32)> {
    let name = path.rsplit('/').next()?.strip_suffix(".parquet")?;
    let (shard, range) = name.strip_prefix(class)?.strip_prefix('_')?.rsplit_once('_')?;
    let is_number = range.len() >= 4 && range.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Some((shard.to_owned(), range.parse().ok()?))).flatten()
}

/// Checks the columns of a file. Gives those that not every export has.
fn columns(folder: &Folder, path: &str, footer: &ParquetMetaData) -> Result<BTreeSet<String>> {
    let metadata = footer.file_metadata();
    let schema = parquet_to_arrow_schema(metadata.schema_descr(), metadata.key_value_metadata())
        .map_err(|error| folder.unreadable(path, error))?;
    let wrong = |what: String| {
        EngineError::failed(format!("{:?} is no file of an export of Weaviate: {what}", folder.show(path)))
            .with_hint("a source `files` reads any Parquet file; nothing was read")
    };
    let mut found = BTreeSet::new();
    for field in schema.fields() {
        let name = field.name().as_str();
        let fits = match name {
            CREATED | UPDATED => *field.data_type() == DataType::Int64,
            _ => is_bytes(field.data_type()),
        };
        if !COLUMNS.iter().any(|(known, _)| *known == name) {
            return Err(wrong(format!("nothing is known of its column {name:?}, which would be lost")));
        }
        if !fits {
            return Err(wrong(format!("its column {name:?} is {}", field.data_type())));
        }
        found.insert(name.to_owned());
    }
    match COLUMNS.iter().find(|(name, always)| *always && !found.contains(*name)) {
        Some((name, _)) => Err(wrong(format!("it has no column {name:?}"))),
        None => Ok(found),
    }
}

fn is_bytes(data_type: &DataType) -> bool {
    use DataType::{Binary, BinaryView, Dictionary, LargeBinary, LargeUtf8, Utf8, Utf8View};
    match data_type {
        Dictionary(_, values) => is_bytes(values),
        other => matches!(other, Binary | LargeBinary | BinaryView | Utf8 | LargeUtf8 | Utf8View),
    }
}

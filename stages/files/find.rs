//! Which files the options name, and which dataset each belongs to.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use restow_core::Result;
use restow_core::stage::OpenContext;
use restow_store::location::Location;

use super::config::{Compression, Format, SourceOptions};
use super::error::FilesError;
use super::export::{EXPORT, Export};
use super::place::{OWN, Place};
use super::unlock::Unlocked;

/// Folder below a target where a run keeps what is not finished.
pub(super) const UNFINISHED: &str = "_restow_unfinished";
/// Files without rows of their own that Spark and Parquet writers put beside the data.
const SIDE_FILES: [&str; 3] = ["_SUCCESS", "_metadata", "_common_metadata"];
/// Folders of logs, of changes that the data has already, and of writes that are not finished.
const SIDE_FOLDERS: [&str; 3] = ["_delta_log", "_change_data", "_temporary"];

/// One file.
#[derive(Clone)]
pub(super) struct FoundFile {
    /// The store to read it from; decrypts where the file is encrypted.
    pub store: Arc<dyn ObjectStore>,
    /// Path, size (before encryption), version and time of the last change.
    pub meta: ObjectMeta,
    /// The path as the user would write it.
    pub shown: String,
    /// The format.
    pub format: Format,
    /// The compression of the whole file.
    pub compression: Compression,
    /// Its rows, where an export of restow says how many there are.
    pub rows: Option<u64>,
    /// A path below what the options name, whose folders may hold values: the file's own, or in an export of restow
    /// that of the export's end. Empty for a file that the options name itself.
    pub below: String,
}

impl fmt::Debug for FoundFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FoundFile").field("shown", &self.shown).field("size", &self.meta.size).finish_non_exhaustive()
    }
}

impl FoundFile {
    /// Changes when the file changes: its version where the store has one, else the time of the last change.
    pub fn version(&self) -> String {
        version(&self.meta)
    }

    /// Fails where the file is no longer the one that was found.
    ///
    /// # Errors
    /// It changed, is gone, or the store cannot be asked.
    pub async fn check_unchanged(&self) -> Result<()> {
        let now = self.store.head(&self.meta.location).await?;
        self.check_same(&now)
    }

    /// The same for what the store says of it now.
    pub fn check_same(&self, now: &ObjectMeta) -> Result<()> {
        if now.size == self.meta.size && version(now) == self.version() {
            return Ok(());
        }
        Err(FilesError::Changed { file: self.shown.clone() }.into())
    }
}

/// Listings and heads of one store may differ in the quotes of a version.
fn version(meta: &ObjectMeta) -> String {
    let bare = |tag: &String| tag.trim_start_matches("W/").trim_matches('"').to_owned();
    let tag = meta.e_tag.as_ref().map(bare).or_else(|| meta.version.clone());
    tag.unwrap_or_else(|| meta.last_modified.to_rfc3339())
}

/// The files of one dataset.
#[derive(Debug)]
pub(super) struct Group {
    /// The dataset's name.
    pub name: String,
    /// Its files, ordered by path.
    pub files: Vec<FoundFile>,
    /// The schema that an export of restow keeps: the columns inside the files.
    pub exported: Option<SchemaRef>,
    /// The columns that such an export has in the names of folders.
    pub folders: Vec<FieldRef>,
}

/// Finds the files of every dataset.
///
/// # Errors
/// A path matches nothing, a file's format is unknown, a key is missing or wrong, or a store cannot be asked.
pub(super) async fn find(options: &SourceOptions, context: &OpenContext) -> Result<Vec<Group>> {
    let mut search = Search { options, context, unlocked: Unlocked::default(), groups: BTreeMap::new() };
    for path in &options.path.0 {
        let place = Place::open(path, options.connection.as_deref(), context)?;
        search.place(&place).await?;
    }
    let mut groups: Vec<Group> = search.groups.into_values().collect();
    for group in &mut groups {
        group.files.sort_by(|a, b| (&a.meta.location, &a.shown).cmp(&(&b.meta.location, &b.shown)));
        group.files.dedup_by(|a, b| a.meta.location == b.meta.location && a.shown == b.shown);
    }
    Ok(groups)
}

/// A file that a glob or a folder takes.
struct Taken {
    meta: ObjectMeta,
    /// Its path below the glob's base, or the folder.
    relative: String,
    /// The dataset, where the options name none.
    dataset: String,
}

struct Search<'a> {
    options: &'a SourceOptions,
    context: &'a OpenContext,
    unlocked: Unlocked,
    groups: BTreeMap<String, Group>,
}

impl Search<'_> {
    async fn place(&mut self, place: &Place) -> Result<()> {
        let missing = || FilesError::NoFile { path: place.shown.clone() };
        if place.glob.is_some() {
            return self.glob(place).await;
        }
        let location = &place.location;
        if !location.root.is_root() {
            match location.store.head(&location.root).await {
                Ok(meta) => return self.one(place, meta).await,
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(export) = Export::read(location, &place.shown).await? {
            return self.export(place, location, &export, "").await;
        }
        if !location.lists {
            return Err(FilesError::CannotList { path: place.shown.clone() }.into());
        }
        if let Some(parent) = location.root.parent()
            && let Some(name) = location.root.filename()
        {
            let folder = Location { root: parent, ..location.clone() };
            if let Some(export) = Export::read(&folder, &place.shown).await? {
                let prefix = format!("{name}/");
                if export.datasets.iter().any(|d| d.files.iter().any(|file| file.path.starts_with(&prefix))) {
                    return self.export(place, &folder, &export, &prefix).await;
                }
            }
        }
        let listed: Vec<ObjectMeta> = location.store.list(Some(&location.root)).try_collect().await?;
        if listed.is_empty() { Err(missing().into()) } else { self.folder(place, listed).await }
    }

    /// One file by its path.
    async fn one(&mut self, place: &Place, meta: ObjectMeta) -> Result<()> {
        let file = self.file(place, &place.location, meta, place.shown.clone()).await?;
        let name = stem(file.meta.location.filename().unwrap_or(&file.shown)).to_owned();
        self.add(name, file);
        Ok(())
    }

    /// All files that a glob takes.
    async fn glob(&mut self, place: &Place) -> Result<()> {
        let location = &place.location;
        if !location.lists {
            return Err(FilesError::CannotList { path: place.shown.clone() }.into());
        }
        let prefix = Some(&location.root).filter(|root| !root.is_root());
        let listed: Vec<ObjectMeta> = location.store.list(prefix).try_collect().await?;
        let (ends, mut taken) = (ends_of(&listed), Vec::new());
        for meta in listed {
            let relative = location.relative(&meta.location).unwrap_or_default().to_owned();
            if place.glob.as_ref().is_some_and(|glob| glob.takes(&relative)) {
                let dataset = stem(&relative).to_owned();
                taken.push(Taken { meta, relative, dataset });
            }
        }
        if taken.is_empty() {
            return Err(FilesError::NoFile { path: place.shown_glob() }.into());
        }
        self.take(place, taken, &ends).await
    }

    /// A folder: one dataset of its name.
    async fn folder(&mut self, place: &Place, listed: Vec<ObjectMeta>) -> Result<()> {
        let location = &place.location;
        let (ends, mut taken) = (ends_of(&listed), Vec::new());
        for meta in listed {
            let relative = location.relative(&meta.location).unwrap_or_default().to_owned();
            if relative.starts_with(UNFINISHED) {
                return Err(FilesError::Unfinished { path: place.shown.clone() }.into());
            }
            if !relative.is_empty() && !beside_the_data(&relative) {
                taken.push(Taken { meta, relative, dataset: place.name() });
            }
        }
        if taken.is_empty() {
            return Err(FilesError::NoFile { path: place.shown.clone() }.into());
        }
        self.take(place, taken, &ends).await
    }

    /// The files that a glob or a folder takes; `ends` are the ends of the exports that lie there.
    async fn take(&mut self, place: &Place, taken: Vec<Taken>, ends: &[Path]) -> Result<()> {
        let values = self.options.partitions.is_none() && taken.iter().any(|one| one.relative.contains('='));
        let mut exported = if values { exported_files(place, ends).await? } else { HashMap::new() };
        for one in taken {
            let end = exported.remove(&one.meta.location);
            let mut file = self.file(place, &place.location, one.meta, place.show(&one.relative)).await?;
            file.below = end.unwrap_or(one.relative);
            self.add(one.dataset, file);
        }
        Ok(())
    }

    /// The files that an export names, below `prefix`: all others are none of it.
    async fn export(&mut self, place: &Place, folder: &Location, export: &Export, prefix: &str) -> Result<()> {
        let whole = prefix.is_empty();
        for dataset in &export.datasets {
            let files: Vec<_> = dataset.files.iter().filter(|file| file.path.starts_with(prefix)).collect();
            if files.is_empty() && !(whole && dataset.files.is_empty()) {
                continue;
            }
            let schema = dataset.schema(&place.shown)?;
            let (folders, inside): (Vec<FieldRef>, Vec<FieldRef>) =
                schema.fields().iter().cloned().partition(|field| dataset.partitions.contains(field.name()));
            let inside: SchemaRef = Arc::new(Schema::new(inside));
            let name = self.options.dataset.clone().unwrap_or_else(|| dataset.name.clone());
            self.groups.entry(name.clone()).or_insert_with(|| Group {
                name,
                files: Vec::new(),
                exported: Some(inside),
                folders,
            });
            for named in files {
                let shown = place.show(named.path.strip_prefix(prefix).unwrap_or(&named.path));
                let bad = |reason: String| FilesError::NotAsExported { file: shown.clone(), reason };
                let path = folder.path(&named.path).map_err(|error| bad(error.to_string()))?;
                let meta = match folder.store.head(&path).await {
                    Ok(meta) => meta,
                    Err(object_store::Error::NotFound { .. }) => return Err(bad("it is missing".to_owned()).into()),
                    Err(error) => return Err(error.into()),
                };
                if meta.size != named.bytes {
                    return Err(bad(format!("it has {} bytes instead of {}", meta.size, named.bytes)).into());
                }
                let mut file = self.file(place, folder, meta, shown.clone()).await?;
                file.rows = Some(named.rows);
                self.add(dataset.name.clone(), file);
            }
        }
        Ok(())
    }

    /// What a file is, decrypted where a key is given.
    async fn file(&mut self, place: &Place, folder: &Location, meta: ObjectMeta, shown: String) -> Result<FoundFile> {
        let (format, compression) = self.format(&shown)?;
        let (store, below) = (Arc::clone(&folder.store), String::new());
        let raw = FoundFile { store, meta, shown, format, compression, rows: None, below };
        self.unlocked.file(raw, &place.location, self.options.unlock.as_ref(), self.context).await
    }

    fn format(&self, shown: &str) -> Result<(Format, Compression)> {
        let name = shown.rsplit('/').next().unwrap_or(shown);
        let (named_compression, inner) = Compression::of_name(name);
        let compression = self.options.compression.unwrap_or(named_compression);
        let unknown = || FilesError::UnknownFormat { file: shown.to_owned() };
        let format = self.options.format.or_else(|| Format::of_name(inner)).ok_or_else(unknown)?;
        if format == Format::Parquet && compression != Compression::None {
            return Err(FilesError::CompressedParquet { file: shown.to_owned() }.into());
        }
        Ok((format, compression))
    }

    fn add(&mut self, name: String, file: FoundFile) {
        let name = self.options.dataset.clone().unwrap_or(name);
        let group = self.groups.entry(name.clone()).or_insert_with(|| Group {
            name,
            files: Vec::new(),
            exported: None,
            folders: Vec::new(),
        });
        group.files.push(file);
    }
}

/// Whether a folder leaves a file out: by its own name, or by that of a folder in its path.
fn beside_the_data(relative: &str) -> bool {
    let hidden = |name: &str| name.starts_with('.') || name.starts_with(OWN);
    let (folders, file) = relative.rsplit_once('/').unwrap_or(("", relative));
    let in_folder = folders.split('/').any(|name| hidden(name) || SIDE_FOLDERS.contains(&name));
    in_folder || hidden(file) || SIDE_FILES.contains(&file)
}

/// The ends of exports among the objects of a listing.
fn ends_of(listed: &[ObjectMeta]) -> Vec<Path> {
    let paths = listed.iter().map(|meta| &meta.location);
    paths.filter(|path| path.filename() == Some(EXPORT)).cloned().collect()
}

/// The files of these exports, each with the path of its export's end below the place: a folder inside an export is
/// named like its dataset, and a `=` in that name means nothing.
async fn exported_files(place: &Place, ends: &[Path]) -> Result<HashMap<Path, String>> {
    let mut files = HashMap::new();
    for end in ends {
        let below = place.location.relative(end).unwrap_or_default();
        let root = end.parent().unwrap_or_default();
        let shown = place.show(place.location.relative(&root).unwrap_or_default());
        let folder = Location { root, ..place.location.clone() };
        let Some(export) = Export::read(&folder, &shown).await? else { continue };
        // The folders of a partitioned dataset hold values: read by a glob, it is as any other.
        let plain = export.datasets.iter().filter(|dataset| dataset.partitions.is_empty());
        for file in plain.flat_map(|dataset| &dataset.files) {
            let bad = |reason: String| FilesError::NotAsExported { file: file.path.clone(), reason };
            let path = folder.path(&file.path).map_err(|error| bad(error.to_string()))?;
            files.insert(path, below.to_owned());
        }
    }
    Ok(files)
}

impl Place {
    fn shown_glob(&self) -> String {
        self.glob.as_ref().map_or_else(|| self.shown.clone(), |glob| self.show(&glob.text))
    }
}

impl Format {
    /// The format that a file's ending names; the ending of a compression is already taken off.
    pub fn of_name(name: &str) -> Option<Self> {
        let (_, ending) = name.rsplit_once('.')?;
        Some(match ending.to_ascii_lowercase().as_str() {
            "parquet" | "parq" | "pq" => Self::Parquet,
            "jsonl" | "ndjson" => Self::Jsonl,
            "json" => Self::Json,
            "arrow" | "arrows" | "feather" | "ipc" => Self::Arrow,
            "csv" | "tsv" => Self::Csv,
            _ => return None,
        })
    }
}

/// A file's name without folders and without the endings of compression and format: `a/cities.jsonl.gz` is `cities`.
pub(super) fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (_, inner) = Compression::of_name(name);
    match inner.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => inner,
    }
}

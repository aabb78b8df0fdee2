//! Rows of a file as objects, and as rows of the collection.

use std::sync::atomic::Ordering::Relaxed;

use arrow::array::{Array, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use futures::{StreamExt, TryStreamExt, stream};
use restow_core::stage::{Evidence, ReadRequest, Reject, SplitEvent, SplitStream};
use restow_core::{EngineError, Result};
use tokio::sync::mpsc;

use super::super::class::Class;
use super::super::columns::{Column, Content};
use super::super::decode;
use super::super::native::Object;
use super::super::rows::{Cell, RowBuilder};
use super::files::{
    CLASS, CREATED, Export, ExportFile, ID, NAMED, PROPERTIES, Piece, SEVERAL, TENANT, UPDATED, VECTOR,
};
use super::folder::{Folder, Part};
use super::vectors;

/// Batches that wait for the engine.
const AHEAD: usize = 2;
/// What a batch of a file should hold.
const BATCH_BYTES: u64 = 16 << 20;

/// A collection whose objects are read.
#[derive(Debug, Clone)]
pub struct Readable {
    /// Its definition.
    pub class: Class,
    /// All its columns.
    pub columns: Vec<Column>,
}

/// Starts to read a split.
///
/// # Errors
/// The file is gone or has changed, or cannot be read.
pub async fn read(export: &Export, collection: &Readable, piece: Piece, request: &ReadRequest) -> Result<SplitStream> {
    if piece.is_nothing() {
        let proof = "the export has no object of this collection".to_owned();
        let end = SplitEvent::End(Evidence { rows: Some(0), bytes: 0, proof, state: None });
        return Ok(stream::once(async { Ok(end) }).boxed());
    }
    let file = export.file(&piece.file)?;
    piece.check_same(&export.folder, &export.folder.head(&piece.file).await?)?;
    let columns = request.schema.fields().iter().map(|field| {
        let column = collection.columns.iter().find(|column| column.field.name() == field.name());
        column.cloned().ok_or_else(|| EngineError::failed(format!("there is no column {:?}", field.name())))
    });
    let reading = Reading {
        folder: export.folder.clone(),
        file: file.clone(),
        class: collection.class.clone(),
        columns: columns.collect::<Result<_>>()?,
        builder: RowBuilder::new(&request.schema)?,
        batch_rows: rows_at_once(file, request.batch_rows),
        limit: request.limit.map(|limit| limit as u64),
        piece,
        counted: 0,
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    // Ends by itself where nobody listens any more.
    tokio::spawn(async move {
        if let Err(error) = reading.run(&sender).await {
            let _ = sender.send(Err(error)).await;
        }
    });
    Ok(stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|event| (event, receiver)) })
        .boxed())
}

/// As many rows as hold [`BATCH_BYTES`], about.
pub fn rows_at_once(file: &ExportFile, most: usize) -> usize {
    let fitting = usize::try_from(BATCH_BYTES / file.row_bytes()).unwrap_or(usize::MAX);
    fitting.clamp(1, most.max(1))
}

type Events = mpsc::Sender<Result<SplitEvent>>;

/// A part of a file being read.
struct Reading {
    folder: Folder,
    file: ExportFile,
    class: Class,
    columns: Vec<Column>,
    builder: RowBuilder,
    batch_rows: usize,
    limit: Option<u64>,
    piece: Piece,
    counted: u64,
}

impl Reading {
    async fn run(mut self, events: &Events) -> Result<()> {
        let (folder, path) = (self.folder.clone(), self.piece.file.clone());
        let part = self.piece.part();
        let needed = self.needed();
        let (mut batches, fetched) = folder.rows(&path, &self.file.meta, &part, &needed, self.batch_rows).await?;
        while self.limit.is_none_or(|limit| self.counted < limit) {
            let batch = batches.try_next().await.map_err(|error| folder.unreadable(&path, error))?;
            let Some(batch) = batch else { break };
            for event in self.events(&batch)? {
                if events.send(Ok(event)).await.is_err() {
                    return Ok(());
                }
            }
        }
        let enough = self.limit.is_some_and(|limit| self.counted >= limit);
        if self.counted != part.rows && !enough {
            let message = format!("{:?} ends after {} of {} rows", folder.show(&path), self.counted, part.rows);
            return Err(
                EngineError::failed(message).with_hint("it is damaged: copy the export again; it was only read")
            );
        }
        let proof = if enough && self.counted != part.rows {
            "as many rows as were asked for".to_owned()
        } else {
            format!("all {} rows of row group {} from {} on, as the file counts them", part.rows, part.group, part.from)
        };
        let evidence = Evidence { rows: Some(self.counted), bytes: fetched.load(Relaxed), proof, state: None };
        let _ = events.send(Ok(SplitEvent::End(evidence))).await;
        Ok(())
    }

    /// The columns of the file that the columns of the request are made of. The id always: it names what cannot be read.
    fn needed(&self) -> Vec<&'static str> {
        let mut needed = vec![ID];
        for column in &self.columns {
            needed.extend_from_slice(match &column.content {
                Content::Id | Content::Tenant => &[],
                Content::Created => &[CREATED],
                Content::Updated => &[UPDATED],
                Content::Property(_) | Content::DateText(_) => &[PROPERTIES],
                Content::Vector(..) => &[VECTOR, NAMED, SEVERAL],
            });
        }
        needed.extend([CLASS, TENANT]);
        needed.retain(|column| self.file.has(column));
        needed
    }

    fn events(&mut self, batch: &RecordBatch) -> Result<Vec<SplitEvent>> {
        let stored = Stored::of(batch, &self.file)?;
        let mut events = Vec::new();
        for row in 0..batch.num_rows() {
            self.counted += 1;
            match self.row(&stored, row) {
                Ok(cells) => self.builder.push(cells)?,
                Err(reason) => events.push(SplitEvent::Reject(self.reject(&stored, row, reason))),
            }
        }
        if self.builder.len() > 0 {
            events.push(SplitEvent::Rows(self.builder.finish()?));
        }
        Ok(events)
    }

    fn row(&self, stored: &Stored, row: usize) -> Result<Vec<Cell>, String> {
        if let Some(class) = stored.class(row).filter(|class| *class != self.class.name) {
            return Err(format!("it is of collection {class:?}, and the file began with {:?}", self.class.name));
        }
        let tenant = stored.tenant(row);
        match (self.class.has_tenants, tenant.is_empty()) {
            (true, true) => return Err("it has no tenant, and its collection has tenants".to_owned()),
            (false, false) => return Err(format!("it has the tenant {tenant:?}, and its collection has none")),
            _ => {}
        }
        let object = stored.object(row)?;
        known_vectors(&self.class, &object)?;
        let id = uuid::Uuid::from_bytes(object.id).hyphenated().to_string();
        let (mut cells, rest) = decode::of_stored(&self.columns, object, &id, tenant)?;
        for (column, cell) in self.columns.iter().zip(&mut cells) {
            // Exports of a server have both times always; rows that came from elsewhere may have none.
            if stored.lacks_time(&column.content, row) {
                *cell = Cell::Absent;
            }
        }
        let known = |name: &String| self.class.properties.iter().any(|property| property.name == *name);
        match rest.iter().find(|name| !known(name)) {
            Some(name) => Err(format!("it has a property {name:?}, which the definition of its collection has not")),
            None => Ok(cells),
        }
    }

    fn reject(&self, stored: &Stored, row: usize, reason: String) -> Reject {
        decode::reject(&self.class.name, stored.tenant(row), stored.id(row), reason, None)
    }
}

/// A vector that the definition does not have has no column.
fn known_vectors(class: &Class, object: &Object) -> Result<(), String> {
    let has = |name: Option<&str>, multi: bool| {
        class.vectors.iter().any(|vector| vector.name.as_deref() == name && vector.multi == multi)
    };
    let unnamed = object.vector.as_ref().filter(|vector| !vector.is_empty() && !has(None, false));
    let named = object.vectors.keys().find(|name| !has(Some(name.as_str()), false));
    let several = object.multi_vectors.keys().find(|name| !has(Some(name.as_str()), true));
    match (unnamed, named.or(several)) {
        (Some(_), _) => Err("it has a vector, which the definition of its collection has not".to_owned()),
        (_, Some(name)) => {
            Err(format!("it has a vector {name:?}, which the definition of its collection has not, or of another form"))
        }
        (None, None) => Ok(()),
    }
}

/// The columns of a batch.
pub struct Stored {
    ids: StringArray,
    classes: Option<StringArray>,
    tenants: Option<StringArray>,
    tenant: Option<String>,
    created: Option<Int64Array>,
    updated: Option<Int64Array>,
    vectors: Option<BinaryArray>,
    named: Option<BinaryArray>,
    several: Option<BinaryArray>,
    properties: Option<StringArray>,
}

impl Stored {
    /// Takes the columns apart.
    ///
    /// # Errors
    /// A column has another type than exports have, or is no UTF-8.
    pub fn of(batch: &RecordBatch, file: &ExportFile) -> Result<Self> {
        let has = |name: &str| batch.column_by_name(name).is_some();
        let text = |name: &str| has(name).then(|| texts(batch, name)).transpose();
        let binary = |name: &str| has(name).then(|| binaries(batch, name)).transpose();
        let number = |name: &str| {
            let column = batch.column_by_name(name);
            column
                .map(|column| Ok::<_, EngineError>(cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone()))
                .transpose()
        };
        Ok(Self {
            ids: texts(batch, ID)?,
            classes: text(CLASS)?,
            tenants: text(TENANT)?,
            tenant: file.tenant.clone(),
            created: number(CREATED)?,
            updated: number(UPDATED)?,
            vectors: binary(VECTOR)?,
            named: binary(NAMED)?,
            several: binary(SEVERAL)?,
            properties: text(PROPERTIES)?,
        })
    }

    fn id(&self, row: usize) -> &str {
        self.ids.value(row)
    }

    fn class(&self, row: usize) -> Option<&str> {
        self.classes.as_ref().map(|classes| classes.value(row))
    }

    fn tenant(&self, row: usize) -> &str {
        match &self.tenants {
            Some(tenants) if tenants.is_valid(row) => tenants.value(row),
            _ => self.tenant.as_deref().unwrap_or_default(),
        }
    }

    fn lacks_time(&self, content: &Content, row: usize) -> bool {
        let values = match content {
            Content::Created => &self.created,
            Content::Updated => &self.updated,
            _ => return false,
        };
        values.as_ref().is_none_or(|values| values.is_null(row))
    }

    /// The properties of a row; `null` where it has none.
    pub fn properties(&self, row: usize) -> &str {
        self.properties.as_ref().filter(|values| values.is_valid(row)).map_or("null", |values| values.value(row))
    }

    /// The vectors of a row.
    ///
    /// # Errors
    /// They have another form than vectors of exports.
    pub fn vectors(&self, row: usize) -> Result<(Option<Vec<f32>>, vectors::Named, vectors::Several), String> {
        let of = |column| value(column, row);
        Ok((
            of(&self.vectors).map(vectors::floats).transpose()?,
            of(&self.named).map(vectors::named).transpose()?.unwrap_or_default(),
            of(&self.several).map(vectors::several).transpose()?.unwrap_or_default(),
        ))
    }

    fn object(&self, row: usize) -> Result<Object, String> {
        let id = uuid::Uuid::try_parse(self.id(row)).map_err(|_| format!("its id {:?} is no UUID", self.id(row)))?;
        let (vector, vectors, multi_vectors) = self.vectors(row)?;
        let time = |values: &Option<Int64Array>| values.as_ref().map_or(0, |values| values.value(row));
        Ok(Object {
            id: *id.as_bytes(),
            created_ms: time(&self.created),
            updated_ms: time(&self.updated),
            vector,
            vectors,
            multi_vectors,
            properties: self.properties(row).to_owned(),
            ..Object::default()
        })
    }
}

fn value(column: &Option<BinaryArray>, row: usize) -> Option<&[u8]> {
    column.as_ref().filter(|values| values.is_valid(row)).map(|values| values.value(row))
}

/// A column of texts.
///
/// # Errors
/// There is none of this name, or it is no UTF-8.
pub fn texts(batch: &RecordBatch, name: &str) -> Result<StringArray> {
    let column =
        batch.column_by_name(name).ok_or_else(|| EngineError::failed(format!("there is no column {name:?}")))?;
    let checked = arrow::compute::cast_with_options(column, &DataType::Utf8, &STRICT)
        .map_err(|error| EngineError::from(error).context(format!("column {name:?} is no text")))?;
    Ok(checked.as_string::<i32>().clone())
}

fn binaries(batch: &RecordBatch, name: &str) -> Result<BinaryArray> {
    let column =
        batch.column_by_name(name).ok_or_else(|| EngineError::failed(format!("there is no column {name:?}")))?;
    Ok(cast(column, &DataType::Binary)?.as_binary::<i32>().clone())
}

/// A value that is no UTF-8 is an error and not a null.
const STRICT: arrow::compute::CastOptions<'static> =
    arrow::compute::CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

/// A sample of the lengths of vectors: one entry a vector of the class, each with the lengths that were seen.
pub async fn lengths(export: &Export, class: &Class, rows: u64) -> Result<Vec<Vec<i32>>> {
    let mut found: Vec<Vec<i32>> = vec![Vec::new(); class.vectors.len()];
    for file in export.files_of(&class.name) {
        let Some(part) = file.parts().into_iter().next() else { continue };
        let part = Part { rows: part.rows.min(rows), ..part };
        let columns: Vec<&str> = [ID, VECTOR, NAMED, SEVERAL].into_iter().filter(|column| file.has(column)).collect();
        let most = rows_at_once(file, usize::try_from(rows).unwrap_or(usize::MAX));
        let (mut batches, _) = export.folder.rows(&file.path, &file.meta, &part, &columns, most).await?;
        while let Some(batch) = batches.try_next().await.map_err(|error| export.folder.unreadable(&file.path, error))? {
            let stored = Stored::of(&batch, file)?;
            for row in 0..batch.num_rows() {
                // What cannot be read is a reject when it is read in earnest.
                let Ok(object) = stored.object(row) else { continue };
                for (vector, lengths) in class.vectors.iter().zip(&mut found) {
                    let length = decode::native_length(vector, &object);
                    lengths.extend(length.filter(|length| !lengths.contains(length)));
                }
            }
        }
    }
    Ok(found)
}

/// The tenants of a collection that stand in a column of its files.
pub async fn tenants(export: &Export, class: &str) -> Result<std::collections::BTreeSet<String>> {
    let mut found = std::collections::BTreeSet::new();
    for file in export.files_of(class).into_iter().filter(|file| file.has(TENANT)) {
        for part in file.parts() {
            let (mut batches, _) = export.folder.rows(&file.path, &file.meta, &part, &[TENANT], 8192).await?;
            while let Some(batch) =
                batches.try_next().await.map_err(|error| export.folder.unreadable(&file.path, error))?
            {
                let names = texts(&batch, TENANT)?;
                for name in names.iter().flatten() {
                    if !found.contains(name) {
                        found.insert(name.to_owned());
                    }
                }
            }
        }
    }
    Ok(found)
}

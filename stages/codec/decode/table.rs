//! The batch that is being filled, row by row. A row is kept whole or not at all.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use restow_core::record::{EXPLICIT_NULLS, NULL_NUMBER, RESERVED_PREFIX, TEXT_PREFIX};
use restow_core::{EngineError, Result};

use super::cell::{Cell, build};
use super::reading::Reading;
use super::{BATCH_TEXT_BYTES, DecodeRequest};

/// A column of the dataset, wanted or not.
struct Slot {
    name: String,
    /// `None` where the column is not wanted.
    wanted: Option<Wanted>,
    /// Its number among the explicit nulls, where the dataset has those.
    number: Option<u16>,
    /// The last row that had it, to find names that come twice.
    row: u64,
}

struct Wanted {
    at: usize,
    reading: Reading,
    text: TextColumn,
}

/// The column beside it that keeps texts which the typed value does not print as.
#[derive(Clone, Copy)]
enum TextColumn {
    /// The dataset has none.
    Missing,
    /// The dataset has one that is not wanted.
    Unwanted,
    At(usize),
}

pub(super) struct Table {
    schema: SchemaRef,
    slots: Vec<Slot>,
    index: HashMap<String, usize>,
    /// Where the explicit nulls go; `None` where they are not wanted.
    nulls_at: Option<usize>,
    columns: Vec<Vec<Cell>>,
    /// The row that is being read.
    row: Vec<Cell>,
    row_nulls: Vec<u16>,
    row_number: u64,
    rows: usize,
    bytes: usize,
    batch_rows: usize,
}

impl Table {
    pub(super) fn new(request: &DecodeRequest) -> Result<Self> {
        let schema = &request.schema;
        let dataset = &request.dataset_schema;
        let own = |field: &&Arc<Field>| !field.name().starts_with(RESERVED_PREFIX);
        let mut slots = Vec::new();
        for field in dataset.fields().iter().filter(own) {
            slots.push(Slot::new(field, dataset, schema, &request.place)?);
        }
        let missing = schema.fields().iter().find(|field| dataset.index_of(field.name()).is_err());
        if let Some(field) = missing {
            return Err(EngineError::failed(format!("{:?} has no column {:?}", request.place, field.name())));
        }
        Ok(Self {
            index: slots.iter().enumerate().map(|(at, slot)| (slot.name.clone(), at)).collect(),
            slots,
            nulls_at: schema.index_of(EXPLICIT_NULLS).ok(),
            columns: schema.fields().iter().map(|_| Vec::new()).collect(),
            row: schema.fields().iter().map(|_| Cell::Null).collect(),
            row_nulls: Vec::new(),
            row_number: 1,
            rows: 0,
            bytes: 0,
            batch_rows: request.batch_rows.max(1),
            schema: Arc::clone(schema),
        })
    }

    /// Puts a JSON value into the row.
    pub(super) fn put_json(&mut self, name: &str, raw: &str) -> Result<(), String> {
        let at = self.find(name)?;
        let Some(slot) = self.slots.get_mut(at) else { return Ok(()) };
        if std::mem::replace(&mut slot.row, self.row_number) == self.row_number {
            return Err(format!("column {name:?} comes twice in the row"));
        }
        if raw == "null" {
            let number = slot.number.ok_or_else(|| {
                format!(
                    "column {name:?} is null, which no row before was: infer the columns from more of the file, \
                     or declare them"
                )
            })?;
            self.row_nulls.push(number);
            return Ok(());
        }
        let Some(wanted) = &slot.wanted else { return Ok(()) };
        let (cell, text) = wanted.reading.read(raw).map_err(|reason| format!("column {name:?}: {reason}"))?;
        let (cell_at, text_at) = (wanted.at, wanted.text_at(name, raw, text.is_some())?);
        self.set(cell_at, cell);
        if let (Some(at), Some(text)) = (text_at, text) {
            self.set(at, Cell::Text(text));
        }
        Ok(())
    }

    /// Puts the text of a CSV field into the row; an empty field without quotes is absent.
    pub(super) fn put_text(&mut self, at: usize, text: &str, quoted: bool) -> Result<(), String> {
        let Some(slot) = self.slots.get(at) else { return Ok(()) };
        let Some(wanted) = &slot.wanted else { return Ok(()) };
        if text.is_empty() && !(quoted && wanted.reading.is_text()) {
            return Ok(());
        }
        let name = slot.name.clone();
        let (cell, beside) = wanted.reading.read_plain(text).map_err(|reason| format!("column {name:?}: {reason}"))?;
        let (cell_at, text_at) = (wanted.at, wanted.text_at(&name, text, beside.is_some())?);
        self.set(cell_at, cell);
        if let (Some(at), Some(text)) = (text_at, beside) {
            self.set(at, Cell::Text(text));
        }
        Ok(())
    }

    /// The slot of a column.
    pub(super) fn find(&self, name: &str) -> Result<usize, String> {
        self.index.get(name).copied().ok_or_else(|| {
            format!(
                "column {name:?} is in no row before: infer the columns from more of the file, or declare it in `schema:`"
            )
        })
    }

    /// Keeps the row that was put together.
    pub(super) fn keep(&mut self, bytes: usize) {
        if let Some(at) = self.nulls_at.filter(|_| !self.row_nulls.is_empty()) {
            // One form, in whatever order the row names its properties.
            self.row_nulls.sort_unstable();
            let nulls = self.row_nulls.iter().map(|number| Cell::Whole(i128::from(*number))).collect();
            self.set(at, Cell::List(nulls));
        }
        self.row_nulls.clear();
        for (column, cell) in self.columns.iter_mut().zip(&mut self.row) {
            column.push(std::mem::take(cell));
        }
        self.row_number += 1;
        self.rows += 1;
        self.bytes += bytes;
    }

    /// Forgets the row.
    pub(super) fn discard(&mut self) {
        self.row_nulls.clear();
        self.row.iter_mut().for_each(|cell| *cell = Cell::Null);
        self.row_number += 1;
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.batch_rows || self.bytes >= BATCH_TEXT_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The batch so far.
    pub(super) fn take(&mut self) -> Result<RecordBatch> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (field, cells) in self.schema.fields().iter().zip(&mut self.columns) {
            arrays.push(build(field.data_type(), std::mem::take(cells))?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        self.bytes = 0;
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?)
    }

    fn set(&mut self, at: usize, cell: Cell) {
        if let Some(place) = self.row.get_mut(at) {
            *place = cell;
        }
    }
}

impl Slot {
    fn new(field: &Field, dataset: &Schema, schema: &Schema, place: &str) -> Result<Self> {
        let name = field.name().clone();
        let wanted = match schema.index_of(&name) {
            Err(_) => None,
            Ok(at) => {
                let reading = Reading::of(field).ok_or_else(|| {
                    EngineError::usage(format!(
                        "{place:?}: column {name:?} of type {} cannot be read from text",
                        field.data_type()
                    ))
                    .with_hint("declare another type for it in `schema:`, for example text")
                })?;
                let beside = format!("{TEXT_PREFIX}{name}");
                let text = match (schema.index_of(&beside), dataset.index_of(&beside)) {
                    (Ok(at), _) => TextColumn::At(at),
                    (Err(_), Ok(_)) => TextColumn::Unwanted,
                    (Err(_), Err(_)) => TextColumn::Missing,
                };
                Some(Wanted { at, reading, text })
            }
        };
        let has_nulls = dataset.index_of(EXPLICIT_NULLS).is_ok();
        let number = field.metadata().get(NULL_NUMBER).filter(|_| has_nulls).and_then(|number| number.parse().ok());
        Ok(Self { name, wanted, number, row: 0 })
    }
}

impl Wanted {
    /// Where the text beside the value goes, where there is one to keep.
    fn text_at(&self, name: &str, raw: &str, needed: bool) -> Result<Option<usize>, String> {
        match self.text {
            _ if !needed => Ok(None),
            TextColumn::At(at) => Ok(Some(at)),
            TextColumn::Unwanted => Ok(None),
            TextColumn::Missing => Err(format!(
                "column {name:?}: {} is no exact {}, and no row before needed its text kept: infer the columns from more of \
                 the file, or declare it as text",
                super::reading::shown(raw),
                self.reading.noun()
            )),
        }
    }
}

//! Inference: the columns of JSON and CSV files, from all of their rows up to a bound.
//!
//! `schemas/records.md` lists what becomes what. Inference never guesses beyond what it has seen: a type is taken only
//! where every value has it exactly, everything else stays JSON text. A later row that does not fit is a reject.

mod observe;

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use restow_core::record::{self, EXPLICIT_NULLS, NULL_NUMBER, RESERVED_PREFIX, Role, Roles, TEXT_PREFIX};
use restow_core::{EngineError, Result};
use tokio::runtime::Handle;

use super::decode::{ByteStream, CsvOptions, JsonRows, Record, Records, open, readable, unreadable};
use super::options::StreamCompression;
use super::pool::blocking;
use super::types::list_of;
use observe::Observed;

/// How much text inference reads where nothing else is said, in bytes after decompression: 64 MiB.
pub const DEFAULT_INFER_BYTES: u64 = 64 << 20;
/// Arrays of floats of one length are a vector from this length on.
pub const MIN_VECTOR: usize = 8;

/// What inference is told.
#[derive(Debug, Clone)]
pub struct InferOptions {
    /// Columns whose type the user declared (see [`parse_field`](super::types::parse_field)); they override what is seen.
    pub declared: Vec<Field>,
    /// How much text to read over all files, in bytes after decompression.
    pub max_bytes: u64,
}

impl Default for InferOptions {
    fn default() -> Self {
        Self { declared: Vec::new(), max_bytes: DEFAULT_INFER_BYTES }
    }
}

/// The layout of a text file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// One JSON object a line.
    JsonLines,
    /// An array of JSON objects.
    Json,
    /// CSV.
    Csv(CsvOptions),
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inferred {
    /// The columns, roles stamped: those of the rows in the order in which they first came, declared ones that no row
    /// has, then restow's own.
    pub schema: SchemaRef,
    /// The roles: vectors, and what was declared.
    pub roles: Roles,
    /// Rows seen.
    pub rows: u64,
    /// Rows that cannot be read; they were passed over.
    pub rejects: u64,
    /// Bytes of text seen.
    pub bytes: u64,
    /// Whether that was all of it.
    pub complete: bool,
}

/// Inference over the files of one dataset: `new`, `read` for each file, `finish`.
#[derive(Debug)]
pub struct Inference {
    options: InferOptions,
    names: HashMap<String, usize>,
    columns: Vec<(String, Observed)>,
    rows: u64,
    rejects: u64,
    bytes: u64,
    complete: bool,
    csv: bool,
}

impl Inference {
    /// Nothing seen yet.
    pub fn new(options: InferOptions) -> Self {
        Self {
            options,
            names: HashMap::new(),
            columns: Vec::new(),
            rows: 0,
            rejects: 0,
            bytes: 0,
            complete: true,
            csv: false,
        }
    }

    /// Whether the bound is reached: further files would not be read.
    pub fn is_full(&self) -> bool {
        self.bytes >= self.options.max_bytes
    }

    /// Reads a file, up to the bound.
    ///
    /// # Errors
    /// The file cannot be read, or has columns with restow's own names.
    pub async fn read(
        mut self,
        input: ByteStream,
        format: TextFormat,
        compression: StreamCompression,
        place: &str,
    ) -> Result<Self> {
        if self.is_full() {
            self.complete = false;
            return Ok(self);
        }
        let (handle, place) = (Handle::current(), place.to_owned());
        blocking(move || {
            let input = open(handle, input, compression).map_err(|error| unreadable(&place, error))?;
            match format {
                TextFormat::JsonLines => self.read_json(JsonRows::lines(input), &place)?,
                TextFormat::Json => self.read_json(JsonRows::array(input), &place)?,
                TextFormat::Csv(options) => self.read_csv(Records::new(input, options), &place)?,
            }
            Ok(self)
        })
        .await
    }

    fn read_json(&mut self, mut rows: JsonRows, place: &str) -> Result<()> {
        while !self.is_full() {
            let Some(row) = rows.next(place)? else { return Ok(()) };
            self.bytes += row.bytes.len() as u64 + 1;
            self.rows += 1;
            match row.fields() {
                Err(_) => self.rejects += 1,
                Ok(fields) => {
                    for (name, value) in fields.0 {
                        self.column(&name, place)?.see_json(value.get());
                    }
                }
            }
        }
        self.complete = false;
        Ok(())
    }

    fn read_csv(&mut self, mut records: Records, place: &str) -> Result<()> {
        self.csv = true;
        for name in records.names(place)?.unwrap_or_default() {
            self.column(&name, place)?;
        }
        while !self.is_full() {
            let Some(Record { fields, problem, raw, .. }) = records.next(place)? else { return Ok(()) };
            self.bytes += raw.len() as u64;
            self.rows += 1;
            if problem.is_some() || fields.len() != self.columns.len() {
                self.rejects += 1;
                continue;
            }
            for ((_, column), field) in self.columns.iter_mut().zip(fields) {
                column.see_text(&field.text);
            }
        }
        self.complete = false;
        Ok(())
    }

    fn column(&mut self, name: &str, place: &str) -> Result<&mut Observed> {
        if !self.names.contains_key(name) {
            if name.starts_with(RESERVED_PREFIX) {
                return Err(EngineError::usage(format!(
                    "{place:?} has a column {name:?}, and names that begin with {RESERVED_PREFIX:?} are restow's own"
                ))
                .with_hint("rename the column in the file"));
            }
            let declared = self.options.declared.iter().find(|field| field.name() == name);
            self.names.insert(name.to_owned(), self.columns.len());
            self.columns.push((name.to_owned(), Observed::new(declared)));
        }
        let at = self.names.get(name).copied().unwrap_or_default();
        match self.columns.get_mut(at) {
            Some((_, observed)) => Ok(observed),
            None => Err(EngineError::failed(format!("column {name:?} was lost by inference"))),
        }
    }

    /// The columns.
    ///
    /// # Errors
    /// A declared type has no text form, or there are more columns than explicit nulls can number.
    pub fn finish(mut self) -> Result<Inferred> {
        for field in std::mem::take(&mut self.options.declared) {
            if !readable(&field) {
                return Err(EngineError::usage(format!(
                    "column {:?} is declared as {}, which cannot be read from text",
                    field.name(),
                    field.data_type()
                ))
                .with_hint("declare it as text, and cast it in a transform"));
            }
            if !self.names.contains_key(field.name()) {
                self.columns.push((field.name().clone(), Observed::new(Some(&field))));
            }
        }
        let schema: SchemaRef = self.schema()?.into();
        let roles = Roles::of(&schema);
        Ok(Inferred {
            schema,
            roles,
            rows: self.rows,
            rejects: self.rejects,
            bytes: self.bytes,
            complete: self.complete,
        })
    }

    fn schema(&self) -> Result<Schema> {
        // Where not all rows were seen, JSON may still bring a null, and a time that does not print as it was written.
        let open_end = !self.complete && !self.csv;
        let nulls = open_end || self.columns.iter().any(|(_, column)| column.has_nulls());
        let (mut fields, mut texts) = (Vec::new(), Vec::new());
        for (number, (name, column)) in self.columns.iter().enumerate() {
            let resolved = column.resolve(name, self.csv);
            let mut field = resolved.field;
            if nulls {
                let number = u16::try_from(number).map_err(|_| too_many(self.columns.len()))?;
                field.metadata_mut().insert(NULL_NUMBER.to_owned(), number.to_string());
            }
            if resolved.text || (open_end && matches!(field.data_type(), DataType::Timestamp(..))) {
                texts.push(Field::new(format!("{TEXT_PREFIX}{name}"), DataType::Utf8, true));
            }
            fields.push(field);
        }
        fields.extend(texts);
        if nulls {
            fields.push(Field::new(EXPLICIT_NULLS, list_of(DataType::UInt16), true));
        }
        Ok(Schema::new(fields))
    }
}

/// A field, and whether texts must be kept beside it.
struct Resolved {
    field: Field,
    text: bool,
}

impl Resolved {
    fn of(name: &str, data_type: DataType) -> Self {
        Self { field: Field::new(name, data_type, true), text: false }
    }

    fn json(name: &str) -> Self {
        Self { field: record::json_field(name), text: false }
    }

    fn with(mut self, key: &str, value: &str) -> Self {
        self.field.metadata_mut().insert(key.to_owned(), value.to_owned());
        self
    }

    fn with_role(self, role: Role) -> Self {
        self.with(record::ROLE_KEY, role.as_str())
    }
}

fn too_many(columns: usize) -> EngineError {
    EngineError::usage(format!("the rows have {columns} columns, and explicit nulls can be kept for 65536"))
        .with_hint("keep the wide part of the rows in one nested object")
}

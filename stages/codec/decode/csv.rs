//! CSV (RFC 4180): quotes double inside quotes, line breaks may stand inside them, a record must have as many fields as
//! the header.

use std::io::{self, BufRead};

use restow_core::stage::Reject;
use restow_core::{EngineError, Result};

use super::table::Table;
use super::{DecodeRequest, Input, MAX_ROW_BYTES, Output, Stop, unreadable};

/// How a CSV file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CsvOptions {
    /// Between fields. Default: a comma.
    pub delimiter: u8,
    /// Around fields that hold a delimiter, a quote or a line break. Default: a double quote.
    pub quote: u8,
    /// Whether the first record names the columns; without, they are called `column_1`, `column_2` and so on. Default:
    /// true.
    pub header: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { delimiter: b',', quote: b'"', header: true }
    }
}

/// Decodes all records of a CSV file.
pub(super) fn decode(input: Input, options: &CsvOptions, request: DecodeRequest, output: &Output) -> Result<(), Stop> {
    let place = request.place.as_str();
    let mut table = Table::new(&request)?;
    let mut records = Records::new(input, *options);
    let Some(names) = records.names(place)? else { return Ok(()) };
    let slots: Vec<usize> =
        names.iter().map(|name| table.find(name)).collect::<Result<_, String>>().map_err(|reason| {
            EngineError::failed(format!("{place:?}: {reason}"))
                .with_hint("the files of a dataset must have the same columns")
        })?;
    while let Some(record) = records.next(place)? {
        let taken = match &record.problem {
            Some(problem) => Err(problem.clone()),
            None => take(&mut table, &slots, record),
        };
        match taken {
            Ok(()) => table.keep(record.raw.len()),
            Err(reason) => {
                table.discard();
                let row = Some(String::from_utf8_lossy(&record.raw).trim_end_matches(['\r', '\n']).to_owned());
                output.reject(Reject { place: format!("{place}:{}", record.line), reason, row })?;
            }
        }
        if table.is_full() {
            output.batch(table.take()?)?;
        }
    }
    if !table.is_empty() {
        output.batch(table.take()?)?;
    }
    Ok(())
}

fn take(table: &mut Table, slots: &[usize], record: &Record) -> Result<(), String> {
    if record.fields.len() != slots.len() {
        return Err(format!("the record has {} fields where the header has {}", record.fields.len(), slots.len()));
    }
    for (slot, field) in slots.iter().zip(&record.fields) {
        table.put_text(*slot, &field.text, field.quoted)?;
    }
    Ok(())
}

/// One record.
#[derive(Debug, Default)]
pub(in crate::codec) struct Record {
    /// The line on which it begins, from 1.
    pub(in crate::codec) line: u64,
    pub(in crate::codec) fields: Vec<CsvField>,
    /// Why it is no record.
    pub(in crate::codec) problem: Option<String>,
    /// Its bytes, with the line ending.
    pub(in crate::codec) raw: Vec<u8>,
}

/// One field of a record.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::codec) struct CsvField {
    pub(in crate::codec) text: String,
    pub(in crate::codec) quoted: bool,
}

/// Reads a CSV file record by record.
pub(in crate::codec) struct Records {
    input: Input,
    options: CsvOptions,
    /// Lines read so far.
    lines: u64,
    record: Record,
    /// The first record of a file without a header, which gave the number of columns.
    waiting: bool,
}

impl Records {
    pub(in crate::codec) fn new(input: Input, options: CsvOptions) -> Self {
        Self { input, options, lines: 0, record: Record::default(), waiting: false }
    }

    /// The names of the columns; `None` for a file without a record.
    ///
    /// # Errors
    /// The header is broken, or names a column twice.
    pub(in crate::codec) fn names(&mut self, file: &str) -> Result<Option<Vec<String>>> {
        let header = self.options.header;
        let Some(record) = self.next(file)? else { return Ok(None) };
        if let Some(problem) = &record.problem {
            return Err(EngineError::failed(format!("{file:?}: the first record is broken: {problem}")));
        }
        let named = |(at, field): (usize, &CsvField)| {
            if header && !field.text.is_empty() { field.text.clone() } else { format!("column_{}", at + 1) }
        };
        let names: Vec<String> = record.fields.iter().enumerate().map(named).collect();
        self.waiting = !header;
        let mut seen = std::collections::HashSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(EngineError::failed(format!("{file:?}: the header names the column {twice:?} twice"))
                .with_hint("give every column a name of its own"));
        }
        Ok(Some(names))
    }

    /// The next record; `None` at the end. Blank lines are passed over.
    ///
    /// # Errors
    /// The file cannot be read on, or a quote is never closed.
    pub(in crate::codec) fn next(&mut self, file: &str) -> Result<Option<&Record>> {
        if std::mem::take(&mut self.waiting) {
            return Ok(Some(&self.record));
        }
        loop {
            self.record.raw.clear();
            self.record.line = self.lines + 1;
            match self.read_record().map_err(|error| unreadable(file, error))? {
                Extent::End => return Ok(None),
                Extent::Unclosed => return Err(unclosed(file, self.record.line)),
                Extent::Whole => {}
            }
            if !matches!(self.record.raw.as_slice(), b"" | b"\n" | b"\r\n") {
                break;
            }
        }
        Ok(Some(&self.record))
    }

    /// Reads lines until the record is whole.
    fn read_record(&mut self) -> io::Result<Extent> {
        let mut fields = Splitter::new(self.options);
        loop {
            let before = self.record.raw.len();
            let limit = (MAX_ROW_BYTES + 1).saturating_sub(before) as u64;
            if io::Read::take(&mut self.input, limit).read_until(b'\n', &mut self.record.raw)? == 0 {
                return Ok(match fields.inside_quotes() {
                    true => Extent::Unclosed,
                    false => Extent::End,
                });
            }
            if self.lines == 0 && self.record.raw.starts_with(b"\xEF\xBB\xBF") {
                self.record.raw.drain(..3);
            }
            self.lines += 1;
            if self.record.raw.len() > MAX_ROW_BYTES {
                return Ok(Extent::Unclosed);
            }
            fields.line(self.record.raw.get(before..).unwrap_or_default());
            if !fields.inside_quotes() {
                (self.record.fields, self.record.problem) = fields.finish();
                return Ok(Extent::Whole);
            }
        }
    }
}

/// How far a record reached.
enum Extent {
    /// There is no further record.
    End,
    Whole,
    /// A quote is open at the end of the file, or the record is longer than [`MAX_ROW_BYTES`].
    Unclosed,
}

/// Splits the lines of one record into fields.
struct Splitter {
    options: CsvOptions,
    state: FieldState,
    field: Vec<u8>,
    quoted: bool,
    fields: Vec<(Vec<u8>, bool)>,
    problem: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FieldState {
    Start,
    Plain,
    Quoted,
    /// After a quote inside quotes: the end of the field, or the first half of a doubled quote.
    Closing,
}

impl Splitter {
    fn new(options: CsvOptions) -> Self {
        Self { options, state: FieldState::Start, field: Vec::new(), quoted: false, fields: Vec::new(), problem: None }
    }

    fn inside_quotes(&self) -> bool {
        self.state == FieldState::Quoted
    }

    /// Takes a line with its ending.
    fn line(&mut self, line: &[u8]) {
        let body = line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        body.iter().for_each(|byte| self.byte(*byte));
        if self.inside_quotes() {
            self.field.extend_from_slice(line.get(body.len()..).unwrap_or_default());
        }
    }

    fn byte(&mut self, byte: u8) {
        let (quote, delimiter) = (byte == self.options.quote, byte == self.options.delimiter);
        match self.state {
            FieldState::Start if quote => {
                self.quoted = true;
                self.state = FieldState::Quoted;
            }
            FieldState::Start | FieldState::Plain if !delimiter => {
                self.field.push(byte);
                self.state = FieldState::Plain;
            }
            FieldState::Quoted if quote => self.state = FieldState::Closing,
            FieldState::Quoted => self.field.push(byte),
            FieldState::Closing if quote => {
                self.field.push(byte);
                self.state = FieldState::Quoted;
            }
            FieldState::Closing if !delimiter => {
                let number = self.fields.len() + 1;
                self.problem.get_or_insert_with(|| format!("field {number} goes on after its closing quote"));
                self.state = FieldState::Plain;
            }
            FieldState::Start | FieldState::Plain | FieldState::Closing => self.end_field(),
        }
    }

    fn end_field(&mut self) {
        self.fields.push((std::mem::take(&mut self.field), std::mem::take(&mut self.quoted)));
        self.state = FieldState::Start;
    }

    fn finish(mut self) -> (Vec<CsvField>, Option<String>) {
        self.end_field();
        let mut fields = Vec::with_capacity(self.fields.len());
        for (bytes, quoted) in self.fields {
            match String::from_utf8(bytes) {
                Ok(text) => fields.push(CsvField { text, quoted }),
                Err(_) => return (fields, Some("the record is not UTF-8".to_owned())),
            }
        }
        (fields, self.problem)
    }
}

fn unclosed(file: &str, line: u64) -> EngineError {
    EngineError::failed(format!(
        "{file:?}: the record that begins at line {line} has a quote that is never closed, or is longer than {} MiB",
        MAX_ROW_BYTES >> 20
    ))
    .with_hint("repair the quote; records after it cannot be told apart")
}

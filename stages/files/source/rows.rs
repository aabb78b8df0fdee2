//! Files of rows (JSON lines, JSON, Arrow IPC, CSV) through the codec's decoders: one file is one split.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use restow_core::{EngineError, Result};

use super::super::config::{CsvOptions, Format, SourceOptions};
use super::super::error::FilesError;
use super::super::find::{FoundFile, Group};
use crate::codec::decode::{
    self, ByteStream, DecodeRequest, DecodedStream, arrow_schema, decode_arrow, decode_csv, decode_json,
    decode_json_lines,
};
use crate::codec::infer::{InferOptions, Inference, TextFormat};
use crate::codec::types::parse_field;

/// The bytes of a file, as stored or decrypted. The counter gets how many there were.
pub(super) fn bytes(file: &FoundFile, read: Arc<AtomicU64>) -> ByteStream {
    let file = file.clone();
    let opened = async move {
        let found = file.store.get(&file.meta.location).await?;
        file.check_same(&found.meta)?;
        Ok::<_, EngineError>(found.into_stream().map_err(EngineError::from))
    };
    stream::once(opened)
        .try_flatten()
        .inspect_ok(move |piece| {
            read.fetch_add(piece.len() as u64, Ordering::Relaxed);
        })
        .boxed()
}

/// The columns of a dataset: what an export of restow says, what Arrow files say, or what inference finds.
///
/// # Errors
/// A file cannot be read, or the files do not fit together.
pub(super) async fn columns(group: &Group, format: Format, options: &SourceOptions) -> Result<Schema> {
    let declared: Vec<Field> =
        options.schema.0.iter().map(|(column, name)| parse_field(column, name)).collect::<Result<_>>()?;
    if let Some(exported) = &group.exported {
        return redeclared(&group.name, exported, declared);
    }
    let layout = match format {
        Format::Arrow | Format::Parquet => return arrow_columns(group, &declared).await,
        Format::Jsonl => None,
        Format::Json => Some(TextFormat::Json),
        Format::Csv => None,
    };
    let mut inference = Inference::new(InferOptions { declared, ..InferOptions::default() });
    for file in &group.files {
        let layout = layout.unwrap_or_else(|| match format {
            Format::Csv => TextFormat::Csv(csv_layout(file, &options.csv)),
            _ => TextFormat::JsonLines,
        });
        inference = inference.read(bytes(file, Arc::default()), layout, file.compression, &file.shown).await?;
    }
    let found = inference.finish()?.schema;
    match &options.id {
        // No row has said anything: the empty dataset keeps its identity.
        Some(id) if found.fields().is_empty() => Ok(Schema::new(vec![Field::new(id, DataType::Utf8, true)])),
        _ => Ok(Schema::clone(&found)),
    }
}

/// The schema of an export, with the types that the options declare.
fn redeclared(dataset: &str, exported: &Schema, declared: Vec<Field>) -> Result<Schema> {
    let mut fields: Vec<FieldRef> = exported.fields().iter().cloned().collect();
    for field in declared {
        super::table::require(dataset, exported, field.name(), "schema")?;
        for known in fields.iter_mut().filter(|known| known.name() == field.name()) {
            *known = Arc::new(field.clone());
        }
    }
    Ok(Schema::new(fields))
}

/// The columns of Arrow files, which must be the same in all of them.
async fn arrow_columns(group: &Group, declared: &[Field]) -> Result<Schema> {
    if let Some(field) = declared.first() {
        return Err(EngineError::usage(format!(
            "dataset {:?}: Arrow files say the type of {:?} themselves, and `schema:` cannot change it",
            group.name,
            field.name()
        ))
        .with_hint("cast it with a transform stage"));
    }
    let mut first: Option<(SchemaRef, &FoundFile)> = None;
    for file in &group.files {
        let schema = arrow_schema(bytes(file, Arc::default()), &file.shown, file.compression).await?;
        match &first {
            None => first = Some((schema, file)),
            Some((known, _)) if same_columns(known, &schema) => {}
            Some((known, other)) => return Err(conflict(group, known, other, &schema, file).into()),
        }
    }
    Ok(first.map_or_else(Schema::empty, |(schema, _)| Schema::clone(&schema)))
}

fn same_columns(a: &Schema, b: &Schema) -> bool {
    let same = |(a, b): (&FieldRef, &FieldRef)| a.name() == b.name() && a.data_type() == b.data_type();
    a.fields().len() == b.fields().len() && a.fields().iter().zip(b.fields()).all(same)
}

/// The first column that two files do not share.
fn conflict(group: &Group, a: &Schema, a_file: &FoundFile, b: &Schema, b_file: &FoundFile) -> FilesError {
    let longest = a.fields().len().max(b.fields().len());
    let at = |schema: &Schema, n: usize| schema.fields().get(n).cloned();
    let differs = (0..longest).find(|n| match (at(a, *n), at(b, *n)) {
        (Some(a), Some(b)) => a.name() != b.name() || a.data_type() != b.data_type(),
        _ => true,
    });
    let n = differs.unwrap_or_default();
    let say = |schema: &Schema| match at(schema, n) {
        Some(field) => format!("{:?} of type {}", field.name(), field.data_type()),
        None => "missing".to_owned(),
    };
    FilesError::TypeConflict {
        dataset: group.name.clone(),
        column: format!("{}", n + 1),
        left: say(a),
        left_file: a_file.shown.clone(),
        right: say(b),
        right_file: b_file.shown.clone(),
    }
}

/// What to decode of a file.
pub(super) struct Wanted {
    /// All columns of the file.
    pub columns: SchemaRef,
    /// The columns to give.
    pub schema: SchemaRef,
    /// Rows of a batch.
    pub batch_rows: usize,
}

/// Decodes a file.
pub(super) fn decode(file: &FoundFile, csv: &CsvOptions, wanted: Wanted, read: Arc<AtomicU64>) -> DecodedStream {
    let request = DecodeRequest {
        dataset_schema: wanted.columns,
        schema: wanted.schema,
        batch_rows: wanted.batch_rows,
        place: file.shown.clone(),
        compression: file.compression,
    };
    let input = bytes(file, read);
    match file.format {
        Format::Jsonl | Format::Parquet => decode_json_lines(input, request),
        Format::Json => decode_json(input, request),
        Format::Arrow => decode_arrow(input, request),
        Format::Csv => decode_csv(input, csv_layout(file, csv), request),
    }
}

/// The layout of a CSV file: a tab between the values of a `.tsv`, unless the options say otherwise.
fn csv_layout(file: &FoundFile, csv: &CsvOptions) -> decode::CsvOptions {
    let byte = |letter: char| u8::try_from(letter).unwrap_or(b',');
    let (_, name) = super::super::config::Compression::of_name(&file.shown);
    let usual = if name.to_ascii_lowercase().ends_with(".tsv") { b'\t' } else { b',' };
    decode::CsvOptions { delimiter: csv.delimiter.map_or(usual, byte), quote: byte(csv.quote), header: csv.header }
}

/// Decodes a whole file that was just written, and counts its rows.
///
/// # Errors
/// It cannot be decoded, or has a row that cannot be read.
pub(in crate::files) async fn decode_all(file: &FoundFile, schema: &SchemaRef, csv: &CsvOptions) -> Result<u64> {
    let wanted = Wanted {
        columns: Arc::clone(schema),
        schema: Arc::clone(schema),
        batch_rows: restow_core::record::batch_rows(schema),
    };
    let mut decoded = decode(file, csv, wanted, Arc::default());
    let mut rows = 0;
    while let Some(piece) = decoded.try_next().await? {
        match piece {
            decode::Decoded::Batch(batch) => rows += batch.num_rows() as u64,
            decode::Decoded::Reject(reject) => {
                let reason = format!("{} cannot be read: {}", reject.place, reject.reason);
                return Err(FilesError::ReadBack { file: file.shown.clone(), reason }.into());
            }
        }
    }
    Ok(rows)
}

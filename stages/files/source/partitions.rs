//! Columns that stand in the names of folders: `year=2024/country=FR/`.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::ScalarValue;
use restow_core::Result;

use super::super::config::Columns;
use super::super::error::FilesError;
use super::super::find::{FoundFile, Group};
use crate::codec::types::parse_field;

/// What Hive writes for null.
pub(in crate::files) const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The fields of the partition columns.
///
/// # Errors
/// A type is unknown.
pub(super) fn fields(columns: &Columns) -> Result<Vec<FieldRef>> {
    columns.0.iter().map(|(column, name)| Ok(Arc::new(parse_field(column, name)?))).collect()
}

/// Their values for one file.
///
/// # Errors
/// The path lacks a folder, or its value is not of the type.
pub(super) fn values(file: &FoundFile, fields: &[FieldRef]) -> Result<Vec<ScalarValue>> {
    fields.iter().map(|field| value(file, field)).collect()
}

fn value(file: &FoundFile, field: &FieldRef) -> Result<ScalarValue> {
    let folders = file.meta.location.as_ref().split('/');
    // The folder nearest to the file counts, where two have the same name.
    let mut found =
        folders.filter_map(|part| decode(part).split_once('=').map(owned)).filter(|(name, _)| name == field.name());
    let Some((column, value)) = found.next_back() else {
        return Err(FilesError::NoPartition { file: file.shown.clone(), column: field.name().clone() }.into());
    };
    if value == NULL {
        return Ok(ScalarValue::try_from(field.data_type())?);
    }
    let type_name = field.data_type().to_string();
    ScalarValue::Utf8(Some(value.clone()))
        .cast_to(field.data_type())
        .map_err(|_| FilesError::PartitionValue { file: file.shown.clone(), column, value, type_name }.into())
}

/// Fails where folder names below the given paths hold values, which nobody has said to read or to leave out.
///
/// # Errors
/// A folder looks like `name=value`.
pub(super) fn require_none(group: &Group) -> Result<()> {
    // Each column, the outermost first, and whether all its values are whole numbers.
    let mut columns: Vec<(String, bool)> = Vec::new();
    for file in &group.files {
        let folders = file.below.rsplit_once('/').map_or("", |(folders, _)| folders);
        for (column, value) in folders.split('/').filter_map(spelled) {
            let whole = value == NULL || value.parse::<i64>().is_ok_and(|number| number.to_string() == value);
            match columns.iter_mut().find(|(known, _)| *known == column) {
                Some((_, all)) => *all &= whole,
                None => columns.push((column, whole)),
            }
        }
    }
    if columns.is_empty() {
        return Ok(());
    }
    let folders: Vec<String> = columns.iter().map(|(column, _)| format!("{column}=")).collect();
    let types: Vec<String> = columns
        .iter()
        .map(|(column, whole)| format!("{}: {}", yaml_key(column), if *whole { "int" } else { "text" }))
        .collect();
    let (folders, columns) = (folders.join(", "), types.join(", "));
    Err(FilesError::FolderValues { dataset: group.name.clone(), folders, columns }.into())
}

/// Column and value of a folder that looks like `name=value`.
fn spelled(folder: &str) -> Option<(String, String)> {
    if !folder.contains('=') {
        return None;
    }
    decode(folder).split_once('=').filter(|(column, _)| !column.is_empty()).map(owned)
}

/// A column as the key of a YAML map.
fn yaml_key(column: &str) -> String {
    let plain = column.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && column.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain { column.to_owned() } else { format!("{column:?}") }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// Takes out percent encoding; object stores and Hive both put it into paths, so it may be there twice.
fn decode(text: &str) -> String {
    let once = decode_once(text);
    if once == text { once } else { decode_once(&once) }
}

fn decode_once(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail
            .get(..2)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

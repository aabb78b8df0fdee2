//! What can be wrong with SQL: a column that a dataset lacks is settled by `missing:`, everything else is an error.

use std::collections::BTreeSet;

use datafusion::common::{DFSchema, SchemaError};
use datafusion::error::DataFusionError;
use restow_core::record::RESERVED_PREFIX;
use restow_core::{EngineError, Result};
use restow_spec::pipeline::Missing;
use restow_spec::suggest;

use super::planner::INPUT;
use crate::transform::functions::plain_text;

/// Columns that the dataset lacks and that count as null.
pub(crate) type Nulls = BTreeSet<String>;

/// Why a row stage does not fit a dataset.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The dataset lacks a column.
    Missing(MissingColumn),
    /// Anything else.
    Wrong(EngineError),
}

/// A column that a dataset lacks.
#[derive(Debug)]
pub(crate) struct MissingColumn {
    /// The name that was asked for.
    pub column: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The scalar of the pipeline file that names it.
    pub pointer: String,
    /// Line and column inside that scalar.
    pub inside: Option<(u64, u64)>,
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        Self::Wrong(error)
    }
}

impl Fault {
    /// A column named by a verb at `pointer`.
    pub(crate) fn missing(column: &str, pointer: String, known: &[String]) -> Self {
        let hint = suggest::help(column, "columns", known.iter().map(String::as_str));
        Self::Missing(MissingColumn { column: column.to_owned(), hint, pointer, inside: None })
    }
}

impl MissingColumn {
    /// The error that names the dataset.
    fn into_error(self, dataset: &str) -> EngineError {
        let message = format!("dataset {dataset:?} has no column {:?}", self.column);
        place(with_hint(EngineError::usage(message), self.hint), &self.pointer, self.inside)
    }
}

/// Tries a stage until it fits, under the rule for columns that the dataset lacks. `None`: the stage is skipped.
///
/// # Errors
/// The stage does not fit the dataset.
pub(crate) fn settle<T>(
    missing: Missing,
    dataset: &str,
    mut attempt: impl FnMut(&Nulls) -> Result<T, Fault>,
) -> Result<Option<T>> {
    let mut nulls = Nulls::new();
    loop {
        match (attempt(&nulls), missing) {
            (Ok(done), _) => return Ok(Some(done)),
            (Err(Fault::Wrong(error)), _) => return Err(error),
            (Err(Fault::Missing(_)), Missing::Skip) => return Ok(None),
            (Err(Fault::Missing(column)), Missing::Error) => return Err(column.into_error(dataset)),
            (Err(Fault::Missing(column)), Missing::Null) => {
                // A name that is still missing after it was taken for null would be asked for without end.
                if !nulls.insert(column.column.clone()) {
                    return Err(column.into_error(dataset));
                }
            }
        }
    }
}

/// SQL text and where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    /// The text after interpolation.
    pub sql: &'a str,
    /// JSON pointer of the scalar in the pipeline file.
    pub pointer: &'a str,
}

impl Text<'_> {
    /// DataFusion's error as ours, with its place in the file.
    pub(crate) fn fault(&self, error: DataFusionError, schema: &DFSchema) -> Fault {
        let inside = span(&error);
        let root = root(error);
        if let DataFusionError::SchemaError(inner, _) = &root
            && let SchemaError::FieldNotFound { field, .. } = inner.as_ref()
        {
            let relation = field.relation.as_ref().map(ToString::to_string);
            let inside = inside.or_else(|| self.find(&field.name));
            return self.unknown_column(relation.as_deref(), &field.name, inside, schema);
        }
        if let DataFusionError::SchemaError(inner, _) = &root
            && let Some(error) = self.ambiguous(inner)
        {
            return place(error, self.pointer, inside).into();
        }
        let (message, hint) = reword(root);
        let inside = inside.or_else(|| parser_place(&message).map(|(_, place)| place));
        let message = parser_place(&message).map_or(message.as_str(), |(before, _)| before);
        place(with_hint(EngineError::usage(message), hint), self.pointer, inside).into()
    }

    /// An error about this text as a whole.
    pub(crate) fn error(&self, message: impl Into<String>) -> EngineError {
        EngineError::usage(message).at(self.pointer)
    }

    fn unknown_column(
        &self,
        relation: Option<&str>,
        name: &str,
        inside: Option<(u64, u64)>,
        schema: &DFSchema,
    ) -> Fault {
        let known = known_columns(schema);
        match relation {
            None | Some(INPUT) => {
                let hint = self.column_hint(name, &known);
                Fault::Missing(MissingColumn {
                    column: name.to_owned(),
                    hint,
                    pointer: self.pointer.to_owned(),
                    inside,
                })
            }
            Some(relation) => {
                let dotted = format!("{relation}.{name}");
                let message = format!("there is no column {name:?} in {relation:?}");
                let error = with_hint(EngineError::usage(message), dotted_hint(&dotted, &known));
                place(error, self.pointer, inside).into()
            }
        }
    }

    fn ambiguous(&self, error: &SchemaError) -> Option<EngineError> {
        let name = match error {
            SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => name,
            SchemaError::AmbiguousReference { field } if field.relation.is_some() => &field.name,
            SchemaError::AmbiguousReference { field } => {
                let message = format!("column {:?} could be that of either table", field.name);
                return Some(EngineError::usage(message).with_hint("write the table's name and a dot in front of it"));
            }
            SchemaError::FieldNotFound { .. } => return None,
        };
        let message = format!("the query gives two columns the name {name:?}");
        Some(EngineError::usage(message).with_hint("give one of them another name with AS"))
    }

    fn column_hint(&self, name: &str, known: &[String]) -> Option<String> {
        let near = suggest::nearest(name, known.iter().map(String::as_str));
        let exact = near.is_some_and(|near| near.to_lowercase() == name.to_lowercase());
        if !exact && self.sql.contains(&format!("\"{name}\"")) {
            let column = near.map(|near| format!("; or did you mean the column {near:?}?")).unwrap_or_default();
            return Some(format!("text is written in single quotes: '{name}'{column}"));
        }
        match near {
            Some(near) if needs_quotes(near) => Some(format!("did you mean {near:?}, in double quotes?")),
            Some(near) => Some(format!("did you mean {near:?}?")),
            None => suggest::help(name, "columns", known.iter().map(String::as_str)),
        }
    }

    /// The first place of a name in the text, for errors without a span.
    fn find(&self, name: &str) -> Option<(u64, u64)> {
        let before = self.sql.get(..self.sql.find(name)?)?;
        let line = before.matches('\n').count() as u64 + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() as u64 + 1;
        Some((line, column))
    }
}

/// The user's own columns.
fn known_columns(schema: &DFSchema) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).filter(|name| !name.starts_with(RESERVED_PREFIX)).collect()
}

/// A JSON pointer below another.
pub(crate) fn pointer_to(base: &str, verb: &str, key: impl std::fmt::Display) -> String {
    let key = key.to_string().replace('~', "~0").replace('/', "~1");
    format!("{base}/{verb}/{key}")
}

fn dotted_hint(dotted: &str, known: &[String]) -> Option<String> {
    if known.iter().any(|column| column == dotted) {
        return Some(format!("a name with a dot is written in double quotes: \"{dotted}\""));
    }
    suggest::help(dotted, "columns", known.iter().map(String::as_str))
}

fn needs_quotes(name: &str) -> bool {
    let mut letters = name.chars();
    let plain = |letter: char| letter == '_' || letter.is_alphanumeric();
    !letters.next().is_some_and(|first| plain(first) && !first.is_numeric()) || !letters.all(plain)
}

fn place(error: EngineError, pointer: &str, inside: Option<(u64, u64)>) -> EngineError {
    match inside {
        Some((line, column)) => error.at_inside(pointer, line, column),
        None => error.at(pointer),
    }
}

fn with_hint(error: EngineError, hint: Option<String>) -> EngineError {
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Line and column of a planning error, where DataFusion kept them.
fn span(error: &DataFusionError) -> Option<(u64, u64)> {
    let diagnostic = error.diagnostic()?;
    let start = diagnostic.span?.start;
    (start.line > 0).then_some((start.line, start.column))
}

/// The innermost error. Of a collection the first, since the rest tend to follow from it.
fn root(error: DataFusionError) -> DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => root(*inner),
        DataFusionError::Collection(mut all) if !all.is_empty() => root(all.swap_remove(0)),
        other => other,
    }
}

/// Message and remedy, without the class names that DataFusion puts in front.
fn reword(error: DataFusionError) -> (String, Option<String>) {
    let text = match error {
        DataFusionError::SQL(inner, _) => {
            let text = inner.to_string();
            return (text.strip_prefix("sql parser error: ").unwrap_or(&text).to_owned(), None);
        }
        DataFusionError::ArrowError(inner, _) => plain_text(&inner),
        DataFusionError::External(_) => {
            let own = EngineError::from(error);
            return (own.message().to_owned(), own.hint().map(str::to_owned));
        }
        DataFusionError::Plan(text) | DataFusionError::NotImplemented(text) | DataFusionError::Execution(text) => text,
        other => other.strip_backtrace(),
    };
    let text = text.split("\n\nbacktrace:").next().unwrap_or_default().trim().to_owned();
    if text.starts_with("Cannot access field") {
        let hint = "a column of JSON text is read with `column->>'key'`, or with json_get_int and its like";
        return ("a column of this type has no parts to name with a dot".to_owned(), Some(hint.to_owned()));
    }
    let (first, rest) = text.split_once('\n').map_or((text.as_str(), None), |(first, rest)| (first, Some(rest)));
    let hint = rest.and_then(|rest| rest.strip_prefix("Did you mean")).map(|rest| {
        let name = rest.trim().trim_matches(|letter| letter == '\'' || letter == '?');
        format!("did you mean {name:?}?")
    });
    (first.trim_end_matches('.').to_owned(), hint)
}

/// Splits the place off a message of the SQL parser, which ends with `at Line: 1, Column: 9`.
fn parser_place(message: &str) -> Option<(&str, (u64, u64))> {
    let (before, after) = message.rsplit_once(" at Line: ")?;
    let (line, column) = after.split_once(", Column: ")?;
    Some((before, (line.trim().parse().ok()?, column.trim().parse().ok()?)))
}

//! What the server's inverted index can say about a filter: the objects for which it may be true, never fewer.
//!
//! Traps that keep a filter here: text is cut into words before it is indexed, and only `field` keeps it whole (without the white
//! space around it); dates are indexed as nanoseconds in 64 bits, so that those after 2262 or before 1678 stand anywhere in the
//! order; times of objects are indexed as texts; whole numbers from 2^63 up become the lowest one. Absent values are not in it.

use std::collections::HashMap;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::super::super::client::proto::{FilterTarget, Filters, operator};
use super::super::super::columns::{Column, Content};

/// Comparisons of one filter at most: each is a look-up of its own for the server.
const MOST_LEAVES: usize = 200;
/// Beyond this, whole numbers are no longer exact on the server.
const EXACT: u64 = 1 << 53;
/// Longer texts are not looked up, in bytes.
const LONGEST: usize = 1024;
/// Moments whose nanoseconds fit into 64 bits for certain, in microseconds: the years 1685 to 2255.
const EXACT_MICROS: u64 = 9_000_000_000_000_000;
/// Times with as many digits as those of today, in milliseconds: 2001 to 2286. Their order as texts is their order.
const THIRTEEN_DIGITS: std::ops::Range<i64> = 1_000_000_000_000..10_000_000_000_000;

/// What of a class is in its index, so that filters can use it.
#[derive(Debug, Clone, Default)]
pub struct Index {
    columns: HashMap<String, Indexed>,
}

/// A column that is in the index.
#[derive(Debug, Clone)]
struct Indexed {
    /// What the server calls it.
    name: String,
    kind: Kind,
    /// Whether single values can be looked up, not only ranges.
    has_values: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Texts,
    Uuid,
    Int,
    Ints,
    Number,
    Boolean,
    Date,
    /// When an object was made or written.
    Time,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Class {
    #[serde(default)]
    inverted_index_config: Option<Config>,
    #[serde(default)]
    properties: Option<Vec<Property>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    index_timestamps: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Property {
    name: String,
    data_type: Vec<String>,
    #[serde(default)]
    index_filterable: Option<bool>,
    #[serde(default)]
    index_range_filters: Option<bool>,
    #[serde(default)]
    tokenization: Option<String>,
    /// Folds letters; not looked into.
    #[serde(default)]
    text_analyzer: Option<Box<RawValue>>,
}

impl Index {
    /// What the class JSON says of its index. What is not understood is not used.
    pub fn of(class: &RawValue, columns: &[Column]) -> Self {
        let class: Class = serde_json::from_str(class.get()).unwrap_or_default();
        let properties: HashMap<String, Indexed> = class
            .properties
            .into_iter()
            .flatten()
            .filter_map(|property| Some((property.name.clone(), property.indexed()?)))
            .collect();
        let has_times = class.inverted_index_config.is_some_and(|config| config.index_timestamps);
        let time =
            |name: &str| has_times.then(|| Indexed { name: name.to_owned(), kind: Kind::Time, has_values: true });
        let of_column = |column: &Column| {
            let indexed = match &column.content {
                Content::Created => time("_creationTimeUnix"),
                Content::Updated => time("_lastUpdateTimeUnix"),
                Content::Property(property) => properties.get(&property.name).cloned(),
                _ => None,
            };
            Some((column.field.name().clone(), indexed?))
        };
        Self { columns: columns.iter().filter_map(of_column).collect() }
    }

    fn column(&self, expr: &Expr) -> Option<&Indexed> {
        match expr {
            Expr::Alias(alias) => self.column(&alias.expr),
            Expr::Column(column) => self.columns.get(&column.name),
            _ => None,
        }
    }
}

impl Property {
    fn indexed(self) -> Option<Indexed> {
        let [data_type] = self.data_type.as_slice() else { return None };
        let is_whole = self.tokenization.as_deref() == Some("field") && self.text_analyzer.is_none();
        let kind = match data_type.as_str() {
            "text" if is_whole => Kind::Text,
            "text[]" if is_whole => Kind::Texts,
            "uuid" => Kind::Uuid,
            "int" => Kind::Int,
            "int[]" => Kind::Ints,
            "number" => Kind::Number,
            "boolean" => Kind::Boolean,
            "date" => Kind::Date,
            _ => return None,
        };
        let has_values = self.index_filterable.unwrap_or(true);
        let has_ranges = self.index_range_filters.unwrap_or(false);
        (has_values || has_ranges).then_some(Indexed { name: self.name, kind, has_values })
    }
}

/// Whether the index can take part in this filter, alone or beside others.
pub fn takes(index: &Index, filter: &Expr) -> bool {
    may_be(index, filter, true).is_some() || conjuncts(filter).into_iter().any(|part| bound(index, part).is_some())
}

/// The objects for which all these filters may be true, in the server's terms; none where the index leaves out nothing.
pub fn search(index: &Index, filters: &[Expr]) -> Option<Filters> {
    let parts: Vec<&Expr> = filters.iter().flat_map(conjuncts).collect();
    let mut found: Vec<Filters> = parts.iter().filter_map(|part| may_be(index, part, true)).collect();
    found.extend(spans(index, &parts));
    let whole = joined(operator::AND, found)?;
    (leaves(&whole) <= MOST_LEAVES).then_some(whole)
}

fn leaves(filter: &Filters) -> usize {
    filter.filters.iter().map(leaves).sum::<usize>().max(1)
}

/// The filters that are joined by AND.
fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Alias(alias) => conjuncts(&alias.expr),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            let mut parts = conjuncts(left);
            parts.extend(conjuncts(right));
            parts
        }
        expr => vec![expr],
    }
}

/// The objects for which a filter may be true, or false where that is asked; none where that may be any.
fn may_be(index: &Index, expr: &Expr, holds: bool) -> Option<Filters> {
    match expr {
        Expr::Alias(alias) => may_be(index, &alias.expr, holds),
        Expr::Not(inner) => may_be(index, inner, !holds),
        Expr::IsTrue(inner) if holds => may_be(index, inner, true),
        Expr::IsFalse(inner) if holds => may_be(index, inner, false),
        Expr::Column(_) => {
            let column = index.column(expr).filter(|column| column.kind == Kind::Boolean)?;
            equal(column, &ScalarValue::Boolean(Some(holds)))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let sides = [may_be(index, left, holds), may_be(index, right, holds)];
            if (*op == Operator::And) == holds {
                joined(operator::AND, sides.into_iter().flatten().collect())
            } else {
                let [Some(one), Some(two)] = sides else { return None };
                joined(operator::OR, vec![one, two])
            }
        }
        Expr::BinaryExpr(_) => {
            let (column, op, value) = comparison(index, expr)?;
            compared(column, if holds { op } else { op.negate()? }, value)
        }
        Expr::Between(between) if holds != between.negated => {
            let column = index.column(&between.expr)?;
            let (Expr::Literal(low, _), Expr::Literal(high, _)) = (&*between.low, &*between.high) else { return None };
            let sides = [compared(column, Operator::GtEq, low), compared(column, Operator::LtEq, high)];
            joined(operator::AND, sides.into_iter().flatten().collect())
        }
        Expr::InList(InList { expr, list, negated }) if holds != *negated => {
            let column = index.column(expr)?;
            let any = list.iter().map(|item| match item {
                Expr::Literal(value, _) => equal(column, value),
                _ => None,
            });
            joined(operator::OR, any.collect::<Option<Vec<_>>>()?)
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if holds && func.name() == "array_has" => {
            let [list, Expr::Literal(value, _)] = args.as_slice() else { return None };
            let column = index
                .column(list)
                .filter(|column| matches!(column.kind, Kind::Texts | Kind::Ints) && column.has_values)?;
            let one =
                Indexed { kind: if column.kind == Kind::Ints { Kind::Int } else { Kind::Text }, ..column.clone() };
            equal(&one, value)
        }
        _ => None,
    }
}

/// Column, operator and value of a comparison, the column on the left.
fn comparison<'a>(index: &'a Index, expr: &'a Expr) -> Option<(&'a Indexed, Operator, &'a ScalarValue)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    match (index.column(left), &**left, index.column(right), &**right) {
        (Some(column), _, _, Expr::Literal(value, _)) => Some((column, *op, value)),
        (_, Expr::Literal(value, _), Some(column), _) => Some((column, op.swap()?, value)),
        _ => None,
    }
}

fn compared(column: &Indexed, op: Operator, value: &ScalarValue) -> Option<Filters> {
    if op == Operator::Eq {
        return equal(column, value);
    }
    let is_lower = match op {
        Operator::Gt | Operator::GtEq => true,
        Operator::Lt | Operator::LtEq => false,
        _ => return None,
    };
    // Ends are taken with the range: what is too much is left out above the scan.
    let op = if is_lower { operator::GREATER_THAN_EQUAL } else { operator::LESS_THAN_EQUAL };
    match (column.kind, value) {
        (Kind::Int, ScalarValue::Int64(Some(value))) if value.unsigned_abs() <= EXACT => {
            let range = Filters { value_int: Some(*value), ..leaf(column, op) };
            if !is_lower {
                return Some(range);
            }
            let lowest = Filters { value_int: Some(i64::MIN), ..leaf(column, operator::LESS_THAN_EQUAL) };
            joined(operator::OR, vec![range, lowest])
        }
        (Kind::Number, ScalarValue::Float64(Some(value))) if value.is_finite() => {
            // For the index, -0 is below 0.
            let end = if *value != 0.0 {
                *value
            } else if is_lower {
                -0.0
            } else {
                0.0
            };
            Some(Filters { value_number: Some(end), ..leaf(column, op) })
        }
        (Kind::Time, value) if is_lower => {
            let millis = millis(value).filter(|millis| THIRTEEN_DIGITS.contains(millis))?;
            Some(Filters { value_text: Some(moment(millis.checked_mul(1_000_000)?)), ..leaf(column, op) })
        }
        _ => None,
    }
}

fn equal(column: &Indexed, value: &ScalarValue) -> Option<Filters> {
    if !column.has_values {
        return None;
    }
    let leaf = leaf(column, operator::EQUAL);
    match (column.kind, value) {
        (Kind::Text, value) => {
            let text = value.try_as_str()??;
            (!text.trim().is_empty() && text.len() <= LONGEST)
                .then(|| Filters { value_text: Some(text.to_owned()), ..leaf })
        }
        (Kind::Uuid, value) => {
            let id = Uuid::try_parse(value.try_as_str()??).ok()?;
            Some(Filters { value_text: Some(id.hyphenated().to_string()), ..leaf })
        }
        (Kind::Int, ScalarValue::Int64(Some(value))) if value.unsigned_abs() <= EXACT => {
            Some(Filters { value_int: Some(*value), ..leaf })
        }
        (Kind::Number, ScalarValue::Float64(Some(value))) if *value == 0.0 => {
            let ends =
                [compared(column, Operator::GtEq, &(-0.0).into()), compared(column, Operator::LtEq, &0.0.into())];
            joined(operator::AND, ends.into_iter().flatten().collect())
        }
        (Kind::Number, ScalarValue::Float64(Some(value))) if value.is_finite() => {
            Some(Filters { value_number: Some(*value), ..leaf })
        }
        (Kind::Boolean, ScalarValue::Boolean(Some(value))) => Some(Filters { value_boolean: Some(*value), ..leaf }),
        (Kind::Date, value) => {
            let micros = micros(value)?;
            span(column, Some(micros), Some(micros))
        }
        (Kind::Time, value) => {
            let millis = millis(value)?;
            span(column, Some(millis), Some(millis))
        }
        _ => None,
    }
}

/// One end of a range of dates or times: alone it may say nothing, with the other end it does.
fn bound<'a>(index: &'a Index, expr: &'a Expr) -> Option<(&'a Indexed, bool, i64)> {
    let (column, op, value) = comparison(index, expr)?;
    let value = match column.kind {
        Kind::Date => micros(value)?,
        Kind::Time => millis(value)?,
        _ => return None,
    };
    match op {
        Operator::Gt | Operator::GtEq => Some((column, true, value)),
        Operator::Lt | Operator::LtEq => Some((column, false, value)),
        _ => None,
    }
}

/// The ranges of dates and times that have both ends.
fn spans(index: &Index, parts: &[&Expr]) -> Vec<Filters> {
    let mut ends: HashMap<&str, (&Indexed, Option<i64>, Option<i64>)> = HashMap::new();
    for (column, is_lower, value) in parts.iter().filter_map(|part| bound(index, part)) {
        let (_, low, high) = ends.entry(&column.name).or_insert((column, None, None));
        if is_lower {
            *low = Some(low.map_or(value, |low| low.max(value)));
        } else {
            *high = Some(high.map_or(value, |high| high.min(value)));
        }
    }
    let mut found: Vec<_> = ends.into_iter().collect();
    found.sort_unstable_by_key(|(name, _)| *name);
    found.into_iter().filter_map(|(_, (column, low, high))| span(column, low, high)).collect()
}

fn span(column: &Indexed, low: Option<i64>, high: Option<i64>) -> Option<Filters> {
    let (low, high) = (low?, high?);
    let (from, to) = if column.kind == Kind::Time {
        if !THIRTEEN_DIGITS.contains(&low) || !THIRTEEN_DIGITS.contains(&high) {
            return None;
        }
        (low.checked_mul(1_000_000)?, high.checked_mul(1_000_000)?)
    } else {
        if [low, high].iter().any(|end| end.unsigned_abs() > EXACT_MICROS) {
            return None;
        }
        // A date of the column is cut to microseconds, in whichever direction.
        (low.checked_sub(1)?.checked_mul(1_000)?, high.checked_add(2)?.checked_mul(1_000)?)
    };
    let end = |op: i32, at: i64| Filters { value_text: Some(moment(at)), ..leaf(column, op) };
    joined(operator::AND, vec![end(operator::GREATER_THAN_EQUAL, from), end(operator::LESS_THAN_EQUAL, to)])
}

fn leaf(column: &Indexed, operator: i32) -> Filters {
    Filters { operator, target: Some(FilterTarget { property: Some(column.name.clone()) }), ..Filters::default() }
}

fn joined(operator: i32, mut filters: Vec<Filters>) -> Option<Filters> {
    match filters.len() {
        0 => None,
        1 => filters.pop(),
        _ => Some(Filters { operator, filters, ..Filters::default() }),
    }
}

fn micros(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::TimestampMicrosecond(value, _) => *value,
        _ => None,
    }
}

fn millis(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::TimestampMillisecond(value, _) => *value,
        _ => None,
    }
}

/// RFC 3339 with nine digits.
fn moment(nanos: i64) -> String {
    chrono::DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(chrono::SecondsFormat::Nanos, true)
}

/// A search in words, for people.
pub fn words(filter: &Filters) -> String {
    let name = match filter.operator {
        operator::EQUAL => "=",
        operator::GREATER_THAN_EQUAL => ">=",
        operator::LESS_THAN_EQUAL => "<=",
        operator::AND => " AND ",
        operator::OR => " OR ",
        _ => "?",
    };
    if !filter.filters.is_empty() {
        let parts: Vec<String> = filter.filters.iter().map(words).collect();
        return format!("({})", parts.join(name));
    }
    let property = filter.target.as_ref().and_then(|target| target.property.as_deref()).unwrap_or_default();
    let value = match filter {
        Filters { value_text: Some(text), .. } => format!("{text:?}"),
        Filters { value_int: Some(value), .. } => value.to_string(),
        Filters { value_number: Some(value), .. } => format!("{value:?}"),
        Filters { value_boolean: Some(value), .. } => value.to_string(),
        _ => "?".to_owned(),
    };
    format!("{property} {name} {value}")
}

#[cfg(test)]
mod tests;

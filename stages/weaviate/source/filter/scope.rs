//! What a filter says about ids and tenants: which objects it can hold for at all, known before any is read. The server's
//! index has no part in it: tenants are read by themselves, and ids by the cursor over the stored objects.
//!
//! A filter is true, false or null for an object. For one tenant, the ids for which it may be true and those for which it may be
//! false are found, each too large rather than too small. Ids and tenants are never null; of everything else nothing is known.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{InList, Like};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use uuid::Uuid;

use super::ids::Ids;

/// The columns that filters may speak of.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The column of ids.
    pub id: &'a str,
    /// The column of tenants, where there is one.
    pub tenant: Option<&'a str>,
}

/// The ids for which all these filters may be true, of the objects of one tenant (none where there are no tenants).
pub fn ids_of(filters: &[Expr], names: Names<'_>, tenant: Option<&str>) -> Ids {
    filters.iter().fold(Ids::all(), |ids, filter| ids.and(&judge(filter, names, tenant).is_true))
}

/// For which ids a filter may be what.
struct Verdict {
    is_true: Ids,
    is_false: Ids,
}

impl Verdict {
    fn unknown() -> Self {
        Self { is_true: Ids::all(), is_false: Ids::all() }
    }

    fn null() -> Self {
        Self { is_true: Ids::none(), is_false: Ids::none() }
    }

    fn always(holds: bool) -> Self {
        Self::exactly(if holds { Ids::all() } else { Ids::none() })
    }

    /// True for these ids, and false for all others.
    fn exactly(ids: Ids) -> Self {
        Self { is_false: ids.but(), is_true: ids }
    }

    fn not(self) -> Self {
        Self { is_true: self.is_false, is_false: self.is_true }
    }

    fn not_if(self, negated: bool) -> Self {
        if negated { self.not() } else { self }
    }

    fn and(self, other: &Self) -> Self {
        Self { is_true: self.is_true.and(&other.is_true), is_false: self.is_false.or(&other.is_false) }
    }

    fn or(self, other: &Self) -> Self {
        Self { is_true: self.is_true.or(&other.is_true), is_false: self.is_false.and(&other.is_false) }
    }
}

/// What a side of a comparison is.
enum Side<'a> {
    Id,
    Tenant,
    Text(&'a str),
    Null,
    Other,
}

fn side<'a>(expr: &'a Expr, names: Names<'_>) -> Side<'a> {
    match expr {
        Expr::Alias(alias) => side(&alias.expr, names),
        Expr::Column(column) if column.name == names.id => Side::Id,
        Expr::Column(column) if Some(column.name.as_str()) == names.tenant => Side::Tenant,
        Expr::Literal(value, _) => match value.try_as_str() {
            Some(Some(text)) => Side::Text(text),
            Some(None) => Side::Null,
            None if value.is_null() => Side::Null,
            None => Side::Other,
        },
        _ => Side::Other,
    }
}

fn judge(expr: &Expr, names: Names<'_>, tenant: Option<&str>) -> Verdict {
    let of = |expr: &Expr| judge(expr, names, tenant);
    match expr {
        Expr::Alias(alias) => of(&alias.expr),
        Expr::Literal(ScalarValue::Boolean(Some(holds)), _) => Verdict::always(*holds),
        Expr::Literal(value, _) if value.is_null() => Verdict::null(),
        Expr::Not(inner) => of(inner).not(),
        Expr::IsNull(inner) | Expr::IsNotNull(inner) => match side(inner, names) {
            Side::Id | Side::Tenant => Verdict::always(matches!(expr, Expr::IsNotNull(_))),
            _ => Verdict::unknown(),
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => of(left).and(&of(right)),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => of(left).or(&of(right)),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => compared(left, *op, right, names, tenant),
        Expr::Between(between) => {
            let low = compared(&between.expr, Operator::GtEq, &between.low, names, tenant);
            low.and(&compared(&between.expr, Operator::LtEq, &between.high, names, tenant)).not_if(between.negated)
        }
        Expr::InList(list) => listed(list, names, tenant),
        Expr::Like(like) => begins(like, names).unwrap_or_else(Verdict::unknown),
        _ => Verdict::unknown(),
    }
}

fn compared(left: &Expr, op: Operator, right: &Expr, names: Names<'_>, tenant: Option<&str>) -> Verdict {
    let (column, op, value) = match (side(left, names), side(right, names)) {
        (column @ (Side::Id | Side::Tenant), value) => (column, Some(op), value),
        (value, column @ (Side::Id | Side::Tenant)) => (column, op.swap(), value),
        _ => return Verdict::unknown(),
    };
    let text = match (value, op) {
        (Side::Text(text), _) => text,
        // Not so `IS DISTINCT FROM`, which is never null.
        (Side::Null, Some(Operator::Eq | Operator::NotEq)) => return Verdict::null(),
        (Side::Null, Some(Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)) => return Verdict::null(),
        _ => return Verdict::unknown(),
    };
    let Some(op) = op else { return Verdict::unknown() };
    match (column, tenant) {
        (Side::Id, _) => ids_that_are(op, text).map_or_else(Verdict::unknown, Verdict::exactly),
        (Side::Tenant, Some(tenant)) => match op {
            Operator::Eq => Verdict::always(tenant == text),
            Operator::NotEq => Verdict::always(tenant != text),
            Operator::Lt => Verdict::always(tenant < text),
            Operator::LtEq => Verdict::always(tenant <= text),
            Operator::Gt => Verdict::always(tenant > text),
            Operator::GtEq => Verdict::always(tenant >= text),
            _ => Verdict::unknown(),
        },
        _ => Verdict::unknown(),
    }
}

fn listed(list: &InList, names: Names<'_>, tenant: Option<&str>) -> Verdict {
    let column = side(&list.expr, names);
    if !matches!(column, Side::Id | Side::Tenant) {
        return Verdict::unknown();
    }
    let (mut texts, mut has_null) = (Vec::with_capacity(list.list.len()), false);
    for item in &list.list {
        match side(item, names) {
            Side::Text(text) => texts.push(text),
            Side::Null => has_null = true,
            _ => return Verdict::unknown(),
        }
    }
    let mut verdict = match (column, tenant) {
        (Side::Id, _) => Verdict::exactly(Ids::of(texts.iter().filter_map(|text| id_of(text)))),
        (Side::Tenant, Some(tenant)) => Verdict::always(texts.contains(&tenant)),
        _ => return Verdict::unknown(),
    };
    if has_null {
        verdict.is_false = Ids::none();
    }
    verdict.not_if(list.negated)
}

/// `LIKE 'abc%'`: only ids that begin so. No more than that is taken from a pattern.
fn begins(like: &Like, names: Names<'_>) -> Option<Verdict> {
    let (Side::Id, Side::Text(pattern)) = (side(&like.expr, names), side(&like.pattern, names)) else { return None };
    if like.case_insensitive || like.negated || like.escape_char.is_some() {
        return None;
    }
    let prefix = pattern.split(['%', '_', '\\']).next().unwrap_or_default();
    let from = first_where(|id| id >= prefix);
    let behind = first_where(|id| id > prefix && !id.starts_with(prefix));
    let ids = Ids::range(from.unwrap_or(u128::MAX), behind.map_or(u128::MAX, |behind| behind.saturating_sub(1)));
    // Nothing begins so: the range from its place to the id before it is none.
    let is_true = if from.is_none() || from == behind { Ids::none() } else { ids };
    Some(Verdict { is_true, is_false: Ids::all() })
}

/// The ids whose text compares so with any text. Ids have one form, with small letters: their order as texts is their order as
/// numbers, and a text in another form is never equal to one.
fn ids_that_are(op: Operator, text: &str) -> Option<Ids> {
    let below = |first: Option<u128>| match first {
        None => Ids::all(),
        Some(first) => first.checked_sub(1).map_or_else(Ids::none, |last| Ids::range(0, last)),
    };
    Some(match op {
        Operator::Eq => Ids::of(id_of(text)),
        Operator::NotEq => Ids::of(id_of(text)).but(),
        Operator::Lt => below(first_where(|id| id >= text)),
        Operator::LtEq => below(first_where(|id| id > text)),
        Operator::Gt => below(first_where(|id| id > text)).but(),
        Operator::GtEq => below(first_where(|id| id >= text)).but(),
        _ => return None,
    })
}

/// The id that has exactly this text.
fn id_of(text: &str) -> Option<u128> {
    let id = Uuid::try_parse(text).ok()?;
    (form(id.as_u128()) == text).then(|| id.as_u128())
}

/// The text of an id, as the column holds it.
fn form(id: u128) -> String {
    Uuid::from_u128(id).hyphenated().to_string()
}

/// The lowest id whose text fulfils this, where it holds for all ids above it too; none where it holds for no id.
fn first_where(holds: impl Fn(&str) -> bool) -> Option<u128> {
    let (mut low, mut high) = (0, u128::MAX);
    if !holds(&form(high)) {
        return None;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(&form(middle)) { high = middle } else { low = middle + 1 }
    }
    Some(low)
}

#[cfg(test)]
mod tests;

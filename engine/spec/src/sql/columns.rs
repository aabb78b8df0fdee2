//! Columns as far as the stages before define them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident, Query, Select, SelectFlavor, SelectItem, SetExpr, TableFactor, Visit, Visitor};

use super::query::last_part;
use super::{GoneBy, SqlError, span_of};
use crate::suggest;

/// What is known of the columns at one point of the chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Columns {
    /// All columns, where they are known: after `keep`, or after a query that names each.
    pub known: Option<BTreeSet<String>>,
    /// Columns that are certainly not there, and why.
    pub gone: GoneBy,
}

/// What took a column away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gone {
    /// Such as `dropped by the transform at line 12`.
    pub how: String,
    /// What it is called now.
    pub now: Option<String>,
}

impl Columns {
    /// Why a column cannot be there, or `None` where it may.
    pub fn missing(&self, name: &str) -> Option<Missing> {
        if let Some(gone) = self.gone.get(name) {
            let help = match &gone.now {
                Some(now) => format!("it was {}: write {now:?}", gone.how),
                None => format!("it was {}", gone.how),
            };
            return Some(Missing { help: Some(help) });
        }
        let known = self.known.as_ref()?;
        if known.contains(name) {
            return None;
        }
        Some(Missing { help: suggest::help(name, "columns", known.iter().map(String::as_str)) })
    }

    /// A column that is there from now on.
    pub fn add(&mut self, name: &str) {
        self.gone.remove(name);
        if let Some(known) = &mut self.known {
            known.insert(name.into());
        }
    }

    /// A column that is not there from now on.
    pub fn remove(&mut self, name: &str, gone: Gone) {
        if let Some(known) = &mut self.known {
            known.remove(name);
        }
        self.gone.insert(name.into(), gone);
    }

    /// What holds whether a stage ran or not: a stage may apply to some datasets only.
    pub fn or(self, other: Self) -> Self {
        let known = match (self.known, other.known) {
            (Some(a), Some(b)) => Some(a.union(&b).cloned().collect()),
            _ => None,
        };
        let gone = self.gone.into_iter().filter(|(name, _)| other.gone.contains_key(name)).collect();
        Self { known, gone }
    }
}

/// A column that cannot be there.
pub(crate) struct Missing {
    pub help: Option<String>,
}

/// The columns of an expression that cannot be there.
pub(crate) fn check_expression_columns(expression: &Expr, columns: &Columns) -> Vec<SqlError> {
    let mut names = Names::default();
    let _ = expression.visit(&mut names);
    // A subquery has columns of its own.
    if names.subqueries > 0 { Vec::new() } else { names.problems(columns, &BTreeSet::new()) }
}

/// The columns of a query that cannot be there, and the columns that it yields.
pub(crate) fn query_columns(query: &Query, columns: &Columns) -> (Vec<SqlError>, Columns) {
    let Some(select) = simple(query) else {
        return (Vec::new(), Columns::default());
    };
    let mut names = Names::default();
    let _ = query.visit(&mut names);
    let aliases: BTreeSet<String> = select
        .projection
        .iter()
        .filter_map(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
            _ => None,
        })
        .collect();
    // `input` itself is counted as one query.
    let problems = if names.subqueries > 1 { Vec::new() } else { names.problems(columns, &aliases) };
    (problems, output(select, columns))
}

/// A plain SELECT from `input` alone.
fn simple(query: &Query) -> Option<&Select> {
    let SetExpr::Select(select) = &*query.body else {
        return None;
    };
    let [table] = select.from.as_slice() else {
        return None;
    };
    let plain = matches!(&table.relation, TableFactor::Table { name, alias: None, args: None, .. } if last_part(name) == "input");
    let nothing_else = query.with.is_none()
        && query.pipe_operators.is_empty()
        && table.joins.is_empty()
        && select.lateral_views.is_empty()
        && select.exclude.is_none()
        && matches!(select.flavor, SelectFlavor::Standard);
    (plain && nothing_else).then_some(select)
}

fn output(select: &Select, columns: &Columns) -> Columns {
    let mut known = BTreeSet::new();
    let mut open = false;
    let mut gone: BTreeMap<String, Gone> = BTreeMap::new();
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => {
                known.insert(name.value.clone());
            }
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) if parts.len() == 2 && first_is_input(parts) => {
                known.extend(parts.last().map(|name| name.value.clone()));
            }
            SelectItem::ExprWithAlias { alias, .. } => {
                known.insert(alias.value.clone());
            }
            SelectItem::Wildcard(options) if is_bare(options) => match &columns.known {
                Some(all) => known.extend(all.iter().cloned()),
                None => {
                    open = true;
                    gone.clone_from(&columns.gone);
                }
            },
            // The engine names it: a call, a struct's field, a wildcard with exceptions.
            _ => open = true,
        }
    }
    gone.retain(|name, _| !known.contains(name));
    Columns { known: (!open).then_some(known), gone }
}

fn is_bare(options: &sqlparser::ast::WildcardAdditionalOptions) -> bool {
    options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none()
}

fn first_is_input(parts: &[Ident]) -> bool {
    parts.first().is_some_and(|first| first.value == "input")
}

/// The names that an expression reads.
#[derive(Default)]
struct Names {
    read: Vec<Ident>,
    /// Parameters of lambdas are no columns.
    own: BTreeSet<String>,
    subqueries: usize,
}

impl Names {
    fn problems(&self, columns: &Columns, aliases: &BTreeSet<String>) -> Vec<SqlError> {
        let mut problems = Vec::new();
        for name in &self.read {
            if self.own.contains(&name.value) || aliases.contains(&name.value) {
                continue;
            }
            if let Some(missing) = columns.missing(&name.value) {
                let message = format!("unknown column {:?}", name.value);
                let mut error = SqlError::new("E502", message, span_of(name.span));
                error.help = missing.help;
                problems.push(error);
            }
        }
        problems
    }
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.subqueries += 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        match expression {
            Expr::Identifier(name) => self.read.push(name.clone()),
            Expr::CompoundIdentifier(parts) => {
                let skip = usize::from(first_is_input(parts) && parts.len() > 1);
                self.read.extend(parts.get(skip).cloned());
            }
            Expr::Lambda(lambda) => {
                self.own.extend(lambda.params.iter().map(|parameter| parameter.name.value.clone()));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

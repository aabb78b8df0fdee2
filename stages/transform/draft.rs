//! The columns of a dataset on their way through the verbs: one projection, built up step by step.

use std::collections::BTreeMap;

use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::prelude::DataFrame;
use restow_core::EngineError;
use restow_core::record::{EXPLICIT_NULLS, RESERVED_PREFIX, Role, Roles, TEXT_PREFIX};
use restow_core::stage::Rows;

use super::sql::Fault;

/// One column of the result.
#[derive(Debug, Clone)]
pub(super) struct Output {
    /// Its name.
    pub name: String,
    /// What it is, over the columns of the plan below.
    pub expr: Expr,
    /// The column below that it holds unchanged.
    pub from: Option<String>,
    /// Its role.
    pub role: Option<Role>,
}

/// A projection in the making.
#[derive(Debug)]
pub(super) struct Draft {
    /// The columns, restow's own among them.
    pub outputs: Vec<Output>,
    /// Names that earlier verbs of the same stage took away.
    pub gone: Gone,
    changed: bool,
}

/// Names that earlier verbs took away, and how: `renamed to "title"`, `dropped`, `not kept`.
#[derive(Debug, Default)]
pub(super) struct Gone(BTreeMap<String, String>);

impl Gone {
    pub(super) fn add(&mut self, name: &str, how: impl Into<String>) {
        self.0.insert(name.to_owned(), how.into());
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// A column that this stage itself took away is a mistake, whatever `missing:` says.
    pub(super) fn explain(&self, fault: Fault) -> Fault {
        let Fault::Missing(missing) = fault else { return fault };
        let Some(how) = self.0.get(&missing.column) else { return Fault::Missing(missing) };
        let error = EngineError::usage(format!("column {:?} was {how} earlier in this transform", missing.column))
            .with_hint("the verbs work in the order rename, drop, keep, cast, set, sql");
        match missing.inside {
            Some((line, column)) => error.at_inside(missing.pointer, line, column),
            None => error.at(missing.pointer),
        }
        .into()
    }
}

impl Draft {
    /// All columns as they are.
    pub(super) fn of(rows: &Rows) -> Self {
        let columns = rows.frame.schema().iter();
        let outputs = columns.map(|(qualifier, field)| Output {
            name: field.name().clone(),
            expr: Expr::Column(Column::new(qualifier.cloned(), field.name())),
            from: Some(field.name().clone()),
            role: role_of(&rows.roles, field.name()),
        });
        Self { outputs: outputs.collect(), gone: Gone::default(), changed: false }
    }

    /// The user's own columns.
    pub(super) fn known(&self) -> Vec<String> {
        let names = self.outputs.iter().map(|output| output.name.clone());
        names.filter(|name| !name.starts_with(RESERVED_PREFIX)).collect()
    }

    /// Where a column is.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.outputs.iter().position(|output| output.name == name)
    }

    /// Says that the result is no longer what it was.
    pub(super) fn touch(&mut self) {
        self.changed = true;
    }

    /// Adds a column behind the user's own.
    pub(super) fn push(&mut self, output: Output) {
        let own = self.outputs.iter().position(|known| known.name.starts_with(RESERVED_PREFIX));
        self.outputs.insert(own.unwrap_or(self.outputs.len()), output);
        self.touch();
    }

    /// Takes away a column, and its text with it.
    pub(super) fn remove(&mut self, name: &str) {
        let text = text_name(name);
        self.outputs.retain(|output| output.name != name && output.name != text);
        self.touch();
    }

    /// Takes away only the text of a column: it has a new value.
    pub(super) fn remove_text(&mut self, name: &str) {
        let text = text_name(name);
        self.outputs.retain(|output| output.name != text);
    }

    /// The rows as drafted.
    pub(super) fn finish(self, rows: &Rows, pointer: &str) -> Result<(Rows, Gone), Fault> {
        if !self.changed {
            return Ok((rows.clone(), self.gone));
        }
        let rows = project(rows, self.outputs).map_err(|error| error.at(pointer))?;
        Ok((rows, self.gone))
    }
}

/// Puts the columns on top of the rows.
pub(super) fn project(rows: &Rows, outputs: Vec<Output>) -> Result<Rows, EngineError> {
    let (mut roles, mut lineage) = (Roles::default(), BTreeMap::new());
    let mut exprs = Vec::with_capacity(outputs.len());
    for output in outputs {
        if let Some(role) = output.role {
            roles.set(output.name.clone(), role);
        }
        if let Some(source) = output.from.and_then(|from| rows.lineage.get(&from)) {
            lineage.insert(output.name.clone(), source.clone());
        }
        exprs.push(output.expr.alias(output.name));
    }
    let (state, plan) = rows.frame.clone().into_parts();
    let plan = LogicalPlanBuilder::from(plan).project(exprs)?.build()?;
    Ok(Rows { frame: DataFrame::new(state, plan), roles, lineage })
}

/// The role of a column, where it is one worth keeping.
pub(super) fn role_of(roles: &Roles, column: &str) -> Option<Role> {
    let role = roles.get(column);
    (role != Role::Payload).then_some(role)
}

/// The column that keeps the text of another.
pub(super) fn text_name(column: &str) -> String {
    format!("{TEXT_PREFIX}{column}")
}

/// Refuses a verb over restow's own columns.
pub(super) fn refuse_reserved(name: &str, pointer: &str) -> Result<(), Fault> {
    if !name.starts_with(RESERVED_PREFIX) {
        return Ok(());
    }
    let what = if name == EXPLICIT_NULLS || name.starts_with(TEXT_PREFIX) {
        "it follows its column by itself"
    } else {
        "choose another name"
    };
    let message = format!("column {name:?}: names that begin with {RESERVED_PREFIX:?} are restow's own");
    Err(EngineError::usage(message).with_hint(what).at(pointer).into())
}

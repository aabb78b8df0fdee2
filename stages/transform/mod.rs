//! `transform`: changes columns, by the verbs rename, drop, keep, cast, set and sql, in this order.
//!
//! The columns that restow keeps beside the user's own follow their column:
//! - `_restow_text_<name>` is renamed, dropped and kept with `<name>`. A column that `set` or `cast` replaces has a new
//!   value, so the text of the old one goes; a cast to text takes that text, which is the more exact one.
//! - `_restow_null` names columns by the number in their field metadata, so a rename needs nothing. A computed or cast
//!   column has no number: where it is null, it is absent.
//! - `sql` keeps both wherever a row of the result is a row of the input (projections, filters, window functions, ORDER
//!   BY, LIMIT). The rows of an aggregate, DISTINCT, join, union or unnest are new rows: they have neither.

use std::sync::Arc;

use datafusion::prelude::SessionContext;
use restow_core::Result;
use restow_core::stage::{Registry, RowContext, RowStageFactory, Rows};
use restow_spec::pipeline::{RowStage, Transform};

mod draft;
pub mod functions;
mod query;
pub(crate) mod sql;
mod verbs;

#[cfg(test)]
pub(crate) mod tests;

pub use functions::{check_storable, volatile_functions};

use sql::{Fault, Nulls, Planner, settle};

/// Makes the transform stage and restow's SQL functions known.
pub fn register(registry: &mut Registry) {
    registry.add_row_stage(Arc::new(TransformStage));
    registry.add_functions(functions::all());
    registry.add_function_package(json_functions);
}

fn json_functions(session: &SessionContext) -> datafusion::error::Result<()> {
    // The clone shares the session's state.
    datafusion_functions_json::register_all(&mut session.clone())
}

/// Applies `transform:` stages.
#[derive(Debug, Clone, Copy)]
pub struct TransformStage;

impl RowStageFactory for TransformStage {
    fn takes(&self, stage: &RowStage) -> bool {
        matches!(stage, RowStage::Transform(_))
    }

    fn apply(&self, stage: &RowStage, rows: Rows, context: &RowContext) -> Result<Rows> {
        let RowStage::Transform(transform) = stage else { return Ok(rows) };
        if !stage.applies_to(&context.dataset) {
            return Ok(rows);
        }
        let planner = Planner::new(&context.session);
        let changed = settle(transform.missing, &context.dataset, |nulls| change(transform, &rows, &planner, nulls))?;
        Ok(changed.unwrap_or(rows))
    }
}

/// The rows after all verbs of one stage.
fn change(transform: &Transform, rows: &Rows, planner: &Planner, nulls: &Nulls) -> Result<Rows, Fault> {
    let mut draft = draft::Draft::of(rows);
    verbs::rename(&mut draft, transform, nulls)?;
    verbs::drop(&mut draft, transform, nulls)?;
    verbs::keep(&mut draft, transform, nulls)?;
    verbs::cast(&mut draft, transform, nulls, rows.frame.schema())?;
    let (mut rows, gone) = draft.finish(rows, &transform.pointer)?;
    if !transform.set.is_empty() {
        rows = verbs::set(&rows, transform, planner, nulls).map_err(|fault| gone.explain(fault))?;
    }
    if let Some(sql) = &transform.sql {
        let pointer = format!("{}/sql", transform.pointer);
        let text = sql::Text { sql, pointer: &pointer };
        rows = query::apply(&rows, &text, planner, nulls).map_err(|fault| gone.explain(fault))?;
    }
    check_storable(rows.frame.schema().as_arrow()).map_err(|error| error.at(transform.pointer.clone()))?;
    Ok(rows)
}

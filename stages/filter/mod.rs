//! `filter`: keeps the rows for which a predicate is true.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::ExprSchemable;
use restow_core::stage::{Registry, RowContext, RowStageFactory, Rows};
use restow_core::{EngineError, Result};
use restow_spec::pipeline::{Filter, RowStage};

use crate::transform::sql::{Fault, Nulls, Planner, Text, settle};

#[cfg(test)]
mod tests;

/// Makes the filter stage known.
pub fn register(registry: &mut Registry) {
    registry.add_row_stage(Arc::new(FilterStage));
}

/// Applies `filter:` stages.
#[derive(Debug, Clone, Copy)]
pub struct FilterStage;

impl RowStageFactory for FilterStage {
    fn takes(&self, stage: &RowStage) -> bool {
        matches!(stage, RowStage::Filter(_))
    }

    fn apply(&self, stage: &RowStage, rows: Rows, context: &RowContext) -> Result<Rows> {
        let RowStage::Filter(filter) = stage else { return Ok(rows) };
        if !stage.applies_to(&context.dataset) {
            return Ok(rows);
        }
        let planner = Planner::new(&context.session);
        let filtered = settle(filter.missing, &context.dataset, |nulls| keep(filter, &rows, &planner, nulls))?;
        Ok(filtered.unwrap_or(rows))
    }
}

/// The rows under the predicate. A row for which it is null is left out, as in SQL.
fn keep(filter: &Filter, rows: &Rows, planner: &Planner, nulls: &Nulls) -> Result<Rows, Fault> {
    let schema = rows.frame.schema();
    let text = Text { sql: &filter.sql, pointer: &filter.sql_pointer };
    let predicate = planner.row_expression(&text, schema, nulls, "a filter")?;
    let data_type = predicate.get_type(schema).map_err(|error| text.fault(error, schema))?;
    if !matches!(data_type, DataType::Boolean | DataType::Null) {
        return Err(not_boolean(&data_type, &text).into());
    }
    planner.check_predicate(&predicate, schema).map_err(|error| text.fault(error, schema))?;
    let frame = rows.frame.clone().filter(predicate).map_err(|error| text.fault(error, schema))?;
    Ok(Rows { frame, roles: rows.roles.clone(), lineage: rows.lineage.clone() })
}

fn not_boolean(data_type: &DataType, text: &Text<'_>) -> EngineError {
    let hint = match data_type {
        DataType::Union(..) => "for a truth value in JSON use json_get_bool(column, 'key')",
        _ => "compare it with something, for example `population > 1000`",
    };
    EngineError::usage(format!("a filter must be true or false, this one is {data_type}"))
        .with_hint(hint)
        .at(text.pointer)
}

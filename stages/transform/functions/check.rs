//! Checks of a plan that SQL may have made unfit to be stored or repeated.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use restow_core::{EngineError, Result};

/// Refuses column types that no sink can store: `json_get` and `->` give one of several types, row by row.
///
/// # Errors
/// The first such column.
pub fn check_storable(schema: &Schema) -> Result<()> {
    match schema.fields().iter().find(|field| has_union(field.data_type())) {
        None => Ok(()),
        Some(field) => Err(EngineError::usage(format!(
            "column {:?} has no one type: json_get and `->` give whatever the JSON holds",
            field.name()
        ))
        .with_hint("name the type: json_get_str, json_get_int, json_get_float, json_get_bool, json_get_json, or `->>` for text")),
    }
}

fn has_union(data_type: &DataType) -> bool {
    match data_type {
        DataType::Union(..) => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::Map(item, _) => has_union(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_union(field.data_type())),
        DataType::Dictionary(_, value) => has_union(value),
        DataType::RunEndEncoded(_, value) => has_union(value.data_type()),
        _ => false,
    }
}

/// The functions in a plan that give another result each time, such as `random` and `uuid`, in order and once each.
/// `now` is none of them: it means the time that the run calls now.
pub fn volatile_functions(plan: &LogicalPlan) -> Vec<String> {
    let mut found = BTreeSet::new();
    // The closures never fail, so the walk does not either.
    let _ = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                let (name, volatility) = match part {
                    Expr::ScalarFunction(call) => (call.func.name(), call.func.signature().volatility),
                    Expr::AggregateFunction(call) => (call.func.name(), call.func.signature().volatility),
                    _ => return Ok(TreeNodeRecursion::Continue),
                };
                if volatility == Volatility::Volatile && name != "now" {
                    found.insert(name.to_owned());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    found.into_iter().collect()
}

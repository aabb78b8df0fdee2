//! `sql: SELECT ... FROM input`.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, TableReference};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{
    Distinct, Expr, Filter, Limit, LogicalPlan, Projection, Sort, SubqueryAlias, TableScan, Window,
};
use datafusion::prelude::DataFrame;
use restow_core::record::{EXPLICIT_NULLS, RESERVED_PREFIX, Role, Roles};
use restow_core::stage::Rows;

use super::draft::{Output, project, text_name};
use super::functions::is_cast;
use super::sql::{Fault, INPUT, InputTable, Nulls, Planner, Text};
use super::verbs::{check_widened, plain};

/// The rows of the query. It is planned over a stand-in for the rows so far, looked at, and only then put on top of
/// them, so that the look never meets the plans of earlier stages.
pub(super) fn apply(rows: &Rows, text: &Text<'_>, planner: &Planner, nulls: &Nulls) -> Result<Rows, Fault> {
    let schema = rows.frame.schema();
    let fault = |error| text.fault(error, schema);
    let input = Arc::new(InputTable { schema: SchemaRef::new(schema.as_arrow().clone()) });
    let plan = planner.query(text, input, nulls)?;
    if !reads_input(&plan).map_err(fault)? {
        return Err(text.error(format!("the query does not read the table `{INPUT}`")).into());
    }
    planner.check_plan(plan.clone()).map_err(fault)?;
    check_names(&plan, text)?;
    check_vectors(&plan, text)?;
    let per_row = is_per_row(&plan).map_err(fault)?;
    let (plan, hidden) = with_own_columns(plan, schema).map_err(fault)?;
    let outputs = outputs(&plan, hidden, rows);
    check_id(&outputs, rows, per_row, text)?;
    let (state, below) = rows.frame.clone().into_parts();
    let plan = substitute(plan, &Arc::new(below)).map_err(fault)?;
    let on_top = Rows { frame: DataFrame::new(state, plan), roles: Roles::default(), lineage: rows.lineage.clone() };
    let outputs = as_columns(outputs, &on_top).map_err(fault)?;
    Ok(project(&on_top, outputs).map_err(|error| error.at(text.pointer))?)
}

/// An output of the query: the column of the plan it is, and what it will be called.
struct Selected {
    column: Column,
    name: String,
    origin: Option<Origin>,
    role: Option<Role>,
}

/// The column of `input` that an output comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    column: String,
    cast: bool,
}

/// The user's outputs, then restow's own columns of those that hold a column of the input unchanged. The last `hidden`
/// columns of the plan were not selected by the user.
fn outputs(plan: &LogicalPlan, hidden: usize, rows: &Rows) -> Vec<Selected> {
    let columns = plan.schema().columns();
    let selected = columns.len().saturating_sub(hidden);
    let all: Vec<Selected> = columns
        .into_iter()
        .map(|column| Selected { origin: origin(plan, &column), name: column.name.clone(), column, role: None })
        .collect();
    let own = |name: &str| {
        let is =
            |output: &&Selected| output.origin.as_ref().is_some_and(|origin| !origin.cast && origin.column == name);
        all.iter().find(is).map(|output| output.column.clone())
    };
    let mut users: Vec<Selected> = Vec::new();
    let mut texts: Vec<Selected> = Vec::new();
    for output in all.iter().take(selected).filter(|output| !output.name.starts_with(RESERVED_PREFIX)) {
        if let Some(origin) = output.origin.as_ref().filter(|origin| !origin.cast)
            && let Some(column) = own(&text_name(&origin.column))
        {
            let origin = Some(Origin { column: text_name(&origin.column), cast: false });
            texts.push(Selected { column, name: text_name(&output.name), origin, role: None });
        }
        users.push(Selected {
            column: output.column.clone(),
            name: output.name.clone(),
            origin: output.origin.clone(),
            role: None,
        });
    }
    give_roles(&mut users, &rows.roles);
    if let Some(column) = own(EXPLICIT_NULLS) {
        let origin = Some(Origin { column: EXPLICIT_NULLS.to_owned(), cast: false });
        texts.push(Selected { column, name: EXPLICIT_NULLS.to_owned(), origin, role: None });
    }
    users.extend(texts);
    users
}

/// A role goes to the one output that holds its column (of several the one of its name, else the first), also where it
/// is cast; else to a computed output of its name, since that is how a query replaces a column.
fn give_roles(outputs: &mut [Selected], roles: &Roles) {
    for (column, role) in roles.iter().filter(|(_, role)| *role != Role::Payload) {
        let rank = |output: &Selected| match &output.origin {
            Some(origin) if origin.column == column => Some((origin.cast, output.name != column)),
            None if output.name == column => Some((true, true)),
            _ => None,
        };
        let ranked = outputs.iter_mut().filter(|output| output.role.is_none());
        let best = ranked.filter_map(|output| rank(output).map(|rank| (rank, output))).min_by_key(|(rank, _)| *rank);
        if let Some((_, output)) = best {
            output.role = Some(role);
        }
    }
}

fn as_columns(selected: Vec<Selected>, rows: &Rows) -> DataFusionResult<Vec<Output>> {
    let schema = rows.frame.schema();
    let outputs = selected.into_iter().map(|output| {
        let computed =
            output.origin.as_ref().is_none_or(|origin| origin.cast) && !output.name.starts_with(RESERVED_PREFIX);
        let column = Expr::Column(output.column);
        let expr = if computed { plain(column, schema)? } else { column };
        let from = output.origin.filter(|origin| !origin.cast).map(|origin| origin.column);
        Ok(Output { name: output.name, expr, from, role: output.role })
    });
    outputs.collect()
}

fn reads_input(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= is_input(node);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn is_input(node: &LogicalPlan) -> bool {
    let LogicalPlan::TableScan(TableScan { source, .. }) = node else { return false };
    let source: &dyn Any = source.as_ref();
    source.is::<InputTable>()
}

/// Whether each row of the result is a row of the input.
fn is_per_row(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut per_row = true;
    plan.apply(|node| {
        per_row &= matches!(
            node,
            LogicalPlan::Projection(_)
                | LogicalPlan::Filter(_)
                | LogicalPlan::Sort(_)
                | LogicalPlan::Limit(_)
                | LogicalPlan::Window(_)
                | LogicalPlan::SubqueryAlias(_)
                | LogicalPlan::TableScan(_)
        );
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(per_row)
}

fn check_names(plan: &LogicalPlan, text: &Text<'_>) -> Result<(), Fault> {
    let mut seen = BTreeSet::new();
    for column in plan.schema().columns() {
        let name = column.name.clone();
        if !seen.insert(name.clone()) {
            let error = text.error(format!("the query gives two columns the name {name:?}"));
            return Err(error.with_hint("give one of them another name with AS").into());
        }
        let own = name.starts_with(RESERVED_PREFIX);
        if own && origin(plan, &column).is_none_or(|origin| origin.cast || origin.column != name) {
            let error =
                text.error(format!("column {name:?}: names that begin with {RESERVED_PREFIX:?} are restow's own"));
            return Err(error.with_hint("give it another name with AS").into());
        }
    }
    Ok(())
}

fn check_vectors(plan: &LogicalPlan, text: &Text<'_>) -> Result<(), Fault> {
    let hint = "use restow's vector functions, or name the type: arrow_cast(..., 'FixedSizeList(384, Float32)')";
    let LogicalPlan::Projection(projection) = top(plan) else { return Ok(()) };
    for (expr, field) in projection.expr.iter().zip(projection.schema.fields()) {
        check_widened(field.name(), field.data_type(), expr, projection.input.schema(), hint)
            .map_err(|error| error.at(text.pointer))?;
    }
    Ok(())
}

fn top(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Sort(Sort { input, .. }) | LogicalPlan::Limit(Limit { input, .. }) => top(input),
        other => other,
    }
}

fn check_id(outputs: &[Selected], rows: &Rows, per_row: bool, text: &Text<'_>) -> Result<(), Fault> {
    let id = rows.roles.iter().find(|(_, role)| *role == Role::Id).map(|(column, _)| column);
    match id {
        Some(id) if per_row && !outputs.iter().any(|output| output.role == Some(Role::Id)) => {
            let error = text.error(format!("the query leaves out column {id:?}, the id of the rows"));
            Err(error.with_hint(format!("it is needed as their identity: add {id:?} to the SELECT")).into())
        }
        _ => Ok(()),
    }
}

/// Adds restow's own columns to every projection on the way up, as far as rows stay rows. Gives back how many columns
/// were added at the top.
fn with_own_columns(plan: LogicalPlan, input: &DFSchema) -> DataFusionResult<(LogicalPlan, usize)> {
    let own: Vec<&str> = input
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .filter(|name| name.starts_with(RESERVED_PREFIX))
        .collect();
    if own.is_empty() {
        return Ok((plan, 0));
    }
    let before = plan.schema().fields().len();
    match carry(&plan, &own)? {
        Some(wider) => {
            let added = wider.schema().fields().len().saturating_sub(before);
            Ok((wider, added))
        }
        None => Ok((plan, 0)),
    }
}

fn carry(plan: &LogicalPlan, own: &[&str]) -> DataFusionResult<Option<LogicalPlan>> {
    let child = |input: &LogicalPlan| Ok::<_, datafusion::error::DataFusionError>(carry(input, own)?.map(Arc::new));
    Ok(match plan {
        LogicalPlan::TableScan(_) if is_input(plan) => Some(plan.clone()),
        LogicalPlan::Projection(projection) => match child(&projection.input)? {
            Some(input) => Some(widen(projection, input, own)?),
            None => None,
        },
        LogicalPlan::Filter(filter) => match child(&filter.input)? {
            Some(input) => Some(LogicalPlan::Filter(Filter::try_new(filter.predicate.clone(), input)?)),
            None => None,
        },
        LogicalPlan::Sort(sort) => child(&sort.input)?.map(|input| LogicalPlan::Sort(Sort { input, ..sort.clone() })),
        LogicalPlan::Limit(limit) => {
            child(&limit.input)?.map(|input| LogicalPlan::Limit(Limit { input, ..limit.clone() }))
        }
        LogicalPlan::Window(window) => match child(&window.input)? {
            Some(input) => Some(LogicalPlan::Window(Window::try_new(window.window_expr.clone(), input)?)),
            None => None,
        },
        LogicalPlan::SubqueryAlias(alias) => match child(&alias.input)? {
            Some(input) => Some(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(input, alias.alias.clone())?)),
            None => None,
        },
        _ => None,
    })
}

fn widen(projection: &Projection, input: Arc<LogicalPlan>, own: &[&str]) -> DataFusionResult<LogicalPlan> {
    let mut exprs = projection.expr.clone();
    for column in input.schema().columns() {
        let selected = projection.schema.fields().iter().any(|field| *field.name() == column.name);
        if own.contains(&column.name.as_str()) && !selected {
            exprs.push(Expr::Column(column));
        }
    }
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, input)?))
}

/// Puts the rows so far where the query reads `input`.
fn substitute(plan: LogicalPlan, below: &Arc<LogicalPlan>) -> DataFusionResult<LogicalPlan> {
    let replaced = plan.transform_up_with_subqueries(|node| {
        if !is_input(&node) {
            return Ok(Transformed::no(node));
        }
        let alias = SubqueryAlias::try_new(Arc::clone(below), TableReference::bare(INPUT))?;
        Ok(Transformed::yes(LogicalPlan::SubqueryAlias(alias)))
    })?;
    Ok(replaced.data)
}

/// Follows a column down to the column of `input` that it holds.
fn origin(plan: &LogicalPlan, column: &Column) -> Option<Origin> {
    let same = |input: &LogicalPlan| origin(input, column);
    match plan {
        LogicalPlan::TableScan(_) if is_input(plan) => Some(Origin { column: column.name.clone(), cast: false }),
        LogicalPlan::Projection(projection) => {
            let at = projection.schema.maybe_index_of_column(column)?;
            of_expr(&projection.input, projection.expr.get(at)?)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let at = alias.schema.maybe_index_of_column(column)?;
            origin(&alias.input, &alias.input.schema().columns().get(at)?.clone())
        }
        LogicalPlan::Filter(filter) => same(&filter.input),
        LogicalPlan::Sort(sort) => same(&sort.input),
        LogicalPlan::Limit(limit) => same(&limit.input),
        LogicalPlan::Distinct(Distinct::All(input)) => same(input),
        LogicalPlan::Window(window) => {
            window.input.schema().maybe_index_of_column(column)?;
            same(&window.input)
        }
        LogicalPlan::Aggregate(aggregate) => {
            let at = aggregate.schema.maybe_index_of_column(column)?;
            of_expr(&aggregate.input, aggregate.group_expr.get(at)?)
        }
        LogicalPlan::Unnest(unnest) if !unnest.exec_columns.contains(column) => same(&unnest.input),
        LogicalPlan::Join(join)
            if matches!(join.join_type, JoinType::Inner | JoinType::LeftSemi | JoinType::LeftAnti) =>
        {
            let left = join.left.schema().maybe_index_of_column(column).is_some();
            if left { same(&join.left) } else { same(&join.right) }
        }
        _ => None,
    }
}

fn of_expr(input: &LogicalPlan, expr: &Expr) -> Option<Origin> {
    let cast = |inner: &Expr| of_expr(input, inner).map(|origin| Origin { cast: true, ..origin });
    match expr {
        Expr::Column(column) => origin(input, column),
        Expr::Alias(alias) => of_expr(input, &alias.expr),
        Expr::Cast(call) => cast(&call.expr),
        Expr::TryCast(call) => cast(&call.expr),
        Expr::ScalarFunction(call) if is_cast(call.func.name()) => cast(call.args.first()?),
        _ => None,
    }
}

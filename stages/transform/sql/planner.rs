//! DataFusion's SQL planner over one dataset: expressions over its columns, queries over the one table `input`.

use std::collections::VecDeque;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, TableReference, plan_datafusion_err};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::SessionState;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner};
use datafusion::logical_expr::{
    AggregateUDF, EmptyRelation, Expr, ExprSchemable, Filter, HigherOrderUDF, LogicalPlan, Projection, ScalarUDF,
    TableSource, WindowUDF,
};
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerContext};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParser, DFParserBuilder, Statement};
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{
    self, Expr as SqlExpr, Query, Select, SelectItem, SetExpr, Spanned, Statement as SqlStatement, VisitMut, VisitorMut,
};

use restow_core::EngineError;

use super::dialect::PipelineDialect;
use super::fault::{Fault, Nulls, Text};

/// The name of the table that `sql:` reads.
pub(crate) const INPUT: &str = "input";

/// Plans SQL text. It holds a copy of the session's state, so that datasets that are planned at the same time share
/// nothing.
pub(crate) struct Planner {
    state: SessionState,
}

impl Planner {
    /// A planner with the session's functions and options. Names are case-sensitive whatever the session says.
    pub(crate) fn new(session: &SessionContext) -> Self {
        let mut state = session.state();
        let options = state.config_mut().options_mut();
        options.sql_parser.enable_ident_normalization = false;
        options.sql_parser.collect_spans = true;
        Self { state }
    }

    /// An expression over the columns of one row: no aggregate, window function, subquery or unnest.
    pub(crate) fn row_expression(
        &self,
        text: &Text<'_>,
        schema: &DFSchema,
        nulls: &Nulls,
        what: &str,
    ) -> Result<Expr, Fault> {
        let fault = |error| text.fault(error, schema);
        let parsed = self.parser(text.sql).and_then(|mut parser| parser.parse_into_expr()).map_err(fault)?;
        if let Some(alias) = &parsed.alias {
            return Err(text.error(format!("{what} gives no name: leave out `AS {alias}`")).into());
        }
        let mut parsed = parsed.expr;
        if parsed.visit(&mut Rewrite { nulls, refuse_queries: true }).is_break() {
            return Err(text.error(format!("{what} cannot contain a subquery")).into());
        }
        let tables = Tables { state: &self.state, input: None };
        let planned = SqlToRel::new_with_options(&tables, self.options())
            .sql_to_expr(parsed, schema, &mut PlannerContext::new())
            .map_err(fault)?;
        check_row_wise(&planned, text, what)?;
        Ok(planned)
    }

    /// The plan of one SELECT from `input`.
    pub(crate) fn query(&self, text: &Text<'_>, input: Arc<InputTable>, nulls: &Nulls) -> Result<LogicalPlan, Fault> {
        let schema = DFSchema::try_from(SchemaRef::clone(&input.schema))
            .map_err(|error| text.fault(error, &DFSchema::empty()))?;
        let fault = |error| text.fault(error, &schema);
        let statements = self.parser(text.sql).and_then(|mut parser| parser.parse_statements()).map_err(fault)?;
        let mut query = only_query(statements, text)?;
        let _ = query.visit(&mut Rewrite { nulls, refuse_queries: false });
        check_named(&query.body, text)?;
        let tables = Tables { state: &self.state, input: Some(input) };
        let plan = SqlToRel::new_with_options(&tables, self.options())
            .statement_to_plan(Statement::Statement(Box::new(SqlStatement::Query(query))))
            .map_err(fault)?;
        let reading = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        reading.verify_plan(&plan).map_err(fault)?;
        if placeholders(&plan).map_err(fault)? {
            return Err(placeholder(text).into());
        }
        Ok(plan)
    }

    /// Finds the type errors that DataFusion would find later, when their place in the file is no longer known.
    pub(crate) fn check_predicate(&self, predicate: &Expr, schema: &DFSchema) -> DataFusionResult<()> {
        let filter = Filter::try_new(predicate.clone(), Arc::new(nothing(schema)))?;
        self.check_plan(LogicalPlan::Filter(filter)).map(|_| ())
    }

    /// The type of an expression after coercion.
    pub(crate) fn type_of(&self, expr: &Expr, schema: &DFSchema) -> DataFusionResult<DataType> {
        let projection = Projection::try_new(vec![expr.clone().alias("value")], Arc::new(nothing(schema)))?;
        let plan = self.check_plan(LogicalPlan::Projection(projection))?;
        let field = plan.schema().fields().first().cloned();
        field.map(|field| field.data_type().clone()).ok_or_else(|| plan_datafusion_err!("the expression has no type"))
    }

    /// Runs DataFusion's analyzer (names, types, coercions) over a plan, and folds its constants to see whether they fit:
    /// the date in a comparison, the length of a vector literal. Gives back the plan as analyzed, not as folded.
    pub(crate) fn check_plan(&self, plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
        let analyzed = self.state.analyzer().execute_and_check(plan, self.state.config_options(), |_, _| {})?;
        let folding = Optimizer::with_rules(vec![Arc::new(SimplifyExpressions::new())]);
        let folded = folding.optimize(analyzed.clone(), &OptimizerContext::new(), |_, _| {})?;
        folded.apply(|node| {
            if let (LogicalPlan::Filter(_) | LogicalPlan::Projection(_), [input]) = (node, node.inputs().as_slice()) {
                node.apply_expressions(|expr| expr.get_type(input.schema()).map(|_| TreeNodeRecursion::Continue))?;
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(analyzed)
    }

    fn parser<'a>(&self, sql: &'a str) -> DataFusionResult<DFParser<'a>> {
        let limit = self.state.config_options().sql_parser.recursion_limit.get();
        DFParserBuilder::new(sql).with_dialect(&PipelineDialect).with_recursion_limit(limit).build()
    }

    fn options(&self) -> ParserOptions {
        ParserOptions::from(&self.state.config_options().sql_parser)
    }
}

fn nothing(schema: &DFSchema) -> LogicalPlan {
    LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema: Arc::new(schema.clone()) })
}

fn check_row_wise(expr: &Expr, text: &Text<'_>, what: &str) -> Result<(), Fault> {
    let mut found = None;
    let walked = expr.apply(|node| {
        found = match node {
            Expr::AggregateFunction(call) => Some(format!("the aggregate function {}", call.func.name())),
            Expr::WindowFunction(call) => Some(format!("the window function {}", call.fun.name())),
            Expr::Unnest(_) => Some("unnest".to_owned()),
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
                Some("a subquery".to_owned())
            }
            Expr::Placeholder(_) => Some("a placeholder".to_owned()),
            _ => None,
        };
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.map_err(|error| Fault::Wrong(EngineError::from(error)))?;
    match found.as_deref() {
        None => Ok(()),
        Some("a placeholder") => Err(placeholder(text).into()),
        Some(found) => Err(text
            .error(format!("{what} sees one row at a time and cannot use {found}"))
            .with_hint("a transform's `sql: SELECT ... FROM input` can")
            .into()),
    }
}

fn placeholder(text: &Text<'_>) -> EngineError {
    text.error("SQL in a pipeline has no placeholders").with_hint("write ${var:name} for a variable")
}

fn placeholders(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.exists(|part| Ok(matches!(part, Expr::Placeholder(_))))?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

fn only_query(mut statements: VecDeque<Statement>, text: &Text<'_>) -> Result<Box<Query>, Fault> {
    match (statements.pop_front(), statements.is_empty()) {
        (None, _) => Err(text.error(format!("`sql` is one SELECT from `{INPUT}`, and this is empty")).into()),
        (Some(_), false) => {
            Err(text.error(format!("`sql` is one SELECT from `{INPUT}`, not several statements")).into())
        }
        (Some(Statement::Statement(statement)), true) => match *statement {
            SqlStatement::Query(query) => Ok(query),
            other => Err(not_select(&other, text).into()),
        },
        (Some(other), true) => Err(not_select(&other, text).into()),
    }
}

fn not_select(statement: &dyn fmt::Display, text: &Text<'_>) -> EngineError {
    let statement = statement.to_string();
    let verb: Vec<&str> = statement.split_whitespace().take(2).collect();
    text.error(format!("`sql` is one SELECT from `input`, not {}", verb.join(" ")))
}

/// Every column of the result needs a name of its own: DataFusion would make one up from the expression.
fn check_named(body: &SetExpr, text: &Text<'_>) -> Result<(), Fault> {
    let select = match body {
        SetExpr::Query(query) => return check_named(&query.body, text),
        SetExpr::SetOperation { left, .. } => return check_named(left, text),
        SetExpr::Select(select) => select,
        _ => return Ok(()),
    };
    for (index, item) in select.projection.iter().enumerate() {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        if matches!(expr, SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_)) {
            continue;
        }
        let start = expr.span().start;
        let error = EngineError::usage(format!("column {} of the SELECT has no name", index + 1))
            .with_hint(format!("write `{expr} AS name`"));
        let placed = if start.line > 0 {
            error.at_inside(text.pointer, start.line, start.column)
        } else {
            error.at(text.pointer)
        };
        return Err(placed.into());
    }
    Ok(())
}

/// Puts NULL where a column stands that the dataset lacks, and stops at subqueries where they are refused.
struct Rewrite<'a> {
    nulls: &'a Nulls,
    refuse_queries: bool,
}

impl Rewrite<'_> {
    fn lacks(&self, expr: &SqlExpr) -> Option<ast::Ident> {
        let name = match expr {
            SqlExpr::Identifier(name) => name,
            SqlExpr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, name] if table.value == INPUT => name,
                _ => return None,
            },
            _ => return None,
        };
        self.nulls.contains(&name.value).then(|| name.clone())
    }
}

impl VisitorMut for Rewrite<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        if self.refuse_queries { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// A column that is selected as it is keeps its name.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && let Some(alias) = self.lacks(expr)
            {
                *item = SelectItem::ExprWithAlias { expr: SqlExpr::value(ast::Value::Null), alias };
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<()> {
        if self.lacks(expr).is_some() {
            *expr = SqlExpr::value(ast::Value::Null);
        }
        ControlFlow::Continue(())
    }
}

/// Stands for the plan so far while a query over it is planned and checked.
pub(crate) struct InputTable {
    /// The columns of the plan so far.
    pub schema: SchemaRef,
}

impl TableSource for InputTable {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
}

/// What SQL may see: the functions of the session and at most the table `input`.
struct Tables<'a> {
    state: &'a SessionState,
    input: Option<Arc<InputTable>>,
}

impl ContextProvider for Tables<'_> {
    fn get_table_source(&self, name: TableReference) -> DataFusionResult<Arc<dyn TableSource>> {
        let bare = matches!(&name, TableReference::Bare { table } if table.as_ref() == INPUT);
        match &self.input {
            Some(input) if bare => Ok(Arc::<InputTable>::clone(input)),
            _ => Err(DataFusionError::Plan(format!(
                "only the table `{INPUT}` can be read here, not {:?}",
                name.to_string()
            ))),
        }
    }

    fn get_table_function_source(&self, name: &str, _args: Vec<Expr>) -> DataFusionResult<Arc<dyn TableSource>> {
        Err(DataFusionError::Plan(format!("only the table `{INPUT}` can be read here, not the function {name:?}")))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.state.relation_planners()
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.state.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}

impl fmt::Debug for Planner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planner").finish_non_exhaustive()
    }
}

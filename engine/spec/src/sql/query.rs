//! What a query may do: read from `input`, and nothing else.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, ObjectName, Query, Select, SetExpr, Spanned, Statement, TableFactor, Visit, Visitor};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{SqlError, span_of, start_of};

/// Functions that stand where a table may stand and read nothing.
const TABLE_FUNCTIONS: &[&str] = &["unnest", "generate_series", "range"];

/// The first word decides what a statement is, and a better message than a parser's.
pub(super) fn first_word(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let first = tokens.iter().find(|token| !matches!(token.token, Token::Whitespace(_)));
    match first.map(|token| (&token.token, token)) {
        Some((Token::LParen, _)) => Ok(()),
        Some((Token::Word(word), token)) => match word.value.to_ascii_uppercase().as_str() {
            "SELECT" | "WITH" | "FROM" => Ok(()),
            other => Err(only_select(&format!("found {other}"), start_of(token))),
        },
        Some((other, token)) => Err(only_select(&format!("found {other}"), start_of(token))),
        None => Err(SqlError::new("E501", "empty SQL", (0, 0, 1))),
    }
}

fn only_select(found: &str, at: (u64, u64, usize)) -> SqlError {
    SqlError::new("E503", format!("only SELECT is allowed, {found}"), at)
        .help("write one query, such as: SELECT id, upper(title) AS title FROM input")
}

/// Checks a whole query.
pub(super) fn check(query: &Query) -> Result<(), SqlError> {
    let mut rules = Rules::default();
    if let ControlFlow::Break(error) = query.visit(&mut rules) {
        return Err(error);
    }
    if !rules.reads_input {
        return Err(SqlError::new("E504", "the query does not read from input", span_of(query.span()))
            .help("input is the dataset as the stages before leave it: SELECT ... FROM input"));
    }
    Ok(())
}

/// Checks the queries inside an expression.
pub(super) fn check_expression(expression: &Expr) -> Result<(), SqlError> {
    match expression.visit(&mut Rules::default()) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

#[derive(Default)]
struct Rules {
    named: BTreeSet<String>,
    reads_input: bool,
}

impl Visitor for Rules {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<SqlError> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.named.extend(tables.map(|table| table.alias.name.value.clone()));
        let at = span_of(query.span());
        if !query.locks.is_empty() {
            return ControlFlow::Break(only_select("found FOR UPDATE or FOR SHARE", at));
        }
        if query.settings.is_some() || query.format_clause.is_some() {
            return ControlFlow::Break(only_select("found SETTINGS or FORMAT", at));
        }
        match &*query.body {
            SetExpr::Table(_) => ControlFlow::Break(only_select("found TABLE", at)),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<SqlError> {
        match &select.into {
            Some(into) => ControlFlow::Break(only_select("found SELECT INTO", span_of(into.name.span()))),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<SqlError> {
        let text = statement.to_string();
        let word = text.split_whitespace().next().unwrap_or("a statement").to_owned();
        ControlFlow::Break(only_select(&format!("found {word}"), span_of(statement.span())))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<SqlError> {
        let TableFactor::Table { name, args, .. } = factor else {
            return ControlFlow::Continue(());
        };
        let last = last_part(name);
        if args.is_some() {
            let known = TABLE_FUNCTIONS.contains(&last.to_ascii_lowercase().as_str());
            return if known { ControlFlow::Continue(()) } else { ControlFlow::Break(other_table(name)) };
        }
        if name.0.len() == 1 && last == "input" {
            self.reads_input = true;
            return ControlFlow::Continue(());
        }
        if name.0.len() == 1 && self.named.contains(&last) {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(other_table(name))
    }
}

pub(super) fn last_part(name: &ObjectName) -> String {
    let last = name.0.last().and_then(|part| part.as_ident());
    last.map_or_else(|| name.to_string(), |ident| ident.value.clone())
}

fn other_table(name: &ObjectName) -> SqlError {
    let shown = name.to_string();
    SqlError::new("E504", format!("unknown table {}", shown.trim_matches('"')), span_of(name.span()))
        .help("the only table is input: the dataset as the stages before leave it")
}

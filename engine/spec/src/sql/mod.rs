//! SQL as far as it can be judged without a schema: syntax, one SELECT, only from `input`.
//!
//! The dialect is the generic one, as in DataFusion's own default, and identifiers are case-sensitive.

mod columns;
mod dialect;
mod query;

use std::collections::BTreeMap;

use sqlparser::ast::{Expr, Query};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use dialect::Bounded;

pub(crate) use columns::{Columns, Gone, check_expression_columns, query_columns};

/// Longest SQL text, in bytes.
pub const MAX_SQL: usize = 16 << 10;
/// Deepest nesting, as in DataFusion's own parser.
const MAX_DEPTH: usize = 50;
/// Deepest nesting of brackets.
const MAX_BRACKETS: usize = 24;
/// Most operators outside of lists: each one makes the tree a level deeper.
const MAX_CHAIN: usize = 1_500;

/// A problem in SQL text with its place, line and column from 1; 0 for the text as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SqlError {
    /// The diagnostic code.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Line in the SQL text.
    pub line: u64,
    /// Column in characters.
    pub column: u64,
    /// How many characters are concerned.
    pub length: usize,
}

impl SqlError {
    fn new(code: &'static str, message: impl Into<String>, at: (u64, u64, usize)) -> Self {
        Self { code, message: message.into(), help: None, line: at.0, column: at.1, length: at.2 }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Parses a predicate or an expression.
pub fn expression(text: &str) -> Result<Expr, SqlError> {
    let tokens = tokens(text)?;
    if let Some(word) = statement_word(&tokens) {
        let error = SqlError::new("E503", format!("{} is a statement, not an expression", word.0), word.1);
        return Err(error.help("write a condition or a value, such as: year > 2000"));
    }
    let expression = parse(&tokens, false, |parser| parser.parse_expr())?;
    query::check_expression(&expression)?;
    Ok(expression)
}

/// Parses one SELECT from `input`; everything else is an error.
pub fn query(text: &str) -> Result<Query, SqlError> {
    let tokens = tokens(text)?;
    query::first_word(&tokens)?;
    let query = parse(&tokens, true, |parser| parser.parse_query())?;
    query::check(&query)?;
    Ok(*query)
}

/// Runs one parser over the tokens to their end, within its bounds.
fn parse<T>(
    tokens: &[TokenWithSpan],
    may_end_in_semicolon: bool,
    read: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
) -> Result<T, SqlError> {
    let dialect = Bounded::new();
    let mut parser = Parser::new(&dialect).with_recursion_limit(MAX_DEPTH).with_tokens_with_locations(tokens.to_vec());
    let result = read(&mut parser);
    if dialect.is_exhausted() {
        return Err(SqlError::new("E505", "SQL too complex to parse: nested alternatives", (0, 0, 1))
            .help("nest less deeply, or split it over several stages"));
    }
    let found = result.map_err(|error| syntax(&error, tokens))?;
    let semicolon = may_end_in_semicolon && parser.consume_token(&Token::SemiColon);
    if semicolon && parser.peek_token().token != Token::EOF {
        let error = SqlError::new("E503", "a second statement", start_of(&parser.peek_token()));
        return Err(error.help("one stage holds one SELECT"));
    }
    end(&parser, tokens)?;
    Ok(found)
}

/// Splits into tokens, and refuses what would cost too much to parse.
fn tokens(text: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    if text.trim().is_empty() {
        return Err(SqlError::new("E501", "empty SQL", (0, 0, 1)));
    }
    if text.len() > MAX_SQL {
        let message = format!("SQL of {} bytes: at most {MAX_SQL} are allowed", text.len());
        return Err(SqlError::new("E505", message, (0, 0, 1)));
    }
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location().map_err(|error| {
        SqlError::new("E501", lower(&error.message), (error.location.line, error.location.column, 1))
    })?;
    bound(&tokens)?;
    Ok(tokens)
}

fn bound(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let (mut depth, mut chain) = (0_usize, 0_usize);
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            Token::Comma | Token::Number(..) | Token::Whitespace(_) | Token::SingleQuotedString(_) | Token::EOF => {}
            _ => chain += 1,
        }
        if depth > MAX_BRACKETS {
            let message = format!("SQL with brackets nested deeper than {MAX_BRACKETS} levels");
            return Err(SqlError::new("E505", message, start_of(token)));
        }
        if chain > MAX_CHAIN {
            let message = format!("SQL of more than {MAX_CHAIN} names and operators");
            let error = SqlError::new("E505", message, start_of(token));
            return Err(error.help("write long conditions as lists: id IN ('a', 'b', 'c')"));
        }
    }
    Ok(())
}

fn end(parser: &Parser<'_>, tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let next = parser.peek_token();
    if next.token == Token::EOF {
        return Ok(());
    }
    let message = format!("expected the end of the SQL, found {}", next.token);
    let mut error = SqlError::new("E501", message, start_of(&next));
    if matches!(next.token, Token::Assignment | Token::DoubleEq) {
        error.help = Some("comparison is =".into());
    }
    if error.line == 0 {
        (error.line, error.column) = after_last(tokens);
    }
    Err(error)
}

fn syntax(error: &ParserError, tokens: &[TokenWithSpan]) -> SqlError {
    let text = match error {
        ParserError::RecursionLimitExceeded => {
            return SqlError::new("E505", format!("SQL nested deeper than {MAX_DEPTH} levels"), (0, 0, 1));
        }
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
    };
    let (message, place) = split_location(text);
    let (line, column) = place.unwrap_or_else(|| after_last(tokens));
    let length = tokens
        .iter()
        .find(|token| token.span.start.line == line && token.span.start.column == column)
        .map_or(1, |token| start_of(token).2);
    SqlError::new("E501", lower(message), (line, column, length))
}

/// `Expected: x, found: y at Line: 1, Column: 5`.
fn split_location(text: &str) -> (&str, Option<(u64, u64)>) {
    let Some((message, place)) = text.rsplit_once(" at Line: ") else {
        return (text, None);
    };
    let numbers =
        place.split_once(", Column: ").and_then(|(line, column)| Some((line.parse().ok()?, column.parse().ok()?)));
    match numbers {
        Some(place) => (message, Some(place)),
        None => (text, None),
    }
}

fn after_last(tokens: &[TokenWithSpan]) -> (u64, u64) {
    let last = tokens.iter().rev().find(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
    last.map_or((0, 0), |token| (token.span.end.line, token.span.end.column))
}

fn start_of(token: &TokenWithSpan) -> (u64, u64, usize) {
    span_of(token.span)
}

fn span_of(span: sqlparser::tokenizer::Span) -> (u64, u64, usize) {
    let length = if span.start.line == span.end.line { span.end.column.saturating_sub(span.start.column) } else { 1 };
    (span.start.line, span.start.column, usize::try_from(length).unwrap_or(1).max(1))
}

/// `Expected: an expression` reads like the rest of our messages.
fn lower(message: &str) -> String {
    let message = message.trim_end_matches('.').replacen("Expected: ", "expected ", 1).replacen("found: ", "found ", 1);
    let message = message.replace("found EOF", "found the end of the SQL");
    let mut letters = message.chars();
    match letters.next() {
        Some(first) => format!("{}{}", first.to_lowercase(), letters.as_str()),
        None => "not valid SQL".into(),
    }
}

/// A word that begins a statement and no expression.
fn statement_word(tokens: &[TokenWithSpan]) -> Option<(String, (u64, u64, usize))> {
    const WORDS: &[&str] = &[
        "SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "SET", "COPY", "MERGE", "TRUNCATE",
        "GRANT", "EXPLAIN", "CALL", "EXECUTE",
    ];
    let mut words = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    let (first, second) = (words.next()?, words.next());
    let Token::Word(word) = &first.token else {
        return None;
    };
    // A column may be called `set`: a statement goes on with a word or a star.
    let goes_on = second.is_some_and(|token| match &token.token {
        Token::Word(next) => !matches!(
            next.value.to_ascii_uppercase().as_str(),
            "IS" | "IN" | "NOT" | "AND" | "OR" | "LIKE" | "ILIKE" | "BETWEEN"
        ),
        Token::Mul | Token::Number(..) | Token::SingleQuotedString(_) => true,
        _ => false,
    });
    let upper = word.value.to_ascii_uppercase();
    (word.quote_style.is_none() && goes_on && WORDS.contains(&upper.as_str())).then(|| (upper, start_of(first)))
}

/// Names and, for those that are gone, what took them away.
pub(crate) type GoneBy = BTreeMap<String, Gone>;

#[cfg(test)]
mod tests;

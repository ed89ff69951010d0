//! Is this text one statement, of a size that can be planned? Bytes and words before parsing, one statement after it, in which visitors settle what
//! the planner reads otherwise.

use std::ops::ControlFlow;

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{
    Expr, Fetch, LimitClause, ObjectName, Query, Statement as Sql, Value, VisitMut, VisitorMut, visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use tidewater_storage::{Code, Error, Result};

use super::change::{insert, undrop};
use super::hidden::HIDDEN_COLUMNS;
use super::measure;
use super::names::{
    Announced, check_nesting, name_columns, settle_calls, settle_merged, settle_named_windows, settle_positions,
    settle_references, settle_series, settle_words,
};
use super::refuse::refuse_accounts;
use super::types::{
    check_frames, settle_numbers, settle_operators, settle_rows, settle_structs, settle_texts, settle_times,
};
use crate::error::{OrError, from_datafusion, from_parser, or_break, too_deep};
use crate::limits::{MAX_STATEMENT_BYTES, MAX_STATEMENT_PARENTHESES, MAX_STATEMENT_WORDS, PARSER_RECURSION};

/// What a text is.
pub(crate) enum Read {
    Sql(Box<Text>),
    /// UNDROP TABLE, which the parser does not know.
    Undrop(ObjectName),
}

/// A statement's text, parsed and within the limits, with what only its text tells.
pub(crate) struct Text {
    pub(crate) statement: Statement,
    pub(crate) n_parameters: usize,
    pub(crate) names_hidden: bool,
    pub(crate) announced: Announced,
}

/// Parses exactly one statement. Needs a thread with a big stack, also where the result is dropped.
/// `schema` is the session's.
pub(crate) fn read_text(sql: &str, schema: &str) -> Result<Read> {
    read(sql, schema, true)
}

/// Only the columns of an `answer` may be called the same.
fn read(sql: &str, schema: &str, is_answer: bool) -> Result<Read> {
    if sql.len() > MAX_STATEMENT_BYTES {
        return Err(Error::new(
            Code::StatementTooLarge,
            format!("the statement has {} bytes; at most {MAX_STATEMENT_BYTES} are taken", sql.len()),
        )
        .hint("send rows through bulk ingest or parameters rather than in the text"));
    }
    let dialect = GenericDialect {};
    let mut tokens =
        Tokenizer::new(&dialect, sql).tokenize_with_location().map_err(|e| from_parser(&ParserError::from(e)))?;
    check_words(&tokens)?;
    if let Some(refusal) = refuse_accounts(&tokens) {
        return Err(refusal);
    }
    tokens = part_ends_of_types(tokens);
    settle_structs(&mut tokens);
    settle_words(&mut tokens);
    if undrop::begins(&tokens) {
        return undrop::read(tokens).map(Read::Undrop);
    }
    let n_parameters = number_parameters(&mut tokens)?;
    let names_hidden = names_hidden(&tokens);
    let mut statement = one_statement(tokens)?;
    measure::check(&statement)?;
    check_nesting(&statement)?;
    settle_positions(&mut statement)?;
    let announced = name_columns(&mut statement, is_answer);
    settle_named_windows(&mut statement)?;
    settle_references(&mut statement, schema)?;
    settle_merged(&mut statement)?;
    settle_operators(&mut statement)?;
    settle_rows(&mut statement)?;
    check_frames(&mut statement)?;
    settle_series(&mut statement);
    settle_times(&mut statement);
    settle_texts(&mut statement)?;
    settle_calls(&mut statement);
    settle_numbers(&mut statement);
    settle_fetch(&mut statement);
    Ok(Read::Sql(Box::new(Text { statement, n_parameters, names_hidden, announced })))
}

/// Parses a text that we made or that was within the limits before: the SELECT of a view.
pub(crate) fn reparse(sql: &str) -> Result<Text> {
    match read(sql, "public", false)? {
        Read::Sql(text) => Ok(*text),
        Read::Undrop(_) => Err(Error::internal("the text of a query is an UNDROP")),
    }
}

/// The SQL of a statement; EXPLAIN is looked through.
pub(super) fn sql_of(statement: &Statement) -> Option<&Sql> {
    match statement {
        Statement::Statement(sql) => Some(sql),
        Statement::Explain(explain) => sql_of(&explain.statement),
        _ => None,
    }
}

/// The same, to be changed.
pub(crate) fn sql_of_mut(statement: &mut Statement) -> Option<&mut Sql> {
    match statement {
        Statement::Statement(sql) => Some(sql),
        Statement::Explain(explain) => sql_of_mut(&mut explain.statement),
        _ => None,
    }
}

/// Lets a visitor go through the SQL of a statement.
pub(super) fn visit_mut<V: VisitorMut>(statement: &mut Statement, visitor: &mut V) -> ControlFlow<V::Break> {
    sql_of_mut(statement).map_or(ControlFlow::Continue(()), |sql| VisitMut::visit(sql, visitor))
}

/// Lets `settle` change each expression of a statement, those within it first, up to the first error.
pub(super) fn settle_exprs(statement: &mut Statement, settle: fn(&mut Expr) -> Result<()>) -> Result<()> {
    sql_of_mut(statement).map_or(Ok(()), |sql| visit_expressions_mut(sql, |expr| or_break(settle(expr))).or_error())
}

fn one_statement(tokens: Vec<TokenWithSpan>) -> Result<Statement> {
    let dialect = GenericDialect {};
    let mut parser = DFParserBuilder::new(tokens)
        .with_dialect(&dialect)
        .with_recursion_limit(PARSER_RECURSION)
        .build()
        .map_err(from_datafusion)?;
    let mut statements = parser.parse_statements().map_err(from_datafusion)?;
    match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => Ok(insert::under_with(statement)),
        (None, _) => Err(Error::new(Code::SyntaxError, "the statement is empty").hint("write one SQL statement")),
        (Some(_), more) => Err(Error::new(Code::InvalidStatement, format!("{} statements in one request", more + 1))
            .hint("send one statement at a time")),
    }
}

/// A chain of operators becomes a tree as deep as it is long, so their number is bounded before there is a tree.
fn check_words(tokens: &[TokenWithSpan]) -> Result<()> {
    let flat = |token: &Token| {
        matches!(
            token,
            Token::Whitespace(_)
                | Token::Comma
                | Token::LParen
                | Token::RParen
                | Token::SemiColon
                | Token::Period
                | Token::Number(_, _)
                | Token::SingleQuotedString(_)
                | Token::NationalStringLiteral(_)
                | Token::EscapedStringLiteral(_)
                | Token::HexStringLiteral(_)
                | Token::Placeholder(_)
                | Token::EOF
        )
    };
    let mut nested = 0usize;
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => nested += 1,
            Token::RParen | Token::RBracket | Token::RBrace => nested = nested.saturating_sub(1),
            Token::Word(word) if word.keyword == Keyword::CASE => nested += 1,
            Token::Word(word) if word.keyword == Keyword::END => nested = nested.saturating_sub(1),
            _ => {}
        }
        if nested > MAX_STATEMENT_PARENTHESES {
            return Err(too_deep());
        }
    }
    let words = tokens.iter().filter(|t| !flat(&t.token)).count();
    if words > MAX_STATEMENT_WORDS {
        return Err(Error::new(
            Code::StatementTooComplex,
            format!("the statement has {words} words and operators; at most {MAX_STATEMENT_WORDS} are taken"),
        )
        .hint("use IN lists, parameters or a table of values instead of long chains"));
    }
    Ok(())
}

/// Makes `>>` in front of `[` the ends of two types: the parser would take a list of the outer type for one of the inner. No shift has a
/// bracket there.
fn part_ends_of_types(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut parted = Vec::with_capacity(tokens.len());
    let mut is_before_bracket = false;
    for mut token in tokens.into_iter().rev() {
        match &token.token {
            Token::Whitespace(_) => {}
            Token::ShiftRight if is_before_bracket => {
                token.token = Token::Gt;
                parted.push(token.clone());
                is_before_bracket = false;
            }
            other => is_before_bracket = *other == Token::LBracket,
        }
        parted.push(token);
    }
    parted.reverse();
    parted
}

/// Names each `?` `$1`, `$2`, … in order, and returns how many parameters there are.
fn number_parameters(tokens: &mut [TokenWithSpan]) -> Result<usize> {
    let mut questions = 0;
    let mut highest = 0;
    for token in tokens {
        let Token::Placeholder(name) = &mut token.token else { continue };
        if name == "?" {
            questions += 1;
            *name = format!("${questions}");
            continue;
        }
        let number = name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()).filter(|n| (1..=65_535).contains(n));
        match number {
            Some(number) => highest = highest.max(number),
            None => {
                return Err(Error::new(Code::InvalidParameter, format!("'{name}' is not a parameter"))
                    .hint("write parameters as ? or as $1, $2, …"));
            }
        }
    }
    if questions > 0 && highest > 0 {
        return Err(Error::new(Code::InvalidParameter, "the statement mixes ? and $n parameters")
            .hint("use one of the two styles"));
    }
    Ok(questions.max(highest))
}

/// Whether a word is the name of a system column, however it is written.
fn names_hidden(tokens: &[TokenWithSpan]) -> bool {
    tokens.iter().any(|t| match &t.token {
        Token::Word(word) => HIDDEN_COLUMNS.iter().any(|hidden| word.value.eq_ignore_ascii_case(hidden)),
        _ => false,
    })
}

/// Writes `FETCH FIRST n ROWS ONLY` of standard SQL as `LIMIT n`, which the planner knows.
fn settle_fetch(statement: &mut Statement) {
    let _: ControlFlow<()> = visit_mut(statement, &mut FetchIsLimit);
}

struct FetchIsLimit;

impl VisitorMut for FetchIsLimit {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        // The planner refuses what is left: WITH TIES, PERCENT, and a FETCH beside a LIMIT.
        let Some(Fetch { with_ties: false, percent: false, quantity }) = &query.fetch else {
            return ControlFlow::Continue(());
        };
        let rows = quantity.clone().unwrap_or_else(|| Expr::Value(Value::Number("1".to_owned(), false).into()));
        match &mut query.limit_clause {
            Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(rows),
            Some(_) => return ControlFlow::Continue(()),
            none => *none = Some(LimitClause::LimitOffset { limit: Some(rows), offset: None, limit_by: Vec::new() }),
        }
        query.fetch = None;
        ControlFlow::Continue(())
    }
}

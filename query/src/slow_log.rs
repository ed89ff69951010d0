//! Which statements took long? One line in the log for each, without the values that stand in it: the log is read by more people than the
//! data.

use std::time::Duration;

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer, Whitespace};

use crate::engine::QueryInfo;

/// Not one of our crates: slow statements are in `system.queries`, and would push everything else out of `system.events`.
const TARGET: &str = "slow_query";

/// Writes down what took at least `at_least`; `None`: nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlowLog {
    at_least: Option<Duration>,
}

impl SlowLog {
    pub(crate) fn new(at_least: Option<Duration>) -> Self {
        Self { at_least }
    }

    /// A statement has ended that `took` so long from its arrival on, with its wait for its turn, for who fetches it and for who reads it.
    pub(crate) fn note(self, query: &QueryInfo, took: Duration) {
        if self.at_least.is_none_or(|at_least| took < at_least) {
            return;
        }
        let used = &query.summary;
        tracing::warn!(
            target: TARGET,
            query_id = query.query_id,
            principal = query.principal,
            interface = query.interface.as_str(),
            duration_ms = took.as_millis() as u64,
            planned_ms = used.planned_ms.round() as u64,
            ran_ms = used.ran_ms.round() as u64,
            rows = used.rows_out,
            rows_read = used.rows_read_realtime + used.rows_read_sealed,
            memory_peak_bytes = used.memory_peak,
            error = query.error_code.as_deref().unwrap_or("none"),
            sql = without_values(&query.sql),
            "a statement was slow"
        );
    }
}

/// The statement on one line, with `?` in the place of texts and numbers, and without comments. What cannot be read is left out: half a
/// literal is one, too.
pub(crate) fn without_values(sql: &str) -> String {
    let mut tokens = Vec::new();
    let is_whole = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location_into_buf(&mut tokens).is_ok();
    let mut out = String::with_capacity(sql.len());
    for token in tokens.iter().map(|token| &token.token) {
        match token {
            Token::Whitespace(space) => {
                let is_comment =
                    matches!(space, Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_));
                if !(out.ends_with(' ') || is_comment && out.is_empty()) {
                    out.push(' ');
                }
            }
            token if is_value(token) => out.push('?'),
            token => out.push_str(&token.to_string()),
        }
    }
    let out = out.trim();
    if is_whole { out.to_owned() } else { format!("{out} …") }
}

/// Literals of every spelling. A word in double quotes is a name.
fn is_value(token: &Token) -> bool {
    matches!(
        token,
        Token::Number(..)
            | Token::Char(_)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::TripleSingleQuotedString(_)
            | Token::TripleDoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::DoubleQuotedByteStringLiteral(_)
            | Token::TripleSingleQuotedByteStringLiteral(_)
            | Token::TripleDoubleQuotedByteStringLiteral(_)
            | Token::SingleQuotedRawStringLiteral(_)
            | Token::DoubleQuotedRawStringLiteral(_)
            | Token::TripleSingleQuotedRawStringLiteral(_)
            | Token::TripleDoubleQuotedRawStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::QuoteDelimitedStringLiteral(_)
            | Token::NationalQuoteDelimitedStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
    )
}

#[cfg(test)]
mod tests;

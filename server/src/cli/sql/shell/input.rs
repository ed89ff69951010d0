//! Is a line whole, where does it begin a comment, may it be remembered? What the editor asks about text.

use super::command;
use crate::cli::sql::split::{is_terminated, skip_quoted};

/// Whether what was typed can be run: a command of the shell, nothing, or statements of which the last one is closed.
pub(super) fn is_whole(text: &str) -> bool {
    text.trim().is_empty() || command::parse(text).is_some() || is_terminated(text)
}

/// Statements that hold a secret are not remembered.
pub(super) fn is_secret(text: &str) -> bool {
    text.to_lowercase().contains("password")
}

/// Whether a statement changes which tables and columns there are.
pub(super) fn changes_names(statement: &str) -> bool {
    let first = words(statement).find_map(|(kind, word)| (kind == Kind::Keyword).then(|| word.to_lowercase()));
    matches!(first.as_deref(), Some("create" | "alter" | "drop" | "undrop" | "call"))
}

/// What a piece of SQL is, as far as its colour goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Keyword,
    /// A text, or a name in quotes.
    Quoted,
    Comment,
    /// A command of the shell.
    Command,
}

/// The pieces of a text; together they are the text.
pub(super) fn words(text: &str) -> impl Iterator<Item = (Kind, &str)> {
    let mut rest = text;
    let mut is_first = true;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (kind, length) = first_word(rest, std::mem::replace(&mut is_first, false));
        let (word, after) = rest.split_at(length);
        rest = after;
        Some((kind, word))
    })
}

fn first_word(rest: &str, is_first: bool) -> (Kind, usize) {
    if is_first && rest.starts_with('\\') {
        return (Kind::Command, rest.find(char::is_whitespace).unwrap_or(rest.len()));
    }
    if let Some((length, is_comment)) = skip_quoted(rest) {
        return (if is_comment { Kind::Comment } else { Kind::Quoted }, length);
    }
    let length = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
    if length == 0 {
        return (Kind::Plain, rest.chars().next().map_or(0, char::len_utf8));
    }
    let is_keyword = KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(&rest[..length]));
    (if is_keyword { Kind::Keyword } else { Kind::Plain }, length)
}

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Words of the language that are worth a completion and a colour.
pub(super) const KEYWORDS: &[&str] = &[
    "ADD",
    "ALL",
    "ALTER",
    "ANALYZE",
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BIGINT",
    "BOOLEAN",
    "BY",
    "CALL",
    "CASE",
    "CAST",
    "COLUMN",
    "CREATE",
    "CROSS",
    "DATE",
    "DECIMAL",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DOUBLE",
    "DROP",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FILTER",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "IF",
    "IN",
    "INNER",
    "INSERT",
    "INTEGER",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "KEY",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PRIMARY",
    "RENAME",
    "REPLACE",
    "RESET",
    "RIGHT",
    "SCHEMA",
    "SELECT",
    "SET",
    "SHOW",
    "SMALLINT",
    "TABLE",
    "TABLES",
    "THEN",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMPTZ",
    "TO",
    "TRUE",
    "TRUNCATE",
    "UNDROP",
    "UNION",
    "UNNEST",
    "USING",
    "VALUES",
    "VARCHAR",
    "VIEW",
    "WHEN",
    "WHERE",
    "WITH",
];

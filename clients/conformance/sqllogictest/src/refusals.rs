//! Which error of the server is the one that a file expects? That of a mistake, and of what is refused by design, which is listed.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::reasons::{Pattern, read};

/// What is wrong with a statement, a name or a value, as `server/docs/troubleshoot.md` names it. Files that expect an error are about these.
const MISTAKES: [&str; 18] = [
    "SYNTAX_ERROR",
    "INVALID_STATEMENT",
    "STATEMENT_TOO_COMPLEX",
    "INVALID_PARAMETER",
    "INVALID_SETTING",
    "TABLE_NOT_FOUND",
    "SCHEMA_NOT_FOUND",
    "COLUMN_NOT_FOUND",
    "VIEW_NOT_FOUND",
    "TABLE_EXISTS",
    "INVALID_NAME",
    "INVALID_DEFINITION",
    "INVALID_OPTION",
    "FUNCTION_NOT_FOUND",
    "QUERY_FAILED",
    "EXPANSION_TOO_LARGE",
    "SCHEMA_MISMATCH",
    "BAD_ROWS",
];

/// Refusals that are no mistake of the caller.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refusals {
    refusal: Vec<Refusal>,
}

/// All that it names must fit.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    /// The error's name, such as `UNSUPPORTED_STATEMENT`.
    reason: String,
    /// What was asked.
    sql: Pattern,
    /// The server's text.
    #[serde(default)]
    message: Pattern,
    note: String,
}

/// What an error stands for that a file expects.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Mistake,
    /// The note of the line that it is in the list.
    ByDesign(String),
}

impl Refusals {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let refusals: Self = toml::from_str(&read(path)?).with_context(|| format!("in {}", path.display()))?;
        for refusal in &refusals.refusal {
            let is_told = !refusal.note.is_empty() && !refusal.sql.fits_all() && !MISTAKES.contains(&&*refusal.reason);
            ensure!(is_told, "{}: '{}' needs a note, a statement, and no mistake", path.display(), refusal.reason);
        }
        Ok(refusals)
    }

    /// What the refusal of `sql` stands for; `None` if it is not what a file may expect. `expected` is the file's own text, if the server's
    /// is another.
    pub(crate) fn of(&self, status: &Status, sql: &str, expected: Option<&str>) -> Option<Refused> {
        let reason = status.get_details_error_info()?.reason;
        if MISTAKES.contains(&&*reason) {
            let missing = |text: &str| text.contains("not found") || text.contains("exist");
            // A table that is missing because it was refused says nothing of what the file asks.
            let is_beside = status.code() == Code::NotFound && status.message().contains("table '");
            return (!is_beside || expected.is_none_or(missing)).then_some(Refused::Mistake);
        }
        let fits = |refusal: &&Refusal| {
            refusal.reason == reason && refusal.sql.fits(sql) && refusal.message.fits(status.message())
        };
        self.refusal.iter().find(fits).map(|refusal| Refused::ByDesign(refusal.note.clone()))
    }
}

#[cfg(test)]
mod tests;

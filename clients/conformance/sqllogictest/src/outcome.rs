//! What became of a record: did it pass, and if not, what came instead?

use std::error::Error;
use std::sync::Arc;

use serde::Serialize;
use sqllogictest::{RecordOutput, TestError, TestErrorKind};
use sqllogictest_flightsql::column::ArrowColumnType;

use crate::database::{Failure, status};
use crate::reasons::Reason;
use crate::refusals::{Refusals, Refused};

/// One record that counts, as it is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) file: String,
    pub(crate) place: String,
    result: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// The error that the file expects came in the server's own words.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    own_words: bool,
    /// It is a refusal by design, with the note of the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    by_design: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Passed,
    Failed,
    Skipped,
    PassedThoughSkipped,
}

/// What is not as the file says.
#[derive(Debug, Serialize)]
pub(crate) struct Failed {
    pub(crate) kind: Kind,
    pub(crate) sql: String,
    /// The server's error, or what differs.
    pub(crate) message: String,
    /// A setting in front of it was refused.
    pub(crate) setting: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Rows were expected, or success.
    Error,
    /// Another error was expected.
    OtherError,
    /// An error was expected.
    NoError,
    Types,
    Values,
    /// The rows are right, in another order.
    Order,
    NotRun,
}

pub(crate) enum Ran {
    Ended(Box<Result<RecordOutput<ArrowColumnType>, TestError>>),
    TimedOut,
}

impl Outcome {
    pub(crate) fn new(file: String, place: String, sql: String, setting: bool, ran: Ran, refusals: &Refusals) -> Self {
        let (own_words, by_design, failure) = match read(ran, &sql, refusals) {
            Read::Passed => (false, None, None),
            Read::Refused { own_words, by_design } => (own_words, by_design, None),
            Read::Failed(kind, message) => (false, None, Some(Failed { kind, sql, message, setting })),
        };
        let result = if failure.is_some() { Verdict::Failed } else { Verdict::Passed };
        Self { file, place, result, reason: None, own_words, by_design, failure }
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// The record is in the skip list for `skip`.
    pub(crate) fn settle(&mut self, skip: Option<Reason>) {
        if skip.is_some() {
            self.result = if self.is_failed() { Verdict::Skipped } else { Verdict::PassedThoughSkipped };
            self.reason = skip;
        }
    }

    pub(crate) fn is_right(&self) -> bool {
        matches!(self.result, Verdict::Passed | Verdict::Skipped)
    }
}

enum Read {
    Passed,
    /// With an error that the file expects.
    Refused {
        own_words: bool,
        by_design: Option<String>,
    },
    Failed(Kind, String),
}

fn read(ran: Ran, sql: &str, refusals: &Refusals) -> Read {
    let error = match ran {
        Ran::TimedOut => return Read::Failed(Kind::Error, "no answer in time".into()),
        Ran::Ended(ended) => match *ended {
            Ok(RecordOutput::Nothing) => {
                return Read::Failed(Kind::NotRun, "the record's conditions exclude it".into());
            }
            // The words are as the file has them; many files expect an error of any.
            Ok(RecordOutput::Statement { error: Some(error), .. } | RecordOutput::Query { error: Some(error), .. }) => {
                return refused(&error, None, sql, refusals);
            }
            Ok(_) => return Read::Passed,
            Err(error) => error,
        },
    };
    match error.kind() {
        TestErrorKind::ErrorMismatch { err, expected_err, .. } => refused(&err, Some(&expected_err), sql, refusals),
        TestErrorKind::Fail { err, .. } => Read::Failed(Kind::Error, err.to_string()),
        TestErrorKind::Ok { .. } => Read::Failed(Kind::NoError, "it succeeded".into()),
        TestErrorKind::QueryResultColumnsMismatch { expected, actual, .. } => {
            Read::Failed(Kind::Types, format!("{actual}; expected: {expected}"))
        }
        TestErrorKind::QueryResultMismatch { expected, actual, .. } => {
            let kind = if sorted(&expected) == sorted(&actual) { Kind::Order } else { Kind::Values };
            Read::Failed(kind, format!("{actual}\nexpected:\n{expected}"))
        }
        other => Read::Failed(Kind::Values, other.to_string()),
    }
}

fn sorted(rows: &str) -> Vec<&str> {
    let mut rows: Vec<&str> = rows.lines().map(str::trim_end).collect();
    rows.sort_unstable();
    rows
}

/// An error where the file expects one. The files have the engine's words, the server has its own: what counts is that it refused the
/// statement as a mistake of the caller, or by a design that is listed, and not because it is broken, full or away. `expected` is the
/// file's text, if the server's is another.
fn refused(error: &Arc<dyn Error + Send + Sync>, expected: Option<&str>, sql: &str, refusals: &Refusals) -> Read {
    let refusal =
        error.downcast_ref::<Failure>().and_then(status).and_then(|status| refusals.of(status, sql, expected));
    let by_design = match refusal {
        Some(Refused::Mistake) => None,
        Some(Refused::ByDesign(note)) => Some(note),
        None => {
            let expected = expected.unwrap_or("the error of a mistake");
            return Read::Failed(Kind::OtherError, format!("{error}; expected: {expected}"));
        }
    };
    Read::Refused { own_words: expected.is_some(), by_design }
}

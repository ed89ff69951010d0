//! What became of a record: did it pass, and if not, what came instead?

use serde::Serialize;
use sqllogictest::{RecordOutput, TestError, TestErrorKind};
use sqllogictest_flightsql::column::ArrowColumnType;
use tonic::Code;

use crate::database::{Failure, status};
use crate::reasons::Reason;

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
    pub(crate) fn new(file: String, place: String, sql: String, setting: bool, ran: Ran) -> Self {
        let (own_words, failure) = match read(ran) {
            Read::Passed { own_words } => (own_words, None),
            Read::Failed(kind, message) => (false, Some(Failed { kind, sql, message, setting })),
        };
        let result = if failure.is_some() { Verdict::Failed } else { Verdict::Passed };
        Self { file, place, result, reason: None, own_words, failure }
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
    Passed { own_words: bool },
    Failed(Kind, String),
}

fn read(ran: Ran) -> Read {
    let error = match ran {
        Ran::TimedOut => return Read::Failed(Kind::Error, "no answer in time".into()),
        Ran::Ended(ended) => match *ended {
            Ok(RecordOutput::Nothing) => {
                return Read::Failed(Kind::NotRun, "the record's conditions exclude it".into());
            }
            Ok(_) => return Read::Passed { own_words: false },
            Err(error) => error,
        },
    };
    match error.kind() {
        TestErrorKind::ErrorMismatch { err, expected_err, .. } => {
            match err.downcast_ref::<Failure>().and_then(status) {
                Some((code, message)) if is_refusal(code, message, &expected_err) => Read::Passed { own_words: true },
                _ => Read::Failed(Kind::OtherError, format!("{err}; expected: {expected_err}")),
            }
        }
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

/// The files have the engine's words for an error, the server has its own. What counts is that it refused the statement as the caller's
/// mistake, and that it did not just miss a table.
fn is_refusal(code: Code, message: &str, expected: &str) -> bool {
    let missing = |text: &str| text.contains("not found") || text.contains("exist");
    match code {
        Code::NotFound => missing(expected) || !message.contains("table '"),
        Code::InvalidArgument
        | Code::AlreadyExists
        | Code::Unimplemented
        | Code::OutOfRange
        | Code::FailedPrecondition
        | Code::ResourceExhausted => true,
        _ => false,
    }
}

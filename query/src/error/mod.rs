//! What does an error of DataFusion mean to a user? One map into our codes.

#[cfg(test)]
mod tests;
mod words;

use std::ops::ControlFlow;

use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::sql::sqlparser::parser::ParserError;
use tidewater_storage::{Code, Error, Result};
pub(crate) use words::in_sql;

use crate::statement::ADDRESS_COLUMNS;

/// Our error as one that travels through DataFusion; [`from_datafusion`] gets it out again.
pub(crate) fn to_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Maps an error of planning or running.
pub(crate) fn from_datafusion(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => from_foreign(&*other).unwrap_or_else(|| failed(other.to_string())),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_datafusion(*inner),
        DataFusionError::Collection(errors) => match errors.into_iter().next() {
            Some(first) => from_datafusion(first),
            None => Error::internal("the engine reported a failure without a reason"),
        },
        other => classify(&other),
    }
}

/// `?` for results of DataFusion, and for what a visitor of a statement ends with, which breaks off at an error.
pub(crate) trait OrError<T> {
    fn or_error(self) -> Result<T>;
}

impl<T> OrError<T> for Result<T, DataFusionError> {
    fn or_error(self) -> Result<T> {
        self.map_err(from_datafusion)
    }
}

impl OrError<()> for ControlFlow<Box<Error>> {
    fn or_error(self) -> Result<()> {
        match self {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(*error),
        }
    }
}

/// How a visitor goes on behind such a result.
pub(crate) fn or_break<T>(result: Result<T>) -> ControlFlow<Box<Error>, T> {
    match result {
        Ok(value) => ControlFlow::Continue(value),
        Err(error) => ControlFlow::Break(Box::new(error)),
    }
}

/// The same error again: errors that several readers share have one owner.
pub(crate) fn copy(error: &Error) -> Error {
    with_message(error, error.message().to_owned())
}

/// The same error with another sentence.
pub(crate) fn with_message(error: &Error, message: String) -> Error {
    let mut out = Error::new(error.code(), message);
    if let Some(hint) = error.hint_text() {
        out = out.hint(hint);
    }
    for (key, value) in error.metadata() {
        out = out.with(key, value);
    }
    match error.retry_delay() {
        Some(delay) => out.retry_after(delay),
        None => out,
    }
}

fn classify(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::SQL(parser, _) => from_parser(parser),
        DataFusionError::Plan(message) => planning(message),
        DataFusionError::Configuration(message) => Error::new(Code::InvalidStatement, clean(message)),
        DataFusionError::SchemaError(schema, _) => from_schema(schema),
        DataFusionError::NotImplemented(message) => words::of_subquery(message).unwrap_or_else(|| {
            Error::new(Code::UnsupportedStatement, format!("not supported yet: {}", clean(message)))
        }),
        DataFusionError::Internal(message) => Error::internal(clean(message)),
        DataFusionError::Execution(message) => failed(clean(message)),
        DataFusionError::ArrowError(arrow, _) => from_arrow(arrow),
        DataFusionError::ResourcesExhausted(message) => exhausted(message),
        DataFusionError::External(inner) => from_foreign(&**inner).unwrap_or_else(|| failed(inner.to_string())),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => classify(inner),
        DataFusionError::Shared(inner) => classify(inner),
        DataFusionError::Collection(errors) => match errors.first() {
            Some(first) => classify(first),
            None => Error::internal("the engine reported a failure without a reason"),
        },
        DataFusionError::ExecutionJoin(join) if join.is_panic() => crate::planner::panicked(),
        DataFusionError::ExecutionJoin(_) => Error::internal("a task of the query was cancelled"),
        DataFusionError::IoError(io) => from_io(io).unwrap_or_else(|| Error::internal(clean(&error.to_string()))),
        other => Error::internal(clean(&other.to_string())),
    }
}

/// An error that somebody boxed: ours, DataFusion's or Arrow's.
fn from_foreign(error: &(dyn std::error::Error + 'static)) -> Option<Error> {
    if let Some(ours) = error.downcast_ref::<Error>() {
        return Some(copy(ours));
    }
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return Some(classify(inner));
    }
    error.downcast_ref::<ArrowError>().map(from_arrow)
}

/// A spill file that could not be written: we refused it, DataFusion did, or the disk. `None` for anything else.
fn from_io(error: &std::io::Error) -> Option<Error> {
    if let Some(known) = error.get_ref().and_then(|inner| from_foreign(inner)) {
        return Some(known);
    }
    let message = error.to_string();
    let is_spill = error.kind() == std::io::ErrorKind::StorageFull || is_about_spill(&message);
    is_spill.then(|| spill(&message))
}

fn from_arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(inner) => from_foreign(&**inner).unwrap_or_else(|| failed(inner.to_string())),
        ArrowError::IoError(_, io) => from_io(io).unwrap_or_else(|| failed(error.to_string())),
        ArrowError::DivideByZero => failed("division by zero".into()).hint("use NULLIF(divisor, 0)"),
        ArrowError::ArithmeticOverflow(message) => failed(message.clone()).hint(WIDER),
        ArrowError::CastError(message) => failed(words::of_cast(message)).hint("TRY_CAST gives NULL instead"),
        other => failed(other.to_string()),
    }
}

pub(crate) fn from_parser(error: &ParserError) -> Error {
    match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
            Error::new(Code::SyntaxError, clean(message))
        }
        ParserError::RecursionLimitExceeded => too_deep(),
    }
}

/// A statement that nests too deeply, wherever that is noticed.
pub(crate) fn too_deep() -> Error {
    Error::new(
        Code::StatementTooComplex,
        format!("the statement nests more than {} levels", crate::limits::MAX_STATEMENT_DEPTH),
    )
    .hint("flatten parentheses and subqueries, or name parts with WITH")
}

fn from_schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let not_found = Error::new(Code::ColumnNotFound, format!("there is no column '{}'", field.flat_name()));
            // A DELETE sees the addresses of rows as columns, and nobody is to name them.
            let valid = valid_fields.iter().map(|c| c.name.as_str()).filter(|name| !ADDRESS_COLUMNS.contains(name));
            match nearest_columns(&field.name, valid) {
                Some(hint) => not_found.hint(hint),
                None => not_found,
            }
        }
        // Not a name that is looked up, but two columns.
        SchemaError::AmbiguousReference { field } if field.relation.is_some() => words::repeated(&field.name),
        SchemaError::DuplicateUnqualifiedField { name } => words::repeated(name),
        SchemaError::AmbiguousReference { field } => {
            Error::new(Code::InvalidStatement, format!("column '{}' is in more than one table", field.name))
                .hint("put the table's name or alias before it")
        }
        other => Error::new(Code::InvalidStatement, clean(&other.to_string())),
    }
}

/// Which column was meant, or which there are.
fn nearest_columns<'a>(wanted: &str, valid: impl Iterator<Item = &'a str>) -> Option<String> {
    let valid: Vec<&str> = valid.collect();
    if let Some(quoted) = valid.iter().find(|name| name.eq_ignore_ascii_case(wanted) && **name != wanted) {
        return Some(format!("the column is \"{quoted}\": quote it to keep its capitals"));
    }
    let nearest =
        valid.iter().max_by(|a, b| strsim::jaro_winkler(a, wanted).total_cmp(&strsim::jaro_winkler(b, wanted)))?;
    if strsim::jaro_winkler(nearest, wanted) > 0.8 {
        return Some(format!("did you mean '{nearest}'?"));
    }
    let some: Vec<&str> = valid.iter().copied().take(20).collect();
    Some(format!("the columns are {}{}", some.join(", "), if valid.len() > 20 { ", …" } else { "" }))
}

fn planning(message: &str) -> Error {
    let message = clean(message);
    let quoted = |prefix: &str| {
        let name = message.strip_prefix(prefix)?.strip_suffix("' not found")?;
        Some(name.trim_start_matches("tidewater.").to_string())
    };
    if let Some(name) = quoted("table '") {
        let hint = match name.split_once('.') {
            Some((schema @ ("system" | "information_schema"), _)) => {
                format!("SHOW TABLES FROM {schema} lists what there is")
            }
            _ => "SHOW TABLES lists what there is".to_owned(),
        };
        return Error::new(Code::TableNotFound, format!("table '{name}' not found")).hint(hint);
    }
    if let Some(schema) = message.strip_prefix("failed to resolve schema: ") {
        return Error::new(Code::SchemaNotFound, format!("there is no schema '{schema}'"))
            .hint("SHOW SCHEMAS lists what there is");
    }
    if let Some(catalog) = message.strip_prefix("failed to resolve catalog: ") {
        return Error::new(Code::SchemaNotFound, format!("there is no catalog '{catalog}'"))
            .hint("the only catalog is tidewater");
    }
    words::of_planner(&message).unwrap_or_else(|| Error::new(Code::InvalidStatement, message))
}

fn exhausted(message: &str) -> Error {
    if is_about_spill(message) {
        return spill(message);
    }
    let mut lines = message.lines();
    let first = lines.next().unwrap_or_default();
    Error::new(Code::QueryMemory, format!("the query needs more memory than it may have: {}", clean(first)))
        .hint("filter or aggregate earlier, select fewer columns, or raise memory.limit")
}

fn is_about_spill(message: &str) -> bool {
    message.contains("disk space") || message.contains("max_temp_directory_size")
}

fn spill(message: &str) -> Error {
    Error::new(Code::QuerySpill, format!("the query spills more to disk than it may: {}", clean(message)))
        .hint("filter or aggregate earlier, free disk space, or raise query.spill")
}

/// What to do about a number that does not fit.
pub(crate) const WIDER: &str = "cast an operand to a wider type: DECIMAL(38, 0) is exact, DOUBLE is not";

fn failed(message: String) -> Error {
    Error::new(Code::QueryFailed, message)
}

/// DataFusion's text without its own prefixes, backtraces and advice.
fn clean(message: &str) -> String {
    let message = message.split("\n\nbacktrace:").next().unwrap_or(message);
    let message = message.split(".\nThis issue was likely caused by a bug").next().unwrap_or(message);
    message.trim().trim_start_matches("Error during planning: ").to_string()
}

//! What was found, and what is to be done about it? One line a finding, or rows for programs.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};

use crate::cli::args::OutputFormat;
use crate::cli::sql::Printer;
use crate::cli::terminal;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    Warn,
    Fail,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) status: Status,
    pub(super) detail: String,
    /// What to do; of each warning and failure.
    pub(super) action: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, detail: detail.into(), action: None }
    }

    pub(super) fn warn(check: &'static str, detail: impl Into<String>, action: impl Into<String>) -> Self {
        Self { check, status: Status::Warn, detail: detail.into(), action: Some(action.into()) }
    }

    pub(super) fn fail(check: &'static str, detail: impl Into<String>, action: impl Into<String>) -> Self {
        Self { check, status: Status::Fail, detail: detail.into(), action: Some(action.into()) }
    }

    pub(super) fn is_failure(&self) -> bool {
        self.status == Status::Fail
    }
}

pub(super) fn print(findings: &[Finding], format: Option<OutputFormat>) -> anyhow::Result<()> {
    match format {
        None => terminal::print(&lines(findings)),
        Some(_) => {
            let rows = rows(findings)?;
            let mut printer = Printer::new(format);
            printer.begin(&rows.schema())?;
            printer.batch(rows)?;
            printer.end()
        }
    }
}

pub(super) fn lines(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { check, status, detail, action } in findings {
        text += &format!("{:5} {check}: {}\n", status.name(), one_line(detail));
        if let Some(action) = action {
            text += &format!("      -> {}\n", one_line(action));
        }
    }
    text
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

fn rows(findings: &[Finding]) -> anyhow::Result<RecordBatch> {
    let column = |text: fn(&Finding) -> Option<&str>| -> ArrayRef {
        Arc::new(findings.iter().map(text).collect::<StringArray>())
    };
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("check", column(|finding| Some(finding.check)), false),
        ("status", column(|finding| Some(finding.status.name())), false),
        ("detail", column(|finding| Some(finding.detail.as_str())), false),
        ("action", column(|finding| finding.action.as_deref()), true),
    ])?)
}

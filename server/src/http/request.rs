//! What does a request to `/api/v1/sql` ask for? Statement, parameters, settings, and the form of the answer.

use std::time::Duration;

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use tidewater_query::{Parameters, RunOptions};

use super::params::Params;
use super::problem::Problem;
use crate::query_api::freshness;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerFormat {
    Json,
    Csv,
    Arrow,
}

impl AnswerFormat {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            AnswerFormat::Json => "application/json",
            AnswerFormat::Csv => "text/csv; charset=utf-8; header=present",
            AnswerFormat::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "json" => Some(AnswerFormat::Json),
            "csv" => Some(AnswerFormat::Csv),
            "arrow" => Some(AnswerFormat::Arrow),
            _ => None,
        }
    }

    /// The first known type of an `Accept` header; JSON without one. `None` if nothing that is asked for can be had.
    pub(super) fn accepted(accept: Option<&str>) -> Option<Self> {
        let Some(accept) = accept else { return Some(AnswerFormat::Json) };
        accept.split(',').find_map(|part| {
            let (media_type, parameters) = part.split_once(';').unwrap_or((part, ""));
            // A quality of zero means "not this".
            if parameters.split(';').any(|p| matches!(p.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")) {
                return None;
            }
            match media_type.trim() {
                "application/json" | "application/*" | "*/*" => Some(AnswerFormat::Json),
                "text/csv" | "text/*" => Some(AnswerFormat::Csv),
                "application/vnd.apache.arrow.stream" => Some(AnswerFormat::Arrow),
                _ => None,
            }
        })
    }
}

/// A parsed request.
#[derive(Debug)]
pub(super) struct SqlRequest {
    pub(super) sql: String,
    pub(super) parameters: Option<Parameters>,
    /// As for SET: name and value.
    pub(super) settings: Vec<(String, String)>,
    pub(super) format: Option<AnswerFormat>,
    pub(super) options: RunOptions,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    sql: String,
    #[serde(default)]
    params: Params,
    #[serde(default)]
    settings: Map<String, Value>,
    format: Option<String>,
    query_id: Option<String>,
    #[serde(default)]
    min_commit: Vec<String>,
    timeout_ms: Option<u64>,
}

/// Reads a body of `content_type`: a JSON object, or the bare statement as text.
pub(super) fn parse(content_type: Option<&str>, body: &[u8]) -> Result<SqlRequest, Problem> {
    let media_type = content_type.unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match media_type.as_str() {
        "application/json" => parse_json(body),
        "text/plain" | "application/sql" => {
            let sql = std::str::from_utf8(body).map_err(|_| bad("the statement is not UTF-8 text"))?;
            Ok(SqlRequest {
                sql: sql.to_owned(),
                parameters: None,
                settings: Vec::new(),
                format: None,
                options: RunOptions::default(),
            })
        }
        "" => Err(unsupported("the request has no Content-Type".to_owned())),
        other => Err(unsupported(format!("the Content-Type '{other}' cannot be read"))),
    }
}

fn bad(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, message)
}

fn unsupported(message: String) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
        .hint("send a JSON object as application/json, or the statement itself as text/plain or application/sql")
}

fn parse_json(body: &[u8]) -> Result<SqlRequest, Problem> {
    let body: Body = serde_json::from_slice(body).map_err(|reason| {
        bad(format!("the request is not as expected: {reason}"))
            .hint("send {\"sql\": \"…\", \"params\": […], \"settings\": {…}, \"format\": \"json\"}; all but sql may be left out")
    })?;
    let format = body
        .format
        .map(|name| {
            AnswerFormat::named(&name)
                .ok_or_else(|| bad(format!("'{name}' is not a format")).hint("use json, csv or arrow"))
        })
        .transpose()?;
    let settings = body.settings.into_iter().map(setting).collect::<Result<_, _>>()?;
    let min_commit = body.min_commit.iter().map(|text| freshness::token_of(text)).collect::<Result<_, _>>()?;
    Ok(SqlRequest {
        sql: body.sql,
        parameters: body.params.into_row()?,
        settings,
        format,
        options: RunOptions {
            query_id: body.query_id,
            min_commit,
            timeout: body.timeout_ms.map(Duration::from_millis),
            ..RunOptions::default()
        },
    })
}

fn setting((name, value): (String, Value)) -> Result<(String, String), Problem> {
    let value = match value {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => return Err(bad(format!("the value of the setting '{name}' is neither a text nor a number"))),
    };
    Ok((name, value))
}

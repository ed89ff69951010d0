//! What does a request ask for? Its address, query parameters and headers, each of them known or refused.

use std::collections::HashMap;

use axum::extract::Query;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use tidewater_proto::ingest::v1::{
    BatchOptions, Durability, OnRowError, Producer, SchemaPolicy, TableRef, WriteRequest,
};
use tidewater_storage::catalog::nearest;
use tidewater_storage::limits::MAX_IDEMPOTENCY_KEY_BYTES;
use tidewater_storage::{Code, Error, IdempotencyKey, StageOptions};

use super::coding::Coding;
use crate::http::Problem;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One object a line.
    Ndjson,
    /// An array of objects, or one object.
    Json,
    Csv,
    Parquet,
    /// A stream of Arrow IPC.
    Arrow,
}

/// How CSV is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CsvForm {
    pub delimiter: u8,
    /// The text of NULL; an empty field is an empty text then, not NULL.
    pub null: Option<String>,
}

/// A request, checked.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub format: Format,
    pub coding: Coding,
    pub csv: CsvForm,
    /// One bad row refuses all of them.
    pub aborts: bool,
    pub dry_run: bool,
    /// The same in the words of the protocol, without rows.
    pub request: WriteRequest,
}

/// What may stand behind the question mark.
const PARAMETERS: [&str; 12] = [
    "format",
    "delimiter",
    "null",
    "on_error",
    "producer",
    "epoch",
    "sequence",
    "time_zone",
    "expected_schema",
    "ignore_unknown_columns",
    "durability",
    "dry_run",
];

impl Options {
    pub fn read(table: &str, uri: &Uri, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut given = Given::read(uri, &PARAMETERS)?;
        let media_type = text(headers, &CONTENT_TYPE)?.unwrap_or_default().to_ascii_lowercase();
        let format = match given.take("format") {
            Some(name) => Format::named(&name)?,
            None => Format::of(&media_type)?,
        };
        let csv = csv_form(&mut given, format, &media_type)?;
        let options = BatchOptions {
            on_row_error: given.one_of("on_error", &[("keep", OnRowError::Keep), ("abort", OnRowError::Abort)])?.into(),
            durability: given.one_of("durability", &[("os", Durability::Os), ("fsync", Durability::Fsync)])?.into(),
            time_zone: given.take("time_zone").unwrap_or_default(),
            expected_schema_version: given.number("expected_schema")?.unwrap_or_default(),
            schema_policy: match given.flag("ignore_unknown_columns")? {
                true => SchemaPolicy::IgnoreUnknownColumns.into(),
                false => SchemaPolicy::Strict.into(),
            },
        };
        let dry_run = given.flag("dry_run")?;
        let (producer, sequence) = producer(&mut given)?;
        let key = text(headers, &IDEMPOTENCY_KEY)?;
        check_key(key, producer.is_some())?;
        Ok(Self {
            format,
            coding: Coding::of(text(headers, &CONTENT_ENCODING)?)?,
            csv,
            aborts: options.on_row_error == i32::from(OnRowError::Abort),
            dry_run,
            request: WriteRequest {
                table: Some(table_ref(table)?),
                producer,
                sequence,
                idempotency_key: key.unwrap_or_default().to_owned(),
                options: Some(options),
                ..WriteRequest::default()
            },
        })
    }

    /// The same for rows that are too many for one batch.
    pub fn stage_options(&self, principal: &str) -> StageOptions {
        let options = self.request.options.clone().unwrap_or_default();
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        StageOptions {
            principal: principal.to_owned(),
            idempotency_key: given(&self.request.idempotency_key).map(IdempotencyKey),
            time_zone: given(&options.time_zone),
            expected_schema: Some(options.expected_schema_version).filter(|version| *version != 0),
            ignore_unknown_columns: self.ignores_unknown_columns(),
        }
    }

    pub fn ignores_unknown_columns(&self) -> bool {
        let options = self.request.options.as_ref();
        options.is_some_and(|options| options.schema_policy == i32::from(SchemaPolicy::IgnoreUnknownColumns))
    }
}

impl Format {
    fn named(name: &str) -> Result<Self, Problem> {
        match name {
            "ndjson" | "jsonl" => Ok(Format::Ndjson),
            "json" => Ok(Format::Json),
            "csv" => Ok(Format::Csv),
            "parquet" => Ok(Format::Parquet),
            "arrow" => Ok(Format::Arrow),
            _ => {
                Err(bad(format!("format={} is not known", shown(name))).hint("use ndjson, json, csv, parquet or arrow"))
            }
        }
    }

    /// Of a Content-Type in lower case.
    fn of(content_type: &str) -> Result<Self, Problem> {
        let (media_type, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let charset = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("charset="));
        if charset.is_some_and(|charset| !matches!(charset.trim_matches('"'), "utf-8" | "utf8" | "us-ascii")) {
            return Err(unsupported("the text is not UTF-8".to_owned()).hint("send UTF-8"));
        }
        match media_type.trim() {
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
                Ok(Format::Ndjson)
            }
            "application/json" => Ok(Format::Json),
            "text/csv" | TAB_SEPARATED => Ok(Format::Csv),
            "application/vnd.apache.parquet" | "application/x-parquet" => Ok(Format::Parquet),
            "application/vnd.apache.arrow.stream" => Ok(Format::Arrow),
            other => {
                let what = match other {
                    "" => "the request has no Content-Type".to_owned(),
                    other => format!("the Content-Type '{}' cannot be read", shown(other)),
                };
                Err(unsupported(what).hint(
                    "send application/x-ndjson, application/json, text/csv, application/vnd.apache.parquet or \
                     application/vnd.apache.arrow.stream, or say ?format=",
                ))
            }
        }
    }
}

const TAB_SEPARATED: &str = "text/tab-separated-values";

fn csv_form(given: &mut Given, format: Format, media_type: &str) -> Result<CsvForm, Problem> {
    let (delimiter, null) = (given.take("delimiter"), given.take("null"));
    if format != Format::Csv && (delimiter.is_some() || null.is_some()) {
        return Err(bad("delimiter and null are for CSV only").hint("leave them out, or send text/csv"));
    }
    let delimiter = match delimiter.as_deref() {
        None if media_type.starts_with(TAB_SEPARATED) => b'\t',
        None => b',',
        Some(text) => crate::formats::csv::delimiter(text).ok_or_else(|| {
            bad(format!("the delimiter '{}' is not one character", shown(text)))
                .hint("use a character such as ; or %09, or the word tab")
        })?,
    };
    Ok(CsvForm { delimiter, null })
}

fn producer(given: &mut Given) -> Result<(Option<Producer>, u64), Problem> {
    let (id, epoch, sequence) = (given.take("producer"), given.number("epoch")?, given.number("sequence")?);
    match (id, sequence) {
        (Some(id), Some(sequence)) => {
            Ok((Some(Producer { id, epoch: epoch.unwrap_or_default(), ..Producer::default() }), sequence))
        }
        (Some(_), None) => Err(bad("a producer without a sequence").hint("number its requests with sequence=1, 2, …")),
        (None, None) if epoch.is_none() => Ok((None, 0)),
        (None, _) => Err(bad("sequence or epoch without a producer").hint("name it with producer=")),
    }
}

fn check_key(key: Option<&str>, has_producer: bool) -> Result<(), Problem> {
    let invalid = |message: String| Err(Error::new(Code::InvalidIdempotencyKey, message).into());
    match key {
        None => Ok(()),
        Some(_) if has_producer => invalid("the request names a producer and an Idempotency-Key".to_owned()),
        Some(key) if key.is_empty() || key.len() > MAX_IDEMPOTENCY_KEY_BYTES => invalid(format!(
            "the Idempotency-Key has {} bytes; it may have 1 to {MAX_IDEMPOTENCY_KEY_BYTES}",
            key.len()
        )),
        Some(_) => Ok(()),
    }
}

/// Query parameters, each at most once.
pub(super) struct Given(HashMap<String, String>);

impl Given {
    pub fn read(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|reason| bad(format!("the query parameters cannot be read: {}", reason.body_text())))?;
        let mut given = HashMap::new();
        for (name, value) in pairs {
            if !known.contains(&name.as_str()) {
                let hint = match nearest(&name, known.iter().copied(), 1).first() {
                    Some(near) => format!("did you mean '{near}'?"),
                    None => format!("the parameters are {}", known.join(", ")),
                };
                return Err(bad(format!("the query parameter '{}' is not known", shown(&name))).hint(hint));
            }
            if given.insert(name.clone(), value).is_some() {
                return Err(bad(format!("the query parameter '{name}' stands twice")));
            }
        }
        Ok(Self(given))
    }

    pub fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn number<N: std::str::FromStr>(&mut self, name: &str) -> Result<Option<N>, Problem> {
        let Some(text) = self.take(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| bad(format!("{name}='{}' is not a number in its range", shown(&text))))
    }

    pub fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.take(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(bad(format!("{name}='{}' is neither true nor false", shown(other)))),
        }
    }

    /// One of a few words; without it what the protocol has for that.
    fn one_of<V: Copy + Default>(&mut self, name: &str, values: &[(&str, V)]) -> Result<V, Problem> {
        let Some(text) = self.take(name) else { return Ok(V::default()) };
        let found = values.iter().find(|(known, _)| *known == text).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let known: Vec<&str> = values.iter().map(|(known, _)| *known).collect();
            bad(format!("{name}='{}' is not known", shown(&text))).hint(format!("use {}", known.join(" or ")))
        })
    }
}

/// `table`, `schema.table` or `catalog.schema.table`; a name with a point in it stands in double quotes.
pub(super) fn table_ref(name: &str) -> Result<TableRef, Problem> {
    let mut parts = vec![String::new()];
    let (mut chars, mut is_quoted) = (name.chars().peekable(), false);
    while let Some(c) = chars.next() {
        match c {
            '"' if is_quoted && chars.next_if_eq(&'"').is_some() => push(&mut parts, '"'),
            '"' => is_quoted = !is_quoted,
            '.' if !is_quoted => parts.push(String::new()),
            c => push(&mut parts, c),
        }
    }
    let (catalog, schema, table) = match parts.as_slice() {
        [table] => ("", "", table.as_str()),
        [schema, table] => ("", schema.as_str(), table.as_str()),
        [catalog, schema, table] => (catalog.as_str(), schema.as_str(), table.as_str()),
        _ => ("", "", ""),
    };
    if is_quoted || table.is_empty() {
        return Err(Error::new(Code::InvalidName, format!("'{}' is not the name of a table", shown(name)))
            .hint("write table or schema.table")
            .into());
    }
    Ok(TableRef { catalog: catalog.to_owned(), schema: schema.to_owned(), table: table.to_owned() })
}

fn push(parts: &mut [String], c: char) {
    if let Some(last) = parts.last_mut() {
        last.push(c);
    }
}

/// A header, if it is there.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(bad(format!("the header {name} stands twice")));
    }
    first.map(|value| value.to_str().map_err(|_| bad(format!("the header {name} is not text")))).transpose()
}

pub(super) fn bad(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, message)
}

pub(super) fn unsupported(message: String) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
}

/// As much of a client's text as an error repeats.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

//! How fresh is an answer, and how fresh must it be? Commit tokens and watermarks in headers, in JSON and in the words of the protocol.
//!
//! Headers: a caller names in [`MIN_COMMIT`] the commits that a statement must see; answers name in [`COMMIT_TOKEN`] those that it saw,
//! in the same form, and in [`WATERMARK`] how far its tables had come.

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Value, json};
use tidewater_proto::query::v1 as pb;
use tidewater_query::{RunSummary, TableFreshness};
use tidewater_storage::ids::CommitToken;
use tidewater_storage::{Code, Error, Result};
use tonic::metadata::MetadataMap;

/// Of a request: tokens, separated by commas.
pub(crate) const MIN_COMMIT: &str = "x-tidewater-min-commit";
/// Of an answer: the tokens of the tables that were read, or that of the change.
pub(crate) const COMMIT_TOKEN: &str = "x-tidewater-commit-token";
/// Of an answer: the smallest watermark of the tables that have one, in RFC 3339.
pub(crate) const WATERMARK: &str = "x-tidewater-watermark";
/// Trailers of an answer: the rows that were read from each part of the tables.
const ROWS_REALTIME: &str = "x-tidewater-rows-realtime";
const ROWS_BUILT: &str = "x-tidewater-rows-built";
const ROWS_SEALED: &str = "x-tidewater-rows-sealed";

/// Tokens that a request may name: one a table is enough.
const MAX_TOKENS: usize = 100;

/// Tokens of more tables stand in no header: proxies refuse those that are too large. Their place is where the body tells of each table.
const MAX_HEADER_TOKENS: usize = 32;

const PADDED_OR_NOT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, PADDED_OR_NOT);

/// A token as text: Base64.
pub(crate) fn token_text(token: &CommitToken) -> String {
    BASE64.encode(token.encode())
}

/// Reads what [`token_text`] wrote; the alphabet of URLs is taken, too, and so are tokens without padding. `INVALID_COMMIT_TOKEN`.
pub(crate) fn token_of(text: &str) -> Result<CommitToken> {
    let bytes = BASE64.decode(text.replace('-', "+").replace('_', "/"));
    let bytes = bytes.map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        Error::new(Code::InvalidCommitToken, format!("'{shown}' is not a commit token in Base64"))
            .hint("pass the text of a commit token exactly as the server returned it")
    })?;
    CommitToken::decode(&bytes)
}

/// The commits that a caller wants to see at least, from the values of [`MIN_COMMIT`]. `INVALID_COMMIT_TOKEN`.
pub(crate) fn min_commit<'a>(values: impl Iterator<Item = &'a str>) -> Result<Vec<CommitToken>> {
    let texts = values.flat_map(|value| value.split(',')).map(str::trim).filter(|text| !text.is_empty());
    let tokens = texts.take(MAX_TOKENS + 1).map(token_of).collect::<Result<Vec<_>>>()?;
    if tokens.len() > MAX_TOKENS {
        return Err(Error::new(Code::InvalidRequest, format!("{MIN_COMMIT} names more than {MAX_TOKENS} tokens"))
            .hint("name one token a table: the latest"));
    }
    Ok(tokens)
}

/// [`min_commit`] of a call. What is no text is no token.
pub(crate) fn min_commit_of(metadata: &MetadataMap) -> Result<Vec<CommitToken>> {
    let headers: &HeaderMap = metadata.as_ref();
    min_commit(headers.get_all(MIN_COMMIT).iter().map(|value| value.to_str().unwrap_or("?")))
}

/// A query that was planned sees what its tables were then. `NOT_YET_VISIBLE` if a token of `wanted` stands behind that.
pub(crate) fn check_covers(tables: &[TableFreshness], wanted: &[CommitToken]) -> Result<()> {
    let is_behind = |wanted: &CommitToken| {
        tables.iter().any(|TableFreshness { token, .. }| {
            (token.table, token.shard, token.log) == (wanted.table, wanted.shard, wanted.log) && token.seq < wanted.seq
        })
    };
    match wanted.iter().any(is_behind) {
        false => Ok(()),
        true => Err(Error::new(Code::NotYetVisible, format!("the query was planned before a commit of {MIN_COMMIT}"))
            .hint("send the header with GetFlightInfo: a result shows the tables as they were then")),
    }
}

/// The table whose watermark is the smallest.
fn earliest(tables: &[TableFreshness]) -> Option<&TableFreshness> {
    tables.iter().filter(|table| table.watermark_us.is_some()).min_by_key(|table| table.watermark_us)
}

/// Adds what is known of tables to the headers of an answer.
pub(crate) fn add_headers(headers: &mut HeaderMap, tables: &[TableFreshness]) {
    if !tables.is_empty() && tables.len() <= MAX_HEADER_TOKENS {
        let tokens: Vec<String> = tables.iter().map(|table| token_text(&table.token)).collect();
        add(headers, COMMIT_TOKEN, &tokens.join(","));
    }
    if let Some(watermark) = earliest(tables).and_then(TableFreshness::watermark) {
        add(headers, WATERMARK, &watermark);
    }
}

/// Adds the token of a change to the headers of its answer.
pub(crate) fn add_token(headers: &mut HeaderMap, token: Option<&CommitToken>) {
    if let Some(token) = token {
        add(headers, COMMIT_TOKEN, &token_text(token));
    }
}

/// What follows the rows of a query that has ended.
pub(crate) fn trailers(summary: &RunSummary) -> MetadataMap {
    let mut headers = HeaderMap::new();
    add_headers(&mut headers, &summary.tables);
    let rows = Rows::of(summary);
    for (name, rows) in [(ROWS_REALTIME, rows.realtime), (ROWS_BUILT, rows.built), (ROWS_SEALED, rows.sealed)] {
        add(&mut headers, name, &rows.to_string());
    }
    MetadataMap::from_headers(headers)
}

fn add(headers: &mut HeaderMap, name: &'static str, value: &str) {
    // Base64, digits and times are values of headers.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The rows that a query read, by where they were.
struct Rows {
    realtime: u64,
    built: u64,
    sealed: u64,
}

impl Rows {
    fn of(summary: &RunSummary) -> Self {
        Self {
            realtime: summary.rows_read_realtime,
            built: summary.rows_read_built,
            sealed: summary.rows_read_sealed.saturating_sub(summary.rows_read_built),
        }
    }
}

/// What a planned query sees, as JSON.
pub(crate) fn planned_json(query_id: &str, tables: &[TableFreshness]) -> Value {
    json!({ "query_id": query_id, "tables": tables_json(tables) })
}

/// What a query saw that has ended, as JSON.
pub(crate) fn ended_json(query_id: &str, summary: &RunSummary) -> Value {
    let Rows { realtime, built, sealed } = Rows::of(summary);
    json!({
        "query_id": query_id,
        "tables": tables_json(&summary.tables),
        "rows_read": { "realtime": realtime, "built": built, "sealed": sealed },
    })
}

/// Each table with its token and its watermark.
pub(crate) fn tables_json(tables: &[TableFreshness]) -> Value {
    let table = |table: &TableFreshness| {
        json!({
            "schema": table.schema,
            "name": table.name,
            "commit_token": token_text(&table.token),
            "watermark": table.watermark(),
        })
    };
    tables.iter().map(table).collect()
}

/// The same in the words of the protocol.
pub(crate) fn tables_message(tables: &[TableFreshness]) -> Vec<pb::TableFreshness> {
    let table = |table: &TableFreshness| pb::TableFreshness {
        schema: table.schema.clone(),
        name: table.name.clone(),
        commit_token: table.token.encode().into(),
        watermark: table.watermark_us.map(timestamp),
    };
    tables.iter().map(table).collect()
}

/// Microseconds since 1970 in the words of the protocol.
pub(super) fn timestamp(us: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: us.div_euclid(1_000_000), nanos: us.rem_euclid(1_000_000) as i32 * 1_000 }
}

#[cfg(test)]
mod tests;

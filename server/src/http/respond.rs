//! How does an answer leave? Streamed; what breaks after its beginning breaks the connection, never a shorter answer.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::json;
use tidewater_query::{QueryStream, UpdateOutcome};
use tidewater_storage::{Error, Result};

use super::encode::{ArrowEncoder, CsvEncoder, JsonEncoder};
use super::problem::Problem;
use super::request::AnswerFormat;
use crate::auth::RunningQuery;
use crate::flight_sql::encode::encoded_bytes;
use crate::query_api::freshness::{self, token_text};

/// What one chunk of rows aims at, before it is text: it is in memory as a whole.
const PIECE_BYTES: usize = 1 << 20;

/// Less than this is put into text at once.
const INLINE_BYTES: usize = 32 << 10;

/// The answer to DDL and DML: JSON, whatever form was asked for.
pub(super) fn update(query_id: &str, outcome: &UpdateOutcome) -> Result<Response, Problem> {
    let body = json!({
        "query_id": query_id,
        "affected_rows": outcome.affected,
        "notices": outcome.notices,
        "commit_token": outcome.token.as_ref().map(token_text),
    });
    let mut response = response(query_id, AnswerFormat::Json, Body::from(format!("{body}\n")))?;
    freshness::add_token(response.headers_mut(), outcome.token.as_ref());
    Ok(response)
}

/// The answer to a query. Its first rows are awaited, so that what fails at once has its own status. It is `running` until it was read, or
/// nobody reads it.
pub(super) async fn rows(
    mut stream: QueryStream,
    format: AnswerFormat,
    running: RunningQuery,
) -> Result<Response, Problem> {
    let query_id = stream.query_id().to_owned();
    let tables = stream.summary().tables;
    let mut encoder = Encoder::new(format, &stream)?;
    let ready = Some(encoder.begin(&query_id)?);
    let first = stream.next().await.transpose()?;
    let ended = first.is_none();
    let rows = first.map_or_else(VecDeque::new, pieces);
    let answer = Answer { stream, encoder: Some(encoder), ready, rows, ended, finished: false, _running: running };
    let chunks = futures::stream::try_unfold(answer, |mut answer| async move {
        Ok::<_, Error>(answer.next().await?.map(|chunk| (chunk, answer)))
    });
    let mut response = response(&query_id, format, Body::from_stream(chunks))?;
    freshness::add_headers(response.headers_mut(), &tables);
    Ok(response)
}

fn response(query_id: &str, format: AnswerFormat, body: Body) -> Result<Response, Problem> {
    Response::builder()
        .header(CONTENT_TYPE, format.content_type())
        .header(CACHE_CONTROL, "no-store")
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header("x-query-id", query_id)
        .body(body)
        .map_err(|reason| Error::internal(format!("the answer has a bad header: {reason}")).into())
}

/// A query that is being answered. Dropping it, as happens when the client goes, cancels the query.
struct Answer {
    stream: QueryStream,
    /// `None` while it is at work elsewhere.
    encoder: Option<Encoder>,
    /// A chunk that is made but not sent.
    ready: Option<Bytes>,
    /// Rows that have no form yet.
    rows: VecDeque<RecordBatch>,
    /// The stream has no more rows.
    ended: bool,
    /// The last chunk was made.
    finished: bool,
    _running: RunningQuery,
}

impl Answer {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(chunk) = self.ready.take().filter(|chunk| !chunk.is_empty()) {
                return Ok(Some(chunk));
            }
            if let Some(rows) = self.rows.pop_front() {
                self.ready = Some(self.encode(rows).await?);
                continue;
            }
            if self.finished {
                return Ok(None);
            }
            if self.ended {
                self.finished = true;
                let encoder = self.encoder.as_mut().ok_or_else(lost)?;
                self.ready = Some(encoder.end(&self.stream)?);
                continue;
            }
            match self.stream.next().await.transpose() {
                Ok(Some(batch)) => self.rows = pieces(batch),
                Ok(None) => self.ended = true,
                Err(error) => {
                    // The client has its status already: only the log can tell what it was.
                    tracing::info!(query_id = self.stream.query_id(), code = %error.code(), "an answer broke off");
                    crate::status::log(&error);
                    return Err(error);
                }
            }
        }
    }

    /// Text takes ten times as long as a copy: what is more than a little is not made on the threads of the network.
    async fn encode(&mut self, rows: RecordBatch) -> Result<Bytes> {
        if encoded_bytes(&rows) < INLINE_BYTES {
            return self.encoder.as_mut().ok_or_else(lost)?.batch(&rows);
        }
        let mut encoder = self.encoder.take().ok_or_else(lost)?;
        let work = move || {
            let chunk = encoder.batch(&rows);
            (encoder, chunk)
        };
        let (encoder, chunk) = self.stream.threads().run(work).await?;
        self.encoder = Some(encoder);
        chunk
    }
}

fn lost() -> Error {
    Error::internal("the encoder of an answer was lost")
}

/// Rows in parts that become chunks of about [`PIECE_BYTES`].
fn pieces(batch: RecordBatch) -> VecDeque<RecordBatch> {
    let n_rows = batch.num_rows();
    let step = n_rows.div_ceil(encoded_bytes(&batch).div_ceil(PIECE_BYTES).max(1)).max(1);
    (0..n_rows).step_by(step).map(|start| batch.slice(start, step.min(n_rows - start))).collect()
}

enum Encoder {
    Json(JsonEncoder),
    Csv(CsvEncoder),
    Arrow(Box<ArrowEncoder>),
}

impl Encoder {
    fn new(format: AnswerFormat, stream: &QueryStream) -> Result<Self> {
        let schema = stream.schema();
        Ok(match format {
            AnswerFormat::Json => Self::Json(JsonEncoder::new(schema)),
            AnswerFormat::Csv => Self::Csv(CsvEncoder::new(schema)),
            AnswerFormat::Arrow => Self::Arrow(Box::new(ArrowEncoder::new(&schema)?)),
        })
    }

    fn begin(&mut self, query_id: &str) -> Result<Bytes> {
        match self {
            Self::Json(json) => json.begin(query_id),
            Self::Csv(csv) => csv.header(),
            Self::Arrow(arrow) => Ok(arrow.take()),
        }
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<Bytes> {
        match self {
            Self::Json(json) => json.batch(batch),
            Self::Csv(csv) => csv.batch(batch),
            Self::Arrow(arrow) => arrow.batch(batch),
        }
    }

    fn end(&mut self, stream: &QueryStream) -> Result<Bytes> {
        match self {
            Self::Json(json) => {
                let summary = stream.summary();
                let tokens: Vec<String> = summary.tables.iter().map(|table| token_text(&table.token)).collect();
                Ok(json.end(&json!({
                    "rows_read_realtime": summary.rows_read_realtime,
                    "rows_read_built": summary.rows_read_built,
                    "rows_read_sealed": summary.rows_read_sealed,
                    "planned_ms": summary.planned_ms,
                    "ran_ms": summary.ran_ms,
                    "commit_tokens": tokens,
                    "tables": freshness::tables_json(&summary.tables),
                })))
            }
            Self::Csv(_) => Ok(Bytes::new()),
            Self::Arrow(arrow) => arrow.end(),
        }
    }
}

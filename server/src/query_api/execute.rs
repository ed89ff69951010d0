//! How does an answer reach the client? Started, the rows, Summary; the deadline holds from the first to the last.

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::FlightData;
use bytes::{BufMut, Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, StreamExt};
use std::sync::Arc;
use tidewater_proto::query::v1::query_response::Msg;
use tidewater_proto::query::v1::{Format, OverflowMode, QueryRequest, QueryResponse, Started, Summary};
use tidewater_query::{PendingQuery, PlannedKind, QueryEngine, QueryStream, RunOptions, Session};
use tidewater_storage::ids::CommitToken;
use tidewater_storage::{Code, Error, Result};
use tokio::time::Instant;
use tonic::Status;

use super::freshness::tables_message;
use super::progress::{Reports, or_report};
use super::{answer, params};
use crate::auth::RunningQuery;
use crate::call::bounded;
use crate::flight_sql::encode::{Encoder, MAX_MESSAGE_BYTES, TARGET_BYTES};
use crate::http::encode::write_objects;
use crate::ingest::schema_message;
use crate::status::to_status;

/// Rows that become one JSON message at most; their text is what counts, this bounds the work between two looks.
const JSON_ROWS: usize = 1024;

/// The header of an encapsulated message is padded to this.
const ALIGNMENT: usize = 64;

const CONTINUATION: [u8; 4] = [0xff; 4];

/// An answer that has begun: its statement is planned (or was run).
pub(super) struct Answer {
    deadline: Option<Instant>,
    step: Step,
    rows: Rows,
    /// Of a query, if its caller asks for them.
    reports: Option<Reports>,
    _running: RunningQuery,
}

enum Step {
    Started(Started, Next),
    /// It waits for its turn.
    Starting(BoxFuture<'static, Result<QueryStream>>),
    Running(QueryStream),
    /// No row comes any more.
    Ending(Summary),
    Ended,
}

/// What follows Started.
enum Next {
    Rows(PendingQuery),
    Nothing(Summary),
}

/// Plans a statement, or runs it if it returns no rows. It is `running` until its answer was read, or nobody reads it.
pub(super) async fn start(
    engine: &QueryEngine,
    session: &Session,
    request: QueryRequest,
    deadline: Option<Instant>,
    running: RunningQuery,
) -> Result<Answer> {
    let format = match Format::try_from(request.format) {
        Ok(Format::Unspecified | Format::ArrowIpc) => Format::ArrowIpc,
        Ok(Format::JsonRows) => Format::JsonRows,
        Err(_) => return Err(unknown_value("format", request.format)),
    };
    let cap = cap(engine, session, &request)?;
    let parameters = request.params.map(params::parameters).transpose()?;
    let options = RunOptions {
        query_id: Some(request.query_id).filter(|id| !id.is_empty()),
        min_commit: request.min_commit.iter().map(|token| CommitToken::decode(token)).collect::<Result<_>>()?,
        timeout: deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())),
        ..RunOptions::default()
    };
    let planned = bounded(deadline, engine.plan(session, &request.sql, parameters, options)).await?;
    let mut started = Started { query_id: planned.query_id, ..Started::default() };
    let mut reports = None;
    let (schema, next) = match planned.kind {
        PlannedKind::Rows { schema, pending } => {
            let watch = pending.watch();
            started.tables = tables_message(&watch.summary().tables);
            reports = request.progress.then(|| Reports::new(watch));
            (schema, Next::Rows(pending))
        }
        PlannedKind::Update(outcome) => {
            started.is_update = true;
            (Arc::new(Schema::empty()), Next::Nothing(answer::of_update(outcome)))
        }
    };
    started.arrow_schema = schema_message(&schema)?.into();
    let rows = Rows::new(schema, format, cap);
    Ok(Answer { deadline, step: Step::Started(started, next), rows, reports, _running: running })
}

/// After how many rows an answer is cut, if the request asks for that. A cap that is an error is the session's.
fn cap(engine: &QueryEngine, session: &Session, request: &QueryRequest) -> Result<Option<u64>> {
    let truncate = match OverflowMode::try_from(request.overflow_mode) {
        Ok(OverflowMode::Unspecified | OverflowMode::Error) => false,
        Ok(OverflowMode::Truncate) => true,
        Err(_) => return Err(unknown_value("overflow mode", request.overflow_mode)),
    };
    match (request.max_rows, truncate) {
        (0, false) => Ok(None),
        (0, true) => Err(Error::new(Code::InvalidRequest, "overflow mode TRUNCATE without max_rows")
            .hint("say after how many rows the answer may end")),
        (max_rows, true) => Ok(Some(max_rows)),
        (max_rows, false) => {
            engine.set(session, "max_rows", Some(&max_rows.to_string()))?;
            Ok(None)
        }
    }
}

fn unknown_value(what: &str, value: i32) -> Error {
    Error::new(Code::UnsupportedRequest, format!("{what} {value} is not known here"))
        .hint("the client may be newer than the server")
}

impl Answer {
    /// The messages. Dropping the stream cancels the query; an error ends it without Summary.
    pub fn into_stream(self) -> BoxStream<'static, Result<QueryResponse, Status>> {
        stream::try_unfold(self, |mut answer| async move {
            match answer.next().await {
                Ok(Some(msg)) => Ok(Some((QueryResponse { msg: Some(msg) }, answer))),
                Ok(None) => Ok(None),
                Err(error) => Err(to_status(&error)),
            }
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Msg>> {
        loop {
            let is_at_work = matches!(self.step, Step::Starting(_) | Step::Running(_));
            if let Some(progress) = self.reports.as_mut().filter(|_| is_at_work).and_then(Reports::next) {
                return Ok(Some(Msg::Progress(progress)));
            }
            if let Some(message) = self.rows.next()? {
                return Ok(Some(message));
            }
            match std::mem::replace(&mut self.step, Step::Ended) {
                Step::Started(started, next) => {
                    self.step = match next {
                        Next::Rows(pending) => Step::Starting(pending.start().boxed()),
                        Next::Nothing(summary) => Step::Ending(summary),
                    };
                    return Ok(Some(Msg::Started(started)));
                }
                Step::Starting(mut starting) => {
                    let started = or_report(self.deadline, self.reports.as_ref(), &mut starting).await?;
                    self.step = started.map_or_else(|| Step::Starting(starting), Step::Running);
                }
                Step::Running(mut running) => {
                    let batch = async { running.next().await.transpose() };
                    let Some(batch) = or_report(self.deadline, self.reports.as_ref(), batch).await? else {
                        self.step = Step::Running(running);
                        continue;
                    };
                    let more = match batch {
                        Some(batch) => self.rows.push(batch)?,
                        None => false,
                    };
                    self.step = match more {
                        true => Step::Running(running),
                        false => {
                            let summary = running.summary();
                            Step::Ending(answer::of_query(summary, self.rows.taken, self.rows.truncated))
                        }
                    };
                }
                Step::Ending(summary) => return Ok(Some(Msg::Summary(summary))),
                Step::Ended => return Ok(None),
            }
        }
    }
}

/// Rows on their way into messages.
struct Rows {
    writer: Writer,
    cap: Option<u64>,
    /// Rows that were taken from the query.
    taken: u64,
    truncated: bool,
}

enum Writer {
    Arrow(Box<Encoder>),
    /// What is not written yet, from this row on.
    Json(Option<(RecordBatch, usize)>),
}

impl Rows {
    fn new(schema: SchemaRef, format: Format, cap: Option<u64>) -> Self {
        let writer = match format {
            Format::JsonRows => Writer::Json(None),
            _ => Writer::Arrow(Box::new(Encoder::new(schema))),
        };
        Self { writer, cap, taken: 0, truncated: false }
    }

    /// Takes a batch; `false` when the answer is cut here.
    fn push(&mut self, batch: RecordBatch) -> Result<bool> {
        let left = self.cap.map_or(u64::MAX, |cap| cap - self.taken);
        let n = left.min(batch.num_rows() as u64) as usize;
        self.truncated = n < batch.num_rows();
        self.taken += n as u64;
        let batch = if self.truncated { batch.slice(0, n) } else { batch };
        match &mut self.writer {
            Writer::Arrow(encoder) => encoder.push(batch)?,
            Writer::Json(waiting) => *waiting = Some((batch, 0)),
        }
        Ok(!self.truncated)
    }

    /// The next message of what was pushed.
    fn next(&mut self) -> Result<Option<Msg>> {
        match &mut self.writer {
            Writer::Arrow(encoder) => Ok(encoder.next()?.map(|message| Msg::ArrowMessage(encapsulated(&message)))),
            Writer::Json(waiting) => {
                let Some((batch, from)) = waiting.take() else { return Ok(None) };
                let (text, until) = lines(&batch, from)?;
                if until < batch.num_rows() {
                    *waiting = Some((batch, until));
                }
                Ok(Some(text).filter(|text| !text.is_empty()).map(|text| Msg::Json(text.into())))
            }
        }
    }
}

/// Whole lines of JSON from row `from` on, up to the size of a message, and the row behind them.
fn lines(batch: &RecordBatch, from: usize) -> Result<(Vec<u8>, usize)> {
    let (mut out, mut at, mut step) = (Vec::new(), from, JSON_ROWS);
    while at < batch.num_rows() && out.len() < TARGET_BYTES {
        let n = step.min(batch.num_rows() - at);
        let before = out.len();
        write_objects(&batch.slice(at, n), &mut out)?;
        if out.len() > MAX_MESSAGE_BYTES {
            out.truncate(before);
            if !out.is_empty() {
                break;
            }
            if n == 1 {
                return Err(Error::new(
                    Code::ResultTooLarge,
                    "one row of the result does not fit into a message as JSON",
                )
                .hint("select fewer columns, or parts of the long values")
                .with("limit_bytes", MAX_MESSAGE_BYTES));
            }
            step = n / 2;
            continue;
        }
        at += n;
    }
    Ok((out, at))
}

/// A message with its length in front, as in an IPC stream.
fn encapsulated(message: &FlightData) -> Bytes {
    let header = &message.data_header;
    let padded = (8 + header.len()).next_multiple_of(ALIGNMENT) - 8;
    let mut out = BytesMut::with_capacity(8 + padded + message.data_body.len());
    out.put_slice(&CONTINUATION);
    out.put_u32_le(padded as u32);
    out.put_slice(header);
    out.put_bytes(0, padded - header.len());
    out.put_slice(&message.data_body);
    out.freeze()
}

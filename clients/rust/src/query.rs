//! How does an answer of the Query service arrive? Started, rows, and a summary without which it is not whole.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::Stream;
use tidewater_proto::query::v1::query_response::Msg;
use tidewater_proto::query::v1::{Progress, QueryResponse, Started, Summary, TableFreshness};
use tonic::{Code, Streaming};

use crate::error::{Error, Result, reason};
use crate::ipc::{Messages, decode_schema};

type OnProgress = Box<dyn FnMut(&Progress) + Send>;

/// The rows of one query. Dropping it cancels the query.
pub struct QueryStream {
    responses: Streaming<QueryResponse>,
    started: Started,
    schema: SchemaRef,
    messages: Messages,
    ready: VecDeque<RecordBatch>,
    summary: Option<Summary>,
    on_progress: Option<OnProgress>,
    ended: bool,
}

impl QueryStream {
    /// Waits for the first message.
    pub(crate) async fn begin(mut responses: Streaming<QueryResponse>) -> Result<Self> {
        let Some(Msg::Started(started)) = responses.message().await?.and_then(|response| response.msg) else {
            return Err(Error::protocol("the answer to a query does not begin with Started"));
        };
        let schema = decode_schema(&started.arrow_schema)?;
        let messages = Messages::new(started.arrow_schema.clone());
        Ok(Self {
            responses,
            started,
            schema,
            messages,
            ready: VecDeque::new(),
            summary: None,
            on_progress: None,
            ended: false,
        })
    }

    pub fn query_id(&self) -> &str {
        &self.started.query_id
    }

    /// No fields for DDL and DML.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// DDL or DML.
    pub fn is_update(&self) -> bool {
        self.started.is_update
    }

    /// How fresh the tables are that the query reads; empty for DDL and DML.
    pub fn tables(&self) -> &[TableFreshness] {
        &self.started.tables
    }

    /// Calls `tell` while rows are read from this stream, each time that the server says how far the query is: every 500 ms if
    /// [`QueryRequest::progress`](crate::QueryRequest) asks for it, else never.
    pub fn on_progress(&mut self, tell: impl FnMut(&Progress) + Send + 'static) {
        self.on_progress = Some(Box::new(tell));
    }

    /// What the query did; `None` until the stream has ended.
    pub fn summary(&self) -> Option<&Summary> {
        self.summary.as_ref().filter(|_| self.ended)
    }

    fn take(&mut self, response: QueryResponse) -> Result<()> {
        match response.msg {
            Some(Msg::ArrowMessage(message)) => self.ready.extend(self.messages.read(message)?),
            Some(Msg::Summary(summary)) => self.summary = Some(summary),
            Some(Msg::Progress(progress)) => {
                if let Some(tell) = &mut self.on_progress {
                    tell(&progress);
                }
            }
            Some(Msg::Started(_)) => return Err(Error::protocol("the server began an answer twice")),
            Some(Msg::Json(_)) => return Err(Error::protocol("the server sent JSON where Arrow was asked for")),
            // A kind of message that a later server may add.
            None => {}
        }
        Ok(())
    }

    fn end(&self) -> Option<Result<RecordBatch>> {
        let incomplete = || Error::new(Code::Unavailable, reason::INCOMPLETE, "the answer ended before its summary");
        self.summary.is_none().then(|| Err(incomplete()))
    }
}

impl Stream for QueryStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(batch)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let outcome = match ready!(Pin::new(&mut self.responses).poll_next(cx)) {
                Some(Ok(response)) => self.take(response),
                Some(Err(status)) => Err(status.into()),
                None => {
                    self.ended = true;
                    return Poll::Ready(self.end());
                }
            };
            if let Err(error) = outcome {
                self.ended = true;
                self.summary = None;
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

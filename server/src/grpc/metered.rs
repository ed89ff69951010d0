//! How much of a message is held before anybody can read it? What there is a place for: a request body that takes memory for each large
//! message by the length that it declares, before anything of it is passed on.
//!
//! tonic keeps a message until its last byte has come, and that of a unary call until the request has ended; it refuses one that is too
//! large by its prefix. Places are never waited for: there is one, or the call ends with `MEMORY_PRESSURE`. So none stands in the way of
//! another:
//!
//! * Who has a place waits for nothing but its client. The client says nothing: after a while the call ends, and the place is free.
//! * The client goes away, its deadline passes, the handler ends: the body is dropped, and its places with it.
//! * The handler does something else (takes a turn, waits for memory or for its caller's limits): data is cut at the ends of messages, so
//!   the next message has not begun, and holds nothing. Streams whose clients can wait do so there, before they read.
//! * A body that waited here would be one that nobody reads, and keep its part of the connection's window: some of them on one connection
//!   would stop the one that has the place they wait for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tidewater_storage::memory::{Arriving, MemoryLedger, MessageKind};
use tidewater_storage::{Code, Error, Result};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;

use crate::status::to_status;

/// How long a client may say nothing in the middle of a large message.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// A flag for compression, and the length.
const PREFIX_BYTES: usize = 5;

/// Methods whose handlers get each message when it is whole. Others get theirs when the request has ended.
pub(super) const STREAMS: [&str; 3] = [
    "/arrow.flight.protocol.FlightService/DoExchange",
    "/arrow.flight.protocol.FlightService/DoPut",
    "/tidewater.ingest.v1.Ingest/WriteStream",
];

/// Whose messages they are, and how much they may hold.
pub(super) struct Sender {
    pub memory: Arc<MemoryLedger>,
    pub caller: Arc<str>,
    pub kind: MessageKind,
    /// Of one message: tonic takes no larger one.
    pub max_bytes: usize,
    pub is_stream: bool,
}

/// A request body whose large messages have places.
pub(super) struct Metered {
    body: Body,
    sender: Sender,
    at: At,
    /// What came behind the end of a message: the next call passes it on.
    rest: Bytes,
    /// Of the message that comes; of a unary call of all, until the end.
    places: Vec<Arriving>,
    /// Since nothing came, while a place is held.
    silence: Option<Pin<Box<Sleep>>>,
    max_silence: Duration,
    /// The end was told, or what came in its place.
    has_ended: bool,
}

/// Where the next byte stands.
#[derive(Debug, Clone, Copy)]
enum At {
    /// In the prefix of a message, behind so many bytes of it.
    Prefix([u8; PREFIX_BYTES], usize),
    /// In a message, so many bytes before its end.
    Message(usize),
    /// Behind the prefix of a message that tonic will refuse.
    TooLarge,
}

const BEGIN: At = At::Prefix([0; PREFIX_BYTES], 0);

type Next = Poll<Option<Result<Frame<Bytes>, Status>>>;

impl Metered {
    pub fn new(body: Body, sender: Sender) -> Self {
        Self {
            body,
            sender,
            at: BEGIN,
            rest: Bytes::new(),
            places: Vec::new(),
            silence: None,
            max_silence: MAX_SILENCE,
            has_ended: false,
        }
    }

    /// With a client that may be silent for so long.
    #[cfg(test)]
    fn with_max_silence(self, max_silence: Duration) -> Self {
        Self { max_silence, ..self }
    }

    /// What of `data` may be passed on: no more than to the end of a message. `MEMORY_PRESSURE` if one begins that has no place.
    fn part(&mut self, mut data: Bytes) -> Result<Bytes> {
        let mut n = 0;
        if let At::Prefix(prefix, n_known) = &mut self.at {
            n = data.len().min(PREFIX_BYTES - *n_known);
            prefix[*n_known..*n_known + n].copy_from_slice(&data[..n]);
            *n_known += n;
            if *n_known < PREFIX_BYTES {
                return Ok(data);
            }
            let [_, length @ ..] = *prefix;
            self.at = self.begin(u32::from_be_bytes(length))?;
        }
        if let At::Message(left) = self.at {
            let more = left.min(data.len() - n);
            self.rest = data.split_off(n + more);
            self.at = At::Message(left - more);
            if left == more {
                self.end_of_message();
            }
        }
        Ok(data)
    }

    fn begin(&mut self, length: u32) -> Result<At> {
        let Sender { memory, caller, kind, max_bytes, .. } = &self.sender;
        let bytes = length as usize;
        if bytes > *max_bytes {
            return Ok(At::TooLarge);
        }
        self.places.extend(memory.arriving(*kind, caller, u64::from(length))?);
        Ok(At::Message(bytes))
    }

    fn end_of_message(&mut self) {
        self.at = BEGIN;
        if self.sender.is_stream {
            self.places.clear();
        }
    }

    /// Nothing has come.
    fn nothing(&mut self, cx: &mut Context<'_>) -> Next {
        if self.places.is_empty() {
            return Poll::Pending;
        }
        let max_silence = self.max_silence;
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(max_silence)));
        ready!(silence.as_mut().poll(cx));
        self.end(Some(Err(to_status(&silent(max_silence)))))
    }

    fn end(&mut self, last: Option<Result<Frame<Bytes>, Status>>) -> Next {
        self.has_ended = true;
        self.places.clear();
        self.silence = None;
        Poll::Ready(last)
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Next {
        let this = &mut *self;
        if this.has_ended {
            return Poll::Ready(None);
        }
        let data = if this.rest.is_empty() {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Pending => return this.nothing(cx),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => data,
                    // Nothing follows them.
                    Err(trailers) => return this.end(Some(Ok(trailers))),
                },
                Poll::Ready(end) => return this.end(end),
            }
        } else {
            std::mem::take(&mut this.rest)
        };
        this.silence = None;
        match this.part(data) {
            Ok(part) => Poll::Ready(Some(Ok(Frame::data(part)))),
            Err(error) => this.end(Some(Err(to_status(&error)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || (self.rest.is_empty() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}

fn silent(max_silence: Duration) -> Error {
    let message = format!("nothing of a message came for {} s, so it was not taken", max_silence.as_secs());
    Error::new(Code::QueryDeadline, message).hint("send it again")
}

#[cfg(test)]
mod tests;

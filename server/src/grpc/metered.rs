//! How much of a message is held before anybody can read it? What there is a place for: a request body that takes memory for each large
//! message by the length that it declares, before anything of it is passed on.
//!
//! tonic keeps a message until its last byte has come, and that of a unary call until the request has ended; it refuses one that is too
//! large by its prefix. Streams, and whoever sends rows, wait for a place for a while, others do not: then the call ends with
//! `MEMORY_PRESSURE`. A place goes on to the handler with its message, so that what waits to be decoded is counted, too, and nothing that is
//! whole is refused for it. None stands in the way of another for ever:
//!
//! * Who has a place for what comes waits for its client only. The client says next to nothing: after a while the call ends, and the place is
//!   free. Who has one for what is whole waits for memory to decode it, and for no place (see `arriving`). Before that a call waits for the
//!   limits of its caller, for seconds, and only while more than half of all places are free.
//! * The client goes away, its deadline passes, the handler ends: the body is dropped, and its places with it.
//! * The handler does something else (takes a turn, writes rows): it has taken the place and let it go with the message. Data is cut at the
//!   ends of messages, so the next one has not begun, and holds nothing.
//! * A body that waits here is one that nobody reads, and keeps its part of the connection's window, which the one that has the place needs
//!   if it is of the same connection: so that something is left of it, only so many wait on one connection, and further ones are refused.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tidewater_storage::memory::{Arriving, MemoryLedger, MessageKind};
use tidewater_storage::{Code, Error, Result};
use tokio::sync::Semaphore;
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;

use super::place::MessagePlace;
use crate::status::to_status;

/// How long a client may say nothing in the middle of a large message, or less than one part of so many of it.
const MAX_SILENCE: Duration = Duration::from_secs(60);
const MESSAGE_PARTS: usize = 16;

/// How long a message waits for a place. Those before it may each wait for memory for half of this, and for a limit for a sixth.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// A flag for compression, and the length.
const PREFIX_BYTES: usize = 5;

/// Methods whose handlers get each message when it is whole. Others get theirs when the request has ended.
pub(super) const STREAMS: [&str; 3] = [
    "/arrow.flight.protocol.FlightService/DoExchange",
    "/arrow.flight.protocol.FlightService/DoPut",
    "/tidewater.ingest.v1.Ingest/WriteStream",
];

/// The method that takes rows in one message.
pub(super) const WRITE: &str = "/tidewater.ingest.v1.Ingest/Write";

/// Whose messages they are, and how much they may hold.
pub(super) struct Sender {
    pub memory: Arc<MemoryLedger>,
    /// `None`: everybody is the same caller, so that no part is kept for others.
    pub caller: Option<Arc<str>>,
    pub kind: MessageKind,
    /// Of one message: tonic takes no larger one.
    pub max_bytes: usize,
    pub is_stream: bool,
    /// Shared with the handler.
    pub place: MessagePlace,
    /// Of bodies of the connection that may wait.
    pub waiting: Arc<Semaphore>,
}

impl Sender {
    /// Its client can wait, or has rows: these are so much that they are not sent twice without need.
    fn can_wait(&self) -> bool {
        self.is_stream || self.kind == MessageKind::Rows
    }
}

/// A request body whose large messages have places.
pub(super) struct Metered {
    body: Body,
    sender: Sender,
    at: At,
    /// What came behind the end of a message: the next call passes it on.
    rest: Bytes,
    /// The one that the next message needs.
    waits_for: Option<BoxFuture<'static, Result<Option<Arriving>>>>,
    /// The message that begins has what it waited for.
    is_granted: bool,
    /// Since little came, while a place is held; and so many bytes came since.
    silence: Option<Pin<Box<Sleep>>>,
    n_since: usize,
    /// Of the message that comes.
    length: usize,
    max_silence: Duration,
    max_wait: Duration,
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

/// The next frame, or the end.
type Next = Option<Result<Frame<Bytes>, Status>>;

impl Metered {
    pub fn new(body: Body, sender: Sender) -> Self {
        Self {
            body,
            sender,
            at: BEGIN,
            rest: Bytes::new(),
            waits_for: None,
            is_granted: false,
            silence: None,
            n_since: 0,
            length: 0,
            max_silence: MAX_SILENCE,
            max_wait: MAX_WAIT,
            has_ended: false,
        }
    }

    /// With a client that may be silent, and places that are waited for, for so long.
    #[cfg(test)]
    fn with_patience(mut self, patience: Duration) -> Self {
        (self.max_silence, self.max_wait) = (patience, patience);
        self
    }

    /// What of `data` may be passed on: no more than to the end of a message. `MEMORY_PRESSURE` if one begins that has no place; one is waited
    /// for from here on, or not at all.
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
        self.length = bytes;
        if std::mem::take(&mut self.is_granted) {
            return Ok(At::Message(bytes));
        }
        match memory.arriving(*kind, caller.as_ref(), u64::from(length)) {
            Ok(place) => self.sender.place.put(place),
            Err(refused) => {
                if self.sender.can_wait()
                    && let Ok(waits) = Arc::clone(&self.sender.waiting).try_acquire_owned()
                {
                    let memory = Arc::clone(memory);
                    let wait = memory.arriving_within(*kind, caller.clone(), u64::from(length), self.max_wait);
                    self.waits_for = Some(Box::pin(async move {
                        let place = wait.await;
                        drop(waits);
                        place
                    }));
                    self.sender.place.note_waiting(true);
                }
                return Err(refused);
            }
        }
        Ok(At::Message(bytes))
    }

    fn end_of_message(&mut self) {
        self.at = BEGIN;
        self.silence = None;
    }

    /// Nothing has come.
    fn nothing(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if !self.sender.place.is_held() {
            return Poll::Pending;
        }
        let max_silence = self.max_silence;
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(max_silence)));
        ready!(silence.as_mut().poll(cx));
        Poll::Ready(Some(Err(to_status(&silent(max_silence)))))
    }

    /// The next data; what else comes ends the body.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Next>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Ok(std::mem::take(&mut self.rest)));
        }
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => return self.nothing(cx).map(Err),
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(end) => return Poll::Ready(Err(end)),
        };
        Poll::Ready(match frame.into_data() {
            Ok(data) => {
                self.note_progress(data.len());
                Ok(data)
            }
            // Nothing follows them.
            Err(trailers) => Err(Some(Ok(trailers))),
        })
    }

    /// The end, if the client has sent all. Of a message that comes no more than a frame is kept, until it may begin.
    fn end_only(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        while self.rest.is_empty() {
            match ready!(self.next(cx)) {
                Ok(data) => self.rest = data,
                Err(last) => return self.end(last),
            }
        }
        Poll::Pending
    }

    /// So many bytes came: enough, or too few to be waited for much longer.
    fn note_progress(&mut self, n_bytes: usize) {
        self.n_since += n_bytes;
        if self.n_since > self.length / MESSAGE_PARTS {
            self.silence = None;
            self.n_since = 0;
        }
    }

    fn end(&mut self, last: Next) -> Poll<Next> {
        self.has_ended = true;
        // Of a call the handler has all messages now.
        let is_whole = matches!(last, None | Some(Ok(_)));
        if self.sender.is_stream || self.sender.kind == MessageKind::Statement || !is_whole {
            self.sender.place.clear();
        }
        self.waits_for = None;
        self.silence = None;
        Poll::Ready(last)
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Next> {
        let this = &mut *self;
        if this.has_ended {
            return Poll::Ready(None);
        }
        if this.sender.is_stream && matches!(this.at, At::Prefix(_, 0)) {
            // Who asks for the next message is done with the one before, unless it took its place.
            this.sender.place.clear();
            if this.sender.place.is_held_back() {
                return this.end_only(cx);
            }
        }
        loop {
            if let Some(wait) = &mut this.waits_for {
                let place = ready!(wait.as_mut().poll(cx));
                this.waits_for = None;
                this.sender.place.note_waiting(false);
                match place {
                    Ok(place) => this.sender.place.put(place),
                    Err(error) => return this.end(Some(Err(to_status(&error)))),
                }
                this.is_granted = true;
            }
            let data = match ready!(this.next(cx)) {
                Ok(data) => data,
                Err(last) => return this.end(last),
            };
            let (at, whole) = (this.at, data.clone());
            match this.part(data) {
                Ok(part) => return Poll::Ready(Some(Ok(Frame::data(part)))),
                // Read once more when there is a place.
                Err(_) if this.waits_for.is_some() => (this.at, this.rest) = (at, whole),
                Err(error) => return this.end(Some(Err(to_status(&error)))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || (self.rest.is_empty() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        if !self.has_ended || self.sender.is_stream {
            self.sender.place.clear();
        }
    }
}

fn silent(max_silence: Duration) -> Error {
    let message = format!("next to nothing of a message came for {} s, so it was not taken", max_silence.as_secs());
    Error::new(Code::QueryDeadline, message).hint("send it again")
}

#[cfg(test)]
mod tests;

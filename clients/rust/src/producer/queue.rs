//! Which batches have no answer yet, and which of them is next? Pure: no clock, no connection.
//!
//! Batches stand in the order of their numbers. A prefix of them is on its way; the server answers in order. When it refuses
//! one for the moment, it refuses those behind it too, so the queue waits for these answers and then begins again at its
//! front (*rewinds*). A broken connection rewinds at once.

use std::collections::VecDeque;

use bytes::Bytes;
use tidewater_proto::ingest::v1 as pb;
use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::write::BatchResult;

/// A batch on its way from the caller.
pub(super) struct Pending {
    pub sequence: u64,
    pub payload: Bytes,
    pub reply: oneshot::Sender<Result<BatchResult>>,
}

/// What the server allows to be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub batches: usize,
    pub bytes: u64,
}

/// What an answer meant.
pub(super) enum Answer {
    /// The first batch is stored.
    Taken(oneshot::Sender<Result<BatchResult>>, BatchResult),
    /// A batch is to be sent again after a while.
    Again(Error),
    /// A batch was refused for good, with everything behind it.
    Refused(Pending, Error),
}

struct InFlight {
    batch_id: u64,
    sequence: u64,
    bytes: u64,
}

#[derive(Default)]
pub(super) struct Queue {
    pending: VecDeque<Pending>,
    /// The first so many of `pending` are on their way, unless rewinding.
    n_sent: usize,
    in_flight: VecDeque<InFlight>,
    bytes_in_flight: u64,
    /// Some answer was "not now": nothing is sent until all answers are in.
    rewinding: bool,
    last_batch_id: u64,
}

impl Queue {
    pub fn push(&mut self, pending: Pending) {
        self.pending.push_back(pending);
    }

    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    pub fn can_send(&self, window: Window) -> bool {
        let Some(next) = self.pending.get(self.n_sent).filter(|_| !self.rewinding) else { return false };
        // A batch above the whole window is sent alone: the server says what it thinks of it.
        self.in_flight.is_empty()
            || (self.in_flight.len() < window.batches
                && self.bytes_in_flight + next.payload.len() as u64 <= window.bytes)
    }

    /// Another batch of the caller can be taken: all are sent and the window is open.
    pub fn wants_more(&self, window: Window) -> bool {
        !self.rewinding
            && self.n_sent == self.pending.len()
            && self.in_flight.len() < window.batches
            && self.bytes_in_flight < window.bytes
    }

    /// The next message, which counts as sent from now on.
    pub fn send(&mut self) -> Option<pb::Batch> {
        let next = self.pending.get(self.n_sent).filter(|_| !self.rewinding)?;
        let bytes = next.payload.len() as u64;
        self.n_sent += 1;
        self.last_batch_id += 1;
        self.bytes_in_flight += bytes;
        self.in_flight.push_back(InFlight { batch_id: self.last_batch_id, sequence: next.sequence, bytes });
        let format = Some(pb::payload::Format::ArrowIpcStream(next.payload.clone()));
        let payload = Some(pb::Payload { format });
        Some(pb::Batch { batch_id: self.last_batch_id, sequence: next.sequence, payload })
    }

    /// Takes the next answer. An error means that this connection cannot be trusted any more.
    pub fn answer(&mut self, result: pb::BatchResult) -> Result<Answer> {
        let Some(expected) = self.in_flight.pop_front() else {
            return Err(Error::protocol("the server answered a batch that was not sent"));
        };
        self.bytes_in_flight -= expected.bytes;
        if (result.batch_id, result.sequence) != (expected.batch_id, expected.sequence) {
            return Err(Error::protocol(format!(
                "the server answered batch {} (sequence {}) where the answer to batch {} (sequence {}) was due",
                result.batch_id, result.sequence, expected.batch_id, expected.sequence
            )));
        }
        let was_rewinding = self.rewinding;
        if was_rewinding && self.in_flight.is_empty() {
            self.rewind();
        }
        match BatchResult::try_from(result) {
            Ok(result) if !was_rewinding => match self.pending.pop_front() {
                Some(first) => {
                    self.n_sent -= 1;
                    Ok(Answer::Taken(first.reply, result))
                }
                None => Err(Error::protocol("the server answered a batch that was answered before")),
            },
            // Sending the refused number again would be answered as a repeat, and its rows would be lost.
            Ok(_) => Err(Error::new(
                tonic::Code::DataLoss,
                crate::error::reason::PROTOCOL,
                format!("the server stored sequence {} after it had refused one before it", expected.sequence),
            )),
            Err(error) if is_transient(&error, was_rewinding) => {
                self.rewinding = !self.in_flight.is_empty();
                if !self.rewinding {
                    self.rewind();
                }
                Ok(Answer::Again(error))
            }
            Err(error) => {
                let index = self.pending.iter().position(|pending| pending.sequence == expected.sequence);
                match index.and_then(|index| self.pending.remove(index)) {
                    Some(refused) => Ok(Answer::Refused(refused, error)),
                    None => Err(error),
                }
            }
        }
    }

    /// The connection is gone: everything without an answer is to be sent again.
    pub fn disconnected(&mut self) {
        self.in_flight.clear();
        self.rewind();
    }

    fn rewind(&mut self) {
        self.n_sent = 0;
        self.rewinding = false;
        self.bytes_in_flight = 0;
    }

    /// All that has no answer, when there will be none.
    pub fn drain(&mut self) -> impl Iterator<Item = Pending> + '_ {
        self.n_sent = 0;
        self.in_flight.clear();
        self.bytes_in_flight = 0;
        self.pending.drain(..)
    }
}

/// A gap behind a refused batch is a consequence of it; by itself it is an error of the numbering.
fn is_transient(error: &Error, rewinding: bool) -> bool {
    error.is_retryable() || (rewinding && error.reason() == "SEQUENCE_GAP")
}

#[cfg(test)]
mod tests;

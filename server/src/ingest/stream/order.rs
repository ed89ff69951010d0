//! Which batches go on after one was refused? The rule that keeps a producer's batches in order.
//!
//! Pure: the submitter asks before it submits, the answerer tells what came of it. A refused number holds back all above it until it comes
//! again: one that went in would make it a repeat, and its rows would be lost. Lower numbers go on, and end nothing.
//!
//! Batches that were submitted before a refusal was known are refused by the table (their predecessor is missing); they are answered like
//! those that were held back here. When the client goes back, a new round begins, and what is still to come of the old one counts no more.

use tidewater_storage::{Code, Error};

/// A count of how often the client went back.
pub(super) type Round = u64;

/// Refused numbers of one stream that were not sent again. Each is lower than the one before: only a client that counts backwards, and is
/// refused every time, has more.
const MAX_REFUSED: usize = 1_024;

/// The state of one stream.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// A producer numbers the batches.
    numbered: bool,
    round: Round,
    /// The number that was admitted last.
    last: u64,
    /// Refused numbers that have not come again, descending: only what is not above the last of them may go in.
    refused: Vec<u64>,
}

impl Order {
    pub fn new(numbered: bool) -> Self {
        Self { numbered, ..Self::default() }
    }

    /// May `sequence` be submitted? The round in which it is, or why not.
    pub fn admit(&mut self, sequence: u64) -> Result<Round, Error> {
        if let Some(&lowest) = self.refused.last() {
            if sequence > lowest {
                return Err(predecessor_failed(sequence, lowest));
            }
            if sequence < lowest && self.refused.len() >= MAX_REFUSED {
                return Err(too_many_refused(sequence, lowest));
            }
            if sequence == lowest {
                self.refused.pop();
            }
            if sequence <= self.last {
                self.round += 1;
            }
        }
        self.last = sequence;
        Ok(self.round)
    }

    /// `sequence` of `round` was refused with `error`; returns what the client is told.
    pub fn refuse(&mut self, round: Round, sequence: u64, error: Error) -> Error {
        if !self.numbered || error.code() == Code::PredecessorFailed {
            return error;
        }
        let followed = match self.refused.last() {
            // It follows a batch that the client has sent again since.
            _ if round != self.round => sequence.saturating_sub(1),
            Some(&lowest) if sequence > lowest => lowest,
            Some(&lowest) if sequence == lowest => return error,
            _ => {
                self.refused.push(sequence);
                return error;
            }
        };
        match error.code() {
            Code::SequenceGap | Code::UnknownProducer => predecessor_failed(sequence, followed),
            _ => error,
        }
    }
}

fn predecessor_failed(sequence: u64, refused: u64) -> Error {
    Error::new(Code::PredecessorFailed, format!("batch {sequence} follows batch {refused}, which was refused"))
        .hint(format!("send batch {refused} again, then those behind it"))
        .with("refused_sequence", refused)
}

fn too_many_refused(sequence: u64, refused: u64) -> Error {
    let message =
        format!("batch {sequence} waits: {MAX_REFUSED} batches of this stream were refused and not sent again");
    Error::new(Code::PredecessorFailed, message)
        .hint(format!("send batch {refused} again, then those behind it"))
        .with("refused_sequence", refused)
}

#[cfg(test)]
mod tests;

//! Which batches go on after one was refused? The rule that keeps a producer's batches in order.
//!
//! Pure: the submitter asks before it submits, the answerer tells what came of it. Batches that were submitted before
//! a refusal was known are refused by the table (their predecessor is missing); they are answered like those that were
//! held back here. When the client goes back, a new round begins, and what is still to come of the old one counts no
//! more.

use tidewater_storage::{Code, Error};

/// A count of how often the client went back.
pub(super) type Round = u64;

/// The state of one stream.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// A producer numbers the batches.
    numbered: bool,
    round: Round,
    /// The refused number of this round.
    refused: Option<u64>,
}

impl Order {
    pub fn new(numbered: bool) -> Self {
        Self { numbered, ..Self::default() }
    }

    /// May `sequence` be submitted? The round in which it is, or why not.
    pub fn admit(&mut self, sequence: u64) -> Result<Round, Error> {
        match self.refused {
            Some(refused) if sequence > refused => Err(predecessor_failed(sequence, refused)),
            Some(_) => {
                self.refused = None;
                self.round += 1;
                Ok(self.round)
            }
            None => Ok(self.round),
        }
    }

    /// `sequence` of `round` was refused with `error`; returns what the client is told.
    pub fn refuse(&mut self, round: Round, sequence: u64, error: Error) -> Error {
        if !self.numbered || error.code() == Code::PredecessorFailed {
            return error;
        }
        match self.refused {
            _ if round != self.round => match error.code() {
                // It follows a batch that the client has sent again since.
                Code::SequenceGap | Code::UnknownProducer => predecessor_failed(sequence, sequence.saturating_sub(1)),
                _ => error,
            },
            Some(refused) if sequence > refused => match error.code() {
                Code::SequenceGap | Code::UnknownProducer => predecessor_failed(sequence, refused),
                _ => error,
            },
            Some(refused) => {
                self.refused = Some(refused.min(sequence));
                error
            }
            None => {
                self.refused = Some(sequence);
                error
            }
        }
    }
}

fn predecessor_failed(sequence: u64, refused: u64) -> Error {
    Error::new(Code::PredecessorFailed, format!("batch {sequence} follows batch {refused}, which was refused"))
        .hint(format!("send batch {refused} again, then those behind it"))
        .with("refused_sequence", refused)
}

#[cfg(test)]
mod tests;

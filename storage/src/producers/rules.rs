//! Accept, repeat or refuse? The pure rules; nothing here changes anything.

use crate::error::{Code, Error, Result};
use crate::producers::batch::{ProducerBatch, SequenceMode};
use crate::producers::state::{BatchCounts, ProducerState};

/// What becomes of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    Accept,
    /// It is here already. The counts are those of the first answer, while they are known.
    Repeat {
        first: Option<BatchCounts>,
    },
}

/// `hash` is of the batch's rows as the client sent them; `has_forgotten`: producers of this table were idle and are known no longer.
pub(crate) fn decide(
    state: Option<&ProducerState>,
    batch: &ProducerBatch,
    hash: u64,
    principal: &str,
    has_forgotten: bool,
) -> Result<Decision> {
    if batch.sequence == 0 {
        return Err(Error::new(Code::InvalidProducer, format!("producer {} sent sequence 0", batch.id))
            .hint("number batches from 1"));
    }
    if batch.mode == SequenceMode::Monotonic && batch.epoch == 0 {
        return Err(Error::new(
            Code::InvalidProducer,
            format!("producer {} numbers with gaps and has no epoch", batch.id),
        )
        .hint("call InitProducer first and send its epoch, so that only one writer is active"));
    }
    let Some(state) = state else {
        return decide_unknown(batch, has_forgotten);
    };
    if state.principal != principal {
        return Err(Error::new(Code::ProducerOwned, format!("producer {} belongs to another principal", batch.id))
            .hint("choose another producer id"));
    }
    if batch.epoch < state.epoch {
        return Err(Error::new(
            Code::ProducerFenced,
            format!("producer {} has epoch {}, the batch has epoch {}", batch.id, state.epoch, batch.epoch),
        )
        .hint("a newer client of this producer is active: stop, or call InitProducer to take over")
        .with("epoch", state.epoch));
    }
    let last = state.last_sequence;
    if batch.epoch > state.epoch || batch.last_acked.is_some_and(|acked| acked > last && !state.any_start) {
        return Err(lost(batch, last));
    }
    if state.any_start {
        return Ok(Decision::Accept);
    }
    if batch.sequence <= last {
        return match state.hash_of(batch.sequence) {
            Some(known) if known != hash => Err(Error::new(
                Code::SequenceReused,
                format!("producer {} sent sequence {} before, with other rows", batch.id, batch.sequence),
            )
            .hint("number every batch once; a retry sends the same rows")
            .with("sequence", batch.sequence)),
            _ => Ok(Decision::Repeat { first: state.result_of(batch.sequence) }),
        };
    }
    if batch.mode == SequenceMode::Contiguous && batch.sequence != last + 1 {
        return Err(Error::new(
            Code::SequenceGap,
            format!("producer {} sent sequence {} after {last}", batch.id, batch.sequence),
        )
        .hint(format!("send sequence {} next", last + 1))
        .with("last_sequence", last));
    }
    Ok(Decision::Accept)
}

fn decide_unknown(batch: &ProducerBatch, has_forgotten: bool) -> Result<Decision> {
    let was_here = batch.epoch > 0 || batch.last_acked.is_some_and(|acked| acked > 0);
    if was_here && !has_forgotten {
        return Err(lost(batch, 0));
    }
    if was_here || batch.sequence != 1 {
        return Err(Error::new(
            Code::UnknownProducer,
            format!("producer {} is not known here (any longer) and sent sequence {}", batch.id, batch.sequence),
        )
        .hint("begin with sequence 1, or call InitProducer with reset")
        .with("last_sequence", 0));
    }
    Ok(Decision::Accept)
}

/// The client knows of an epoch or an acknowledgement that the log does not have.
fn lost(batch: &ProducerBatch, last: u64) -> Error {
    Error::new(
        Code::ProducerStateLost,
        format!(
            "producer {} claims epoch {} and acknowledged sequence {}, the log has sequence {last}",
            batch.id,
            batch.epoch,
            batch.last_acked.unwrap_or(0)
        ),
    )
    .hint("acknowledged batches may be missing here: check that this is the right server and folder, then call InitProducer with reset")
    .with("last_sequence", last)
}

/// The epoch that an `InitProducer` begins.
pub(crate) fn next_epoch(state: Option<&ProducerState>) -> u64 {
    state.map_or(0, |s| s.epoch) + 1
}

//! What may be asked of a worker? A closed list; each request has one handler, in the file of its name.

use tokio::sync::oneshot;

use crate::error::Result;
use crate::ids::{CommitToken, ProducerId};
use crate::table::places::Held;
use crate::table::prepare::PreparedRows;
use crate::table::request::{ProducerInfo, RowsOutcome};

/// Everything that changes a table.
pub(crate) enum TableRequest {
    Rows {
        rows: Box<PreparedRows>,
        held: Held,
        answer: oneshot::Sender<Result<RowsOutcome>>,
    },
    InitProducer {
        id: ProducerId,
        reset: bool,
        principal: String,
        answer: oneshot::Sender<Result<ProducerInfo>>,
    },
    /// Where a producer stands; changes nothing, but waits its turn.
    LookUpProducer {
        id: ProducerId,
        answer: oneshot::Sender<Result<ProducerInfo>>,
    },
    /// How many rows were accepted under an idempotency key; changes nothing, but waits its turn.
    LookUpKey {
        suffix: Vec<u8>,
        answer: oneshot::Sender<Option<u64>>,
    },
    /// Rolls the ledger up; forgets producers and rejected rows that are past their limits.
    Housekeep,
    Truncate {
        answer: oneshot::Sender<Result<(u64, CommitToken)>>,
    },
}

//! How is a stream of batches stored exactly once? Numbers, a queue of what has no answer yet, and a driver that connects
//! again and again.

mod handle;
mod retry;

mod connection;
mod driver;
mod queue;

use tidewater_proto::ingest::v1::SequenceMode;

pub use handle::{Ack, Producer};
pub use retry::{OnWait, RetryPolicy};

use crate::write::WriteOptions;

/// How a producer works.
#[derive(Debug, Clone, Default)]
pub struct ProducerOptions {
    pub write: WriteOptions,
    /// How batches are numbered; by default each is the last plus one.
    pub mode: SequenceMode,
    pub retry: RetryPolicy,
    /// Told why nothing is stored for the moment; by default nobody is.
    pub on_wait: OnWait,
    /// The highest sequence whose acknowledgement the program has written down. If the server's is lower, it has lost
    /// acknowledged data: `PRODUCER_STATE_LOST`.
    pub last_acked: Option<u64>,
    /// The next batch may have any number.
    pub reset: bool,
}

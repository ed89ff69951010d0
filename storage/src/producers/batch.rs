//! Which batch of which producer is it?

use crate::ids::ProducerId;

/// How a producer numbers its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SequenceMode {
    /// Each batch is the last plus one.
    #[default]
    Contiguous,
    /// Each batch is above the last; needs an epoch.
    Monotonic,
}

/// Which batch of which producer this is: the identity that makes a retry a repeat.
#[derive(Debug, Clone)]
pub struct ProducerBatch {
    pub id: ProducerId,
    /// From `InitProducer`; 0 means no fencing.
    pub epoch: u64,
    pub sequence: u64,
    pub mode: SequenceMode,
    /// The last sequence that the client saw acknowledged; above ours it proves lost state.
    pub last_acked: Option<u64>,
}

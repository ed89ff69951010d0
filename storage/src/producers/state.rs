//! What is remembered of a producer? Its disk form stands in the same batch as the rows it is about.

use prost::Message;

use crate::env::Moment;
use crate::error::{Code, Error, Result};
use crate::ids::CommitSeq;
use crate::limits::{BATCH_HASHES, BATCH_RESULTS};
use crate::producers::content::CONTENT_HASH_VERSION;

/// The counts of an answer, kept so that a repeat is answered alike.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct BatchCounts {
    #[prost(uint64, tag = "1")]
    pub(crate) received: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) accepted: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) duplicates: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) rejected: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct BatchHash {
    #[prost(uint64, tag = "1")]
    sequence: u64,
    #[prost(fixed64, tag = "2")]
    hash: u64,
    /// Of the hash: one of another version cannot be compared.
    #[prost(uint32, tag = "3")]
    version: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct BatchResult {
    #[prost(uint64, tag = "1")]
    sequence: u64,
    #[prost(message, required, tag = "2")]
    counts: BatchCounts,
}

/// A producer of one table.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ProducerState {
    /// The disk form's version.
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint64, tag = "2")]
    pub(crate) epoch: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) last_sequence: u64,
    /// After `InitProducer(reset)`: the next batch may have any number.
    #[prost(bool, tag = "4")]
    pub(crate) any_start: bool,
    /// Who used it first: it belongs to them.
    #[prost(string, tag = "5")]
    pub(crate) principal: String,
    #[prost(uint64, tag = "6")]
    last_commit_seq: u64,
    /// Stamp of its last batch, microseconds.
    #[prost(int64, tag = "7")]
    pub(crate) last_seen_us: i64,
    /// Largest event time that it had accepted, microseconds.
    #[prost(int64, optional, tag = "8")]
    pub(crate) max_event_us: Option<i64>,
    /// Sums over all its batches.
    #[prost(message, required, tag = "9")]
    pub(crate) totals: BatchCounts,
    #[prost(uint64, tag = "10")]
    pub(crate) repeated: u64,
    /// The newest last.
    #[prost(message, repeated, tag = "11")]
    hashes: Vec<BatchHash>,
    #[prost(message, repeated, tag = "12")]
    results: Vec<BatchResult>,
    /// Uptime of the log when it was last seen, microseconds: it is forgotten when it is idle by both clocks.
    #[prost(uint64, tag = "13")]
    last_seen_uptime_us: u64,
}

const VERSION: u32 = 1;

impl ProducerState {
    pub(crate) fn new(principal: &str) -> Self {
        Self { version: VERSION, principal: principal.to_owned(), ..Self::default() }
    }

    pub(crate) fn from_disk(bytes: &[u8]) -> Result<Self> {
        let state = Self::decode(bytes)
            .map_err(|e| Error::new(Code::LogDamaged, format!("a producer's state cannot be read: {e}")).source(e))?;
        if state.version != VERSION {
            return Err(Error::new(
                Code::LogUnknownVersion,
                format!("a producer's state has version {}, this program reads {VERSION}", state.version),
            ));
        }
        Ok(state)
    }

    pub(crate) fn to_disk(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Bytes of [`Self::to_disk`].
    pub(crate) fn disk_bytes(&self) -> usize {
        self.encoded_len()
    }

    pub(crate) fn last_commit_seq(&self) -> CommitSeq {
        CommitSeq(self.last_commit_seq)
    }

    /// A batch was accepted: its number is consumed.
    pub(crate) fn note(&mut self, sequence: u64, hash: u64, counts: BatchCounts, (seq, at): (CommitSeq, Moment)) {
        self.last_sequence = sequence;
        self.any_start = false;
        self.last_commit_seq = seq.0;
        self.see(at);
        let hash = BatchHash { sequence, hash, version: CONTENT_HASH_VERSION };
        push_bounded(&mut self.hashes, hash, BATCH_HASHES);
        push_bounded(&mut self.results, BatchResult { sequence, counts }, BATCH_RESULTS);
        let totals = &mut self.totals;
        totals.received += counts.received;
        totals.accepted += counts.accepted;
        totals.duplicates += counts.duplicates;
        totals.rejected += counts.rejected;
    }

    /// The producer is alive.
    pub(crate) fn see(&mut self, at: Moment) {
        (self.last_seen_us, self.last_seen_uptime_us) = (at.wall_us, at.uptime_us);
    }

    /// When it was last seen.
    pub(crate) fn seen(&self) -> Moment {
        Moment { wall_us: self.last_seen_us, uptime_us: self.last_seen_uptime_us }
    }

    /// The hash of the batch with this number; `None` when it is too old to be known, or was made by another version of the hash.
    pub(crate) fn hash_of(&self, sequence: u64) -> Option<u64> {
        let known = self.hashes.iter().rev().find(|b| b.sequence == sequence)?;
        (known.version == CONTENT_HASH_VERSION).then_some(known.hash)
    }

    /// The first answer to the batch with this number; `None` when it is too old to be known.
    pub(crate) fn result_of(&self, sequence: u64) -> Option<BatchCounts> {
        self.results.iter().rev().find(|b| b.sequence == sequence).map(|b| b.counts)
    }

    /// A new epoch begins; with `reset` the numbers start anew.
    pub(crate) fn begin_epoch(&mut self, epoch: u64, reset: bool) {
        self.epoch = epoch;
        if reset {
            self.any_start = true;
            self.last_sequence = 0;
            self.hashes.clear();
            self.results.clear();
        }
    }
}

fn push_bounded<T>(list: &mut Vec<T>, item: T, bound: usize) {
    if list.len() >= bound {
        list.remove(0);
    }
    list.push(item);
}

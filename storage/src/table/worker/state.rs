//! What does a worker know? The mutable state of one table; nobody else touches it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use prost::Message;

use crate::admission::ledger::Counts;
use crate::admission::rejected::{KeptRows, pick_forgotten};
use crate::catalog::TableDef;
use crate::dedup::KeyIndex;
use crate::env::Moment;
use crate::error::{Code, Error, Result};
use crate::ids::{CommitSeq, ProducerId, SHARD_ZERO, SchemaId};
use crate::limits::{IDEMPOTENCY_KEY_TTL_S, MAX_IDEMPOTENCY_KEYS, REJECTED_BUCKET_BYTES, REJECTED_BUCKET_S};
use crate::log::{Family, Op, state_key, state_prefix};
use crate::producers::{BatchCounts, ProducerState};
use crate::table::seal::SealState;

/// Ahead of the log by the groups in flight: what stands here is decided, what is published is durable.
pub(crate) struct TableState {
    pub(crate) def: Arc<TableDef>,
    /// Rows that passed admission with an older schema may be none of the table: a type changed, or a text must be shorter.
    pub(crate) narrowed: SchemaId,
    /// The last sequence given to an entry.
    pub(crate) last_seq: CommitSeq,
    /// The largest stamp given to an entry, microseconds.
    pub(crate) last_stamp_us: i64,
    /// Uptime of this log before this process, microseconds.
    pub(crate) uptime_before_us: u64,
    /// `None`: the table has no primary key.
    pub(crate) keys: Option<KeyIndex>,
    pub(crate) producers: HashMap<ProducerId, ProducerState>,
    pub(crate) idempotency: IdempotencyKeys,
    /// Ledger rows that changed since they were last in a commit: pure repeats write no entry.
    pub(crate) unwritten: HashMap<Vec<u8>, Vec<u8>>,
    /// Producers that changed since: their records are written with the ledger's, so that the two never tell different things.
    pub(crate) changed: HashSet<ProducerId>,
    pub(crate) rejected: RejectedRows,
    /// Producers were forgotten: one that is not known may be one of them.
    pub(crate) has_forgotten: bool,
    /// Some entry was written and not synced.
    pub(crate) unsynced: bool,
    /// What is built, published and deleted.
    pub(crate) seal: SealState,
}

impl TableState {
    pub(crate) fn state_key(&self, kind: u8, suffix: &[u8]) -> Vec<u8> {
        let mut key = state_prefix(kind, self.def.id, SHARD_ZERO);
        key.extend(suffix);
        key
    }

    pub(crate) fn producer_op(&self, id: &ProducerId, state: &ProducerState) -> Op {
        Op::Put(Family::State, self.state_key(state_key::PRODUCER, id.as_str().as_bytes()), state.to_disk())
    }

    /// Deletes the rejected rows that are past their limits.
    pub(crate) fn forget_rejected(&mut self, now: Moment) -> Vec<Op> {
        let key = |seq: CommitSeq| self.state_key(state_key::REJECTED, &seq.0.to_be_bytes());
        let ranges: Vec<_> = self.rejected.pick(now).into_iter().map(|b| (key(b.first), key(b.last.next()))).collect();
        self.rejected.forget(ranges.len());
        ranges.into_iter().map(|(from, to)| Op::DeleteRange(Family::State, from, to)).collect()
    }

    /// A producer's record goes into the next commit: once, however many of its batches are in there. Returns the bytes that this adds.
    pub(crate) fn note_changed(&mut self, id: &ProducerId) -> usize {
        if self.changed.contains(id) {
            return 0;
        }
        self.changed.insert(id.clone());
        self.producers.get(id).map_or(0, ProducerState::disk_bytes)
    }

    /// The ledger rows and producers that wait for a commit.
    pub(crate) fn take_unwritten(&mut self) -> Vec<Op> {
        let (rows, producers) = (std::mem::take(&mut self.unwritten), std::mem::take(&mut self.changed));
        let rows = rows
            .into_iter()
            .map(|(suffix, value)| Op::Put(Family::State, self.state_key(state_key::LEDGER, &suffix), value));
        let producers =
            producers.iter().filter_map(|id| self.producers.get(id).map(|state| self.producer_op(id, state)));
        rows.chain(producers).collect()
    }
}

impl From<BatchCounts> for Counts {
    fn from(counts: BatchCounts) -> Self {
        Counts {
            received: counts.received,
            accepted: counts.accepted,
            duplicate: counts.duplicates,
            rejected: counts.rejected,
            ..Counts::default()
        }
    }
}

/// The first answer to a request with an idempotency key, as it stands on disk.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct FirstAnswer {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(message, required, tag = "2")]
    pub(crate) counts: BatchCounts,
    #[prost(int64, tag = "3")]
    stamp_us: i64,
    /// Uptime of the log by then, microseconds.
    #[prost(uint64, tag = "4")]
    uptime_us: u64,
}

const FIRST_ANSWER_VERSION: u32 = 1;

/// Idempotency keys of the last 24 hours, by principal and key.
#[derive(Default)]
pub(crate) struct IdempotencyKeys {
    answers: HashMap<Vec<u8>, FirstAnswer>,
    /// Oldest first: neither clock of a log goes back.
    order: VecDeque<(Moment, Vec<u8>)>,
}

impl IdempotencyKeys {
    /// The key's own part of its record: principal and key, the first length-prefixed.
    pub(crate) fn suffix(principal: &str, key: &str) -> Vec<u8> {
        let mut suffix = (principal.len() as u32).to_be_bytes().to_vec();
        suffix.extend(principal.as_bytes());
        suffix.extend(key.as_bytes());
        suffix
    }

    pub(crate) fn load(&mut self, suffix: &[u8], value: &[u8]) -> Result<()> {
        let answer = FirstAnswer::decode(value)
            .map_err(|e| Error::new(Code::LogDamaged, format!("an idempotency key cannot be read: {e}")).source(e))?;
        if answer.version != FIRST_ANSWER_VERSION {
            let (has, reads) = (answer.version, FIRST_ANSWER_VERSION);
            return Err(Error::new(
                Code::LogUnknownVersion,
                format!("an idempotency key's record has version {has}, this program reads {reads}"),
            ));
        }
        let at = Moment { wall_us: answer.stamp_us, uptime_us: answer.uptime_us };
        self.order.push_back((at, suffix.to_vec()));
        self.answers.insert(suffix.to_vec(), answer);
        Ok(())
    }

    /// Records come in key order; they expire in the order of their moments.
    pub(crate) fn loaded(&mut self) {
        self.order.make_contiguous().sort();
    }

    pub(crate) fn get(&self, suffix: &[u8]) -> Option<BatchCounts> {
        self.answers.get(suffix).map(|a| a.counts)
    }

    /// Forgets what is older than 24 hours by both clocks and returns it; then says whether one more fits.
    pub(crate) fn expire(&mut self, now: Moment) -> (Vec<Vec<u8>>, Result<()>) {
        let mut gone = Vec::new();
        while self.order.front().is_some_and(|(at, _)| at.is_older_than(IDEMPOTENCY_KEY_TTL_S, now)) {
            if let Some((_, suffix)) = self.order.pop_front() {
                self.answers.remove(&suffix);
                gone.push(suffix);
            }
        }
        let fits = if self.answers.len() < MAX_IDEMPOTENCY_KEYS {
            Ok(())
        } else {
            Err(Error::new(
                Code::TooManyIdempotencyKeys,
                format!("the table remembers {MAX_IDEMPOTENCY_KEYS} idempotency keys"),
            )
            .hint("use a producer with sequence numbers, or wait: keys are forgotten after 24 hours"))
        };
        (gone, fits)
    }

    /// Remembers an answer and returns its disk form.
    pub(crate) fn note(&mut self, suffix: &[u8], counts: BatchCounts, at: Moment) -> Vec<u8> {
        let answer =
            FirstAnswer { version: FIRST_ANSWER_VERSION, counts, stamp_us: at.wall_us, uptime_us: at.uptime_us };
        self.answers.insert(suffix.to_vec(), answer);
        self.order.push_back((at, suffix.to_vec()));
        answer.encode_to_vec()
    }
}

/// Neighbouring entries and what their rejected rows take on disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RejectedBucket {
    pub(crate) first: CommitSeq,
    pub(crate) last: CommitSeq,
    bytes: u64,
    from: Moment,
    newest: Moment,
}

/// Where rejected rows stand and how much they take, without reading them: buckets of about 1 MiB or an hour, oldest first.
#[derive(Default)]
pub(crate) struct RejectedRows {
    buckets: VecDeque<RejectedBucket>,
}

impl RejectedRows {
    /// A record of `bytes` was written with the entry `seq`, which is the last one.
    pub(crate) fn note(&mut self, seq: CommitSeq, bytes: u64, at: Moment) {
        match self.buckets.back_mut() {
            Some(last)
                if last.last == seq
                    || (last.bytes < REJECTED_BUCKET_BYTES && !last.from.is_older_than(REJECTED_BUCKET_S, at)) =>
            {
                (last.last, last.newest) = (seq, at);
                last.bytes += bytes;
            }
            _ => self.buckets.push_back(RejectedBucket { first: seq, last: seq, bytes, from: at, newest: at }),
        }
    }

    /// A record of the entry `seq` takes `after` bytes now, not `before`. `false`: it is forgotten already.
    pub(crate) fn replace(&mut self, seq: CommitSeq, before: u64, after: u64) -> bool {
        let at = self.buckets.partition_point(|bucket| bucket.last < seq);
        let Some(bucket) = self.buckets.get_mut(at).filter(|bucket| bucket.first <= seq) else { return false };
        bucket.bytes = bucket.bytes.saturating_sub(before).saturating_add(after);
        true
    }

    /// What is past the limits: always the oldest buckets.
    fn pick(&self, now: Moment) -> Vec<RejectedBucket> {
        pick_forgotten(self.buckets.iter().map(|b| KeptRows { key: *b, bytes: b.bytes, newest: b.newest }), now)
    }

    fn forget(&mut self, n_oldest: usize) {
        self.buckets.drain(..n_oldest);
    }
}

//! Who may use how much memory? One ledger of named shares that sum to the limit.

mod arriving;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use self::arriving::Arrivals;
pub use self::arriving::{Arriving, MessageKind};
use crate::error::{Code, Error, Result};
use crate::limits::{COLLECTING_DIVISOR, DECODING_DIVISOR, MEMTABLE_BYTES};

/// A part of the process that holds memory for longer than a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Share {
    /// RocksDB's memtables: fixed.
    Memtables,
    /// Rows of realtime segments, and batches on their way into them.
    Realtime,
    /// Key layers.
    Keys,
    /// Pools of running queries, and fresh rows that nobody but readers of older versions has.
    Queries,
    /// Footers, pages, dictionaries.
    Caches,
    /// What is held by nobody by name: allocator slack, connections, code.
    Unassigned,
}

impl Share {
    pub const ALL: [Share; 6] =
        [Share::Memtables, Share::Realtime, Share::Keys, Share::Queries, Share::Caches, Share::Unassigned];

    pub fn name(self) -> &'static str {
        match self {
            Share::Memtables => "memtables",
            Share::Realtime => "realtime",
            Share::Keys => "keys",
            Share::Queries => "queries",
            Share::Caches => "caches",
            Share::Unassigned => "unassigned",
        }
    }

    /// Parts of a hundred of what the memtables leave.
    const fn percent(self) -> u64 {
        match self {
            Share::Memtables => 0,
            Share::Realtime => 30,
            Share::Keys | Share::Queries => 25,
            Share::Caches | Share::Unassigned => 10,
        }
    }
}

/// Two memtables: one is written, one is flushed.
const MEMTABLES_BYTES: u64 = 2 * MEMTABLE_BYTES as u64;

/// The smallest limit with which every share is of use. Who is asked for less refuses, or says that this one is in force.
pub const MIN_LIMIT_BYTES: u64 = 2 * MEMTABLES_BYTES;

/// Permits are counted in this many bytes: a semaphore holds no more than 2^29 or so.
const PERMIT_BYTES: u64 = 1024;

/// Messages that streams read in turn have this part of what is held by nobody by name.
const TURNS_DIVISOR: u64 = 4;

/// While rows hold so many parts of a hundred of their memory, streams wait: the rest is for those who need much at once, or cannot wait.
const STREAMS_PERCENT: u64 = 75;

/// Who waits with less than this in hand is not counted: a connection's buffers are larger.
const SMALL_MESSAGE_BYTES: u64 = 64 << 10;

/// How often a statement that waits for stored rows to go looks again.
const MEMORY_POLL: Duration = Duration::from_millis(50);

/// The ledger. Shared by everything that holds memory; charging is a relaxed atomic addition.
#[derive(Debug)]
pub struct MemoryLedger {
    limit: u64,
    /// What key layers may hold.
    keys: u64,
    used: [AtomicU64; Share::ALL.len()],
    /// Of the realtime share: what is being decoded.
    decoding: Places,
    /// Of the realtime share: what statements collect before they are written.
    collecting: Places,
    /// Streams that wait for memory for rows go on one after the other: those with much, which may wait for a place as well, and others.
    streams: Semaphore,
    small_streams: Semaphore,
    /// Of the unassigned share: messages of streams that are read in turn.
    turns: Places,
    /// Messages from their first byte until they are decoded; counted there, too, whatever its size.
    rows_arriving: Arrivals,
    statements_arriving: Arrivals,
}

impl MemoryLedger {
    /// `limit` bytes for the process; raised to [`MIN_LIMIT_BYTES`], with a warning.
    pub fn new(limit: u64) -> Arc<Self> {
        Self::with_keys(limit, None)
    }

    /// As [`Self::new`], with another share for key layers, at most [`max_keys_bytes`]. More for them is less for fresh rows.
    pub fn with_keys(limit: u64, keys: Option<u64>) -> Arc<Self> {
        if limit < MIN_LIMIT_BYTES {
            let (wanted, in_force) = (limit >> 20, MIN_LIMIT_BYTES >> 20);
            tracing::warn!("a memory limit of {wanted} MiB is less than the server needs: {in_force} MiB are in force");
        }
        let limit = limit.max(MIN_LIMIT_BYTES);
        let keys = keys.map_or(share_of(limit, Share::Keys), |keys| keys.min(max_keys_bytes(limit)));
        let realtime = realtime_beside(limit, keys);
        Arc::new(Self {
            limit,
            keys,
            used: Default::default(),
            decoding: Places::new(realtime / DECODING_DIVISOR),
            collecting: Places::new(realtime / COLLECTING_DIVISOR),
            streams: Semaphore::new(1),
            small_streams: Semaphore::new(1),
            turns: Places::new(share_of(limit, Share::Unassigned) / TURNS_DIVISOR),
            rows_arriving: Arrivals::new(limit, MessageKind::Rows),
            statements_arriving: Arrivals::new(limit, MessageKind::Statement),
        })
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// What a share may hold, in bytes. The shares sum to at most the limit.
    pub fn share(&self, share: Share) -> u64 {
        match share {
            Share::Keys => self.keys,
            Share::Realtime => realtime_beside(self.limit, self.keys),
            other => share_of(self.limit, other),
        }
    }

    pub fn used(&self, share: Share) -> u64 {
        self.used[share as usize].load(Ordering::Relaxed)
    }

    /// Holds `bytes` of `share` until the charge is dropped. Never fails: admission looks at [`Self::used`] before.
    pub fn charge(self: &Arc<Self>, share: Share, bytes: u64) -> Charge {
        self.used[share as usize].fetch_add(bytes, Ordering::Relaxed);
        Charge { ledger: Arc::clone(self), share, bytes }
    }

    /// How full a share is: 0.0 to 1.0 and more.
    pub fn fill(&self, share: Share) -> f64 {
        self.used(share) as f64 / self.share(share).max(1) as f64
    }

    /// Waits until `bytes` more may be decoded in this process, and holds them. More than may ever be decoded at once waits for all of it:
    /// such a payload is decoded alone. Who has a place waits for nothing but a processor, so places always come back.
    pub async fn decoding(self: &Arc<Self>, bytes: u64) -> Result<Decoding> {
        let place = self.decoding.take(bytes).await.map_err(closed)?;
        Ok(Decoding { _place: Some(place), charge: Some(self.charge(Share::Realtime, bytes)) })
    }

    /// The same for a stream, whose client can be made to wait: until [`Self::space_for_rows`] at first, in the order of asking. One goes
    /// on after the other, so that it is counted for those behind it; and none keeps a place meanwhile, which calls and parameters need.
    pub async fn decoding_with_space(self: &Arc<Self>, bytes: u64) -> Result<Decoding> {
        let _turn = self.streams.acquire().await.map_err(closed)?;
        self.space_for_rows().await;
        self.decoding(bytes).await
    }

    /// The same for so little that it needs no place. It waits for nothing while there is memory for rows and none waits before it.
    pub async fn decoding_few_with_space(self: &Arc<Self>, bytes: u64) -> Result<Decoding> {
        let mut turn = None;
        if self.small_streams.available_permits() == 0 || !self.has_space_for_rows() {
            turn = Some(self.small_streams.acquire().await.map_err(closed)?);
            self.space_for_rows().await;
        }
        let charge = self.charge(Share::Realtime, bytes);
        // Not before it is counted.
        drop(turn);
        Ok(Decoding { _place: None, charge: Some(charge) })
    }

    /// What a share holds beyond what it may. What readers keep is of queries; where they are not stopped in time, rows have so much less.
    pub(crate) fn excess(&self, share: Share) -> u64 {
        self.used(share).saturating_sub(self.share(share))
    }

    /// Waits while rows hold three quarters of their memory; the caller bounds the wait. What they hold comes back without anybody who waits
    /// here: the worker writes what is prepared, builds take what is stored, and what statements collect is at most half.
    pub async fn space_for_rows(&self) {
        // Nobody tells when rows that are stored go.
        while !self.has_space_for_rows() {
            tokio::time::sleep(MEMORY_POLL).await;
        }
    }

    fn has_space_for_rows(&self) -> bool {
        let most = self.share(Share::Realtime) / 100 * STREAMS_PERCENT;
        self.used(Share::Realtime) + self.excess(Share::Queries) < most
    }

    /// For a stream, whose client can be made to wait: while memory for rows is scarce, or so many messages are on their way that others
    /// will soon be refused, waits until a message of `bytes` may be in hand before it is read. The caller bounds the wait, and drops the
    /// turn when the message is done with.
    pub async fn turn_to_read(&self, bytes: u64) -> Result<Option<ReadTurn>> {
        let is_small = bytes < SMALL_MESSAGE_BYTES;
        if is_small || !(self.is_collecting_scarce() || self.rows_arriving.is_crowded()) {
            return Ok(None);
        }
        Ok(Some(ReadTurn { _place: self.turns.take(bytes).await.map_err(closed)? }))
    }

    /// Statements hold more than half of what they may collect, or rows that are stored left them nothing: whoever can write early does.
    pub fn is_collecting_scarce(&self) -> bool {
        let free = self.collecting.permits.available_permits() as u64;
        free < self.collecting.total / 2 || self.used(Share::Realtime) >= self.share(Share::Realtime)
    }

    /// For a statement whose rows are collected before they are written; it holds nothing yet.
    pub fn collecting(self: &Arc<Self>) -> Collecting {
        Collecting { place: None, charge: self.charge(Share::Realtime, 0) }
    }
}

/// The most that key layers can be given: half of what the memtables leave.
pub fn max_keys_bytes(limit: u64) -> u64 {
    (limit.max(MIN_LIMIT_BYTES) - MEMTABLES_BYTES) / 2
}

/// Rows and keys have one part of the limit between them.
fn realtime_beside(limit: u64, keys: u64) -> u64 {
    share_of(limit, Share::Realtime) + share_of(limit, Share::Keys) - keys
}

/// What a share of `limit` usually may hold.
fn share_of(limit: u64, share: Share) -> u64 {
    match share {
        Share::Memtables => MEMTABLES_BYTES,
        other => (limit - MEMTABLES_BYTES) / 100 * other.percent(),
    }
}

/// Nobody closes these semaphores.
fn closed(_: AcquireError) -> Error {
    Error::internal("a memory budget was closed")
}

/// Bytes that are held; given back when dropped.
#[derive(Debug)]
pub struct Charge {
    ledger: Arc<MemoryLedger>,
    share: Share,
    bytes: u64,
}

impl Charge {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Holds `bytes` from now on.
    pub fn resize(&mut self, bytes: u64) {
        let used = &self.ledger.used[self.share as usize];
        if bytes >= self.bytes {
            used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }

    pub(crate) fn share(&self) -> Share {
        self.share
    }

    /// From now on the same bytes are of another share.
    pub(crate) fn move_to(&mut self, share: Share) {
        if share != self.share {
            self.ledger.used[share as usize].fetch_add(self.bytes, Ordering::Relaxed);
            self.ledger.used[self.share as usize].fetch_sub(self.bytes, Ordering::Relaxed);
            self.share = share;
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.ledger.used[self.share as usize].fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Places for a number of bytes: who finds none waits, in the order of asking.
#[derive(Debug)]
pub(crate) struct Places {
    permits: Arc<Semaphore>,
    total: u64,
}

impl Places {
    pub(crate) fn new(bytes: u64) -> Self {
        let total = (bytes / PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize) as u64);
        Self { permits: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Bytes that are taken, or kept for who waits.
    fn taken(&self) -> u64 {
        self.total.saturating_sub(self.permits.available_permits() as u64) * PERMIT_BYTES
    }

    /// More than there is takes all there is.
    fn permits_for(&self, bytes: u64) -> u32 {
        bytes.div_ceil(PERMIT_BYTES).clamp(1, self.total) as u32
    }

    pub(crate) async fn take(&self, bytes: u64) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.permits).acquire_many_owned(self.permits_for(bytes)).await
    }

    pub(crate) fn try_take(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_many_owned(self.permits_for(bytes)).ok()
    }

    /// Bytes of what is taken, without `own`.
    pub(crate) fn taken_beside(&self, own: &OwnedSemaphorePermit) -> u64 {
        let free = (self.permits.available_permits() + own.num_permits()) as u64;
        self.total.saturating_sub(free) * PERMIT_BYTES
    }
}

/// A stream may read its next message: it is one of those that may be in hand.
#[derive(Debug)]
pub struct ReadTurn {
    _place: OwnedSemaphorePermit,
}

/// Bytes that are decoded, from before the first is allocated until storage counts the rows.
#[derive(Debug)]
pub struct Decoding {
    /// `None`: they are few.
    _place: Option<OwnedSemaphorePermit>,
    /// `None` when somebody else counts them.
    charge: Option<Charge>,
}

impl Decoding {
    /// Storage is about to count the rows, before it waits for anything: counted twice they could refuse themselves. The place is kept.
    pub fn hand_over(&mut self) {
        drop(self.charge.take());
    }
}

/// What one statement has collected. All statements that collect have a part of the realtime share together, so that slow clients
/// never keep other writers out. Given back when dropped.
#[derive(Debug)]
pub struct Collecting {
    place: Option<OwnedSemaphorePermit>,
    charge: Charge,
}

impl Collecting {
    pub fn bytes(&self) -> u64 {
        self.charge.bytes
    }

    /// Waits until `more` bytes may be held as well; the caller bounds the wait. `MEMORY_PRESSURE` at once if they never may.
    pub async fn grow(&mut self, more: u64) -> Result<()> {
        if more == 0 {
            return Ok(());
        }
        let ledger = Arc::clone(&self.charge.ledger);
        let (total, limit) = (self.charge.bytes.saturating_add(more), ledger.collecting.total * PERMIT_BYTES);
        if total > limit {
            return Err(Error::new(
                Code::MemoryPressure,
                format!("the statement's rows take {total} bytes before they are written, more than {limit}"),
            )
            .hint("send fewer rows in one statement, or raise memory.limit")
            .with("bytes", total)
            .with("limit_bytes", limit));
        }
        let held = self.place.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = (ledger.collecting.permits_for(total) as usize).saturating_sub(held);
        if missing > 0 {
            let permits = Arc::clone(&ledger.collecting.permits).acquire_many_owned(missing as u32);
            self.add_place(permits.await.map_err(closed)?);
        }
        // Rows that are stored have the same share, and nobody tells when they go.
        while ledger.used(Share::Realtime).saturating_add(more) > ledger.share(Share::Realtime) {
            tokio::time::sleep(MEMORY_POLL).await;
        }
        self.charge.resize(total);
        Ok(())
    }

    /// As [`Self::grow`], if nothing has to be waited for. `false`: nothing changed.
    pub fn try_grow(&mut self, more: u64) -> bool {
        if more == 0 {
            return true;
        }
        let ledger = Arc::clone(&self.charge.ledger);
        let total = self.charge.bytes.saturating_add(more);
        let is_full = ledger.used(Share::Realtime).saturating_add(more) > ledger.share(Share::Realtime);
        if is_full || total > ledger.collecting.total * PERMIT_BYTES {
            return false;
        }
        let held = self.place.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = (ledger.collecting.permits_for(total) as usize).saturating_sub(held);
        if missing > 0 {
            let permits = Arc::clone(&ledger.collecting.permits).try_acquire_many_owned(missing as u32);
            let Ok(place) = permits else { return false };
            self.add_place(place);
        }
        self.charge.resize(total);
        true
    }

    /// Holds what `other` held, too. Both are of one ledger.
    pub fn merge(&mut self, mut other: Collecting) {
        let bytes = other.charge.bytes;
        if let Some(place) = other.place.take() {
            self.add_place(place);
        }
        self.charge.resize(self.charge.bytes.saturating_add(bytes));
    }

    /// Gives `bytes` of what is held, or all of it, to another holder.
    pub fn split(&mut self, bytes: u64) -> Collecting {
        let ledger = Arc::clone(&self.charge.ledger);
        let bytes = bytes.min(self.charge.bytes);
        let wanted = if bytes == 0 { 0 } else { ledger.collecting.permits_for(bytes) as usize };
        let place = self.place.as_mut().and_then(|place| place.split(wanted.min(place.num_permits())));
        let charge = ledger.charge(Share::Realtime, bytes);
        self.charge.resize(self.charge.bytes - bytes);
        Collecting { place: place.filter(|place| place.num_permits() > 0), charge }
    }

    fn add_place(&mut self, place: OwnedSemaphorePermit) {
        match &mut self.place {
            Some(own) => own.merge(place),
            None => self.place = Some(place),
        }
    }

    /// `less` bytes of what was held are gone.
    pub fn shrink(&mut self, less: u64) {
        let total = self.charge.bytes.saturating_sub(less);
        self.charge.resize(total);
        let wanted = if total == 0 { 0 } else { self.charge.ledger.collecting.permits_for(total) as usize };
        if let Some(place) = &mut self.place {
            drop(place.split(place.num_permits().saturating_sub(wanted)));
        }
    }

    /// Waits until `bytes` of what is held here may be decoded. They are counted already: only a place is taken.
    pub async fn decoding(&self, bytes: u64) -> Result<Decoding> {
        let place = self.charge.ledger.decoding.take(bytes).await.map_err(closed)?;
        Ok(Decoding { _place: Some(place), charge: None })
    }
}

#[cfg(test)]
mod tests;

//! Who may use how much memory? One ledger of named shares that sum to the limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::MEMTABLE_BYTES;

/// A part of the process that holds memory for longer than a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Share {
    /// RocksDB's memtables: fixed.
    Memtables,
    /// Rows of realtime segments, and batches on their way into them.
    Realtime,
    /// Key layers.
    Keys,
    /// Pools of running queries.
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

/// The smallest limit with which every share is of use.
pub const MIN_LIMIT_BYTES: u64 = 2 * MEMTABLES_BYTES;

/// The ledger. Shared by everything that holds memory; charging is a relaxed atomic addition.
#[derive(Debug)]
pub struct MemoryLedger {
    limit: u64,
    used: [AtomicU64; Share::ALL.len()],
}

impl MemoryLedger {
    /// `limit` bytes for the process; raised to [`MIN_LIMIT_BYTES`].
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(MIN_LIMIT_BYTES), used: Default::default() })
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// What a share may hold, in bytes. The shares sum to at most the limit.
    pub fn share(&self, share: Share) -> u64 {
        match share {
            Share::Memtables => MEMTABLES_BYTES,
            other => (self.limit - MEMTABLES_BYTES) / 100 * other.percent(),
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
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.ledger.used[self.share as usize].fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

//! How much of the messages that are on their way in may be held at once? So much of each kind, of one caller and in all; more waits, or is
//! refused.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Charge, MemoryLedger, SMALL_MESSAGE_BYTES, Share};
use crate::error::{Code, Error, Result};

/// What a message brings. Each kind has its own part of the limit, so that rows keep no statement out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    Rows,
    /// With its parameters.
    Statement,
}

impl MessageKind {
    /// Messages of this kind have this part of the limit. The smallest limit leaves space for a message of the largest size, also in the
    /// part of one caller: 96 MiB for rows, 12 MiB for statements.
    const fn divisor(self) -> u64 {
        match self {
            MessageKind::Rows => 4,
            MessageKind::Statement => 32,
        }
    }
}

/// Messages of one kind that are on their way.
#[derive(Debug)]
pub(super) struct Arrivals {
    total: u64,
    held: Mutex<Held>,
    /// Places were given back.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Held {
    all: u64,
    by_caller: HashMap<Arc<str>, u64>,
}

impl Arrivals {
    pub fn new(limit: u64, kind: MessageKind) -> Self {
        Self { total: limit / kind.divisor(), held: Mutex::default(), freed: Notify::new() }
    }

    /// More than half of what may be on its way is.
    pub fn is_crowded(&self) -> bool {
        self.held.lock().all > self.total / 2
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        let held = self.held.lock();
        held.all == 0 && held.by_caller.is_empty()
    }

    /// A caller has all of it but a part.
    fn of_one(&self) -> u64 {
        self.total / 4 * 3
    }

    fn take(&self, caller: Option<&Arc<str>>, bytes: u64) -> Result<()> {
        let mut held = self.held.lock();
        if let Some(caller) = caller {
            let own = held.by_caller.get(caller).copied().unwrap_or_default();
            if own.saturating_add(bytes) > self.of_one() {
                return Err(full(format!("messages of '{caller}' that are on their way hold {own} bytes")));
            }
        }
        if held.all.saturating_add(bytes) > self.total {
            return Err(full(format!("messages that are on their way hold {} bytes", held.all)));
        }
        held.all += bytes;
        if let Some(caller) = caller {
            *held.by_caller.entry(Arc::clone(caller)).or_default() += bytes;
        }
        Ok(())
    }

    fn give_back(&self, caller: Option<&Arc<str>>, bytes: u64) {
        let mut held = self.held.lock();
        held.all = held.all.saturating_sub(bytes);
        if let Some(caller) = caller
            && let Some(own) = held.by_caller.get_mut(caller)
        {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                held.by_caller.remove(caller);
            }
        }
        drop(held);
        self.freed.notify_waiters();
    }
}

impl MemoryLedger {
    /// A place for a message of `bytes` that `caller` begins to send, until it is dropped; without a caller it counts to all alone. `None`:
    /// small ones need none. Nothing is waited for: `MEMORY_PRESSURE` when there is none.
    pub fn arriving(
        self: &Arc<Self>,
        kind: MessageKind,
        caller: Option<&Arc<str>>,
        bytes: u64,
    ) -> Result<Option<Arriving>> {
        if bytes < SMALL_MESSAGE_BYTES {
            return Ok(None);
        }
        self.arrivals(kind).take(caller, bytes)?;
        let charge = self.charge(Share::Unassigned, bytes);
        Ok(Some(Arriving { ledger: Arc::clone(self), kind, caller: caller.cloned(), charge }))
    }

    /// The same, waited for no longer than `patience`.
    pub async fn arriving_within(
        self: Arc<Self>,
        kind: MessageKind,
        caller: Option<Arc<str>>,
        bytes: u64,
        patience: Duration,
    ) -> Result<Option<Arriving>> {
        let place = async {
            loop {
                // Registered before it looks: what is freed in between wakes it.
                let mut freed = std::pin::pin!(self.arrivals(kind).freed.notified());
                freed.as_mut().enable();
                if let Ok(place) = self.arriving(kind, caller.as_ref(), bytes) {
                    return place;
                }
                freed.await;
            }
        };
        match tokio::time::timeout(patience, place).await {
            Ok(place) => Ok(place),
            Err(_) => self.arriving(kind, caller.as_ref(), bytes),
        }
    }

    fn arrivals(&self, kind: MessageKind) -> &Arrivals {
        match kind {
            MessageKind::Rows => &self.rows_arriving,
            MessageKind::Statement => &self.statements_arriving,
        }
    }
}

/// A message that is on its way.
#[derive(Debug)]
pub struct Arriving {
    ledger: Arc<MemoryLedger>,
    kind: MessageKind,
    caller: Option<Arc<str>>,
    charge: Charge,
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.ledger.arrivals(self.kind).give_back(self.caller.as_ref(), self.charge.bytes());
    }
}

fn full(message: String) -> Error {
    Error::new(Code::MemoryPressure, message)
        .hint("send smaller messages, or fewer at once, or raise memory.limit")
        .retry_after(Duration::from_secs(1))
}

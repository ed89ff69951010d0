//! How much of the messages that are on their way in may be held at once, from the first byte until they are decoded? So much of each kind,
//! of one caller and in all; more waits, or is refused.
//!
//! Nobody waits for each other:
//!
//! * A place is taken in two steps, first of what its caller may hold, then of all. Who has the first waits for the second behind those who
//!   have both, and these need no other place here.
//! * Who has a place needs memory to decode, and memory for rows. What others hold of these comes back without a place here: rows that are
//!   decoded or stored are written, and who collects them writes them when its next message does not come (`give_way`).
//! * The order is that of asking, so that small messages do not keep a large one waiting for ever.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use super::{Charge, MemoryLedger, PERMIT_BYTES, Places, SMALL_MESSAGE_BYTES, Share, closed};
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
    all: Places,
    of_callers: Mutex<HashMap<Arc<str>, OfCaller>>,
}

/// What one caller may hold. It is known as long as somebody holds, or waits for, something of it.
#[derive(Debug)]
struct OfCaller {
    places: Arc<Places>,
    n_users: usize,
}

impl Arrivals {
    pub fn new(limit: u64, kind: MessageKind) -> Self {
        Self { all: Places::new(limit / kind.divisor()), of_callers: Mutex::default() }
    }

    /// More than half of what may be on its way is.
    pub fn is_crowded(&self) -> bool {
        self.all.taken() > self.all.total * PERMIT_BYTES / 2
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.all.taken() == 0 && self.of_callers.lock().is_empty()
    }

    /// A caller has all of it but a part.
    fn of_one(&self) -> u64 {
        self.all.total * PERMIT_BYTES / 4 * 3
    }
}

/// One who uses the places of a caller.
#[derive(Debug)]
struct Part {
    ledger: Arc<MemoryLedger>,
    kind: MessageKind,
    caller: Arc<str>,
    places: Arc<Places>,
}

impl Part {
    fn of(ledger: &Arc<MemoryLedger>, kind: MessageKind, caller: &Arc<str>) -> Self {
        let arrivals = ledger.arrivals(kind);
        let mut of_callers = arrivals.of_callers.lock();
        let new = || OfCaller { places: Arc::new(Places::new(arrivals.of_one())), n_users: 0 };
        let own = of_callers.entry(Arc::clone(caller)).or_insert_with(new);
        own.n_users += 1;
        Self { ledger: Arc::clone(ledger), kind, caller: Arc::clone(caller), places: Arc::clone(&own.places) }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut of_callers = self.ledger.arrivals(self.kind).of_callers.lock();
        if let Some(own) = of_callers.get_mut(&self.caller) {
            own.n_users -= 1;
            if own.n_users == 0 {
                of_callers.remove(&self.caller);
            }
        }
    }
}

/// A place of a caller; it goes before the part that it is of.
type Own = Option<(OwnedSemaphorePermit, Part)>;

impl MemoryLedger {
    /// A place for a message of `bytes` that `caller` begins to send, until it is dropped; without a caller it counts to all alone. `None`:
    /// small ones need none. Nothing is waited for: `MEMORY_PRESSURE` when there is none, or others wait for one.
    pub fn arriving(
        self: &Arc<Self>,
        kind: MessageKind,
        caller: Option<&Arc<str>>,
        bytes: u64,
    ) -> Result<Option<Arriving>> {
        if bytes < SMALL_MESSAGE_BYTES {
            return Ok(None);
        }
        let own = match caller.map(|caller| Part::of(self, kind, caller)) {
            None => None,
            Some(part) => match part.places.try_take(bytes) {
                Some(place) => Some((place, part)),
                None => return Err(full(&format!("messages of '{}'", part.caller), part.places.taken())),
            },
        };
        let all = &self.arrivals(kind).all;
        let place = all.try_take(bytes).ok_or_else(|| full("messages", all.taken()))?;
        Ok(Some(self.arrives(own, place, bytes)))
    }

    /// The same, waited for no longer than `patience`.
    pub async fn arriving_within(
        self: Arc<Self>,
        kind: MessageKind,
        caller: Option<Arc<str>>,
        bytes: u64,
        patience: Duration,
    ) -> Result<Option<Arriving>> {
        if bytes < SMALL_MESSAGE_BYTES {
            return Ok(None);
        }
        let waited = async {
            let own = match caller.as_ref().map(|caller| Part::of(&self, kind, caller)) {
                None => None,
                Some(part) => Some((part.places.take(bytes).await.map_err(closed)?, part)),
            };
            let place = self.arrivals(kind).all.take(bytes).await.map_err(closed)?;
            Ok(Some(self.arrives(own, place, bytes)))
        };
        match tokio::time::timeout(patience, waited).await {
            Ok(place) => place,
            Err(_) => self.arriving(kind, caller.as_ref(), bytes),
        }
    }

    fn arrives(self: &Arc<Self>, own: Own, all: OwnedSemaphorePermit, bytes: u64) -> Arriving {
        Arriving { _own: own, _all: all, _charge: self.charge(Share::Unassigned, bytes) }
    }

    fn arrivals(&self, kind: MessageKind) -> &Arrivals {
        match kind {
            MessageKind::Rows => &self.rows_arriving,
            MessageKind::Statement => &self.statements_arriving,
        }
    }
}

/// A message that is on its way, or in the hand of who decodes it.
#[derive(Debug)]
pub struct Arriving {
    _own: Own,
    _all: OwnedSemaphorePermit,
    _charge: Charge,
}

fn full(whose: &str, bytes: u64) -> Error {
    Error::new(Code::MemoryPressure, format!("{whose} that are on their way hold {bytes} bytes"))
        .hint("send smaller messages, or fewer at once, or raise memory.limit")
        .retry_after(Duration::from_secs(1))
}

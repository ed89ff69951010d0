//! How much may one caller ask for? Requests and bytes a second, and statements at once, for each token, or each user without one.
//!
//! Whoever asks once is refused past a limit (`RATE_LIMITED`, with the time to wait); a stream of rows is read more slowly
//! instead, so that nothing of it has to be sent again.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use tidewater_storage::env::Clock;
use tidewater_storage::{Code, Error, Result, TokenLimits};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Caller;

/// Bytes are counted in these, so that rates fit into 32 bits.
const CELL_BYTES: u64 = 1 << 10;

/// The rate limiter counts time in nanoseconds, one of which lies between two cells at least.
const MAX_CELLS_PER_S: u64 = 1_000_000_000;

/// What a client claims to send closes its limit for no longer.
const MAX_CLOSED_S: f64 = 86_400.0;

/// A statement ends when its caller has read it, which nobody can foresee.
const QUERY_RETRY: Duration = Duration::from_secs(1);

/// Callers that did not come for so long begin anew: what they had used is long theirs again.
const IDLE: Duration = Duration::from_secs(600);

/// So many callers are remembered before the idle ones are looked for.
const SWEEP_FROM: usize = 1_024;

/// The limits of all callers.
pub struct Limits {
    /// Of everybody who has none of their own.
    defaults: TokenLimits,
    clock: Uptime,
    unlimited: Arc<Limiter>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    limiters: HashMap<Key, Arc<Limiter>>,
    /// How many there may be before the idle ones go.
    sweep_at: usize,
}

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    User(String),
    Token(String),
}

/// The limits of one caller, with what was used of them.
pub struct Limiter {
    limits: TokenLimits,
    requests: Option<Meter>,
    bytes: Option<Meter>,
    queries: Option<Arc<Semaphore>>,
    /// When it was asked for, in seconds of uptime.
    used_s: AtomicU64,
}

/// What one stream was sent and does not count yet. Rows that are here are not kept until they may count, since they would keep memory from
/// others; they count before more is read. What a stream leaves unpaid counts with whatever its caller asks for next.
pub struct Debt<'a> {
    limiter: &'a Limiter,
    requests: u64,
    bytes: u64,
}

/// A statement that counts as running until this is dropped.
pub struct RunningQuery {
    _slot: Option<OwnedSemaphorePermit>,
}

impl Limits {
    /// With the limits of everybody who has none of their own. Time is the uptime of `clock`.
    pub fn new(defaults: TokenLimits, clock: Arc<dyn Clock>) -> Self {
        let clock = Uptime(clock);
        let unlimited = Arc::new(Limiter::new(TokenLimits::default(), &clock));
        Self { defaults, clock, unlimited, known: Mutex::default() }
    }

    /// No limits for anybody.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self::new(TokenLimits::default(), Arc::new(tidewater_storage::env::SystemClock::new()))
    }

    /// `PERMISSION_DENIED` for limits of a token that let it ask for more than anybody may: those are for an admin to give.
    pub fn check_own(&self, wanted: &TokenLimits) -> Result<()> {
        let most = &self.defaults;
        let pairs = [
            ("requests_per_second", wanted.requests_per_s.map(u64::from), most.requests_per_s.map(u64::from)),
            ("bytes_per_second", wanted.bytes_per_s, most.bytes_per_s),
            ("concurrent_queries", wanted.concurrent_queries.map(u64::from), most.concurrent_queries.map(u64::from)),
        ];
        for (name, wanted, most) in pairs {
            if let (Some(wanted), Some(most)) = (wanted, most)
                && wanted > most
            {
                let message =
                    format!("the token would have {name} = {wanted}, more than {most}, the limit of everybody");
                return Err(Error::new(Code::PermissionDenied, message)
                    .hint("ask for less, or ask an administrator for such a token"));
            }
        }
        Ok(())
    }

    /// The limits of a caller: those of the token, and for what that leaves open the general ones.
    pub fn of(&self, caller: &Caller) -> Arc<Limiter> {
        let own = caller.token().map(|token| token.limits).unwrap_or_default();
        let limits = TokenLimits {
            requests_per_s: own.requests_per_s.or(self.defaults.requests_per_s),
            bytes_per_s: own.bytes_per_s.or(self.defaults.bytes_per_s),
            concurrent_queries: own.concurrent_queries.or(self.defaults.concurrent_queries),
        };
        if limits == TokenLimits::default() {
            return Arc::clone(&self.unlimited);
        }
        let key = match caller.token() {
            Some(token) => Key::Token(token.id.clone()),
            None => Key::User(caller.principal.name.clone()),
        };
        let limiter = self.known.lock().limiter(key, limits, &self.clock);
        limiter.used_s.store(self.clock.seconds(), Ordering::Relaxed);
        limiter
    }
}

impl Known {
    fn limiter(&mut self, key: Key, limits: TokenLimits, clock: &Uptime) -> Arc<Limiter> {
        // A token whose limits were changed begins anew.
        if let Some(limiter) = self.limiters.get(&key).filter(|limiter| limiter.limits == limits) {
            return Arc::clone(limiter);
        }
        if self.limiters.len() >= self.sweep_at.max(SWEEP_FROM) {
            let since_s = clock.seconds().saturating_sub(IDLE.as_secs());
            self.limiters.retain(|_, limiter| {
                Arc::strong_count(limiter) > 1 || limiter.used_s.load(Ordering::Relaxed) >= since_s
            });
            self.sweep_at = 2 * self.limiters.len();
        }
        let limiter = Arc::new(Limiter::new(limits, clock));
        self.limiters.insert(key, Arc::clone(&limiter));
        limiter
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Limiter {
    fn new(limits: TokenLimits, clock: &Uptime) -> Self {
        Self {
            limits,
            requests: limits.requests_per_s.and_then(|rate| Meter::new(u64::from(rate), clock)),
            bytes: limits.bytes_per_s.and_then(|rate| Meter::new(rate.div_ceil(CELL_BYTES), clock)),
            queries: limits.concurrent_queries.filter(|most| *most > 0).map(|most| {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))
            }),
            used_s: AtomicU64::new(clock.seconds()),
        }
    }

    /// One request more. `RATE_LIMITED` past the limit.
    pub fn request(&self) -> Result<()> {
        let limit = self.limits.requests_per_s.unwrap_or_default();
        take(self.requests.as_ref(), 1, || format!("more than {limit} requests a second"))
    }

    /// So many bytes of rows more, as they were sent. `RATE_LIMITED` past the limit; more than a second's worth at once is taken when
    /// nothing was for a second, and counts for all that it is.
    pub fn bytes(&self, n: u64) -> Result<()> {
        let limit = self.limits.bytes_per_s.unwrap_or_default();
        take(self.bytes.as_ref(), n.div_ceil(CELL_BYTES), || format!("more than {limit} bytes of rows a second"))
    }

    /// The same for a stream that can wait: returns when they are within the limit.
    pub async fn bytes_in_time(&self, n: u64) {
        while let Err(error) = self.bytes(n) {
            tokio::time::sleep(error.retry_delay().unwrap_or(QUERY_RETRY)).await;
        }
    }

    /// A statement begins. `RATE_LIMITED` if as many run as may.
    pub fn query(&self) -> Result<RunningQuery> {
        let Some(queries) = &self.queries else { return Ok(RunningQuery { _slot: None }) };
        match Arc::clone(queries).try_acquire_owned() {
            Ok(slot) => Ok(RunningQuery { _slot: Some(slot) }),
            Err(_) => {
                let most = self.limits.concurrent_queries.unwrap_or_default();
                Err(limited(format!("more than {most} statements at once"), QUERY_RETRY))
            }
        }
    }
}

impl<'a> Debt<'a> {
    /// Of a stream that was sent nothing yet.
    pub fn new(limiter: &'a Limiter) -> Self {
        Self { limiter, requests: 0, bytes: 0 }
    }

    /// A batch of so many bytes is here.
    pub fn add(&mut self, bytes: u64) {
        self.requests += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Counts what is owed. `RATE_LIMITED` until all of it is within the limits; who owes nothing waits for what others have taken, too.
    pub fn pay(&mut self) -> Result<()> {
        while self.requests > 0 {
            self.limiter.request()?;
            self.requests -= 1;
        }
        self.limiter.bytes(self.bytes)?;
        self.bytes = 0;
        Ok(())
    }
}

impl Drop for Debt<'_> {
    fn drop(&mut self) {
        let Limiter { requests, bytes, .. } = self.limiter;
        for (meter, owed) in [(requests, self.requests), (bytes, self.bytes.div_ceil(CELL_BYTES))] {
            if let Some(meter) = meter {
                meter.owe(owed);
            }
        }
    }
}

fn take(meter: Option<&Meter>, cells: u64, what: impl FnOnce() -> String) -> Result<()> {
    match meter.map_or(Ok(()), |meter| meter.take(cells)) {
        Ok(()) => Ok(()),
        Err(wait) => Err(limited(what(), wait)),
    }
}

fn limited(what: String, wait: Duration) -> Error {
    // Less is of no use to a client, and would let one that waits for it turn in circles.
    let wait = wait.max(Duration::from_millis(1));
    Error::new(Code::RateLimited, format!("{what}: that is the limit of this user or token"))
        .hint("wait before the next request, or ask an administrator for a higher limit")
        .retry_after(wait)
}

/// Counts against a rate, of which a second's worth may come at once.
struct Meter {
    limiter: RateLimiter<NotKeyed, InMemoryState, Uptime, NoOpMiddleware<Nanos>>,
    clock: Uptime,
    cells_per_s: NonZeroU32,
    beyond: Mutex<Beyond>,
}

/// What the limiter has no measure for.
#[derive(Default)]
struct Beyond {
    /// Until then nothing is taken: more than a second's worth came at once.
    closed_until: Nanos,
    /// Taken with the next.
    owed: u64,
}

impl Meter {
    fn new(cells_per_s: u64, clock: &Uptime) -> Option<Self> {
        let cells_per_s = NonZeroU32::new(u32::try_from(cells_per_s.min(MAX_CELLS_PER_S)).ok()?)?;
        let limiter = RateLimiter::direct_with_clock(Quota::per_second(cells_per_s), clock.clone());
        Some(Self { limiter, clock: clock.clone(), cells_per_s, beyond: Mutex::default() })
    }

    /// So many are used already, by whom nobody can ask to wait any more.
    fn owe(&self, cells: u64) {
        let mut beyond = self.beyond.lock();
        beyond.owed = beyond.owed.saturating_add(cells);
    }

    /// Takes so many at once and what is owed, or says how long to wait.
    fn take(&self, cells: u64) -> Result<(), Duration> {
        let most = u64::from(self.cells_per_s.get());
        let now = self.clock.now();
        let mut beyond = self.beyond.lock();
        if beyond.closed_until > now {
            return Err(Duration::from_nanos(beyond.closed_until.as_u64() - now.as_u64()));
        }
        let cells = cells.saturating_add(beyond.owed);
        let Some(now_taken) = u32::try_from(cells.min(most)).ok().and_then(NonZeroU32::new) else { return Ok(()) };
        match self.limiter.check_n(now_taken) {
            Ok(Ok(())) => {}
            Ok(Err(not_until)) => return Err(not_until.wait_time_from(now)),
            // No more than a second's worth is asked for.
            Err(_) => return Err(Duration::from_secs(1)),
        }
        beyond.owed = 0;
        if cells > most {
            beyond.closed_until = now + Duration::from_secs_f64((cells as f64 / most as f64).min(MAX_CLOSED_S));
        }
        Ok(())
    }
}

/// The uptime of the process as the rate limiter's time.
#[derive(Clone)]
struct Uptime(Arc<dyn Clock>);

impl Uptime {
    fn seconds(&self) -> u64 {
        self.0.uptime().as_secs()
    }
}

impl governor::clock::Clock for Uptime {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.uptime().into()
    }
}

#[cfg(test)]
mod tests;

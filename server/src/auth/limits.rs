//! How much may one caller ask for? Requests and bytes a second, and statements at once, for each token, or each user without one.
//!
//! Whoever asks for too much is refused (`RATE_LIMITED`, with the time to wait). Rows wait until more bytes may come, so that they need not be
//! sent again: those of a call for a while, those of streams and uploads for longer. They wait in one queue: whoever is refused and
//! comes back is late, and would find that those who wait here have used everything up.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidewater_storage::env::Clock;
use tidewater_storage::{Code, Error, Result, TokenLimits};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Caller;

/// So much time's worth may come at once.
const BURST: Duration = Duration::from_secs(1);

/// Nobody waits longer for what came before: past it, more is free.
const MAX_DEBT: Duration = Duration::from_secs(86_400);

/// A call waits no longer for its bytes: its rows are in memory meanwhile.
const MAX_CALL_WAIT: Duration = Duration::from_secs(10);

/// Batches of streams, which wait, leave this part of a second's requests to calls, which are refused.
const OF_CALLS: u64 = 10;

/// Batches leave calls something for no longer than this, so that calls that come again and again keep them from no request.
const MAX_LEFT_TO_CALLS: Duration = BURST;

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
    requests: Option<Allowance>,
    bytes: Option<Allowance>,
    /// Whoever waits for bytes, first come, first served.
    turns: tokio::sync::Mutex<()>,
    queries: Option<Arc<Semaphore>>,
    /// When it was asked for, in seconds of uptime.
    used_s: AtomicU64,
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
                let is_used = Arc::strong_count(limiter) > 1 || limiter.used_s.load(Ordering::Relaxed) >= since_s;
                // Whoever sent much and then nothing would begin anew, and so would whoever reads a result for long.
                is_used || limiter.batch().is_err() || limiter.is_running()
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
        let at = |rate: Option<u64>| rate.and_then(NonZeroU64::new).map(|per_s| Allowance::new(per_s, clock));
        Self {
            limits,
            requests: at(limits.requests_per_s.map(u64::from)),
            bytes: at(limits.bytes_per_s),
            turns: tokio::sync::Mutex::default(),
            queries: limits.concurrent_queries.filter(|most| *most > 0).map(|most| {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))
            }),
            used_s: AtomicU64::new(clock.seconds()),
        }
    }

    /// One request more. `RATE_LIMITED` past the limit.
    pub fn request(&self) -> Result<()> {
        self.requests.as_ref().map_or(Ok(()), |requests| requests.take(1)).map_err(|wait| self.past_requests(wait))
    }

    /// So many bytes of a call's rows more, as they were sent. It waits for its turn, and they count for all that they are. `RATE_LIMITED`, with
    /// the time after which it may wait again: at once if more than `MAX_CALL_WAIT` is missing, and after that time without a turn.
    pub async fn call(&self, n: u64) -> Result<()> {
        let Some(bytes) = &self.bytes else { return Ok(()) };
        match bytes.left() {
            Err(wait) if wait > MAX_CALL_WAIT => Err(self.call_past_bytes(wait)),
            _ => {
                let turn = tokio::time::timeout(MAX_CALL_WAIT, self.in_turn(|| bytes.take(n))).await;
                turn.map_err(|_| self.call_past_bytes(self.missing()))
            }
        }
    }

    /// The same of a call that may not wait: `RATE_LIMITED` if its turn has not come.
    pub fn call_now(&self, n: u64) -> Result<()> {
        let Some(bytes) = &self.bytes else { return Ok(()) };
        let taken = match self.turns.try_lock() {
            Ok(_turn) => bytes.take(n),
            Err(_) => Err(self.missing()),
        };
        taken.map_err(|wait| self.call_past_bytes(wait))
    }

    /// Whether the next batch of a stream may come: as [`Self::batch_in_time`], and `RATE_LIMITED` if it may not. Nothing is used up yet.
    pub fn batch(&self) -> Result<()> {
        self.bytes_left()?;
        self.requests.as_ref().map_or(Ok(()), Allowance::left_for_batch).map_err(|wait| self.past_requests(wait))
    }

    /// Returns when the next batch of a stream may come. It counts with [`Self::batch_came`] once it is here: nobody knows when its client sends
    /// it, nor how large it is.
    pub async fn batch_in_time(&self) {
        if let Some(requests) = &self.requests {
            // Outside the queue: uploads and calls, which have their requests, do not wait for those of batches.
            let _ = tokio::time::timeout(MAX_LEFT_TO_CALLS, until(|| requests.left_for_batch())).await;
            until(|| requests.left()).await;
        }
        self.bytes_in_time().await;
    }

    /// Returns when bytes of a stream may come, which count with [`Self::came`] once they are here.
    pub async fn bytes_in_time(&self) {
        if let Some(bytes) = &self.bytes {
            self.in_turn(|| bytes.left()).await;
        }
    }

    /// The same, and `RATE_LIMITED` after `at_most`, with the time that is missing then.
    pub async fn bytes_within(&self, at_most: Duration) -> Result<()> {
        let turn = tokio::time::timeout(at_most, self.bytes_in_time()).await;
        turn.map_err(|_| self.past_bytes(self.missing()))
    }

    /// A batch of so many bytes is here.
    pub fn batch_came(&self, n: u64) {
        if let Some(requests) = &self.requests {
            requests.spend(1);
        }
        self.came(n);
    }

    /// So many bytes of a stream are here. They are not kept until they are within the limit, since they would keep memory from others; whoever
    /// asks from now on waits for them. Those who had their turn before, and wait for what their clients send, may still send one batch each.
    pub fn came(&self, n: u64) {
        if let Some(bytes) = &self.bytes {
            bytes.spend(n);
        }
    }

    /// Waits until those who came before have had their turn, and then for what is missing. Whoever waits here goes on to do so, or drops
    /// this: it may have the turn, which others wait for.
    async fn in_turn(&self, left: impl Fn() -> Result<(), Duration>) {
        let _turn = self.turns.lock().await;
        until(left).await;
    }

    /// How long it takes until bytes are left. Nothing may be missing while others are first.
    fn missing(&self) -> Duration {
        self.bytes.as_ref().and_then(|bytes| bytes.left().err()).unwrap_or_default()
    }

    fn bytes_left(&self) -> Result<()> {
        self.bytes.as_ref().map_or(Ok(()), Allowance::left).map_err(|wait| self.past_bytes(wait))
    }

    fn past_bytes(&self, wait: Duration) -> Error {
        let limit = self.limits.bytes_per_s.unwrap_or_default();
        limited(format!("more than {limit} bytes of rows a second"), wait)
    }

    /// Who waited for all that is missing would come when those who wait here have had it: a call comes back while it may wait, too.
    fn call_past_bytes(&self, wait: Duration) -> Error {
        self.past_bytes(if wait > MAX_CALL_WAIT { wait - MAX_CALL_WAIT / 2 } else { wait })
    }

    fn past_requests(&self, wait: Duration) -> Error {
        let limit = self.limits.requests_per_s.unwrap_or_default();
        limited(format!("more than {limit} requests a second"), wait)
    }

    /// A statement of the caller runs.
    fn is_running(&self) -> bool {
        // Each has a handle of its own.
        self.queries.as_ref().is_some_and(|queries| Arc::strong_count(queries) > 1)
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

fn limited(what: String, wait: Duration) -> Error {
    // Less is of no use to a client, and would let one that waits for it turn in circles.
    let wait = wait.max(Duration::from_millis(1));
    Error::new(Code::RateLimited, format!("{what}: that is the limit of this user or token"))
        .hint("wait before the next request, or ask an administrator for a higher limit")
        .retry_after(wait)
}

/// Returns when `left` says so, which else says how long to wait before it is asked again.
async fn until(left: impl Fn() -> Result<(), Duration>) {
    while let Err(wait) = left() {
        tokio::time::sleep(wait).await;
    }
}

/// Requests or bytes at a rate. Of a batch nobody knows how large it is before it is there, so it is taken while anything is left, and may take
/// more than that: a token bucket that may be in debt, kept as the time at which it is full (the generic cell rate algorithm of ITU-T I.371).
struct Allowance {
    per_s: NonZeroU64,
    clock: Uptime,
    full_at: Mutex<Duration>,
}

impl Allowance {
    fn new(per_s: NonZeroU64, clock: &Uptime) -> Self {
        Self { per_s, clock: clock.clone(), full_at: Mutex::new(Duration::ZERO) }
    }

    /// How long so many take.
    fn time_of(&self, n: u64) -> Duration {
        let nanos = u128::from(n) * 1_000_000_000 / u128::from(self.per_s.get());
        u64::try_from(nanos).map_or(MAX_DEBT, Duration::from_nanos).min(MAX_DEBT)
    }

    /// Whether one is left, or how long it takes until one is.
    fn left(&self) -> Result<(), Duration> {
        self.left_at(*self.full_at.lock(), 1)
    }

    /// The same of one for a batch of a stream, and behind it what is left to calls.
    fn left_for_batch(&self) -> Result<(), Duration> {
        let per_s = self.per_s.get();
        // No more is ever left at once than comes in a second.
        let n = ((per_s / OF_CALLS).max(1) + 1).min(per_s);
        self.left_at(*self.full_at.lock(), n)
    }

    /// Whether so many are left.
    fn left_at(&self, full_at: Duration, n: u64) -> Result<(), Duration> {
        let wait = (full_at + self.time_of(n)).saturating_sub(self.clock.0.uptime() + BURST);
        if wait.is_zero() { Ok(()) } else { Err(wait) }
    }

    /// Takes so many while one is left.
    fn take(&self, n: u64) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock();
        self.left_at(*full_at, 1)?;
        self.spend_of(&mut full_at, n);
        Ok(())
    }

    /// So many are used, whatever is left.
    fn spend(&self, n: u64) {
        self.spend_of(&mut self.full_at.lock(), n);
    }

    fn spend_of(&self, full_at: &mut Duration, n: u64) {
        let now = self.clock.0.uptime();
        *full_at = ((*full_at).max(now) + self.time_of(n)).min(now + MAX_DEBT);
    }
}

/// The uptime of the process.
#[derive(Clone)]
struct Uptime(Arc<dyn Clock>);

impl Uptime {
    fn seconds(&self) -> u64 {
        self.0.uptime().as_secs()
    }
}

#[cfg(test)]
mod tests;

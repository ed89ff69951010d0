//! What time is it? Wall clock and uptime; nothing else in the project reads a clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub trait Clock: Send + Sync {
    /// Microseconds since 1970-01-01 UTC. May jump in both directions.
    fn now_us(&self) -> i64;

    /// Time since the clock was made, and how far it is ahead. Never goes back.
    fn uptime(&self) -> Duration;
}

/// A moment on both clocks of a log. What is forgotten is old on both: a wall clock that jumps ahead forgets nothing, and time that
/// the process did not run only delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment {
    /// Microseconds since 1970; never goes back within a log.
    pub wall_us: i64,
    /// Uptime that the log has accumulated, in microseconds.
    pub uptime_us: u64,
}

impl Moment {
    /// At least `seconds` lie between this and `now`, on each clock.
    pub fn is_older_than(self, seconds: u64, now: Moment) -> bool {
        let age_us = i128::from(seconds) * 1_000_000;
        i128::from(now.wall_us) - i128::from(self.wall_us) >= age_us
            && i128::from(now.uptime_us) - i128::from(self.uptime_us) >= age_us
    }
}

/// The machine's clocks.
pub struct SystemClock {
    start: Instant,
    ahead: Duration,
}

impl SystemClock {
    #[expect(clippy::new_without_default, reason = "reading the clock is not a default")]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn new() -> Self {
        Self { start: Instant::now(), ahead: Duration::ZERO }
    }

    /// Both clocks are ahead by so much, as if the process had run for as long already: what takes a week is tested so, with a second start
    /// over the same folder. In release builds they are not.
    pub fn ahead_by(ahead: Duration) -> Self {
        let ahead = if cfg!(debug_assertions) { ahead } else { Duration::ZERO };
        Self { ahead, ..Self::new() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now_us(&self) -> i64 {
        let now_us = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        };
        now_us.saturating_add(i64::try_from(self.ahead.as_micros()).unwrap_or(i64::MAX))
    }

    fn uptime(&self) -> Duration {
        self.start.elapsed().saturating_add(self.ahead)
    }
}

/// A clock that moves when a test says so.
pub struct ManualClock {
    wall_us: AtomicI64,
    up_us: AtomicI64,
}

impl ManualClock {
    pub fn at(wall_us: i64) -> Self {
        Self { wall_us: AtomicI64::new(wall_us), up_us: AtomicI64::new(0) }
    }

    /// Time passes: both clocks move.
    pub fn advance(&self, by: Duration) {
        let us = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.wall_us.fetch_add(us, Ordering::SeqCst);
        self.up_us.fetch_add(us, Ordering::SeqCst);
    }

    /// Somebody sets the wall clock.
    pub fn set_wall(&self, wall_us: i64) {
        self.wall_us.store(wall_us, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_us(&self) -> i64 {
        self.wall_us.load(Ordering::SeqCst)
    }

    fn uptime(&self) -> Duration {
        Duration::from_micros(self.up_us.load(Ordering::SeqCst).unsigned_abs())
    }
}

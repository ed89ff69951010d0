//! Which files are tested now, in which order? Pure: what is known of them in, places out.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::Code;

/// When nothing was due, all files are looked through again so much later, and a Delta log that is not known to be whole.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// A Delta log that could not be asked, again and again, is asked once in such a time: its store may be away for days.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How files are tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubOptions {
    /// Bytes a second, at most; `None`: only what a reader stumbles over is tested.
    pub rate: Option<u64>,
    /// A file on the local disk is tested so long after it was last tested; `None`: once after each start.
    pub interval: Option<Duration>,
    /// A file in a store elsewhere is tested once in such a time; `None`: never.
    pub remote_interval: Option<Duration>,
}

impl Default for ScrubOptions {
    fn default() -> Self {
        Self { rate: Some(32 << 20), interval: Some(Duration::from_secs(7 * 86_400)), remote_interval: None }
    }
}

/// What is known of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) name: &'a str,
    pub(crate) created_at_us: i64,
    pub(crate) is_local: bool,
    /// Uptime when it was last tested, in this process.
    pub(crate) tested: Option<Duration>,
}

/// The moment of a choice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Of the process.
    pub(crate) uptime: Duration,
    /// Since 1970, now and at the last choice; what is between them is due now. The clock may have been set.
    pub(crate) wall_us: i64,
    pub(crate) last_wall_us: i64,
}

/// What is known of the tests of one Delta log.
#[derive(Debug, Default)]
pub(crate) struct LogTests {
    /// Uptime when it is due.
    pub(crate) due: Duration,
    /// Before that, since the last test.
    wait: Duration,
    /// What kept it from being asked, until it could be. Not in words: those of a store tell how long it took.
    failed: Option<Code>,
}

impl LogTests {
    /// It was tested at `uptime`: whether it is whole, `None`: nobody asked, or could not be asked, which a file may find out as well. Whether
    /// that it could not is news.
    pub(crate) fn note(
        &mut self,
        outcome: Result<Option<bool>, Code>,
        uptime: Duration,
        options: &ScrubOptions,
    ) -> bool {
        let before = self.failed;
        (self.wait, self.failed) = match outcome {
            Ok(Some(true)) => (options.interval.unwrap_or(Duration::MAX), None),
            Ok(Some(false)) => (LOOK_INTERVAL, None),
            // Somebody is at it who may wait for the store as well.
            Ok(None) => (LOOK_INTERVAL, before),
            Err(code) if before.is_none() => (LOOK_INTERVAL, Some(code)),
            Err(code) => ((self.wait * 2).min(LONGEST_WAIT), Some(code)),
        };
        self.due = uptime.saturating_add(self.wait);
        outcome.is_err() && self.failed != before
    }

    /// Its store was not there, and has not answered since.
    pub(crate) fn is_away(&self) -> bool {
        self.failed == Some(Code::StoreUnavailable)
    }
}

/// Places in `files` that are due: those that were never tested, the newest first, then those whose test is oldest.
pub(crate) fn due(files: &[Candidate<'_>], now: Now, options: &ScrubOptions) -> Vec<usize> {
    let is_due = |file: &Candidate<'_>| match (file.is_local, file.tested) {
        (true, None) => true,
        (true, Some(tested)) => options.interval.is_some_and(|interval| now.uptime.saturating_sub(tested) >= interval),
        (false, _) => options.remote_interval.is_some_and(|interval| is_moment_of(file.name, interval, now)),
    };
    let mut due: Vec<usize> = (0..files.len()).filter(|&at| is_due(&files[at])).collect();
    due.sort_by_key(|&at| (files[at].tested, std::cmp::Reverse(files[at].created_at_us)));
    due
}

/// The moment of a file comes once in each interval. It follows from the name, so that nothing has to be remembered over a restart and the
/// files are spread over the interval; what comes while the server does not run is left for the next time.
fn is_moment_of(name: &str, interval: Duration, now: Now) -> bool {
    let interval_us = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX).max(1);
    let offset_us = i64::try_from(xxh3_64(name.as_bytes()) % interval_us.unsigned_abs()).unwrap_or(0);
    let turn = |wall_us: i64| wall_us.saturating_sub(offset_us).div_euclid(interval_us);
    turn(now.wall_us) > turn(now.last_wall_us)
}

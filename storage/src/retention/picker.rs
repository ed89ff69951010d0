//! Is a file past its table's retention? Pure. What was deleted does not come back, so its age is taken twice.

use crate::env::Moment;

/// The clock may have been wrong when the file was made: somebody has a day to see that rows are missing before they are gone.
const LEAST_UPTIME_US: i64 = 86_400_000_000;

/// Whether every row of a file, whose newest has the event time `max_time_us`, is older than `retention_us` by both clocks: by the wall
/// clock, and by what the wall clock said when the file came into the table (`since`) plus the uptime since then. A wall clock that jumps
/// ahead deletes nothing, and time that the server does not run only delays. In any case the file was in the table for a day of uptime, or
/// for as long as the retention is if that is shorter.
pub(crate) fn is_past(max_time_us: i64, since: Moment, now: Moment, retention_us: i64) -> bool {
    let uptime_us = i64::try_from(now.uptime_us.saturating_sub(since.uptime_us)).unwrap_or(i64::MAX);
    let wall_us = now.wall_us.min(since.wall_us.saturating_add(uptime_us));
    let waited = uptime_us >= retention_us.min(LEAST_UPTIME_US);
    waited && max_time_us < wall_us.saturating_sub(retention_us)
}

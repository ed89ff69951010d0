//! What do wall clocks in a zone show, and when? Instants to local time and back, with the offset's span remembered.

use std::str::FromStr;

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use chrono::{DateTime, Offset, TimeZone, Utc};
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use tidewater_storage::{Code, Error};

/// Time between two probes for a change of offset: no zone changes twice within a day.
const PROBE_US: i64 = 86_400_000_000;
/// Probes in each direction; what lies further is looked up when it comes.
const MAX_PROBES: usize = 200;

/// A zone whose last used offset is remembered with its span: neighbouring rows mostly share it. Times are microseconds
/// since 1970; local times count as if the clock stood in UTC.
pub(in crate::functions) struct ZoneClock {
    tz: Tz,
    /// Instants `[start, end)` with this offset.
    span: (i64, i64, i64),
    /// The last answer of [`Self::first_instant`]: a day holds many rows.
    first: Option<(i64, i64)>,
}

impl ZoneClock {
    /// An IANA name, `UTC`, or an offset such as `+02:00`.
    pub fn new(name: &str) -> Result<Self> {
        let tz = parse(name).ok_or_else(|| {
            exec_datafusion_err!(
                "'{name}' is not a time zone; use an IANA name such as 'Europe/Berlin' or an offset such as '+02:00'"
            )
        })?;
        Ok(Self::of(tz))
    }

    pub fn of(tz: Tz) -> Self {
        Self { tz, span: (0, 0, 0), first: None }
    }

    /// What the zone's clocks are ahead of UTC at an instant.
    pub fn offset(&mut self, instant: i64) -> i64 {
        let (start, end, offset) = self.span;
        if (start..end).contains(&instant) {
            return offset;
        }
        let offset = self.look_up(instant);
        let start = self.edge(instant, offset, -PROBE_US);
        let end = self.edge(instant, offset, PROBE_US);
        self.span = (start, end, offset);
        offset
    }

    /// What a wall clock shows at an instant; `None` past the range of 64 bits.
    pub fn local(&mut self, instant: i64) -> Option<i64> {
        instant.checked_add(self.offset(instant))
    }

    /// The start of the offset's span that `instant` is in. Only exact if it is less than [`MAX_PROBES`] days back.
    pub fn span_start(&mut self, instant: i64) -> i64 {
        self.offset(instant);
        self.span.0
    }

    /// The first instant at which clocks show `local` or, where they skip it, have passed it.
    pub fn first_instant(&mut self, local: i64) -> Option<i64> {
        if let Some((at, instant)) = self.first
            && at == local
        {
            return Some(instant);
        }
        let instant = self.find_first_instant(local)?;
        self.first = Some((local, instant));
        Some(instant)
    }

    /// The same, if they show nothing less behind it: a `local` that they show twice has no such instant.
    pub fn only_instant(&mut self, local: i64) -> Option<i64> {
        let instant = self.first_instant(local)?;
        self.offset(instant);
        let end = self.span.1;
        (self.local(end)? >= local).then_some(instant)
    }

    /// The latest time that clocks have shown until an instant: what they show at it, unless they were put back shortly before.
    pub fn latest_shown(&mut self, instant: i64) -> Option<i64> {
        let shown = self.local(instant)?;
        let start = self.span_start(instant);
        // No zone is put back by more than a day.
        if instant.checked_sub(start)? > 2 * PROBE_US {
            return Some(shown);
        }
        Some(shown.max(self.local(start.checked_sub(1)?)?))
    }

    fn find_first_instant(&self, local: i64) -> Option<i64> {
        // A day before and a day after, clocks show less and more whatever happens between: offsets stay below a day.
        let (mut low, mut high) = (local.checked_sub(2 * PROBE_US)?, local.checked_add(2 * PROBE_US)?);
        let (before, after) = (self.look_up(low), self.look_up(high));
        if before == after {
            return local.checked_sub(before);
        }
        let candidates = [local.checked_sub(before.max(after))?, local.checked_sub(before.min(after))?];
        for candidate in candidates {
            if candidate.checked_add(self.look_up(candidate))? == local {
                return Some(candidate);
            }
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if middle.checked_add(self.look_up(middle))? < local { low = middle + 1 } else { high = middle }
        }
        Some(low)
    }

    fn look_up(&self, instant: i64) -> i64 {
        // chrono's dates end before 64-bit microseconds do: beyond them no zone has rules.
        let at: DateTime<Utc> = DateTime::from_timestamp_micros(instant).unwrap_or_default();
        i64::from(self.tz.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc()) * 1_000_000
    }

    /// Where the span of `offset` around `instant` ends in the direction of `step`.
    fn edge(&self, instant: i64, offset: i64, step: i64) -> i64 {
        let mut inside = instant;
        for _ in 0..MAX_PROBES {
            let probe = inside.saturating_add(step);
            if probe == inside {
                break;
            }
            if self.look_up(probe) != offset {
                return self.change_between(inside, probe, offset);
            }
            inside = probe;
        }
        // The far end belongs to the span.
        if step > 0 { inside.saturating_add(1) } else { inside }
    }

    /// The instant of change between one inside the span and one outside: its start, or its exclusive end.
    fn change_between(&self, mut inside: i64, mut outside: i64, offset: i64) -> i64 {
        while inside.abs_diff(outside) > 1 {
            let middle = inside.midpoint(outside);
            if self.look_up(middle) == offset { inside = middle } else { outside = middle }
        }
        inside.max(outside)
    }
}

/// A zone of that name or offset.
pub(in crate::functions) fn parse(name: &str) -> Option<Tz> {
    Tz::from_str(name.trim()).ok()
}

/// The instant that a text names, µs since 1970: RFC 3339, or with a space, with less than all of it. Without an offset it is a time in `zone`: the
/// first instant at which clocks there show it, or have passed it.
pub fn instant_us(text: &str, zone: &str) -> Result<i64, Error> {
    let tz = parse(zone).ok_or_else(|| {
        Error::new(Code::InvalidSetting, format!("'{}' is not a time zone", shown(zone)))
            .hint("use an IANA name such as 'Europe/Berlin' or an offset such as '+02:00'")
    })?;
    let read = string_to_datetime(&tz, text.trim()).map(|time| time.timestamp_micros()).ok();
    // None of a time that they show twice, or skip.
    let first = || ZoneClock::of(tz).first_instant(string_to_datetime(&Utc, text.trim()).ok()?.timestamp_micros());
    read.or_else(first).ok_or_else(|| {
        Error::new(Code::InvalidParameter, format!("'{}' is not a time", shown(text)))
            .hint("write it like '2026-01-31 12:00:00' or '2026-01-31T12:00:00Z'")
    })
}

/// As much of a text as an error repeats.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

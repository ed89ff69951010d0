//! In which bucket of time is a moment? Floors of wall time by a width from an origin, and of instants in a zone.
//!
//! Buckets without a zone are plain arithmetic. In a zone they follow the wall clock:
//!
//! * Widths of a day and more, and months: a bucket starts when the zone's clocks first show its first moment, or skip it. A day
//!   with a change of the clock has 23 or 25 hours (or half an hour more or less).
//! * Shorter widths: the bucket of an instant starts at the last instant before it at which the clock showed a multiple of the
//!   width, or skipped it. An hour that is shown twice is two buckets; a bucket of six hours with a change has five or seven.
//!
//! Neither ever starts after the moments in it. Defaults follow TimescaleDB's `time_bucket`: origin Monday 2000-01-03 for days
//! and times, 2000-01-01 for months.

use arrow::datatypes::IntervalMonthDayNano;
use chrono::{DateTime, Datelike, Months, NaiveDate};
use datafusion::common::{exec_datafusion_err, exec_err};
use datafusion::error::Result;

use super::zone::ZoneClock;

const DAY_US: i64 = 86_400_000_000;

/// 2000-01-03, a Monday, in microseconds since 1970.
const ORIGIN_US: i64 = 10_959 * DAY_US;
/// 2000-01-01.
const MONTHS_ORIGIN_US: i64 = 10_957 * DAY_US;

/// How long a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// Microseconds of wall time.
    Time(i64),
    /// Months of the calendar.
    Months(u32),
}

impl Width {
    /// Days and time together, or months; positive; whole microseconds.
    pub fn new(interval: IntervalMonthDayNano) -> Result<Self> {
        let IntervalMonthDayNano { months, days, nanoseconds } = interval;
        if months != 0 {
            if days != 0 || nanoseconds != 0 {
                return exec_err!("a bucket's width is months, or days and time, not both");
            }
            return match u32::try_from(months) {
                Ok(months) => Ok(Self::Months(months)),
                Err(_) => exec_err!("a bucket's width must be positive"),
            };
        }
        if nanoseconds % 1000 != 0 {
            return exec_err!("a bucket's width must be whole microseconds");
        }
        match i64::from(days).checked_mul(DAY_US).and_then(|us| us.checked_add(nanoseconds / 1000)) {
            Some(us) if us > 0 => Ok(Self::Time(us)),
            None if days > 0 => exec_err!("a bucket's width must be less than 100,000,000 days"),
            _ => exec_err!("a bucket's width must be positive"),
        }
    }

    pub fn is_whole_days(self) -> bool {
        match self {
            Self::Time(us) => us % DAY_US == 0,
            Self::Months(_) => true,
        }
    }

    /// Where buckets are counted from when nothing else is said, microseconds of wall time.
    pub fn default_origin(self) -> i64 {
        match self {
            Self::Time(_) => ORIGIN_US,
            Self::Months(_) => MONTHS_ORIGIN_US,
        }
    }
}

/// Buckets of wall time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buckets {
    pub width: Width,
    /// Microseconds of wall time since 1970.
    pub origin: i64,
}

impl Buckets {
    /// The start of the bucket of a wall time; an error past the range of 64 bits.
    pub fn floor(&self, local: i64) -> Result<i64> {
        self.checked_floor(local).ok_or_else(|| out_of_range(local))
    }

    fn checked_floor(&self, local: i64) -> Option<i64> {
        match self.width {
            Width::Time(width) => {
                let since = local.checked_sub(self.origin)?;
                local.checked_sub(since.rem_euclid(width))
            }
            Width::Months(width) => self.floor_months(local, i64::from(width)),
        }
    }

    /// The same for many times from `min` to `max`. `None`: these are months, or one of the times has no start in the range of 64 bits.
    pub fn even(&self, min: i64, max: i64) -> Option<EvenBuckets> {
        let Width::Time(width) = self.width else { return None };
        let (first, _) = (self.checked_floor(min)?, self.checked_floor(max)?);
        let width = u64::try_from(width).ok()?;
        Some(EvenBuckets { first, width, reciprocal: u64::MAX.checked_div(width)? })
    }

    fn floor_months(&self, local: i64, width: i64) -> Option<i64> {
        let (origin, at) = (DateTime::from_timestamp_micros(self.origin)?, DateTime::from_timestamp_micros(local)?);
        let of = |date: NaiveDate| i64::from(date.year()) * 12 + i64::from(date.month0());
        let mut step = (of(at.date_naive()) - of(origin.date_naive())).div_euclid(width);
        // An origin later in its month than `local` in its own was counted one step too far.
        loop {
            let months = u32::try_from((step * width).unsigned_abs()).ok().map(Months::new)?;
            let start = match step < 0 {
                true => origin.checked_sub_months(months)?,
                false => origin.checked_add_months(months)?,
            };
            if start <= at {
                return Some(start.timestamp_micros());
            }
            step -= 1;
        }
    }

    /// The start of the bucket of an instant, by the wall clock of a zone.
    pub fn floor_in(&self, zone: &mut ZoneClock, instant: i64) -> Result<i64> {
        self.checked_floor_in(zone, instant).ok_or_else(|| out_of_range(instant))
    }

    fn checked_floor_in(&self, zone: &mut ZoneClock, mut instant: i64) -> Option<i64> {
        if !matches!(self.width, Width::Time(width) if width < DAY_US) {
            let start = self.checked_floor(zone.local(instant)?)?;
            return zone.first_instant(start);
        }
        // Each turn goes back over one change of the clock.
        loop {
            let offset = zone.offset(instant);
            let start = self.checked_floor(instant.checked_add(offset)?)?;
            let at = start.checked_sub(offset)?;
            // The usual case: clocks ran evenly since.
            let span_start = zone.span_start(instant);
            if at >= span_start || zone.offset(at) == offset {
                return Some(at);
            }
            let before = zone.offset(span_start.checked_sub(1)?);
            if start >= span_start.checked_add(before)? {
                return Some(span_start);
            }
            instant = span_start - 1;
        }
    }
}

/// Buckets of one length, without a zone. A division for each row would be most of what `date_trunc` costs: here it is a multiplication.
#[derive(Debug, Clone, Copy)]
pub(super) struct EvenBuckets {
    /// Where the first bucket starts.
    first: i64,
    width: u64,
    /// How often `width` goes into 2^64 - 1.
    reciprocal: u64,
}

impl EvenBuckets {
    /// As [`Buckets::floor`], for times within the bounds that were given. Others have no meaning, and do no harm.
    #[inline]
    pub fn floor(self, local: i64) -> i64 {
        let since = local.wrapping_sub(self.first).cast_unsigned();
        // One too few at most: what is lost is less than since / 2^64.
        let n_buckets = ((u128::from(since) * u128::from(self.reciprocal)) >> 64) as u64;
        let rest = since - n_buckets * self.width;
        let rest = if rest >= self.width { rest - self.width } else { rest };
        local.wrapping_sub(rest.cast_signed())
    }
}

fn out_of_range(at: i64) -> datafusion::error::DataFusionError {
    exec_datafusion_err!("the bucket of {at} µs is outside the range of timestamps")
}

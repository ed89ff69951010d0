//! When did rows come, between which event times are those of a file, and how old is an event by two clocks?

use std::collections::VecDeque;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::TimestampMicrosecondType;

use crate::catalog::TableDef;
use crate::env::Moment;
use crate::ids::CommitSeq;
use crate::sealed::SegmentFile;

/// The clock may have been wrong when rows came: somebody has a day to see that some are missing before they are gone.
const LEAST_UPTIME_US: i64 = 86_400_000_000;

/// Entries that came within this time are remembered as if all had come with the last of them.
pub(super) const MARK_US: u64 = 10_000_000;

/// Past so many marks every second one is forgotten.
pub(super) const MAX_MARKS: usize = 4096;

/// The smallest and the largest, microseconds since 1970, deleted rows among them. `None`: the table has no time column.
pub(crate) fn event_times(file: &SegmentFile, def: &TableDef) -> Option<(i64, i64)> {
    let bounds = file.columns.get(def.options.time_column?)?;
    let value = |bound: &ArrayRef| {
        let bound = bound.as_primitive_opt::<TimestampMicrosecondType>()?;
        bound.values().first().copied()
    };
    Some((value(bounds.min.as_ref()?)?, value(bounds.max.as_ref()?)?))
}

/// Rows that came by `since` with an event time before this (microseconds since 1970) are older than `retention_us` by both clocks: by the
/// wall clock, and by what it said then plus the uptime since. A wall clock that jumps ahead takes nothing, and time that the server does
/// not run only delays. `None`: the rows were not there for a day of uptime yet, or for as long as the retention is if that is shorter.
pub(crate) fn past_before(since: Moment, now: Moment, retention_us: i64) -> Option<i64> {
    let uptime_us = i64::try_from(now.uptime_us.saturating_sub(since.uptime_us)).unwrap_or(i64::MAX);
    let wall_us = now.wall_us.min(since.wall_us.saturating_add(uptime_us));
    let waited = uptime_us >= retention_us.min(LEAST_UPTIME_US);
    waited.then(|| wall_us.saturating_sub(retention_us))
}

/// When the entries of the log came, on both clocks, within some seconds and never too early.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arrivals {
    /// Ascending.
    marks: VecDeque<Mark>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Uptime when the first of its entries came.
    began_us: u64,
    /// The last of its entries, and when that came.
    through: CommitSeq,
    at: Moment,
}

impl Arrivals {
    /// The entry `seq` came now; it is behind all others.
    pub(crate) fn note(&mut self, seq: CommitSeq, at: Moment) {
        if let Some(last) = self.marks.back_mut().filter(|last| at.uptime_us.saturating_sub(last.began_us) < MARK_US) {
            (last.through, last.at) = (seq, at);
            return;
        }
        if self.marks.len() >= MAX_MARKS {
            // Their entries count as if they had come with the next mark.
            let mut is_kept = true;
            self.marks.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
        }
        self.marks.push_back(Mark { began_us: at.uptime_us, through: seq, at });
    }

    /// When this entry had come at the latest. `None`: nothing is known of it.
    pub(crate) fn of(&self, seq: CommitSeq) -> Option<Moment> {
        let place = self.marks.partition_point(|mark| mark.through < seq);
        self.marks.get(place).map(|mark| mark.at)
    }

    /// When the first of them had come at the latest, by the wall clock. `None`: there is none.
    pub(super) fn first_us(&self) -> Option<i64> {
        self.marks.front().map(|mark| mark.at.wall_us)
    }

    #[cfg(test)]
    pub(super) fn n_marks(&self) -> usize {
        self.marks.len()
    }

    /// Nobody asks for entries up to and with this one any more.
    pub(crate) fn forget(&mut self, through: CommitSeq) {
        let n_gone = self.marks.partition_point(|mark| mark.through <= through);
        self.marks.drain(..n_gone);
    }
}

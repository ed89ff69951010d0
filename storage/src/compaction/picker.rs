//! Which files are better as one? Pure: figures of files in, groups out.
//!
//! Files are merged when the number of their rows is of a greater magnitude than that of any of them; a magnitude is a factor of four. So a
//! row is written again at most once for each magnitude up to that of a file that is large enough, however its table grows (size-tiered
//! merging, after O'Neil and others, "The log-structured merge-tree", 1996).

use std::collections::{BTreeMap, HashSet};

use crate::sealed::HOUR_ROWS;

/// Files below this are merged with others, and an hour of event time that has less altogether does not need files of its own.
pub(crate) const SMALL_BYTES: u64 = 32 << 20;

/// What a merged file may have: more takes longer to write than a job should last, and is no better to read.
pub(crate) const MERGED_BYTES: u64 = 256 << 20;
pub(crate) const MERGED_ROWS: u64 = 32_000_000;

/// Fewer files are not worth a commit.
pub(crate) const MIN_INPUTS: usize = 4;
/// More files would need too much memory at once, each for its own pages.
pub(crate) const MAX_INPUTS: usize = 64;

/// A file is rewritten when more than one row of so many is deleted.
const DELETED_DIVISOR: u64 = 5;

/// While its rows are so young, microseconds, a file holds at most a short stretch of event time: "the last minutes of everything" is then
/// found by file.
const RECENT_US: i64 = 3_600_000_000;
const RECENT_SPAN_US: i64 = 600_000_000;

/// Rows of late files get files of their own for so many hours at once, the newest.
const MAX_LATE_HOURS: usize = 3;

/// What is known of a published file.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// See [`crate::sealed::SegmentFile::hour`].
    pub(crate) hour: Option<i64>,
    pub(crate) bytes: u64,
    /// In the file, deleted ones included.
    pub(crate) rows: u64,
    pub(crate) deleted: u64,
    /// Event time of its first and last row, microseconds; `None`: the table has no time column.
    pub(crate) times: Option<(i64, i64)>,
    /// The first entry that it has rows of.
    pub(crate) min_seq: u64,
    /// It counts as part of its hour, and is left as it is: a job has it, or it cannot be read.
    pub(crate) is_left_alone: bool,
}

/// What becomes of a group's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of one hour that is large enough, which they stay in.
    Hour,
    /// Of small hours that are neighbours: one file of them all.
    Hours,
    /// Of files of several hours, or of a table without any: those of large hours get files of their own, see [`late_hours`].
    Late,
    /// One file whose deleted rows are left out.
    Rewrite,
}

/// Files that are to be merged, by their place, in the order of their times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) files: Vec<usize>,
    pub(crate) kind: Kind,
}

impl Candidate {
    pub(crate) fn live_rows(&self) -> u64 {
        self.rows.saturating_sub(self.deleted)
    }

    /// About what its live rows take.
    pub(crate) fn live_bytes(&self) -> u64 {
        let bytes = u128::from(self.bytes) * u128::from(self.live_rows()) / u128::from(self.rows.max(1));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    fn is_small(&self) -> bool {
        !self.is_left_alone && self.live_rows() > 0 && self.live_bytes() < SMALL_BYTES
    }
}

/// The order of magnitude of a number of rows, to the base of four.
fn magnitude(rows: u64) -> u32 {
    rows.max(1).ilog2() / 2
}

/// What each hour has, in bytes of live rows.
pub(crate) fn hour_bytes(files: &[Candidate]) -> BTreeMap<i64, u64> {
    let mut hours = BTreeMap::new();
    for file in files {
        if let Some(hour) = file.hour {
            *hours.entry(hour).or_default() += file.live_bytes();
        }
    }
    hours
}

/// Groups of files to merge, none of them twice. Nothing: this is as good as it gets for now. `now_us` is the wall clock.
pub(crate) fn pick(files: &[Candidate], now_us: i64) -> Vec<Group> {
    let mut small: Vec<usize> = (0..files.len()).filter(|&at| files[at].is_small()).collect();
    small.sort_by_key(|&at| (files[at].times, files[at].min_seq));
    let mut groups = Vec::new();
    // Small hours between two large ones.
    let mut neighbours = Vec::new();
    for (hour, bytes) in hour_bytes(files) {
        let own = small.iter().copied().filter(|&at| files[at].hour == Some(hour));
        if bytes >= SMALL_BYTES {
            grouped(files, std::mem::take(&mut neighbours), Kind::Hours, now_us, &mut groups);
            grouped(files, own.collect(), Kind::Hour, now_us, &mut groups);
        } else {
            neighbours.extend(own);
        }
    }
    grouped(files, neighbours, Kind::Hours, now_us, &mut groups);
    let late = small.iter().copied().filter(|&at| files[at].hour.is_none());
    grouped(files, late.collect(), Kind::Late, now_us, &mut groups);

    let taken: HashSet<usize> = groups.iter().flat_map(|group| &group.files).copied().collect();
    let is_worn = |file: &Candidate| {
        !file.is_left_alone && file.live_rows() > 0 && file.deleted.saturating_mul(DELETED_DIVISOR) > file.rows
    };
    let worn = (0..files.len()).filter(|at| !taken.contains(at) && is_worn(&files[*at]));
    groups.extend(worn.map(|at| Group { files: vec![at], kind: Kind::Rewrite }));
    groups
}

/// Groups among `left`, which are in the order of their times. Small magnitudes first: what they leave over joins the next one.
fn grouped(files: &[Candidate], mut left: Vec<usize>, kind: Kind, now_us: i64, groups: &mut Vec<Group>) {
    let mut magnitudes: Vec<u32> = left.iter().map(|&at| magnitude(files[at].live_rows())).collect();
    magnitudes.sort_unstable();
    magnitudes.dedup();
    for most in magnitudes {
        let upto = left.iter().copied().filter(|&at| magnitude(files[at].live_rows()) <= most).collect();
        for files_of_group in stretches(files, upto, now_us) {
            if is_worth_it(files, &files_of_group) {
                left.retain(|at| !files_of_group.contains(at));
                groups.push(Group { files: files_of_group, kind });
            }
        }
    }
}

/// Neighbours that fit into one file together.
fn stretches(files: &[Candidate], among: Vec<usize>, now_us: i64) -> Vec<Vec<usize>> {
    let mut stretches = Vec::new();
    let mut stretch = Stretch::default();
    for at in among {
        if !stretch.takes(&files[at], now_us) {
            stretches.push(std::mem::take(&mut stretch).files);
        }
        stretch.push(at, &files[at]);
    }
    stretches.push(stretch.files);
    stretches
}

#[derive(Default)]
struct Stretch {
    files: Vec<usize>,
    bytes: u64,
    rows: u64,
    times: Option<(i64, i64)>,
}

impl Stretch {
    fn takes(&self, file: &Candidate, now_us: i64) -> bool {
        let fits = self.files.len() < MAX_INPUTS
            && self.bytes + file.live_bytes() <= MERGED_BYTES
            && self.rows + file.live_rows() <= MERGED_ROWS;
        let is_short = joined(self.times, file.times).is_none_or(|(first, last)| {
            last <= now_us.saturating_sub(RECENT_US) || last.saturating_sub(first) <= RECENT_SPAN_US
        });
        self.files.is_empty() || (fits && is_short)
    }

    fn push(&mut self, at: usize, file: &Candidate) {
        self.files.push(at);
        self.bytes += file.live_bytes();
        self.rows += file.live_rows();
        self.times = joined(self.times, file.times);
    }
}

fn joined(a: Option<(i64, i64)>, b: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (one, other) => one.or(other),
    }
}

fn is_worth_it(files: &[Candidate], group: &[usize]) -> bool {
    let rows = || group.iter().map(|&at| files[at].live_rows());
    group.len() >= MIN_INPUTS && rows().max().is_some_and(|most| magnitude(rows().sum()) > magnitude(most))
}

/// The hours whose rows get files of their own when late files are merged: those that have enough of these rows, and enough altogether
/// that they are never merged with their neighbours again. `rows` by hour, of `bytes` together; `others` is what each hour has already;
/// `most` are the rows of the largest of the late files.
///
/// What is left over must be worth the work, too: it is of a greater magnitude than any of the files, or less than what left them.
pub(crate) fn late_hours(rows: &BTreeMap<i64, u64>, bytes: u64, others: &BTreeMap<i64, u64>, most: u64) -> Vec<i64> {
    let total: u64 = rows.values().sum();
    let bytes_of = |n_rows: u64| u128::from(bytes) * u128::from(n_rows) / u128::from(total.max(1));
    let is_large = |hour: &i64, n_rows: u64| {
        let before = u128::from(others.get(hour).copied().unwrap_or_default());
        n_rows >= HOUR_ROWS && before + bytes_of(n_rows) >= u128::from(SMALL_BYTES)
    };
    let large = rows.iter().rev().filter(|(hour, n_rows)| is_large(hour, **n_rows)).take(MAX_LATE_HOURS);
    let hours: Vec<i64> = large.map(|(hour, _)| *hour).collect();
    let taken: u64 = hours.iter().filter_map(|hour| rows.get(hour)).sum();
    let rest = total - taken;
    if rest == 0 || magnitude(rest) > magnitude(most) || taken >= rest { hours } else { Vec::new() }
}

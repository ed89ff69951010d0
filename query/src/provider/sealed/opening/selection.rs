//! Which rows of a file does a reader see? Those that are asked for, but the deleted ones.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use datafusion::datasource::listing::FileRange;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccessPlanFilter};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use datafusion::parquet::file::metadata::ParquetMetaData;
use roaring::RoaringBitmap;

/// A portion of a file that is read at once has about so many deleted rows at most. Scattered ones take two selectors each: 6 MiB with all
/// copies.
const MAX_DELETED_A_PORTION: u64 = 1 << 16;

/// A row group is divided where pages end.
const PAGE_ROWS: u64 = 8192;

/// A selection is there three times while a portion is opened (what we give, what is pruned by statistics, what the decoder takes); then
/// once or twice, as the decoder cuts off row group after row group.
const COPIES: usize = 3;

/// What is to be read of a file, or of the part of it that one partition reads.
pub(in crate::provider::sealed) struct Rows {
    /// Row groups of which some rows are left.
    groups: ParquetAccessPlan,
    /// By row group, the numbers of its rows in the file.
    numbers: Vec<Range<u64>>,
    /// The numbers of the rows that are asked for: ranges that ascend and do not touch. `None`: all of them.
    admitted: Option<Vec<Range<u64>>>,
    deleted: Option<Arc<RoaringBitmap>>,
}

impl Rows {
    /// `range`: the part of the file. `admitted`: the numbers of the rows that are asked for, if that is not all of them: ranges that ascend
    /// and do not touch.
    pub fn new(
        footer: &ParquetMetaData,
        range: Option<&FileRange>,
        admitted: Option<Vec<Range<u64>>>,
        deleted: Option<Arc<RoaringBitmap>>,
    ) -> Self {
        let row_groups = footer.row_groups();
        let mut within = RowGroupAccessPlanFilter::new(ParquetAccessPlan::new_all(row_groups.len()));
        if let Some(range) = range {
            within.prune_by_range(row_groups, range);
        }
        let mut next = 0_u64;
        let numbers = row_groups.iter().map(|group| {
            let first = next;
            next = first.saturating_add(group.num_rows().unsigned_abs());
            first..next
        });
        let numbers = numbers.collect();
        let mut rows = Self { groups: within.build(), numbers, admitted, deleted };
        for at in 0..rows.numbers.len() {
            let is_denied = rows.admitted.is_some() && rows.admitted_of(at, &rows.numbers[at]).next().is_none();
            if is_denied || rows.n_deleted(&rows.numbers[at]) == rows.n_rows(at) {
                rows.groups.skip(at);
            }
        }
        rows
    }

    /// Parts of the file that are to be read one after another, by the numbers of their rows, so that the memory of selections has a limit:
    /// whole row groups, or some pages of one. None if no row is left.
    pub fn portions(&self) -> Vec<Range<u64>> {
        let mut portions: Vec<Range<u64>> = Vec::new();
        let mut n_deleted = 0;
        for at in self.groups.row_group_index_iter() {
            let group = self.numbers[at].clone();
            let more = self.n_deleted(&group);
            match portions.last_mut() {
                Some(last) if n_deleted + more <= MAX_DELETED_A_PORTION => {
                    last.end = group.end;
                    n_deleted += more;
                }
                _ => {
                    let n_parts = more.div_ceil(MAX_DELETED_A_PORTION).max(1);
                    let step = self.n_rows(at).div_ceil(n_parts).next_multiple_of(PAGE_ROWS) as usize;
                    portions.extend(group.clone().step_by(step).map(|first| first..group.end.min(first + step as u64)));
                    n_deleted = more;
                }
            }
        }
        portions
    }

    /// What DataFusion's reader is told of one of [`Self::portions`]. Its memory is asked for in `held`.
    pub fn plan(&self, portion: Range<u64>, held: &MemoryReservation) -> Result<ParquetAccessPlan> {
        let mut plan = ParquetAccessPlan::new_none(self.numbers.len());
        for at in self.groups.row_group_index_iter() {
            let group = &self.numbers[at];
            let part = group.start.max(portion.start)..group.end.min(portion.end);
            if part.is_empty() {
                continue;
            }
            plan.scan(at);
            if let Some(left) = self.left(at, &part) {
                held.try_grow(COPIES * left.iter().count() * size_of::<RowSelector>())?;
                plan.scan_selection(at, left);
            }
        }
        Ok(plan)
    }

    /// The rows of a part of a row group that are to be read, as a selection of the whole group; `None` if that is all of them.
    fn left(&self, at: usize, part: &Range<u64>) -> Option<RowSelection> {
        match (self.asked(at, part), self.not_deleted(at, part)) {
            (Some(asked), Some(not_deleted)) => Some(asked.intersection(&not_deleted)),
            (asked, not_deleted) => asked.or(not_deleted),
        }
    }

    /// The rows of a part of a row group that are asked for; `None` if that is all of the group.
    fn asked(&self, at: usize, part: &Range<u64>) -> Option<RowSelection> {
        let asked: Vec<Range<usize>> = match self.admitted {
            Some(_) => self.admitted_of(at, part).collect(),
            None => vec![self.within(at, part)],
        };
        let all = self.within(at, &self.numbers[at]);
        (asked != [all.clone()]).then(|| RowSelection::from_consecutive_ranges(asked.into_iter(), all.end))
    }

    /// These rows, counted from the first of their row group.
    fn within(&self, at: usize, rows: &Range<u64>) -> Range<usize> {
        let first = self.numbers[at].start;
        (rows.start - first) as usize..(rows.end - first) as usize
    }

    /// The rows of a part of a row group that a sidecar admits, counted from the first of the group; none without a sidecar.
    fn admitted_of(&self, at: usize, part: &Range<u64>) -> impl Iterator<Item = Range<usize>> {
        let admitted = self.admitted.as_deref().unwrap_or_default();
        let first = admitted.partition_point(|rows| rows.end <= part.start);
        let common = move |rows: &Range<u64>| {
            let common = rows.start.max(part.start)..rows.end.min(part.end);
            (!common.is_empty()).then(|| self.within(at, &common))
        };
        admitted[first..].iter().map_while(common)
    }

    /// The rows of a row group but those that are deleted of a part of it; `None` if that is all of them.
    fn not_deleted(&self, at: usize, part: &Range<u64>) -> Option<RowSelection> {
        if self.n_deleted(part) == 0 {
            return None;
        }
        let (deleted, numbers) = (self.deleted.as_ref()?, deletable(part)?);
        let first = u32::try_from(self.numbers[at].start).ok()?;
        let mut rows = deleted.range(numbers);
        let ranges = std::iter::from_fn(|| rows.next_range()).map(|range| range.start() - first..=range.end() - first);
        Some(all_but(ranges, self.n_rows(at)))
    }

    fn n_rows(&self, at: usize) -> u64 {
        self.numbers[at].end - self.numbers[at].start
    }

    fn n_deleted(&self, rows: &Range<u64>) -> u64 {
        match (&self.deleted, deletable(rows)) {
            (Some(deleted), Some(numbers)) => deleted.range_cardinality(numbers),
            _ => 0,
        }
    }
}

/// The numbers of rows that a set of deleted rows can name; `None` if there are none.
fn deletable(rows: &Range<u64>) -> Option<RangeInclusive<u32>> {
    if rows.is_empty() {
        return None;
    }
    Some(u32::try_from(rows.start).ok()?..=u32::try_from(rows.end - 1).unwrap_or(u32::MAX))
}

/// The rows from 0 to `n_rows` that are not within one of the ranges of `deleted`, which ascend and do not touch; both ends of a range are
/// deleted, too.
pub(in crate::provider::sealed) fn all_but(
    deleted: impl Iterator<Item = RangeInclusive<u32>>,
    n_rows: u64,
) -> RowSelection {
    let n_rows = usize::try_from(n_rows).unwrap_or(usize::MAX);
    let mut selectors = Vec::new();
    let mut next = 0;
    for range in deleted {
        let (first, end) = (*range.start() as usize, (*range.end() as usize + 1).min(n_rows));
        if first >= end {
            break;
        }
        if first > next {
            selectors.push(RowSelector::select(first - next));
        }
        selectors.push(RowSelector::skip(end - first));
        next = end;
    }
    if next < n_rows {
        selectors.push(RowSelector::select(n_rows - next));
    }
    selectors.into()
}

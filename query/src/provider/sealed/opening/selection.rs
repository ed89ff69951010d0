//! Which rows of a file does a reader see? Those of the row groups that are asked for, but the deleted ones.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use datafusion::datasource::listing::FileRange;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccessPlanFilter};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use datafusion::parquet::file::metadata::ParquetMetaData;
use roaring::RoaringBitmap;

/// A portion of a file that is read at once has no more deleted rows, unless it is one row group. Scattered ones take two selectors each:
/// 6 MiB with all copies.
const MAX_DELETED_A_PORTION: u64 = 1 << 16;

/// A selection is there three times while a portion is opened (what we give, what is pruned by statistics, what the decoder takes); then
/// once or twice, as the decoder cuts off row group after row group.
const COPIES: usize = 3;

/// What is to be read of a file, or of the part of it that one partition reads.
pub(super) struct Rows {
    /// Row groups of which some rows are left.
    groups: ParquetAccessPlan,
    /// By row group, the numbers of its rows in the file.
    numbers: Vec<Range<u64>>,
    deleted: Option<Arc<RoaringBitmap>>,
}

impl Rows {
    /// `range`: the part of the file. `admitted`: by row group, whether it is asked for at all.
    pub fn new(
        footer: &ParquetMetaData,
        range: Option<&FileRange>,
        admitted: Option<&[bool]>,
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
        let mut rows = Self { groups: within.build(), numbers, deleted };
        for at in 0..rows.numbers.len() {
            let is_denied = admitted.and_then(|admitted| admitted.get(at)).is_some_and(|admitted| !admitted);
            if is_denied || rows.n_deleted(at) == rows.n_rows(at) {
                rows.groups.skip(at);
            }
        }
        rows
    }

    /// Parts of the file that are to be read one after another, by their row groups, so that the memory of selections has a limit. None if
    /// no row is left.
    pub fn portions(&self) -> Vec<Range<usize>> {
        let mut portions: Vec<Range<usize>> = Vec::new();
        let mut n_deleted = 0;
        for at in self.groups.row_group_index_iter() {
            let more = self.n_deleted(at);
            match portions.last_mut() {
                Some(last) if n_deleted + more <= MAX_DELETED_A_PORTION => {
                    last.end = at + 1;
                    n_deleted += more;
                }
                _ => {
                    portions.push(at..at + 1);
                    n_deleted = more;
                }
            }
        }
        portions
    }

    /// What DataFusion's reader is told of one of [`Self::portions`]. Its memory is asked for in `held`.
    pub fn plan(&self, portion: Range<usize>, held: &MemoryReservation) -> Result<ParquetAccessPlan> {
        let mut plan = ParquetAccessPlan::new_none(self.numbers.len());
        for at in portion.filter(|at| self.groups.should_scan(*at)) {
            plan.scan(at);
            if let Some(left) = self.left(at) {
                held.try_grow(COPIES * left.iter().count() * size_of::<RowSelector>())?;
                plan.scan_selection(at, left);
            }
        }
        Ok(plan)
    }

    /// The rows of a row group that are not deleted; `None` if that is all of them.
    fn left(&self, at: usize) -> Option<RowSelection> {
        let (deleted, numbers) = (self.deleted.as_ref()?, self.deletable(at)?);
        if self.n_deleted(at) == 0 {
            return None;
        }
        let first = *numbers.start();
        let mut rows = deleted.range(numbers);
        let ranges = std::iter::from_fn(|| rows.next_range()).map(|range| range.start() - first..=range.end() - first);
        Some(all_but(ranges, self.n_rows(at)))
    }

    fn n_rows(&self, at: usize) -> u64 {
        self.numbers[at].end - self.numbers[at].start
    }

    fn n_deleted(&self, at: usize) -> u64 {
        match (&self.deleted, self.deletable(at)) {
            (Some(deleted), Some(numbers)) => deleted.range_cardinality(numbers),
            _ => 0,
        }
    }

    /// The numbers of a row group's rows that a set of deleted rows can name; `None` if there are none.
    fn deletable(&self, at: usize) -> Option<RangeInclusive<u32>> {
        let numbers = &self.numbers[at];
        if numbers.is_empty() {
            return None;
        }
        Some(u32::try_from(numbers.start).ok()?..=u32::try_from(numbers.end - 1).unwrap_or(u32::MAX))
    }
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

//! Which rows of a file does a reader see? All but the deleted ones.

use datafusion::parquet::arrow::arrow_reader::{RowSelection, RowSelector};

/// The rows from 0 to `n_rows` that are not within one of the ranges of `deleted`, which ascend and do not touch; both ends of a range are
/// deleted, too.
pub(super) fn all_but(deleted: impl Iterator<Item = std::ops::RangeInclusive<u32>>, n_rows: u64) -> RowSelection {
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

/// Heap bytes of a selection, as long as a plan has it.
pub(super) fn bytes_of(selection: &RowSelection) -> usize {
    selection.iter().count() * size_of::<RowSelector>()
}

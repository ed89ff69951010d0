//! Between which event times are the rows of a file? As its bounds say; it is not opened.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::TimestampMicrosecondType;

use crate::catalog::TableDef;
use crate::sealed::SegmentFile;

/// The smallest and the largest, microseconds since 1970, deleted rows among them. `None`: the table has no time column.
pub(crate) fn event_times(file: &SegmentFile, def: &TableDef) -> Option<(i64, i64)> {
    let bounds = file.columns.get(def.options.time_column?)?;
    let value = |bound: &ArrayRef| {
        let bound = bound.as_primitive_opt::<TimestampMicrosecondType>()?;
        bound.values().first().copied()
    };
    Some((value(bounds.min.as_ref()?)?, value(bounds.max.as_ref()?)?))
}

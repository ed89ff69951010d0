//! Which fresh rows are not built? Those that are past their table's retention by then, by both clocks. Their keys are built all the same.

use arrow::array::{Array, AsArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::TimestampMicrosecondType;

use crate::env::Moment;
use crate::ids::CommitSeq;
use crate::realtime::RealtimePart;
use crate::sealed::PlannedFile;
use crate::table::{Frozen, past_before};

/// Takes rows that expired out of the plan of a build, whose sources are the parts of `frozen` in their order. Returns how many there were.
/// An hour that has few rows left keeps its file: it was large a moment ago.
pub(super) fn leave_out(planned: &mut Vec<PlannedFile>, frozen: &Frozen, now: Moment) -> u64 {
    let expired: Vec<Option<BooleanBuffer>> = frozen.parts.iter().map(|part| expired_of(part, frozen, now)).collect();
    let n_expired = expired.iter().flatten().map(|rows| rows.count_set_bits() as u64).sum();
    if n_expired == 0 {
        return 0;
    }
    for file in planned.iter_mut() {
        file.rows.retain(|&(part, row)| !expired[part as usize].as_ref().is_some_and(|rows| rows.value(row as usize)));
    }
    planned.retain(|file| !file.rows.is_empty());
    n_expired
}

/// `None`: none of the part.
fn expired_of(part: &RealtimePart, frozen: &Frozen, now: Moment) -> Option<BooleanBuffer> {
    let options = &frozen.def.options;
    let retention_us = options.retention_us?;
    let times = part.rows.columns().get(options.time_column?)?.as_primitive_opt::<TimestampMicrosecondType>()?;
    // Mostly there are none, whenever they came.
    let oldest_us = arrow::compute::min(times)?;
    if oldest_us >= now.wall_us.saturating_sub(retention_us) {
        return None;
    }
    // Neighbours mostly came with one entry.
    let mut last: (i64, Option<i64>) = (i64::MIN, None);
    let expired = BooleanBuffer::collect_bool(times.len(), |row| {
        let seq = part.seqs.value(row);
        if last.0 != seq {
            let since = u64::try_from(seq).ok().and_then(|seq| frozen.arrivals.of(CommitSeq(seq)));
            last = (seq, since.and_then(|since| past_before(since, now, retention_us)));
        }
        times.is_valid(row) && last.1.is_some_and(|cut| times.value(row) < cut)
    });
    (expired.count_set_bits() > 0).then_some(expired)
}

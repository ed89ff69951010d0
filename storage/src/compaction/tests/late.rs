//! Late rows go to their hours.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;

use crate::catalog::tests::{defined, plain};
use crate::compaction::merge::by_hour;
use crate::compaction::picker::SMALL_BYTES;
use crate::sealed::{HOUR_ROWS, SourceRows, plan_file};

const HOUR_US: i64 = 3_600_000_000;

/// One piece whose rows are of these hours, one after the other; the entry of a row is its number.
fn piece(first_row: i64, hours: &[i64]) -> SourceRows {
    let def = defined(&[("t!", plain())], &[], &[]);
    let times = TimestampMicrosecondArray::from_iter_values(hours.iter().map(|hour| hour * HOUR_US + 1));
    let rows = RecordBatch::try_new(Arc::clone(&def.arrow_schema), vec![Arc::new(times)]).expect("of one column");
    let seqs: Vec<i64> = (first_row..).take(hours.len()).collect();
    let stamps = seqs.iter().map(|seq| (*seq, *seq)).collect();
    SourceRows { rows, seqs: Int64Array::from(seqs), stamps }
}

#[test]
fn rows_of_large_hours_are_divided_from_the_rest() {
    let n_rows = HOUR_ROWS as usize;
    let mut hours = Vec::new();
    for row in 0..n_rows as i64 {
        // As many of hour 7 as of hour 9, and a few of others.
        hours.extend([7, 9]);
        if row % 1000 == 0 {
            hours.push(row / 1000);
        }
    }
    let (front, back) = hours.split_at(n_rows / 3);
    let sources = vec![piece(0, front), piece(front.len() as i64, back)];
    // Hour 9 has not enough to be kept apart.
    let others = BTreeMap::from([(7, SMALL_BYTES)]);
    let parts = by_hour(sources.clone(), 0, &others, 1 << 20, 40_000).expect("divided");
    assert_eq!(parts.len(), 2);
    let seqs_of = |part: &[SourceRows], is_own: fn(i64) -> bool| {
        let mut seqs = Vec::new();
        for source in part {
            let times = source.rows.column(0).as_primitive::<TimestampMicrosecondType>();
            assert!(times.values().iter().all(|time| is_own(time.div_euclid(HOUR_US))));
            seqs.extend(source.seqs.values().iter().copied());
        }
        seqs
    };
    let (own, rest) = (seqs_of(&parts[0], |hour| hour == 7), seqs_of(&parts[1], |hour| hour != 7));
    // Row 7,000 brings one more of hour 7.
    assert_eq!((own.len(), rest.len()), (n_rows + 1, hours.len() - n_rows - 1));
    let mut all: Vec<i64> = own.into_iter().chain(rest).collect();
    all.sort_unstable();
    assert_eq!(all, (0..hours.len() as i64).collect::<Vec<_>>());
    let def = defined(&[("t!", plain())], &[], &[]);
    let planned = |part: &[SourceRows]| plan_file(part, &def).expect("planned").expect("rows").hour;
    assert_eq!((planned(&parts[0]), planned(&parts[1])), (Some(7), None));

    let whole = by_hour(sources, 0, &BTreeMap::new(), 1 << 20, 40_000).expect("not divided");
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0].iter().map(|source| source.rows.num_rows()).sum::<usize>(), hours.len());
}

//! Is each thing written once in a group, and shown as it was decided?

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;

use super::group::RowsGroup;
use super::state::{IdempotencyKeys, RejectedRows, TableState};
use crate::catalog::tests::defined;
use crate::env::Moment;
use crate::ids::{CommitSeq, ProducerId, SchemaId};
use crate::limits::LARGE_BATCH_ROWS;
use crate::log::Block;
use crate::producers::ProducerState;
use crate::realtime::tail_zones;
use crate::table::prepare::PreparedPart;
use crate::table::seal::SealState;

fn rows(ids: Range<i64>) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    RecordBatch::try_from_iter([("id", ids)]).expect("one column")
}

fn part(ids: Range<i64>) -> PreparedPart {
    let rows = rows(ids);
    let is_large = rows.num_rows() >= LARGE_BATCH_ROWS;
    let block = is_large.then(|| Block::encode(&rows).expect("encoded"));
    PreparedPart { zones: tail_zones(&rows), rows, keys: None, in_runs: None, known: None, block }
}

#[test]
fn small_parts_become_one_batch_and_keep_their_place() {
    let every_second = |n| BooleanBuffer::collect_bool(n, |row| row % 2 == 0);
    let mut group = RowsGroup::new(CommitSeq(1), Moment::default());
    let mut add = |ids, losers: Option<BooleanBuffer>| group.add(part(ids), losers.as_ref()).expect("added");
    assert_eq!(add(0..3, None), 3);
    assert_eq!(add(3..7, Some(every_second(4))), 2);
    assert_eq!(add(7..8, Some(BooleanBuffer::new_set(1))), 0);
    // An entry holds all rows of a large part, and which of them lost.
    assert_eq!(add(100..20_100, Some(every_second(20_000))), 20_000);
    assert_eq!(add(30_000..30_001, None), 1);
    assert_eq!(add(30_001..30_003, None), 2);
    let (blocks, accepted) = group.take_rows().expect("taken");
    let sizes: Vec<usize> = accepted.iter().map(|accepted| accepted.rows.num_rows()).collect();
    assert_eq!(sizes, [5, 10_000, 3]);
    // What becomes visible is what a replay reads.
    let replayed: Vec<RecordBatch> = blocks.iter().map(|block| block.decode().expect("decoded")).collect();
    assert!(replayed.iter().eq(accepted.iter().map(|accepted| &accepted.rows)));
    let zones: Vec<bool> = accepted.iter().map(|accepted| accepted.zones.is_some()).collect();
    assert_eq!(zones, [false, true, false]);
    let ends = accepted[1].zones.as_ref().map(|zones| zones.rows.iter().map(|zone| zone.end).collect::<Vec<_>>());
    assert_eq!(ends, Some(vec![4_096, 8_192, 10_000]));
}

#[test]
fn joined_parts_that_are_many_have_zones() {
    let mut group = RowsGroup::new(CommitSeq(1), Moment::default());
    for n in 0..10 {
        group.add(part(n * 1_000..(n + 1) * 1_000), None).expect("added");
    }
    let (_, accepted) = group.take_rows().expect("taken");
    assert_eq!(accepted.len(), 1);
    assert!(accepted[0].zones.is_some());
}

#[test]
fn a_producer_is_written_once_however_often_it_changed() {
    let mut state = TableState {
        def: Arc::new(defined(&[("id!", DataType::Int64)], &[], &[])),
        narrowed: SchemaId(1),
        last_seq: CommitSeq(0),
        last_stamp_us: 0,
        uptime_before_us: 0,
        keys: None,
        producers: Default::default(),
        idempotency: IdempotencyKeys::default(),
        unwritten: Default::default(),
        changed: Default::default(),
        rejected: RejectedRows::default(),
        has_forgotten: false,
        unsynced: false,
        seal: SealState::empty(),
    };
    let (known, unknown) = (ProducerId::new("p").expect("valid"), ProducerId::new("q").expect("valid"));
    state.producers.insert(known.clone(), ProducerState::new("me"));
    assert!(state.note_changed(&known) > 0);
    assert_eq!(state.note_changed(&known), 0, "it is counted already");
    // One that is gone again by the time of the commit has no record.
    assert_eq!(state.note_changed(&unknown), 0);
    state.unwritten.insert(vec![1], vec![2]);
    assert_eq!(state.take_unwritten().len(), 2, "a ledger row and a producer");
    assert!(state.take_unwritten().is_empty());
}

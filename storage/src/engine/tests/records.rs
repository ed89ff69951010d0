//! Do a table's records say the same as each other, stay small, and are they named when they cannot be read?

use std::sync::Arc;

use arrow::array::{ArrayRef, NullArray, RecordBatch};

use super::support::{Fixture, batch, keys_of, producer, request};
use crate::admission::RejectCode;
use crate::error::Code;
use crate::ids::SHARD_ZERO;
use crate::limits::{MAX_REJECTED_BATCH_ROWS, ROW_ERRORS_IN_ANSWER};
use crate::log::{Family, Op, Store, state_key, state_prefix};
use crate::table::{IdempotencyKey, RowsRequest, Table};

fn repeated(table: &Table) -> (u64, u64) {
    let producers = table.producers().expect("readable");
    let ledger = table.ledger().expect("readable");
    (producers.iter().map(|row| row.repeated).sum(), ledger.iter().map(|row| row.repeated).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_stand_in_both_tables_when_they_are_answered() {
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    table.write(producer("p", 1, batch(&[1, 2]))).await.expect("stored");
    for n in 1..=3 {
        assert!(table.write(producer("p", 1, batch(&[1, 2]))).await.expect("answered").repeated);
        assert_eq!(repeated(&table), (2 * n, 2 * n));
    }
    drop(table);
    fixture.restart().await;
    assert_eq!(repeated(&fixture.table("t")), (6, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_bad_rows_are_one_small_record() {
    let n: u64 = 1 << 20;
    let column = || -> ArrayRef { Arc::new(NullArray::new(n as usize)) };
    let rows = RecordBatch::try_from_iter_with_nullable([("id", column(), true), ("at", column(), true)]);
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    let outcome = table.write(producer("p", 1, rows.expect("columns of one length"))).await.expect("answered");
    assert_eq!((outcome.received, outcome.accepted, outcome.rejected), (n, 0, n));
    assert_eq!(outcome.row_errors.len(), ROW_ERRORS_IN_ANSWER);
    let note = &outcome.row_errors[ROW_ERRORS_IN_ANSWER - 1];
    assert_eq!((note.code, note.row), (RejectCode::NotKept, MAX_REJECTED_BATCH_ROWS as u64));
    drop(table);
    for restarted in [false, true] {
        if restarted {
            fixture.restart().await;
        }
        let table = fixture.table("t");
        let prefix = state_prefix(state_key::REJECTED, table.def().id, SHARD_ZERO);
        let records: Vec<usize> = table
            .shared
            .store
            .scan(Family::State, &prefix)
            .expect("readable")
            .map(|record| record.expect("readable").1.len())
            .collect();
        assert!(records.len() == 1 && records[0] < 256 << 10, "records of {records:?} bytes");
        let kept = table.rejected().expect("readable");
        assert_eq!(kept.len(), MAX_REJECTED_BATCH_ROWS + 1);
        assert!(kept.iter().all(|row| row.producer.as_deref() == Some("p") && row.sequence == Some(1)));
        let note = &kept[MAX_REJECTED_BATCH_ROWS];
        assert!(note.message.starts_with(&format!("{} more rows", n - MAX_REJECTED_BATCH_ROWS as u64)), "{note:?}");
        let counts: Vec<(u64, u64)> =
            table.ledger().expect("readable").iter().map(|row| (row.received, row.rejected)).collect();
        assert_eq!(counts, [(n, n)]);
    }
}

/// What a start says when one of the table's records is `value`.
async fn start_with(kind: u8, suffix: &[u8], value: &[u8]) -> crate::Result<Fixture> {
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    table.write(producer("p", 1, batch(&[1]))).await.expect("stored");
    let keyed = RowsRequest { idempotency_key: Some(IdempotencyKey("k".to_owned())), ..request(batch(&[2])) };
    table.write(keyed).await.expect("stored");
    let mut key = state_prefix(kind, table.def().id, SHARD_ZERO);
    key.extend(suffix);
    drop(table);
    fixture.close().await;
    {
        let store = Store::open(fixture.path()).expect("opens");
        store.write(&[Op::Put(Family::State, key, value.to_vec())], true).expect("written");
    }
    fixture.reopen().map(|()| fixture)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_cannot_be_read_are_named() {
    let minute_zero = [&[0, 0x80, 0, 0, 0, 0, 0, 0, 0][..], b"p"].concat();
    type Case<'a> = (u8, &'a [u8], &'a [u8], Code, &'a str);
    let cases: [Case<'_>; 6] = [
        (state_key::PRODUCER, b"p", &[0xff], Code::LogDamaged, "the producer 'p'"),
        (state_key::PRODUCER, b"p", &[8, 9], Code::LogUnknownVersion, "the producer 'p'"),
        (state_key::PRODUCER, b"not an id", &[8, 1], Code::LogDamaged, "the producer 'not an id'"),
        (state_key::IDEMPOTENCY, b"\0\0\0\x02mek", &[0xff], Code::LogDamaged, "the idempotency key"),
        (state_key::LEDGER, &minute_zero, &[9], Code::LogUnknownVersion, "the ledger row"),
        (state_key::BASE, b"", &[0, 1], Code::LogDamaged, "where its log begins cannot be used: 2 bytes"),
    ];
    for (kind, suffix, value, code, what) in cases {
        let refused = start_with(kind, suffix, value).await.err().expect("refused");
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(what) && refused.message().contains("table public.t"), "{refused}");
        assert!(refused.hint_text().is_some(), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_that_cannot_be_read_keeps_no_table_closed() {
    let minute_zero = [&[0, 0x80, 0, 0, 0, 0, 0, 0, 0][..], b"p"].concat();
    let cases: [(&[u8], &[u8]); 2] = [(b"?", &[1]), (&minute_zero, &[1, 0xff])];
    for (suffix, value) in cases {
        let fixture = start_with(state_key::LEDGER, suffix, value).await.expect("opens");
        assert_eq!(keys_of(&fixture.table("t")), [1, 2]);
        assert_eq!(repeated(&fixture.table("t")), (0, 0));
    }
}

//! What becomes of a batch with bad rows? It is refused whole, or they are kept apart; a query sees all of it or nothing (H04).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use tidewater_client::{Client, Identity, OnRowError, Producer, ProducerOptions, RowError, WriteOptions};
use tonic::Code;

use super::{Fixture, assert_refused, bounded, integers, number, send};

const TIMED: &str = "CREATE TABLE t (id BIGINT NOT NULL, at TIMESTAMP NOT NULL, n SMALLINT, PRIMARY KEY (id)) \
                     WITH (time_column = 'at')";

const NOW_US: i64 = 1_714_521_600_000_000;
const YEAR_9999_US: i64 = 253_370_764_800_000_000;

type Row = (Option<i64>, Option<i64>, Option<&'static str>);

fn timed(rows: &[Row]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>());
    let at: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<TimestampMicrosecondArray>());
    // As text, so that one column can hold what a SMALLINT cannot.
    let n: ArrayRef = Arc::new(rows.iter().map(|row| row.2).collect::<StringArray>());
    RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("at", at, true), ("n", n, true)]).expect("a batch")
}

const GOOD: Row = (Some(1), Some(NOW_US), Some("1"));

const ROWS: [Row; 8] = [
    GOOD,
    (None, Some(NOW_US), Some("1")),
    (Some(3), Some(NOW_US), Some("70000")),
    (Some(4), Some(YEAR_9999_US), Some("1")),
    (Some(5), Some(NOW_US), Some("seven")),
    (Some(6), None, Some("1")),
    GOOD,
    (Some(8), Some(NOW_US), None),
];

const BAD: [(u64, &str, &str); 5] = [
    (1, "id", "NULL_VIOLATION"),
    (2, "n", "OUT_OF_RANGE"),
    (3, "at", "FUTURE_TIME"),
    (4, "n", "TYPE_MISMATCH"),
    (5, "at", "NULL_VIOLATION"),
];

fn told(errors: &[RowError]) -> Vec<(u64, &str, &str)> {
    errors.iter().map(|error| (error.row, error.column.as_deref().unwrap_or(""), &*error.code)).collect()
}

fn on_row_error(on_row_error: OnRowError) -> WriteOptions {
    WriteOptions { on_row_error, ..WriteOptions::default() }
}

async fn producer_of(client: &Client, id: &str, options: WriteOptions) -> Producer {
    let options = ProducerOptions { write: options, ..ProducerOptions::default() };
    client.producer_with("t", id, options).await.expect("begins")
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_refuse_the_batch_or_are_kept() {
    bounded(async {
        let mut fixture = Fixture::with(TIMED).await;
        // Refused whole: nothing is stored, the number is not used up.
        let abort = on_row_error(OnRowError::Abort);
        let refused = fixture.client.write("t", &timed(&ROWS), number("p", 0, 1), &abort).await;
        let error = assert_refused(refused, Code::InvalidArgument, "BAD_ROWS");
        assert_eq!(told(error.row_errors()), BAD);
        let mut aborting = producer_of(&fixture.client, "aborting", abort).await;
        let error = assert_refused(send(&mut aborting, timed(&ROWS)).await, Code::InvalidArgument, "BAD_ROWS");
        assert_eq!(told(error.row_errors()), BAD);
        assert_eq!(fixture.ids().await, [0; 0]);

        // Kept apart: good rows are stored, the first of a key wins, bad ones are told and kept.
        let keep = on_row_error(OnRowError::Keep);
        for repeated in [false, true] {
            let result = fixture.client.write("t", &timed(&ROWS), number("p", 0, 1), &keep).await.expect("stored");
            assert_eq!((result.repeated, result.received), (repeated, 8));
            assert_eq!((result.accepted, result.duplicates, result.rejected), (2, 1, 5));
            assert_eq!(told(&result.row_errors), if repeated { &[][..] } else { &BAD[..] });
            fixture = fixture.restart(true).await;
        }
        assert_eq!(fixture.ids().await, [1, 8]);
        let rejected = "SELECT \"row\" FROM system.rejected WHERE table_id = (SELECT id FROM system.tables WHERE name = 't') \
                        ORDER BY \"row\"";
        assert_eq!(integers(&fixture.client, rejected).await, [1, 2, 3, 4, 5]);
        let ledger = "SELECT CAST(sum(received - accepted - duplicate - repeated - rejected) AS BIGINT) FROM system.ledger";
        assert_eq!(integers(&fixture.client, ledger).await, [0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_hundred_bad_rows_are_told() {
    bounded(async {
        let fixture = Fixture::with(TIMED).await;
        // Each second row is bad.
        let row = |i: i64| if i % 2 == 0 { (Some(i), Some(NOW_US), None) } else { (None, Some(NOW_US), None) };
        let rows: Vec<Row> = (0..500).map(row).collect();
        let expected: Vec<_> = (0..100).map(|i| (2 * i + 1, "id", "NULL_VIOLATION")).collect();
        let mut aborting = producer_of(&fixture.client, "a", on_row_error(OnRowError::Abort)).await;
        let error = assert_refused(send(&mut aborting, timed(&rows)).await, Code::InvalidArgument, "BAD_ROWS");
        assert_eq!(told(error.row_errors()), expected);
        let mut keeping = producer_of(&fixture.client, "k", on_row_error(OnRowError::Keep)).await;
        let result = send(&mut keeping, timed(&rows)).await.expect("stored");
        assert_eq!((result.received, result.accepted, result.rejected), (500, 250, 250));
        assert_eq!(told(&result.row_errors), expected);
        // A refused call tells as many as fit into its trailers, the first ones.
        let unary = fixture.client.write("t", &timed(&rows), Identity::None, &on_row_error(OnRowError::Abort)).await;
        let error = assert_refused(unary, Code::InvalidArgument, "BAD_ROWS");
        let n_told = error.row_errors().len();
        assert!(n_told >= 10, "{n_told}");
        assert_eq!(told(error.row_errors()), expected[..n_told]);
    })
    .await;
}

/// A query sees a batch with all its good rows or without any; one that is refused never shows.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_seen_whole_or_not_at_all() {
    const GOOD_ROWS: i64 = 900;
    bounded(async {
        let fixture = Fixture::with(TIMED).await;
        let rows = |from: i64| -> Vec<Row> {
            (0..1000).map(|i| ((i % 10 != 0).then_some(from + i), Some(NOW_US), None)).collect()
        };
        let done = AtomicBool::new(false);
        let writing = async {
            for sequence in 1..=40 {
                let batch = timed(&rows(sequence as i64 * 1000));
                let identity = || number("p", 0, sequence);
                let refused = fixture.client.write("t", &batch, identity(), &on_row_error(OnRowError::Abort)).await;
                assert_refused(refused, Code::InvalidArgument, "BAD_ROWS");
                let kept = fixture.client.write("t", &batch, identity(), &on_row_error(OnRowError::Keep)).await;
                assert_eq!(kept.expect("stored").accepted, GOOD_ROWS as u64);
            }
            done.store(true, Ordering::SeqCst);
        };
        let reader = fixture.reconnect().await;
        let reading = async {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::SeqCst) {
                let count = integers(&reader, "SELECT count(*) FROM t").await[0];
                assert_eq!(count % GOOD_ROWS, 0, "{count} rows are no whole batches");
                seen.insert(count);
            }
            seen
        };
        let ((), seen) = tokio::join!(writing, reading);
        assert!(seen.len() > 2, "the reader saw the table grow: {seen:?}");
        assert_eq!(integers(&fixture.client, "SELECT count(*) FROM t").await, [40 * GOOD_ROWS]);
    })
    .await;
}

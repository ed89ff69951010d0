//! Is every rejected row stored once when it fits, and kept when it does not, wherever a replay is broken off?

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};

use super::support::{Fixture, abandon, batch, definition, keys_of, producer, request, until};
use crate::admission::RejectCode;
use crate::admission::json::decode;
use crate::catalog::{NewTable, TableChange};
use crate::env::FailAction;
use crate::error::Code;
use crate::table::{RowsRequest, Table};
use crate::trial::{ReplayOptions, ReplayOutcome};

/// A table that takes no row of [`batch`] until [`open_up`]: they are all of 1970.
async fn closed_table(fixture: &Fixture, key: &[&str]) -> Table {
    let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let new = NewTable {
        key: key.iter().map(|&name| name.to_owned()).collect(),
        options: vec![option("time_column", "at"), option("max_lateness", "1 hour")],
        ..definition("t")
    };
    fixture.engine().create_table(new).await.expect("created").0
}

async fn open_up(fixture: &Fixture) {
    let change = TableChange::SetOptions(vec![("max_lateness".to_owned(), "36500 days".to_owned())]);
    fixture.engine().alter_table("public", "t", change).await.expect("altered");
}

async fn reject(table: &Table, rows: RecordBatch) {
    let n = rows.num_rows() as u64;
    let outcome = table.write(request(rows)).await.expect("answered");
    assert_eq!((outcome.accepted, outcome.rejected), (0, n));
}

async fn replay(table: &Table) -> crate::Result<ReplayOutcome> {
    table.replay_rejected(ReplayOptions { principal: "me".to_owned(), ..ReplayOptions::default() }).await
}

fn counts(outcome: &ReplayOutcome) -> (u64, u64, u64) {
    (outcome.replayed, outcome.duplicates, outcome.still_rejected)
}

fn rejected(table: &Table) -> Vec<(u64, RejectCode)> {
    table.rejected().expect("readable").iter().map(|row| (row.row, row.code)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_in_when_they_fit_and_stay_as_they_are_until_then() {
    let mut fixture = Fixture::open();
    let table = closed_table(&fixture, &["id"]).await;
    reject(&table, batch(&[1, 2, 2, 3])).await;
    let before = table.rejected().expect("readable");
    assert_eq!(counts(&replay(&table).await.expect("replayed")), (0, 0, 4));
    assert_eq!(table.rejected().expect("readable"), before);
    assert_eq!(keys_of(&table), [0; 0]);
    open_up(&fixture).await;
    table.write(request(batch(&[3]))).await.expect("stored");
    let outcome = replay(&table).await.expect("replayed");
    assert_eq!(counts(&outcome), (2, 2, 0));
    table.wait_visible(&outcome.token.expect("rows were stored")).await.expect("visible");
    assert_eq!(counts(&replay(&table).await.expect("replayed")), (0, 0, 0));
    drop(table);
    for restarted in [false, true] {
        if restarted {
            fixture.restart().await;
        }
        assert_eq!(keys_of(&fixture.table("t")), [1, 2, 3]);
        assert!(rejected(&fixture.table("t")).is_empty());
    }
}

/// NDJSON with one row that is late, one that never fits, one that is late.
fn mixed(table: &Table, ids: [i64; 2]) -> RowsRequest {
    let line = |id: i64| {
        let name = if id % 7 == 0 { "null".to_owned() } else { format!("\"name {}\"", id % 1_000) };
        format!("{{\"id\": {id}, \"name\": {name}, \"at\": {}}}\n", id.wrapping_mul(977) & 0xff_ffff)
    };
    let text = [line(ids[0]), "{\"id\": \"none\", \"at\": 0}\n".to_owned(), line(ids[1])].concat();
    let rows = decode(&table.def(), text.as_bytes(), false).expect("read");
    RowsRequest::new("me", vec![rows])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_record_is_as_it_was() {
    let mut fixture = Fixture::open();
    let table = closed_table(&fixture, &[]).await;
    table.write(mixed(&table, [5, 7])).await.expect("answered");
    let before = table.rejected().expect("readable");
    open_up(&fixture).await;
    assert_eq!(counts(&replay(&table).await.expect("replayed")), (2, 0, 1));
    assert_eq!(table.rejected().expect("readable"), before[1..2]);
    assert_eq!(counts(&replay(&table).await.expect("replayed")), (0, 0, 1));
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), [5, 7]);
    assert_eq!(fixture.table("t").rejected().expect("readable"), before[1..2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_asked_for_is_tried() {
    let fixture = Fixture::open();
    let table = closed_table(&fixture, &[]).await;
    for (id, key) in [("a", 1), ("b", 2)] {
        table.write(producer(id, 1, batch(&[key]))).await.expect("answered");
    }
    reject(&table, batch(&[3])).await;
    open_up(&fixture).await;
    let of = |producer: Option<&str>, since_us: Option<i64>| {
        let producer = producer.map(str::to_owned);
        table.replay_rejected(ReplayOptions { producer, since_us, ..ReplayOptions::default() })
    };
    assert_eq!(counts(&of(Some("a"), Some(i64::MAX)).await.expect("replayed")), (0, 0, 0));
    assert_eq!(counts(&of(Some("a"), Some(0)).await.expect("replayed")), (1, 0, 0));
    assert_eq!(keys_of(&table), [1]);
    assert_eq!(counts(&of(Some(""), None).await.expect("replayed")), (1, 0, 0));
    assert_eq!(keys_of(&table), [1, 3]);
    assert_eq!(counts(&of(None, None).await.expect("replayed")), (1, 0, 0));
    assert_eq!(keys_of(&table), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_came_with_columns_to_ignore_come_in_that_way() {
    let fixture = Fixture::open();
    let table = closed_table(&fixture, &[]).await;
    let rows = batch(&[1]);
    let schema = rows.schema();
    let own = schema.fields().iter().map(|field| field.name().as_str()).zip(rows.columns().iter().cloned());
    let more: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    let rows = RecordBatch::try_from_iter(own.chain([("more", more)])).expect("columns of one length");
    let outcome = table.write(RowsRequest { ignore_unknown_columns: true, ..request(rows) }).await.expect("answered");
    assert_eq!(outcome.rejected, 1);
    open_up(&fixture).await;
    assert_eq!(counts(&replay(&table).await.expect("replayed")), (0, 0, 1));
    let options = ReplayOptions { ignore_unknown_columns: true, ..ReplayOptions::default() };
    assert_eq!(counts(&table.replay_rejected(options).await.expect("replayed")), (1, 0, 0));
    assert_eq!(keys_of(&table), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_is_stored_once_wherever_it_breaks() {
    for point in ["table.before_submit/rows", "table.before_publish/rows", "table.after_publish/rows"] {
        let mut fixture = Fixture::open();
        // Without a key nothing but the commit keeps a row from being stored twice.
        let table = closed_table(&fixture, &[]).await;
        for key in 0..20 {
            reject(&table, batch(&[key, key + 100])).await;
        }
        table.write(mixed(&table, [500, 501])).await.expect("answered");
        open_up(&fixture).await;
        let expected: Vec<i64> = (0..20).chain(100..120).chain([500, 501]).collect();
        fixture.engine().env().fail.arm(point, FailAction::Error(1));
        replay(&table).await.expect_err("the worker failed");
        drop(table);
        fixture.restart().await;
        let table = fixture.table("t");
        let left = replay(&table).await.expect("replayed");
        assert_eq!(keys_of(&table), expected, "{point}: {left:?}");
        assert_eq!(rejected(&table).len(), 1, "{point}");
        drop(table);
        fixture.restart().await;
        assert_eq!(keys_of(&fixture.table("t")), expected, "{point}");
        assert_eq!(rejected(&fixture.table("t")).len(), 1, "{point}");
    }
}

/// The rows of a worker that failed may be on their way to the log when somebody else reads their records.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_record_that_was_read_before_the_table_was_opened_again_is_not_stored() {
    let fixture = Fixture::open();
    let table = closed_table(&fixture, &[]).await;
    reject(&table, batch(&[1])).await;
    open_up(&fixture).await;
    let fail = Arc::clone(&fixture.engine().env().fail);
    let begin = || {
        let table = table.clone();
        tokio::spawn(async move { replay(&table).await })
    };
    fail.arm("log.before_write/rows", FailAction::Hold(1));
    let first = begin();
    until(|| fail.visits("log.before_write/rows") == 1).await;
    fail.arm("table.before_submit/rows", FailAction::Error(1));
    table.write(request(batch(&[2]))).await.expect_err("the worker failed");
    first.await.expect("ended").expect_err("the worker failed");
    fail.arm("replay.page_read", FailAction::Hold(1));
    let second = begin();
    until(|| fail.visits("replay.page_read") == 1).await;
    let opened = table.shared.opened.load(Ordering::Acquire);
    fail.release("log.before_write/rows");
    until(|| table.shared.opened.load(Ordering::Acquire) > opened && table.shared.queue.load().is_some()).await;
    fail.release("replay.page_read");
    let refused = second.await.expect("ended").expect_err("the record is another by now");
    assert_eq!(refused.code(), Code::TableClosed);
    assert_eq!(keys_of(&table), [1]);
    assert_eq!(counts(&replay(&table).await.expect("replayed")), (0, 0, 0));
    assert!(rejected(&table).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn replays_at_once_and_replays_that_nobody_waits_for_store_nothing_twice() {
    let fixture = Fixture::open();
    let table = closed_table(&fixture, &[]).await;
    for key in 0..50 {
        reject(&table, batch(&[key])).await;
    }
    open_up(&fixture).await;
    abandon(replay(&table)).await;
    let (a, b, c) = tokio::join!(replay(&table), replay(&table), replay(&table));
    let n: u64 = [a, b, c].into_iter().map(|outcome| outcome.expect("replayed").replayed).sum();
    assert!(n <= 50);
    assert_eq!(keys_of(&table), (0..50).collect::<Vec<_>>());
    assert!(rejected(&table).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_are_several_pages() {
    let mut fixture = Fixture::open();
    let table = closed_table(&fixture, &["id"]).await;
    for start in 0..5 {
        let keys: Vec<i64> = (start * 9_000..(start + 1) * 9_000).collect();
        reject(&table, batch(&keys)).await;
    }
    open_up(&fixture).await;
    assert_eq!(counts(&replay(&table).await.expect("replayed")), (45_000, 0, 0));
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), (0..45_000).collect::<Vec<_>>());
    assert!(rejected(&fixture.table("t")).is_empty());
}

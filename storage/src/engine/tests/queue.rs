//! Is what waits bounded, in order and answered by what is durable?

use std::time::Duration;

use super::support::{Fixture, abandon, batch, definition, producer, request, until};
use crate::env::FailAction;
use crate::error::Code;
use crate::ids::CommitSeq;
use crate::limits::TABLE_QUEUE_BYTES;
use crate::log::entries;
use crate::memory::Share;
use crate::table::RowsRequest;

/// A hang is a failure; nothing here takes seconds.
const BOUND: Duration = Duration::from_secs(60);

/// About ten MiB.
fn large(from: i64) -> RowsRequest {
    request(batch(&(from..from + 300_000).collect::<Vec<_>>()))
}

/// Not what housekeeping writes, which may come at any time.
const LOG_WRITES: &str = "log.before_write/rows";

/// The worker has two groups in flight that the log does not finish, so it takes nothing more. Until `LOG_WRITES` is released.
async fn hold_the_log(fixture: &Fixture) -> Vec<crate::table::PendingWrite> {
    let table = fixture.table("t");
    let fail = &fixture.engine().env().fail;
    fail.arm(LOG_WRITES, FailAction::Hold(1));
    let mut pending = Vec::new();
    for key in [-1, -2] {
        let prepared = table.prepare(request(batch(&[key]))).await.expect("prepared");
        pending.push(table.submit(prepared).await.expect("submitted"));
        until(|| fail.visits(LOG_WRITES) > 0).await;
    }
    until(|| table.shared.queue.load_full().is_some_and(|queue| queue.capacity() == queue.max_capacity())).await;
    pending
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_frees_no_place_before_its_rows_are_stored() {
    let fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    let held = hold_the_log(&fixture).await;
    let before = fixture.engine().memory().used(Share::Realtime);
    let mut waiting = 0;
    for from in 0..10 {
        let prepared = table.prepare(large(from * 300_000)).await.expect("prepared");
        let mut submitted = false;
        abandon(async {
            let pending = table.submit(prepared).await;
            submitted = pending.is_ok();
            // Dropped: nobody waits for the answer.
        })
        .await;
        waiting += u64::from(submitted);
    }
    let queued = fixture.engine().memory().used(Share::Realtime) - before;
    assert!((1..10).contains(&waiting), "{waiting} of ten batches found a place");
    assert!(queued > 0 && queued <= TABLE_QUEUE_BYTES as u64, "{queued} bytes wait");
    fixture.engine().env().fail.release(LOG_WRITES);
    for pending in held {
        pending.outcome().await.expect("stored");
    }
    // What was in the queue is stored, with nobody waiting; what found no place is not.
    let n_rows = 2 + 300_000 * waiting;
    until(|| table.snapshot().n_rows() == n_rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_queue_holds_is_stored_in_order() {
    let fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    // All are prepared before the first is submitted: none of them may hold the place that the first needs.
    let mut prepared = Vec::new();
    for n in 0..6 {
        let rows = RowsRequest { producer: producer("p", n + 1, batch(&[])).producer, ..large(n as i64 * 300_000) };
        prepared.push(table.prepare(rows).await.expect("prepared"));
    }
    let all = async {
        let mut pending = Vec::new();
        for one in prepared {
            pending.push(table.submit(one).await.expect("submitted"));
        }
        for (n, one) in pending.into_iter().enumerate() {
            assert_eq!(one.outcome().await.expect("stored").accepted, 300_000, "batch {n}");
        }
    };
    tokio::time::timeout(BOUND, all).await.expect("no batch waits for one behind it");
    assert_eq!(table.snapshot().n_rows(), 1_800_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_tables_together_have_a_bound() {
    let fixture = Fixture::open_with(|options| options.memory_limit = 640 << 20);
    let names: Vec<String> = (0..6).map(|n| format!("t{n}")).collect();
    for name in &names {
        fixture.create(name).await;
    }
    let bound = fixture.engine().memory().share(Share::Realtime) / 4;
    fixture.engine().env().fail.arm(LOG_WRITES, FailAction::Hold(1));
    let before = fixture.engine().memory().used(Share::Realtime);
    let mut refused = 0;
    for name in &names {
        let table = fixture.table(name);
        let Ok(prepared) = table.prepare(large(0)).await else {
            refused += 1;
            continue;
        };
        abandon(async { drop(table.submit(prepared).await) }).await;
    }
    let queued = fixture.engine().memory().used(Share::Realtime) - before;
    assert_eq!(refused, 0, "memory is not full yet");
    assert!(queued > 0 && queued <= bound, "{queued} bytes wait, the bound is {bound}");
    fixture.engine().env().fail.release(LOG_WRITES);
}

fn at_os() -> crate::catalog::NewTable {
    let mut new = definition("t");
    new.options.push(("durability".to_owned(), "os".to_owned()));
    new
}

#[tokio::test(flavor = "multi_thread")]
async fn the_witness_notes_only_what_is_synced() {
    let fixture = Fixture::open();
    fixture.engine().create_table(at_os()).await.expect("created");
    let table = fixture.table("t");
    let store = &fixture.engine().parts.store;
    assert!(store.is_acknowledged());
    table.write(request(batch(&[1]))).await.expect("stored");
    assert!(!store.is_acknowledged(), "the row may be gone after a power cut: that is no loss of what was synced");
    table
        .write(RowsRequest { durability: Some(crate::Durability::Fsync), ..request(batch(&[2])) })
        .await
        .expect("stored");
    assert!(store.is_acknowledged());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_that_asks_for_a_sync_gets_it_in_the_group_of_its_original() {
    let fixture = Fixture::open();
    fixture.engine().create_table(at_os()).await.expect("created");
    let table = fixture.table("t");
    let held = hold_the_log(&fixture).await;
    // Both wait in the queue, so that one group takes both.
    let first = table.prepare(producer("p", 1, batch(&[1]))).await.expect("prepared");
    let first = table.submit(first).await.expect("submitted");
    let again = RowsRequest { durability: Some(crate::Durability::Fsync), ..producer("p", 1, batch(&[1])) };
    let again = table.submit(table.prepare(again).await.expect("prepared")).await.expect("submitted");
    fixture.engine().env().fail.release(LOG_WRITES);
    let first = first.outcome().await.expect("stored");
    let again = again.outcome().await.expect("answered");
    assert!(!first.repeated && again.repeated);
    assert_eq!(first.token, again.token, "the answer rests on the original's entry");
    assert!(fixture.engine().parts.store.is_acknowledged(), "the repeat was answered before its original was synced");
    for pending in held {
        pending.outcome().await.expect("stored");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uptime_is_counted_once_when_a_table_is_opened_again() {
    let (fixture, clock) = Fixture::open_at(0);
    fixture.create("t").await;
    clock.advance(Duration::from_secs(100));
    fixture.table("t").write(request(batch(&[1]))).await.expect("stored");
    fixture.engine().env().fail.arm("table.before_publish/rows", FailAction::Error(1));
    fixture.table("t").write(request(batch(&[2]))).await.expect_err("the worker failed");
    let mut visible = fixture.table("t").shared.visible.subscribe();
    visible.wait_for(|seq| seq.0 == 2).await.expect("opened again");
    drop(visible);
    fixture.table("t").write(request(batch(&[3]))).await.expect("stored");
    let uptimes = |fixture: &Fixture| -> Vec<u64> {
        let table = fixture.table("t");
        let read = entries(&table.shared.store, table.def().id, CommitSeq(1)).expect("readable");
        read.map(|entry| entry.expect("whole").1.uptime_us / 1_000_000).collect()
    };
    assert_eq!(uptimes(&fixture), [100, 100, 100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_closed_while_it_is_opened_again_stays_closed() {
    for round in 0..20 {
        let mut fixture = Fixture::open();
        fixture.create("t").await;
        let table = fixture.table("t");
        fixture.engine().env().fail.arm("table.before_publish/rows", FailAction::Error(1));
        table.write(request(batch(&[1]))).await.expect_err("the worker failed");
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        // Somewhere between the failure and the new worker.
        fixture.engine().drop_table("public", "t").await.expect("dropped");
        let refused = table.write(request(batch(&[2]))).await.expect_err("refused");
        assert_eq!(refused.code(), Code::TableClosed, "round {round}");
        tokio::time::timeout(BOUND, table.closed()).await.expect("its worker ends");
        drop(table);
        tokio::time::timeout(BOUND, fixture.close()).await.expect("the engine ends");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_numbered_as_the_client_sent_them() {
    use arrow::array::{Int64Array, RecordBatch, TimestampMicrosecondArray};
    let fixture = Fixture::open();
    fixture.create("t").await;
    let rows = |ids: Vec<Option<i64>>| -> RecordBatch {
        let at = TimestampMicrosecondArray::from(vec![0; ids.len()]).with_timezone("UTC");
        let columns: [(&str, arrow::array::ArrayRef); 2] =
            [("id", std::sync::Arc::new(Int64Array::from(ids))), ("at", std::sync::Arc::new(at))];
        RecordBatch::try_from_iter(columns).expect("columns of one length")
    };
    let two = RowsRequest::new("me", vec![rows(vec![Some(1), Some(2)]).into(), rows(vec![Some(3), None]).into()]);
    let kept = fixture.table("t").write(two.clone()).await.expect("stored");
    assert_eq!(kept.row_errors.iter().map(|e| e.row).collect::<Vec<_>>(), [3]);
    let abort = RowsRequest { on_error: crate::table::OnError::Abort, ..two };
    let refused = fixture.table("t").write(abort).await.expect_err("refused");
    assert_eq!(refused.rows().iter().map(|e| e.row).collect::<Vec<_>>(), [3]);
    assert!(refused.to_string().contains("row 3"), "{refused}");
    assert_eq!(fixture.table("t").snapshot().n_rows(), 3);
}

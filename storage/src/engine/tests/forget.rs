//! Is anything forgotten that is old by one clock only, or kept that is old by both? What goes is gone from the disk, too.

use std::time::Duration;

use super::support::{Fixture, batch, definition, keys_of, producer, request, until};
use super::*;
use crate::admission::OnError;
use crate::error::Code;
use crate::ids::{CommitSeq, ProducerId, SHARD_ZERO};
use crate::limits::{IDEMPOTENCY_KEY_TTL_S, PRODUCER_TTL_S, REJECTED_TTL_S};
use crate::log::{Entry, EntryBody, entries, state_key, state_prefix};
use crate::table::{IdempotencyKey, RowsRequest};

const START_US: i64 = 1_800_000_000_000_000;

fn keyed(key: &str, rows: &[i64]) -> RowsRequest {
    RowsRequest { idempotency_key: Some(IdempotencyKey(key.to_owned())), ..request(batch(rows)) }
}

/// The wall clock alone, `seconds` after the start.
fn wall(seconds: u64) -> i64 {
    START_US + seconds as i64 * 1_000_000
}

#[tokio::test(flavor = "multi_thread")]
async fn idempotency_keys_need_a_day_of_both_clocks() {
    let (mut fixture, clock) = Fixture::open_at(START_US);
    fixture.create("t").await;
    fixture.table("t").write(keyed("k", &[1])).await.expect("stored");
    clock.set_wall(wall(2 * IDEMPOTENCY_KEY_TTL_S));
    // Another key is what makes the table look for old ones.
    fixture.table("t").write(keyed("other", &[2])).await.expect("stored");
    assert!(fixture.table("t").write(keyed("k", &[1])).await.expect("answered").repeated);
    fixture.restart().await;
    assert!(fixture.table("t").write(keyed("k", &[1])).await.expect("answered").repeated);
    clock.advance(Duration::from_secs(IDEMPOTENCY_KEY_TTL_S));
    fixture.table("t").write(keyed("another", &[3])).await.expect("stored");
    assert!(!fixture.table("t").write(keyed("k", &[1])).await.expect("stored").repeated);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_producers_need_a_week_of_both_clocks() {
    let (mut fixture, clock) = Fixture::open_at(START_US);
    fixture.create("t").await;
    fixture.table("t").write(producer("idle", 1, batch(&[1]))).await.expect("stored");
    clock.set_wall(wall(2 * PRODUCER_TTL_S));
    fixture.table("t").housekeep().await;
    let idle = ProducerId::new("idle").expect("valid");
    assert!(fixture.table("t").producer(&idle).await.expect("answered").is_some());
    clock.advance(Duration::from_secs(PRODUCER_TTL_S));
    fixture.table("t").write(producer("busy", 1, batch(&[2]))).await.expect("stored");
    fixture.table("t").housekeep().await;
    for restarted in [false, true] {
        if restarted {
            fixture.restart().await;
        }
        let table = fixture.table("t");
        assert!(table.producer(&idle).await.expect("answered").is_none());
        let names: Vec<String> = table.producers().expect("readable").into_iter().map(|p| p.producer).collect();
        assert_eq!(names, ["busy"]);
        let unknown = table.write(producer("idle", 2, batch(&[3]))).await.expect_err("refused");
        assert_eq!(unknown.code(), Code::UnknownProducer);
        // A client that knows of an acknowledgement: it was forgotten, nothing was lost.
        let mut knows = producer("idle", 2, batch(&[3]));
        knows.producer.as_mut().expect("named").last_acked = Some(1);
        assert_eq!(table.write(knows).await.expect_err("refused").code(), Code::UnknownProducer);
        assert_eq!(keys_of(&table), [1, 2]);
    }
    // It was an entry: the order of what happened says when.
    let table = fixture.table("t");
    let last = entries(&table.shared.store, table.def().id, CommitSeq(1)).expect("readable").last();
    let Some(Ok((CommitSeq(3), Entry { body: EntryBody::Forget(forget), .. }))) = last else { panic!("{last:?}") };
    assert_eq!(forget.producers, ["idle"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_only_repeats_is_not_idle() {
    let (mut fixture, clock) = Fixture::open_at(START_US);
    fixture.create("t").await;
    fixture.table("t").write(producer("p", 1, batch(&[1]))).await.expect("stored");
    for restarted in [false, true, false] {
        clock.advance(Duration::from_secs(PRODUCER_TTL_S * 3 / 4));
        assert!(fixture.table("t").write(producer("p", 1, batch(&[1]))).await.expect("answered").repeated);
        if restarted {
            fixture.restart().await;
        }
        fixture.table("t").housekeep().await;
    }
    assert!(fixture.table("t").write(producer("p", 1, batch(&[1]))).await.expect("answered").repeated);
}

/// A row whose key is NULL.
fn bad() -> RowsRequest {
    bad_rows(1)
}

fn bad_rows(n: usize) -> RowsRequest {
    use arrow::array::{Int64Array, RecordBatch, TimestampMicrosecondArray};
    let id: arrow::array::ArrayRef = std::sync::Arc::new(Int64Array::from(vec![None::<i64>; n]));
    let at = TimestampMicrosecondArray::from(vec![0; n]).with_timezone("UTC");
    let at: arrow::array::ArrayRef = std::sync::Arc::new(at);
    request(RecordBatch::try_from_iter([("id", id), ("at", at)]).expect("columns of one length"))
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_rows_need_a_month_of_both_clocks() {
    let (mut fixture, clock) = Fixture::open_at(START_US);
    fixture.create("t").await;
    assert_eq!(fixture.table("t").write(bad()).await.expect("answered").rejected, 1);
    clock.set_wall(wall(2 * REJECTED_TTL_S));
    assert_eq!(fixture.table("t").write(bad()).await.expect("answered").rejected, 1);
    fixture.restart().await;
    let kept = |table: &Table| {
        let prefix = state_prefix(state_key::REJECTED, table.def().id, SHARD_ZERO);
        table.shared.store.scan(Family::State, &prefix).expect("readable").count()
    };
    assert_eq!(kept(&fixture.table("t")), 2);
    clock.advance(Duration::from_secs(REJECTED_TTL_S));
    assert_eq!(fixture.table("t").write(bad()).await.expect("answered").rejected, 1);
    assert_eq!(kept(&fixture.table("t")), 1);
    assert_eq!(fixture.table("t").rejected().expect("readable").len(), 1);
    let rejected: u64 = fixture.table("t").ledger().expect("readable").iter().map(|row| row.rejected).sum();
    assert_eq!(rejected, 3, "the counters stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_rows_are_read_a_page_at_a_time() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    assert!(table.rejected_pages().next().is_none());
    for _ in 0..3 {
        table.write(bad_rows(9_000)).await.expect("answered");
    }
    // Rows of another table are none of this one.
    fixture.create("u").await.write(bad()).await.expect("answered");
    let pages: Vec<_> = table.rejected_pages().map(|page| page.expect("readable")).collect();
    assert!(pages.len() >= 3 && pages.iter().all(|page| !page.is_empty() && page.len() < 20_000));
    let rows: Vec<_> = pages.into_iter().flatten().map(|row| row.row).collect();
    assert_eq!(rows, (0..3).flat_map(|_| 0..9_000).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_row_that_cannot_be_read_keeps_no_table_closed() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    fixture.table("t").write(bad()).await.expect("answered");
    let prefix = state_prefix(state_key::REJECTED, fixture.table("t").def().id, SHARD_ZERO);
    let store = &fixture.engine().parts.store;
    let (key, _) = store.scan(Family::State, &prefix).expect("readable").next().expect("one").expect("read");
    store.write(&[crate::log::Op::Put(Family::State, key.into_vec(), vec![9])], true).expect("written");
    fixture.restart().await;
    fixture.table("t").write(request(batch(&[1]))).await.expect("stored");
    fixture.table("t").housekeep().await;
    assert_eq!(keys_of(&fixture.table("t")), [1]);
    assert_eq!(fixture.table("t").rejected().expect_err("it says so").code(), Code::LogUnknownVersion);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committed_batch_is_repeated_even_if_its_rows_would_be_refused_by_now() {
    let (mut fixture, clock) = Fixture::open_at(0);
    let mut new = definition("t");
    new.options.push(("max_lateness".to_owned(), "1 hour".to_owned()));
    fixture.engine().create_table(new).await.expect("created");
    let abort = |sequence, key: i64| RowsRequest { on_error: OnError::Abort, ..producer("p", sequence, batch(&[key])) };
    let with_key = |key: i64| RowsRequest { on_error: OnError::Abort, ..keyed("k", &[key]) };
    fixture.table("t").write(abort(1, 1)).await.expect("stored");
    fixture.table("t").write(with_key(2)).await.expect("stored");
    clock.advance(Duration::from_secs(2 * 3600));
    for restarted in [false, true] {
        if restarted {
            fixture.restart().await;
        }
        let table = fixture.table("t");
        let again = table.write(abort(1, 1)).await.expect("answered");
        assert!(again.repeated && again.accepted == 1);
        assert!(table.write(with_key(2)).await.expect("answered").repeated);
        assert_eq!(table.write(abort(2, 3)).await.expect_err("late").code(), Code::BadRows);
        assert_eq!(table.write(abort(1, 3)).await.expect_err("other rows").code(), Code::SequenceReused);
        assert_eq!(keys_of(&table), [1, 2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_truncated_gives_its_space_back() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    for from in 0..8_i64 {
        table.write(request(batch(&(from * 50_000..(from + 1) * 50_000).collect::<Vec<_>>()))).await.expect("stored");
    }
    let size = || -> u64 {
        let files = std::fs::read_dir(fixture.path().join("log")).expect("readable");
        files.filter_map(|f| f.ok()?.metadata().ok()).map(|m| m.len()).sum()
    };
    let full = size();
    table.truncate().await.expect("done");
    let ended = || table.jobs().into_iter().find(|job| job.kind == "reclaim" && job.state != "running");
    until(|| ended().is_some()).await;
    assert_eq!(ended().and_then(|job| job.error), None);
    assert!(size() < full / 2, "{} of {full} bytes are left", size());
}

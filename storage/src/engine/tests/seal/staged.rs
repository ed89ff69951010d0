//! Streams larger than an entry: all rows at once or none, whatever ends in between.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use uuid::Uuid;

use super::spread;
use crate::engine::tests::support::{Fixture, batch, definition, delete_keys, keys_of, places_of, request};
use crate::env::FailAction;
use crate::error::Code;
use crate::ids::{CommitSeq, SHARD_ZERO, TableId};
use crate::log::{Family, Op, Store, state_key, state_prefix};
use crate::memory::Share;
use crate::sealing::{StageOptions, StagedWrite};
use crate::table::{IdempotencyKey, RowsOutcome, Table, recorded_names};

fn all(n: i64) -> Vec<i64> {
    (0..n).collect()
}

pub(super) fn options() -> StageOptions {
    StageOptions { principal: "me".to_owned(), ..StageOptions::default() }
}

/// A stream of these keys, in two pieces.
pub(super) async fn staged(table: &Table, keys: &[i64]) -> StagedWrite {
    let mut stream = table.stage(options()).expect("begun");
    let (front, back) = keys.split_at(keys.len() / 2);
    stream.push(batch(front).into()).await.expect("taken");
    stream.push(batch(back).into()).await.expect("taken");
    stream
}

pub(super) async fn write(table: &Table, keys: &[i64]) -> RowsOutcome {
    table.write(request(batch(keys))).await.expect("stored")
}

/// The same, as soon as a table that failed is open again.
async fn write_again(table: &Table, keys: &[i64]) -> RowsOutcome {
    loop {
        match table.write(request(batch(keys))).await {
            Ok(outcome) => return outcome,
            Err(e) => assert_eq!(e.code(), Code::TableClosed),
        }
        tokio::task::yield_now().await;
    }
}

/// Files under the table's `built/`.
pub(super) fn n_files(table: &Table) -> usize {
    crate::env::wait_for_soon();
    std::fs::read_dir(table.shared.folders.built()).map_or(0, Iterator::count)
}

fn n_names(table: &Table) -> usize {
    recorded_names(&table.shared.store, table.def().id).expect("readable").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_stream_are_there_all_at_once() {
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, &[1_000]).await;
    let stream = staged(&table, &all(100)).await;
    assert_eq!(keys_of(&table), [1_000]);
    let outcome = stream.commit().await.expect("stored");
    assert_eq!((outcome.received, outcome.accepted, outcome.duplicates), (100, 100, 0));
    assert_eq!((outcome.token.seq, outcome.repeated, outcome.rejected), (CommitSeq(2), false, 0));
    let mut expected = all(100);
    expected.push(1_000);
    assert_eq!((keys_of(&table), spread(&table)), (expected.clone(), (1, 100, 0)));
    let snapshot = table.snapshot();
    let file = &snapshot.files()[0].file;
    assert_eq!((file.min_seq, file.max_seq), (CommitSeq(2), CommitSeq(2)));
    assert_eq!(file.entry.map(|(seq, _)| seq), Some(CommitSeq(2)));
    assert_eq!((n_files(&table), n_names(&table)), (3, 0), "rows, their sidecar and keys, and they are the table's");
    let (received, accepted) =
        table.ledger().expect("readable").iter().fold((0, 0), |sum, row| (sum.0 + row.received, sum.1 + row.accepted));
    assert_eq!((received, accepted), (101, 101));
    drop((table, snapshot));
    fixture.restart().await;
    assert_eq!((keys_of(&fixture.table("t")), spread(&fixture.table("t"))), (expected, (1, 100, 0)));
    let again = write(&fixture.table("t"), &[0, 99, 100]).await;
    assert_eq!((again.accepted, again.duplicates), (1, 2), "keys are claimed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_given_up_leaves_nothing() {
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    drop(staged(&table, &all(100)).await);
    // All is written, and the entry never comes.
    let stream = staged(&table, &all(100)).await;
    let error = stream.commit_after(|| Err(crate::Error::new(Code::QueryCancelled, "stop"))).await.expect_err("ended");
    assert_eq!(error.code(), Code::QueryCancelled);
    assert_eq!((n_files(&table), n_names(&table)), (0, 2), "the next start finds that there is nothing");
    let fail = Arc::clone(&fixture.engine().env().fail);
    let points = ["names_recorded", "file_written", "files_synced", "layer_written", "layers_synced", "before_commit"];
    for point in points.map(|point| format!("stage.{point}")) {
        fail.arm(&point, FailAction::Error(1));
        staged(&table, &all(100)).await.commit().await.expect_err(&point);
        fail.release(&point);
        assert_eq!(n_files(&table), 0, "{point}");
    }
    assert_eq!(keys_of(&table), Vec::<i64>::new());
    drop((table, fail));
    fixture.restart().await;
    fixture.engine().clean_files().await;
    assert_eq!(n_names(&fixture.table("t")), 0);
    assert_eq!(write(&fixture.table("t"), &all(100)).await.accepted, 100, "no key was claimed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_fails_before_the_entry_stores_nothing() {
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    fixture.engine().env().fail.arm("table.before_submit/segment", FailAction::Error(1));
    let error = staged(&table, &all(100)).await.commit().await.expect_err("the worker failed");
    assert_eq!(error.code(), Code::TableClosed);
    assert_eq!(write_again(&table, &[1]).await.accepted, 1);
    assert_eq!(keys_of(&table), [1]);
    fixture.engine().clean_files().await;
    assert_eq!((n_files(&table), n_names(&table)), (0, 0), "nobody waits for the next start");
    drop(table);
    fixture.restart().await;
    fixture.engine().clean_files().await;
    assert_eq!(keys_of(&fixture.table("t")), [1]);
    assert_eq!((n_files(&fixture.table("t")), n_names(&fixture.table("t"))), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_fails_after_the_entry_has_the_rows() {
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    fixture.engine().env().fail.arm("table.before_publish/segment", FailAction::Error(1));
    let error = staged(&table, &all(100)).await.commit().await.expect_err("the worker failed");
    assert_eq!(error.code(), Code::TableClosed, "nobody knows");
    assert_eq!(write_again(&table, &[1, 100]).await.accepted, 1);
    fixture.engine().clean_files().await;
    assert_eq!(keys_of(&table), all(101));
    drop(table);
    fixture.restart().await;
    fixture.engine().clean_files().await;
    assert_eq!(keys_of(&fixture.table("t")), all(101));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_row_of_a_key_wins_within_a_stream_and_against_the_table() {
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, &[10, 11]).await;
    table.build().await.expect("built");
    write(&table, &[1, 2, 3]).await;
    let outcome = staged(&table, &[3, 4, 4, 5, 5, 10, 6, 12]).await.commit().await.expect("stored");
    assert_eq!((outcome.received, outcome.accepted, outcome.duplicates), (8, 4, 4));
    // Nothing is left of this one.
    let outcome = staged(&table, &[3, 4, 12]).await.commit().await.expect("stored");
    assert_eq!((outcome.received, outcome.accepted, outcome.duplicates), (3, 0, 3));
    let expected = [1, 2, 3, 4, 5, 6, 10, 11, 12];
    assert_eq!(keys_of(&table), expected);
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), expected);
    assert_eq!(write(&fixture.table("t"), &expected).await.accepted, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_row_refuses_the_stream_and_is_named_by_its_place() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    let mut stream = table.stage(options()).expect("begun");
    stream.push(batch(&all(10)).into()).await.expect("taken");
    let bad = batch(&[100, 101, 102]);
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0, 0, i64::MAX / 2]).with_timezone("UTC"));
    let columns = vec![Arc::clone(bad.column(0)), Arc::clone(bad.column(1)), times];
    let bad = RecordBatch::try_new(bad.schema(), columns).expect("columns of one length");
    let error = stream.push(bad.into()).await.expect_err("refused");
    assert_eq!((error.code(), error.rows()[0].row), (Code::BadRows, 12));
    assert_eq!(error.rows()[0].column.as_deref(), Some("at"));
    assert!(stream.push(batch(&[1]).into()).await.is_err(), "it is over");
    stream.commit().await.expect_err("it is over");
    assert_eq!((keys_of(&table), n_files(&table)), (Vec::<i64>::new(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_stores_a_stream_once() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    for (round, repeated) in [(0, false), (1, true), (2, true)] {
        if round == 2 {
            fixture.restart().await;
        }
        let table = fixture.table("t");
        let key = Some(IdempotencyKey("k".to_owned()));
        let mut stream = table.stage(StageOptions { idempotency_key: key, ..options() }).expect("begun");
        stream.push(batch(&all(50)).into()).await.expect("taken");
        let outcome = stream.commit().await.expect("answered");
        assert_eq!((outcome.accepted, outcome.repeated), (50, repeated), "round {round}");
        assert_eq!(keys_of(&table), all(50));
    }
    let too_long = Some(IdempotencyKey("k".repeat(1_000)));
    let refused = fixture.table("t").stage(StageOptions { idempotency_key: too_long, ..options() });
    assert_eq!(refused.expect_err("refused").code(), Code::InvalidIdempotencyKey);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_stream_are_deleted_built_and_sealed_like_others() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    staged(&table, &all(100)).await.commit().await.expect("stored");
    // Before anything is built.
    let snapshot = table.snapshot();
    let rows = places_of(&table, &snapshot, &[7]);
    assert_eq!(table.delete(&snapshot, rows).await.expect("deleted").0, 1);
    let mut expected = all(100);
    expected.retain(|key| *key != 7);
    assert_eq!(keys_of(&table), expected);
    drop((table, snapshot));
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), expected);
    assert_eq!(delete_keys(&fixture.table("t"), &[8]).await.expect("deleted"), 1);
    expected.retain(|key| *key != 8);
    for step in 0..6 {
        match step {
            0 | 2 | 4 => fixture.restart().await,
            1 => drop(fixture.table("t").build().await.expect("built")),
            _ => drop(fixture.table("t").seal().await.expect("sealed")),
        }
        assert_eq!(keys_of(&fixture.table("t")), expected, "step {step}");
    }
    assert_eq!(spread(&fixture.table("t")), (0, 0, 98));
    let late = write(&fixture.table("t"), &[7, 8, 9, 100]).await;
    assert_eq!((late.accepted, late.duplicates), (1, 3), "keys stay known");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_and_the_stream_of_its_first_rows_are_one() {
    let mut fixture = Fixture::open();
    let engine = Arc::clone(fixture.engine());
    let mut given_up = engine.stage_table(definition("t"), options()).await.expect("begun");
    given_up.push(batch(&all(10)).into()).await.expect("taken");
    assert!(engine.table("public", "t").is_none());
    drop(given_up);
    let mut stream = engine.stage_table(definition("t"), options()).await.expect("the name is free");
    stream.push(batch(&all(100)).into()).await.expect("taken");
    let mut late = engine.stage_table(definition("t"), options()).await.expect("the name is free");
    late.push(batch(&all(5)).into()).await.expect("taken");
    let (table, _, outcome) = stream.commit().await.expect("made");
    assert_eq!((outcome.accepted, keys_of(&table)), (100, all(100)));
    assert_eq!(late.commit().await.expect_err("the name is taken").code(), Code::TableExists);
    assert_eq!(engine.stage_table(definition("t"), options()).await.expect_err("taken").code(), Code::TableExists);
    drop((table, engine));
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), all(100));
    assert_eq!(fixture.engine().tables().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_table_that_was_never_made_go_with_the_next_start() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    fixture.close().await;
    // A process that ended before the commit.
    let id = TableId(Uuid::from_u128(7));
    let folder = fixture.path().join("built").join(id.to_string());
    std::fs::create_dir_all(&folder).expect("made");
    std::fs::write(folder.join("a.parquet"), b"rows").expect("written");
    let key = |name: &str| [state_prefix(state_key::NAME, id, SHARD_ZERO), name.as_bytes().to_vec()].concat();
    {
        let store = Store::open(fixture.path()).expect("opens");
        let names = ["a.parquet", "b.parquet"].map(|name| Op::Put(Family::State, key(name), vec![1]));
        store.write(&names, true).expect("written");
    }
    fixture.reopen().expect("opens");
    assert!(!folder.exists());
    let left = fixture.engine().parts.store.get(Family::State, &key("a.parquet")).expect("readable");
    assert!(left.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn millions_of_rows_take_the_memory_of_one_file() {
    const ROWS: i64 = 3_000_000;
    const PUSHED: i64 = 50_000;
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    let memory = Arc::clone(fixture.engine().memory());
    let mut most = 0;
    let mut stream = table.stage(options()).expect("begun");
    for start in (0..ROWS).step_by(PUSHED as usize) {
        let keys: Vec<i64> = (start..start + PUSHED).map(|n| n.wrapping_mul(0x9e37_79b9)).collect();
        stream.push(batch(&keys).into()).await.expect("taken");
        most = most.max(memory.used(Share::Realtime));
    }
    let outcome = stream.commit().await.expect("stored");
    assert_eq!((outcome.received, outcome.accepted), (ROWS as u64, ROWS as u64));
    assert!(most < 160 << 20, "{most} bytes were held");
    assert_eq!(memory.used(Share::Realtime), 0);
    assert!(table.snapshot().files().len() >= 3);
    assert_eq!(table.snapshot().n_rows(), ROWS as u64);
    drop((table, memory));
    fixture.restart().await;
    let table = fixture.table("t");
    assert_eq!(spread(&table), (0, ROWS as u64, 0));
    let known: Vec<i64> = (0..ROWS).step_by(1_001).map(|n| n.wrapping_mul(0x9e37_79b9)).collect();
    assert_eq!(write(&table, &known).await.accepted, 0);
    table.seal().await.expect("sealed");
    assert_eq!(spread(&table), (0, 0, ROWS as u64));
}

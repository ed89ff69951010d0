//! Does everything stop before the disk is full, what is worth more later? Is space that is owed given back, by the next process too?

use super::support::{Fixture, batch, definition, keys_of, request, until};
use super::*;
use crate::engine::upkeep::{News, Told};
use crate::env::FailAction;
use crate::ids::{ProducerId, TableId};
use crate::limits::{DROPPED_TABLE_TTL_S, FREEING_MIN_FREE_BYTES, LEAST_MIN_FREE_BYTES, SMALL_MIN_FREE_BYTES};
use crate::log::Op;

/// As if the disk had so many bytes free.
fn pretend(fixture: &Fixture, free_bytes: u64) {
    *fixture.engine().parts.gate.pretended_free_bytes.lock() = Some(free_bytes);
}

fn view(name: &str) -> View {
    View { schema_name: "public".to_owned(), name: name.to_owned(), sql: "SELECT 1".to_owned() }
}

fn assert_full<T: std::fmt::Debug>(outcome: Result<T>) {
    let refused = outcome.expect_err("the disk is full");
    assert_eq!(refused.code(), Code::DiskFull, "{refused}");
    assert!(refused.retry_delay().is_some() && refused.to_string().contains("free some space"), "{refused}");
}

#[test]
fn rows_that_are_not_taken_are_told_once_and_their_end_as_well() {
    let (full, short) = (Some(Code::DiskFull), Some(Code::MemoryPressure));
    let mut told = Told::default();
    let mut looks = |found: &[Option<Code>]| found.iter().filter_map(|&found| told.look(found)).collect::<Vec<_>>();
    assert_eq!(looks(&[None; 30]), []);
    assert_eq!(looks(&[short, None, short, None]), [], "a moment's shortage");
    assert_eq!(looks(&[full, full, full]), [News::Stopped]);
    assert_eq!(looks(&[None, None, full, full]), [], "it goes on");
    assert_eq!(looks(&[short, short, full, full, short]), [News::Stopped], "another reason");
    assert_eq!(looks(&[None; 9]), []);
    assert_eq!(looks(&[None; 9]), [News::Resumed]);
    assert_eq!(looks(&[full, full]), [News::Stopped], "again");
    assert_eq!(looks(&[Some(Code::ShuttingDown); 3]), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_frees_space_goes_on_longest_and_rows_stop_first() {
    let mut fixture = Fixture::open();
    let (engine, producer) = (Arc::clone(fixture.engine()), ProducerId::new("p").expect("valid"));
    let table = fixture.create("t").await;
    table.write(request(batch(&[1]))).await.expect("stored");

    pretend(&fixture, LEAST_MIN_FREE_BYTES - 1);
    assert_full(table.write(request(batch(&[2]))).await);
    assert_full(engine.create_table_with(definition("rows"), request(batch(&[2]))).await);
    assert_eq!(engine.ingest_blocked().map(|e| e.code()), Some(Code::DiskFull));
    engine.create_table(definition("u")).await.expect("a small write");
    engine.create_view(view("v"), false).await.expect("a small write");
    table.init_producer(producer.clone(), false, "me").await.expect("a small write");

    pretend(&fixture, SMALL_MIN_FREE_BYTES - 1);
    assert_full(engine.create_table(definition("w")).await);
    assert_full(engine.create_view(view("w"), false).await);
    assert_full(engine.create_view(view("v"), true).await);
    assert_full(table.init_producer(producer.clone(), false, "me").await);
    // Nothing of them is left over.
    assert!(engine.table("public", "w").is_none() && engine.view("public", "w").is_none());
    let known = table.producer(&producer).await.expect("a read").expect("known");
    assert_eq!(known.epoch, 1);
    table.housekeep().await;
    engine.drop_view("public", "v").await.expect("it goes on longest");
    engine.drop_table("public", "u").await.expect("it goes on longest");
    assert_eq!(table.truncate().await.expect("it frees space").0, 1);

    pretend(&fixture, FREEING_MIN_FREE_BYTES - 1);
    assert_full(table.truncate().await);
    assert_full(engine.drop_table("public", "t").await);
    assert_eq!(keys_of(&table), [0; 0]);
    drop((table, engine));
    // A server on a full disk ends in order, and goes on when there is space.
    fixture.restart().await;
    fixture.table("t").write(request(batch(&[3]))).await.expect("stored");
    assert_eq!(keys_of(&fixture.table("t")), [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_free_space_is_not_promised_twice() {
    let fixture = Fixture::open();
    let (first, second) = (fixture.create("a").await, fixture.create("b").await);
    let floor = fixture.engine().min_free_bytes();
    fixture.engine().env().fail.arm("log.before_write/rows", FailAction::Hold(1));
    pretend(&fixture, floor);
    let waits = first.prepare(request(batch(&[1]))).await.expect("there is space");
    let waits = first.submit(waits).await.expect("nobody is before it");
    // It passed, too, but the same bytes are for the rows that are not written yet.
    let late = second.prepare(request(batch(&[2]))).await.expect("there is space");
    assert_full(second.submit(late).await.map(drop));
    pretend(&fixture, floor + (1 << 20));
    let fits = second.prepare(request(batch(&[3]))).await.expect("there is space");
    let fits = second.submit(fits).await.expect("there is space for both");
    fixture.engine().env().fail.release("log.before_write/rows");
    waits.outcome().await.expect("stored");
    fits.outcome().await.expect("stored");
    pretend(&fixture, floor);
    second.write(request(batch(&[4]))).await.expect("what is answered is written");
    assert_eq!(keys_of(&second), [3, 4]);
}

/// Tables whose space is owed.
fn owed(fixture: &Fixture) -> usize {
    fixture.engine().parts.store.scan(Family::Meta, &[meta_key::RECLAIM]).expect("readable").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_truncate_owes_is_on_record_until_it_is_given_back() {
    let fixture = Fixture::open();
    let fail = Arc::clone(&fixture.engine().env().fail);
    let table = fixture.create("t").await;
    table.truncate().await.expect("done");
    assert_eq!(owed(&fixture), 0, "nothing was deleted");
    table.write(request(batch(&[1]))).await.expect("stored");
    fail.arm("log.before_write/reclaimed", FailAction::Hold(1));
    table.truncate().await.expect("done");
    until(|| fail.visits("log.before_write/reclaimed") > 0).await;
    assert_eq!(owed(&fixture), 1);
    fail.release("log.before_write/reclaimed");
    until(|| owed(&fixture) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_gives_back_what_an_earlier_process_owed() {
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    for key in 0..3 {
        table.write(request(batch(&[key]))).await.expect("stored");
        table.truncate().await.expect("done");
    }
    until(|| owed(&fixture) == 0).await;
    let (id, gone) = (table.def().id, TableId(Uuid::from_u128(7)));
    drop(table);
    fixture.close().await;
    {
        // As a kill leaves it: for a table that is there, and for one that was purged.
        let store = Store::open(fixture.path()).expect("opens");
        let records = [id, gone].map(|id| Op::Put(Family::Meta, meta_key::of_table(meta_key::RECLAIM, id), vec![1]));
        store.write(&records, true).expect("written");
    }
    fixture.reopen().expect("opens");
    // The worker of the table does it by itself.
    let key = meta_key::of_table(meta_key::RECLAIM, id);
    until(|| fixture.engine().parts.store.get(Family::Meta, &key).expect("readable").is_none()).await;
    assert!(fixture.table("t").jobs().iter().any(|job| job.kind == "reclaim" && job.state == "done"));
    fixture.engine().purge_dropped().await.expect("done");
    assert_eq!(owed(&fixture), 0);
    fixture.table("t").write(request(batch(&[9]))).await.expect("stored");
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), [9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_purge_owes_is_on_record_until_it_is_given_back() {
    let (fixture, clock) = Fixture::open_at(1_800_000_000_000_000);
    let fail = Arc::clone(&fixture.engine().env().fail);
    let table = fixture.create("t").await;
    table.write(request(batch(&[1]))).await.expect("stored");
    drop(table);
    fixture.engine().drop_table("public", "t").await.expect("dropped");
    clock.advance(Duration::from_secs(DROPPED_TABLE_TTL_S));
    fail.arm("log.before_write/reclaimed", FailAction::Hold(1));
    let engine = Arc::clone(fixture.engine());
    let purge = tokio::spawn(async move { engine.purge_dropped().await });
    until(|| fail.visits("log.before_write/reclaimed") > 0 || purge.is_finished()).await;
    assert_eq!(owed(&fixture), 1);
    fail.release("log.before_write/reclaimed");
    purge.await.expect("no panic").expect("done");
    assert_eq!(owed(&fixture), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_had_too_little_space_to_begin_goes_on_when_others_gave_some_back() {
    let fixture = Fixture::open();
    // It would try again, too, but only after a while.
    fixture.engine().background.iter().for_each(tokio::task::JoinHandle::abort);
    let fail = Arc::clone(&fixture.engine().env().fail);
    let (table, other) = (fixture.create("a").await, fixture.create("b").await);
    for table in [&table, &other] {
        table.write(request(batch(&[1]))).await.expect("stored");
    }
    fail.arm("log.before_write/truncate", FailAction::Hold(1));
    let handle = table.clone();
    let truncate = tokio::spawn(async move { handle.truncate().await });
    until(|| fail.visits("log.before_write/truncate") > 0).await;
    pretend(&fixture, FREEING_MIN_FREE_BYTES - 1);
    fail.release("log.before_write/truncate");
    truncate.await.expect("no panic").expect("it passed before");
    let is_reclaimed = || table.jobs().iter().any(|job| job.kind == "reclaim" && job.state == "done");
    assert!(owed(&fixture) == 1 && table.jobs().iter().all(|job| job.kind != "reclaim"));
    pretend(&fixture, u64::MAX);
    other.truncate().await.expect("done");
    let both = until(|| is_reclaimed() && owed(&fixture) == 0);
    tokio::time::timeout(Duration::from_secs(60), both).await.expect("it is tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_looks_for_space_again_while_it_writes() {
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    let keys: Vec<i64> = (0..20_000).collect();
    table.write(request(batch(&keys))).await.expect("stored");
    let fail = Arc::clone(&fixture.engine().env().fail);
    fail.arm("build.names_recorded", FailAction::Hold(1));
    let handle = table.clone();
    let building = tokio::spawn(async move { handle.build().await });
    until(|| fail.visits("build.names_recorded") == 1).await;
    // It had space when it began.
    pretend(&fixture, FREEING_MIN_FREE_BYTES);
    fail.release("build.names_recorded");
    assert_full(building.await.expect("no panic"));
    assert_eq!((table.stats().realtime_rows, table.stats().built_rows), (20_000, 0));
    pretend(&fixture, u64::MAX);
    table.build().await.expect("built");
    assert_eq!((table.stats().realtime_rows, table.stats().built_rows), (0, 20_000));
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), keys);
}

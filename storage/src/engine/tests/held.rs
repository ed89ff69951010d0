//! Is memory charged as long as anybody holds it, and is what sorts runs bounded for all tables together?

use super::support::{Fixture, batch, keys_of, request, until};
use super::*;
use crate::error::Code;
use crate::limits::RUN_ROWS;
use crate::memory::Share;
use crate::sealing::StageOptions;
use crate::table::{JobRow, RowsRequest, TableSnapshot};

fn used(fixture: &Fixture) -> u64 {
    fixture.engine().memory().used(Share::Realtime)
}

/// Of rows that readers keep: no query runs here.
fn kept(fixture: &Fixture) -> u64 {
    fixture.engine().memory().used(Share::Queries)
}

fn bytes_of(snapshot: &TableSnapshot) -> u64 {
    snapshot.parts().iter().map(|part| part.bytes).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_only_a_snapshot_holds_are_charged_to_queries() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    let keys: Vec<i64> = (0..20_000).collect();
    table.write(request(batch(&keys))).await.expect("stored");
    let slow = table.snapshot();
    let held = bytes_of(&slow);
    assert!(held > 200_000, "{held}");
    until(|| used(&fixture) == held).await;
    table.truncate().await.expect("done");
    assert_eq!((table.snapshot().n_rows(), slow.n_rows()), (0, 20_000));
    // The table let them go, the reader did not: ingest has its memory back.
    until(|| (used(&fixture), kept(&fixture)) == (0, held)).await;
    assert_eq!((slow.kept_bytes(), table.snapshot().kept_bytes()), (held, 0));
    table.write(request(batch(&keys))).await.expect("stored");
    until(|| (used(&fixture), kept(&fixture)) == (held, held)).await;
    drop(slow);
    until(|| (used(&fixture), kept(&fixture)) == (held, 0)).await;
    let built = table.snapshot();
    table.build().await.expect("built");
    until(|| (used(&fixture), kept(&fixture)) == (0, held)).await;
    drop(built);
    until(|| kept(&fixture) == 0).await;

    let more: Vec<i64> = (20_000..40_000).collect();
    table.write(request(batch(&more))).await.expect("stored");
    let slow = table.snapshot();
    fixture.engine().drop_table("public", "t").await.expect("dropped");
    drop(table);
    until(|| used(&fixture) == 0 && kept(&fixture) == bytes_of(&slow)).await;
    drop(slow);
    until(|| kept(&fixture) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_beyond_the_memory_of_queries_are_memory_of_all() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    let memory = Arc::clone(fixture.engine().memory());
    let kept = memory.charge(Share::Queries, memory.share(Share::Queries));
    table.write(request(batch(&[1]))).await.expect("readers have their own memory");
    let more = memory.charge(Share::Queries, memory.share(Share::Realtime));
    let refused = table.write(request(batch(&[2]))).await.expect_err("nothing is left");
    assert_eq!(refused.code(), Code::MemoryPressure);
    assert!(refused.to_string().contains("queries"), "{refused}");
    drop((kept, more));
    table.write(request(batch(&[2]))).await.expect("it is given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_waited_for_memory_are_not_refused_for_it() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    let memory = Arc::clone(fixture.engine().memory());
    let full = memory.charge(Share::Realtime, memory.share(Share::Realtime));
    let refused = table.write(request(batch(&[1]))).await.expect_err("refused");
    assert_eq!(refused.code(), Code::MemoryPressure);
    let waited = RowsRequest { has_space: true, ..request(batch(&[1])) };
    assert_eq!(table.write(waited).await.expect("stored").accepted, 1);
    // Rows of a stream wait by themselves, and those that somebody holds already need not.
    let mut stream = table.stage(StageOptions::default()).expect("begun");
    let waits = tokio::time::timeout(std::time::Duration::from_millis(100), stream.push(batch(&[2]).into())).await;
    assert!(waits.is_err());
    let mut stream = table.stage(StageOptions::default()).expect("begun");
    stream.push_held(batch(&[2]).into(), memory.collecting()).await.expect("taken");
    assert_eq!(stream.commit().await.expect("stored").accepted, 1);
    assert_eq!(keys_of(&table), [1, 2]);
    drop(full);
}

fn run_job(table: &Table) -> Option<JobRow> {
    table.jobs().into_iter().find(|job| job.kind == "run")
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_all_tables_share_the_places_for_sorting() {
    let fixture = Fixture::open();
    let places = Arc::clone(&fixture.engine().parts.gate.run_jobs);
    let n_places = places.available_permits() as u32;
    assert!(n_places > 0);
    let all = places.acquire_many_owned(n_places).await.expect("open");
    let (first, second) = (fixture.create("a").await, fixture.create("b").await);
    let keys: Vec<i64> = (0..RUN_ROWS as i64 + 10_000).rev().collect();
    for table in [&first, &second] {
        table.write(request(batch(&keys))).await.expect("stored");
        until(|| run_job(table).is_some()).await;
        let job = run_job(table).expect("it waits");
        assert_eq!((job.state, job.started_us), ("pending", None));
    }
    assert_ne!(run_job(&first).map(|job| job.id), run_job(&second).map(|job| job.id), "ids are the process's");
    let held = bytes_of(&first.snapshot()) + bytes_of(&second.snapshot());
    until(|| used(&fixture) == held).await;

    // What waits for a place holds nothing of a table that was truncated meanwhile.
    second.truncate().await.expect("done");
    let held = bytes_of(&first.snapshot());
    until(|| used(&fixture) == held).await;
    // Nor is that an error.
    assert_eq!(run_job(&second).map(|job| (job.state, job.error)), Some(("cancelled", None)));

    drop(all);
    until(|| run_job(&first).is_some_and(|job| job.state == "done")).await;
    let is_sorted = || first.snapshot().parts().iter().all(|part| part.sorted);
    until(is_sorted).await;
    until(|| used(&fixture) == bytes_of(&first.snapshot())).await;
    assert_eq!(keys_of(&first).len(), keys.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_cancelled_does_not_begin() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    let id = table.shared.jobs.lock().add("run", "test");
    table.shared.jobs.lock().cancel(id, 1);
    table.shared.jobs.lock().begin(id, 2);
    let job = run_job(&table).expect("it is remembered");
    assert_eq!((job.state, job.started_us, job.ended_us), ("cancelled", None, Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sort_takes_nothing_that_rows_need() {
    // The smallest limit: a run's rows cannot be sorted together.
    let fixture = Fixture::open_with(|options| options.memory_limit = 512 << 20);
    let gate = Arc::clone(&fixture.engine().parts.gate);
    let all = gate.sorting.take(u64::MAX).await.expect("open");
    let table = fixture.create("t").await;
    let n_rows = RUN_ROWS as i64 + 70_000;
    for from in (0..n_rows).step_by(10_000) {
        let keys: Vec<i64> = (from..(from + 10_000).min(n_rows)).rev().collect();
        table.write(request(batch(&keys))).await.expect("stored");
    }
    let unsorted = table.snapshot();
    let needed = crate::realtime::working_bytes(unsorted.parts(), &table.def().options.sort_by);
    assert!(needed > gate.sorting_bytes(), "{needed}");
    // What has no memory yet waits, and ingest knows nothing of it.
    until(|| run_job(&table).is_some()).await;
    assert_eq!(run_job(&table).map(|job| job.state), Some("pending"));
    until(|| used(&fixture) == bytes_of(&unsorted)).await;
    drop((all, unsorted));
    until(|| run_job(&table).is_some_and(|job| job.state == "done")).await;
    until(|| fixture.engine().memory().used(Share::Unassigned) == 0).await;
    let sorted = table.snapshot();
    let n_sorted: usize = sorted.parts().iter().filter(|part| part.sorted).map(|part| part.n_rows()).sum();
    assert!(n_sorted >= 10_000 && n_sorted < n_rows as usize, "{n_sorted}: the first rows only");
    until(|| used(&fixture) == bytes_of(&sorted)).await;
    assert_eq!(keys_of(&table), (0..n_rows).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sort_is_charged_what_it_needs() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    table.write(request(batch(&(0..1_000).collect::<Vec<_>>()))).await.expect("stored");
    let (snapshot, def) = (table.snapshot(), table.def());
    let rows = bytes_of(&snapshot);
    let needed = crate::realtime::working_bytes(snapshot.parts(), &def.options.sort_by);
    assert!(!def.options.sort_by.is_empty() && needed > 2 * rows && needed < 5 * rows, "{needed} for {rows}");
}

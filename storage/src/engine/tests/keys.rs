//! Are keys exact and within their memory and disk, whatever is where and whatever fails on the way?

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::support::{Fixture, batch, request, until};
use crate::engine::EngineOptions;
use crate::env::{FailAction, ManualClock};
use crate::error::{Code, Error};
use crate::ids::SHARD_ZERO;
use crate::log::{Family, state_key, state_prefix};
use crate::memory::Share;
use crate::sealing::StageOptions;
use crate::table::{PreparedWrite, Table};

const START_US: i64 = 1_800_000_000_000_000;
const MIB: u64 = 1 << 20;
const BATCH: usize = 500;

/// Directories of runs come while what they replace is still there.
const BESIDE: u64 = 32 << 10;

/// Distinct, and without order.
fn keys(numbers: Range<u64>) -> Vec<i64> {
    numbers.map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15) as i64).collect()
}

/// So much memory for keys, and a clock that moves when the test says so.
fn opened(change: impl Fn(&mut EngineOptions) + 'static) -> (Fixture, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(START_US));
    let handle = Arc::clone(&clock);
    let fixture = Fixture::open_with(move |options| {
        options.key_memory = Some(MIB);
        options.env.clock = Arc::<ManualClock>::clone(&handle);
        change(options);
    });
    (fixture, clock)
}

async fn write(table: &Table, keys: &[i64]) -> Result<u64, Error> {
    table.write(request(batch(keys))).await.map(|outcome| outcome.accepted)
}

fn used(fixture: &Fixture) -> u64 {
    fixture.engine().memory().used(Share::Keys)
}

async fn idle(table: &Table) {
    until(|| !table.shared.keys.held().is_busy).await;
}

/// Stores keys in batches. One that is refused is sent again when the table is built. Returns how many were new.
async fn store(fixture: &Fixture, table: &Table, numbers: Range<u64>) -> u64 {
    let mut accepted = 0;
    for chunk in keys(numbers).chunks(BATCH) {
        let mut n_left = 1_000;
        loop {
            match write(table, chunk).await {
                Ok(n) => break accepted += n,
                Err(e) => assert!(e.code() == Code::DedupBudget && n_left > 0, "{e}"),
            }
            n_left -= 1;
            table.build().await.expect("built");
            idle(table).await;
            assert!(used(fixture) <= MIB + BESIDE, "{}", used(fixture));
        }
    }
    accepted
}

/// Files in the table's folder that end so.
fn n_files(table: &Table, end: &str) -> usize {
    crate::env::wait_for_soon();
    let Ok(entries) = std::fs::read_dir(table.shared.folders.built()) else { return 0 };
    entries.filter(|entry| entry.as_ref().expect("an entry").file_name().to_string_lossy().ends_with(end)).count()
}

fn n_layer_records(table: &Table) -> usize {
    let prefix = state_prefix(state_key::LAYER, table.def().id, SHARD_ZERO);
    table.shared.store.scan(Family::State, &prefix).expect("readable").count()
}

/// A job of this cause ended so.
fn has_job(table: &Table, cause: &str, state: &str) -> bool {
    table.jobs().iter().any(|job| (job.kind, job.cause, job.state) == ("keys", cause, state))
}

#[tokio::test(flavor = "multi_thread")]
async fn more_keys_than_memory_holds_are_exact_also_after_restarts() {
    const N: u64 = 150_000;
    let (mut fixture, _) = opened(|_| {});
    fixture.create("t").await;
    assert_eq!(store(&fixture, &fixture.table("t"), 0..N).await, N);
    assert!(n_files(&fixture.table("t"), ".run") > 0);
    assert!(fixture.engine().key_disk_bytes().0 > 0);
    for _ in 0..2 {
        assert_eq!(store(&fixture, &fixture.table("t"), N / 2..N / 2 + 20_000).await, 0);
        fixture.restart().await;
        assert!(used(&fixture) <= MIB + BESIDE, "{}", used(&fixture));
    }
    assert_eq!(store(&fixture, &fixture.table("t"), 0..N + 1_000).await, 1_000);
    assert_eq!(fixture.table("t").stats().dedup_keys, N + 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_less_memory_stays_within_it() {
    const N: u64 = 150_000;
    let memory = Arc::new(AtomicU64::new(8 * MIB));
    let given = Arc::clone(&memory);
    let (mut fixture, _) = opened(move |options| options.key_memory = Some(given.load(Ordering::SeqCst)));
    fixture.create("t").await;
    for part in 0..5 {
        for chunk in keys(part * N / 5..(part + 1) * N / 5).chunks(5_000) {
            assert_eq!(write(&fixture.table("t"), chunk).await.expect("stored"), chunk.len() as u64);
        }
        fixture.table("t").build().await.expect("built");
    }
    assert!(used(&fixture) > MIB && n_files(&fixture.table("t"), ".run") == 0, "all of them are in memory");
    for mib in [1, 1, 8] {
        memory.store(mib * MIB, Ordering::SeqCst);
        fixture.restart().await;
        let table = fixture.table("t");
        assert!(used(&fixture) <= mib * MIB + BESIDE, "{} of {mib} MiB", used(&fixture));
        assert!(n_files(&table, ".run") > 0);
        assert_eq!(table.stats().dedup_keys, N);
        for chunk in keys(0..N).chunks(BATCH) {
            assert_eq!(write(&table, chunk).await.expect("answered"), 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_less_memory_has_space_for_keys_that_are_replayed() {
    const N: u64 = 100_000;
    let memory = Arc::new(AtomicU64::new(8 * MIB));
    let given = Arc::clone(&memory);
    let (mut fixture, _) = opened(move |options| options.key_memory = Some(given.load(Ordering::SeqCst)));
    fixture.create("t").await;
    for chunk in 0..30 {
        let numbers = chunk * 5_000..(chunk + 1) * 5_000;
        assert_eq!(write(&fixture.table("t"), &keys(numbers)).await.expect("stored"), 5_000);
        // The last third is in the log alone.
        if chunk < 20 && chunk % 5 == 4 {
            fixture.table("t").build().await.expect("built");
        }
    }
    memory.store(MIB, Ordering::SeqCst);
    fixture.restart().await;
    let table = fixture.table("t");
    assert!(used(&fixture) <= MIB + BESIDE, "{}", used(&fixture));
    assert!(n_files(&table, ".run") > 0);
    assert_eq!((table.stats().dedup_keys, table.stats().realtime_rows), (N / 2 * 3, N / 2));
    assert_eq!(store(&fixture, &table, 0..N / 2 * 3 + 500).await, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_stops_while_keys_go_to_disk_is_made_good_by_the_next() {
    let memory = Arc::new(AtomicU64::new(8 * MIB));
    let (given, fails) = (Arc::clone(&memory), Arc::new(AtomicU64::new(0)));
    let is_armed = Arc::clone(&fails);
    let (mut fixture, _) = opened(move |options| {
        options.key_memory = Some(given.load(Ordering::SeqCst));
        if is_armed.swap(0, Ordering::SeqCst) == 1 {
            options.env.fail.arm("keys.run_written", FailAction::Error(1));
        }
    });
    fixture.create("t").await;
    for part in 0..4 {
        for chunk in keys(part * 30_000..(part + 1) * 30_000).chunks(5_000) {
            write(&fixture.table("t"), chunk).await.expect("stored");
        }
        fixture.table("t").build().await.expect("built");
    }
    fixture.close().await;
    memory.store(MIB, Ordering::SeqCst);
    fails.store(1, Ordering::SeqCst);
    assert!(fixture.reopen().is_err(), "it stopped on the way");
    fixture.reopen().expect("the folder opens");
    assert_eq!(store(&fixture, &fixture.table("t"), 0..121_000).await, 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_failed_is_tried_again_by_the_clock_and_by_itself() {
    let (fixture, clock) = opened(|_| {});
    let table = fixture.create("t").await;
    fixture.engine().env().fail.arm("keys.run_written", FailAction::Error(1));
    let mut next = 0;
    while write(&table, &keys(next..next + BATCH as u64)).await.is_ok() {
        next += BATCH as u64;
    }
    table.build().await.expect("built");
    until(|| has_job(&table, "memory", "failed")).await;
    idle(&table).await;
    assert_eq!(table.shared.keys.held().retry_at, Some(Duration::from_secs(1)));
    fixture.engine().keys_due();
    assert_eq!(table.shared.keys.held().asked_at, None, "its time has not come");
    assert!(!has_job(&table, "memory", "done"));
    clock.advance(Duration::from_secs(1));
    fixture.engine().keys_due();
    until(|| has_job(&table, "memory", "done")).await;
    until(|| table.shared.keys.held().retry_at.is_none()).await;
    assert_eq!(n_files(&table, ".run"), 1 + 1, "one of them belongs to nothing");
    fixture.engine().clean_files().await;
    assert_eq!(n_files(&table, ".run"), 1);
    assert_eq!(store(&fixture, &table, 0..next + 1_000).await, 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_table_gives_memory_back_when_another_needs_it() {
    let (fixture, _clock) = opened(|_| {});
    let (idle_table, busy) = (fixture.create("idle").await, fixture.create("busy").await);
    assert_eq!(store(&fixture, &idle_table, 0..60_000).await, 60_000);
    idle_table.build().await.expect("built");
    idle(&idle_table).await;
    let held = idle_table.stats().dedup_bytes;
    assert!(held > MIB / 3 && n_files(&idle_table, ".run") == 0, "{held} bytes are not yet too many");
    let mut next = 0;
    let refused = loop {
        match write(&busy, &keys(next..next + BATCH as u64)).await {
            Ok(_) => next += BATCH as u64,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.code(), Code::DedupBudget);
    fixture.engine().keys_due();
    until(|| idle_table.stats().dedup_bytes < held / 2).await;
    idle(&idle_table).await;
    assert_eq!((n_files(&idle_table, ".run"), n_files(&busy, ".run")), (1, 0));
    assert_eq!(write(&busy, &keys(next..next + BATCH as u64)).await.expect("stored"), BATCH as u64);
    assert_eq!(store(&fixture, &idle_table, 0..60_000).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_begins_while_another_has_all_memory_is_told_to_wait() {
    let (fixture, _clock) = opened(|_| {});
    let (large, small) = (fixture.create("large").await, fixture.create("small").await);
    let mut next = 0;
    while write(&large, &keys(next..next + BATCH as u64)).await.is_ok() {
        next += BATCH as u64;
    }
    let first = keys(0..2 * BATCH as u64);
    let refused = write(&small, &first).await.expect_err("there is no memory");
    assert!(refused.code() == Code::DedupBudget && refused.retry_delay().is_some(), "{refused}");
    fixture.engine().keys_due();
    until(|| large.shared.wants_build()).await;
    large.build().await.expect("built");
    until(|| n_files(&large, ".run") == 1).await;
    idle(&large).await;
    assert_eq!(write(&small, &first).await.expect("stored"), 2 * BATCH as u64);
    // What never fits is said to be so.
    let refused = write(&small, &keys(0..20_000)).await.expect_err("too many");
    assert!(refused.retry_delay().is_none() && refused.to_string().contains("smaller batches"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_used_up_refuses_and_says_what_would_fit() {
    let (fixture, clock) = opened(|options| options.max_key_disk_bytes = 2 * MIB);
    let table = fixture.create("t").await;
    clock.advance(Duration::from_secs(8 * 3600));
    let mut next = 0;
    let refused = loop {
        match write(&table, &keys(next..next + BATCH as u64)).await {
            Ok(_) => next += BATCH as u64,
            Err(refused) if refused.retry_delay().is_none() => break refused,
            Err(_) => {
                table.build().await.expect("built");
                idle(&table).await;
            }
        }
    };
    assert_eq!(refused.code(), Code::DedupBudget);
    let text = refused.to_string();
    assert!(text.contains("dedup.disk") && text.contains("a dedup_window of '6 hours' would fit"), "{text}");
    let (on_disk, most) = fixture.engine().key_disk_bytes();
    assert!(on_disk > 0 && on_disk <= most && most == 2 * MIB, "{on_disk}");
    assert_eq!(table.stats().dedup_keys, next, "no key is forgotten");
    // A TRUNCATE gives the disk back.
    table.truncate().await.expect("done");
    until(|| fixture.engine().key_disk_bytes().0 == 0).await;
    until(|| n_files(&table, ".run") + n_files(&table, ".keys") == 0).await;
    assert_eq!(write(&table, &keys(0..BATCH as u64)).await.expect("stored"), BATCH as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_builds_leave_few_files_of_keys() {
    let (mut fixture, clock) = Fixture::open_at(START_US);
    let table = fixture.create("t").await;
    fixture.engine().env().fail.arm("keys.files_written", FailAction::Error(1));
    for build in 0..60 {
        assert_eq!(write(&table, &keys(build * 40..(build + 1) * 40)).await.expect("stored"), 40);
        table.build().await.expect("built");
        if build == 17 {
            until(|| has_job(&table, "files", "failed") && table.shared.keys.held().retry_at.is_some()).await;
            clock.advance(Duration::from_secs(1));
            fixture.engine().keys_due();
            // Now: the list of jobs forgets it after twenty others.
            until(|| has_job(&table, "files", "done")).await;
        }
        if build >= 17 {
            until(|| n_layer_records(&table) <= 16).await;
        }
    }
    idle(&table).await;
    fixture.engine().clean_files().await;
    until(|| n_files(&table, ".keys") == n_layer_records(&table)).await;
    drop(table);
    fixture.restart().await;
    let table = fixture.table("t");
    assert_eq!(table.stats().dedup_keys, 2_400);
    assert_eq!(write(&table, &keys(0..2_401)).await.expect("stored"), 1);
    // What a TRUNCATE forgets stays forgotten, files of a job that is on its way among it.
    table.truncate().await.expect("done");
    assert_eq!((n_layer_records(&table), write(&table, &keys(0..100)).await.expect("stored")), (0, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_looked_up_before_its_turn_is_decided_by_what_is_there_then() {
    let (fixture, _clock) = opened(|_| {});
    let table = fixture.create("t").await;
    // Keys on disk, in layers and open.
    assert_eq!(store(&fixture, &table, 0..110_000).await, 110_000);
    table.build().await.expect("built");
    idle(&table).await;
    assert!(n_files(&table, ".run") > 0 && !table.shared.keys.runs().is_empty());
    let prepare = async |numbers: Range<u64>| table.prepare(request(batch(&keys(numbers)))).await.expect("prepared");
    let accepted = async |prepared: PreparedWrite| {
        let outcome = table.submit(prepared).await.expect("submitted").outcome().await;
        outcome.map(|outcome| outcome.accepted)
    };
    let (early, late) = (prepare(109_500..110_500).await, prepare(0..600).await);
    // Others bring the same keys, and enough more that layers go to disk.
    let version = table.shared.keys.runs().version();
    let mut next = 110_200;
    while table.shared.keys.runs().version() == version {
        store(&fixture, &table, next..next + 5_000).await;
        next += 5_000;
    }
    table.build().await.expect("built");
    idle(&table).await;
    let found = accepted(early).await;
    assert!(found.as_ref().is_ok_and(|n| *n == 200) || found.is_err_and(|e| e.code() == Code::DedupBudget));
    // And what was known is forgotten meanwhile.
    table.truncate().await.expect("done");
    assert_eq!(accepted(late).await.expect("stored"), 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_looks_at_more_keys_than_its_memory_holds() {
    let (fixture, _clock) = opened(|_| {});
    let table = fixture.create("t").await;
    assert_eq!(store(&fixture, &table, 0..60_000).await, 60_000);
    table.seal().await.expect("sealed");
    idle(&table).await;
    assert_eq!(write(&table, &keys(60_000..60_400)).await.expect("stored"), 400);
    let checks = table.verify().await.expect("looked at");
    let check = checks.iter().find(|check| check.name == "keys").expect("the check is made");
    assert_eq!((check.is_ok, check.detail.as_str()), (Some(true), "the keys of 60400 rows are all different"));
    assert!(used(&fixture) <= MIB + BESIDE, "{}", used(&fixture));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_keys_that_does_not_get_its_turn_says_so_and_keeps_no_other_from_being_told() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    assert_eq!(write(&table, &keys(0..100)).await.expect("stored"), 100);
    table.seal().await.expect("sealed");
    // One of another table has the place.
    let place = Arc::clone(&table.shared.gate.key_checks).acquire_owned().await.expect("open");
    let checks = table.verify_within(Duration::ZERO).await.expect("told");
    let (of_keys, others): (Vec<_>, Vec<_>) = checks.into_iter().partition(|check| check.name == "keys");
    let [of_keys] = of_keys.as_slice() else { panic!("{of_keys:?}") };
    assert!(of_keys.is_ok.is_none() && of_keys.detail.contains("another check has the one place"), "{of_keys:?}");
    assert!(others.len() > 3 && others.iter().all(|check| check.is_ok != Some(false)), "{others:?}");
    drop(place);
    let checks = table.verify().await.expect("told");
    let of_keys = checks.iter().find(|check| check.name == "keys").expect("the check is made");
    assert_eq!(of_keys.is_ok, Some(true), "{of_keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_leave_memory_for_keys_to_those_who_write_batch_by_batch() {
    let (fixture, _clock) = opened(|_| {});
    let (table, other) = (fixture.create("t").await, fixture.create("other").await);
    let mut stream = table.stage(StageOptions::default()).expect("begun");
    let mut numbers = 0..0;
    let refused = loop {
        numbers = numbers.end..numbers.end + 1_000;
        if let Err(refused) = stream.push(batch(&keys(numbers.clone())).into()).await {
            break refused;
        }
    };
    assert_eq!(refused.code(), Code::DedupBudget);
    assert!(refused.to_string().contains("several statements"), "{refused}");
    assert!(used(&fixture) <= MIB / 2 + BESIDE, "{}", used(&fixture));
    // Others have the rest, and what one gives back the next one has.
    assert_eq!(write(&other, &keys(0..1_000)).await.expect("stored"), 1_000);
    drop(stream);
    until(|| fixture.engine().parts.gate.stream_key_bytes.load(Ordering::Relaxed) == 0).await;
    let mut stream = table.stage(StageOptions::default()).expect("begun");
    for chunk in keys(0..10_000).chunks(1_000) {
        stream.push(batch(chunk).into()).await.expect("taken");
    }
    assert_eq!(stream.commit().await.expect("stored").accepted, 10_000);
}

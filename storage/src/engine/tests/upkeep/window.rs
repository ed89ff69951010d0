//! Keys that are forgotten: when both clocks say so, as a whole, and not before.

use std::time::Duration;

use super::*;
use crate::catalog::TableChange;
use crate::engine::tests::support::{Fixture, keys_of, until};
use crate::env::ManualClock;
use crate::ids::SHARD_ZERO;
use crate::log::{Family, state_key, state_prefix};
use crate::publishing::Check;

const START_US: i64 = 1_800_000_000_000_000;
const WINDOW: Duration = Duration::from_secs(8 * 60);
const SECOND: Duration = Duration::from_secs(1);

/// Keys are remembered for eight minutes.
async fn opened() -> (Fixture, std::sync::Arc<ManualClock>) {
    let (fixture, clock) = Fixture::open_at(START_US);
    fixture.engine().create_table(with_options(&[("dedup_window", "8 minutes")])).await.expect("created");
    (fixture, clock)
}

/// How many of these keys are new.
async fn accepted(table: &Table, keys: &[i64]) -> u64 {
    table.housekeep().await;
    write(table, keys).await
}

fn n_layer_records(table: &Table) -> usize {
    let prefix = state_prefix(state_key::LAYER, table.def().id, SHARD_ZERO);
    table.shared.store.scan(Family::State, &prefix).expect("readable").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_remembered_for_the_window() {
    let (mut fixture, clock) = opened().await;
    let table = fixture.table("t");
    write(&table, &[1, 2]).await;
    table.build().await.expect("built");
    clock.advance(WINDOW - SECOND);
    assert_eq!(accepted(&table, &[1, 2]).await, 0);
    clock.advance(SECOND);
    assert_eq!(accepted(&table, &[1]).await, 1);
    assert_eq!(n_layer_records(&table), 0);
    // Their file goes at once, not with the next start.
    until(|| files_in(&table.shared.folders.built(), ".keys").is_empty()).await;
    drop(table);
    fixture.restart().await;
    let table = fixture.table("t");
    assert_eq!(write(&table, &[1, 2]).await, 1, "one is there again, the other is forgotten");
    assert_eq!(keys_of(&table), [1, 1, 2, 2]);
    fixture.engine().clean_files().await;
    assert_eq!(files_in(&table.shared.folders.built(), ".keys"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_ahead_forgets_nothing_and_downtime_only_delays() {
    let (mut fixture, clock) = opened().await;
    write(&fixture.table("t"), &[1]).await;
    fixture.table("t").build().await.expect("built");
    clock.set_wall(START_US + 365 * 86_400 * 1_000_000);
    assert_eq!(accepted(&fixture.table("t"), &[1]).await, 0);
    fixture.restart().await;
    assert_eq!(accepted(&fixture.table("t"), &[1]).await, 0);
    clock.advance(WINDOW - SECOND);
    assert_eq!(accepted(&fixture.table("t"), &[1]).await, 0);
    clock.advance(SECOND);
    assert_eq!(accepted(&fixture.table("t"), &[1]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_not_built_are_remembered() {
    let (mut fixture, clock) = opened().await;
    write(&fixture.table("t"), &[1]).await;
    clock.advance(2 * WINDOW);
    assert_eq!(accepted(&fixture.table("t"), &[1]).await, 0);
    fixture.restart().await;
    assert_eq!(accepted(&fixture.table("t"), &[1]).await, 0);
    fixture.table("t").build().await.expect("built");
    clock.advance(WINDOW);
    assert_eq!(accepted(&fixture.table("t"), &[1]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_remembered_an_eighth_longer_at_most() {
    let step = Duration::from_secs(20);
    for restarts in [false, true] {
        let (mut fixture, clock) = opened().await;
        let n_steps = 60_i64;
        for key in 0..n_steps {
            let table = fixture.table("t");
            table.housekeep().await;
            assert_eq!(write(&table, &[key]).await, 1);
            table.build().await.expect("built");
            clock.advance(step);
        }
        if restarts {
            fixture.restart().await;
        }
        let table = fixture.table("t");
        table.housekeep().await;
        for key in 0..n_steps {
            let age = step * (n_steps - key) as u32;
            let is_new = write(&table, &[key]).await == 1;
            if age < WINDOW {
                assert!(!is_new, "{key} after {age:?}");
            }
            if age > WINDOW + WINDOW / 8 + step {
                assert!(is_new, "{key} after {age:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_stays_forgotten_when_the_log_is_read_again() {
    let (mut fixture, clock) = opened().await;
    write(&fixture.table("t"), &[1, 2]).await;
    fixture.table("t").build().await.expect("built");
    clock.advance(WINDOW);
    assert_eq!(accepted(&fixture.table("t"), &[1, 3]).await, 2);
    // The Forget entry and the rows after it are in the log; the rows are not in any file.
    for builds in [false, true] {
        if builds {
            fixture.table("t").build().await.expect("built");
        }
        fixture.restart().await;
        assert_eq!(write(&fixture.table("t"), &[1, 3]).await, 0);
    }
    assert_eq!(write(&fixture.table("t"), &[2]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_kept_for_ever_unless_somebody_says_otherwise() {
    let (fixture, clock) = Fixture::open_at(START_US);
    let table = fixture.create("t").await;
    write(&table, &[1]).await;
    table.build().await.expect("built");
    clock.advance(Duration::from_secs(10 * 365 * 86_400));
    assert_eq!(accepted(&table, &[1]).await, 0);
    assert!(table.shared.sealing.lock().oldest_keys.is_none());
}

async fn set_window(fixture: &Fixture, window: &str) {
    let change = TableChange::SetOptions(vec![("dedup_window".to_owned(), window.to_owned())]);
    fixture.engine().alter_table("public", "t", change).await.expect("altered");
}

async fn check_of_keys(table: &Table) -> Check {
    let checks = table.verify().await.expect("asked");
    checks.into_iter().find(|check| check.name == "keys").expect("the check is made")
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_came_again_are_no_fault_when_none_is_forgotten_any_more() {
    let (mut fixture, clock) = opened().await;
    let table = fixture.table("t");
    write(&table, &[1, 2]).await;
    table.build().await.expect("built");
    set_window(&fixture, "forever").await;
    assert_eq!(check_of_keys(&table).await.is_ok, Some(true), "nothing was forgotten");
    set_window(&fixture, "8 minutes").await;
    clock.advance(WINDOW);
    assert_eq!(accepted(&table, &[1]).await, 1);
    set_window(&fixture, "forever").await;
    let check = check_of_keys(&table).await;
    assert!(check.is_ok.is_none() && check.detail.contains("1 of 3 rows"), "{check:?}");
    table.seal().await.expect("sealed");
    let folder = delta_folder(&table).display().to_string();
    drop(table);
    fixture.restart().await;
    assert_eq!(check_of_keys(&fixture.table("t")).await.is_ok, None, "it is on record");
    // Nobody knows what another folder forgot.
    let (other, _clock) = Fixture::open_at(START_US + 3_600_000_000);
    let attached = other.engine().attach_table(&folder, None).await.expect("attached");
    let check = check_of_keys(&attached).await;
    assert!(check.is_ok.is_none() && check.detail.contains("1 of 3 rows"), "{check:?}");
    // What came again is gone.
    attached.truncate().await.expect("truncated");
    assert_eq!(write(&attached, &[1]).await, 1);
    assert_eq!(check_of_keys(&attached).await.is_ok, Some(true));
}

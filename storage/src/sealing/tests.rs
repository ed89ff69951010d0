//! Which tables are built and published when?

use std::time::Duration;

use super::picker::{Cause, OpenTable, PUBLISH_INTERVAL, pick_builds, pick_publishes};
use crate::catalog::SealOptions;

const MINUTE_US: i64 = 60 * 1_000_000;

fn table(rows: u64, bytes: u64, oldest_us: Option<i64>) -> OpenTable {
    OpenTable {
        rows,
        bytes,
        oldest_us,
        entries: rows.min(1),
        open_since_us: oldest_us,
        seal: SealOptions { after_rows: 1000, after_us: 10 * MINUTE_US, after_bytes: 1 << 20 },
        dedup_window_us: None,
        wants_build: false,
        is_building: false,
        waits_to_build: false,
        is_publishing: false,
        is_unpublished: false,
        has_changes: false,
        last_publish: None,
    }
}

fn causes(tables: &[OpenTable], now_us: i64, used: u64) -> Vec<(usize, Cause)> {
    pick_builds(tables, now_us, used, 100)
}

#[test]
fn whichever_threshold_comes_first_begins_a_build() {
    assert_eq!(causes(&[table(999, 10, Some(0))], 10 * MINUTE_US - 1, 0), []);
    assert_eq!(causes(&[table(1000, 10, Some(0))], 0, 0), [(0, Cause::Rows)]);
    assert_eq!(causes(&[table(1, 1 << 20, Some(0))], 0, 0), [(0, Cause::Bytes)]);
    assert_eq!(causes(&[table(1, 1, Some(0))], 10 * MINUTE_US, 0), [(0, Cause::Age)]);
    assert_eq!(causes(&[OpenTable { wants_build: true, ..table(1, 1, Some(0)) }], 0, 0), [(0, Cause::Keys)]);
    assert_eq!(causes(&[table(0, 0, None)], i64::MAX, 0), [], "an empty table has nothing to build");
}

#[test]
fn entries_without_rows_do_not_stay_in_the_log() {
    let entries = |entries, since| OpenTable { entries, open_since_us: Some(since), ..table(0, 0, None) };
    assert_eq!(causes(&[entries(999, 0)], 10 * MINUTE_US - 1, 0), []);
    assert_eq!(causes(&[entries(1, 0)], 10 * MINUTE_US, 0), [(0, Cause::Age)]);
    assert_eq!(causes(&[entries(1000, 0)], 0, 0), [(0, Cause::Entries)]);
    let beside = OpenTable { entries: 1000, ..table(1, 1, Some(0)) };
    assert_eq!(causes(&[beside], 0, 0), [(0, Cause::Entries)], "also beside fresh rows");
    let truncated = OpenTable { has_changes: true, ..entries(1, 0) };
    assert_eq!(causes(&[truncated], 0, 0), [(0, Cause::Interval)]);
}

#[test]
fn keys_that_are_to_be_forgotten_are_built_an_eighth_of_the_window_at_a_time() {
    let windowed = OpenTable { dedup_window_us: Some(8 * MINUTE_US), ..table(1, 1, Some(0)) };
    assert_eq!(causes(std::slice::from_ref(&windowed), MINUTE_US - 1, 0), []);
    assert_eq!(causes(&[windowed], MINUTE_US, 0), [(0, Cause::Age)]);
}

#[test]
fn under_memory_pressure_the_largest_table_is_built_and_only_one() {
    let tables = [table(5, 50, Some(0)), table(9, 70, Some(0)), table(0, 0, None)];
    assert_eq!(causes(&tables, 0, 49), []);
    assert_eq!(causes(&tables, 0, 50), [(1, Cause::Pressure)]);
    let busy = [table(5, 50, Some(0)), OpenTable { is_building: true, ..table(9, 70, Some(0)) }];
    assert_eq!(causes(&busy, 0, 90), [], "what runs already gives memory back");
}

#[test]
fn memory_that_no_build_gives_back_makes_no_small_files() {
    // Statements collect, or readers hold what left the tables: these are a twelfth of all rows, and then an eighth.
    assert_eq!(causes(&[table(5, 5, Some(0)), table(9, 6, Some(0))], 0, 100), []);
    assert_eq!(causes(&[table(5, 5, Some(0)), table(9, 7, Some(0))], 0, 100), [(1, Cause::Pressure)]);
    let failed = OpenTable { waits_to_build: true, ..table(9, 70, Some(0)) };
    assert_eq!(causes(&[table(5, 5, Some(0)), failed], 0, 100), [], "it is not its turn");
}

#[test]
fn a_table_that_is_being_built_is_left_alone() {
    assert_eq!(causes(&[OpenTable { is_building: true, ..table(5000, 1, Some(0)) }], 0, 0), []);
}

#[test]
fn publishes_of_a_table_are_apart() {
    let built = OpenTable { is_unpublished: true, ..table(0, 0, None) };
    let at = |last: u64, now: Duration| {
        pick_publishes(&[OpenTable { last_publish: Some(Duration::from_secs(last)), ..built.clone() }], now)
    };
    assert_eq!(pick_publishes(&[built.clone(), table(5, 5, Some(0))], Duration::ZERO), [0]);
    assert_eq!(at(100, Duration::from_secs(100) + PUBLISH_INTERVAL - Duration::from_millis(1)), [] as [usize; 0]);
    assert_eq!(at(100, Duration::from_secs(100) + PUBLISH_INTERVAL), [0]);
    let busy = OpenTable { is_publishing: true, ..built };
    assert_eq!(pick_publishes(&[busy], Duration::from_secs(999)), [] as [usize; 0]);
}

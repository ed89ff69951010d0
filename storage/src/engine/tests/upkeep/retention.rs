//! Rows past their table's retention: refused when they come, not seen, and gone when two clocks say so.

use std::time::Duration;

use super::*;
use crate::admission::OnError;
use crate::catalog::TableChange;
use crate::engine::tests::support::{Fixture, delete_keys, keys_of, until};
use crate::env::{FailAction, ManualClock};
use crate::error::Code;
use crate::limits::REMOVED_FILE_TTL_S;
use crate::retention::expire;
use crate::table::{RowsRequest, TableRequest};

const SECOND_US: i64 = 1_000_000;

/// A table that keeps rows for a minute, at 20 seconds after 1970: rows of [`batch`] are of the seconds before.
async fn opened() -> (Fixture, std::sync::Arc<ManualClock>) {
    let (fixture, clock) = Fixture::open_at(20 * SECOND_US);
    fixture.engine().create_table(with_options(&[("retention", "1 minute")])).await.expect("created");
    (fixture, clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_past_it_on_arrival_is_rejected() {
    let (fixture, clock) = opened().await;
    let table = fixture.table("t");
    clock.set_wall(70 * SECOND_US);
    let rows = [(1, 10 * SECOND_US), (2, 10 * SECOND_US - 1), (3, 60 * SECOND_US)];
    let outcome = table.write(request(at(&rows))).await.expect("answered");
    assert_eq!((outcome.accepted, outcome.rejected), (2, 1));
    assert_eq!((outcome.row_errors[0].row, outcome.row_errors[0].code.as_str()), (1, "EXPIRED"));
    let abort = RowsRequest { on_error: OnError::Abort, ..request(at(&rows[1..2])) };
    assert_eq!(table.write(abort).await.expect_err("refused").code(), Code::BadRows);
    let kept = table.rejected().expect("readable");
    assert_eq!(kept.iter().map(|row| row.code.as_str()).collect::<Vec<_>>(), ["EXPIRED"]);
    // The key of a rejected row was never claimed.
    assert_eq!(table.write(request(at(&[(2, 60 * SECOND_US)]))).await.expect("stored").accepted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_says_what_a_statement_sees() {
    let (fixture, _clock) = opened().await;
    let table = fixture.table("t");
    table.write(request(at(&[(1, 5 * SECOND_US), (2, 9 * SECOND_US)]))).await.expect("stored");
    table.build().await.expect("built");
    let snapshot = table.snapshot();
    assert_eq!(snapshot.retention_cut(70 * SECOND_US), Some(10 * SECOND_US));
    assert_eq!(snapshot.event_times(&snapshot.files()[0]), Some((5 * SECOND_US, 9 * SECOND_US)));
    let kept = fixture.create("kept").await;
    assert_eq!(kept.snapshot().retention_cut(70 * SECOND_US), None);
    let change = TableChange::SetOptions(vec![("retention".to_owned(), "2 minutes".to_owned())]);
    fixture.engine().alter_table("public", "t", change).await.expect("altered");
    assert_eq!(table.snapshot().retention_cut(130 * SECOND_US), Some(10 * SECOND_US));
    let change = TableChange::SetOptions(vec![("retention".to_owned(), "none".to_owned())]);
    fixture.engine().alter_table("public", "t", change).await.expect("altered");
    assert_eq!(table.snapshot().retention_cut(130 * SECOND_US), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_leave_whole_and_keys_stay() {
    let (mut fixture, clock) = opened().await;
    let table = fixture.table("t");
    // Event times of 1 ms and of 16 s.
    write(&table, &[1, 2]).await;
    table.seal().await.expect("sealed");
    write(&table, &[17_000]).await;
    table.seal().await.expect("sealed");
    let old = names(&table);
    assert_eq!(expire(&table).await.expect("nothing to do"), 0);
    clock.advance(Duration::from_secs(50));
    // Rows up to the tenth second are past it: the second file holds younger ones.
    let pinned = table.snapshot();
    assert_eq!(expire(&table).await.expect("done"), 0, "a file stays for as long as its rows may");
    clock.advance(Duration::from_secs(10));
    write(&table, &[16_500]).await;
    assert_eq!(table.stats().realtime_rows, 0, "it is past the retention");
    clock.set_wall(75 * SECOND_US);
    assert_eq!(expire(&table).await.expect("done"), 1);
    assert_eq!(keys_of(&table), [17_000]);
    assert_eq!(delta_names(&table).await, names(&table));
    assert_eq!(table.stats().delta_version, Some(2));
    assert!(pinned.files().iter().all(|file| path_of(&table, &file.file.name).exists()));
    clock.advance(Duration::from_secs(60));
    assert_eq!(expire(&table).await.expect("done"), 1);
    assert_eq!(table.truncate().await.expect("truncated").0, 0, "none is counted any more");
    drop((table, pinned));
    fixture.restart().await;
    let table = fixture.table("t");
    assert_eq!(keys_of(&table), Vec::<i64>::new());
    fixture.engine().clean_files().await;
    assert_eq!(files_in(&delta_folder(&table), ".parquet"), old, "readers of older versions need them");
    clock.advance(Duration::from_secs(REMOVED_FILE_TTL_S));
    fixture.engine().clean_files().await;
    assert_eq!(files_in(&delta_folder(&table), ".parquet"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_outlive_their_rows() {
    let (fixture, clock) = opened().await;
    let table = fixture.table("t");
    write(&table, &[1]).await;
    table.seal().await.expect("sealed");
    clock.advance(Duration::from_secs(80));
    assert_eq!(expire(&table).await.expect("done"), 1);
    let outcome = table.write(request(at(&[(1, 99 * SECOND_US), (2, 99 * SECOND_US)]))).await.expect("stored");
    assert_eq!((outcome.accepted, outcome.duplicates), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_ahead_deletes_no_file() {
    let (mut fixture, clock) = opened().await;
    write(&fixture.table("t"), &[1, 2]).await;
    fixture.table("t").seal().await.expect("sealed");
    let year = 365 * 86_400 * SECOND_US;
    for restarts in [false, true] {
        if restarts {
            fixture.restart().await;
        }
        clock.set_wall(year);
        assert!(fixture.table("t").snapshot().retention_cut(year).is_some());
        assert_eq!(expire(&fixture.table("t")).await.expect("nothing to do"), 0);
    }
    clock.set_wall(20 * SECOND_US);
    assert_eq!(keys_of(&fixture.table("t")), [1, 2]);
    clock.advance(Duration::from_secs(61));
    assert_eq!(expire(&fixture.table("t")).await.expect("done"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_deleted_are_published_first() {
    let (fixture, clock) = opened().await;
    let table = fixture.table("t");
    write(&table, &[1, 2]).await;
    table.seal().await.expect("sealed");
    clock.advance(Duration::from_secs(80));
    delete_keys(&table, &[1]).await.expect("deleted");
    assert_eq!(expire(&table).await.expect("not yet"), 0);
    table.seal().await.expect("sealed");
    assert_eq!(expire(&table).await.expect("done"), 1);
    assert_eq!(keys_of(&table), Vec::<i64>::new());
    assert_eq!(delta_names(&table).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_leaves_the_files_or_takes_them() {
    for point in ["retention.decided", "publish.before_send", "publish.after_send", "publish.settled"] {
        let (mut fixture, clock) = opened().await;
        write(&fixture.table("t"), &[1, 2]).await;
        fixture.table("t").seal().await.expect("sealed");
        clock.advance(Duration::from_secs(80));
        fixture.engine().env().fail.arm(point, FailAction::Error(1));
        drop(expire(&fixture.table("t")).await);
        fixture.restart().await;
        let table = fixture.table("t");
        table.seal().await.expect("settled");
        assert_eq!(keys_of(&table), Vec::<i64>::new(), "{point}");
        assert_eq!(expire(&table).await.expect("nothing to do"), 0, "{point}");
        assert_eq!(delta_names(&table).await, names(&table), "{point}");
    }
}

/// Rows that ever left the table because they were past the retention.
async fn n_expired(table: &Table) -> u64 {
    let books = table.ask(|answer| TableRequest::Count { answer }).await.expect("counted");
    books.counts.gone.expect("a table of this version").expired
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_expire_before_they_are_built_are_left_out() {
    let (mut fixture, clock) = opened().await;
    let table = fixture.table("t");
    let rows = [(1, 5 * SECOND_US), (2, 19 * SECOND_US), (3, 70 * SECOND_US)];
    assert_eq!(table.write(request(at(&rows))).await.expect("stored").accepted, 3);
    clock.advance(Duration::from_secs(61));
    table.build().await.expect("built");
    assert_eq!((spread(&table), n_expired(&table).await), ((0, 1, 0), 2));
    table.seal().await.expect("sealed");
    assert_eq!(all_rows(&table).iter().map(|row| row.0).collect::<Vec<_>>(), [3]);
    // Keys outlive rows.
    let again = table.write(request(at(&[(1, 80 * SECOND_US), (4, 80 * SECOND_US)]))).await.expect("stored");
    assert_eq!((again.accepted, again.duplicates), (1, 1));
    drop(table);
    fixture.restart().await;
    let table = fixture.table("t");
    assert_eq!(n_expired(&table).await, 2);
    let again = table.write(request(at(&[(2, 80 * SECOND_US)]))).await.expect("stored");
    assert_eq!((again.accepted, again.duplicates), (0, 1));
    assert_eq!(table.truncate().await.expect("truncated").0, 2, "what expired is not there to be truncated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_of_which_every_row_expired_is_built_without_a_file() {
    let (mut fixture, clock) = opened().await;
    write(&fixture.table("t"), &[1, 2]).await;
    clock.advance(Duration::from_secs(80));
    for _ in 0..2 {
        fixture.table("t").build().await.expect("built, or nothing to do");
        assert_eq!((spread(&fixture.table("t")), n_expired(&fixture.table("t")).await), ((0, 0, 0), 2));
        fixture.restart().await;
    }
    let table = fixture.table("t");
    let outcome = table.write(request(at(&[(1, 99 * SECOND_US), (3, 99 * SECOND_US)]))).await.expect("stored");
    assert_eq!((outcome.accepted, outcome.duplicates), (1, 1));
    table.seal().await.expect("sealed");
    assert_eq!((spread(&table), n_expired(&table).await), ((0, 0, 1), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_ahead_leaves_no_row_out_of_a_build() {
    let (mut fixture, clock) = opened().await;
    write(&fixture.table("t"), &[1, 2]).await;
    clock.set_wall(365 * 86_400 * SECOND_US);
    // Also when the entries are replayed.
    fixture.restart().await;
    fixture.table("t").build().await.expect("built");
    assert_eq!((spread(&fixture.table("t")), n_expired(&fixture.table("t")).await), ((0, 2, 0), 0));
    clock.set_wall(20 * SECOND_US);
    assert_eq!(keys_of(&fixture.table("t")), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retention_that_becomes_longer_while_rows_are_built_takes_none() {
    let (fixture, clock) = opened().await;
    let table = fixture.table("t");
    write(&table, &[1, 2]).await;
    clock.advance(Duration::from_secs(80));
    let fail = std::sync::Arc::clone(&fixture.engine().env().fail);
    fail.arm("build.files_synced", FailAction::Hold(1));
    let building = tokio::spawn({
        let table = table.clone();
        async move { table.build().await }
    });
    until(|| fail.visits("build.files_synced") == 1).await;
    let change = TableChange::SetOptions(vec![("retention".to_owned(), "none".to_owned())]);
    fixture.engine().alter_table("public", "t", change).await.expect("altered");
    fail.release("build.files_synced");
    building.await.expect("no panic").expect("built again");
    assert_eq!((spread(&table), n_expired(&table).await), ((0, 2, 0), 0));
    assert_eq!(keys_of(&table), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retention_that_becomes_longer_while_files_wait_to_leave_keeps_them() {
    let (fixture, clock) = opened().await;
    let table = fixture.table("t");
    write(&table, &[1, 2]).await;
    table.seal().await.expect("sealed");
    clock.advance(Duration::from_secs(80));
    for (retention, n_gone) in [("none", 0), ("1 minute", 1)] {
        // A publish that waits for its store holds this for as long.
        let publishing = table.shared.publishing.lock().await;
        let n_jobs = table.jobs().len();
        let leaving = tokio::spawn({
            let table = table.clone();
            async move { expire(&table).await }
        });
        until(|| table.jobs().len() > n_jobs).await;
        let change = TableChange::SetOptions(vec![("retention".to_owned(), retention.to_owned())]);
        fixture.engine().alter_table("public", "t", change).await.expect("altered");
        drop(publishing);
        assert_eq!(leaving.await.expect("no panic").expect("nothing failed"), n_gone, "{retention}");
        assert_eq!(n_expired(&table).await, 2 * n_gone);
        if n_gone == 0 {
            assert_eq!(keys_of(&table), [1, 2]);
            // For the next turn, in which it stays what it is.
            let change = TableChange::SetOptions(vec![("retention".to_owned(), "1 minute".to_owned())]);
            fixture.engine().alter_table("public", "t", change).await.expect("altered");
        }
    }
    assert_eq!(keys_of(&table), Vec::<i64>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_go_with_their_file_are_counted() {
    let (fixture, clock) = opened().await;
    let table = fixture.table("t");
    write(&table, &[1, 2, 3]).await;
    table.seal().await.expect("sealed");
    delete_keys(&table, &[2]).await.expect("deleted");
    table.seal().await.expect("sealed");
    clock.advance(Duration::from_secs(80));
    assert_eq!(expire(&table).await.expect("done"), 1);
    assert_eq!(n_expired(&table).await, 2, "a deleted row does not expire");
}

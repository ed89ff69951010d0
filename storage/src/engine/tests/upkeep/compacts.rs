//! Files that are merged: the same rows, in fewer files.

use super::*;
use crate::catalog::{ColumnDef, TableChange};
use crate::engine::tests::support::{Fixture, delete_keys, keys_of, until};
use crate::env::FailAction;
use crate::error::Code;
use crate::limits::MAX_SNAPSHOT_S;

const HOUR_US: i64 = 3_600_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn small_files_become_one_with_the_same_rows() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    seal_pieces(&table, 5, 10).await;
    let (before, pinned) = (all_rows(&table), table.snapshot());
    let compacted = table.compact().await.expect("compacted");
    assert_eq!((compacted.merged_files, compacted.new_files, compacted.rows), (5, 1, 50));
    assert_eq!(compacted.delta_version, Some(5));
    assert_eq!(all_rows(&table), before, "keys, times and entries");
    assert_eq!(keys_of(&table), all(50));
    assert_eq!(spread(&table), (0, 0, 50));
    assert_eq!(names(&table).len(), 1);
    assert_eq!(delta_names(&table).await, names(&table));
    // Who took a snapshot before reads what it had.
    assert!(pinned.files().iter().all(|file| path_of(&table, &file.file.name).exists()));
    assert_eq!(pinned.n_rows(), 50);
    assert_eq!(files_in(&table.shared.folders.built(), ".parquet"), Vec::<String>::new());
    assert_eq!(table.compact().await.expect("nothing to do").merged_files, 0);
    drop((table, pinned));
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), all(50));
    assert_eq!(all_rows(&fixture.table("t")), before);
    assert_eq!(write(&fixture.table("t"), &all(51)).await, 1, "keys stay remembered");
    let sealed = fixture.table("t").seal().await.expect("sealed");
    assert_eq!((sealed.rows, sealed.files), (51, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn three_files_are_not_worth_a_commit() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    seal_pieces(&table, 3, 10).await;
    let compacted = table.compact().await.expect("nothing to do");
    assert_eq!((compacted.merged_files, compacted.delta_version), (0, Some(2)));
    let empty = fixture.create("empty").await;
    assert_eq!(empty.compact().await.expect("nothing to do").delta_version, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_rows_are_left_out() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    seal_pieces(&table, 4, 10).await;
    assert_eq!(delete_keys(&table, &[0, 1, 2, 13, 38]).await.expect("deleted"), 5);
    assert_eq!(table.compact().await.expect("answered").merged_files, 0, "not before Delta's log knows");
    table.seal().await.expect("sealed");
    let compacted = table.compact().await.expect("compacted");
    assert_eq!((compacted.merged_files, compacted.rows), (4, 35));
    let left: Vec<i64> = all(40).into_iter().filter(|key| ![0, 1, 2, 13, 38].contains(key)).collect();
    assert_eq!(keys_of(&table), left);
    assert_eq!(table.stats().deleted_rows, 0);
    assert_eq!(delete_keys(&table, &[5]).await.expect("deleted"), 1, "the new file's rows can be deleted");
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")).len(), 34);
    assert_eq!(fixture.table("t").truncate().await.expect("truncated").0, 34);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_rewritten_when_much_of_it_is_deleted() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, &all(10)).await;
    table.seal().await.expect("sealed");
    for (deleted, is_rewritten) in [(vec![0, 1], false), (vec![2], true)] {
        delete_keys(&table, &deleted).await.expect("deleted");
        table.seal().await.expect("sealed");
        let compacted = table.compact().await.expect("compacted");
        assert_eq!(compacted.merged_files, u64::from(is_rewritten));
    }
    assert_eq!(keys_of(&table), (3..10).collect::<Vec<_>>());
    assert_eq!(table.stats().deleted_rows, 0);
    // Nothing is left of a file whose every row is deleted.
    delete_keys(&table, &all(10)).await.expect("deleted");
    assert_eq!(table.compact().await.expect("nothing to do").merged_files, 0);
    assert_eq!(table.seal().await.expect("sealed").files, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_not_published_stay_where_they_are() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    seal_pieces(&table, 4, 10).await;
    write(&table, &(40..50).collect::<Vec<_>>()).await;
    table.build().await.expect("built");
    write(&table, &(50..60).collect::<Vec<_>>()).await;
    assert_eq!(table.compact().await.expect("compacted").merged_files, 4);
    assert_eq!(spread(&table), (10, 10, 40));
    assert_eq!(keys_of(&table), all(60));
    assert_eq!(table.seal().await.expect("sealed").rows, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_are_merged_in_another_order_than_their_files_have() {
    for order in ["id", "name, id", "arrival", "at"] {
        let fixture = Fixture::open();
        let new = with_options(&[("sort_by", order)]);
        let table = fixture.engine().create_table(new).await.expect("created").0;
        for hour in 0..5_i64 {
            // Keys fall while times rise.
            let rows: Vec<_> = (0..20).map(|n| (1000 - 20 * hour - n, hour * HOUR_US + n)).collect();
            table.write(request(at(&rows))).await.expect("stored");
            table.seal().await.expect("sealed");
        }
        let before = all_rows(&table);
        assert_eq!(table.compact().await.expect("compacted").merged_files, 5, "{order}");
        assert_eq!(all_rows(&table), before, "{order}");
        let snapshot = table.snapshot();
        assert_eq!((snapshot.files().len(), snapshot.files()[0].file.hour), (1, None));
        // In a file of several hours these come first, and each lies in it as in a file of its own.
        let rows = rows_of(&table, 0);
        let name = |key: i64| (key % 7 != 0).then(|| format!("name {}", key % 1_000));
        let is_sorted = match order {
            "id" => rows.is_sorted_by_key(|(key, time, _)| (time / HOUR_US, *key)),
            "name, id" => {
                rows.is_sorted_by_key(|(key, time, _)| (time / HOUR_US, name(*key).is_none(), name(*key), *key))
            }
            _ => rows.is_sorted_by_key(|(_, time, _)| *time),
        };
        assert!(is_sorted, "{order}");
        assert_eq!(snapshot.event_times(&snapshot.files()[0]), Some((0, 4 * HOUR_US + 19)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_one_hour_stay_in_their_order() {
    let fixture = Fixture::open();
    let table = fixture.engine().create_table(with_options(&[("sort_by", "name, id")])).await.expect("created").0;
    for file in 0..4_i64 {
        write(&table, &(0..3000).map(|n| 4 * n + file).collect::<Vec<_>>()).await;
        table.seal().await.expect("sealed");
    }
    table.compact().await.expect("compacted");
    let name = |key: i64| (key % 7 != 0).then(|| format!("name {}", key % 1_000));
    // NULLs are last.
    let keys: Vec<i64> = rows_of(&table, 0).into_iter().map(|(key, ..)| key).collect();
    assert!(keys.is_sorted_by_key(|key| (name(*key).is_none(), name(*key), *key)));
    assert_eq!(keys_of(&table), all(12_000));
    assert_eq!(table.snapshot().files()[0].file.hour, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_before_an_alter_get_the_new_columns() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    seal_pieces(&fixture.table("t"), 4, 10).await;
    let note = ColumnDef {
        name: "note".to_owned(),
        data_type: arrow::datatypes::DataType::Utf8,
        nullable: true,
        comment: None,
        max_chars: None,
    };
    fixture.engine().alter_table("public", "t", TableChange::AddColumn(note)).await.expect("altered");
    let compacted = fixture.table("t").compact().await.expect("compacted");
    assert_eq!((compacted.merged_files, compacted.rows), (4, 40));
    let file = fixture.table("t").snapshot().files()[0].file.clone();
    assert_eq!((file.columns.len(), file.columns[3].nulls), (4, 40));
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), all(40));
    let again = fixture.table("t").seal().await.expect("nothing to do");
    assert_eq!(again.delta_version, Some(4), "the schema came with the files");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_system_columns_is_merged_too() {
    let mut fixture = Fixture::open();
    let new = with_options(&[("system_columns", "off")]);
    fixture.engine().create_table(new).await.expect("created");
    seal_pieces(&fixture.table("t"), 5, 10).await;
    assert_eq!(fixture.table("t").compact().await.expect("compacted").merged_files, 5);
    let file = fixture.table("t").snapshot().files()[0].file.clone();
    assert_eq!((file.min_seq.0, file.max_seq.0), (1, 5));
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), all(50));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_left_as_it_is_and_named() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    seal_pieces(&table, 5, 10).await;
    let damaged = names(&table)[2].clone();
    let path = path_of(&table, &damaged);
    let mut bytes = std::fs::read(&path).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    let compacted = table.compact().await.expect("the others");
    assert_eq!((compacted.merged_files, compacted.rows), (4, 40));
    assert!(names(&table).contains(&damaged));
    let errors: Vec<String> = table.jobs().into_iter().filter_map(|job| job.error).collect();
    assert!(errors.iter().any(|error| error.contains(&damaged)), "{errors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_stops_before_ingest_does() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    seal_pieces(&table, 4, 10).await;
    let gate = &table.shared.gate;
    *gate.pretended_free_bytes.lock() = Some(gate.min_free_bytes + 1000);
    assert_eq!(table.compact().await.expect_err("refused").code(), Code::DiskFull);
    write(&table, &[100]).await;
    *gate.pretended_free_bytes.lock() = None;
    assert_eq!(table.compact().await.expect("compacted").merged_files, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_takes_longer_than_any_version_is_kept_gives_up() {
    let (fixture, clock) = Fixture::open_at(1_800_000_000_000_000);
    let table = fixture.create("t").await;
    seal_pieces(&table, 5, 10).await;
    let fail = std::sync::Arc::clone(&fixture.engine().env().fail);
    fail.arm("compact.names_recorded", FailAction::Hold(1));
    let merging = tokio::spawn({
        let table = table.clone();
        async move { table.compact().await }
    });
    until(|| fail.visits("compact.names_recorded") == 1).await;
    clock.advance(std::time::Duration::from_secs(MAX_SNAPSHOT_S));
    fail.release("compact.names_recorded");
    let slow = merging.await.expect("no panic").expect_err("it took too long");
    assert_eq!(slow.code(), Code::SnapshotExpired, "{slow}");
    assert_eq!(names(&table).len(), 5);
    assert_eq!(table.compact().await.expect("compacted").merged_files, 5);
    assert_eq!(keys_of(&table), all(50));
}

//! Streams larger than an entry, while others change the table: the first row of a key wins, and nothing is forgotten by mistake.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::DataType;

use super::staged::{n_files, options, staged, write};
use crate::catalog::{ColumnDef, TableChange};
use crate::engine::tests::support::{Fixture, batch, delete_keys, keys_of, until};
use crate::env::FailAction;
use crate::error::Code;
use crate::limits::COMPARED_KEYS;

fn all(n: i64) -> Vec<i64> {
    (0..n).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_came_meanwhile_are_not_stored_again() {
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    let stream = staged(&table, &all(100)).await;
    // Acknowledged before the stream: these rows win.
    assert_eq!(write(&table, &[5, 50, 500]).await.accepted, 3);
    let outcome = stream.commit().await.expect("stored");
    assert_eq!((outcome.accepted, outcome.duplicates), (98, 2));
    let mut expected = all(100);
    expected.push(500);
    assert_eq!(keys_of(&table), expected);
    drop(table);
    for step in 1..5 {
        match step {
            2 => drop(fixture.table("t").build().await.expect("built")),
            4 => drop(fixture.table("t").seal().await.expect("sealed")),
            _ => fixture.restart().await,
        }
        assert_eq!(keys_of(&fixture.table("t")), expected, "step {step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_keys_than_a_worker_compares_are_compared_beside_it() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    let stream = staged(&table, &all(1_000)).await;
    let others: Vec<i64> = (1_000..1_000 + COMPARED_KEYS as i64 + 10).collect();
    write(&table, &others).await;
    let outcome = stream.commit().await.expect("stored");
    assert_eq!((outcome.accepted, outcome.duplicates), (1_000, 0));
    assert_eq!(write(&table, &all(1_000)).await.accepted, 0);
    // And when there are duplicates among them.
    let stream = staged(&table, &(200_000..200_100).collect::<Vec<_>>()).await;
    let others: Vec<i64> = (200_050..200_050 + COMPARED_KEYS as i64 + 10).collect();
    write(&table, &others).await;
    let outcome = stream.commit().await.expect("stored");
    assert_eq!((outcome.accepted, outcome.duplicates), (50, 50));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_and_a_stream_of_the_same_keys_store_each_once() {
    const KEYS: i64 = 20_000;
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    let producing = tokio::spawn({
        let table = table.clone();
        async move {
            let mut accepted = 0;
            for keys in all(KEYS).chunks(100) {
                accepted += write(&table, keys).await.accepted;
            }
            accepted
        }
    });
    let mut stream = table.stage(options()).expect("begun");
    for keys in all(KEYS).chunks(500) {
        stream.push(batch(keys).into()).await.expect("taken");
    }
    let streamed = match stream.commit().await {
        Ok(outcome) => outcome.accepted,
        // The producer was never behind.
        Err(e) => {
            assert_eq!(e.code(), Code::StreamOvertaken);
            0
        }
    };
    let produced = producing.await.expect("no panic");
    assert_eq!(produced + streamed, KEYS as u64);
    assert_eq!(keys_of(&table), all(KEYS));
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), all(KEYS));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_streams_of_the_same_keys_store_each_once() {
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    let first = staged(&table, &all(1_000)).await;
    let second = staged(&table, &(500..1_500).collect::<Vec<_>>()).await;
    let (first, second) = tokio::join!(first.commit(), second.commit());
    let (first, second) = (first.expect("stored"), second.expect("stored"));
    assert_eq!(first.accepted + second.accepted, 1_500);
    assert_eq!(first.duplicates + second.duplicates, 500);
    assert_eq!(keys_of(&table), all(1_500));
    drop(table);
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), all(1_500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_meanwhile_comes_first() {
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, &[1_000]).await;
    let stream = staged(&table, &all(100)).await;
    table.truncate().await.expect("truncated");
    assert_eq!(write(&table, &[3]).await.accepted, 1);
    assert_eq!(stream.commit().await.expect("stored").accepted, 99);
    assert_eq!(keys_of(&table), all(100));
    // Rows that were left out for keys which are forgotten now would be missing.
    let stream = staged(&table, &[99, 100, 101]).await;
    table.truncate().await.expect("truncated");
    assert_eq!(stream.commit().await.expect_err("refused").code(), Code::StreamOvertaken);
    assert_eq!(keys_of(&table), Vec::<i64>::new());
    drop(table);
    fixture.restart().await;
    fixture.engine().clean_files().await;
    assert_eq!((keys_of(&fixture.table("t")), n_files(&fixture.table("t"))), (Vec::new(), 0));
    assert_eq!(write(&fixture.table("t"), &[99]).await.accepted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_removes_the_rows_of_a_stream() {
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    staged(&table, &all(100)).await.commit().await.expect("stored");
    assert_eq!(table.truncate().await.expect("truncated").0, 100);
    staged(&table, &all(50)).await.commit().await.expect("stored");
    assert_eq!(keys_of(&table), all(50));
    drop(table);
    for _ in 0..2 {
        fixture.restart().await;
        fixture.engine().clean_files().await;
        assert_eq!(keys_of(&fixture.table("t")), all(50));
        assert_eq!(n_files(&fixture.table("t")), 3);
        assert_eq!(write(&fixture.table("t"), &all(50)).await.accepted, 0, "keys of behind the TRUNCATE are known");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_added_meanwhile_is_null() {
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    let stream = staged(&table, &all(100)).await;
    let column = ColumnDef {
        name: "more".to_owned(),
        data_type: DataType::Int64,
        nullable: true,
        comment: None,
        max_chars: None,
    };
    fixture.engine().alter_table("public", "t", TableChange::AddColumn(column)).await.expect("altered");
    stream.commit().await.expect("stored");
    assert_eq!(keys_of(&table), all(100));
    let snapshot = table.snapshot();
    assert_ne!(snapshot.files()[0].file.schema, snapshot.def().schema_id);
    drop((table, snapshot));
    fixture.restart().await;
    assert_eq!(keys_of(&fixture.table("t")), all(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_changes_meanwhile_refuses_the_stream() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    let stream = staged(&table, &all(100)).await;
    let change = TableChange::SetType { column: "name".to_owned(), data_type: DataType::Binary, max_chars: None };
    fixture.engine().alter_table("public", "t", change).await.expect("altered");
    assert_eq!(stream.commit().await.expect_err("refused").code(), Code::SchemaVersionMismatch);
    assert_eq!((table.snapshot().n_rows(), n_files(&table)), (0, 0));
}

/// The schema of the rows does not say it.
#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_comes_meanwhile_refuses_the_stream() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    let set = async |max_chars| {
        let change = TableChange::SetType { column: "name".to_owned(), data_type: DataType::Utf8, max_chars };
        fixture.engine().alter_table("public", "t", change).await.map(drop).map_err(|error| error.code())
    };
    let stream = staged(&table, &all(100)).await;
    set(Some(1)).await.expect("an empty table has no texts");
    assert_eq!(stream.commit().await.expect_err("refused").code(), Code::SchemaVersionMismatch);
    assert_eq!((table.snapshot().n_rows(), n_files(&table)), (0, 0));
    // What was short enough stays so.
    set(Some(1_000)).await.expect("longer");
    let stream = staged(&table, &all(100)).await;
    set(Some(2_000)).await.expect("longer");
    stream.commit().await.expect("stored");
    assert_eq!(keys_of(&table), all(100));
    assert_eq!(set(Some(1_999)).await, Err(Code::UnsupportedStatement));
    set(None).await.expect("a table with rows may have longer texts");
    assert_eq!(set(Some(3_000)).await, Err(Code::UnsupportedStatement));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_table_takes_no_stream() {
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    let stream = staged(&table, &all(100)).await;
    fixture.engine().drop_table("public", "t").await.expect("dropped");
    assert_eq!(stream.commit().await.expect_err("refused").code(), Code::TableClosed);
    assert_eq!(n_files(&table), 0);
    assert_eq!(table.stage(options()).expect_err("refused").code(), Code::TableClosed);
    drop(table);
    fixture.restart().await;
    fixture.engine().undrop_table("public", "t").await.expect("there again");
    assert_eq!(keys_of(&fixture.table("t")), Vec::<i64>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_runs_meanwhile_leaves_a_stream_to_the_next() {
    let mut fixture = Fixture::open();
    let table = fixture.create("t").await;
    write(&table, &all(100)).await;
    let fail = Arc::clone(&fixture.engine().env().fail);
    fail.arm("build.files_synced", FailAction::Hold(1));
    let building = tokio::spawn({
        let table = table.clone();
        async move { table.build().await }
    });
    until(|| fail.visits("build.files_synced") == 1).await;
    staged(&table, &(50..200).collect::<Vec<_>>()).await.commit().await.expect("stored");
    write(&table, &(150..250).collect::<Vec<_>>()).await;
    fail.release("build.files_synced");
    building.await.expect("no panic").expect("built");
    assert_eq!(keys_of(&table), all(250));
    drop((table, fail));
    for step in 0..4 {
        fixture.restart().await;
        assert_eq!(keys_of(&fixture.table("t")), all(250), "step {step}");
        let table = fixture.table("t");
        assert_eq!(write(&table, &all(250)).await.accepted, 0, "step {step}");
        match step {
            0 => drop(table.build().await.expect("built")),
            1 => drop(table.seal().await.expect("sealed")),
            _ => drop(table.build().await.expect("built")),
        }
        assert_eq!(keys_of(&table), all(250), "step {step}");
    }
}

/// Streams, batches, deletes, builds and ends of the process in any order are one set of keys.
#[tokio::test(flavor = "multi_thread")]
async fn any_order_of_changes_keeps_one_set_of_keys() {
    for seed in 0..6_u64 {
        let mut fixture = Fixture::open();
        fixture.create("t").await;
        let (mut known, mut gone) = (HashSet::new(), HashSet::new());
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = |n: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % n
        };
        for step in 0..40 {
            let keys: Vec<i64> = (0..next(40) + 1).map(|_| next(300) as i64).collect();
            let table = fixture.table("t");
            match next(10) {
                0..3 => {
                    let accepted = write(&table, &keys).await.accepted;
                    assert_eq!(accepted, keys.iter().filter(|key| known.insert(**key)).count() as u64);
                }
                3..6 => {
                    let stream = staged(&table, &keys).await;
                    let between: Vec<i64> = (0..next(5)).map(|_| next(300) as i64).collect();
                    let accepted = write(&table, &between).await.accepted;
                    assert_eq!(accepted, between.iter().filter(|key| known.insert(**key)).count() as u64);
                    let accepted = stream.commit().await.expect("stored").accepted;
                    assert_eq!(accepted, keys.iter().filter(|key| known.insert(**key)).count() as u64);
                }
                6 => {
                    let deleted = delete_keys(&table, &keys).await.expect("deleted");
                    let there = |key: &&i64| known.contains(*key) && gone.insert(**key);
                    assert_eq!(deleted, keys.iter().filter(there).count() as u64);
                }
                7 => drop(table.build().await.expect("built")),
                8 => drop(table.seal().await.expect("sealed")),
                _ => {
                    drop(table);
                    fixture.restart().await;
                }
            }
            let mut expected: Vec<i64> = known.difference(&gone).copied().collect();
            expected.sort_unstable();
            assert_eq!(keys_of(&fixture.table("t")), expected, "seed {seed}, step {step}");
        }
    }
}

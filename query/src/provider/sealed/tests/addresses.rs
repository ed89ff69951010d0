//! Is the address of a row the place that it has in its file? With filters, deleted rows and parts of files.

use std::collections::HashMap;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use roaring::RoaringBitmap;

use super::support::{Fixture, Session, narrow, narrow_rows};

/// Address by id.
async fn addresses(session: &Session, filter: &str) -> HashMap<i64, (i32, i64)> {
    let mut found = HashMap::new();
    for batch in session.run(&format!("SELECT id, \"(file)\", \"(row)\" FROM t WHERE {filter}")).await {
        let ids = batch.column(0).as_primitive::<Int64Type>();
        let files = batch.column(1).as_primitive::<Int32Type>();
        let rows = batch.column(2).as_primitive::<Int64Type>();
        for i in 0..batch.num_rows() {
            let known = found.insert(ids.value(i), (files.value(i), rows.value(i)));
            assert_eq!(known, None, "id {} came twice", ids.value(i));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_keeps_its_address_however_it_is_found() {
    // More than one row group.
    const ROWS: i64 = 560_000;
    let fixture = Fixture::new(narrow()).await;
    for first in (0..ROWS).step_by(70_000) {
        fixture.write(narrow_rows(first, 70_000, 0, |id| Some((id % 97) as f64))).await;
    }
    fixture.build().await;
    fixture.write(narrow_rows(ROWS, 10_000, 5, |id| Some((id % 97) as f64))).await;
    let snapshot = fixture.build().await;
    let files: Vec<i64> = snapshot.files().iter().map(|file| file.file.rows as i64).collect();
    assert!(files.iter().any(|n_rows| *n_rows > tidewater_storage::limits::ROW_GROUP_ROWS as i64), "{files:?}");
    let all = {
        let session = Session::new(1);
        session.show_addresses("t", &snapshot);
        addresses(&session, "true").await
    };
    assert_eq!(all.len() as i64, ROWS + 10_000);
    let mut seen: Vec<RoaringBitmap> = files.iter().map(|_| RoaringBitmap::new()).collect();
    for &(file, row) in all.values() {
        assert!(row >= 0 && row < files[file as usize]);
        assert!(seen[file as usize].insert(row as u32), "row {row} of file {file} is two");
    }
    // Some rows go; the others stay where they are.
    let goes = |row: &u32| row.is_multiple_of(5) || (1_000..9_000).contains(row);
    let deleted: RoaringBitmap = (0..files[0] as u32).filter(goes).collect();
    let first = snapshot.files()[0].file.name.clone();
    fixture.table.delete(&snapshot, vec![(0, deleted.clone())]).await.expect("deleted");
    let snapshot = fixture.table.snapshot();
    assert_eq!(snapshot.files()[0].file.name, first);
    for target_partitions in [1, 3] {
        let session = Session::new(target_partitions);
        session.show_addresses("t", &snapshot);
        for filter in
            ["true", "v = 13", "id BETWEEN 524000 AND 525000", "v < 5 AND abs(id) % 3 = 1", "id = 559999 OR id = 3"]
        {
            let found = addresses(&session, filter).await;
            for (id, address) in &found {
                assert_eq!(all[id], *address, "{filter}, {target_partitions} partitions: id {id}");
                assert!(address.0 != 0 || !deleted.contains(address.1 as u32), "{filter}: id {id} is deleted");
            }
            let plain = session.number(&format!("SELECT count(*) FROM t WHERE {filter}")).await;
            assert_eq!(found.len() as i64, plain, "{filter}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_files_have_addresses_and_system_columns_stand_before_them() {
    let fixture = Fixture::new(narrow()).await;
    let session = Session::new(1);
    session.show_addresses("none", &fixture.table.snapshot());
    assert_eq!(session.number("SELECT count(*) FROM none").await, 0);
    assert!(
        session
            .run("SELECT \"(file)\", \"(row)\" FROM none WHERE id = 1")
            .await
            .iter()
            .all(|batch| batch.num_rows() == 0)
    );
    fixture.write(narrow_rows(0, 10, 0, |_| None)).await;
    session.show_addresses("fresh", &fixture.table.snapshot());
    assert_eq!(session.number("SELECT count(*) FROM fresh").await, 0);
    session.show_addresses("t", &fixture.build().await);
    let schema = session.0.table("t").await.expect("it is there").schema().as_arrow().clone();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "ts", "v", "_commit_seq", "_ingested_at", "(file)", "(row)"]);
    assert_eq!(session.number("SELECT count(*) FROM t WHERE _commit_seq = 1 AND \"(row)\" < 7").await, 7);
}

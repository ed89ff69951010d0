//! ALTER TABLE while rows are in every place.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

use crate::catalog::{ColumnDef, TableChange};
use crate::engine::tests::support::{Fixture, batch, request};
use crate::error::Code;
use crate::table::Table;

fn added(name: &str, data_type: DataType) -> TableChange {
    TableChange::AddColumn(ColumnDef {
        name: name.to_owned(),
        data_type,
        nullable: true,
        comment: None,
        max_chars: None,
    })
}

/// Rows with a fourth column.
fn wide(keys: &[i64]) -> RecordBatch {
    let narrow = batch(keys);
    let mut fields: Vec<_> = narrow.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("note", DataType::Utf8, true)));
    let notes = StringArray::from_iter_values(keys.iter().map(|key| format!("note {key}")));
    let columns = narrow.columns().iter().cloned().chain([Arc::new(notes) as _]).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("of one length")
}

/// Keys whose note is NULL, and keys whose note is theirs, over all files.
fn notes(table: &Table) -> (Vec<i64>, Vec<i64>) {
    let snapshot = table.snapshot();
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for file in snapshot.files() {
        let path = table.shared.gate.folder.join(file.place.path.to_string());
        for read in crate::sealed::read_file(&path, &snapshot.def().arrow_schema).expect("the file opens") {
            let (rows, _) = read.expect("readable");
            let (keys, notes) = (rows.column(0).as_primitive::<Int64Type>(), rows.column(3).as_string::<i32>());
            for (row, key) in keys.values().iter().enumerate() {
                if notes.is_null(row) {
                    without.push(*key);
                } else {
                    assert_eq!(notes.value(row), format!("note {key}"));
                    with.push(*key);
                }
            }
        }
    }
    without.sort_unstable();
    with.sort_unstable();
    (without, with)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_before_have_nothing_in_a_column_of_after() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    let table = fixture.table("t");
    table.write(request(batch(&[1]))).await.expect("stored");
    table.seal().await.expect("sealed");
    table.write(request(batch(&[2]))).await.expect("stored");
    table.build().await.expect("built");
    table.write(request(batch(&[3]))).await.expect("stored");
    drop(table);
    let table = fixture.engine().alter_table("public", "t", added("note", DataType::Utf8)).await.expect("altered");
    table.write(request(wide(&[4]))).await.expect("stored");
    table.write(request(batch(&[5]))).await.expect("a producer that does not know the column");
    drop(table);
    fixture.restart().await;
    assert_eq!(fixture.table("t").def().columns.len(), 4);
    fixture.table("t").seal().await.expect("sealed");
    assert_eq!(notes(&fixture.table("t")), (vec![1, 2, 3, 5], vec![4]));
    fixture.restart().await;
    assert_eq!(notes(&fixture.table("t")), (vec![1, 2, 3, 5], vec![4]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_renamed_stays_the_table_that_it_is() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    fixture.create("taken").await;
    fixture.table("t").write(request(batch(&[1]))).await.expect("stored");
    let location = fixture.table("t").seal().await.expect("sealed").location;
    let rename = |name: &str| TableChange::Rename { name: name.to_owned() };
    let error = fixture.engine().alter_table("public", "t", rename("taken")).await.expect_err("refused");
    assert_eq!(error.code(), Code::TableExists);
    fixture.engine().alter_table("public", "t", rename("u")).await.expect("renamed");
    assert!(fixture.engine().table("public", "t").is_none());
    fixture.restart().await;
    assert!(fixture.engine().table("public", "t").is_none());
    fixture.table("u").write(request(batch(&[1, 2]))).await.expect("stored");
    let sealed = fixture.table("u").seal().await.expect("sealed");
    assert_eq!((sealed.rows, sealed.location), (2, location));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rows_rest_on_is_not_changed() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    let refused = async |change| fixture.engine().alter_table("public", "t", change).await.expect_err("refused").code();
    let options = |name: &str, value: &str| TableChange::SetOptions(vec![(name.to_owned(), value.to_owned())]);
    assert_eq!(refused(TableChange::DropNotNull { column: "id".into() }).await, Code::InvalidDefinition);
    assert_eq!(refused(TableChange::DropNotNull { column: "at".into() }).await, Code::InvalidDefinition);
    assert_eq!(refused(TableChange::DropNotNull { column: "nix".into() }).await, Code::InvalidDefinition);
    assert_eq!(refused(added("NAME", DataType::Utf8)).await, Code::InvalidDefinition);
    assert_eq!(refused(added("_commit_seq", DataType::Utf8)).await, Code::InvalidName);
    assert_eq!(refused(options("time_column", "none")).await, Code::InvalidOption);
    assert_eq!(refused(options("seal_after_rows", "0")).await, Code::InvalidOption);
    fixture.engine().alter_table("public", "t", options("seal_after_rows", "7")).await.expect("set");
    assert_eq!(table.def().options.seal.after_rows, 7);
    let to_text = TableChange::SetType { column: "name".into(), data_type: DataType::Binary, max_chars: None };
    fixture.engine().alter_table("public", "t", to_text.clone()).await.expect("an empty table has no rows to convert");
    let back = TableChange::SetType { column: "name".into(), data_type: DataType::Utf8, max_chars: None };
    fixture.engine().alter_table("public", "t", back).await.expect("and back");
    table.write(request(batch(&[1]))).await.expect("stored");
    assert_eq!(refused(to_text).await, Code::UnsupportedStatement);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_table_comes_back_whole() {
    let mut fixture = Fixture::open();
    fixture.create("t").await;
    fixture.table("t").write(request(batch(&[1]))).await.expect("stored");
    fixture.table("t").seal().await.expect("sealed");
    fixture.table("t").write(request(batch(&[2]))).await.expect("stored");
    for restarts in [false, true] {
        fixture.engine().drop_table("public", "t").await.expect("dropped");
        if restarts {
            fixture.restart().await;
        }
        assert_eq!(fixture.engine().undrop_table("public", "u").await.expect_err("none").code(), Code::TableNotFound);
        let table = fixture.engine().undrop_table("public", "t").await.expect("back");
        assert_eq!(table.snapshot().n_rows(), 2);
        assert_eq!(table.write(request(batch(&[1, 2]))).await.expect("stored").accepted, 0);
    }
    fixture.engine().drop_table("public", "t").await.expect("dropped");
    fixture.create("t").await;
    let taken = fixture.engine().undrop_table("public", "t").await.expect_err("the name is taken");
    assert_eq!(taken.code(), Code::TableExists);
}

//! What does a server hold? Rows, producers, ledger and rejected rows of a table, read by SQL as a user would.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use futures::TryStreamExt;
use tidewater_client::Client;

/// Everything that a server tells of one table.
#[derive(Debug)]
pub struct Seen {
    /// Key and source of each row.
    pub rows: Vec<(i64, i64)>,
    /// Epoch and last sequence of each producer.
    pub producers: BTreeMap<String, (u64, u64)>,
    pub ledger: Ledger,
    pub rejected: i64,
}

/// The sums over all rows of a table in `system.ledger`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ledger {
    pub received: i64,
    pub accepted: i64,
    pub duplicate: i64,
    pub repeated: i64,
    pub rejected: i64,
}

pub async fn look(client: &Client, table: &str) -> Seen {
    let id = client.table_schema(table).await.expect("the table is there").table_id;
    let rows = numbers(client, &format!("SELECT id, src FROM {table}")).await;
    let ledger = "SELECT coalesce(sum(received), 0), coalesce(sum(accepted), 0), coalesce(sum(duplicate), 0), \
                  coalesce(sum(repeated), 0), coalesce(sum(rejected), 0) FROM system.ledger";
    let ledger = numbers(client, &format!("{ledger} WHERE table_id = '{id}'")).await.remove(0);
    let rejected = numbers(client, &format!("SELECT count(*) FROM system.rejected WHERE table_id = '{id}'")).await;
    Seen {
        rows: rows.iter().map(|row| (row[0], row[1])).collect(),
        producers: producers(client, &id).await,
        ledger: Ledger {
            received: ledger[0],
            accepted: ledger[1],
            duplicate: ledger[2],
            repeated: ledger[3],
            rejected: ledger[4],
        },
        rejected: rejected[0][0],
    }
}

async fn producers(client: &Client, table_id: &str) -> BTreeMap<String, (u64, u64)> {
    let sql = format!("SELECT producer, epoch, last_sequence FROM system.producers WHERE table_id = '{table_id}'");
    let mut found = BTreeMap::new();
    for batch in batches(client, &sql).await {
        let names = cast(batch.column(0), &DataType::Utf8).expect("text");
        let (epochs, lasts) = (column(&batch, 1), column(&batch, 2));
        for (row, name) in names.as_string::<i32>().iter().enumerate() {
            let position = (epochs[row] as u64, lasts[row] as u64);
            let twice = found.insert(name.expect("a name").to_owned(), position);
            assert!(twice.is_none(), "producer {name:?} is there twice");
        }
    }
    found
}

/// How many tables have this name.
pub async fn tables_named(client: &Client, name: &str) -> i64 {
    numbers(client, &format!("SELECT count(*) FROM system.tables WHERE name = '{name}'")).await[0][0]
}

/// The one number that a view of this name holds; `None` if there is no such view.
pub async fn view(client: &Client, name: &str) -> Option<i64> {
    match client.sql(&format!("SELECT n FROM {name}")).await {
        Err(error) if error.reason() == "TABLE_NOT_FOUND" => None,
        Err(error) => panic!("{error}"),
        Ok(rows) => {
            let rows: Vec<RecordBatch> = rows.try_collect().await.expect("ends");
            Some(column(&rows[0], 0)[0])
        }
    }
}

/// The rows of a query whose columns are all numbers.
pub async fn numbers(client: &Client, sql: &str) -> Vec<Vec<i64>> {
    let mut rows = Vec::new();
    for batch in batches(client, sql).await {
        let columns: Vec<Vec<i64>> = (0..batch.num_columns()).map(|at| column(&batch, at)).collect();
        rows.extend((0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row]).collect()));
    }
    rows
}

fn column(batch: &RecordBatch, at: usize) -> Vec<i64> {
    let numbers = cast(batch.column(at), &DataType::Int64).expect("numbers");
    assert_eq!(numbers.null_count(), 0, "a NULL where a number belongs");
    numbers.as_primitive::<Int64Type>().values().to_vec()
}

async fn batches(client: &Client, sql: &str) -> Vec<RecordBatch> {
    let rows = client.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.try_collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

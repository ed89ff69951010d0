//! What does a server hold? Rows and where they are, producers, ledger and rejected rows of a table, read by SQL as a user would.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use futures::TryStreamExt;
use tidewater_client::{Client, Result};

use crate::writers::is_death;

/// Everything that a server tells of one table.
#[derive(Debug)]
pub struct Seen {
    /// Key and source of each row.
    pub rows: Vec<(i64, i64)>,
    pub places: Places,
    /// Epoch and last sequence of each producer.
    pub producers: BTreeMap<String, (u64, u64)>,
    pub ledger: Ledger,
    pub rejected: i64,
    pub n_columns: usize,
}

/// Rows of a table by where they are, without deleted ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    pub realtime: i64,
    /// In files on the local disk.
    pub built: i64,
    /// In files of the Delta table.
    pub sealed: i64,
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

const ALIVE: &str = "the server lives";

pub async fn look(client: &Client, table: &str) -> Seen {
    try_look(client, table).await.expect(ALIVE)
}

/// `None`: the server died. Nobody else changes the table meanwhile, but its rows may settle.
pub async fn try_look(client: &Client, table: &str) -> Option<Seen> {
    let seen = try_look_beside_expired(client, table).await?;
    let Places { realtime, built, sealed } = seen.places;
    let n_rows = seen.rows.len() as i64;
    assert_eq!(realtime + built + sealed, n_rows, "rows of {table}: {:?}", seen.places);
    Some(seen)
}

/// The same of a table whose rows expire: where they are they may be for some time.
pub async fn try_look_beside_expired(client: &Client, table: &str) -> Option<Seen> {
    let info = alive(client.table_schema(table).await, table)?;
    let id = info.table_id;
    let rows = try_numbers(client, &format!("SELECT id, src FROM {table}")).await?;
    let n_rows = try_numbers(client, &format!("SELECT count(*) FROM {table}")).await?[0][0];
    let places = format!("SELECT realtime_rows, built_rows, sealed_rows FROM system.tables WHERE id = '{id}'");
    let places = try_numbers(client, &places).await?.remove(0);
    assert_eq!(n_rows, rows.len() as i64, "count(*) of {table}, and its rows");
    let ledger = "SELECT coalesce(sum(received), 0), coalesce(sum(accepted), 0), coalesce(sum(duplicate), 0), \
                  coalesce(sum(repeated), 0), coalesce(sum(rejected), 0) FROM system.ledger";
    let ledger = try_numbers(client, &format!("{ledger} WHERE table_id = '{id}'")).await?.remove(0);
    let rejected = format!("SELECT count(*) FROM system.rejected WHERE table_id = '{id}'");
    let rejected = try_numbers(client, &rejected).await?[0][0];
    Some(Seen {
        rows: rows.iter().map(|row| (row[0], row[1])).collect(),
        places: Places { realtime: places[0], built: places[1], sealed: places[2] },
        producers: producers(client, &id).await?,
        ledger: Ledger {
            received: ledger[0],
            accepted: ledger[1],
            duplicate: ledger[2],
            repeated: ledger[3],
            rejected: ledger[4],
        },
        rejected,
        n_columns: info.schema.fields().len(),
    })
}

async fn producers(client: &Client, table_id: &str) -> Option<BTreeMap<String, (u64, u64)>> {
    let sql = format!("SELECT producer, epoch, last_sequence FROM system.producers WHERE table_id = '{table_id}'");
    let mut found = BTreeMap::new();
    for batch in batches(client, &sql).await? {
        let names = cast(batch.column(0), &DataType::Utf8).expect("text");
        let (epochs, lasts) = (column(&batch, 1), column(&batch, 2));
        for (row, name) in names.as_string::<i32>().iter().enumerate() {
            let position = (epochs[row] as u64, lasts[row] as u64);
            let twice = found.insert(name.expect("a name").to_owned(), position);
            assert!(twice.is_none(), "producer {name:?} is there twice");
        }
    }
    Some(found)
}

/// How many tables have this name; `None`: the server died.
pub async fn tables_named(client: &Client, name: &str) -> Option<i64> {
    let found = try_numbers(client, &format!("SELECT count(*) FROM system.tables WHERE name = '{name}'")).await?;
    Some(found[0][0])
}

/// The one number that a view of this name holds, or that there is no such view; `None`: the server died.
pub async fn view(client: &Client, name: &str) -> Option<Option<i64>> {
    let sql = format!("SELECT n FROM {name}");
    let rows = match client.sql(&sql).await {
        Err(error) if error.reason() == "TABLE_NOT_FOUND" => return Some(None),
        answer => alive(answer, &sql)?,
    };
    let rows: Result<Vec<RecordBatch>> = rows.try_collect().await;
    Some(Some(column(&alive(rows, &sql)?[0], 0)[0]))
}

/// The reason for which a statement is refused.
pub async fn refused(client: &Client, sql: &str) -> String {
    let refusal = match client.sql(sql).await {
        Err(refusal) => refusal,
        Ok(rows) => rows.try_collect::<Vec<RecordBatch>>().await.expect_err(sql),
    };
    refusal.reason().to_owned()
}

/// The rows of a query whose columns are all numbers.
pub async fn numbers(client: &Client, sql: &str) -> Vec<Vec<i64>> {
    try_numbers(client, sql).await.expect(ALIVE)
}

/// The same; `None`: the server died.
pub async fn try_numbers(client: &Client, sql: &str) -> Option<Vec<Vec<i64>>> {
    let mut rows = Vec::new();
    for batch in batches(client, sql).await? {
        let columns: Vec<Vec<i64>> = (0..batch.num_columns()).map(|at| column(&batch, at)).collect();
        rows.extend((0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row]).collect()));
    }
    Some(rows)
}

fn column(batch: &RecordBatch, at: usize) -> Vec<i64> {
    let numbers = cast(batch.column(at), &DataType::Int64).expect("numbers");
    assert_eq!(numbers.null_count(), 0, "a NULL where a number belongs");
    numbers.as_primitive::<Int64Type>().values().to_vec()
}

/// All rows of a statement; `None`: the server died.
pub async fn batches(client: &Client, sql: &str) -> Option<Vec<RecordBatch>> {
    let rows = alive(client.sql(sql).await, sql)?;
    let rows: Result<Vec<RecordBatch>> = rows.try_collect().await;
    alive(rows, sql)
}

fn alive<T>(answer: Result<T>, what: &str) -> Option<T> {
    answer.map_err(|error| assert!(is_death(&error), "{what}: {error:?}")).ok()
}

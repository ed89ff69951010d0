//! What do dashboards ask, and how is an answer read? The live view and the checks at the end ask the same.

use anyhow::{Context, Result};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Int64Type};
use arrow::temporal_conversions::timestamp_s_to_datetime;
use futures::TryStreamExt;
use tidewater_client::Client;

use super::oracle::Window;
use super::table::{ITEM, LOCATION, TABLE, TIME};

/// Runs a statement over Flight SQL and returns all of its rows.
pub(super) async fn rows(client: &Client, sql: &str) -> Result<RecordBatch> {
    let ask = async {
        let answer = client.sql(sql).await?;
        let schema = answer.schema().clone();
        let batches: Vec<RecordBatch> = answer.try_collect().await?;
        anyhow::Ok(concat_batches(&schema, &batches)?)
    };
    ask.await.with_context(|| format!("the statement failed: {sql}"))
}

/// A column as numbers; NULL is `None`.
pub(super) fn integers(rows: &RecordBatch, column: usize) -> Result<Vec<Option<i64>>> {
    let numbers = cast(rows.column(column), &DataType::Int64)?;
    Ok(numbers.as_primitive::<Int64Type>().iter().collect())
}

/// A column as text; NULL is an empty one.
pub(super) fn texts(rows: &RecordBatch, column: usize) -> Result<Vec<String>> {
    let texts = cast(rows.column(column), &DataType::Utf8)?;
    Ok(texts.as_string::<i32>().iter().map(|text| text.unwrap_or_default().to_owned()).collect())
}

/// The numbers of the only row of an answer; NULL is `None`.
pub(super) async fn one_row(client: &Client, sql: &str) -> Result<Vec<Option<i64>>> {
    let rows = rows(client, sql).await?;
    anyhow::ensure!(rows.num_rows() == 1, "one row was expected, {} came: {sql}", rows.num_rows());
    (0..rows.num_columns()).map(|column| Ok(integers(&rows, column)?[0])).collect()
}

/// A name and a number a row.
pub(super) async fn counts(client: &Client, sql: &str) -> Result<Vec<(String, u64)>> {
    let rows = rows(client, sql).await?;
    let numbers = integers(&rows, 1)?.into_iter().map(|n| n.unwrap_or_default().unsigned_abs());
    Ok(texts(&rows, 0)?.into_iter().zip(numbers).collect())
}

/// The busiest locations of a window.
pub(super) fn busiest(window: Window, n: usize) -> Result<String> {
    Ok(format!(
        "SELECT {LOCATION}, count(*) AS n FROM {TABLE} WHERE {} \
         GROUP BY {LOCATION} ORDER BY n DESC, {LOCATION} LIMIT {n}",
        within(window)?
    ))
}

/// The items that a location has seen most often.
pub(super) fn top_items(location: &str, window: Window, n: usize) -> Result<String> {
    Ok(format!(
        "SELECT {ITEM}, count(*) AS n FROM {TABLE} WHERE {LOCATION} = {location} AND {} \
         GROUP BY {ITEM} ORDER BY n DESC, {ITEM} LIMIT {n}",
        within(window)?
    ))
}

/// How often each item was seen, at all locations.
pub(super) fn items(window: Window) -> Result<String> {
    Ok(format!("SELECT {ITEM}, count(*) AS n FROM {TABLE} WHERE {} GROUP BY {ITEM}", within(window)?))
}

fn within(window: Window) -> Result<String> {
    let at = |s: i64| timestamp_s_to_datetime(s).context("a time that no calendar has");
    let (from, to) = (at(window.from_s)?, at(window.to_s)?);
    Ok(format!("{TIME} >= TIMESTAMP '{from}' AND {TIME} < TIMESTAMP '{to}'"))
}

//! What is in a server? Segments, producers, queries and events, as the `system` schema has them.

use std::sync::Arc;

use anyhow::ensure;
use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use futures::TryStreamExt;
use tidewater_client::{CancelState, Client, QueryInfo, QueryState, Summary};

use super::{literal, printer, split_name};
use crate::cli::args::{EventsArgs, OfTableArgs, OfTableCommand, OutputFormat, QueryArgs, QueryCommand, Remote};
use crate::cli::sql::run_one;
use crate::cli::terminal::print;

const SEGMENTS: &str = "t.schema, t.name AS table, s.kind, s.id, s.rows, s.deleted, s.bytes, s.min_time, s.max_time, \
                        s.created_at, s.damage FROM system.segments s";

const PRODUCERS: &str = "t.schema, t.name AS table, s.producer, s.epoch, s.last_sequence, s.last_seen_at, s.rows, \
                         s.duplicates, s.repeated, s.rejected, s.principal FROM system.producers s";

pub(in crate::cli) async fn segments(server: &Remote, args: OfTableArgs) -> anyhow::Result<()> {
    list_of_table(server, SEGMENTS, "s.kind DESC, s.created_at, s.id", args).await
}

pub(in crate::cli) async fn producers(server: &Remote, args: OfTableArgs) -> anyhow::Result<()> {
    list_of_table(server, PRODUCERS, "s.last_seen_at DESC", args).await
}

pub(in crate::cli) async fn queries(server: &Remote, args: QueryArgs) -> anyhow::Result<()> {
    match args.command {
        QueryCommand::List { all, format } => {
            // Not by SQL: who may run no further statement wants to see those that run.
            let mut queries = crate::cli::connect(server).await?.list_queries().await?;
            queries.retain(|query| all || !has_ended(query.state()));
            queries.reverse();
            let rows = rows_of(&queries)?;
            let mut printer = printer(format);
            printer.begin(&rows.schema())?;
            printer.batch(rows)?;
            printer.end()
        }
        QueryCommand::Cancel { id } => {
            let state = crate::cli::connect(server).await?.cancel(&id).await?;
            print(match state {
                CancelState::Already => "it was cancelled before\n",
                CancelState::TooLate => "its change is being committed, so it goes on\n",
                CancelState::Stopped | CancelState::Unspecified => "cancelled\n",
            })
        }
    }
}

fn has_ended(state: QueryState) -> bool {
    matches!(state, QueryState::Finished | QueryState::Failed | QueryState::Cancelled)
}

/// The columns of `system.queries` that are of interest first.
fn rows_of(queries: &[QueryInfo]) -> anyhow::Result<RecordBatch> {
    let summaries: Vec<Summary> = queries.iter().map(|query| query.summary.clone().unwrap_or_default()).collect();
    let text =
        |of: fn(&QueryInfo) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(queries.iter().map(of))) };
    let count =
        |of: fn(&Summary) -> u64| -> ArrayRef { Arc::new(UInt64Array::from_iter_values(summaries.iter().map(of))) };
    let time =
        |of: fn(&Summary) -> f64| -> ArrayRef { Arc::new(Float64Array::from_iter_values(summaries.iter().map(of))) };
    let started_us = |query: &QueryInfo| {
        let at = query.started_at?;
        Some(at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000)
    };
    let started: TimestampMicrosecondArray = queries.iter().map(started_us).collect();
    let codes = queries.iter().map(|query| Some(query.error_code.as_str()).filter(|code| !code.is_empty()));
    let columns: [(&str, ArrayRef); 13] = [
        ("query_id", text(|query| &query.query_id)),
        ("principal", text(|query| &query.principal)),
        ("interface", text(|query| &query.interface)),
        ("state", text(|query| name_of(query.state()))),
        ("started_at", Arc::new(started.with_timezone("UTC"))),
        ("planned_ms", time(|summary| summary.planned_ms)),
        ("ran_ms", time(|summary| summary.ran_ms)),
        ("rows_read_realtime", count(|summary| summary.rows_read_realtime)),
        ("rows_read_sealed", count(|summary| summary.rows_read_sealed)),
        ("rows_out", count(|summary| summary.rows)),
        ("memory_peak", count(|summary| summary.memory_peak_bytes)),
        ("error_code", Arc::new(codes.collect::<StringArray>())),
        ("sql", text(|query| &query.sql)),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))?)
}

/// As `system.queries` has it.
fn name_of(state: QueryState) -> &'static str {
    match state {
        QueryState::Unspecified => "unknown",
        QueryState::Planning => "planning",
        QueryState::Waiting => "waiting",
        QueryState::Running => "running",
        QueryState::Finished => "finished",
        QueryState::Failed => "failed",
        QueryState::Cancelled => "cancelled",
    }
}

pub(in crate::cli) async fn events(server: &Remote, args: EventsArgs) -> anyhow::Result<()> {
    let last = format!(
        "SELECT at, level, kind, principal, message, details \
         FROM (SELECT * FROM system.events ORDER BY at DESC LIMIT {}) ORDER BY at",
        args.limit
    );
    list(server, &last, args.format).await
}

async fn list(server: &Remote, statement: &str, format: Option<OutputFormat>) -> anyhow::Result<()> {
    run_one(&crate::cli::connect(server).await?, statement, &mut printer(format)).await?;
    Ok(())
}

/// Rows that belong to tables, with the tables' names.
async fn list_of_table(server: &Remote, columns: &str, order: &str, args: OfTableArgs) -> anyhow::Result<()> {
    let OfTableCommand::List { table, format } = args.command;
    let client = crate::cli::connect(server).await?;
    let filter = match &table {
        Some(table) => {
            let (schema, name) = split_name(table)?;
            let filter = format!("WHERE t.schema = {} AND t.name = {}", literal(&schema), literal(&name));
            ensure!(
                is_there(&client, &filter).await?,
                "table '{schema}.{name}' not found; 'tidewater table list' lists them"
            );
            filter
        }
        None => String::new(),
    };
    let rows = format!(
        "SELECT {columns} JOIN system.tables t ON t.id = s.table_id {filter} ORDER BY t.schema, t.name, {order}"
    );
    run_one(&client, &rows, &mut printer(format)).await?;
    Ok(())
}

pub(super) async fn is_there(client: &Client, filter: &str) -> anyhow::Result<bool> {
    let mut rows = client.sql(&format!("SELECT t.id FROM system.tables t {filter}")).await?;
    Ok(rows.try_next().await?.is_some())
}

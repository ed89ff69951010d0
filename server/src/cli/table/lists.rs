//! What is in a server? Segments, producers, queries and events, as the `system` schema has them.

use anyhow::ensure;
use futures::TryStreamExt;
use tidewater_client::{CancelState, Client};

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
            let which = if all { "" } else { "WHERE state IN ('planning', 'waiting', 'running')" };
            let statement = format!(
                "SELECT query_id, principal, interface, state, started_at, planned_ms, ran_ms, rows_read_realtime, \
                 rows_read_sealed, rows_out, memory_peak, error_code, sql FROM system.queries {which} \
                 ORDER BY started_at"
            );
            list(server, &statement, format).await
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

async fn is_there(client: &Client, filter: &str) -> anyhow::Result<bool> {
    let mut rows = client.sql(&format!("SELECT t.id FROM system.tables t {filter}")).await?;
    Ok(rows.try_next().await?.is_some())
}

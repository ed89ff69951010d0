//! How does a file become rows, each once? Its rows have numbers, and the server says up to which number it has them.
//!
//! ```text
//! source ── chunks (typed rows: Parquet, Arrow) ─────────────── load ── the client's producer
//!    └───── text ── formats: records (where a row ends), csv     └───── send (JSON, for rows that may be unreadable)
//! identity   under which name      infer, create   which table
//! waits      what is said while the server takes nothing
//! replay     batches that a Python client could not store, each under its number
//! ```

mod chunks;
mod create;
mod identity;
mod infer;
mod load;
mod progress;
mod replay;
mod send;
mod source;
mod text;
mod waits;

#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::{Context, bail};
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use tidewater_client::{Client, TableName};

use self::source::Source;
use super::Usage;
use super::args::{IngestArgs, Remote};
use super::table::{identifier, split_name};
use super::terminal::{print, say};

/// Rows of a chunk: large enough for one sync to carry many rows, small enough to be sent again.
pub const DEFAULT_CHUNK_ROWS: u32 = 10_000;

const CHANGED: &str = "the file changed while it was read, so that rows of two versions of it may be stored; load it again when \
                       nothing writes to it any more (a table with a primary key takes no row twice; empty one without a key \
                       with TRUNCATE before)";

pub(super) async fn run(server: &Remote, args: IngestArgs) -> anyhow::Result<()> {
    if let Some(file) = &args.replay {
        return replay::run(server, file, args.unsettled).await;
    }
    let Some(table) = &args.table else { return Err(Usage("name a table".to_owned()).into()) };
    let (schema, table) = split_name(table)?;
    let client = super::connect(server).await?;
    let to = TableName::new(schema, table);
    let mut shape = match args.create {
        true => None,
        false => Some(client.table_schema(to.clone()).await?.schema),
    };
    for file in &args.files {
        let name = file.display().to_string();
        let mut source = open(file, &args, shape.clone()).await.with_context(|| name.clone())?;
        let of_table = match shape.take() {
            Some(shape) => shape,
            None => create(&client, &to, source.shape(), &args).await.with_context(|| name.clone())?,
        };
        source.check(&of_table).with_context(|| name.clone())?;
        shape = Some(of_table);
        load_and_say(&client, &to, (&name, source), &args).await.with_context(|| name.clone())?;
    }
    Ok(())
}

/// Opening reads the whole file once, for its identity.
async fn open(file: &Path, args: &IngestArgs, shape: Option<SchemaRef>) -> anyhow::Result<Source> {
    let (file, format, rows, csv) = (file.to_owned(), args.format, args.chunk_rows as usize, args.csv.clone());
    tokio::task::spawn_blocking(move || Source::open(&file, format, shape, rows, &csv)).await?
}

/// Creates the table unless it exists, and returns the shape that it has.
async fn create(client: &Client, to: &TableName, shape: &SchemaRef, args: &IngestArgs) -> anyhow::Result<SchemaRef> {
    create::create_table(client, (&to.schema, &to.table), shape, args).await?;
    let table = client.table_schema(to.clone()).await?;
    create::check_definition(&table, args)?;
    Ok(table.schema)
}

/// Loads an opened file and says what became of its rows.
async fn load_and_say(
    client: &Client,
    to: &TableName,
    (name, source): (&str, Source),
    args: &IngestArgs,
) -> anyhow::Result<()> {
    let original = source.original();
    let has_changed = || original.as_ref().is_some_and(|original| original.has_changed());
    let totals = match load::load(client, to.clone(), source, args).await {
        Ok(totals) => totals,
        // What is half written cannot be read, either.
        Err(error) if has_changed() => return Err(error.context(CHANGED)),
        Err(error) => return Err(error),
    };
    let summary = format!("{name}: {totals}");
    // The rows are stored, and the next files are waiting, whether or not somebody reads on.
    if print(&format!("{summary}\n")).is_err() {
        say(&summary);
    }
    if let Some(note) = totals.where_rejected() {
        say(&note);
    }
    if totals.is_all_repeated() && is_empty(client, to).await {
        say(&format!(
            "{name}: all of its rows were loaded before, and the table is empty now: TRUNCATE does not forget what was loaded; \
             --again loads the file anew"
        ));
    }
    if has_changed() {
        bail!(CHANGED);
    }
    Ok(())
}

/// Whether a table has no rows. For a hint only: where that cannot be told there is none.
async fn is_empty(client: &Client, table: &TableName) -> bool {
    let first = format!("SELECT 1 FROM {}.{} LIMIT 1", identifier(&table.schema), identifier(&table.table));
    let ask = async { client.sql(&first).await?.try_next().await };
    match ask.await {
        Ok(rows) => rows.is_none(),
        Err(error) => {
            tracing::debug!(%error, "it cannot be told whether the table is empty");
            false
        }
    }
}

//! How does a file become rows, each once? Its rows have numbers, and the server says up to which number it has them.
//!
//! ```text
//! source ── chunks (typed rows: Parquet, Arrow) ─────────────── load ── the client's producer
//!    └───── text ── records (where a row ends) ── csv            └───── send (JSON, for rows that may be unreadable)
//! identity   under which name      infer, create   which table
//! ```

mod chunks;
mod create;
mod csv;
mod identity;
mod infer;
mod load;
mod progress;
mod records;
mod send;
mod source;
mod text;

#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::Context;
use tidewater_client::TableName;

use self::source::Source;
use super::args::IngestArgs;
use super::table::split_name;
use super::terminal::{print, say};

/// Rows of a chunk: large enough for one sync to carry many rows, small enough to be sent again.
pub const DEFAULT_CHUNK_ROWS: u32 = 10_000;

pub(super) async fn run(server: &str, args: IngestArgs) -> anyhow::Result<()> {
    let (schema, table) = split_name(&args.table)?;
    let client = super::connect(server).await?;
    let mut shape = match args.create {
        true => None,
        false => Some(client.table_schema(TableName::new(&schema, &table)).await?.schema),
    };
    for file in &args.files {
        let name = file.display();
        let context = || format!("{name}");
        let source = open(file, &args, shape.clone()).await.with_context(context)?;
        let of_table = match shape.take() {
            Some(shape) => shape,
            None => {
                create::create_table(&client, (&schema, &table), source.shape(), &args).await.with_context(context)?;
                client.table_schema(TableName::new(&schema, &table)).await?.schema
            }
        };
        source.check(&of_table).with_context(context)?;
        shape = Some(of_table);
        let to = TableName::new(&schema, &table);
        let totals = load::load((server, &client), to, source, &args).await.with_context(context)?;
        print(&format!("{name}: {totals}\n"))?;
        if let Some(note) = totals.where_rejected() {
            say(&note);
        }
    }
    Ok(())
}

/// Opening reads the whole file once, for its identity.
async fn open(file: &Path, args: &IngestArgs, shape: Option<arrow::datatypes::SchemaRef>) -> anyhow::Result<Source> {
    let (file, format, rows) = (file.to_owned(), args.format, args.chunk_rows as usize);
    tokio::task::spawn_blocking(move || Source::open(&file, format, shape, rows)).await?
}

//! How does a file become rows, each once? Cut into the same numbered chunks every time, under the name of its content.

mod chunks;
mod create;
mod identity;
mod infer;
mod load;
mod progress;
mod source;

#[cfg(test)]
mod tests;

pub use chunks::Chunks;
pub use identity::producer_id;
pub use source::Source;

use std::path::Path;

use anyhow::Context;
use tidewater_client::TableName;

use super::args::IngestArgs;
use super::table::split_name;
use super::terminal::print;

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
        if args.create && shape.is_none() {
            create::create_table(&client, (&schema, &table), source.shape(), &args).await.with_context(context)?;
            shape = Some(client.table_schema(TableName::new(&schema, &table)).await?.schema);
        }
        let totals = load::load(&client, TableName::new(&schema, &table), source, &args).await.with_context(context)?;
        print(&format!("{name}: {totals}\n"))?;
    }
    Ok(())
}

/// Opening reads the whole file once, for its identity.
async fn open(file: &Path, args: &IngestArgs, shape: Option<arrow::datatypes::SchemaRef>) -> anyhow::Result<Source> {
    let (file, format, rows) = (file.to_owned(), args.format, args.chunk_rows as usize);
    tokio::task::spawn_blocking(move || Source::open(&file, format, shape, rows)).await?
}

//! What happens to one statement? It is sent, its rows are printed as they come, and its end says what was done.

use std::collections::HashMap;

use futures::TryStreamExt;
use tidewater_client::{Client, QueryRequest, Summary};

use super::output::Printer;

/// What a statement came to.
pub(super) struct Done {
    /// Of DDL and DML: none.
    pub(super) n_rows: u64,
    pub(super) is_update: bool,
    pub(super) summary: Summary,
}

/// A statement as a request that knows and keeps what SET changed.
pub(super) fn request(statement: &str, settings: &HashMap<String, String>) -> QueryRequest {
    QueryRequest { sql: statement.to_owned(), settings: settings.clone(), keeps_settings: true, ..Default::default() }
}

/// Runs one statement and prints its rows.
pub(super) async fn execute(client: &Client, request: QueryRequest, printer: &mut Printer) -> anyhow::Result<Done> {
    let mut answer = client.query(request).await?;
    let is_update = answer.is_update();
    if !is_update {
        printer.begin(&answer.schema().clone())?;
    }
    let mut n_rows = 0;
    while let Some(batch) = answer.try_next().await? {
        n_rows += batch.num_rows() as u64;
        printer.batch(batch)?;
        // While the next batch is there already nothing else would be asked, such as whether somebody wants to stop.
        tokio::task::yield_now().await;
    }
    if !is_update {
        printer.end()?;
    }
    Ok(Done { n_rows, is_update, summary: answer.summary().cloned().unwrap_or_default() })
}

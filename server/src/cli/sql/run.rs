//! What happens to one statement? It is sent, its rows are printed as they come, and its end says what was done.

use std::collections::HashMap;

use futures::TryStreamExt;
use indicatif::ProgressBar;
use tidewater_client::{Client, QueryRequest, Summary};

use super::output::Printer;
use super::progress;

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
    let bar = progress::bar();
    let mut answer = client.query(QueryRequest { progress: bar.is_some(), ..request }).await?;
    if let Some(bar) = bar.clone() {
        answer.on_progress(move |progress| progress::show(&bar, progress));
    }
    let (is_update, schema) = (answer.is_update(), answer.schema().clone());
    let mut n_rows = 0;
    // Nothing is printed of a query that fails before its first rows.
    let mut has_begun = false;
    while let Some(batch) = answer.try_next().await? {
        if !has_begun {
            has_begun = true;
            bar.iter().for_each(ProgressBar::finish_and_clear);
            printer.begin(&schema)?;
        }
        n_rows += batch.num_rows() as u64;
        printer.batch(batch)?;
        // While the next batch is there already nothing else would be asked, such as whether somebody wants to stop.
        tokio::task::yield_now().await;
    }
    bar.iter().for_each(ProgressBar::finish_and_clear);
    if !is_update {
        if !has_begun {
            printer.begin(&schema)?;
        }
        printer.end()?;
    }
    Ok(Done { n_rows, is_update, summary: answer.summary().cloned().unwrap_or_default() })
}

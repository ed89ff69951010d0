//! How are statements run from the command line? One after the other; the first error ends it.

mod output;
mod split;

use std::collections::HashMap;
use std::io::{IsTerminal, Read};

use anyhow::{Context, bail};
use futures::TryStreamExt;
use tidewater_client::{Client, QueryRequest};

pub(super) use output::Printer;
pub use split::split_statements;

use super::args::SqlArgs;
use super::terminal::{is_broken_pipe, say};

pub(super) async fn run(server: &str, args: SqlArgs) -> anyhow::Result<()> {
    let text = statements(&args)?;
    let client = super::connect(server).await?;
    let mut printer = Printer::new(args.format);
    let mut settings = HashMap::new();
    let mut statements = split_statements(&text).into_iter();
    while let Some(statement) = statements.next() {
        match run_with(&client, statement, &mut settings, &mut printer).await {
            // That nobody reads on is fine when there is nothing more to do.
            Err(error) if is_broken_pipe(&error) && statements.len() > 0 => {
                bail!("the output was closed; statements that were not run: {}", statements.len());
            }
            outcome => outcome?,
        };
    }
    Ok(())
}

fn statements(args: &SqlArgs) -> anyhow::Result<String> {
    match (&args.command, &args.file) {
        (Some(command), _) => Ok(command.clone()),
        (None, Some(file)) => {
            std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
        }
        (None, None) => {
            let mut input = std::io::stdin();
            if input.is_terminal() {
                say("statements are read from standard input; end with Ctrl-D");
            }
            let mut text = String::new();
            input.read_to_string(&mut text).context("standard input cannot be read as text")?;
            Ok(text)
        }
    }
}

/// Runs one statement, prints its rows, and returns how many there were (of DDL and DML: how many changed).
pub(super) async fn run_one(client: &Client, statement: &str, printer: &mut Printer) -> anyhow::Result<u64> {
    run_with(client, statement, &mut HashMap::new(), printer).await
}

/// As [`run_one`], under `settings`, which take in what SET and RESET change.
async fn run_with(
    client: &Client,
    statement: &str,
    settings: &mut HashMap<String, String>,
    printer: &mut Printer,
) -> anyhow::Result<u64> {
    let request = QueryRequest {
        sql: statement.to_owned(),
        settings: settings.clone(),
        keeps_settings: true,
        ..Default::default()
    };
    let mut answer = client.query(request).await?;
    let schema = answer.schema().clone();
    let is_update = answer.is_update();
    let mut n_rows = 0;
    if !is_update {
        printer.begin(&schema)?;
        while let Some(batch) = answer.try_next().await? {
            n_rows += batch.num_rows() as u64;
            printer.batch(batch)?;
        }
        printer.end()?;
        return Ok(n_rows);
    }
    while answer.try_next().await?.is_some() {}
    let summary = answer.summary().cloned().unwrap_or_default();
    settings.extend(summary.settings);
    for notice in &summary.notices {
        say(&format!("notice: {notice}"));
    }
    if std::io::stderr().is_terminal() {
        say(&format!("ok, {} rows changed", summary.affected_rows));
    }
    Ok(summary.affected_rows)
}

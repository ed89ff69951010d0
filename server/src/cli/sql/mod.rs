//! How are statements run from the command line? One after the other until the first error; or by hand, in a shell.

mod output;
mod progress;
mod run;
mod shell;
mod split;

use std::collections::HashMap;
use std::io::{IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, bail};
use tidewater_client::Client;
use tokio::signal::unix::{SignalKind, signal};

pub(super) use output::Printer;
pub use split::{is_terminated, split_statements};

use super::Interrupted;
use super::args::{OutputFormat, Remote, SqlArgs};
use super::terminal::{Hangup, is_broken_pipe, plural, say};

pub(super) async fn run(server: &Remote, args: SqlArgs) -> anyhow::Result<()> {
    let is_by_hand = args.command.is_none() && args.file.is_none() && args.output.is_none();
    if is_by_hand && shell::is_possible() {
        let client = super::connect(server).await?;
        return shell::run(client, server, args.format).await;
    }
    let text = statements(&args)?;
    match &args.output {
        Some(path) => {
            // Wrong use is told before anybody is asked for anything.
            let format = output::form(path, args.format)?;
            export(&super::connect(server).await?, &text, path, format).await
        }
        None => run_all(&super::connect(server).await?, &text, &mut Printer::new(args.format)).await,
    }
}

/// Writes the answer into a file, which gets its name when it is whole. Whoever stops it is not left with a part of it.
async fn export(client: &Client, text: &str, path: &Path, format: OutputFormat) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = Hangup::new()?;
    // Not before signals are heeded: they would leave the hidden file.
    let mut printer = Printer::to_file(path, Some(format))?;
    let stopped = || Interrupted(format!("{} was not written", path.display()));
    tokio::select! {
        outcome = run_all(client, text, &mut printer) => outcome?,
        _ = interrupt.recv() => return Err(stopped().into()),
        _ = terminate.recv() => return Err(stopped().into()),
        () = hangup.recv() => return Err(stopped().into()),
    }
    printer.finish()
}

async fn run_all(client: &Client, text: &str, printer: &mut Printer) -> anyhow::Result<()> {
    let mut settings = HashMap::new();
    let mut statements = split_statements(text).into_iter();
    while let Some(statement) = statements.next() {
        match run_with(client, statement, &mut settings, printer).await {
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
    let done = run::execute(client, run::request(statement, settings), printer).await?;
    if !done.is_update {
        return Ok(done.n_rows);
    }
    settings.extend(done.summary.settings);
    for notice in &done.summary.notices {
        say(&format!("notice: {notice}"));
    }
    if std::io::stderr().is_terminal() {
        let changed = done.summary.affected_rows;
        say(&format!("ok, {changed} {} changed", plural(changed, "row", "rows")));
    }
    Ok(done.summary.affected_rows)
}

//! Which tables are there, and what is done with one by hand? Questions to the `system` schema, and CALL.

mod lists;
mod verify;

use anyhow::{Context, bail, ensure};

pub(super) use lists::{events, producers, queries, segments};
#[cfg(test)]
pub(super) use verify::request as verify_request;
pub(super) use verify::verify;

use super::args::{OutputFormat, Remote, TableArgs, TableCommand};
use super::sql::{self, Printer};
use super::terminal::say;

pub(super) async fn run(server: &Remote, args: TableArgs) -> anyhow::Result<()> {
    let client = super::connect(server).await?;
    match args.command {
        TableCommand::List { format } => {
            let list = "SELECT schema, name, realtime_rows + built_rows + sealed_rows AS rows, realtime_bytes, key_columns, \
                        time_column, commit_seq, last_write_at, health FROM system.tables ORDER BY schema, name";
            sql::run_one(&client, list, &mut printer(format)).await?;
        }
        TableCommand::Show { name, format } => {
            let (schema, table) = split_name(&name)?;
            let of_table = format!("schema = {} AND name = {}", literal(&schema), literal(&table));
            // Before the header of an answer without rows is printed.
            ensure!(
                lists::is_there(&client, &format!("WHERE {of_table}")).await?,
                "table '{schema}.{table}' not found; 'tidewater table list' lists them"
            );
            let mut printer = printer(format);
            let figures = format!("SELECT * FROM system.tables WHERE {of_table}");
            sql::run_one(&client, &figures, &mut printer).await?;
            let columns = format!(
                "SELECT position, name, sql_type, nullable, comment FROM system.columns \
                 WHERE table_id = (SELECT id FROM system.tables WHERE {of_table}) ORDER BY position"
            );
            sql::run_one(&client, &columns, &mut printer).await.context("the columns cannot be listed")?;
        }
        TableCommand::Seal { name, format } => {
            sql::run_one(&client, &call("seal", &name)?, &mut printer(format)).await?;
        }
        TableCommand::Build { name, format } => {
            sql::run_one(&client, &call("build", &name)?, &mut printer(format)).await?;
        }
        TableCommand::Compact { name, format } => {
            sql::run_one(&client, &call("compact", &name)?, &mut printer(format)).await?;
        }
        TableCommand::Attach { url, name, format } => {
            sql::run_one(&client, &attach(&url, name.as_deref())?, &mut printer(format)).await?;
        }
        TableCommand::Drop { name } => {
            let table = quoted(&name)?;
            client.execute_update(&format!("DROP TABLE {table}")).await?;
            say(&format!("dropped; within seven days 'tidewater table undrop {name}' brings it back"));
        }
        TableCommand::Undrop { name } => {
            client.execute_update(&format!("UNDROP TABLE {}", quoted(&name)?)).await?;
            say(&format!("{name} is there again"));
        }
        TableCommand::GiveUp { name, format } => {
            if sql::run_one(&client, &call("give_up", &name)?, &mut printer(format)).await? == 0 {
                say(&format!(
                    "no damaged file of {name} is known: nothing was given up; 'tidewater table verify {name}' tests all"
                ));
            }
        }
        TableCommand::Verify { name, format } => verify::one(&client, &name, &mut printer(format)).await?,
    }
    Ok(())
}

/// The statement that runs a procedure over a table.
pub(super) fn call(procedure: &str, name: &str) -> anyhow::Result<String> {
    Ok(format!("CALL {procedure}({})", literal(&quoted(name)?)))
}

/// The statement that attaches the Delta table at `url`. A path is one of the server's machine, which may be another: it must be whole.
pub(super) fn attach(url: &str, name: Option<&str>) -> anyhow::Result<String> {
    ensure!(
        url.starts_with('/') || url.contains("://"),
        "'{url}' is not a whole path: write /folder/table, file:///folder/table or s3://bucket/prefix/table"
    );
    let name = name.map(quoted).transpose()?.map_or_else(String::new, |name| format!(", {}", literal(&name)));
    Ok(format!("CALL attach({}{name})", literal(url)))
}

/// A table's full name as SQL writes it.
fn quoted(name: &str) -> anyhow::Result<String> {
    let (schema, table) = split_name(name)?;
    Ok(format!("{}.{}", identifier(&schema), identifier(&table)))
}

fn printer(format: Option<OutputFormat>) -> Printer {
    Printer::new(format)
}

/// `TABLE` or `SCHEMA.TABLE`, folded to lower case as unquoted names in SQL; quoted parts are taken as they are.
pub(super) fn split_name(name: &str) -> anyhow::Result<(String, String)> {
    let mut parts = Vec::new();
    let mut rest = name;
    loop {
        let (part, after) = take_part(rest).with_context(|| format!("'{name}' is not the name of a table"))?;
        parts.push(part);
        match after.strip_prefix('.') {
            Some(after) => rest = after,
            None if after.is_empty() => break,
            None => bail!("'{name}' is not the name of a table"),
        }
    }
    match <[String; 2]>::try_from(parts) {
        Ok([schema, table]) => Ok((schema, table)),
        Err(parts) => match <[String; 1]>::try_from(parts) {
            Ok([table]) => Ok(("public".to_owned(), table)),
            Err(_) => bail!("'{name}' has too many parts: write TABLE or SCHEMA.TABLE"),
        },
    }
}

fn take_part(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        let part = text[..end].to_lowercase();
        return (!part.is_empty()).then(|| (part, &text[end..]));
    };
    let mut part = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        if character != '"' {
            part.push(character);
        } else if quoted[at + 1..].starts_with('"') {
            part.push('"');
            characters.next();
        } else {
            return (!part.is_empty()).then(|| (part, &quoted[at + 1..]));
        }
    }
    None
}

/// A name as SQL writes it.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL writes it.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

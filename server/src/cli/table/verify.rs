//! Are tables as they should be? The checks of one table, or of all.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::TryStreamExt;
use tidewater_client::{Client, QueryRequest};

use super::{Printer, call, identifier};
use crate::cli::ChecksFailed;
use crate::cli::args::{Remote, VerifyArgs};
use crate::cli::terminal::say;

/// All that a table holds is read: that may take as long as any statement may.
const TIMEOUT: &str = "1h";

/// The statement that checks a table, and its time.
pub(in crate::cli) fn request(name: &str) -> anyhow::Result<QueryRequest> {
    let settings = HashMap::from([("statement_timeout".to_owned(), TIMEOUT.to_owned())]);
    Ok(QueryRequest { sql: call("verify", name)?, settings, ..Default::default() })
}

/// Prints the checks of the named tables, or of all, and fails if one of them did.
pub(in crate::cli) async fn verify(server: &Remote, args: VerifyArgs) -> anyhow::Result<()> {
    let client = crate::cli::connect(server).await?;
    let tables = if args.tables.is_empty() { all(&client).await? } else { args.tables };
    let mut printer = Printer::new(args.format);
    let (mut found, mut has_begun) = (Found::default(), false);
    // Tables are checked whether or not somebody reads on: the status says how they are.
    let mut printed = Ok(());
    for table in &tables {
        let mut checks = client.query(request(table)?).await?;
        let schema = with_table(checks.schema());
        if !std::mem::replace(&mut has_begun, true) {
            printed = printer.begin(&schema);
        }
        while let Some(batch) = checks.try_next().await? {
            found.add(table, &batch)?;
            let names = std::iter::repeat_n(table, batch.num_rows());
            let names: ArrayRef = Arc::new(StringArray::from_iter_values(names));
            let columns = std::iter::once(names).chain(batch.columns().iter().cloned()).collect();
            let rows = RecordBatch::try_new(Arc::clone(&schema), columns)?;
            printed = printed.and_then(|()| printer.batch(rows));
        }
    }
    if has_begun {
        printed = printed.and_then(|()| printer.end());
    }
    found.outcome()?;
    printed
}

/// Prints the checks of a table, and fails if one of them did.
pub(super) async fn one(client: &Client, name: &str, printer: &mut Printer) -> anyhow::Result<()> {
    let mut checks = client.query(request(name)?).await?;
    let mut printed = printer.begin(checks.schema());
    let mut found = Found::default();
    while let Some(batch) = checks.try_next().await? {
        found.add(name, &batch)?;
        printed = printed.and_then(|()| printer.batch(batch));
    }
    printed = printed.and_then(|()| printer.end());
    found.outcome()?;
    printed
}

/// What checks came to.
#[derive(Default)]
struct Found {
    n_failed: usize,
    /// Those that could not be made, and why.
    unchecked: Vec<String>,
}

impl Found {
    /// What is NULL could not be checked.
    fn add(&mut self, table: &str, checks: &RecordBatch) -> anyhow::Result<()> {
        let column = |name: &'static str| {
            checks.column_by_name(name).with_context(|| format!("the answer has no column '{name}'"))
        };
        let ok = column("ok")?.as_boolean_opt().context("the column 'ok' is no BOOLEAN")?;
        let text = |name: &'static str| {
            column(name)?.as_string_opt::<i32>().with_context(|| format!("the column '{name}' is not text"))
        };
        let (names, details) = (text("check")?, text("detail")?);
        for (row, ok) in ok.iter().enumerate() {
            match ok {
                Some(true) => {}
                Some(false) => self.n_failed += 1,
                None => self.unchecked.push(format!("{table}: {}: {}", names.value(row), details.value(row))),
            }
        }
        Ok(())
    }

    /// Says what nobody knows. An error if a check failed.
    fn outcome(self) -> anyhow::Result<()> {
        for unchecked in &self.unchecked {
            say(&format!("not checked: {unchecked}"));
        }
        if self.n_failed == 0 {
            return Ok(());
        }
        let n_failed = self.n_failed;
        let message = format!(
            "checks that failed: {n_failed}; 'detail' says what is wrong, and 'tidewater doctor' what to do about \
             tables whose files are damaged"
        );
        Err(ChecksFailed(message).into())
    }
}

fn with_table(checks: &SchemaRef) -> SchemaRef {
    let table = Arc::new(Field::new("table", DataType::Utf8, false));
    Arc::new(Schema::new(std::iter::once(table).chain(checks.fields().iter().cloned()).collect::<Vec<_>>()))
}

/// The names of all tables that the caller sees, as SQL writes them.
async fn all(client: &Client) -> anyhow::Result<Vec<String>> {
    let mut rows = client.sql("SELECT schema, name FROM system.tables ORDER BY schema, name").await?;
    let mut names = Vec::new();
    while let Some(batch) = rows.try_next().await? {
        let text = |column: usize| batch.column(column).as_string_opt::<i32>().context("the answer is not text");
        let (schemas, tables) = (text(0)?, text(1)?);
        names.extend((0..batch.num_rows()).map(|row| named(schemas.value(row), tables.value(row))));
    }
    Ok(names)
}

/// A table's name as people write it: with quotes only where they are needed.
fn named(schema: &str, table: &str) -> String {
    let part = |name: &str| {
        let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if is_plain { name.to_owned() } else { identifier(name) }
    };
    format!("{}.{}", part(schema), part(table))
}

//! How does a file become a table? CREATE TABLE in its shape, with the key, time and order that were asked for.

use anyhow::bail;
use arrow::datatypes::{DataType, SchemaRef};
use tidewater_client::{Client, TableInfo};
use tidewater_storage::catalog::{check_name, sql_type};

use crate::cli::args::IngestArgs;
use crate::cli::sql::{self, Printer};
use crate::cli::table::{identifier, literal};

/// Wrong names that are told beside the first one.
const SHOWN_NAMES: usize = 5;

/// Creates the table if it does not exist.
pub(super) async fn create_table(
    client: &Client,
    name: (&str, &str),
    shape: &SchemaRef,
    args: &IngestArgs,
) -> anyhow::Result<()> {
    let statement = statement(name, shape, args)?;
    tracing::debug!(statement, "creating the table");
    sql::run_one(client, &statement, &mut Printer::new(None)).await?;
    Ok(())
}

/// A table that was there keeps its key, its time and its order, and ignores those that it was asked for. Who asks for a key counts on it:
/// another one is refused before a row is stored. Only flags that were given are compared.
pub(super) fn check_definition(table: &TableInfo, args: &IngestArgs) -> anyhow::Result<()> {
    let folded = |names: &[String]| names.iter().map(|name| name.trim().to_lowercase()).collect::<Vec<_>>();
    let sorted = |names: &[String]| {
        let mut names = folded(names);
        names.sort();
        names
    };
    // Which rows are the same does not depend on the order of the key's columns.
    if !args.key.is_empty() && sorted(&args.key) != sorted(&table.primary_key) {
        return another("primary key", &table.primary_key, "--key", &args.key);
    }
    if let Some(wanted) = args.time.as_ref().map(std::slice::from_ref)
        && folded(wanted) != folded(table.time_column.as_slice())
    {
        return another("time column", table.time_column.as_slice(), "--time", wanted);
    }
    if !args.sort.is_empty() && folded(&args.sort) != folded(&table.sort_by) {
        return another("order", &table.sort_by, "--sort", &args.sort);
    }
    Ok(())
}

fn another(what: &str, has: &[String], flag: &str, wanted: &[String]) -> anyhow::Result<()> {
    let has = if has.is_empty() { "none".to_owned() } else { format!("'{}'", has.join(",")) };
    bail!(
        "the table exists already, and its {what} is {has}, not '{}'; load into it as it is without {flag}, or name another \
         table",
        wanted.join(",")
    )
}

/// The CREATE TABLE statement. Columns of the key and of the event time are NOT NULL: rows without them are rejected.
pub(super) fn statement((schema, table): (&str, &str), shape: &SchemaRef, args: &IngestArgs) -> anyhow::Result<String> {
    let column = |wanted: &str| {
        let exact = shape.fields().iter().find(|field| field.name() == wanted);
        let found = exact.or_else(|| shape.fields().iter().find(|field| field.name().eq_ignore_ascii_case(wanted)));
        match found {
            Some(field) => Ok(field.name().clone()),
            None => {
                let names: Vec<&str> = shape.fields().iter().map(|field| field.name().as_str()).collect();
                bail!("there is no column '{wanted}'; the columns are {}", names.join(", "))
            }
        }
    };
    let key = args.key.iter().map(|name| column(name.trim())).collect::<anyhow::Result<Vec<_>>>()?;
    let sort = args.sort.iter().map(|name| column(name.trim())).collect::<anyhow::Result<Vec<_>>>()?;
    let time = args.time.as_deref().map(|name| column(name.trim())).transpose()?;

    check_names(shape)?;
    let mut parts = Vec::new();
    for field in shape.fields() {
        let required = !field.is_nullable() || key.contains(field.name()) || time.as_ref() == Some(field.name());
        let not_null = if required { " NOT NULL" } else { "" };
        // A column of nothing but NULL has no type, as pandas writes it: it is a text, as in CREATE TABLE AS and in NDJSON.
        let data_type = if field.data_type().is_null() { &DataType::Utf8 } else { field.data_type() };
        parts.push(format!("{} {}{not_null}", identifier(field.name()), sql_type(data_type)));
    }
    if !key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", key.iter().map(|name| identifier(name)).collect::<Vec<_>>().join(", ")));
    }
    let mut options = Vec::new();
    if let Some(time) = time {
        options.push(format!("time_column = {}", literal(&time)));
    }
    if !sort.is_empty() {
        options.push(format!("sort_by = {}", literal(&sort.join(", "))));
    }
    let with = if options.is_empty() { String::new() } else { format!(" WITH ({})", options.join(", ")) };
    Ok(format!("CREATE TABLE IF NOT EXISTS {}.{} ({}){with}", identifier(schema), identifier(table), parts.join(", ")))
}

/// What no column may be called is told before the server is asked, with the others like it: the file is to be mended once.
fn check_names(shape: &SchemaRef) -> anyhow::Result<()> {
    let wrong = |name: &str| check_name("column", name).err();
    let mut refused = shape.fields().iter().filter_map(|field| Some((field.name(), wrong(field.name())?)));
    let Some((_, first)) = refused.next() else { return Ok(()) };
    let others: Vec<String> = refused.map(|(name, _)| format!("'{name}'")).take(SHOWN_NAMES).collect();
    let others = if others.is_empty() { String::new() } else { format!(" (likewise {})", others.join(", ")) };
    let (message, hint) = (first.message(), first.hint_text().unwrap_or_default());
    bail!("{message}{others}; name the columns otherwise in the file, those of CSV in its first line; {hint}")
}

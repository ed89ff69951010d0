//! Is the server well? What its system tables say of versions, clocks, tables, damage and what waits for its store.

use anyhow::Context;
use arrow::array::{Array, RecordBatch};
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use indicatif::HumanBytes;
use tidewater_client::Client;

use super::machine::now_us;
use super::report::Finding;
use crate::cli::args::Remote;
use crate::cli::terminal::plural;
use crate::config::{Amount, parse_amount};
use crate::version::{COMMIT, VERSION};

/// Clocks that are further apart than this, and the time that asking took, are not synchronised.
const MAX_CLOCK_DIFFERENCE_US: i64 = 1_000_000;

/// Above this part of storage.max_unpublished somebody should look.
const FULL: f64 = 0.5;

pub(super) async fn check(server: &Remote) -> Vec<Finding> {
    const CHECK: &str = "server";
    let client = match crate::cli::connect(server).await {
        Ok(client) => client,
        Err(error) => return vec![Finding::fail(CHECK, format!("{error:#}"), "start it, or name it with --server")],
    };
    if let Err(error) = client.health().await {
        let action = "see its log; if it speaks TLS, name it https://HOST:PORT";
        return vec![Finding::fail(CHECK, format!("{server} takes no requests: {error}"), action)];
    }
    let mut findings = vec![Finding::ok(CHECK, format!("{server} takes requests"))];
    let mut told = String::new();
    for (check, found) in [
        ("version", version(&client).await),
        ("access", access(&client).await),
        ("clock", clock(&client).await),
        ("tables", tables(&client).await),
        ("damage", damage(&client).await),
        ("unpublished", unpublished(&client).await),
    ] {
        let detail = match found {
            Ok(found) => {
                findings.extend(found);
                continue;
            }
            Err(error) => format!("the server cannot be asked: {error:#}"),
        };
        // Who is not let in is told so once, not for each question.
        if detail != told {
            findings.push(Finding::warn(check, detail.clone(), "ask as an admin: --user or TIDEWATER_TOKEN"));
            told = detail;
        }
    }
    findings
}

async fn version(client: &Client) -> anyhow::Result<Vec<Finding>> {
    let labels = rows(client, "SELECT labels FROM system.metrics WHERE name = 'tidewater_build_info'").await?;
    let labels = labels.into_iter().flatten().flatten().next().context("it does not say its version")?;
    let labels: serde_json::Value = serde_json::from_str(&labels)?;
    let label = |name: &str| labels.get(name).and_then(serde_json::Value::as_str).unwrap_or("unknown");
    Ok(vec![version_of((label("version"), label("commit")), (VERSION, COMMIT))])
}

pub(super) fn version_of(server: (&str, &str), own: (&str, &str)) -> Finding {
    const CHECK: &str = "version";
    let detail = format!("server {} (commit {}), this program {} (commit {})", server.0, server.1, own.0, own.1);
    if server == own {
        return Finding::ok(CHECK, detail);
    }
    Finding::warn(CHECK, detail, "use the program of the server's version, which knows all that the server does")
}

async fn access(client: &Client) -> anyhow::Result<Vec<Finding>> {
    let detail = match setting(client, "auth").await?.as_deref() {
        Some("off") => "auth is off: every caller on the server's machine is admin".to_owned(),
        Some(other) => format!("auth is {other}"),
        None => "auth is not shown to this caller".to_owned(),
    };
    Ok(vec![Finding::ok("access", detail)])
}

async fn clock(client: &Client) -> anyhow::Result<Vec<Finding>> {
    let before = now_us();
    let answer = rows(client, "SELECT CAST(now() AS BIGINT)").await?;
    let after = now_us();
    let server = answer.into_iter().flatten().flatten().next().context("the server has no time")?.parse::<i64>()?;
    Ok(vec![clock_of(server, before, after)])
}

/// The server's time, asked for between `before` and `after`; all in microseconds.
pub(super) fn clock_of(server: i64, before: i64, after: i64) -> Finding {
    const CHECK: &str = "clock";
    let ahead = if server > after { server - after } else { (server - before).min(0) };
    if ahead.abs() <= MAX_CLOCK_DIFFERENCE_US {
        return Finding::ok(CHECK, "the server's and this machine's agree");
    }
    let detail = format!(
        "the server's is {:.1} s {}",
        ahead.unsigned_abs() as f64 / 1e6,
        if ahead > 0 { "ahead of this machine's" } else { "behind this machine's" }
    );
    Finding::warn(CHECK, detail, "synchronise both (NTP): event times too far ahead of the server's are rejected")
}

async fn tables(client: &Client) -> anyhow::Result<Vec<Finding>> {
    let all =
        rows(client, "SELECT schema, name, health, health_reason FROM system.tables ORDER BY schema, name").await?;
    let n_tables = all.len();
    let sick: Vec<Finding> = all.into_iter().filter_map(table_of).collect();
    Ok(if sick.is_empty() { vec![Finding::ok("tables", format!("{n_tables}, all healthy"))] } else { sick })
}

/// What is to be done about a table, if it is not healthy.
pub(super) fn table_of(row: Vec<Option<String>>) -> Option<Finding> {
    let [schema, name, health, reason] = <[Option<String>; 4]>::try_from(row).ok()?.map(Option::unwrap_or_default);
    let detail = format!("{schema}.{name} is {health}: {reason}");
    match health.as_str() {
        "ok" => None,
        "damaged" => Some(Finding::fail(
            "tables",
            detail,
            format!(
                "put a copy of each file back ('tidewater verify {schema}.{name}' names them), or give rows of data files up with \
                 'tidewater table give-up {schema}.{name}'"
            ),
        )),
        _ => Some(Finding::fail("tables", detail, "the reason says what to do; docs/troubleshoot.md has each code")),
    }
}

async fn damage(client: &Client) -> anyhow::Result<Vec<Finding>> {
    let files = "SELECT CAST(count(*) AS BIGINT), coalesce(sum(rows), 0) FROM system.segments WHERE damage IS NOT NULL";
    let mut counts = rows(client, files).await?.into_iter().flatten().flatten();
    let (n_files, n_rows) = (counts.next().unwrap_or_default(), counts.next().unwrap_or_default());
    let word = |n: &str, one, many| plural(n.parse().unwrap_or_default(), one, many);
    let (files, rows) = (word(&n_files, "file", "files"), word(&n_rows, "row", "rows"));
    Ok(vec![match n_files.as_str() {
        "0" => Finding::ok("damage", "no damaged files"),
        _ => Finding::fail(
            "damage",
            format!("{n_files} damaged {files} with {n_rows} {rows}"),
            "'tidewater segment list' shows them in its column damage",
        ),
    }])
}

async fn unpublished(client: &Client) -> anyhow::Result<Vec<Finding>> {
    let built = "SELECT CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM system.segments WHERE kind = 'built'";
    let bytes = rows(client, built).await?.into_iter().flatten().flatten().next().context("no sum")?.parse::<u64>()?;
    let limit = setting(client, "storage.max_unpublished").await?;
    let limit = limit.and_then(|text| match parse_amount(&text) {
        Ok(Amount::Bytes(bytes)) => Some(bytes),
        _ => None,
    });
    Ok(vec![unpublished_of(bytes, limit)])
}

pub(super) fn unpublished_of(bytes: u64, limit: Option<u64>) -> Finding {
    const CHECK: &str = "unpublished";
    let of = limit.map_or_else(String::new, |limit| format!(" of at most {}", HumanBytes(limit)));
    let detail = format!("{}{of} are built and not in their Delta tables", HumanBytes(bytes));
    match limit {
        Some(limit) if bytes as f64 > limit as f64 * FULL => Finding::warn(
            CHECK,
            detail,
            "see whether the store of storage.url answers ('tidewater events'); rows are refused at the limit",
        ),
        _ => Finding::ok(CHECK, detail),
    }
}

async fn setting(client: &Client, name: &str) -> anyhow::Result<Option<String>> {
    let statement = format!("SELECT value FROM system.settings WHERE name = '{name}'");
    Ok(rows(client, &statement).await?.into_iter().flatten().flatten().next())
}

/// The rows of an answer as text; NULL is none.
async fn rows(client: &Client, statement: &str) -> anyhow::Result<Vec<Vec<Option<String>>>> {
    let mut answer = client.sql(statement).await?;
    let mut rows = Vec::new();
    while let Some(batch) = answer.try_next().await? {
        for row in 0..batch.num_rows() {
            rows.push(values(&batch, row)?);
        }
    }
    Ok(rows)
}

fn values(batch: &RecordBatch, row: usize) -> anyhow::Result<Vec<Option<String>>> {
    let value = |column: &dyn Array| match column.is_null(row) {
        true => Ok(None),
        false => array_value_to_string(column, row).map(Some),
    };
    Ok(batch.columns().iter().map(|column| value(column)).collect::<Result<_, _>>()?)
}

//! How is a file run? Record by record in a session of its own, on a server without tables.

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result};
use regex::Regex;
use sqllogictest::{AsyncDB, DBOutput, MakeConnection, Record, Runner, strict_column_validator};

use crate::database::{Address, Database};
use crate::files::{Ask, File, Parsed, ask, text};
use crate::instants;
use crate::outcome::{Outcome, Ran};
use crate::refusals::Refusals;

/// No record of the files takes a second; one that hangs must not hang the run.
const RECORD_TIMEOUT: Duration = Duration::from_secs(120);

/// Statements that make the tables which files expect, by file.
#[derive(Default)]
pub(crate) struct Fixtures(HashMap<String, Vec<String>>);

impl Fixtures {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).map(Self).with_context(|| format!("in {}", path.display()))
    }

    fn of(&self, file: &str) -> &[String] {
        self.0.get(file).map_or(&[], Vec::as_slice)
    }
}

/// What became of the records of `file` that count.
pub(crate) async fn file(
    address: &Address,
    file: &File,
    fixtures: &Fixtures,
    refusals: &Refusals,
) -> Result<Vec<Outcome>> {
    let mut database = Database::connect(address).await?;
    for sql in fixtures.of(&file.name) {
        database.run(sql).await.with_context(|| sql.clone())?;
    }
    let mut runner = Runner::new(|| Database::connect(address));
    runner.add_label("Datafusion");
    runner.with_column_validator(strict_column_validator);
    runner.with_normalizer(instants::normal);
    runner.with_validator(instants::same);
    let outcomes = records(&mut runner, file, refusals).await;
    runner.shutdown_async().await;
    drop_tables(&mut database).await?;
    Ok(outcomes)
}

async fn records<M: MakeConnection<Conn = Database>>(
    runner: &mut Runner<Database, M>,
    file: &File,
    refusals: &Refusals,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut setting_refused = false;
    for record in &file.records {
        if matches!(record, Record::Halt { .. }) {
            break;
        }
        let Some((sql, at)) = text(record) else {
            // Modes and connections; they do not fail.
            let _ = runner.run_async(record.clone()).await;
            continue;
        };
        match ask(sql) {
            Ask::Other => {}
            Ask::Setting => setting_refused |= runner.run_async(in_our_words(record)).await.is_err(),
            Ask::Counted => {
                let ran = match tokio::time::timeout(RECORD_TIMEOUT, runner.run_async(record.clone())).await {
                    Ok(ended) => Ran::Ended(Box::new(ended)),
                    Err(_) => Ran::TimedOut,
                };
                let place = file.place(at);
                let outcome = Outcome::new(file.name.clone(), place, sql.to_string(), setting_refused, ran, refusals);
                outcomes.push(outcome);
            }
        }
    }
    outcomes
}

static TIME_ZONE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?is)^\s*(SET|RESET)\s+(?:TIME\s+ZONE|TIMEZONE|datafusion\.execution\.time_zone)\s*(?:=|TO)?\s*(.*?);?\s*$",
    )
    .expect("the pattern is right")
});

/// The engine's name for the session's time zone is not ours.
fn in_our_words(record: &Parsed) -> Parsed {
    let mut record = record.clone();
    if let Record::Statement { sql, .. } = &mut record
        && let Some(found) = TIME_ZONE.captures(sql)
    {
        let words = match &found[2] {
            "" => "RESET timezone".to_string(),
            value => format!("SET timezone = {value}"),
        };
        *sql = words;
    }
    record
}

/// Views first: they read tables.
async fn drop_tables(database: &mut Database) -> Result<()> {
    let sql = "SELECT table_type, table_schema, table_name FROM information_schema.tables \
               WHERE table_schema NOT IN ('information_schema', 'system') ORDER BY table_type DESC, table_name";
    let DBOutput::Rows { rows, .. } = database.run(sql).await? else { return Ok(()) };
    for row in rows {
        let [kind, schema, name] = row.as_slice() else { anyhow::bail!("not a table: {row:?}") };
        let kind = if kind == "VIEW" { "VIEW" } else { "TABLE" };
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let sql = format!("DROP {kind} {}.{}", quoted(schema), quoted(name));
        database.run(&sql).await.with_context(|| sql.clone())?;
    }
    Ok(())
}

//! Who is asked, and how is it compared? All engines the same statements in turn, round by round; every answer must be the same.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use arrow::array::RecordBatch;
use futures::TryStreamExt;
use tidewater_client::Client;
use tokio::time::Instant;

use super::answers::Ran;
use super::duckdb::{DuckDb, Kind};
use super::figures::median;
use super::queries::{Day, Question};
use super::raw::Raw;
use crate::server::{Server, cpu_ms_between};

/// Rounds that count. One before them does not: it fills caches.
const ROUNDS: usize = 11;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The server, over Flight SQL.
    Ours,
    Raw,
    DuckDb(Kind),
}

impl Engine {
    pub fn name(self) -> &'static str {
        match self {
            Engine::Ours => "ours",
            Engine::Raw => "raw_datafusion",
            Engine::DuckDb(Kind::Files) => "duckdb_files",
            Engine::DuckDb(Kind::Table) => "duckdb_table",
        }
    }
}

/// What one engine took for one question; a value a round.
pub struct Tally {
    pub engine: Engine,
    /// Half of the calls of the round took less.
    pub latency_ms: Vec<f64>,
    /// CPU of a call, on average over the round.
    pub cpu_ms: Vec<f64>,
}

pub struct Contest<'a> {
    pub server: &'a Server,
    pub client: &'a Client,
    pub raw: Raw,
    pub duckdb: Option<DuckDb>,
}

impl Contest<'_> {
    /// The others read these files from now on: they are in `folder`, and nothing else is.
    pub async fn open(&mut self, table: &str, folder: &Path, files: &[PathBuf]) -> Result<()> {
        self.raw.open(table, folder).await?;
        match &mut self.duckdb {
            Some(duckdb) => duckdb.view(table, files),
            None => Ok(()),
        }
    }

    /// Ours first.
    pub async fn ask(&mut self, question: &Question, day: &Day) -> Result<Vec<Tally>> {
        let mut engines = vec![Engine::Ours, Engine::Raw];
        if self.duckdb.is_some() {
            engines.extend([Engine::DuckDb(Kind::Files), Engine::DuckDb(Kind::Table)]);
        }
        let tally = |engine: &Engine| Tally { engine: *engine, latency_ms: Vec::new(), cpu_ms: Vec::new() };
        let mut tallies: Vec<Tally> = engines.iter().map(tally).collect();
        for round in 0..=ROUNDS {
            let statements = question.statements(day, round)?;
            let mut rans = Vec::new();
            // Each is the first of some rounds, so that none always finds what another has just read.
            for turn in 0..engines.len() {
                let at = (turn + round) % engines.len();
                rans.push((at, self.run(engines[at], &statements).await?));
            }
            rans.sort_by_key(|(at, _)| *at);
            for (at, ran) in &rans {
                same(&statements, engines[*at], ran, &rans[0].1)?;
                if round > 0 {
                    tallies[*at].latency_ms.push(median(&ran.latencies_ms));
                    tallies[*at].cpu_ms.push(ran.cpu_ms / statements.len() as f64);
                }
            }
        }
        Ok(tallies)
    }

    async fn run(&mut self, engine: Engine, statements: &[String]) -> Result<Ran> {
        match engine {
            Engine::Ours => self.run_ours(statements).await,
            Engine::Raw => self.raw.run(statements).await,
            Engine::DuckDb(kind) => self.duckdb.as_mut().context("DuckDB was not started")?.run(kind, statements),
        }
    }

    async fn run_ours(&self, statements: &[String]) -> Result<Ran> {
        let (mut latencies_ms, mut answers) = (Vec::new(), Vec::new());
        let before = self.server.cpu_by_task()?;
        for sql in statements {
            let at = Instant::now();
            let rows = self.client.sql(sql).await.with_context(|| sql.clone())?;
            let batches: Vec<RecordBatch> = rows.try_collect().await.with_context(|| sql.clone())?;
            latencies_ms.push(at.elapsed().as_secs_f64() * 1e3);
            answers.push(batches);
        }
        let cpu_ms = cpu_ms_between(&before, &self.server.cpu_by_task()?);
        Ran::of(latencies_ms, cpu_ms, &answers)
    }
}

fn same(statements: &[String], engine: Engine, ran: &Ran, ours: &Ran) -> Result<()> {
    for (sql, (theirs, ours)) in statements.iter().zip(ran.answers.iter().zip(&ours.answers)) {
        if theirs != ours {
            let differs = theirs.iter().zip(ours).position(|(a, b)| a != b).unwrap_or(theirs.len().min(ours.len()));
            bail!(
                "{} answers {} rows and we {}, row {differs} is {:?} and ours {:?}: {sql}",
                engine.name(),
                theirs.len(),
                ours.len(),
                theirs.get(differs),
                ours.get(differs)
            );
        }
    }
    Ok(())
}

//! What does DuckDB take for the same rows? A Python beside this program, asked line by line: over the same files, and over its own table.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answers::{Ran, Rows};

/// Which of its tables is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Parquet files, the same as ours.
    Files,
    /// Its own format, sorted as our files are, with an index of the key.
    Table,
}

pub struct DuckDb {
    pub version: String,
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
struct Opened {
    version: String,
}

#[derive(Deserialize)]
struct Loaded {
    load_s: f64,
}

#[derive(Deserialize)]
struct Answer {
    calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Call {
    wall_ms: f64,
    cpu_ms: f64,
    rows: Rows,
}

impl DuckDb {
    /// An empty database at `path`. What goes wrong in Python is told on this program's standard error.
    pub fn start(python: &Path, path: &Path, threads: usize) -> Result<Self> {
        let mut child = Command::new(python)
            .args(["-c", include_str!("duckdb.py")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", python.display()))?;
        let requests = child.stdin.take().context("no input")?;
        let answers = BufReader::new(child.stdout.take().context("no output")?);
        let mut duckdb = Self { version: String::new(), child, requests, answers };
        let opened: Opened = duckdb.ask(&json!({ "what": "open", "path": path, "threads": threads }))?;
        duckdb.version = opened.version;
        Ok(duckdb)
    }

    /// The table is what is in these files from now on.
    pub fn view(&mut self, table: &str, files: &[PathBuf]) -> Result<()> {
        self.ask::<Value>(&json!({ "what": "view", "table": table, "files": files }))?;
        Ok(())
    }

    /// A table of its own with the rows that the view of the same name has. Returns how long that took, s.
    pub fn load(&mut self, table: &str, order: &str, key: &str) -> Result<f64> {
        let loaded: Loaded = self.ask(&json!({ "what": "load", "table": table, "order": order, "key": key }))?;
        Ok(loaded.load_s)
    }

    pub fn run(&mut self, kind: Kind, statements: &[String]) -> Result<Ran> {
        let kind = match kind {
            Kind::Files => "files",
            Kind::Table => "table",
        };
        let answer: Answer = self.ask(&json!({ "what": "run", "kind": kind, "statements": statements }))?;
        let calls = answer.calls;
        ensure!(calls.len() == statements.len(), "DuckDB answered {} of {} statements", calls.len(), statements.len());
        Ok(Ran {
            latencies_ms: calls.iter().map(|call| call.wall_ms).collect(),
            cpu_ms: calls.iter().map(|call| call.cpu_ms).sum(),
            answers: calls.into_iter().map(|call| call.rows).collect(),
        })
    }

    fn ask<A: DeserializeOwned>(&mut self, request: &Value) -> Result<A> {
        const ENDED: &str = "the Python that asks DuckDB has ended: its standard error says why";
        writeln!(self.requests, "{request}").context(ENDED)?;
        self.requests.flush().context(ENDED)?;
        let mut line = String::new();
        ensure!(self.answers.read_line(&mut line)? > 0, ENDED);
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for DuckDb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

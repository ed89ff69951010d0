//! What do ten dashboard queries over settled rows take? Beside DataFusion by itself over the same files, and beside DuckDB.
//!
//! A day of rows is sealed and compacted, so that all of them are in the files of the Delta table. Then each query is asked in rounds: the
//! server over Flight SQL, DataFusion in this process, DuckDB in another, the same statements one after another, none of them twice. The
//! CPU time is that of the process that answers; ratios are taken round by round. Everything is warm, and nobody writes meanwhile.

mod answers;
mod contest;
mod duckdb;
mod figures;
mod live;
mod queries;
mod raw;
mod summary;

use anyhow::{Result, ensure};
use serde_json::json;
use tidewater_client::Client;

use self::contest::Contest;
use self::duckdb::DuckDb;
use self::live::{Live, TABLES, settle};
use self::queries::{Day, QUESTIONS};
use self::raw::Raw;
use self::summary::summarise;
use super::{Bench, number, peak, send_all};
use crate::places::N_LOCATIONS;
use crate::report::Report;
use crate::rows::{CREATE, Detections, Shape, Times};
use crate::server::Server;

const DEFAULT_ROWS: usize = 20_000_000;
const N_REGIONS: u64 = 20;

pub async fn run(bench: &Bench) -> Result<Report> {
    let threads = std::thread::available_parallelism()?.get();
    let server = bench.server(&[("query.threads", threads.to_string().as_str())])?;
    let client = Client::connect(&server.grpc).await?;
    let day = load(&client, bench.rows.unwrap_or(DEFAULT_ROWS)).await?;
    settle(&client).await?;

    let mut report = Report::default();
    report.figure("rows", day.n_rows);
    report.figure("threads", threads);
    let mut live = Live::default();
    let mut contest = begin(bench, &server, &client, threads, &mut live, &mut report).await?;
    let mut asked = Vec::new();
    for question in &QUESTIONS {
        // Merges that became due meanwhile must not leave the others with other files than ours.
        live.open(bench, &mut contest).await?;
        asked.push((question, contest.ask(question, &day).await?));
    }
    report.figure("layouts", live.n_layouts);
    summarise(&asked, &mut report);
    peak(&server, &client, &mut report).await?;
    drop(contest);
    server.stop()?;
    Ok(report)
}

async fn load(client: &Client, rows: usize) -> Result<Day> {
    client.execute_update(CREATE).await?;
    client
        .execute_update("CREATE TABLE locations (oid BIGINT NOT NULL, region VARCHAR NOT NULL, PRIMARY KEY (oid))")
        .await?;
    let locations: Vec<String> = (0..N_LOCATIONS).map(|oid| format!("({oid}, 'region {}')", oid % N_REGIONS)).collect();
    client.execute_update(&format!("INSERT INTO locations VALUES {}", locations.join(", "))).await?;
    let n_rows = rows as u64;
    let mut detections = Detections::over(Shape::Thin, Times::Day { n_rows, late: true })?;
    let last_us = detections.begun_us();
    send_all(client, "dashboards", &mut detections, rows, None).await?;
    let stored = number(client, "SELECT count(*) FROM detections").await?;
    ensure!(stored == n_rows as f64, "{stored} rows are there, {n_rows} were acknowledged");
    Ok(Day { n_rows, last_us })
}

/// Brings the others to where the server is.
async fn begin<'a>(
    bench: &Bench,
    server: &'a Server,
    client: &'a Client,
    threads: usize,
    live: &mut Live,
    report: &mut Report,
) -> Result<Contest<'a>> {
    let duckdb = match &bench.python {
        Some(python) => Some(DuckDb::start(python, &bench.folder.canonicalize()?.join("duckdb"), threads)?),
        None => None,
    };
    let mut contest = Contest { server, client, raw: Raw::new(threads)?, duckdb };
    live.open(bench, &mut contest).await?;
    report.figure("files", live.n_files);
    report.figure("file_bytes", live.n_bytes);
    match &mut contest.duckdb {
        Some(duckdb) => {
            let mut load_s = 0.0;
            for (table, order, key) in TABLES {
                load_s += duckdb.load(table, order, key)?;
            }
            report.figure("duckdb", json!({ "version": duckdb.version, "table_load_s": load_s }));
        }
        None => report.figure("duckdb", "not asked: no --python"),
    }
    Ok(contest)
}

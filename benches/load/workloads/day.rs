//! What is left of a day? Files, bytes a row, commits, and how much was written for what is kept.
//!
//! The rows of a day, late ones among them, come some hundred times faster than a day does, and a build is asked for as many times as fewer
//! rows: files have the shape that they have in life. What is published and merged meanwhile is the server's own choice. The keys are a
//! sequence's, as the platform's are. Two smaller tables follow: one without the hidden column, because that is the mark of peers, and one
//! with random keys, which no encoding makes smaller than 8 bytes.

use anyhow::{Result, ensure};
use tidewater_client::Client;

use super::{Bench, Start, bytes_under, call, number, peak, send_all};
use crate::report::{Bound, Report};
use crate::rows::{CREATE, Detections, Shape, Times};

const DEFAULT_ROWS: usize = 50_000_000;
/// The smaller tables have the first part of the day: as many rows an hour, and so much fewer in all.
const SMALLER_DIVISOR: usize = 5;
/// The design load's day, of which two tables have a part: the more rows an hour has, the less its times and keys take.
const DESIGN_ROWS: usize = 864_000_000;
/// Of 10,000 rows each.
const BATCHES_PER_S: u32 = 50;
/// A build has about a quarter of an hour of the day.
const BUILDS: &str = " WITH (seal_after_rows = '500000', ";
const DESIGN_BUILDS: &str = " WITH (seal_after_rows = '5000000', ";
/// Bytes a row in sealed files, with the hidden column and without.
const MARK_BYTES: f64 = 9.0;
const MARK_PLAIN_BYTES: f64 = 7.0;

/// The figures of one table's settled rows.
struct Sealed {
    rows: f64,
    bytes: f64,
    files: f64,
    commits: f64,
}

async fn sealed(client: &Client) -> Result<Sealed> {
    let of = async |column: &str| {
        number(client, &format!("SELECT {column} FROM system.tables WHERE name = 'detections'")).await
    };
    Ok(Sealed {
        rows: of("sealed_rows").await?,
        bytes: of("sealed_bytes").await?,
        files: of("sealed_files").await?,
        commits: of("delta_version").await? + 1.0,
    })
}

pub async fn run(bench: &Bench) -> Result<Report> {
    let rows = bench.rows.unwrap_or(DEFAULT_ROWS);
    let server = bench.server(&[])?;
    let client = Client::connect(&server.grpc).await?;
    client.execute_update(&CREATE.replace(" WITH (", BUILDS)).await?;
    let mut report = Report::default();
    let start = Start::now(&server)?;
    let mut detections = day(rows)?.ordered();
    send_all(&client, "day", &mut detections, rows, Some(BATCHES_PER_S)).await?;
    let cpu_s = start.report(&server, &client, rows as u64, &mut report).await?;
    report.figure("rows_per_server_cpu_s", rows as f64 / cpu_s);

    call(&client, "CALL seal('detections')").await?;
    let before = sealed(&client).await?;
    ensure!(before.rows == rows as f64, "{} of {rows} rows are sealed", before.rows);
    report.figure("files_before_merges", before.files);
    report.figure("bytes_per_row_before_merges", before.bytes / before.rows);
    merge_all(&client).await?;
    let after = sealed(&client).await?;
    ensure!(after.rows == rows as f64, "{} of {rows} rows are left by merges", after.rows);
    report.figure("files", after.files);
    report.figure("commits", after.commits);
    report.marked("bytes_per_row", after.bytes / after.rows, Bound::AtMost, MARK_BYTES);
    let written = server.usage()?.written_bytes as f64;
    report.figure("written_per_sealed_byte", written / after.bytes);
    report.figure("written_bytes_per_row", written / after.rows);
    report.figure("folder_bytes_per_row", bytes_under(&bench.data())? as f64 / after.rows);
    report.figure("server_cpu_s_with_merges", server.usage()?.cpu_s);
    let keys = number(&client, "SELECT dedup_bytes FROM system.tables WHERE name = 'detections'").await?;
    report.figure("key_memory_bytes_per_row", keys / after.rows);

    let part = rows / SMALLER_DIVISOR;
    let plain = smaller(&client, "plain", BUILDS, ", system_columns = 'off'", day(rows)?.ordered(), part).await?;
    report.marked("bytes_per_row_without_hidden_column", plain, Bound::AtMost, MARK_PLAIN_BYTES);
    report.figure("bytes_per_row_with_random_keys", smaller(&client, "random", BUILDS, "", day(rows)?, part).await?);
    let dense = || anyhow::Ok(day(DESIGN_ROWS)?.ordered());
    report.figure("bytes_per_row_at_10000_per_s", smaller(&client, "dense", DESIGN_BUILDS, "", dense()?, part).await?);
    let plain = smaller(&client, "dense-plain", DESIGN_BUILDS, ", system_columns = 'off'", dense()?, part).await?;
    report.figure("bytes_per_row_at_10000_per_s_without_hidden_column", plain);
    peak(&server, &client, &mut report).await?;
    server.stop()?;
    Ok(report)
}

/// By hand as often as there is something to merge: what the server would do by itself in the next minutes.
async fn merge_all(client: &Client) -> Result<()> {
    let mut files = sealed(client).await?.files;
    loop {
        call(client, "CALL compact('detections')").await?;
        let now = sealed(client).await?.files;
        if now >= files {
            return Ok(());
        }
        files = now;
    }
}

fn day(rows: usize) -> Result<Detections> {
    Detections::over(Shape::Thin, Times::Day { n_rows: rows as u64, late: true })
}

/// Another table in place of the last, with these rows; its bytes a row in sealed files.
async fn smaller(
    client: &Client,
    producer: &str,
    builds: &str,
    option: &str,
    mut detections: Detections,
    rows: usize,
) -> Result<f64> {
    client.execute_update("DROP TABLE detections").await?;
    let create = CREATE.replace(" WITH (", builds);
    client.execute_update(&format!("{}{option})", create.trim_end_matches(')'))).await?;
    send_all(client, producer, &mut detections, rows, Some(BATCHES_PER_S)).await?;
    call(client, "CALL seal('detections')").await?;
    merge_all(client).await?;
    let sealed = sealed(client).await?;
    ensure!(sealed.rows == rows as f64, "{} of {rows} rows are sealed", sealed.rows);
    Ok(sealed.bytes / sealed.rows)
}

//! How soon is a server back after kill -9, when many rows are in its log only?

use anyhow::{Result, ensure};
use tidewater_client::Client;
use tokio::time::Instant;

use super::{Bench, number, peak, send_all};
use crate::report::{Bound, Report};
use crate::rows::{CREATE, Detections, Shape, Times};

const DEFAULT_ROWS: usize = 10_000_000;
const MARK_S: f64 = 10.0;
/// Nothing is built by itself: thresholds that the workload does not reach.
const UNBUILT: &str = "seal_after_rows = '1000000000', seal_after = '1 day', seal_after_bytes = '68719476736', ";

pub async fn run(bench: &Bench) -> Result<Report> {
    let rows = bench.rows.unwrap_or(DEFAULT_ROWS);
    let server = bench.server(&[])?;
    let client = Client::connect(&server.grpc).await?;
    client.execute_update(&CREATE.replace(" WITH (", &format!(" WITH ({UNBUILT}"))).await?;
    let mut detections = Detections::over(Shape::Thin, Times::Day { n_rows: rows as u64, late: true })?;
    send_all(&client, "load", &mut detections, rows, None).await?;
    let unbuilt = number(&client, "SELECT realtime_rows FROM system.tables WHERE name = 'detections'").await?;
    ensure!(unbuilt == rows as f64, "{unbuilt} of {rows} rows are in the log only");
    server.kill()?;

    let mut report = Report::default();
    let started = Instant::now();
    let server = bench.server(&[])?;
    report.figure("rows", rows);
    report.figure("ready_s", server.ready_s);
    let client = Client::connect(&server.grpc).await?;
    let found = number(&client, "SELECT count(*) FROM detections WHERE geographical_location_oid >= 0").await?;
    report.marked("first_answer_s", started.elapsed().as_secs_f64(), Bound::AtMost, MARK_S);
    ensure!(found == rows as f64, "{found} of {rows} rows came back");
    let mut producer = client.producer("detections", "load").await?;
    let result = producer.send(detections.batch(100)?).await?.await?;
    report.marked("first_ack_s", started.elapsed().as_secs_f64(), Bound::AtMost, MARK_S);
    ensure!(result.accepted == 100, "{} of 100 new rows were accepted", result.accepted);
    report.figure("server_cpu_s", server.usage()?.cpu_s);
    report.figure("read_bytes", server.usage()?.read_bytes);
    // Old rows are known again: none of them is taken a second time.
    let mut again = Detections::over(Shape::Thin, Times::Day { n_rows: rows as u64, late: true })?;
    let mut other = client.producer("detections", "again").await?;
    let result = other.send(again.batch(10_000.min(rows))?).await?.await?;
    ensure!(result.accepted == 0, "{} rows were taken a second time", result.accepted);
    peak(&server, &client, &mut report).await?;
    server.stop()?;
    Ok(report)
}

//! Does an object store that is away slow acknowledgements down? The same pace with a store that answers, and with one that is silent.
//!
//! The store is moto's S3 server in a process of its own, stopped and continued by signals: connections to it are taken and nothing comes
//! back, which is worse than a refusal. Phases alternate, so that what else the machine does falls on both.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use rustix::process::{Pid, Signal, kill_process};
use tidewater_client::{Client, Producer};
use tokio::time::Instant;

use super::{Acks, Bench, PACE_BATCHES, PACE_ROWS, call, number, pace, peak};
use crate::report::{Bound, Report};
use crate::rows::{CREATE, Detections, Shape};
use crate::yardsticks::Quantiles;

/// Phases of each kind.
const ROUNDS: u64 = 3;
/// Of one phase, whatever is asked for: a table is published four times a minute, so that each absence meets a publish.
const LEAST_PHASE: Duration = Duration::from_secs(20);
/// A build every few seconds, so that each phase has several.
const BUILDS: &str = "seal_after_rows = '50000', ";
/// The 99th percentile with the store away beside that with the store there.
const MARK: f64 = 1.2;
/// Publishes that have asked for the store and were not done: they wait, for as long as it is away if their commit is on record, or gave up
/// in the last phase.
const NOT_DONE: &str = "SELECT count(*) FROM system.jobs WHERE kind = 'publish' AND (state = 'running' \
                        OR (state <> 'done' AND started_at > now() - INTERVAL '20 seconds'))";
/// Starts moto, makes the bucket, says where it listens, and ends with its parent.
const MOTO: &str = r#"
import sys, urllib.request
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/bench", method="PUT")).read()
print(port, flush=True)
sys.stdin.read()
"#;

struct Store {
    child: Child,
    port: u16,
}

impl Store {
    fn start(bench: &Bench) -> Result<Self> {
        let mut child = Command::new(bench.python()?)
            .args(["-c", MOTO])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let port = line.trim().parse().context("moto did not start: is it in that Python?")?;
        Ok(Self { child, port })
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends at the pace for so long; acknowledgements are timed from when a batch was due.
async fn phase(
    producer: &mut Producer,
    detections: &mut Detections,
    length: Duration,
    acked: &mut Histogram<u64>,
) -> Result<()> {
    let (mut acks, mut ticks) = (Acks::default(), pace());
    let begun = Instant::now();
    while begun.elapsed() < length {
        let due = ticks.tick().await;
        acks.wait_for(producer.send(detections.batch(PACE_ROWS / PACE_BATCHES)?).await?, due);
        acks.record(acked)?;
    }
    acks.record_all(acked).await
}

pub async fn run(bench: &Bench) -> Result<Report> {
    let store = Store::start(bench)?;
    let endpoint = format!("http://127.0.0.1:{}", store.port);
    let settings = [("storage.url", "s3://bench/tables"), ("storage.endpoint", endpoint.as_str())];
    let variables = [("AWS_ACCESS_KEY_ID", "bench"), ("AWS_SECRET_ACCESS_KEY", "bench")];
    let server = bench.server_with(&settings, &variables)?;
    let client = Client::connect(&server.grpc).await?;
    client.execute_update(&CREATE.replace(" WITH (", &format!(" WITH ({BUILDS}"))).await?;
    let mut producer = client.producer("detections", "load").await?;
    let mut detections = Detections::new(Shape::Thin)?;
    let (mut there, mut away) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    let length = (Duration::from_secs(bench.seconds) / (2 * ROUNDS as u32)).max(LEAST_PHASE);
    for _ in 0..ROUNDS {
        phase(&mut producer, &mut detections, length, &mut there).await?;
        store.signal(Signal::STOP)?;
        phase(&mut producer, &mut detections, length, &mut away).await?;
        let n_not_done = number(&client, NOT_DONE).await?;
        ensure!(n_not_done > 0.0, "nothing asked for the store while it was away");
        store.signal(Signal::CONT)?;
    }
    let mut report = Report::default();
    let rows = (there.len() + away.len()) * (PACE_ROWS / PACE_BATCHES) as u64;
    report.figure("rows", rows);
    let unpublished = number(&client, "SELECT built_rows FROM system.tables WHERE name = 'detections'").await?;
    report.figure("built_rows_at_the_end_of_the_last_absence", unpublished);
    call(&client, "CALL seal('detections')").await?;
    let sealed = number(&client, "SELECT sealed_rows FROM system.tables WHERE name = 'detections'").await?;
    ensure!(sealed == rows as f64, "{sealed} of {rows} rows are in the store");
    let (there, away) = (Quantiles::of(&there), Quantiles::of(&away));
    report.marked("ack_p99_away_to_there", away.p99_ms / there.p99_ms, Bound::AtMost, MARK);
    report.figure("ack_there", there);
    report.figure("ack_away", away);
    peak(&server, &client, &mut report).await?;
    server.stop()?;
    Ok(report)
}

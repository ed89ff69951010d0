//! What do keys cost while they become more? Memory at its highest, and the CPU time of builds beside the rows that are built.

use std::collections::BTreeMap;

use anyhow::Result;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use tidewater_client::Client;
use tokio::sync::watch;

use crate::report::{Bound, Report};
use crate::server::{CpuByThread, Server};
use crate::workloads::number;

/// A build late in the table's life beside an early one.
const MARK_GROWTH: f64 = 1.3;
/// Fewer builds than this have no thirds.
const MIN_BUILDS: usize = 6;

const KEYS_BYTES: &str = "SELECT max(value) FROM system.metrics \
                          WHERE name = 'tidewater_memory_used_bytes' AND labels = '{\"share\":\"keys\"}'";
const SETTLED_ROWS: &str = "SELECT coalesce(sum(built_rows + sealed_rows), 0) FROM system.tables";
const BUILDS: &str = "SELECT id, CAST(ended_at AS BIGINT) - CAST(started_at AS BIGINT) FROM system.jobs \
                      WHERE kind = 'build' AND state = 'done'";

/// How far the tables had come, and what their threads had cost.
struct Point {
    settled_rows: f64,
    cpu_s: CpuByThread,
}

/// Over all processes of a workload.
pub struct Costs {
    threads: watch::Receiver<CpuByThread>,
    /// Of processes that ended.
    before: CpuByThread,
    n_processes: usize,
    /// One for each time that more rows were settled.
    points: Vec<Point>,
    /// Seconds that each build took, by its process and number.
    builds_s: BTreeMap<(usize, i64), f64>,
    keys_peak_bytes: f64,
}

impl Costs {
    pub fn of(server: &Server) -> Self {
        Self {
            threads: server.watch_threads(),
            before: CpuByThread::new(),
            n_processes: 1,
            points: vec![Point { settled_rows: 0.0, cpu_s: CpuByThread::new() }],
            builds_s: BTreeMap::new(),
            keys_peak_bytes: 0.0,
        }
    }

    /// Another process goes on.
    pub fn go_on(&mut self, server: &Server) {
        self.before = self.cpu_s();
        self.threads = server.watch_threads();
        self.n_processes += 1;
    }

    fn cpu_s(&self) -> CpuByThread {
        let mut sum = self.before.clone();
        for (name, cpu_s) in self.threads.borrow().iter() {
            *sum.entry(name.clone()).or_default() += cpu_s;
        }
        sum
    }

    pub async fn sample(&mut self, client: &Client) -> Result<()> {
        self.keys_peak_bytes = self.keys_peak_bytes.max(number(client, KEYS_BYTES).await?);
        let settled_rows = number(client, SETTLED_ROWS).await?;
        if self.points.last().is_none_or(|last| settled_rows > last.settled_rows) {
            self.points.push(Point { settled_rows, cpu_s: self.cpu_s() });
        }
        let rows: Vec<_> = client.sql(BUILDS).await?.try_collect().await?;
        for batch in &rows {
            let (ids, us) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_primitive::<Int64Type>());
            for (id, us) in ids.values().iter().zip(us.values()) {
                self.builds_s.insert((self.n_processes, *id), *us as f64 / 1e6);
            }
        }
        Ok(())
    }

    /// CPU seconds of threads of this name for a million settled rows: in the first third of them, and in the last.
    fn thirds(&self, name: &str) -> Option<(f64, f64)> {
        let last = self.points.last()?;
        let begin = self.points.first()?;
        let early = self.points.iter().find(|point| point.settled_rows >= last.settled_rows / 3.0)?;
        let late = self.points.iter().rev().find(|point| point.settled_rows <= last.settled_rows / 3.0 * 2.0)?;
        let between = |from: &Point, to: &Point| {
            let cpu_s = |point: &Point| point.cpu_s.get(name).copied().unwrap_or_default();
            (cpu_s(to) - cpu_s(from)) / (to.settled_rows - from.settled_rows) * 1e6
        };
        (self.builds_s.len() >= MIN_BUILDS).then(|| (between(begin, early), between(late, last)))
    }

    pub fn report(&self, keys_limit_bytes: u64, report: &mut Report) {
        report.marked("key_memory_peak_bytes", self.keys_peak_bytes, Bound::AtMost, keys_limit_bytes as f64);
        report.figure("server_cpu_s_by_thread", self.cpu_s());
        report.figure("builds", self.builds_s.len());
        report.figure("build_wall_s", self.builds_s.values().collect::<Vec<_>>());
        // Layers that are merged and written to disk are counted by themselves: they are fewer and larger, so a third may have none.
        for name in ["build", "keys"] {
            let Some((early, late)) = self.thirds(name) else { continue };
            report.figure(&format!("{name}_cpu_s_per_million_rows_first_third"), early);
            report.figure(&format!("{name}_cpu_s_per_million_rows_last_third"), late);
            if name == "build" {
                report.marked("build_cost_last_to_first_third", late / early, Bound::AtMost, MARK_GROWTH);
            }
        }
    }
}

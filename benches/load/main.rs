//! What does one server take and answer, how soon, and at what cost? One server and one JSON object a workload.
//!
//! The server is the release binary, started here with a folder of its own, so that its CPU time, memory and writes can be read from
//! outside. Every figure stands beside the same run's yardsticks, taken before and after: machines are shared, so ratios count. A mark
//! that is missed is said in the report; memory past the server's limit, or a wrong answer, is an error.

mod places;
mod report;
mod rows;
mod server;
mod workloads;
mod yardsticks;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use tidewater_storage::env::prefer_latency;
use tokio::runtime::Builder;

use crate::workloads::{Bench, Workload};
use crate::yardsticks::Yardsticks;

/// The server's, because DataFusion runs here beside it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Parser)]
#[command(about = "Load a Tidewater server and report figures as JSON, a line for each workload")]
struct Arguments {
    /// The server's binary; beside this program by default.
    #[arg(long)]
    bin: Option<PathBuf>,
    /// Where the servers' folders are made and removed again; on the disk that is to be measured.
    #[arg(long, default_value = ".")]
    data: PathBuf,
    /// All of them by default.
    #[arg(long, value_enum)]
    workload: Vec<Workload>,
    /// Seconds of each paced workload.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Rows of a workload that has no pace; each has a default of its own.
    #[arg(long)]
    rows: Option<usize>,
    /// `memory.limit` of the servers; their own default otherwise.
    #[arg(long)]
    memory_limit: Option<String>,
    /// A Python that has `duckdb`, for the workloads that ask it too; without one they say that it was not asked.
    #[arg(long, env = "TIDEWATER_BENCH_PYTHON")]
    python: Option<PathBuf>,
}

fn main() -> Result<()> {
    let mut threads = Builder::new_multi_thread();
    // A producer that is measured has a machine of its own in life.
    threads.worker_threads(2).on_thread_start(prefer_latency).enable_all();
    threads.build()?.block_on(load())
}

async fn load() -> Result<()> {
    let arguments = Arguments::parse();
    let bin = match arguments.bin {
        Some(bin) => bin,
        None => std::env::current_exe()?.with_file_name("tidewater"),
    };
    let chosen = if arguments.workload.is_empty() { Workload::value_variants() } else { &arguments.workload };
    for workload in chosen {
        let folder = tempfile::Builder::new()
            .prefix("tidewater-load-")
            .tempdir_in(&arguments.data)
            .with_context(|| format!("cannot make a folder in {}", arguments.data.display()))?;
        let bench = Bench {
            bin: bin.clone(),
            folder: folder.path().to_owned(),
            seconds: arguments.seconds,
            rows: arguments.rows,
            memory_limit: arguments.memory_limit.clone(),
            python: arguments.python.clone(),
        };
        let before = Yardsticks::measure(folder.path())?;
        let report = workloads::run(*workload, &bench).await?;
        let after = Yardsticks::measure(folder.path())?;
        let name = workload.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        report.print(&name, (&before, &after));
    }
    Ok(())
}

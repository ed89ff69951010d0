//! How much does one server take, how soon is it acknowledged and visible? One server and one JSON object a workload.
//!
//! The server is the release binary, started here with a folder of its own, so that its CPU time and memory can be read from outside.
//! Every figure stands beside the same run's yardsticks, taken before and after: machines are shared, so ratios count. A mark that is
//! missed is said in the report; memory past the server's limit, or a wrong number of rows, is an error.

mod report;
mod rows;
mod server;
mod workloads;
mod yardsticks;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};

use crate::rows::Shape;
use crate::server::Server;
use crate::yardsticks::Yardsticks;

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
    /// Rows of the throughput workload.
    #[arg(long, default_value_t = 10_000_000)]
    rows: usize,
    /// `memory.limit` of the servers; their own default otherwise.
    #[arg(long)]
    memory_limit: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// 10,000-row batches as fast as they are taken.
    Throughput,
    /// 10,000 rows a second.
    Paced,
    /// The same with names of 5,000 bytes, of which there are 20,000.
    FatRepeated,
    /// The same with names of 5,000 bytes, no two alike.
    FatUnique,
}

const ALL: [Workload; 4] = [Workload::Throughput, Workload::Paced, Workload::FatRepeated, Workload::FatUnique];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let bin = match &arguments.bin {
        Some(bin) => bin.clone(),
        None => std::env::current_exe()?.with_file_name("tidewater"),
    };
    let chosen = if arguments.workload.is_empty() { &ALL[..] } else { &arguments.workload };
    for workload in chosen {
        let folder = tempfile::Builder::new()
            .prefix("tidewater-load-")
            .tempdir_in(&arguments.data)
            .with_context(|| format!("cannot make a folder in {}", arguments.data.display()))?;
        let before = Yardsticks::measure(folder.path())?;
        let server = Server::start(&bin, &folder.path().join("server"), arguments.memory_limit.as_deref())?;
        let outcome = match workload {
            Workload::Throughput => workloads::throughput(&server, arguments.rows).await?,
            Workload::Paced => workloads::paced(&server, arguments.seconds, Shape::Thin).await?,
            Workload::FatRepeated => workloads::paced(&server, arguments.seconds, Shape::FatRepeated).await?,
            Workload::FatUnique => workloads::paced(&server, arguments.seconds, Shape::FatUnique).await?,
        };
        let peak = server.usage()?.rss_peak_bytes;
        server.stop()?;
        let after = Yardsticks::measure(folder.path())?;
        let name = workload.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        report::print(&name, &outcome, (&before, &after), peak);
        ensure!(peak <= outcome.memory_limit, "the server held {peak} bytes, its limit is {}", outcome.memory_limit);
    }
    Ok(())
}

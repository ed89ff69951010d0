//! How much does one server take, how soon is it acknowledged and visible? One workload a run, one JSON object a workload.
//!
//! The server is the release binary, started here with a folder of its own, so that its CPU time and memory can be read from outside.
//! Every figure stands beside the same run's yardsticks: machines are shared, so ratios count.

mod rows;
mod server;
mod workloads;
mod yardsticks;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Parser;
use serde_json::json;

use crate::server::Server;

#[derive(Parser)]
#[command(about = "Load a Tidewater server and report figures as JSON")]
struct Arguments {
    /// The server's binary; beside this program by default.
    #[arg(long)]
    bin: Option<PathBuf>,
    /// Folder for the data; on the disk that is to be measured.
    #[arg(long, default_value = "load-data")]
    data: PathBuf,
    /// throughput, paced, fat, or all.
    #[arg(long, default_value = "all")]
    workload: String,
    /// Seconds of each paced workload.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Rows of the throughput workload.
    #[arg(long, default_value_t = 10_000_000)]
    rows: usize,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let bin = match &arguments.bin {
        Some(bin) => bin.clone(),
        None => std::env::current_exe()?.with_file_name("tidewater"),
    };
    let names: Vec<&str> = match arguments.workload.as_str() {
        "all" => vec!["throughput", "paced", "fat"],
        name @ ("throughput" | "paced" | "fat") => vec![name],
        other => bail!("'{other}' is not a workload: throughput, paced, fat, all"),
    };
    for name in names {
        let folder = arguments.data.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        let yardsticks = yardsticks::measure(&folder)?;
        let server = Server::start(&bin, &folder.join("server"))?;
        let report = match name {
            "throughput" => workloads::throughput(&server, arguments.rows).await?,
            "paced" => workloads::paced(&server, arguments.seconds, rows::Shape::Thin).await?,
            _ => workloads::paced(&server, arguments.seconds, rows::Shape::Fat).await?,
        };
        let usage = server.usage()?;
        server.stop()?;
        let line = json!({
            "workload": name, "yardsticks": yardsticks, "report": report,
            "server": { "cpu_s": usage.cpu_s, "rss_peak_bytes": usage.rss_peak_bytes },
        });
        #[expect(clippy::print_stdout, reason = "the report is this program's output")]
        {
            println!("{line}");
        }
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

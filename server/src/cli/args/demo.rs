//! What can be written behind `demo`?

use std::path::PathBuf;

use clap::Args;

use super::name_and_value;
use crate::cli::demo::Shape;

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End after so many seconds [default: at Ctrl-C on a terminal, else 45]
    #[arg(long, value_name = "N", env = "DEMO_SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub seconds: Option<u64>,
    /// Rows a second
    #[arg(long, value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
    /// How long the names of items are
    #[arg(long, value_enum, env = "DEMO_ROWS", default_value = "thin")]
    pub rows: Shape,
    /// The same seed makes the same rows, but for the times at which they are sent
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Data folder, which stays [default: a temporary one, which does not]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address of Flight SQL and gRPC [default: 127.0.0.1:8815, or a free port]
    #[arg(long, value_name = "IP:PORT")]
    pub grpc: Option<String>,
    /// Address of HTTP [default: 127.0.0.1:8080, or a free port]
    #[arg(long, value_name = "IP:PORT")]
    pub http: Option<String>,
    /// Any setting of the server, such as memory.limit='2 GiB'; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub set: Vec<(String, String)>,
}

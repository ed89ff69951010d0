//! Does a server answer DataFusion's sqllogictest files over Flight SQL as they say? One JSON line for each record that counts.
//!
//! `tidewater-slt --server URL --files DIR` runs the files of a folder one after the other on one server, whose tables it drops between
//! them: the server is to be one of its own. It ends with 1 if a record failed that is not in the skip list, or passed although it is.

mod all;
mod cells;
mod database;
mod files;
mod instants;
mod outcome;
mod reasons;
mod refusals;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::files::Part;

#[derive(Parser)]
struct Options {
    /// Where the server listens, such as http://127.0.0.1:8815.
    #[arg(long)]
    server: String,
    #[arg(long, default_value = "admin")]
    user: String,
    #[arg(long, default_value = "")]
    password: String,
    /// The folder `test_files` of crate datafusion-sqllogictest.
    #[arg(long)]
    files: PathBuf,
    /// Records that are known not to pass, and why: file, place, reason and note, with tabs between them.
    #[arg(long)]
    skips: Option<PathBuf>,
    /// What is refused by design where a file expects another error: the error's name, what was asked and a note.
    #[arg(long)]
    refusals: Option<PathBuf>,
    /// Tables that the files expect to be there.
    #[arg(long)]
    fixtures: Option<PathBuf>,
    /// Only files whose paths begin so; may be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// Every n-th file: `0/2` or `1/2`.
    #[arg(long, default_value = "0/1")]
    part: Part,
    /// Writes the failed records into a skip list, with the reasons that the rules give. A record that no rule fits gets no line.
    #[arg(long, num_args = 2, value_names = ["RULES", "OUT"])]
    write_skips: Vec<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(if runtime.block_on(all::run(options))? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

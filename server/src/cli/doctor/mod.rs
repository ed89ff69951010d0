//! Is this machine fit for a server, and is the server well? Checks that end in something to do, or in `ok`.

mod certificate;
mod disk;
mod machine;
mod report;
mod server;
mod store;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use crate::cli::args::{DoctorArgs, Remote};
use crate::cli::serve::variables;
use crate::config::{Config, FileSource, Sources};

use report::Finding;

/// Prints the findings, and fails if one of them is a failure.
pub(super) async fn run(server: &Remote, args: DoctorArgs) -> anyhow::Result<()> {
    let format = args.format;
    let mut findings = Vec::new();
    let named = args.data.clone();
    match load(args) {
        Ok(config) => {
            let file = config.file.as_ref().map_or("no file".to_owned(), |file| file.display().to_string());
            findings.push(Finding::ok("configuration", file));
            findings.extend(machine::memory(config.memory_limit_bytes));
            findings.extend(of_disk(config.data.clone(), config.min_free_bytes).await?);
            findings.extend(store::check(&config.tables).await);
            findings.extend(config.tls.map(|files| certificate::check(files, machine::now_us())));
        }
        Err(error) => {
            findings.push(Finding::fail("configuration", error.to_string(), "mend it: no server starts with it"));
            if let Some(data) = named {
                findings.extend(of_disk(data, tidewater_storage::limits::MIN_FREE_BYTES).await?);
            }
        }
    }
    findings.push(machine::open_files());
    findings.extend(server::check(server).await);
    let printed = report::print(&findings, format);
    let n_failed = findings.iter().filter(|finding| finding.is_failure()).count();
    // Whether or not somebody read all of them.
    anyhow::ensure!(n_failed == 0, "checks that failed: {n_failed}");
    printed
}

/// The configuration that a server would have here.
fn load(args: DoctorArgs) -> anyhow::Result<Config> {
    let mut flags = args.settings.set;
    if let Some(data) = args.data {
        flags.push(("server.data".to_owned(), data.to_string_lossy().into_owned()));
    }
    let file = args.settings.config.map_or(FileSource::Usual, FileSource::Named);
    Ok(Config::load(Sources { flags, env: variables()?, file })?)
}

/// It writes and syncs, so it is done where waiting is allowed.
async fn of_disk(data: PathBuf, min_free_bytes: u64) -> anyhow::Result<Vec<Finding>> {
    Ok(tokio::task::spawn_blocking(move || disk::check(&data, min_free_bytes)).await?)
}

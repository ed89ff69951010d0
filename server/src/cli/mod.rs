//! What does the command line do? One binary, many verbs; data to standard output, everything else to standard error.
//! `docs/cli.md` is the contract.

mod args;
mod config;
pub mod ingest;
mod serve;
pub mod sql;
mod table;
mod terminal;

#[cfg(test)]
mod tests;

use anyhow::Context;
use tidewater_client::Client;
use tidewater_storage::{Code, Error};

pub use args::{Cli, Command};

use terminal::say;

/// The exit status of each kind of failure; the numbers are those of sysexits.h where it has one.
pub mod exit {
    pub const SUCCESS: u8 = 0;
    pub const FAILED: u8 = 1;
    pub const BAD_CONFIG: u8 = 64;
    /// A port or the folder's lock is taken.
    pub const TAKEN: u8 = 73;
    /// The log cannot be read, written or synced.
    pub const LOG: u8 = 74;
    /// Data is damaged or of an unknown version: refused.
    pub const DATA_REFUSED: u8 = 75;
}

/// Runs a parsed command line and returns the exit status. Errors are one line on standard error.
pub async fn run(cli: Cli) -> u8 {
    let outcome = match cli.command {
        Command::Serve(args) => serve::run(args).await,
        Command::Sql(args) => sql::run(&cli.server, args).await,
        Command::Ingest(args) => ingest::run(&cli.server, args).await,
        Command::Table(args) => table::run(&cli.server, args).await,
        Command::Health => health(&cli.server).await,
        Command::Config(args) => config::run(args),
    };
    match outcome {
        Ok(()) => exit::SUCCESS,
        Err(error) if terminal::is_broken_pipe(&error) => exit::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            exit_code(&error)
        }
    }
}

/// Says why nothing could even begin.
pub fn fail(message: &str) -> u8 {
    say(&format!("error: {message}"));
    exit::FAILED
}

/// The exit status of an error.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Error>().map(Error::code) {
        Some(Code::InvalidConfig) => exit::BAD_CONFIG,
        Some(Code::PortInUse | Code::FolderLocked) => exit::TAKEN,
        Some(Code::LogUnavailable | Code::FolderUnusable | Code::DiskFull) => exit::LOG,
        Some(Code::LogDamaged | Code::LogUnknownVersion | Code::LogBehind) => exit::DATA_REFUSED,
        _ => exit::FAILED,
    }
}

async fn connect(server: &str) -> anyhow::Result<Client> {
    Client::connect(server).await.with_context(|| format!("no server at {server} (is 'tidewater serve' running?)"))
}

/// For containers: succeeds if the server takes requests.
async fn health(server: &str) -> anyhow::Result<()> {
    connect(server).await?.health().await?;
    terminal::print("ok\n")
}

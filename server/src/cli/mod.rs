//! What does the command line do? One binary, many verbs; data to standard output, everything else to standard error.
//! `docs/cli.md` is the contract.

mod access;
mod args;
mod config;
pub mod demo;
mod doctor;
pub mod ingest;
mod serve;
pub mod sql;
mod table;
mod terminal;

#[cfg(test)]
mod tests;

use tidewater_client::Client;
use tidewater_storage::{Code, Error};

pub use args::{Cli, Command, Remote};

use terminal::{print, say};

/// The exit status of each kind of failure; the numbers are those of sysexits.h where it has one.
pub mod exit {
    pub const SUCCESS: u8 = 0;
    pub const FAILED: u8 = 1;
    /// Words that nothing can be done with; clap's own status.
    pub const USAGE: u8 = 2;
    pub const BAD_CONFIG: u8 = 64;
    /// A port or the folder's lock is taken.
    pub const TAKEN: u8 = 73;
    /// The log cannot be read, written or synced.
    pub const LOG: u8 = 74;
    /// Data is damaged or of an unknown version: refused. A check of tables found something.
    pub const DATA_REFUSED: u8 = 75;
    /// Ctrl-C or SIGTERM, as shells have it.
    pub const INTERRUPTED: u8 = 130;
}

/// What was written on the command line cannot be done, whatever the server says.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub String);

/// Somebody stopped it.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; {0}")]
pub(crate) struct Interrupted(pub String);

/// A check of tables found something.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ChecksFailed(pub String);

/// Runs a parsed command line and returns the exit status. Errors are one line on standard error.
pub async fn run(cli: Cli) -> u8 {
    let outcome = match cli.command {
        Command::Demo(args) => demo::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Sql(args) => sql::run(&cli.server, args).await,
        Command::Ingest(args) => ingest::run(&cli.server, args).await,
        Command::Table(args) => table::run(&cli.server, args).await,
        Command::Segment(args) => table::segments(&cli.server, args).await,
        Command::Producer(args) => table::producers(&cli.server, args).await,
        Command::Query(args) => table::queries(&cli.server, args).await,
        Command::Events(args) => table::events(&cli.server, args).await,
        Command::User(args) => access::users(&cli.server, args).await,
        Command::Token(args) => access::tokens(&cli.server, args).await,
        Command::Verify(args) => table::verify(&cli.server, args).await,
        Command::Doctor(args) => doctor::run(&cli.server, args).await,
        Command::Health => health(&cli.server).await,
        Command::Config(args) => config::run(args),
        Command::Completions(args) => print(&args.script()),
    };
    match outcome {
        Ok(()) => exit::SUCCESS,
        Err(error) if terminal::is_broken_pipe(&error) => exit::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}{}", advice(&error, &cli.server)));
            exit_code(&error)
        }
    }
}

/// Says why nothing could even begin.
pub fn fail(message: &str) -> u8 {
    say(&format!("error: {message}"));
    exit::FAILED
}

/// What to try on the command line where the server cannot say it: it closed the connection without a word, as one with TLS does when it
/// is spoken to without, or it speaks of headers.
fn advice(error: &anyhow::Error, server: &Remote) -> &'static str {
    let Some(error) = error.downcast_ref::<tidewater_client::Error>() else { return "" };
    let is_plain = !server.address.starts_with("https:");
    match error.message() {
        // How the end of a connection is told depends on how far the request had come.
        "operation was canceled" | "h2 protocol error: http2 error" | "transport error"
            if is_plain && error.reason().is_empty() =>
        {
            "; the server closed the connection: if it speaks TLS, name it https://HOST:PORT"
        }
        text if text.contains("invalid compression flag") && error.reason().is_empty() => {
            "; what answers there is no gRPC: name the port of gRPC, usually 8815, not that of HTTP"
        }
        text if text.contains("send an Authorization header") => "; here: --user NAME, or a token in TIDEWATER_TOKEN",
        _ => "",
    }
}

/// The exit status of an error.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>() {
        return exit::USAGE;
    }
    if error.is::<Interrupted>() {
        return exit::INTERRUPTED;
    }
    if error.is::<ChecksFailed>() {
        return exit::DATA_REFUSED;
    }
    match error.downcast_ref::<Error>().map(Error::code) {
        Some(Code::InvalidConfig | Code::StoreChanged) => exit::BAD_CONFIG,
        Some(Code::PortInUse | Code::FolderLocked) => exit::TAKEN,
        Some(Code::LogUnavailable | Code::FolderUnusable | Code::DiskFull) => exit::LOG,
        Some(Code::LogDamaged | Code::LogUnknownVersion | Code::LogBehind) => exit::DATA_REFUSED,
        _ => exit::FAILED,
    }
}

async fn connect(server: &Remote) -> anyhow::Result<Client> {
    Client::connect_with(&server.address, server.options()?).await.map_err(|error| {
        let hint = match error.message() {
            text if ["UnknownIssuer", "BadSignature", "native certs"].iter().any(|reason| text.contains(reason)) => {
                "name the file of its certificate, or of who issued it, with --ca"
            }
            text if text.contains("CaUsedAsEndEntity") => {
                "its certificate is one for issuing others: make one with basicConstraints=critical,CA:FALSE"
            }
            text if text.contains("invalid peer certificate") => {
                "have its certificate issued anew, for the name used here"
            }
            text if text.contains("InvalidContentType") => "it speaks no TLS: leave out https://",
            _ => "is 'tidewater serve' running?",
        };
        anyhow::Error::from(error).context(format!("no server at {server} ({hint})"))
    })
}

/// For containers: succeeds if the server takes requests.
async fn health(server: &Remote) -> anyhow::Result<()> {
    connect(server).await?.health().await?;
    terminal::print("ok\n")
}

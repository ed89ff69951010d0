//! What does Tidewater do, live? A stream of detections with its oracle, a server in this process, and checks of all that was sent.
//!
//! ```text
//! items ── stream ── oracle      which rows, and what must be there (pure)
//!    └───── table                as the server has them
//! feed, watch ── figures ── view   who sends and asks meanwhile, and what is seen of it
//! ask ── audit                   what the server answers, beside the oracle
//! play                           all of it, from the start of the server to its end
//! ```

mod items;
mod oracle;
mod stream;
mod table;

mod ask;
mod audit;
mod feed;
mod figures;
mod play;
mod view;
mod watch;

#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File};
use std::io::IsTerminal;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

pub use audit::{Check, audit_ledger, audit_rows, audit_sealed};
pub use items::{FAT_BYTES, Items, N_ITEMS, Shape};
pub use oracle::{KEPT_S, Oracle, Sent, Window};
pub use play::{Demo, Outcome, Show, play};
pub use stream::{Kind, N_LOCATIONS, Row, Stream};
pub use table::{CAMERA, ITEM, KEY, LOCATION, TABLE, TIME, batch, create};
pub use watch::SEAL_INTERVAL;

use super::args::DemoArgs;
use super::serve::raise_file_limit;
use super::terminal::{Hangup, print, say};
use super::{Interrupted, exit, exit_code};
use crate::events::EventLayer;

/// How long a demo runs where nobody can end it: so long that duplicates of rows come that were sealed meanwhile.
const UNATTENDED_S: u64 = 45;

const LOG_FILE: &str = "demo.log";

/// How often the folder of a server that was not waited for is tried to be removed.
const REMOVALS: usize = 100;

pub(super) async fn run(args: DemoArgs) -> Result<()> {
    let is_terminal = std::io::stdout().is_terminal();
    let can_draw = is_terminal && std::env::var_os("TERM").is_some_and(|kind| kind != "dumb");
    let mut folder = Folder::open(args.data)?;
    let log = folder.path.join(LOG_FILE);
    start_logging(&log)?;
    raise_file_limit();
    let demo = Demo {
        data: folder.path.clone(),
        grpc: args.grpc,
        http: args.http,
        settings: args.set,
        seconds: args.seconds.or((!is_terminal).then_some(UNATTENDED_S)),
        seal_interval: SEAL_INTERVAL,
        rate: args.rate,
        rows: args.rows,
        seed: args.seed,
    };
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let signals = Signals::new()?;
    tokio::spawn(signals.pass_on(first.clone(), second.clone()));
    let show = if can_draw { Show::Live } else { Show::Lines };
    let outcome = tokio::select! {
        outcome = play(&demo, show, &first) => outcome,
        () = second.cancelled() => Err(Interrupted("nothing was checked".to_owned()).into()),
    };
    match outcome {
        Ok(outcome) => {
            let n_differ = outcome.differences().len();
            if n_differ > 0 {
                folder.keep();
                say(&outcome.to_string());
                bail!("answers of the server that are not what was sent: {n_differ}; its log: {}", log.display());
            }
            print(&outcome.to_string())
        }
        Err(error) if needs_no_log(&error) => Err(error),
        Err(error) => {
            folder.keep();
            say(&format!("the server's log: {}", log.display()));
            Err(error)
        }
    }
}

/// Whoever sees the error knows what it was: somebody stopped it, a wrong flag, a taken port, a full disk. Nothing is kept for that, least
/// of all on a full disk.
fn needs_no_log(error: &anyhow::Error) -> bool {
    let is_full = error.downcast_ref::<tidewater_client::Error>().is_some_and(|error| error.reason() == "DISK_FULL");
    is_full || matches!(exit_code(error), exit::INTERRUPTED | exit::USAGE | exit::BAD_CONFIG | exit::TAKEN)
}

/// The data folder: one that was named, or one that goes when the demo is over.
struct Folder {
    path: PathBuf,
    is_temporary: bool,
}

impl Folder {
    fn open(named: Option<PathBuf>) -> Result<Self> {
        if let Some(path) = named {
            // Of a demo that could not begin there is a log.
            tidewater_storage::check_data_folder(&path, &[LOG_FILE])?;
            std::fs::create_dir_all(&path).with_context(|| format!("{} cannot be made", path.display()))?;
            return Ok(Self { path, is_temporary: false });
        }
        let parent = std::env::temp_dir();
        let process = std::process::id();
        // A folder that is there is somebody else's, or was kept by a process that had our number.
        for n in 0..100 {
            let path = parent.join(format!("tidewater-demo-{process}-{n}"));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path, is_temporary: true }),
                Err(reason) if reason.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(reason) => {
                    let message = format!("{} cannot be made; name a folder with --data", path.display());
                    return Err(reason).context(message);
                }
            }
        }
        bail!("no folder can be made in {}; name one with --data", parent.display())
    }

    /// The folder stays, for whoever looks for what went wrong.
    fn keep(&mut self) {
        self.is_temporary = false;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(reason) = remove(&self.path)
        {
            say(&format!("{} cannot be removed: {reason}", self.path.display()));
        }
    }
}

/// A server that was not waited for may still put files where others were just removed.
fn remove(folder: &Path) -> std::io::Result<()> {
    for _ in 1..REMOVALS {
        match std::fs::remove_dir_all(folder) {
            Err(reason) if reason.kind() == std::io::ErrorKind::DirectoryNotEmpty => {}
            removed => return removed,
        }
    }
    std::fs::remove_dir_all(folder)
}

/// To a file: lines on the terminal would tear what is drawn there.
fn start_logging(path: &Path) -> Result<()> {
    let file = File::options().create(true).append(true).open(path);
    let file = file.with_context(|| format!("{} cannot be written", path.display()))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(Mutex::new(file)).with_ansi(false);
    let subscriber = tracing_subscriber::registry()
        .with(lines.with_filter(EnvFilter::new("info")))
        .with(EventLayer::new().with_filter(LevelFilter::INFO));
    subscriber.try_init().context("logging cannot be set up")
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Hangup,
}

impl Signals {
    fn new() -> Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, hangup: Hangup::new()? })
    }

    /// The first signal ends the stream, which is then checked; the second ends everything.
    async fn pass_on(mut self, first: CancellationToken, second: CancellationToken) {
        for token in [first, second] {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
                () = self.hangup.recv() => {}
            }
            token.cancel();
        }
    }
}

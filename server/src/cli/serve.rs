//! How does a server process run? Configure, start, wait for the end, stop in order.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tidewater_storage::env::{Env, SystemClock};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, filter::LevelFilter};

use super::args::ServeArgs;
use super::terminal::{print, say};
use crate::config::{Config, FileSource, LogFormat, Sources};
use crate::events::EventLayer;
use crate::{Running, Server};

/// How long requests may take to end after the signal. Below the 30 s after which Kubernetes kills.
const GRACE: Duration = Duration::from_secs(20);

/// Arms fail points, in debug builds only: `log.before_sync=kill:3`.
const FAIL_POINTS_VARIABLE: &str = "TIDEWATER_FAIL_POINTS";

/// How many seconds the wall clock and the uptime are ahead, in debug builds only. What `system.events` says is by the machine's clock.
const CLOCK_AHEAD_VARIABLE: &str = "TIDEWATER_CLOCK_AHEAD_S";

/// File handles that are wanted: connections of both ports and the log's files.
const WANTED_FILES: u64 = 65_536;

pub(super) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let config = Config::load(sources(args))?;
    start_logging(&config);
    raise_file_limit();
    // Before the start, so that a signal during a long replay is not lost; the default would end us without order.
    let mut signals =
        Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
    let env = environment()?;
    let mut running = tokio::select! {
        running = Server::start_in(config.clone(), env) => running?,
        // Nobody was acknowledged anything yet, and replay changes nothing.
        () = signals.next() => return Ok(()),
    };
    announce(&config, &running)?;
    let broken = tokio::select! {
        () = signals.next() => None,
        error = running.broken() => Some(error),
    };
    tracing::info!(grace_s = GRACE.as_secs(), "shutting down");
    let stopped = tokio::select! {
        stopped = running.shutdown(GRACE) => stopped,
        // Acknowledged rows are safe all the same: they are synced before they are acknowledged.
        () = signals.next() => return Err(anyhow::anyhow!("a second signal: stopped without waiting for requests")),
    };
    stopped?;
    tracing::info!("stopped");
    broken.map_or(Ok(()), |error| Err(error.into()))
}

fn sources(args: ServeArgs) -> Sources {
    let mut flags = args.settings.set;
    let data = args.data.map(|path| path.to_string_lossy().into_owned());
    let named = [("server.data", data), ("server.grpc", args.grpc), ("server.http", args.http)];
    flags.extend(named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    if args.accept_data_loss {
        flags.push(("storage.accept_data_loss".to_owned(), "true".to_owned()));
    }
    Sources { flags, env: variables(), file: args.settings.config.map_or(FileSource::Usual, FileSource::Named) }
}

/// The environment as text; what is not UTF-8 is none of our settings.
pub(super) fn variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn environment() -> anyhow::Result<Env> {
    let mut env = Env::system();
    if !cfg!(debug_assertions) {
        return Ok(env);
    }
    if let Ok(points) = std::env::var(FAIL_POINTS_VARIABLE) {
        env.fail.arm_text(&points)?;
    }
    if let Ok(seconds) = std::env::var(CLOCK_AHEAD_VARIABLE) {
        let ahead_s = seconds
            .parse::<u64>()
            .with_context(|| format!("{CLOCK_AHEAD_VARIABLE} is '{seconds}', no number of seconds"))?;
        env.clock = Arc::new(SystemClock::ahead_by(Duration::from_secs(ahead_s)));
    }
    Ok(env)
}

fn start_logging(config: &Config) {
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let lines = match config.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    // What `system.events` shows does not depend on what is written to the log.
    let subscriber = tracing_subscriber::registry()
        .with(lines.with_filter(EnvFilter::new(&config.log_level)))
        .with(EventLayer::new().with_filter(LevelFilter::INFO));
    if let Err(reason) = subscriber.try_init() {
        say(&format!("warning: logging cannot be set up: {reason}"));
    }
}

/// The usual soft limit of 1,024 is less than the connections we promise.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(WANTED_FILES, |maximum| maximum.min(WANTED_FILES));
    if limit.current.is_some_and(|current| current < wanted)
        && let Err(reason) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
    {
        tracing::warn!(%reason, wanted, "the limit of open files cannot be raised");
    }
}

/// One line for programs on standard output, the rest for people.
fn announce(config: &Config, running: &Running) -> anyhow::Result<()> {
    let file = config.file.as_ref().map_or("none".to_owned(), |file| file.display().to_string());
    for line in &running.recovery().lines {
        tracing::info!("{line}");
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), data = %config.data.display(), config = file, "started");
    tracing::warn!("auth is off: every caller on this machine is admin");
    print(&format!("ready grpc={} http={}\n", running.grpc_addr(), running.http_addr()))
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

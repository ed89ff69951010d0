//! How does a server process run? Configure, start, wait for the end, stop in order.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sd_notify::NotifyState;
use tidewater_storage::env::{Env, SystemClock};
use tidewater_storage::{Code, Error, Result, check_data_folder};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::ServeArgs;
use super::terminal::{print, say};
use crate::auth::Secret;
use crate::config::{Config, ENV_PREFIX, FileSource, Sources};
use crate::{Running, Server, logging};

/// How long requests may take to end after the signal. Below the 30 s after which Kubernetes kills.
const GRACE: Duration = Duration::from_secs(20);

/// Arms fail points, in debug builds only: `log.before_sync=kill:3`.
const FAIL_POINTS_VARIABLE: &str = "TIDEWATER_FAIL_POINTS";

/// How many seconds the wall clock and the uptime are ahead, in debug builds only. What `system.events` says is by the machine's clock.
const CLOCK_AHEAD_VARIABLE: &str = "TIDEWATER_CLOCK_AHEAD_S";

/// File handles that are wanted: connections of both ports and the log's files.
const WANTED_FILES: u64 = 65_536;

pub(super) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let config = Config::load(sources(args)?)?;
    check_data_folder(&config.data, &[])?;
    if let Err(reason) = logging::begin(&config) {
        say(&format!("warning: logging cannot be set up: {reason}"));
    }
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
    tell_manager(NotifyState::Ready);
    let broken = tokio::select! {
        () = signals.next() => None,
        error = running.broken() => Some(error),
    };
    tell_manager(NotifyState::Stopping);
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

fn sources(args: ServeArgs) -> Result<Sources> {
    let mut flags = args.settings.set;
    let data = args.data.map(|path| text_of("--data", path.into_os_string())).transpose()?;
    let named = [("server.data", data), ("server.grpc", args.grpc), ("server.http", args.http)];
    flags.extend(named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    if args.accept_data_loss {
        flags.push(("storage.accept_data_loss".to_owned(), "true".to_owned()));
    }
    let file = args.settings.config.map_or(FileSource::Usual, FileSource::Named);
    Ok(Sources { flags, env: variables()?, file })
}

/// The environment variables that are settings.
pub(super) fn variables() -> Result<Vec<(String, String)>> {
    let ours = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let ours = ours.filter(|(name, _)| name.starts_with(ENV_PREFIX));
    ours.map(|(name, value)| text_of(&name, value).map(|value| (name, value))).collect()
}

/// What is not UTF-8 must be told: cut to what is, it would name another folder.
fn text_of(what: &str, value: OsString) -> Result<String> {
    value.into_string().map_err(|value| {
        Error::new(Code::InvalidConfig, format!("{what} is {value:?}, which is not UTF-8"))
            .hint("use letters that UTF-8 has")
    })
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

/// The usual soft limit of 1,024 is less than the connections we promise.
pub(super) fn raise_file_limit() {
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
    logging::tell_start(config, running);
    print(&format!("ready grpc={} http={}\n", running.grpc_addr(), running.http_addr()))?;
    match running.app().auth.setup_code() {
        Some(code) => announce_setup(config, running, &code),
        None => Ok(()),
    }
}

/// The link for the first user is a secret: not for the log, which is kept, and shown to others.
fn announce_setup(config: &Config, running: &Running, code: &Secret) -> anyhow::Result<()> {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let address = running.http_addr();
    let host = match address.ip().is_unspecified() {
        true => format!("localhost:{}", address.port()),
        false => address.to_string(),
    };
    tracing::warn!(
        "there is no user yet: open the link on standard output and make the first one; it is valid until then"
    );
    print(&format!("setup {scheme}://{host}/setup?code={}\n", code.expose()))
}

/// For systemd and what speaks as it does (`Type=notify`). Without one nothing happens.
fn tell_manager(state: NotifyState<'_>) {
    if let Err(reason) = sd_notify::notify(&[state]) {
        tracing::warn!(%reason, "the service manager cannot be told how the server is");
    }
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

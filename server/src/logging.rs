//! Where do the lines of the log go, and how do they look? Standard error; text for people, JSON for programs. Also: what a server says of
//! itself when it has started.

use std::backtrace::Backtrace;
use std::io::{self, IsTerminal};
use std::panic;

use tidewater_storage::memory::Share;
use tidewater_storage::{Durability, Table};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, filter::LevelFilter};

use crate::Running;
use crate::config::{Config, LogFormat};
use crate::connections::MAX_CONNECTIONS;
use crate::events::EventLayer;
use crate::version::{COMMIT, DISK_FORMAT, VERSION};

/// Begins to write the log of this process, panics of its threads among it. An error if somebody has begun already.
pub fn begin(config: &Config) -> Result<(), TryInitError> {
    let is_terminal = io::stderr().is_terminal();
    let lines = match config.log_format {
        LogFormat::Text => text(io::stderr, is_terminal),
        LogFormat::Auto if is_terminal => text(io::stderr, is_terminal),
        LogFormat::Json | LogFormat::Auto => json(io::stderr),
    };
    // What `system.events` shows does not depend on what is written to the log.
    tracing_subscriber::registry()
        .with(lines.with_filter(EnvFilter::new(&config.log_level)))
        .with(EventLayer::new().with_filter(LevelFilter::INFO))
        .try_init()?;
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tell_panic(&place, panic.payload_as_str().unwrap_or("not a text"));
    }));
    Ok(())
}

/// Where this thread panicked, as an event like any other: the usual hook writes lines of its own, whatever the format. What the panic said
/// may quote a value of a row, so it is for those who ask for debug.
fn tell_panic(place: &str, said: &str) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    tracing::error!(thread, place, "a thread panicked: please report this");
    tracing::debug!(thread, place, said, backtrace = %Backtrace::capture(), "what a panic said");
}

type Lines = Box<dyn Layer<Registry> + Send + Sync>;

fn text<W, F>(writer: F, is_terminal: bool) -> Lines
where
    W: io::Write + 'static,
    F: Fn() -> W + Send + Sync + 'static,
{
    let is_plain = |name: &str, plain: fn(&str) -> bool| std::env::var(name).is_ok_and(|value| plain(&value));
    let wants_none = is_plain("NO_COLOR", |value| !value.is_empty()) || is_plain("TERM", |value| value == "dumb");
    let lines = move || OneLine(writer());
    tracing_subscriber::fmt::layer().with_writer(lines).with_ansi(is_terminal && !wants_none).boxed()
}

/// Writes an event, which comes as a whole, as one line: nobody who has a line break in a name writes lines of their own.
struct OneLine<W>(W);

impl<W: io::Write> io::Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (line, end): (&[u8], &[u8]) = match event.strip_suffix(b"\n") {
            Some(line) => (line, b"\n"),
            None => (event, b""),
        };
        let mut out = Vec::with_capacity(event.len());
        for &byte in line {
            match byte {
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                other => out.push(other),
            }
        }
        out.extend_from_slice(end);
        self.0.write_all(&out)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// An object a line: timestamp, level, target, message, the event's fields, and the request that it belongs to.
fn json<W>(writer: W) -> Lines
where
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt::layer().with_writer(writer).json().flatten_event(true).with_span_list(false).boxed()
}

/// What whoever runs the server wants to see first, a line each: what it is, where it listens, who may come in, what it promises and
/// what bounds it, and what it found in its folder.
pub fn tell_start(config: &Config, running: &Running) {
    let file = config.file.as_ref().map_or("none".to_owned(), |file| file.display().to_string());
    tracing::info!(version = VERSION, commit = COMMIT, disk_format = DISK_FORMAT, data = %config.data.display(), config = file, "started");
    let is_encrypted = config.tls.is_some();
    let grpc = format!("{}://{}", if is_encrypted { "grpc+tls" } else { "grpc" }, running.grpc_addr());
    let http = format!("{}://{}", if is_encrypted { "https" } else { "http" }, running.http_addr());
    tracing::info!(grpc, http, "listening");
    match config.auth_is_on {
        true => tracing::info!("auth is on: callers prove who they are"),
        false => tracing::warn!("auth is off: every caller on this machine is admin"),
    }
    match &config.tls {
        Some(files) => tracing::info!(cert = %files.cert.display(), key = %files.key.display(), "TLS is on"),
        None if config.behind_proxy => tracing::info!("TLS is off here: a proxy in front speaks it"),
        None => tracing::info!("TLS is off"),
    }
    tell_limits(config, running);
    for line in &running.recovery().lines {
        tracing::info!("{line}");
    }
}

fn tell_limits(config: &Config, running: &Running) {
    let storage = &running.app().storage;
    let is_early = |table: &Table| table.def().options.durability == Durability::Os;
    let n_early = storage.tables().iter().filter(|table| is_early(table)).count();
    tracing::info!(
        tables_with_durability_os = n_early,
        "rows are on disk when they are acknowledged, unless a table says durability = 'os'"
    );
    let memory = storage.memory();
    tracing::info!(
        memory_bytes = memory.limit(),
        key_memory_bytes = memory.share(Share::Keys),
        key_disk_bytes = config.key_disk_bytes,
        min_free_bytes = storage.min_free_bytes(),
        max_unpublished_bytes = config.max_unpublished_bytes,
        queries_running = config.query_max_running,
        queries_waiting = config.query_max_waiting,
        query_threads = config.query_threads,
        spill_bytes = config.query_spill_bytes,
        connections = MAX_CONNECTIONS,
        "limits"
    );
}

#[cfg(test)]
mod tests;

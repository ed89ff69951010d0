//! What do the settings' values mean? A checked configuration, or everything that is wrong with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidewater_query::{QueryEngine, SettingRow};
use tidewater_storage::limits::LEAST_MIN_FREE_BYTES;
use tidewater_storage::memory::{MIN_LIMIT_BYTES, max_keys_bytes};
use tidewater_storage::{Result, ScrubOptions, StoreOptions, TokenLimits};

use super::access;
use super::layers::{Resolved, Sources, resolve};
use super::problems::{Problems, invalid};
use super::units::{self, Amount};
use crate::tls::{ClientCertificates, TlsFiles};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    Text,
    Json,
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub data: PathBuf,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    /// Host names beside this machine's own that HTTP requests may use; none: see `server.allowed_hosts`.
    pub allowed_hosts: Vec<String>,
    pub tls: Option<TlsFiles>,
    /// `None`: clients are asked for no certificate.
    pub client_certificates: Option<ClientCertificates>,
    /// A proxy speaks TLS with clients.
    pub behind_proxy: bool,
    /// Of everybody who has none of their own.
    pub limits: TokenLimits,
    pub min_free_bytes: u64,
    pub tables: StoreOptions,
    pub max_unpublished_bytes: u64,
    pub accept_data_loss: bool,
    pub scrub: ScrubOptions,
    /// May be below what storage needs if it is a part of a small machine: storage raises it then, and warns.
    pub memory_limit_bytes: u64,
    /// `None`: storage's own part of the limit.
    pub key_memory_bytes: Option<u64>,
    pub key_disk_bytes: u64,
    pub query_threads: usize,
    pub query_max_running: usize,
    pub query_max_waiting: usize,
    pub query_spill_bytes: u64,
    pub log_level: String,
    pub log_format: LogFormat,
    /// Statements that took so long are logged; `None`: none.
    pub slow_query: Option<Duration>,
    /// Callers prove who they are.
    pub auth_is_on: bool,
    /// Every setting with its value as written, or as it is in force where that differs, and its origin, for `system.settings` and
    /// `config show`.
    pub rows: Vec<SettingRow>,
    /// Where each setting was written: `file tidewater.toml:3:8`, `env TIDEWATER__AUTH`, `flag` or `default`.
    pub places: BTreeMap<&'static str, String>,
    /// The file that was read.
    pub file: Option<PathBuf>,
}

const MEMORY_LIMIT: &str = "memory.limit";
const MIN_FREE: &str = "storage.min_free";

/// Less holds too few keys to be of use.
const MIN_KEY_BYTES: u64 = 1 << 20;

/// One query cannot use more threads than all have together.
const MAX_THREADS: u64 = QueryEngine::MAX_THREADS as u64;

/// Queries beyond the threads share them, so this bounds what they hold, not how many threads there are.
const MAX_QUERIES: u64 = 100_000;

impl Config {
    /// Reads and checks everything. An error is `INVALID_CONFIG` and says all that is wrong, each with its setting and where it was written.
    pub fn load(sources: Sources) -> Result<Self> {
        let mut problems = Problems::default();
        let resolved = resolve(sources, &mut problems);
        let config = Self::read(&resolved, &mut problems);
        problems.outcome(config)
    }

    /// `None` if anything is wrong. Every value is looked at before the first `?`, so that nothing hides behind something else.
    fn read(resolved: &Resolved, problems: &mut Problems) -> Option<Self> {
        let auth_is_on = problems.keep(auth(resolved));
        let data = problems.keep(non_empty(resolved, "server.data").map(PathBuf::from));
        // Parts of a disk are parts of some disk meanwhile: what is wrong with the folder is told once.
        let folder = data.clone().unwrap_or_else(|| PathBuf::from("."));
        let (grpc, http) = ports(resolved, problems);
        let (tls, behind_proxy) =
            (problems.keep(access::tls(resolved)), problems.keep(flag(resolved, "tls.behind_proxy")));
        if let (Some(auth_is_on), Some(tls), Some(behind_proxy)) = (auth_is_on, &tls, behind_proxy) {
            let ports = [("server.grpc", grpc), ("server.http", http)];
            let ports = ports.into_iter().filter_map(|(name, address)| Some((name, address?)));
            for (name, address) in ports {
                problems.keep(access::check_reach(resolved, name, address, auth_is_on, tls.is_some() || behind_proxy));
            }
        }
        // What is wrong with the pair is told once.
        let has_tls = tls.as_ref().is_none_or(Option::is_some);
        let client_certificates = problems.keep(access::client_certificates(resolved, has_tls));
        let memory_limit_bytes = problems.keep(memory_limit(resolved));
        let of_disk = |name: &str| amount(resolved, name, || units::disk_bytes(&folder));
        let min_free_bytes = problems.keep(min_free(resolved, &folder));
        let max_unpublished_bytes = problems.keep(of_disk("storage.max_unpublished"));
        let key_disk_bytes = problems.keep(of_disk("dedup.disk"));
        let query_spill_bytes = problems.keep(of_disk("query.spill"));
        let key_memory_bytes = problems.keep(key_memory(resolved, memory_limit_bytes));
        let accept_data_loss = problems.keep(flag(resolved, "storage.accept_data_loss"));
        let scrub = problems.keep(scrub(resolved));
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let threads = problems.keep(count(resolved, "query.threads", Some(cores.min(MAX_THREADS)), 1..=MAX_THREADS));
        let max_running = problems.keep(count(resolved, "query.max_running", Some(2 * cores), 1..=MAX_QUERIES));
        let max_waiting = problems.keep(count(resolved, "query.max_waiting", None, 0..=MAX_QUERIES));
        let (log_level, log_format) = (problems.keep(log_level(resolved)), problems.keep(log_format(resolved)));
        let slow_query = problems.keep(slow_query(resolved));
        let (allowed_hosts, limits) =
            (problems.keep(access::allowed_hosts(resolved)), problems.keep(access::limits(resolved)));
        Some(Self {
            data: data?,
            grpc: grpc?,
            http: http?,
            allowed_hosts: allowed_hosts?,
            tls: tls?,
            client_certificates: client_certificates?,
            behind_proxy: behind_proxy?,
            limits: limits?,
            min_free_bytes: min_free_bytes?,
            tables: tables(resolved),
            max_unpublished_bytes: max_unpublished_bytes?,
            accept_data_loss: accept_data_loss?,
            scrub: scrub?,
            memory_limit_bytes: memory_limit_bytes?,
            key_memory_bytes: key_memory_bytes?,
            key_disk_bytes: key_disk_bytes?,
            query_threads: threads?,
            query_max_running: max_running?,
            query_max_waiting: max_waiting?,
            query_spill_bytes: query_spill_bytes?,
            log_level: log_level?,
            log_format: log_format?,
            slow_query: slow_query?,
            auth_is_on: auth_is_on?,
            rows: rows_in_force(resolved, memory_limit_bytes?, min_free_bytes?),
            places: resolved.places(),
            file: resolved.file.clone(),
        })
    }
}

/// The two addresses, as far as they are right.
fn ports(resolved: &Resolved, problems: &mut Problems) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let grpc = problems.keep(address(resolved, "server.grpc"));
    let http = problems.keep(address(resolved, "server.http"));
    if let Some(both) = grpc.filter(|grpc| Some(*grpc) == http && grpc.port() != 0) {
        problems.push(invalid(format!("server.grpc and server.http are both {both}")).hint("give them two ports"));
    }
    (grpc, http)
}

fn auth(resolved: &Resolved) -> Result<bool> {
    match resolved.text("auth") {
        "on" => Ok(true),
        "off" => Ok(false),
        other => {
            Err(invalid(format!("auth is '{other}'{}", resolved.from("auth")))
                .hint("write auth = 'on' or auth = 'off'"))
        }
    }
}

fn non_empty<'a>(resolved: &'a Resolved, name: &str) -> Result<&'a str> {
    let text = resolved.text(name);
    if text.is_empty() {
        return Err(invalid(format!("{name} is empty{}", resolved.from(name))));
    }
    Ok(text)
}

fn address(resolved: &Resolved, name: &str) -> Result<SocketAddr> {
    let text = resolved.text(name);
    let by_number = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    by_number.parse().map_err(|_| {
        invalid(format!("{name} is '{text}'{}, which is not an address", resolved.from(name)))
            .hint("write IP:PORT, such as 127.0.0.1:8815")
    })
}

fn flag(resolved: &Resolved, name: &str) -> Result<bool> {
    match resolved.text(name) {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(invalid(format!("{name} is '{other}'{}", resolved.from(name))).hint("write true or false")),
    }
}

fn amount(resolved: &Resolved, name: &str, whole: impl FnOnce() -> Option<u64>) -> Result<u64> {
    let text = resolved.text(name);
    let unreadable = |reason: &str| {
        invalid(format!("{name} is '{text}'{}: {reason}", resolved.from(name)))
            .hint("write '2 GiB', '512 MiB' or '60%'")
    };
    match units::parse_amount(text).map_err(|reason| unreadable(&reason))? {
        Amount::Bytes(bytes) => Ok(bytes),
        Amount::Percent(percent) => {
            let whole = whole().ok_or_else(|| unreadable("the size of the whole cannot be found out here"))?;
            Ok((whole as f64 * percent / 100.0) as u64)
        }
    }
}

/// A number that is too small was written by somebody, who is told; a part of a small machine is what it is.
fn at_least(resolved: &Resolved, name: &str, bytes: u64, least: u64) -> Result<u64> {
    let text = resolved.text(name);
    if bytes < least && !text.trim_end().ends_with('%') {
        let least = mebibytes(least);
        return Err(invalid(format!("{name} is '{text}'{}, less than {least}", resolved.from(name)))
            .hint(format!("write '{least}' or more")));
    }
    Ok(bytes)
}

fn memory_limit(resolved: &Resolved) -> Result<u64> {
    let bytes = amount(resolved, MEMORY_LIMIT, units::machine_memory_bytes)?;
    at_least(resolved, MEMORY_LIMIT, bytes, MIN_LIMIT_BYTES)
}

fn min_free(resolved: &Resolved, folder: &Path) -> Result<u64> {
    let bytes = amount(resolved, MIN_FREE, || units::disk_bytes(folder))?;
    at_least(resolved, MIN_FREE, bytes, LEAST_MIN_FREE_BYTES)
}

/// What keys may hold, within what leaves enough for everything else. Under a limit that is wrong itself nothing is known to be too much.
fn key_memory(resolved: &Resolved, memory_limit_bytes: Option<u64>) -> Result<Option<u64>> {
    const NAME: &str = "dedup.memory";
    let text = resolved.text(NAME);
    if text == "auto" {
        return Ok(None);
    }
    let limit = memory_limit_bytes.unwrap_or(MIN_LIMIT_BYTES).max(MIN_LIMIT_BYTES);
    let bytes = amount(resolved, NAME, || Some(limit))?;
    let most = memory_limit_bytes.map_or(u64::MAX, |_| max_keys_bytes(limit));
    if !(MIN_KEY_BYTES..=most).contains(&bytes) {
        let (least, most) = (mebibytes(MIN_KEY_BYTES), mebibytes(most));
        return Err(invalid(format!("{NAME} is '{text}'{}", resolved.from(NAME)))
            .hint(format!("write 'auto', or {least} to {most} under this memory.limit")));
    }
    Ok(Some(bytes))
}

fn scrub(resolved: &Resolved) -> Result<ScrubOptions> {
    const RATE: &str = "scrub.rate";
    // Less would never come to an end.
    const LEAST: u64 = 64 << 10;
    let rate = match resolved.text(RATE) {
        "off" => None,
        text => match units::parse_amount(text) {
            Ok(Amount::Bytes(bytes)) if bytes >= LEAST => Some(bytes),
            _ => {
                return Err(invalid(format!("{RATE} is '{text}'{}", resolved.from(RATE)))
                    .hint("write bytes a second, such as '32 MiB', at least '64 KiB', or 'off'"));
            }
        },
    };
    let interval = |name: &str| -> Result<Option<Duration>> {
        match resolved.text(name) {
            "off" => Ok(None),
            text => units::parse_span(text).map(Some).map_err(|reason| {
                invalid(format!("{name} is '{text}'{}: {reason}", resolved.from(name)))
                    .hint("write '7 days', '12 hours' or 'off'")
            }),
        }
    };
    Ok(ScrubOptions {
        rate,
        interval: interval("scrub.interval")?,
        remote_interval: interval("scrub.remote_interval")?,
    })
}

/// Storage checks the URL when it opens it.
fn tables(resolved: &Resolved) -> StoreOptions {
    let given =
        |name: &str| Some(resolved.text(name).to_owned()).filter(|text| !["local", "auto"].contains(&text.as_str()));
    let options = [("aws_endpoint", "storage.endpoint"), ("aws_region", "storage.region")];
    let options = options.into_iter().filter_map(|(key, name)| Some((key.to_owned(), given(name)?)));
    StoreOptions { url: given("storage.url"), options: options.collect() }
}

/// Storage raises what is too little.
fn rows_in_force(resolved: &Resolved, memory_limit_bytes: u64, min_free_bytes: u64) -> Vec<SettingRow> {
    let mut rows = resolved.rows();
    let least = [(MEMORY_LIMIT, memory_limit_bytes, MIN_LIMIT_BYTES), (MIN_FREE, min_free_bytes, LEAST_MIN_FREE_BYTES)];
    for (name, _, least) in least.into_iter().filter(|(_, bytes, least)| bytes < least) {
        let raised = rows.iter_mut().filter(|row| row.name == name);
        raised.for_each(|row| row.value = mebibytes(least));
    }
    rows
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn count(resolved: &Resolved, name: &str, auto: Option<u64>, range: std::ops::RangeInclusive<u64>) -> Result<usize> {
    let text = resolved.text(name);
    let value = match auto {
        Some(auto) if text == "auto" => Some(auto),
        _ => text.parse().ok(),
    };
    let value = value.filter(|value| range.contains(value)).ok_or_else(|| {
        let or_auto = if auto.is_some() { ", or 'auto'" } else { "" };
        invalid(format!("{name} is '{text}'{}", resolved.from(name))).hint(format!(
            "write a number from {} to {}{or_auto}",
            range.start(),
            range.end()
        ))
    })?;
    usize::try_from(value).map_err(|_| invalid(format!("{name} is too large")))
}

/// A word that is no level is a module to the filter, which then shows nothing else: a letter that is wrong would make the log silent.
fn log_level(resolved: &Resolved) -> Result<String> {
    const NAME: &str = "log.level";
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let text = non_empty(resolved, NAME)?;
    let wrong = |reason: String| {
        invalid(format!("{NAME} is '{text}'{}: {reason}", resolved.from(NAME)))
            .hint("write error, warn, info, debug or trace; by module 'info,tidewater_storage=debug'")
    };
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let mut levels = parts.iter().map(|part| part.rsplit_once('=').map_or(*part, |(_, level)| level));
    if let Some(other) = levels.find(|level| !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level))) {
        return Err(wrong(format!("'{other}' is not a level")));
    }
    let filter = parts.join(",");
    match tracing_subscriber::EnvFilter::try_new(&filter) {
        Ok(_) => Ok(filter),
        Err(reason) => Err(wrong(reason.to_string())),
    }
}

fn log_format(resolved: &Resolved) -> Result<LogFormat> {
    const NAME: &str = "log.format";
    match resolved.text(NAME) {
        "auto" => Ok(LogFormat::Auto),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(invalid(format!("{NAME} is '{other}'{}", resolved.from(NAME))).hint("write auto, text or json")),
    }
}

fn slow_query(resolved: &Resolved) -> Result<Option<Duration>> {
    const NAME: &str = "log.slow_query";
    match resolved.text(NAME) {
        "off" => Ok(None),
        "0" => Ok(Some(Duration::ZERO)),
        text => humantime::parse_duration(text).map(Some).map_err(|reason| {
            invalid(format!("{NAME} is '{text}'{}: {reason}", resolved.from(NAME)))
                .hint("write '1 second', '500 ms', '0' for all, or 'off'")
        }),
    }
}

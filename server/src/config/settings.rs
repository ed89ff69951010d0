//! Which settings are there, and what do their values mean? Every one in the list works; there is no other.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tidewater_query::{QueryEngine, SettingRow};
use tidewater_storage::memory::{MIN_LIMIT_BYTES, max_keys_bytes};
use tidewater_storage::{Code, Error, Result, ScrubOptions, StoreOptions};

use super::layers::{Resolved, Sources, resolve};
use super::units::{self, Amount};

/// A setting: its name as in the file and in `system.settings`, its default as text, and what it does.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    pub default: &'static str,
    pub doc: &'static str,
}

/// All settings, in the order of documentation.
pub const SETTINGS: &[Setting] = &[
    Setting { name: "server.data", default: "./tidewater-data", doc: "Folder of all data; made if it does not exist." },
    Setting {
        name: "server.grpc",
        default: "127.0.0.1:8815",
        doc: "Address of Flight SQL and gRPC. Port 0 takes a free one.",
    },
    Setting { name: "server.http", default: "127.0.0.1:8080", doc: "Address of HTTP. Port 0 takes a free one." },
    Setting {
        name: "storage.min_free",
        default: "1 GiB",
        doc: "Free disk space below which rows are refused, so that what is acknowledged can always be kept; at least 512 MiB. Definitions go on until 384 MiB, DROP and TRUNCATE until 256 MiB.",
    },
    Setting {
        name: "storage.url",
        default: "local",
        doc: "Where Delta tables are kept: file:///folder or s3://bucket/prefix; local: the folder tables of server.data. Credentials for S3 come from the environment (AWS_ACCESS_KEY_ID and so on).",
    },
    Setting {
        name: "storage.endpoint",
        default: "auto",
        doc: "URL of a store that speaks S3, such as http://127.0.0.1:9000; auto: the environment's (AWS_ENDPOINT_URL), or Amazon's.",
    },
    Setting {
        name: "storage.region",
        default: "auto",
        doc: "Region of the bucket; auto: the environment's (AWS_REGION), or us-east-1.",
    },
    Setting {
        name: "storage.max_unpublished",
        default: "64 GiB",
        doc: "Files that are built and not in their Delta table yet, of all tables: rows are refused beyond. Only a store that is away, or too slow, lets them grow.",
    },
    Setting {
        name: "storage.accept_data_loss",
        default: "false",
        doc: "true: a table whose data folder is an older copy, behind its own Delta table, is begun anew with what that has; false: such a table is refused. For one start: --accept-data-loss.",
    },
    Setting {
        name: "scrub.rate",
        default: "32 MiB",
        doc: "Bytes a second at which all files are read again and again to find those that the disk changed, below everything else; off: only what a query stumbles over is tested.",
    },
    Setting {
        name: "scrub.interval",
        default: "7 days",
        doc: "A file on the local disk is tested so long after it was last tested, and soon after each start; off: after a start only.",
    },
    Setting {
        name: "scrub.remote_interval",
        default: "off",
        doc: "A file in a store elsewhere is fetched and tested once in such a time; off: never, such stores test their own bytes.",
    },
    Setting {
        name: "memory.limit",
        default: "60%",
        doc: "Memory of the process: bytes ('2 GiB') or a part of the machine or container ('60%'); at least 512 MiB.",
    },
    Setting {
        name: "dedup.memory",
        default: "auto",
        doc: "Memory for primary keys: bytes or a part of memory.limit; auto: about a quarter. More of it is less for fresh rows.",
    },
    Setting {
        name: "dedup.disk",
        default: "20%",
        doc: "Disk for primary keys that memory does not hold, of all tables: bytes or a part of the disk. Past both rows are refused.",
    },
    Setting {
        name: "query.threads",
        default: "auto",
        doc: "Threads that one query may use; auto: one a core. All queries over tables have at most 256.",
    },
    Setting { name: "query.max_running", default: "auto", doc: "Queries that run at once; auto: two a core." },
    Setting { name: "query.max_waiting", default: "64", doc: "Queries that wait for their turn; more are refused." },
    Setting {
        name: "query.spill",
        default: "10%",
        doc: "Disk for what queries cannot hold in memory: bytes or a part of the disk. They stop above storage.min_free.",
    },
    Setting {
        name: "log.level",
        default: "info",
        doc: "error, warn, info, debug or trace, also by module: 'info,tidewater_storage=debug'.",
    },
    Setting { name: "log.format", default: "text", doc: "text or json; to standard error." },
    Setting {
        name: "auth",
        default: "off",
        doc: "off: every caller is admin, and the server listens on loopback only. 'on' is not supported yet.",
    },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub data: PathBuf,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
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
    /// Every setting with its value as written, or as it is in force where that differs, and its origin, for `system.settings` and
    /// `config show`.
    pub rows: Vec<SettingRow>,
    /// The file that was read.
    pub file: Option<PathBuf>,
}

/// Less holds too few keys to be of use.
const MIN_KEY_BYTES: u64 = 1 << 20;

/// One query cannot use more threads than all have together.
const MAX_THREADS: u64 = QueryEngine::MAX_THREADS as u64;

/// Queries beyond the threads share them, so this bounds what they hold, not how many threads there are.
const MAX_QUERIES: u64 = 100_000;

impl Config {
    /// Reads and checks everything. An error is `INVALID_CONFIG` and names the setting and where its value comes from.
    pub fn load(sources: Sources) -> Result<Self> {
        let resolved = resolve(sources)?;
        check_auth(&resolved)?;
        let data = PathBuf::from(non_empty(&resolved, "server.data")?);
        let grpc = address(&resolved, "server.grpc")?;
        let http = address(&resolved, "server.http")?;
        if grpc == http && grpc.port() != 0 {
            return Err(invalid(format!("server.grpc and server.http are both {grpc}")).hint("give them two ports"));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let threads = cores.min(MAX_THREADS);
        let spill = amount(&resolved, "query.spill", || units::disk_bytes(&data))?;
        let memory_limit_bytes = memory_limit(&resolved)?;
        Ok(Self {
            min_free_bytes: amount(&resolved, "storage.min_free", || units::disk_bytes(&data))?,
            tables: tables(&resolved),
            max_unpublished_bytes: amount(&resolved, "storage.max_unpublished", || units::disk_bytes(&data))?,
            accept_data_loss: flag(&resolved, "storage.accept_data_loss")?,
            scrub: scrub(&resolved)?,
            memory_limit_bytes,
            key_memory_bytes: key_memory(&resolved, memory_limit_bytes)?,
            key_disk_bytes: amount(&resolved, "dedup.disk", || units::disk_bytes(&data))?,
            query_threads: count(&resolved, "query.threads", Some(threads), 1..=MAX_THREADS)?,
            query_max_running: count(&resolved, "query.max_running", Some(2 * cores), 1..=MAX_QUERIES)?,
            query_max_waiting: count(&resolved, "query.max_waiting", None, 0..=MAX_QUERIES)?,
            query_spill_bytes: spill,
            log_level: log_level(&resolved)?,
            log_format: log_format(&resolved)?,
            rows: rows_in_force(&resolved, memory_limit_bytes),
            file: resolved.file.clone(),
            data,
            grpc,
            http,
        })
    }
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::InvalidConfig, message)
}

fn check_auth(resolved: &Resolved) -> Result<()> {
    match resolved.text("auth") {
        "off" => Ok(()),
        "on" => Err(invalid("auth = 'on' is not supported yet").hint("leave auth off and listen on loopback")),
        other => Err(invalid(format!("auth is '{other}'{}", resolved.from("auth"))).hint("write auth = 'off'")),
    }
}

fn non_empty<'a>(resolved: &'a Resolved, name: &str) -> Result<&'a str> {
    let text = resolved.text(name);
    if text.is_empty() {
        return Err(invalid(format!("{name} is empty{}", resolved.from(name))));
    }
    Ok(text)
}

/// An address on this machine only: without accounts nobody else may get in.
fn address(resolved: &Resolved, name: &str) -> Result<SocketAddr> {
    let text = resolved.text(name);
    let by_number = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    let address: SocketAddr = by_number.parse().map_err(|_| {
        invalid(format!("{name} is '{text}'{}, which is not an address", resolved.from(name)))
            .hint("write IP:PORT, such as 127.0.0.1:8815")
    })?;
    if !address.ip().is_loopback() {
        let message = format!("{name} is {address}{}, beyond loopback, while auth is off", resolved.from(name));
        return Err(invalid(message).hint(
            "listen on 127.0.0.1 or [::1] and put a proxy that checks callers in front; auth = 'on' is not supported yet",
        ));
    }
    Ok(address)
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
fn memory_limit(resolved: &Resolved) -> Result<u64> {
    const NAME: &str = "memory.limit";
    let bytes = amount(resolved, NAME, units::machine_memory_bytes)?;
    let text = resolved.text(NAME);
    if bytes < MIN_LIMIT_BYTES && !text.trim_end().ends_with('%') {
        let least = mebibytes(MIN_LIMIT_BYTES);
        return Err(invalid(format!("{NAME} is '{text}'{}, less than {least}", resolved.from(NAME)))
            .hint(format!("write '{least}' or more")));
    }
    Ok(bytes)
}

/// What keys may hold, within what leaves enough for everything else.
fn key_memory(resolved: &Resolved, memory_limit_bytes: u64) -> Result<Option<u64>> {
    const NAME: &str = "dedup.memory";
    let text = resolved.text(NAME);
    if text == "auto" {
        return Ok(None);
    }
    let limit = memory_limit_bytes.max(MIN_LIMIT_BYTES);
    let (bytes, most) = (amount(resolved, NAME, || Some(limit))?, max_keys_bytes(limit));
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

fn rows_in_force(resolved: &Resolved, memory_limit_bytes: u64) -> Vec<SettingRow> {
    let mut rows = resolved.rows();
    if memory_limit_bytes < MIN_LIMIT_BYTES {
        let raised = rows.iter_mut().filter(|row| row.name == "memory.limit");
        raised.for_each(|row| row.value = mebibytes(MIN_LIMIT_BYTES));
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

fn log_level(resolved: &Resolved) -> Result<String> {
    let text = non_empty(resolved, "log.level")?;
    tracing_subscriber::EnvFilter::try_new(text).map_err(|reason| {
        invalid(format!("log.level is '{text}'{}: {reason}", resolved.from("log.level")))
            .hint("write error, warn, info, debug or trace")
    })?;
    Ok(text.to_owned())
}

fn log_format(resolved: &Resolved) -> Result<LogFormat> {
    match resolved.text("log.format") {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => {
            Err(invalid(format!("log.format is '{other}'{}", resolved.from("log.format"))).hint("write text or json"))
        }
    }
}

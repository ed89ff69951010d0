//! How much is '2 GiB', or '60%'? Amounts of memory and disk.

use std::path::Path;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Amount {
    Bytes(u64),
    /// Above 0, at most 100.
    Percent(f64),
}

/// Units by their usual names: powers of 1024 with an `i`, powers of 1000 without.
const UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads bytes with or without a unit, or a percentage. The error says what is wrong with the text.
pub(crate) fn parse_amount(text: &str) -> Result<Amount, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..digits], text[digits..].trim());
    let value: f64 = number.parse().map_err(|_| "it does not begin with a number".to_owned())?;
    if unit == "%" {
        return if value > 0.0 && value <= 100.0 {
            Ok(Amount::Percent(value))
        } else {
            Err("a percentage lies above 0 and not above 100".to_owned())
        };
    }
    let factor = match unit {
        "" => 1,
        unit => UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| format!("'{unit}' is not a unit"))?.1,
    };
    let bytes = value * factor as f64;
    if bytes < 1.0 || bytes >= u64::MAX as f64 {
        return Err("it is not a possible number of bytes".to_owned());
    }
    Ok(Amount::Bytes(bytes as u64))
}

const SPANS: &[(&str, u64)] = &[
    ("second", 1),
    ("seconds", 1),
    ("minute", 60),
    ("minutes", 60),
    ("hour", 3600),
    ("hours", 3600),
    ("day", 86_400),
    ("days", 86_400),
];

/// Reads a time such as '7 days'. The error says what is wrong with the text.
pub(super) fn parse_span(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (&text[..digits], text[digits..].trim());
    let number: u64 = number.parse().map_err(|_| "it does not begin with a number".to_owned())?;
    let (_, seconds) =
        SPANS.iter().find(|(name, _)| *name == unit).ok_or_else(|| format!("'{unit}' is not a unit of time"))?;
    match number.checked_mul(*seconds).filter(|seconds| (1..=MAX_SPAN_S).contains(seconds)) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err("it is below a second or above ten years".to_owned()),
    }
}

/// Longer is meant to be never.
const MAX_SPAN_S: u64 = 3653 * 86_400;

/// Memory of the machine, or of the container if that is less.
pub(crate) fn machine_memory_bytes() -> Option<u64> {
    let info = rustix::system::sysinfo();
    let machine = info.totalram.checked_mul(u64::from(info.mem_unit.max(1)))?;
    let container = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    Some(container.map_or(machine, |limit| limit.min(machine)))
}

/// Size of the disk that holds `path`, or its nearest parent that exists.
pub(super) fn disk_bytes(path: &Path) -> Option<u64> {
    let absolute = std::path::absolute(path).ok()?;
    let stat = absolute.ancestors().find_map(|path| rustix::fs::statvfs(path).ok())?;
    stat.f_blocks.checked_mul(stat.f_frsize)
}

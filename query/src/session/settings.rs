//! What may be set, and to what? Names, values and their text form for SET, RESET and SHOW, and for what outlives the process.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use arrow::array::timezone::Tz;
use tidewater_storage::{Code, Error, Result};

use super::SessionSettings;
use crate::limits::MAX_STATEMENT_TIMEOUT;

/// Name and meaning of every setting, sorted.
pub(crate) const DESCRIPTIONS: [(&str, &str); 5] = [
    ("max_rows", "a result with more rows is an error; 0: no cap"),
    ("schema", "where table names without a schema are looked up"),
    ("statement_timeout", "how long a statement may run: 500ms, 30s, 5min, 1h; a number alone is milliseconds"),
    ("timezone", "IANA name or offset in which times without an offset are read and days begin"),
    ("types", "which types Flight SQL sends: portable (every client reads them), native, grafana or jdbc"),
];

/// The setting that `name` means; `INVALID_SETTING` with the nearest name otherwise.
pub(crate) fn canonical_name(name: &str) -> Result<&'static str> {
    let lower = name.to_ascii_lowercase();
    let wanted = match lower.as_str() {
        "time zone" | "time_zone" => "timezone",
        "statement_timeout_ms" => "statement_timeout",
        other => other,
    };
    if let Some((name, _)) = DESCRIPTIONS.iter().find(|(name, _)| *name == wanted) {
        return Ok(name);
    }
    let nearest = DESCRIPTIONS
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(a.0, wanted).total_cmp(&strsim::jaro_winkler(b.0, wanted)));
    let hint = match nearest {
        Some((nearest, _)) if strsim::jaro_winkler(nearest, wanted) > 0.8 => format!("did you mean '{nearest}'?"),
        _ => format!("the settings are {}", DESCRIPTIONS.map(|(name, _)| name).join(", ")),
    };
    Err(Error::new(Code::InvalidSetting, format!("there is no setting '{name}'")).hint(hint))
}

/// Sets `name`, or resets it to its default with `None`. `schemas` are the schemas that exist.
pub(crate) fn change(
    settings: &mut SessionSettings,
    name: &str,
    value: Option<&str>,
    schemas: &dyn Fn(&str) -> bool,
) -> Result<()> {
    let defaults = SessionSettings::default();
    match (canonical_name(name)?, value) {
        ("timezone", None) => settings.timezone = defaults.timezone,
        ("timezone", Some(value)) => settings.timezone = parse_zone(value)?,
        ("statement_timeout", None) => settings.statement_timeout = defaults.statement_timeout,
        ("statement_timeout", Some(value)) => settings.statement_timeout = parse_timeout(value)?,
        ("max_rows", None) => settings.max_rows = defaults.max_rows,
        ("max_rows", Some(value)) => {
            settings.max_rows = value.trim().parse().map_err(|_| {
                Error::new(Code::InvalidSetting, format!("max_rows cannot be '{value}'"))
                    .hint("give a number of rows; 0 means no cap")
            })?;
        }
        ("types", None) => settings.types = defaults.types,
        ("types", Some(value)) => settings.types = Some(value.parse()?),
        (_, None) => settings.schema = defaults.schema,
        (_, Some(value)) if schemas(value) => settings.schema = value.to_string(),
        (_, Some(value)) => {
            return Err(Error::new(Code::SchemaNotFound, format!("there is no schema '{value}'"))
                .hint("SHOW SCHEMAS lists what there is"));
        }
    }
    Ok(())
}

/// The value of a setting as SET would take it.
pub(crate) fn show(settings: &SessionSettings, name: &str) -> Result<String> {
    Ok(match canonical_name(name)? {
        "timezone" => settings.timezone.clone(),
        "statement_timeout" => show_duration(settings.statement_timeout),
        "max_rows" => settings.max_rows.to_string(),
        "types" => settings.types.unwrap_or_default().to_string(),
        _ => settings.schema.clone(),
    })
}

impl SessionSettings {
    /// Sets what an earlier SET came to, or resets with `None`. Its schema was there then: whether it still is, the statement will find.
    /// `INVALID_SETTING`.
    pub fn restore(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        change(self, name, value, &|_| true)
    }

    /// What is not as by default: names, and values as SET takes them.
    pub fn to_stored(&self) -> BTreeMap<String, String> {
        let defaults = Self::default();
        let is_set = |name: &str, value: &String| match name {
            // Types that are set count more than those that fit the client, also if they are alike.
            "types" => self.types.is_some(),
            _ => show(&defaults, name).is_ok_and(|default| default != *value),
        };
        let all = DESCRIPTIONS.iter().filter_map(|(name, _)| Some(((*name).to_owned(), show(self, name).ok()?)));
        all.filter(|(name, value)| is_set(name, value)).collect()
    }

    /// What [`Self::to_stored`] made. `INVALID_SETTING` for what this program does not know: without it statements would mean something else.
    pub fn from_stored(stored: &BTreeMap<String, String>) -> Result<Self> {
        let mut settings = Self::default();
        stored.iter().try_for_each(|(name, value)| settings.restore(name, Some(value)))?;
        Ok(settings)
    }
}

fn parse_zone(value: &str) -> Result<String> {
    let zone = match value.trim() {
        "Z" | "z" | "utc" | "Utc" => "UTC",
        zone => zone,
    };
    match Tz::from_str(zone) {
        Ok(_) => Ok(zone.to_string()),
        Err(_) => Err(Error::new(Code::InvalidSetting, format!("'{value}' is not a time zone"))
            .hint("use an IANA name such as 'Europe/Berlin' or an offset such as '+02:00'")),
    }
}

fn parse_timeout(value: &str) -> Result<Duration> {
    let invalid = || {
        Error::new(Code::InvalidSetting, format!("statement_timeout cannot be '{value}'"))
            .hint("give 1ms to 1h, such as 500ms, 30s, 5min or 1h; a number alone is milliseconds")
    };
    let text = value.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| invalid())?;
    let unit_ms = match text[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(invalid()),
    };
    let timeout = Duration::from_millis(number.checked_mul(unit_ms).ok_or_else(invalid)?);
    if timeout.is_zero() || timeout > MAX_STATEMENT_TIMEOUT {
        return Err(invalid());
    }
    Ok(timeout)
}

fn show_duration(duration: Duration) -> String {
    match duration.as_millis() {
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}min", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

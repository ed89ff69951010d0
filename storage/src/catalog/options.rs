//! Which options does a table have, what do they default to, and what of their text is refused?

use std::time::Duration;

use arrow::datatypes::DataType;

use super::definition::{ColumnDef, column_index};
use super::names::nearest;
use super::types::sql_type;
use crate::error::{Code, Error, Result};

/// How far an acknowledged row is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Durability {
    /// Written to the operating system: survives kill -9, not power loss.
    Os,
    /// Synced to the disk.
    #[default]
    Fsync,
}

impl Durability {
    pub fn as_str(self) -> &'static str {
        match self {
            Durability::Os => "os",
            Durability::Fsync => "fsync",
        }
    }
}

/// The options of a table, parsed and checked. What this version does not do is refused by [`super::define`].
#[derive(Debug, Clone, PartialEq)]
pub struct TableOptions {
    /// Index of the event-time column.
    pub time_column: Option<usize>,
    /// Indexes of the columns that runs are sorted by; empty means arrival order.
    pub sort_by: Vec<usize>,
    /// Means something only with a time column.
    pub max_future_us: i64,
    pub max_lateness_us: Option<i64>,
    pub durability: Durability,
    /// Hidden `_commit_seq` and `_ingested_at`.
    pub system_columns: bool,
    pub seal: SealOptions,
    /// How long after its first arrival a key is remembered, microseconds; `None`: for ever. Only a table with a primary key has one.
    pub dedup_window_us: Option<i64>,
    /// Rows whose event time is older than this are not seen any more, microseconds; `None`: all are. Needs a time column.
    pub retention_us: Option<i64>,
}

/// When fresh rows become files: whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealOptions {
    pub after_rows: u64,
    /// Since the oldest of them came, microseconds.
    pub after_us: i64,
    /// Decoded.
    pub after_bytes: u64,
}

impl Default for SealOptions {
    fn default() -> Self {
        Self { after_rows: 4_000_000, after_us: 600 * 1_000_000, after_bytes: 512 << 20 }
    }
}

/// One hour: what clocks of well-kept machines never differ by, and small enough to catch a wrong unit.
const DEFAULT_MAX_FUTURE_US: i64 = 3600 * 1_000_000;

/// A build each second would write many small files; nobody needs rows to be in Parquet sooner.
const MIN_SEAL_AFTER_US: i64 = 1_000_000;

/// Keys are forgotten by the eighth of the window, and each of these makes a build and a key layer.
const MIN_DEDUP_WINDOW_US: i64 = 60 * 1_000_000;

/// Less than this is a wrong unit: such rows would be gone before anybody asks.
const MIN_RETENTION_US: i64 = 60 * 1_000_000;

/// Says "no time column" or "no limit" where a default would choose one.
const NONE: &str = "none";
/// Says that keys are never forgotten.
const FOREVER: &str = "forever";
/// Says "in order of arrival" where the default of `sort_by` would choose columns.
const ARRIVAL: &str = "arrival";

const KNOWN: &[&str] = &[
    "time_column",
    "sort_by",
    "dedup_window",
    "max_future",
    "max_lateness",
    "durability",
    "system_columns",
    "seal_after_rows",
    "seal_after",
    "seal_after_bytes",
    "retention",
];
const NOT_YET: &[&str] = &["foreign_writes"];

/// Where the inference of the time column stands when it found none or several.
pub(super) struct ParseContext<'a> {
    pub columns: &'a [ColumnDef],
    pub key: &'a [usize],
    /// Several candidates are a notice, not an error.
    pub from_data: bool,
}

/// The options that were given, as text.
#[derive(Default)]
struct Given<'a> {
    values: Vec<(&'static str, &'a str)>,
}

impl<'a> Given<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

impl TableOptions {
    /// Reads the options of CREATE TABLE; returns notices for the user beside them.
    pub(super) fn parse(given: &[(String, String)], context: &ParseContext<'_>) -> Result<(Self, Vec<String>)> {
        let given = known_options(given)?;
        let mut notices = Vec::new();
        let time_column = match given.get("time_column") {
            Some(text) => named_time_column(text, context.columns)?,
            None => inferred_time_column(context, &mut notices)?,
        };
        let sort_by = match given.get("sort_by") {
            Some(text) => named_sort_columns(text, context.columns)?,
            None => time_column.map_or_else(|| context.key.to_vec(), |time| vec![time]),
        };
        for name in ["max_future", "max_lateness", "retention"] {
            if time_column.is_none() && given.get(name).is_some_and(|value| !is_word(value, NONE)) {
                return Err(invalid(format!("the option {name} needs a time column, and the table has none"))
                    .hint("name one with time_column = '…': a TIMESTAMP or TIMESTAMPTZ column"));
            }
        }
        let options = Self {
            time_column,
            sort_by,
            max_future_us: given
                .get("max_future")
                .map_or(Ok(DEFAULT_MAX_FUTURE_US), |text| duration_us("max_future", text))?,
            max_lateness_us: match given.get("max_lateness") {
                Some(text) if !is_word(text, NONE) => Some(duration_us("max_lateness", text)?),
                _ => None,
            },
            durability: one_of(
                "durability",
                given.get("durability"),
                &[("fsync", Durability::Fsync), ("os", Durability::Os)],
            )?,
            system_columns: one_of("system_columns", given.get("system_columns"), &[("on", true), ("off", false)])?,
            seal: seal_options(&given)?,
            dedup_window_us: dedup_window(given.get("dedup_window"), !context.key.is_empty())?,
            retention_us: retention(given.get("retention"))?,
        };
        Ok((options, notices))
    }

    /// See [`super::TableDef::options_text`].
    pub(super) fn to_text(&self, columns: &[ColumnDef], keyed: bool) -> Vec<(String, String)> {
        let name = |&i: &usize| columns[i].name.as_str();
        let sort_by = match self.sort_by.as_slice() {
            [] => ARRIVAL.to_owned(),
            some => some.iter().map(name).collect::<Vec<_>>().join(", "),
        };
        let mut out =
            vec![("time_column", self.time_column.as_ref().map_or(NONE, name).to_owned()), ("sort_by", sort_by)];
        if keyed {
            out.push(("dedup_window", self.dedup_window_us.map_or_else(|| FOREVER.to_owned(), duration_text)));
        }
        if self.time_column.is_some() {
            out.push(("max_future", duration_text(self.max_future_us)));
            out.push(("max_lateness", self.max_lateness_us.map_or_else(|| NONE.to_owned(), duration_text)));
            out.push(("retention", self.retention_us.map_or_else(|| NONE.to_owned(), duration_text)));
        }
        out.push(("durability", self.durability.as_str().to_owned()));
        out.push(("system_columns", if self.system_columns { "on" } else { "off" }.to_owned()));
        out.push(("seal_after_rows", self.seal.after_rows.to_string()));
        out.push(("seal_after", duration_text(self.seal.after_us)));
        out.push(("seal_after_bytes", self.seal.after_bytes.to_string()));
        out.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Refuses unknown, unsupported and repeated options.
fn known_options(given: &[(String, String)]) -> Result<Given<'_>> {
    let mut out = Given::default();
    for (name, value) in given {
        let lower = name.to_ascii_lowercase();
        if NOT_YET.contains(&lower.as_str()) {
            return Err(Error::new(Code::UnsupportedOption, format!("the table option {lower} is not supported yet"))
                .hint("leave it out"));
        }
        let Some(&known) = KNOWN.iter().find(|known| **known == lower) else {
            let hint = match nearest(&lower, KNOWN.iter().chain(NOT_YET).copied(), 1).first() {
                Some(near) => format!("did you mean {near}? The options are {}", KNOWN.join(", ")),
                None => format!("the options are {}", KNOWN.join(", ")),
            };
            let shown: String = name.chars().take(40).collect();
            return Err(invalid(format!("there is no table option '{shown}'")).hint(hint));
        };
        if out.get(known).is_some() {
            return Err(invalid(format!("the table option {known} is given twice")));
        }
        out.values.push((known, value.trim()));
    }
    Ok(out)
}

fn is_timestamp(column: &ColumnDef) -> bool {
    matches!(column.data_type, DataType::Timestamp(..))
}

fn named_time_column(text: &str, columns: &[ColumnDef]) -> Result<Option<usize>> {
    match find_column("time_column", text, columns) {
        Ok(i) if is_timestamp(&columns[i]) => Ok(Some(i)),
        Ok(i) => Err(invalid(format!(
            "the time column '{}' is {}, not TIMESTAMP or TIMESTAMPTZ",
            columns[i].name,
            sql_type(&columns[i].data_type)
        ))),
        Err(_) if is_word(text, NONE) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The only TIMESTAMP[TZ] column, if it is NOT NULL. A nullable one would turn rows without it into rejected rows unasked.
fn inferred_time_column(context: &ParseContext<'_>, notices: &mut Vec<String>) -> Result<Option<usize>> {
    let stamps: Vec<usize> = (0..context.columns.len()).filter(|&i| is_timestamp(&context.columns[i])).collect();
    let required: Vec<usize> = stamps.iter().copied().filter(|&i| !context.columns[i].nullable).collect();
    let names = |of: &[usize]| of.iter().map(|&i| context.columns[i].name.as_str()).collect::<Vec<_>>().join(", ");
    match (stamps.as_slice(), required.as_slice()) {
        ([], _) => Ok(None),
        ([only], [_]) => Ok(Some(*only)),
        (_, [_, _, ..]) if !context.from_data => Err(Error::new(
            Code::InvalidDefinition,
            format!("the table has more than one candidate for its time column: {}", names(&required)),
        )
        .hint("name one with time_column = '…', or say time_column = 'none'")),
        ([only], []) => {
            let name = &context.columns[*only].name;
            notices.push(format!(
                "the table has no time column: '{name}' may be NULL (declare it NOT NULL or name it with time_column = '{name}')"
            ));
            Ok(None)
        }
        _ => {
            notices.push(format!(
                "the table has no time column: any of {} could be it (name one with time_column = '…')",
                names(&stamps)
            ));
            Ok(None)
        }
    }
}

fn named_sort_columns(text: &str, columns: &[ColumnDef]) -> Result<Vec<usize>> {
    if text.is_empty() || (is_word(text, ARRIVAL) && column_index(columns, text).is_none()) {
        return Ok(Vec::new());
    }
    let mut out: Vec<usize> = Vec::new();
    for name in text.split(',') {
        let i = find_column("sort_by", name.trim(), columns)?;
        let column = &columns[i];
        if column.data_type.is_nested() {
            return Err(invalid(format!(
                "the option sort_by names '{}', which is {} and has no order",
                column.name,
                sql_type(&column.data_type)
            )));
        }
        if out.contains(&i) {
            return Err(invalid(format!("the option sort_by names '{}' twice", column.name)));
        }
        out.push(i);
    }
    Ok(out)
}

/// The column that an option names; quotes around the name, as in SQL, are taken off.
fn find_column(option: &str, text: &str, columns: &[ColumnDef]) -> Result<usize> {
    let name = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    column_index(columns, name).ok_or_else(|| {
        let shown: String = name.chars().take(40).collect();
        let error = invalid(format!("the option {option} names '{shown}', which is not a column of the table"));
        match nearest(name, columns.iter().map(|column| column.name.as_str()), 1).first() {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error,
        }
    })
}

fn dedup_window(text: Option<&str>, has_key: bool) -> Result<Option<i64>> {
    let Some(text) = text.filter(|text| !is_word(text, FOREVER)) else { return Ok(None) };
    if !has_key {
        return Err(invalid("the option dedup_window needs a primary key, and the table has none".to_owned()));
    }
    at_least("dedup_window", text, MIN_DEDUP_WINDOW_US).map(Some)
}

fn retention(text: Option<&str>) -> Result<Option<i64>> {
    let Some(text) = text.filter(|text| !is_word(text, NONE)) else { return Ok(None) };
    at_least("retention", text, MIN_RETENTION_US).map(Some)
}

/// A duration that is not below `least`.
fn at_least(option: &str, text: &str, least: i64) -> Result<i64> {
    match duration_us(option, text)? {
        us if us >= least => Ok(us),
        _ => Err(invalid(format!("the option {option} is less than {}", duration_text(least)))),
    }
}

fn seal_options(given: &Given<'_>) -> Result<SealOptions> {
    let usual = SealOptions::default();
    Ok(SealOptions {
        after_rows: given
            .get("seal_after_rows")
            .map_or(Ok(usual.after_rows), |text| number("seal_after_rows", text))?,
        after_us: given
            .get("seal_after")
            .map_or(Ok(usual.after_us), |text| at_least("seal_after", text, MIN_SEAL_AFTER_US))?,
        after_bytes: given
            .get("seal_after_bytes")
            .map_or(Ok(usual.after_bytes), |text| number("seal_after_bytes", text))?,
    })
}

/// A number of rows or bytes, at least 1.
fn number(option: &str, text: &str) -> Result<u64> {
    text.replace('_', "").parse().ok().filter(|number| *number > 0).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        invalid(format!("the option {option} cannot be '{shown}': it is not a whole number above 0"))
    })
}

fn is_word(text: &str, word: &str) -> bool {
    text.eq_ignore_ascii_case(word)
}

/// The value of an option with a closed list of words; the first is the default.
fn one_of<T: Copy>(name: &str, text: Option<&str>, choices: &[(&str, T)]) -> Result<T> {
    let found = match text {
        None => choices.first(),
        Some(text) => choices.iter().find(|(word, _)| is_word(text, word)),
    };
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("'{word}'")).collect();
        let shown: String = text.unwrap_or_default().chars().take(40).collect();
        invalid(format!("the option {name} cannot be '{shown}'")).hint(format!("use {}", words.join(" or ")))
    })
}

/// A duration such as `1 hour`, `10 minutes`, `7 days`, `1h 30m`, in microseconds.
fn duration_us(option: &str, text: &str) -> Result<i64> {
    let parsed: Option<Duration> = humantime::parse_duration(text).ok();
    parsed.and_then(|duration| i64::try_from(duration.as_micros()).ok()).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        invalid(format!("the option {option} cannot be '{shown}': it is not a duration"))
            .hint("write it like '1 hour', '10 minutes', '7 days' or '1h 30m'")
    })
}

/// The duration in its largest unit that divides it, in a form that [`duration_us`] reads back exactly.
fn duration_text(us: i64) -> String {
    const UNITS: [(i64, &str); 6] = [
        (86_400_000_000, "day"),
        (3_600_000_000, "hour"),
        (60_000_000, "minute"),
        (1_000_000, "second"),
        (1000, "ms"),
        (1, "us"),
    ];
    let (size, unit) = UNITS.into_iter().find(|(size, _)| us != 0 && us % size == 0).unwrap_or((1_000_000, "second"));
    let n = us / size;
    let plural = if n == 1 || unit.ends_with("s") { "" } else { "s" };
    format!("{n} {unit}{plural}")
}

fn invalid(message: String) -> Error {
    Error::new(Code::InvalidOption, message)
}

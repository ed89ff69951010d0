//! When is an answer the one of a file? The same text line by line, instants in UTC.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use regex::{Captures, Regex};
use sqllogictest::Normalizer;

/// Parts of an answer that differ from run to run.
const IGNORED: &str = "<slt:ignore>";

static INSTANT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)").expect("the pattern is right")
});

/// Trailing spaces are not in files. A time with a zone becomes that in UTC, without its zone: the server's TIMESTAMPTZ is in UTC, while
/// the files show it in the session's zone, or without one.
#[allow(clippy::ptr_arg, reason = "the runner's type of a normalizer")]
pub(crate) fn normal(line: &String) -> String {
    INSTANT.replace_all(line.trim_end(), in_utc).into_owned()
}

fn in_utc(found: &Captures<'_>) -> String {
    let fraction = found.get(2).map_or("", |fraction| fraction.as_str());
    match DateTime::parse_from_rfc3339(&format!("{}{}", &found[1], &found[3])) {
        Ok(instant) => format!("{}{fraction}", instant.with_timezone(&Utc).format("%Y-%m-%dT%H:%M:%S")),
        Err(_) => found[0].to_string(),
    }
}

/// The runner's validator.
pub(crate) fn same(normal: Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    let actual: Vec<String> = actual.iter().map(|row| normal(&row.join(" "))).collect();
    let expected: Vec<String> = expected.iter().map(normal).collect();
    if !expected.iter().any(|line| line.contains(IGNORED)) {
        return actual == expected;
    }
    same_parts(&actual.join("\n"), &expected.join("\n"))
}

/// The parts between what is ignored, in order. The first begins the answer.
fn same_parts(actual: &str, expected: &str) -> bool {
    let mut rest = actual;
    for (i, part) in expected.split(IGNORED).enumerate() {
        match rest.find(part) {
            Some(0) => rest = &rest[part.len()..],
            Some(at) if i > 0 => rest = &rest[at + part.len()..],
            _ => return false,
        }
    }
    true
}

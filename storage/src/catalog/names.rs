//! Which names may tables and columns have, and which known name did somebody mean?

use crate::error::{Code, Error, Result};
use crate::limits::MAX_NAME_BYTES;

/// Delta Lake refuses these in column names, and readers of the tables that we publish do too.
const FORBIDDEN: &str = ",;{}()=";

/// Starts of the names that hidden system columns have or may get.
const RESERVED: [&str; 2] = ["_commit_seq", "_ingested_at"];

/// So much of a wrong name is said again.
const SHOWN_CHARS: usize = 40;

/// Names are compared up to here when somebody's typing error is looked for.
const COMPARED_CHARS: usize = 64;

/// The form in which names are compared: two columns may not differ by case alone, because a Delta table with such names is unreadable.
pub(crate) fn normalized(name: &str) -> String {
    name.to_lowercase()
}

/// Checks the name of a `what` ("table", "view", …): 1 to 255 bytes, without white space, control characters and `,;{}()=`.
pub fn check_name(what: &str, name: &str) -> Result<()> {
    let error = |why: String| {
        let shown: String = name.chars().take(SHOWN_CHARS).collect();
        let message = format!("'{shown}' is not a name for a {what}: {why}");
        Err(Error::new(Code::InvalidName, message).hint(hint(what, name)))
    };
    if name.is_empty() {
        return error("it is empty".into());
    }
    if name.len() > MAX_NAME_BYTES {
        return error(format!("it has {} bytes, the limit is {MAX_NAME_BYTES}", name.len()));
    }
    let bad = name.chars().find(|&c| c.is_whitespace() || c.is_control() || FORBIDDEN.contains(c));
    match bad {
        Some(c) => error(format!("it has {c:?}")),
        None => Ok(()),
    }
}

/// What names may have, with one that is near to the wrong one.
fn hint(what: &str, name: &str) -> String {
    let rule =
        format!("a name has 1 to {MAX_NAME_BYTES} bytes, without white space, control characters and {FORBIDDEN}");
    match (what, plain(name)) {
        (_, near) if near.is_empty() => rule,
        ("column", near) => format!("{rule}: use {near}, for example; in a SELECT, write AS {near} behind the column"),
        (_, near) => format!("{rule}: use {near}, for example"),
    }
}

/// What is left of a wrong name that SQL takes without quotes: `first_name` of `first name`, `count` of `count(*)`. May be empty.
fn plain(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    let joined: String = words.collect::<Vec<_>>().join("_").chars().take(SHOWN_CHARS).collect();
    if joined.starts_with(|c: char| c.is_numeric()) { format!("_{joined}") } else { joined }
}

/// Checks a column's name, which may also not look like a system column's.
pub(super) fn check_column_name(name: &str) -> Result<()> {
    check_name("column", name)?;
    let lower = normalized(name);
    match RESERVED.iter().find(|reserved| lower.starts_with(**reserved)) {
        Some(reserved) => Err(Error::new(
            Code::InvalidName,
            format!("'{name}' is not a name for a column: names that start with {reserved} are the system's"),
        )
        .hint("choose another name")),
        None => Ok(()),
    }
}

/// Up to here half of a name may be almost all of its letters.
const SHORT_CHARS: usize = 5;

/// The share of the letters that are right, if it is enough for a typing error.
fn likeness(wanted: &str, candidate: &str) -> Option<f64> {
    let n_chars = wanted.chars().count().max(candidate.chars().count());
    let n_wrong = strsim::osa_distance(wanted, candidate);
    let n_allowed = if n_chars <= SHORT_CHARS { n_chars.min(2) / 2 } else { n_chars / 2 };
    (n_wrong <= n_allowed).then(|| 1.0 - n_wrong as f64 / n_chars.max(1) as f64)
}

/// The known names that are nearest to `name`, best first, at most `limit`, none that is far off.
///
/// Similarity is the share of the letters that are right, which must reach one half; of a short name one letter may be wrong, or two that
/// stand in each other's place.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, limit: usize) -> Vec<&'a str> {
    // The distance is quadratic in the names, there may be 2,000 of them, and `name` came from the network.
    let compared = |name: &str| -> String { normalized(name).chars().take(COMPARED_CHARS).collect() };
    let wanted = compared(name);
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        .filter(|candidate| candidate.len() <= 4 * wanted.len().max(2) && wanted.len() <= 4 * candidate.len().max(2))
        .filter_map(|candidate| Some((likeness(&wanted, &compared(candidate))?, candidate)))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.truncate(limit);
    scored.into_iter().map(|(_, candidate)| candidate).collect()
}

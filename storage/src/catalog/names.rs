//! Which names may tables and columns have, and which known name did somebody mean?

use crate::error::{Code, Error, Result};
use crate::limits::MAX_NAME_BYTES;

/// Delta Lake refuses these in column names, and readers of the tables that we publish do too.
const FORBIDDEN: &str = ",;{}()=";

/// Starts of the names that hidden system columns have or may get.
const RESERVED: [&str; 2] = ["_commit_seq", "_ingested_at"];

/// Names are compared up to here when somebody's typing error is looked for.
const COMPARED_CHARS: usize = 64;

/// The form in which names are compared: two columns may not differ by case alone, because a Delta table with such names is unreadable.
pub(crate) fn normalized(name: &str) -> String {
    name.to_lowercase()
}

/// Checks the name of a `what` ("table", "view", …): 1 to 255 bytes, without white space, control characters and `,;{}()=`.
pub fn check_name(what: &str, name: &str) -> Result<()> {
    let error = |why: String| {
        let shown: String = name.chars().take(40).collect();
        Err(Error::new(Code::InvalidName, format!("'{shown}' is not a name for a {what}: {why}")))
    };
    if name.is_empty() {
        return error("it is empty".into());
    }
    if name.len() > MAX_NAME_BYTES {
        return error(format!("it has {} bytes, the limit is {MAX_NAME_BYTES}", name.len()));
    }
    let bad = name.chars().find(|&c| c.is_whitespace() || c.is_control() || FORBIDDEN.contains(c));
    match bad {
        Some(c) => {
            error(format!("{c:?} may not be in a name; white space, control characters and {FORBIDDEN} may not"))
        }
        None => Ok(()),
    }
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

/// The known names that are nearest to `name`, best first, at most `limit`, none that is far off.
///
/// Similarity is Levenshtein distance over length, as a share that must reach one half.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, limit: usize) -> Vec<&'a str> {
    // The distance is quadratic in the names, there may be 2,000 of them, and `name` came from the network.
    let compared = |name: &str| -> String { normalized(name).chars().take(COMPARED_CHARS).collect() };
    let wanted = compared(name);
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        .filter(|candidate| candidate.len() <= 4 * wanted.len().max(2) && wanted.len() <= 4 * candidate.len().max(2))
        .map(|candidate| (strsim::normalized_levenshtein(&wanted, &compared(candidate)), candidate))
        .filter(|(score, _)| *score >= 0.5)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.truncate(limit);
    scored.into_iter().map(|(_, candidate)| candidate).collect()
}

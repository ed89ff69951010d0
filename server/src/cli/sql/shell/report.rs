//! What is said behind a statement? Where it is wrong, or how many rows it had and what it read.

use std::fmt::Write;
use std::time::Duration;

use tidewater_client::Summary;

use crate::cli::terminal::plural;

/// The line of a statement that an error is about, and a caret below the place; `None` if the error names no place.
pub(super) fn place(statement: &str, message: &str) -> Option<String> {
    let (_, rest) = message.rsplit_once("at Line: ")?;
    let (line, rest) = rest.split_once(", Column: ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (line, column): (usize, usize) = (line.parse().ok()?, rest[..digits].parse().ok()?);
    let text = statement.lines().nth(line.checked_sub(1)?)?;
    // A tab may be as wide as it likes where it is printed.
    let before: String =
        text.chars().take(column.checked_sub(1)?).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    Some(format!("line {line}: {text}\n{:width$}{before}^", "", width = format!("line {line}: ").len()))
}

/// `(3 rows, 12.3 ms; 1,000 rows read in memory, 2,000 in files; 3 of 5 files skipped)`
pub(super) fn of_rows(n_rows: u64, took: Duration, summary: &Summary) -> String {
    let mut text = format!("({}, {}", rows(n_rows), time(took));
    let (fresh, sealed) = (summary.rows_read_realtime, summary.rows_read_sealed);
    if fresh + sealed > 0 {
        let _ = write!(text, "; read {} in memory, {} in files", rows(fresh), rows(sealed));
    }
    let (pruned, read) = (summary.files_pruned, summary.files_read);
    if pruned > 0 {
        let all = pruned + read;
        let _ = write!(text, "; {pruned} of {all} {} skipped", plural(all, "file", "files"));
    }
    if summary.spilled_bytes > 0 {
        let _ = write!(text, "; {} spilled to disk", indicatif::HumanBytes(summary.spilled_bytes));
    }
    text.push(')');
    text
}

/// `(ok, 3 rows changed, 12.3 ms)`
pub(super) fn of_update(took: Duration, summary: &Summary) -> String {
    match summary.affected_rows {
        0 => format!("(ok, {})", time(took)),
        changed => format!("(ok, {} changed, {})", rows(changed), time(took)),
    }
}

fn rows(n: u64) -> String {
    format!("{} {}", indicatif::HumanCount(n), plural(n, "row", "rows"))
}

fn time(took: Duration) -> String {
    match took.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{seconds:.2} s"),
    }
}

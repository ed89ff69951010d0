//! How far is it? A bar on a terminal, a line now and then elsewhere; both to standard error.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use crate::cli::terminal::{plural, say};

/// Between two lines where there is no bar.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

const WITH_TOTAL: &str = "{bar:40} {human_pos}/{human_len} rows ({percent} %), {per_sec}, {eta} left";
const WITHOUT_TOTAL: &str = "{spinner} {human_pos} rows, {per_sec}";

/// Rows that are done.
pub(super) enum Progress {
    Bar(ProgressBar),
    Lines { done: u64, total: Option<u64>, next_line: Instant },
}

impl Progress {
    pub(super) fn start(total: Option<u64>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines { done: 0, total, next_line: Instant::now() + LINE_INTERVAL };
        }
        let (bar, template) = match total {
            Some(total) => (ProgressBar::new(total), WITH_TOTAL),
            None => (ProgressBar::new_spinner(), WITHOUT_TOTAL),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    /// What others write beside.
    pub(super) fn bar(&self) -> Option<ProgressBar> {
        match self {
            Self::Bar(bar) => Some(bar.clone()),
            Self::Lines { .. } => None,
        }
    }

    pub(super) fn advance(&mut self, n_rows: u64) {
        match self {
            Self::Bar(bar) => bar.inc(n_rows),
            Self::Lines { done, total, next_line } => {
                *done += n_rows;
                if Instant::now() >= *next_line {
                    *next_line = Instant::now() + LINE_INTERVAL;
                    let of = total.map_or_else(String::new, |total| format!(" of {total}"));
                    say(&format!("{done}{of} {}", plural(total.unwrap_or(*done), "row", "rows")));
                }
            }
        }
    }

    /// Lets something else be written without tearing the bar.
    pub(super) fn suspend(&self, write: impl FnOnce()) {
        match self {
            Self::Bar(bar) => bar.suspend(write),
            Self::Lines { .. } => write(),
        }
    }

    pub(super) fn finish(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

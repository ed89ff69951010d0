//! How far is a statement that takes its time? A bar on the terminal, until its first rows come.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidewater_client::Progress;

use crate::cli::terminal::plural;

/// What takes less needs no bar.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// A bar has so many steps.
const STEPS: u64 = 1_000;

const WITH_FRACTION: &str = "{bar:40} {percent:>3} % of the scan, {msg}";
const WITHOUT_FRACTION: &str = "{spinner} {msg}";

/// A bar that is not shown yet; `None` where standard error is no terminal.
pub(super) fn bar() -> Option<ProgressBar> {
    std::io::stderr().is_terminal().then(ProgressBar::hidden)
}

/// Shows what the server says, unless the bar was ended.
pub(super) fn show(bar: &ProgressBar, progress: &Progress) {
    let elapsed = progress.elapsed.and_then(|elapsed| Duration::try_from(elapsed).ok()).unwrap_or_default();
    if elapsed < SHOWN_AFTER || bar.is_finished() {
        return;
    }
    if bar.is_hidden() {
        bar.set_draw_target(ProgressDrawTarget::stderr());
        let template = if progress.fraction.is_some() { WITH_FRACTION } else { WITHOUT_FRACTION };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_length(STEPS);
    }
    bar.set_message(text(progress.rows_read, elapsed));
    bar.set_position((progress.fraction.unwrap_or(0.0) * STEPS as f64) as u64);
    bar.tick();
}

/// `12,345 rows read, 3.5 s`
pub(super) fn text(rows_read: u64, elapsed: Duration) -> String {
    format!("{} {} read, {:.1} s", HumanCount(rows_read), plural(rows_read, "row", "rows"), elapsed.as_secs_f64())
}

//! What does the system say about this process? Memory, processor time and open files, from `/proc/self`.

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::text::Text;

/// What cannot be read here has no series.
pub(super) fn write(text: &mut Text) {
    if let Some(pages) = resident_pages() {
        text.single("process_resident_memory_bytes", pages.saturating_mul(page_size() as u64));
    }
    if let Some((ticks, threads)) = times() {
        text.single("process_cpu_seconds_total", ticks as f64 / clock_ticks_per_second() as f64);
        text.single("process_threads", threads);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // The folder itself is open meanwhile.
        text.single("process_open_fds", files.count().saturating_sub(1));
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        text.single("process_max_fds", most);
    }
}

fn resident_pages() -> Option<u64> {
    fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()
}

/// Ticks of the clock that it has run, user and system, and its threads.
fn times() -> Option<(u64, u64)> {
    let line = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is a name in parentheses, which may hold anything; the third comes behind them.
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |at: usize| fields.get(at - 3)?.parse::<u64>().ok();
    Some((field(14)? + field(15)?, field(20)?))
}

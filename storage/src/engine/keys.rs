//! Who gives memory for keys back? A table does so at its own events; one that has none is asked, the largest holder first.

use std::time::Duration;

use super::Engine;
use crate::memory::Share;
use crate::table::{KeysHeld, Table, TableRequest};

/// Memory for keys is short when this part, of four, of it is used: layers go to disk from there on.
const CROWDED_QUARTERS: u64 = 3;

/// Who holds less has nothing to give: a run of so few keys would be tiny.
const LEAST_BYTES: u64 = 64 << 10;

/// A table that was asked and did not begin has nothing to give, or waits for a build: another one is asked meanwhile.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// A job that failed is begun again by the worker, soon after it is asked to.
const RETRY_AGAIN: Duration = Duration::from_secs(1);

impl Engine {
    /// Asks tables whose failed jobs may be tried again, and one that holds much when memory for keys is short; does not wait for them.
    pub(super) fn keys_due(&self) {
        let (memory, uptime) = (&self.parts.memory, self.parts.env.clock.uptime());
        let tables = self.tables();
        let held: Vec<KeysHeld> = tables.iter().map(|table| table.shared.keys.held()).collect();
        for at in pick_asked(&held, uptime, memory.used(Share::Keys), memory.share(Share::Keys)) {
            let table = tables[at].clone();
            table.shared.keys.note_asked(uptime);
            let gives_filters = is_another_short(&held, at);
            tokio::spawn(async move { tend_keys(&table, gives_filters).await });
        }
    }

    /// Bytes that key runs of all tables take on disk, and that they may take.
    pub fn key_disk_bytes(&self) -> (u64, u64) {
        let disk = &self.parts.gate.key_disk;
        (disk.used(), disk.max_bytes())
    }
}

/// Asks the worker to look at its keys. A closed table does not.
async fn tend_keys(table: &Table, gives_filters: bool) {
    let _ = table.shared.send(TableRequest::TendKeys { gives_filters }).await;
}

/// Rows of a table other than the one at `at` are refused for want of memory.
fn is_another_short(tables: &[KeysHeld], at: usize) -> bool {
    tables.iter().enumerate().any(|(other, table)| other != at && table.is_short)
}

/// Places in `tables` that are to be asked. `used` of `share` bytes are held by keys of all tables.
fn pick_asked(tables: &[KeysHeld], uptime: Duration, used: u64, share: u64) -> Vec<usize> {
    let waited =
        |table: &KeysHeld, interval| table.asked_at.is_none_or(|asked| uptime.saturating_sub(asked) >= interval);
    let retries = |table: &KeysHeld| table.retry_at.is_some_and(|at| at <= uptime) && waited(table, RETRY_AGAIN);
    let mut asked: Vec<usize> = (0..tables.len()).filter(|at| retries(&tables[*at])).collect();
    let is_short = used > share / 4 * CROWDED_QUARTERS;
    // One at a time: what the first gives back may be enough.
    if !is_short || !asked.is_empty() || tables.iter().any(|table| table.is_busy) {
        return asked;
    }
    let may_give = |table: &KeysHeld| waited(table, ASK_AGAIN) && table.retry_at.is_none();
    let largest = |bytes: &dyn Fn(usize) -> u64| {
        let candidates = (0..tables.len()).filter(|at| may_give(&tables[*at]) && bytes(*at) >= LEAST_BYTES);
        candidates.max_by_key(|at| bytes(*at))
    };
    // Closed layers can go at once; the open one has to be built first, and its table says so when it is asked. Filters go only when others
    // would be refused otherwise.
    let closed = largest(&|at| tables[at].closed_bytes);
    let open = || largest(&|at| tables[at].open_bytes);
    let filters = || largest(&|at| if is_another_short(tables, at) { tables[at].filter_bytes } else { 0 });
    asked.extend(closed.or_else(open).or_else(filters));
    asked
}

#[cfg(test)]
mod tests;

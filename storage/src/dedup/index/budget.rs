//! May more keys be taken? What memory and disk allow, and what gives way before rows are refused.

use std::sync::Arc;
use std::time::Duration;

use super::state::KeyIndex;
use crate::error::{Code, Error, Result};
use crate::memory::Share;

/// Filters of runs keep to this part of what an index may hold: the rest is for layers, which fill a run only if they have space to grow.
const FILTERS_DIVISOR: u64 = 2;

/// The layers go to disk when an index holds this part, of four, of what it may: a merge and a run's filters need the rest.
const CROWDED_QUARTERS: u64 = 3;

/// The open layer is worth a build of its own when it takes this part of what the index may hold.
const LARGE_OPEN_DIVISOR: u64 = 4;

/// When layers can still go to disk, a refusal is over as soon as they did.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Which limit `n` more keys would pass.
struct Excess {
    used: u64,
    budget: u64,
    whose: &'static str,
}

impl KeyIndex {
    /// Makes sure that `n` keys can be claimed: holds what they need at most, until the next claim. To be called before
    /// [`KeyIndex::claim`], with the rows that it will get. Filters of runs give way first, the oldest run's before others: they are
    /// read from disk from then on.
    ///
    /// # Errors
    /// `DEDUP_BUDGET` when `n` new keys might not fit what all key layers may hold together. No key is forgotten or
    /// claimed then.
    pub fn has_capacity(&mut self, n: usize) -> Result<()> {
        let growth = self.open.growth_bound(n) as u64;
        self.charge.resize(self.open.bytes() as u64 + growth);
        while let Some(excess) = self.excess(growth) {
            if !self.unload_oldest_filters() {
                self.settle();
                self.is_short = true;
                return Err(self.refusal(n, growth, &excess));
            }
        }
        self.is_short = false;
        Ok(())
    }

    /// What is too much, with `growth` charged already.
    fn excess(&self, growth: u64) -> Option<Excess> {
        let (used, share) = (self.ledger.used(Share::Keys), self.ledger.share(Share::Keys));
        if used > share {
            return Some(Excess { used: used - growth, budget: share, whose: "all key layers" });
        }
        let used = self.bytes();
        let budget = self.max_bytes.filter(|max| used + growth > *max)?;
        Some(Excess { used, budget, whose: "this table's key layers" })
    }

    fn refusal(&self, n: usize, growth: u64, excess: &Excess) -> Error {
        let Excess { used, budget, whose } = excess;
        let stats = self.stats();
        let hot_keys = stats.keys - stats.cold_keys;
        let bytes_per_key = |bytes: u64, keys: u64| bytes as f64 / keys.max(1) as f64;
        let in_memory = bytes_per_key(stats.bytes, stats.keys);
        let mut facts = format!("a key of this table takes {in_memory:.1} bytes of memory");
        if stats.runs > 0 {
            let on_disk = bytes_per_key(stats.disk_bytes, stats.cold_keys);
            facts += &format!(", one on disk {on_disk:.1} bytes there, {} bytes in all", stats.disk_bytes);
        }
        if let Some(max) = self.max_disk_bytes {
            facts += &format!(" of the {max} that they may take on disk");
        }
        let refusal = Error::new(
            Code::DedupBudget,
            format!("{whose} hold {used} of {budget} bytes, and {n} more keys may need {growth} bytes; {facts}"),
        )
        .hint(
            "raise dedup.memory or memory.limit, give the table a finite dedup_window, or drop tables \
             that are no longer needed",
        )
        .with("used_bytes", used)
        .with("budget_bytes", budget)
        .with("bytes_per_key", format!("{in_memory:.2}"))
        .with("disk_bytes", stats.disk_bytes);
        // What is closed moves to disk in the background, unless there is no space for it.
        let is_passing = hot_keys > self.open.len() as u64 && self.disk_left() > self.spilled_bytes();
        if is_passing { refusal.retry_after(RETRY_AFTER) } else { refusal }
    }

    /// Most of what the index may hold is in the open layer: to make space, it has to be closed and built, however few its rows are.
    /// Layers that are closed can go to disk as they are.
    pub fn wants_build(&self) -> bool {
        self.is_crowded() && self.open.bytes() as u64 >= self.budget() / LARGE_OPEN_DIVISOR
    }

    /// What the index may hold: its own limit, or what other tables leave of the share.
    pub(super) fn budget(&self) -> u64 {
        let others = self.ledger.used(Share::Keys).saturating_sub(self.charged());
        let share = self.ledger.share(Share::Keys).saturating_sub(others);
        self.max_bytes.map_or(share, |max| max.min(share))
    }

    pub(super) fn is_crowded(&self) -> bool {
        // Also when others fill the share: who holds more than a little gives way to tables that begin.
        let share = self.ledger.share(Share::Keys);
        self.is_short
            || self.bytes() > self.budget() / 4 * CROWDED_QUARTERS
            || self.ledger.used(Share::Keys) > share / 4 * CROWDED_QUARTERS
    }

    /// What may still be allocated.
    pub(super) fn headroom(&self) -> u64 {
        self.budget().saturating_sub(self.bytes())
    }

    /// What runs may still take on disk.
    pub(super) fn disk_left(&self) -> u64 {
        self.max_disk_bytes.map_or(u64::MAX, |max| max.saturating_sub(self.disk_bytes()))
    }

    /// About what the closed layers would take on disk.
    fn spilled_bytes(&self) -> u64 {
        self.closed.iter().map(|layer| layer.spilled_bytes()).sum()
    }

    /// Filters beyond their part are read from disk from now on.
    pub(super) fn trim_filters(&mut self) {
        let most = self.budget() / FILTERS_DIVISOR;
        while self.runs.iter().map(|run| run.filter_bytes() as u64).sum::<u64>() > most {
            if !self.unload_oldest_filters() {
                break;
            }
        }
    }

    /// Whether there were any.
    fn unload_oldest_filters(&mut self) -> bool {
        let Some(run) = self.runs.iter_mut().find(|run| run.filter_bytes() > 0) else { return false };
        *run = Arc::new(run.without_filters());
        true
    }
}

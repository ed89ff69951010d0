//! May more keys be taken? What memory and disk allow, and what gives way before rows are refused.

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

/// Fewer bytes than this, or than this part of all that the index could ever hold, are not worth a run, or a build.
const MIN_SPILL_BYTES: u64 = 1 << 20;
const MIN_SPILL_DIVISOR: u64 = 8;

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
        let lacks_disk = self.disk.left_in_the_end() < self.spilled_bytes() + stats.open_bytes;
        let bytes_per_key = |bytes: u64, keys: u64| bytes as f64 / keys.max(1) as f64;
        let in_memory = bytes_per_key(stats.bytes, stats.keys);
        let mut facts = format!("a key of this table takes {in_memory:.1} bytes of memory");
        if stats.runs > 0 {
            let on_disk = bytes_per_key(stats.disk_bytes, stats.cold_keys);
            facts += &format!(", one on disk {on_disk:.1} bytes there, {} bytes in all", stats.disk_bytes);
        }
        if lacks_disk {
            let (used, most) = (self.disk.used(), self.disk.max_bytes());
            facts += &format!("; on disk keys of all tables take {used} of {most} bytes, so that no more go there");
        }
        let settings = if lacks_disk { "dedup.disk or dedup.memory" } else { "dedup.memory or memory.limit" };
        let refusal = Error::new(
            Code::DedupBudget,
            format!("{whose} hold {used} of {budget} bytes, and {n} more keys may need {growth} bytes; {facts}"),
        )
        .hint(format!(
            "raise {settings}, give the table a finite dedup_window, or drop tables that are no longer needed"
        ))
        .with("used_bytes", used)
        .with("budget_bytes", budget)
        .with("bytes_per_key", format!("{in_memory:.2}"))
        .with("disk_bytes", stats.disk_bytes);
        if !self.can_ever_take(n) {
            return refusal.hint("send smaller batches, or raise dedup.memory or memory.limit");
        }
        if self.is_giving() || self.can_others_give() { refusal.retry_after(RETRY_AFTER) } else { refusal }
    }

    /// Whether `n` keys would have space if all others were on disk.
    pub fn can_ever_take(&self, n: usize) -> bool {
        let share = self.ledger.share(Share::Keys);
        let most = self.max_bytes.map_or(share, |max| max.min(share));
        let directories: u64 = self.runs.iter().map(|run| run.directory_bytes() as u64).sum();
        let fresh = self.open.fresh(self.spec.mix_secret(), None);
        directories + (fresh.bytes() + fresh.growth_bound(n)) as u64 <= most
    }

    /// Closed layers move to disk in the background: some do so now, or as soon as they are asked to.
    fn is_giving(&self) -> bool {
        let (least, disk_left) = (self.least_spill_bytes(), self.disk.left_in_the_end());
        self.is_spilling() || self.spillable(self.built_through, least, disk_left).is_some()
    }

    /// Other tables hold most of the memory, and the disk has space for it: the largest holder is asked to give it back.
    fn can_others_give(&self) -> bool {
        let others = self.ledger.used(Share::Keys).saturating_sub(self.charged());
        others >= self.ledger.share(Share::Keys) / 2 && self.disk.left_in_the_end() >= others
    }

    /// Much of what the index may hold is in layers whose rows are not in files, mostly the open one: to make space, they have to be built,
    /// however few the rows are. Other layers can go to disk as they are.
    pub fn wants_build(&self) -> bool {
        let least = self.least_spill_bytes().max(self.budget() / LARGE_OPEN_DIVISOR);
        let not_built = self.closed.iter().filter(|layer| layer.through() > self.built_through);
        let bytes = not_built.map(|layer| layer.bytes()).sum::<usize>() + self.open.bytes();
        self.is_crowded() && bytes as u64 >= least
    }

    /// Whether a build, which closes the open layer, would bring memory back: the disk takes what is in memory then.
    pub fn is_helped_by_build(&self) -> bool {
        self.wants_build() && self.disk.left_in_the_end() > self.spilled_bytes() + self.open.bytes() as u64
    }

    /// The last batch was refused.
    pub fn is_short(&self) -> bool {
        self.is_short
    }

    /// When all tables together hold much, the filters of one run more are read from disk from now on, the oldest run's first. For when
    /// others are refused rows: layers do more with the memory than filters do. `false`: there are none, or memory is not short.
    pub fn give_filters(&self) -> bool {
        let share = self.ledger.share(Share::Keys);
        self.ledger.used(Share::Keys) > share / 4 * CROWDED_QUARTERS && self.unload_oldest_filters()
    }

    /// Whether a layer of `bytes` has no space beside all others. If so, layers are to go to disk: see [`KeyIndex::pick_spill`].
    pub fn is_short_of(&mut self, bytes: u64) -> bool {
        self.is_short = self.headroom() < bytes;
        self.is_short
    }

    /// Fewer bytes are not worth a run. Whatever others hold: runs must not become tiny because there is little left.
    pub(super) fn least_spill_bytes(&self) -> u64 {
        let share = self.ledger.share(Share::Keys);
        MIN_SPILL_BYTES.min(self.max_bytes.map_or(share, |max| max.min(share)) / MIN_SPILL_DIVISOR)
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
        self.disk.left()
    }

    /// Whether so many bytes of filters may come into memory: all filters keep to their part, and nothing is crowded afterwards, so that
    /// they stay.
    pub(super) fn may_load(&self, filter_bytes: u64) -> bool {
        let (budget, share) = (self.budget(), self.ledger.share(Share::Keys));
        !self.is_short
            && self.filter_bytes() + filter_bytes <= budget / FILTERS_DIVISOR
            && self.bytes() + filter_bytes <= budget / 4 * CROWDED_QUARTERS
            && self.ledger.used(Share::Keys) + filter_bytes <= share / 4 * CROWDED_QUARTERS
    }

    /// Of all runs whose filters are in memory.
    pub fn filter_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.filter_bytes() as u64).sum()
    }

    /// About what the closed layers would take on disk, beside those that are on their way.
    fn spilled_bytes(&self) -> u64 {
        self.staying().map(|layer| layer.spilled_bytes()).sum()
    }

    /// Filters beyond their part are read from disk from now on.
    pub(super) fn trim_filters(&self) {
        let most = self.budget() / FILTERS_DIVISOR;
        while self.filter_bytes() > most && self.unload_oldest_filters() {}
    }

    /// Whether there were any.
    fn unload_oldest_filters(&self) -> bool {
        let Some(run) = self.runs.iter().find(|run| run.filter_bytes() > 0) else { return false };
        run.unload_filters();
        true
    }
}

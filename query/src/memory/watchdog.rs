//! What if memory grows that no pool counts, or that slow readers keep? It is watched; past a limit the query that has most of it is stopped.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::QueryMemory;
use crate::limits::{MAX_KEPT_DIVISOR, WATCHDOG_INTERVAL, WATCHDOG_PAUSE};
use crate::registry::{Query, Registry, StopReason};

/// Looks every 100 ms until the registry has gone. `resident` gives the process's resident bytes.
pub(crate) async fn watch(registry: Weak<Registry>, memory: Arc<QueryMemory>, resident: impl Fn() -> u64 + Send) {
    let limit = memory.ledger.limit();
    let mut pause = Duration::ZERO;
    loop {
        tokio::time::sleep(WATCHDOG_INTERVAL + pause).await;
        pause = Duration::ZERO;
        let Some(registry) = registry.upgrade() else { return };
        let resident = resident();
        let is_stopped = if resident > limit {
            stop_largest(&registry, resident, limit)
        } else {
            memory.kept() > memory.limit / MAX_KEPT_DIVISOR && stop_keeper(&registry, &memory)
        };
        if is_stopped {
            pause = WATCHDOG_PAUSE;
        }
    }
}

/// Stops the running query that holds most. False if none runs.
fn stop_largest(registry: &Registry, resident: u64, limit: u64) -> bool {
    match registry.largest(Query::memory_held) {
        Some(query) => {
            tracing::warn!(
                query_id = query.id(),
                resident,
                limit,
                held = query.memory_held(),
                "the process holds more memory than its limit: the largest query is stopped"
            );
            query.stop(StopReason::Memory("the process holds more memory than its limit"));
            true
        }
        None => false,
    }
}

/// Stops the running query that keeps most rows which its tables have let go. False if none keeps enough of them.
fn stop_keeper(registry: &Registry, memory: &QueryMemory) -> bool {
    let running = registry.running().into_iter().filter(|query| !query.is_stopped());
    let keepers: Vec<_> =
        running.map(|query| (query.memory_kept(), query)).filter(|(n_bytes, _)| *n_bytes > 0).collect();
    let by_queries = keepers.iter().map(|(n_bytes, _)| n_bytes).sum();
    let all = memory.kept() as u64;
    match keepers.into_iter().max_by_key(|(n_bytes, _)| *n_bytes) {
        Some((most, query)) if are_to_blame(by_queries, all) => {
            tracing::warn!(
                query_id = query.id(),
                kept = most,
                kept_by_all = all,
                "slow readers keep too many rows in memory: the query that keeps most is stopped"
            );
            query.stop(StopReason::Memory("it keeps rows in memory that its tables have let go, and others need that"));
            true
        }
        _ => false,
    }
}

/// Whether queries are why `all` is kept: by a quarter of it. A build keeps rows, too, while it writes those of a table that was truncated
/// meanwhile, and no query gives these back.
pub(super) fn are_to_blame(by_queries: u64, all: u64) -> bool {
    by_queries.saturating_mul(4) >= all
}

/// Resident bytes of this process, from `/proc/self/status`; 0 where there is no such file.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) << 10
}

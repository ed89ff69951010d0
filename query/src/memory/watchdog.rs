//! What if memory grows that no pool counts? The process's resident memory is watched; past the limit the largest query is stopped.

use std::sync::Weak;
use std::time::Duration;

use crate::limits::{WATCHDOG_INTERVAL, WATCHDOG_PAUSE};
use crate::registry::{Registry, StopReason};

/// Looks every 100 ms until the registry has gone. `resident` gives the process's resident bytes.
pub(crate) async fn watch(registry: Weak<Registry>, limit: u64, resident: impl Fn() -> u64 + Send) {
    let mut pause = Duration::ZERO;
    loop {
        tokio::time::sleep(WATCHDOG_INTERVAL + pause).await;
        pause = Duration::ZERO;
        let Some(registry) = registry.upgrade() else { return };
        let resident = resident();
        if resident > limit && stop_largest(&registry, resident, limit) {
            pause = WATCHDOG_PAUSE;
        }
    }
}

/// Stops the running query that holds most. False if none runs.
pub(super) fn stop_largest(registry: &Registry, resident: u64, limit: u64) -> bool {
    match registry.largest() {
        Some(query) => {
            tracing::warn!(
                query_id = query.id(),
                resident,
                limit,
                held = query.memory_held(),
                "the process holds more memory than its limit: the largest query is stopped"
            );
            query.stop(StopReason::Memory);
            true
        }
        None => false,
    }
}

/// Resident bytes of this process, from `/proc/self/status`; 0 where there is no such file.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) << 10
}

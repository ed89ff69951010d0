//! How is the process doing, as numbers? One recorder a process, rendered for `/metrics` and `system.metrics`.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tidewater_storage::memory::Share;
use tidewater_storage::{Engine, Error, Result, Table};

/// Bounds of all histograms, in seconds: from the fastest acknowledgement to the query deadline.
const BUCKETS_S: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Samples wait in memory until they are merged into their histograms; this is how often that happens at least.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The handle of the process's recorder, which is installed with the first call.
pub fn handle() -> Result<PrometheusHandle> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let builder = PrometheusBuilder::new()
        .set_buckets(BUCKETS_S)
        .map_err(|reason| Error::internal(format!("the metrics recorder cannot be built: {reason}")))?;
    let handle = HANDLE.get_or_init(|| {
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed: /metrics will stay empty");
        }
        handle
    });
    Ok(handle.clone())
}

/// All metrics in Prometheus' text format.
pub fn render(handle: &PrometheusHandle, storage: &Engine) -> String {
    let memory = storage.memory();
    metrics::gauge!("tidewater_memory_limit_bytes").set(memory.limit() as f64);
    for share in Share::ALL {
        metrics::gauge!("tidewater_memory_used_bytes", "share" => share.name()).set(memory.used(share) as f64);
        metrics::gauge!("tidewater_memory_share_bytes", "share" => share.name()).set(memory.share(share) as f64);
    }
    let pinned: u64 = storage.tables().iter().map(Table::pinned_bytes).sum();
    metrics::gauge!("tidewater_pinned_bytes").set(pinned as f64);
    let (used, most) = storage.key_disk_bytes();
    metrics::gauge!("tidewater_dedup_disk_bytes").set(used as f64);
    metrics::gauge!("tidewater_dedup_disk_limit_bytes").set(most as f64);
    handle.run_upkeep();
    handle.render()
}

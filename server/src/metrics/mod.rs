//! How is the process doing, as numbers? One recorder a process, rendered for `/metrics` and `system.metrics`.

mod catalog;
mod process;
mod tables;
mod text;

#[cfg(test)]
mod tests;

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tidewater_storage::memory::Share;
use tidewater_storage::{Code, Engine, Error, Result, Table};

use self::catalog::{Kind, METRICS};
use self::text::Text;
use crate::flight_sql::Kept;
use crate::version::{COMMIT, DISK_FORMAT, VERSION};

/// Bounds of histograms in seconds: from the fastest acknowledgement to the query deadline.
const BUCKETS_S: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Bounds of histograms in bytes: from one small batch to the largest group.
const BUCKETS_BYTES: &[f64] = &[1e3, 4e3, 16e3, 64e3, 256e3, 1e6, 4e6, 16e6];

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
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), BUCKETS_BYTES))
        .map_err(|reason| Error::internal(format!("the metrics recorder cannot be built: {reason}")))?;
    let handle = HANDLE.get_or_init(|| {
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed: /metrics will stay empty");
        }
        describe();
        begin_at_zero();
        handle
    });
    Ok(handle.clone())
}

fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}

/// What has not happened yet is 0, not missing: an alert on its growth would miss the first time.
fn begin_at_zero() {
    for name in ["tidewater_damaged_files_total", "tidewater_expired_rows_total", "tidewater_housekeeping_runs_total"] {
        metrics::counter!(name).increment(0);
    }
    for by in ["password", "token", "session", "certificate", "unreadable", "limited"] {
        metrics::counter!("tidewater_logins_failed_total", "by" => by).increment(0);
    }
    for code in [Code::DedupBudget, Code::SequenceGap, Code::ProducerFenced] {
        metrics::counter!("tidewater_refused_batches_total", "code" => code.reason()).increment(0);
    }
    for code in [Code::Internal, Code::DiskFull, Code::MemoryPressure, Code::QueryQueueFull, Code::Unauthenticated] {
        metrics::counter!("tidewater_errors_total", "code" => code.reason()).increment(0);
    }
    metrics::gauge!("tidewater_queries_waiting").set(0.0);
}

/// All metrics in Prometheus' text format. Gauges are looked up here: nobody keeps them up to date in between.
pub fn render(handle: &PrometheusHandle, storage: &Engine, kept: &Kept) -> String {
    handle.run_upkeep();
    let mut out = handle.render();
    out.push_str(&looked_up(storage, kept));
    out
}

fn looked_up(storage: &Engine, kept: &Kept) -> String {
    const BUILD: &str = "tidewater_build_info";
    let mut text = Text::default();
    text.begin(BUILD);
    text.sample(BUILD, &[("version", VERSION), ("commit", COMMIT), ("disk_format", DISK_FORMAT)], 1);
    let clock = &storage.env().clock;
    text.single("tidewater_uptime_seconds", clock.uptime().as_secs_f64());
    let tables = storage.tables();
    text.single("tidewater_pinned_bytes", tables.iter().map(Table::pinned_bytes).sum::<u64>());
    let unpublished = tables::write(&mut text, tables, clock.now_us());
    text.single("tidewater_unpublished_bytes", unpublished);
    text.single("tidewater_unpublished_limit_bytes", storage.max_unpublished_bytes());
    if let Some(free) = storage.free_bytes() {
        text.single("tidewater_disk_free_bytes", free);
    }
    text.single("tidewater_disk_floor_bytes", storage.min_free_bytes());
    let (used, most) = storage.key_disk_bytes();
    text.single("tidewater_dedup_disk_bytes", used);
    text.single("tidewater_dedup_disk_limit_bytes", most);
    let memory = storage.memory();
    text.single("tidewater_memory_limit_bytes", memory.limit());
    let shares = |text: &mut Text, name: &str, value: &dyn Fn(Share) -> u64| {
        text.begin(name);
        Share::ALL.into_iter().for_each(|share| text.sample(name, &[("share", share.name())], value(share)));
    };
    shares(&mut text, "tidewater_memory_used_bytes", &|share| memory.used(share));
    shares(&mut text, "tidewater_memory_share_bytes", &|share| memory.share(share));
    kept.counts().into_iter().for_each(|(name, count)| text.single(name, count));
    process::write(&mut text);
    text.into_string()
}

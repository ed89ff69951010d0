//! What could the machine do at best, in this run? One file synced after each write, and memory copied.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::time::Instant;

const SYNCS: usize = 300;
const BLOCK: usize = 64 << 10;
const COPY: usize = 256 << 20;

/// Quantiles of a histogram of microseconds, in milliseconds.
pub fn quantiles(times: &Histogram<u64>) -> Value {
    let ms = |q: f64| times.value_at_quantile(q) as f64 / 1e3;
    json!({ "n": times.len(), "p50_ms": ms(0.5), "p99_ms": ms(0.99), "max_ms": times.max() as f64 / 1e3 })
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
pub fn measure(folder: &Path) -> Result<Value> {
    let mut file = OpenOptions::new().create(true).append(true).open(folder.join("yardstick"))?;
    let block = vec![7_u8; BLOCK];
    let mut times = Histogram::<u64>::new(3)?;
    for _ in 0..SYNCS {
        let start = std::time::Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        times.record(start.elapsed().as_micros() as u64)?;
    }
    let from = vec![1_u8; COPY];
    let mut to = vec![0_u8; COPY];
    let start = Instant::now();
    to.copy_from_slice(&from);
    let copied = COPY as f64 / start.elapsed().as_secs_f64() / 1e9;
    std::hint::black_box(&to);
    Ok(json!({ "fdatasync_64k": quantiles(&times), "memcpy_gb_per_s": copied }))
}

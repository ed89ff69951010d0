//! What could the machine do at best, in this run? One file synced after each write, and memory copied.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Instant;

const SYNCS: usize = 500;
const BLOCK: usize = 64 << 10;
const COPY: usize = 256 << 20;
const COPIES: usize = 3;

/// Quantiles of a histogram of microseconds, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Quantiles {
    pub n: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Quantiles {
    pub fn of(times: &Histogram<u64>) -> Self {
        let ms = |us: u64| us as f64 / 1e3;
        Self {
            n: times.len(),
            p50_ms: ms(times.value_at_quantile(0.5)),
            p99_ms: ms(times.value_at_quantile(0.99)),
            max_ms: ms(times.max()),
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Yardsticks {
    /// Appends of 64 KiB, each with fdatasync.
    pub fdatasync: Quantiles,
    /// The best of a few copies between buffers that are in memory already.
    pub memcpy_gb_per_s: f64,
}

impl Yardsticks {
    #[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
    pub fn measure(folder: &Path) -> Result<Self> {
        let mut file = OpenOptions::new().create(true).append(true).open(folder.join("yardstick"))?;
        let block = vec![7_u8; BLOCK];
        let mut times = Histogram::<u64>::new(3)?;
        for _ in 0..SYNCS {
            let start = Instant::now();
            file.write_all(&block)?;
            file.sync_data()?;
            times.record(start.elapsed().as_micros() as u64)?;
        }
        // Both are written before they are timed: a first touch is a page fault, not a copy.
        let (from, mut to) = (vec![1_u8; COPY], vec![2_u8; COPY]);
        let mut memcpy_gb_per_s = 0.0_f64;
        for _ in 0..COPIES {
            let start = Instant::now();
            to.copy_from_slice(std::hint::black_box(&from));
            memcpy_gb_per_s = memcpy_gb_per_s.max(COPY as f64 / start.elapsed().as_secs_f64() / 1e9);
            std::hint::black_box(&mut to);
        }
        Ok(Self { fdatasync: Quantiles::of(&times), memcpy_gb_per_s })
    }
}

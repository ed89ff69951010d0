//! Which rows does a camera platform send? Detections with random keys, skewed locations, names that repeat.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};

pub const CREATE: &str = "CREATE TABLE detections (
  geographical_location_oid BIGINT NOT NULL, video_camera_oid BIGINT NOT NULL, detection_oid BIGINT NOT NULL,
  item_name VARCHAR NOT NULL, timestamp_detected TIMESTAMP NOT NULL, PRIMARY KEY (detection_oid)
) WITH (time_column = 'timestamp_detected', sort_by = 'geographical_location_oid, timestamp_detected')";

/// How long the names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// About 12 bytes: 44 bytes a row.
    Thin,
    /// 5,000 bytes.
    Fat,
}

const N_LOCATIONS: u64 = 1_000;
const N_NAMES: usize = 1_000;
const FAT_BYTES: usize = 5_000;

/// An endless, reproducible stream of detections.
pub struct Detections {
    state: u64,
    names: Vec<String>,
}

/// The finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection, so that keys never repeat.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Detections {
    pub fn new(shape: Shape) -> Self {
        let name = |i: usize| match shape {
            Shape::Thin => format!("item {}", mix(i as u64) % 100_000),
            Shape::Fat => {
                // Words, as descriptions have them, so that compression finds what it would find in life.
                let words = (0..).map(|w| format!("w{} ", mix((i * 10_000 + w) as u64) % 5_000));
                let mut text = String::with_capacity(FAT_BYTES + 8);
                for word in words {
                    text.push_str(&word);
                    if text.len() >= FAT_BYTES {
                        break;
                    }
                }
                text.truncate(FAT_BYTES);
                text
            }
        };
        Self { state: 0, names: (0..N_NAMES).map(name).collect() }
    }

    /// `n` rows, detected now.
    #[expect(clippy::disallowed_methods, reason = "event times of a load are the time of sending")]
    pub fn batch(&mut self, n: usize) -> Result<RecordBatch> {
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as i64;
        let ids: Vec<u64> = (0..n as u64).map(|i| self.state + 1 + i).collect();
        self.state += n as u64;
        // The square makes low numbers frequent, as busy places and common items are.
        let skewed = |id: u64, salt: u64, n: u64| {
            let unit = (mix(id ^ salt) >> 11) as f64 / (1_u64 << 53) as f64;
            (unit * unit * n as f64) as u64
        };
        let locations = Int64Array::from_iter_values(ids.iter().map(|id| skewed(*id, 1 << 40, N_LOCATIONS) as i64));
        let cameras = Int64Array::from_iter_values(ids.iter().map(|id| (mix(id ^ 2 << 40) % 16) as i64));
        let keys = Int64Array::from_iter_values(ids.iter().map(|id| mix(*id) as i64));
        let names = ids.iter().map(|id| self.names[skewed(*id, 3 << 40, N_NAMES as u64) as usize].as_str());
        let names = StringArray::from_iter_values(names);
        let times = TimestampMicrosecondArray::from_value(now_us, n);
        let columns: [(&str, ArrayRef); 5] = [
            ("geographical_location_oid", Arc::new(locations)),
            ("video_camera_oid", Arc::new(cameras)),
            ("detection_oid", Arc::new(keys)),
            ("item_name", Arc::new(names)),
            ("timestamp_detected", Arc::new(times)),
        ];
        Ok(RecordBatch::try_from_iter(columns)?)
    }
}

//! Which rows does a camera platform send? Detections with random keys, skewed locations, names that repeat.

use std::borrow::Cow;
use std::fmt::Write;
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
    /// 5,000 bytes, 20,000 different ones: items that are seen again and again.
    FatRepeated,
    /// 5,000 bytes, no two alike: descriptions.
    FatUnique,
}

const N_LOCATIONS: u64 = 1_000;
const N_THIN_NAMES: u64 = 1_000;
const N_FAT_NAMES: u64 = 20_000;
const FAT_BYTES: usize = 5_000;
/// Text that names of 5,000 bytes are cut from: long enough that two of one batch hardly ever overlap.
const TEXT_BYTES: usize = 128 << 20;

/// An endless, reproducible stream of detections.
pub struct Detections {
    shape: Shape,
    state: u64,
    /// Words, as descriptions have them, so that compression finds what it would find in life.
    text: String,
}

/// The finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection, so that keys never repeat.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The square makes low numbers frequent, as busy places and common items are.
fn skewed(id: u64, salt: u64, n: u64) -> u64 {
    let unit = (mix(id ^ salt << 40) >> 11) as f64 / (1_u64 << 53) as f64;
    (unit * unit * n as f64) as u64
}

fn key(id: u64) -> i64 {
    mix(id) as i64
}

impl Detections {
    pub fn new(shape: Shape) -> Self {
        let mut text = String::new();
        if shape != Shape::Thin {
            text.reserve(TEXT_BYTES + 8);
            for word in 0.. {
                if text.len() >= TEXT_BYTES {
                    break;
                }
                let _ = write!(text, "w{} ", mix(word) % 5_000);
            }
        }
        Self { shape, state: 0, text }
    }

    /// The key of the last row so far.
    pub fn last_key(&self) -> i64 {
        key(self.state)
    }

    /// The name of row `id`.
    fn name(&self, id: u64) -> Cow<'_, str> {
        match self.shape {
            Shape::Thin => format!("item {}", mix(skewed(id, 3, N_THIN_NAMES)) % 100_000).into(),
            Shape::FatRepeated => self.cut(mix(skewed(id, 3, N_FAT_NAMES))).into(),
            // The number alone would be enough to make it another text.
            Shape::FatUnique => {
                let number = format!("{id:016x}");
                format!("{number}{}", &self.cut(mix(id))[number.len()..]).into()
            }
        }
    }

    fn cut(&self, at: u64) -> &str {
        let start = at as usize % (self.text.len() - FAT_BYTES);
        &self.text[start..start + FAT_BYTES]
    }

    /// `n` rows, detected now.
    #[expect(clippy::disallowed_methods, reason = "event times of a load are the time of sending")]
    pub fn batch(&mut self, n: usize) -> Result<RecordBatch> {
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as i64;
        let ids: Vec<u64> = (0..n as u64).map(|i| self.state + 1 + i).collect();
        self.state += n as u64;
        let locations = Int64Array::from_iter_values(ids.iter().map(|id| skewed(*id, 1, N_LOCATIONS) as i64));
        let cameras = Int64Array::from_iter_values(ids.iter().map(|id| (mix(id ^ 2 << 40) % 16) as i64));
        let keys = Int64Array::from_iter_values(ids.iter().map(|id| key(*id)));
        let names = StringArray::from_iter_values(ids.iter().map(|id| self.name(*id)));
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

//! Which rows does a camera platform send? Detections with random keys, busy and quiet locations and cameras, names that repeat.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};

use crate::places::Places;

pub const CREATE: &str = "CREATE TABLE detections (
  geographical_location_oid BIGINT NOT NULL, video_camera_oid BIGINT NOT NULL, detection_oid BIGINT NOT NULL,
  item_name VARCHAR NOT NULL, timestamp_detected TIMESTAMP NOT NULL, PRIMARY KEY (detection_oid)
) WITH (time_column = 'timestamp_detected', sort_by = 'geographical_location_oid, timestamp_detected')";

/// How long the names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// 20 to 30 bytes, 5,000 different ones, as items are called.
    Thin,
    /// 5,000 bytes, 20,000 different ones: items that are seen again and again.
    FatRepeated,
    /// 5,000 bytes, no two alike: descriptions.
    FatUnique,
}

const N_FAT_NAMES: u64 = 20_000;
const FAT_BYTES: usize = 5_000;
/// Text that names of 5,000 bytes are cut from: long enough that two of one batch hardly ever overlap.
const TEXT_BYTES: usize = 128 << 20;

/// When the rows were detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// As they are sent.
    Now,
    /// Over the 24 hours before now, of which `n_rows` rows are a whole day, 40 % more of them at its height and 40 % fewer at its depth than
    /// on average. With `late` as a platform has it: 90 % within 2 s, 9 % within 5 minutes, 0.9 % within a day, 0.1 % within 5 days before the time that their place in the stream has.
    Day { n_rows: u64, late: bool },
}

const SECOND_US: u64 = 1_000_000;
const DAY_US: u64 = 86_400 * SECOND_US;

/// How late a row is, in µs: the shares of [`Times::Day`], evenly spread within each but the second, which falls off.
fn lateness_us(id: u64) -> u64 {
    let (share, within) = (mix(id ^ 4 << 40) % 1_000, mix(id ^ 5 << 40));
    match share {
        0..900 => within % (2 * SECOND_US),
        900..990 => {
            let unit = (within >> 11) as f64 / (1_u64 << 53) as f64;
            // A mean of one minute, cut at five.
            ((-(1.0 - unit).ln() * 60.0).min(300.0) * SECOND_US as f64) as u64
        }
        990..999 => within % DAY_US,
        _ => within % (5 * DAY_US),
    }
}

/// When of a day, from 0 to 1, this part of its rows had come: they come by 1 + 0.4 sin 2πt, whose integral is inverted by Newton's method.
fn time_of_day(part: f64) -> f64 {
    use std::f64::consts::TAU;
    const SWING: f64 = 0.4;
    let mut time = part;
    for _ in 0..6 {
        let come = time + SWING / TAU * (1.0 - (TAU * time).cos());
        time -= (come - part) / (1.0 + SWING * (TAU * time).sin());
    }
    time
}

/// An endless, reproducible stream of detections.
pub struct Detections {
    shape: Shape,
    places: Places,
    /// Keys are numbers in order, as a sequence gives them, instead of random.
    is_ordered: bool,
    times: Times,
    /// The time of the stream's begin, in µs.
    begun_us: i64,
    state: u64,
    /// Words, as descriptions have them, so that compression finds what it would find in life.
    text: String,
}

/// The finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection, so that keys never repeat.
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The square makes low numbers frequent, as common items are.
fn skewed(id: u64, salt: u64, n: u64) -> u64 {
    let unit = (mix(id ^ salt << 40) >> 11) as f64 / (1_u64 << 53) as f64;
    (unit * unit * n as f64) as u64
}

/// The wall clock, in µs since 1970.
#[expect(clippy::disallowed_methods, reason = "event times of a load are the time of sending")]
pub fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// The key of row `id`; the first row has id 1.
pub fn key(id: u64) -> i64 {
    mix(id) as i64
}

impl Detections {
    pub fn new(shape: Shape) -> Result<Self> {
        Self::over(shape, Times::Now)
    }

    pub fn over(shape: Shape, times: Times) -> Result<Self> {
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
        Ok(Self { shape, places: Places::new()?, is_ordered: false, times, begun_us: now_us(), state: 0, text })
    }

    /// The time of the stream's begin, in µs: [`Times::Day`] ends here.
    pub fn begun_us(&self) -> i64 {
        self.begun_us
    }

    /// The same rows with keys as a sequence gives them.
    pub fn ordered(self) -> Self {
        Self { is_ordered: true, ..self }
    }

    /// The key of the last row so far.
    pub fn last_key(&self) -> i64 {
        self.key(self.state)
    }

    fn key(&self, id: u64) -> i64 {
        if self.is_ordered { id as i64 } else { key(id) }
    }

    /// The name of row `id`.
    fn name(&self, id: u64) -> Cow<'_, str> {
        match self.shape {
            Shape::Thin => self.places.name(id, 3).into(),
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

    /// When row `id` was detected, in µs, if it is not now.
    fn detected_us(&self, id: u64, n_rows: u64, late: bool) -> i64 {
        let behind = DAY_US as f64 * (1.0 - time_of_day(id as f64 / n_rows as f64));
        self.begun_us - behind as i64 - if late { lateness_us(id) as i64 } else { 0 }
    }

    /// The next `n` rows.
    pub fn batch(&mut self, n: usize) -> Result<RecordBatch> {
        let ids: Vec<u64> = (0..n as u64).map(|i| self.state + 1 + i).collect();
        self.state += n as u64;
        let location = |id: u64| self.places.location(id, 1);
        let locations = Int64Array::from_iter_values(ids.iter().map(|id| location(*id) as i64));
        let camera = |id: u64| self.places.camera(id, 2, location(id));
        let cameras = Int64Array::from_iter_values(ids.iter().map(|id| camera(*id) as i64));
        let keys = Int64Array::from_iter_values(ids.iter().map(|id| self.key(*id)));
        let names = StringArray::from_iter_values(ids.iter().map(|id| self.name(*id)));
        let times = match self.times {
            Times::Now => TimestampMicrosecondArray::from_value(now_us(), n),
            Times::Day { n_rows, late } => {
                TimestampMicrosecondArray::from_iter_values(ids.iter().map(|id| self.detected_us(*id, n_rows, late)))
            }
        };
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

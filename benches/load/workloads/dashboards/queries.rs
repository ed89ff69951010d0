//! What does a dashboard ask? Ten queries of a camera platform, in SQL that all engines read alike; no two calls have the same literals.

use std::fmt::Write;

use anyhow::{Context, Result};
use arrow::temporal_conversions::timestamp_us_to_datetime;

use crate::places::Places;
use crate::rows;

/// A query as a dashboard asks it again and again.
pub struct Question {
    pub name: &'static str,
    /// How often it is asked in a round: what takes long is asked less often.
    pub calls: usize,
    /// It is one of the ten. The other is there to see what any statement costs.
    pub is_counted: bool,
    /// It asks for a key, which DataFusion by itself has no index for.
    pub is_look_up: bool,
    sql: fn(&Literals) -> String,
}

/// What is asked about.
pub struct Day {
    /// Rows of `detections`, whose keys are those of the first so many ids.
    pub n_rows: u64,
    /// The end of the stream's time, µs; it began 24 hours before.
    pub last_us: i64,
}

/// What varies from call to call.
struct Literals {
    /// Frequent ones more often, as people look at busy places.
    location: u64,
    camera: u64,
    /// A condition on the time of detection.
    window: String,
    hit: i64,
    miss: i64,
    number: u64,
}

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;
const DAY_US: i64 = 24 * 60 * MINUTE_US;
const WINDOW_US: i64 = 15 * MINUTE_US;

/// Of so many calls most ask about the last 15 minutes, some about the last 24 hours, and one about any 15 minutes. The same in every
/// round, so that rounds can be compared.
const MIX: usize = 20;
const MIX_RECENT: usize = 16;
const MIX_DAY: usize = 3;

const COLUMNS: &str = "geographical_location_oid, video_camera_oid, detection_oid, item_name, timestamp_detected";

/// Every answer has one order, so that answers can be compared.
pub static QUESTIONS: [Question; 12] = [
    Question {
        name: "q1_top_items_of_location",
        calls: MIX,
        is_counted: true,
        is_look_up: false,
        sql: top_items_of_location,
    },
    Question {
        name: "q2_by_minute_of_location",
        calls: MIX,
        is_counted: true,
        is_look_up: false,
        sql: by_minute_of_location,
    },
    Question { name: "q3_by_minute", calls: MIX, is_counted: true, is_look_up: false, sql: by_minute },
    Question { name: "q4_latest_by_camera", calls: MIX, is_counted: true, is_look_up: false, sql: latest_by_camera },
    Question {
        name: "q5_distinct_items_of_location",
        calls: MIX,
        is_counted: true,
        is_look_up: false,
        sql: distinct_items_of_location,
    },
    Question { name: "q6_key_that_is_there", calls: MIX, is_counted: true, is_look_up: true, sql: |of| by_key(of.hit) },
    Question { name: "q6_key_that_is_not", calls: MIX, is_counted: true, is_look_up: true, sql: |of| by_key(of.miss) },
    Question { name: "q7_top_items", calls: MIX, is_counted: true, is_look_up: false, sql: top_items },
    Question { name: "q8_by_region", calls: MIX, is_counted: true, is_look_up: false, sql: by_region },
    Question {
        name: "q9_last_rows_of_camera",
        calls: MIX,
        is_counted: true,
        is_look_up: false,
        sql: last_rows_of_camera,
    },
    Question { name: "q10_by_camera_of_all", calls: 3, is_counted: true, is_look_up: false, sql: by_camera_of_all },
    Question {
        name: "one_row_of_a_small_table",
        calls: MIX,
        is_counted: false,
        is_look_up: false,
        sql: region_of_location,
    },
];

impl Question {
    /// The statements of one round.
    pub fn statements(&self, day: &Day, round: usize) -> Result<Vec<String>> {
        let place = QUESTIONS.iter().position(|other| other.name == self.name).context("an unknown question")?;
        (0..self.calls)
            .map(|call| {
                let id = ((place * 1_000 + round) * 1_000 + call) as u64;
                Ok((self.sql)(&literals(day, id, call)?))
            })
            .collect()
    }
}

fn literals(day: &Day, id: u64, call: usize) -> Result<Literals> {
    // One draw for each literal.
    let draw = |salt: u64| rows::mix(id ^ salt << 40);
    let key = draw(14) % day.n_rows;
    let places = Places::new()?;
    let location = places.location(id, 11);
    Ok(Literals {
        location,
        camera: places.camera(id, 12, location),
        window: window(day, call, (draw(13) >> 1) as i64)?,
        hit: rows::key(1 + key),
        miss: rows::key(1 + key + day.n_rows),
        number: id,
    })
}

/// Times to the microsecond, so that no two windows are alike.
fn window(day: &Day, call: usize, draw: i64) -> Result<String> {
    let at = |us: i64| timestamp_us_to_datetime(us).context("a time that no calendar has");
    let jitter_us = draw % MINUTE_US;
    let since = |us: i64| -> Result<String> { Ok(format!("timestamp_detected >= TIMESTAMP '{}'", at(us)?)) };
    match call % MIX {
        0..MIX_RECENT => since(day.last_us - WINDOW_US - jitter_us),
        kind if kind < MIX_RECENT + MIX_DAY => since(day.last_us - DAY_US + jitter_us),
        _ => {
            let from_us = day.last_us - DAY_US + draw % (DAY_US - WINDOW_US);
            let mut both = since(from_us)?;
            write!(both, " AND timestamp_detected < TIMESTAMP '{}'", at(from_us + WINDOW_US)?)?;
            Ok(both)
        }
    }
}

fn top_items_of_location(of: &Literals) -> String {
    format!(
        "SELECT item_name, count(*) AS n FROM detections WHERE geographical_location_oid = {} AND {} \
         GROUP BY item_name ORDER BY n DESC, item_name LIMIT 10",
        of.location, of.window
    )
}

fn by_minute_of_location(of: &Literals) -> String {
    format!(
        "SELECT date_trunc('minute', timestamp_detected), count(*) FROM detections \
         WHERE geographical_location_oid = {} AND {} GROUP BY 1 ORDER BY 1",
        of.location, of.window
    )
}

fn by_minute(of: &Literals) -> String {
    format!(
        "SELECT date_trunc('minute', timestamp_detected), count(*) FROM detections WHERE {} GROUP BY 1 ORDER BY 1",
        of.window
    )
}

/// Without a window: a camera that has been silent for long is what one looks for.
fn latest_by_camera(of: &Literals) -> String {
    format!(
        "SELECT video_camera_oid, max(timestamp_detected) FROM detections WHERE geographical_location_oid = {} \
         GROUP BY 1 ORDER BY 1",
        of.location
    )
}

fn distinct_items_of_location(of: &Literals) -> String {
    format!(
        "SELECT count(DISTINCT item_name) FROM detections WHERE geographical_location_oid = {} AND {}",
        of.location, of.window
    )
}

fn by_key(key: i64) -> String {
    format!("SELECT {COLUMNS} FROM detections WHERE detection_oid = {key}")
}

fn top_items(of: &Literals) -> String {
    format!(
        "SELECT item_name, count(*) AS n FROM detections WHERE {} GROUP BY item_name ORDER BY n DESC, item_name LIMIT 10",
        of.window
    )
}

fn by_region(of: &Literals) -> String {
    format!(
        "SELECT region, count(*) AS n FROM detections JOIN locations ON geographical_location_oid = oid WHERE {} \
         GROUP BY region ORDER BY n DESC, region",
        of.window
    )
}

fn last_rows_of_camera(of: &Literals) -> String {
    format!(
        "SELECT {COLUMNS} FROM detections WHERE geographical_location_oid = {} AND video_camera_oid = {} \
         ORDER BY timestamp_detected DESC, detection_oid DESC LIMIT 100",
        of.location, of.camera
    )
}

/// The HAVING keeps every camera: it is the literal that varies. A camera has more rows than there are calls.
fn by_camera_of_all(of: &Literals) -> String {
    format!(
        "SELECT video_camera_oid, count(*) FROM detections GROUP BY 1 HAVING count(*) <> -{} ORDER BY 1",
        1 + of.number
    )
}

fn region_of_location(of: &Literals) -> String {
    format!("SELECT region FROM locations WHERE oid = {}", of.location)
}

//! Which table do detections go to, and how do rows become a batch?

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::error::ArrowError;

use super::items::Items;
use super::stream::Row;

pub const TABLE: &str = "detections";

pub const LOCATION: &str = "geographical_location_oid";
pub const CAMERA: &str = "video_camera_oid";
/// The primary key.
pub const KEY: &str = "detection_oid";
pub const ITEM: &str = "item_name";
/// The time column: when it was detected, by the camera's clock.
pub const TIME: &str = "timestamp_detected";

/// The statement that creates the table.
pub fn create() -> String {
    format!(
        "CREATE TABLE {TABLE} ({LOCATION} BIGINT NOT NULL, {CAMERA} BIGINT NOT NULL, {KEY} BIGINT NOT NULL, \
         {ITEM} VARCHAR NOT NULL, {TIME} TIMESTAMP NOT NULL, PRIMARY KEY ({KEY})) \
         WITH (time_column = '{TIME}', sort_by = '{LOCATION}, {TIME}')"
    )
}

/// The rows as a producer sends them.
pub fn batch(rows: &[Row], items: &Items) -> Result<RecordBatch, ArrowError> {
    let integers = |of: fn(&Row) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) };
    let names = StringArray::from_iter_values(rows.iter().map(|row| items.name(row.item)));
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.detected_us));
    RecordBatch::try_from_iter([
        (LOCATION, integers(|row| i64::from(row.location))),
        (CAMERA, integers(|row| i64::from(row.camera))),
        (KEY, integers(|row| row.key)),
        (ITEM, Arc::new(names) as ArrayRef),
        (TIME, Arc::new(times) as ArrayRef),
    ])
}

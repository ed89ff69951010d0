//! How do time functions read their arguments and write their results? Columns of times as microseconds and back.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Time64MicrosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::compute::{cast, max, min};
use arrow::datatypes::{
    DataType, Date32Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;

use super::bucket::{Buckets, EvenBuckets};
use super::zone::ZoneClock;

const DAY_US: i64 = 86_400_000_000;

/// The type in which a time argument is computed and given back; `None` if it is not a time.
pub(super) fn time_type(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Timestamp(TimeUnit::Nanosecond | TimeUnit::Microsecond, _) => data_type.clone(),
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Date32 | DataType::Date64 => DataType::Date32,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        _ => return None,
    })
}

/// The zone of an instant's type, unless it is UTC: then nobody chose it.
pub(super) fn chosen_zone(data_type: &DataType) -> Option<&str> {
    match data_type {
        DataType::Timestamp(_, Some(zone)) if !is_utc(zone) => Some(zone),
        _ => None,
    }
}

/// Names of UTC that types have.
pub(super) fn is_utc(zone: &str) -> bool {
    ["UTC", "+00:00", "Z"].contains(&zone)
}

/// The start of the bucket of each value, of the same type. `zone` is the zone of instants; `None` is UTC.
pub(super) fn floor(value: &ColumnarValue, buckets: Buckets, zone: Option<&str>) -> Result<ColumnarValue> {
    match value {
        ColumnarValue::Array(array) => Ok(ColumnarValue::Array(floor_array(array, buckets, zone)?)),
        ColumnarValue::Scalar(scalar) => {
            let array = floor_array(&scalar.to_array()?, buckets, zone)?;
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
        }
    }
}

/// Floors one time after another.
struct Floorer {
    buckets: Buckets,
    zone: RefCell<Option<ZoneClock>>,
    /// Rows that follow each other often have one time: the last answer is tried first.
    last: Cell<Option<(i64, i64)>>,
}

impl Floorer {
    fn new(buckets: Buckets, zone: Option<&str>) -> Result<Self> {
        let zone = match zone {
            Some(name) if !is_utc(name) => Some(ZoneClock::new(name)?),
            _ => None,
        };
        Ok(Self { buckets, zone: RefCell::new(zone), last: Cell::new(None) })
    }

    fn floor(&self, us: i64) -> Result<i64> {
        if let Some((at, start)) = self.last.get()
            && at == us
        {
            return Ok(start);
        }
        let start = match &mut *self.zone.borrow_mut() {
            Some(zone) => self.buckets.floor_in(zone, us)?,
            None => self.buckets.floor(us)?,
        };
        self.last.set(Some((us, start)));
        Ok(start)
    }

    /// Floors all of these without a look at what came before. `None`: a zone may move their buckets, or not all are in range.
    fn even(&self, times: &TimestampMicrosecondArray) -> Option<EvenBuckets> {
        if self.zone.borrow().is_some() {
            return None;
        }
        self.buckets.even(min(times)?, max(times)?)
    }
}

fn floor_array(array: &ArrayRef, buckets: Buckets, zone: Option<&str>) -> Result<ArrayRef> {
    let floorer = Floorer::new(buckets, zone)?;
    let floor = |us: i64| floorer.floor(us);
    Ok(match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let times = array.as_primitive::<TimestampMicrosecondType>();
            let floored: TimestampMicrosecondArray = match floorer.even(times) {
                Some(buckets) => times.unary(|us| buckets.floor(us)),
                None => times.try_unary(floor)?,
            };
            Arc::new(floored.with_timezone_opt(zone.clone()))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            let in_ns = |ns: i64| match floor(ns.div_euclid(1000))?.checked_mul(1000) {
                Some(start) => Ok(start),
                None => exec_err!("the bucket of {ns} ns is outside the range of timestamps"),
            };
            let floored: TimestampNanosecondArray = array.as_primitive::<TimestampNanosecondType>().try_unary(in_ns)?;
            Arc::new(floored.with_timezone_opt(zone.clone()))
        }
        DataType::Date32 => {
            let in_days = |day: i32| -> Result<i32> {
                let start = floor(i64::from(day) * DAY_US)?.div_euclid(DAY_US);
                i32::try_from(start).or_else(|_| exec_err!("the bucket of day {day} is outside the range of dates"))
            };
            let floored: Date32Array = array.as_primitive::<Date32Type>().try_unary(in_days)?;
            Arc::new(floored)
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let floored: Time64MicrosecondArray = array.as_primitive::<Time64MicrosecondType>().try_unary(floor)?;
            Arc::new(floored)
        }
        other => return exec_err!("{other} is not a time"),
    })
}

/// A constant argument; `None` for NULL.
pub(super) fn constant(value: &ColumnarValue, what: &str) -> Result<Option<ScalarValue>> {
    match value {
        ColumnarValue::Scalar(scalar) => Ok((!scalar.is_null()).then(|| scalar.clone())),
        ColumnarValue::Array(array) if array.len() == 1 => {
            let scalar = ScalarValue::try_from_array(array, 0)?;
            Ok((!scalar.is_null()).then_some(scalar))
        }
        ColumnarValue::Array(_) => exec_err!("the {what} must be the same for all rows"),
    }
}

/// Microseconds of a time: since 1970 for an instant, of the wall clock for the others.
pub(super) fn microseconds(scalar: &ScalarValue) -> Result<i64> {
    let zone = match scalar.data_type() {
        DataType::Timestamp(_, zone) => zone,
        _ => None,
    };
    let array = cast(&scalar.to_array()?, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
    Ok(array.as_primitive::<TimestampMicrosecondType>().value(0))
}

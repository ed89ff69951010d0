//! How are dates and times cast? Finer than µs is cut off towards −∞; between instants and plain times stands the zone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};

use super::range::DAY_US;
use super::zone::{Zone, wall_text};
use super::{Mismatch, Report, report_lost};
use crate::admission::rows::RejectCode;
use crate::catalog::sql_type;

type Micros = PrimitiveArray<TimestampMicrosecondType>;

/// Whether [`cast_times`] does this cast.
pub(super) fn casts(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    match to {
        T::Timestamp(..) | T::Date32 => matches!(from, T::Timestamp(..) | T::Date32 | T::Date64),
        T::Time64(_) => matches!(from, T::Time32(_) | T::Time64(_)),
        _ => false,
    }
}

/// Dates, times of day and timestamps of any unit as DATE, TIME, TIMESTAMP or TIMESTAMPTZ.
pub(super) fn cast_times(
    array: &ArrayRef,
    to: &DataType,
    zone: &Zone,
    report: &mut Report<'_>,
) -> Result<ArrayRef, Mismatch> {
    use DataType as T;
    let instant = |data_type: &T| matches!(data_type, T::Timestamp(_, Some(_)));
    match (array.data_type(), to) {
        (T::Time32(_) | T::Time64(_), T::Time64(_)) => Ok(Arc::new(times_of_day(array, report)?)),
        // A Date64 is a date: what it has beside whole days (the format forbids it) is cut off.
        (T::Date64, T::Date32) => {
            Ok(Arc::new(days(array.as_primitive::<Date64Type>(), |ms| ms.div_euclid(86_400_000), report)))
        }
        (from, to) => {
            let micros = micros(array, report)?;
            match (instant(from), instant(to), to) {
                (_, false, T::Date32) => {
                    let wall = if instant(from) { to_wall(&micros, zone, report) } else { micros };
                    Ok(Arc::new(whole_days(&wall, report)))
                }
                (false, true, T::Timestamp(_, Some(utc))) => {
                    Ok(Arc::new(to_instants(&micros, zone, report).with_timezone(utc.clone())))
                }
                (true, false, _) => Ok(Arc::new(to_wall(&micros, zone, report))),
                (true, true, T::Timestamp(_, Some(utc))) => Ok(Arc::new(micros.with_timezone(utc.clone()))),
                _ => Ok(Arc::new(micros)),
            }
        }
    }
}

/// Any date or timestamp as µs since 1970, without a zone.
fn micros(array: &ArrayRef, report: &mut Report<'_>) -> Result<Micros, Mismatch> {
    use DataType as T;
    Ok(match array.data_type() {
        T::Date32 => scaled(array.as_primitive::<Date32Type>(), |days| i64::from(days).checked_mul(DAY_US), report),
        T::Date64 => scaled(array.as_primitive::<Date64Type>(), |ms| ms.checked_mul(1000), report),
        T::Timestamp(TimeUnit::Second, _) => {
            scaled(array.as_primitive::<TimestampSecondType>(), |s| s.checked_mul(1_000_000), report)
        }
        T::Timestamp(TimeUnit::Millisecond, _) => {
            scaled(array.as_primitive::<TimestampMillisecondType>(), |ms| ms.checked_mul(1000), report)
        }
        T::Timestamp(TimeUnit::Microsecond, _) => {
            let values = array.as_primitive::<TimestampMicrosecondType>();
            Micros::new(values.values().clone(), values.nulls().cloned())
        }
        T::Timestamp(TimeUnit::Nanosecond, _) => {
            scaled(array.as_primitive::<TimestampNanosecondType>(), |ns| Some(ns.div_euclid(1000)), report)
        }
        _ => return Err(Mismatch(None)),
    })
}

fn times_of_day(array: &ArrayRef, report: &mut Report<'_>) -> Result<PrimitiveArray<Time64MicrosecondType>, Mismatch> {
    use DataType as T;
    Ok(match array.data_type() {
        T::Time32(TimeUnit::Second) => {
            scaled(array.as_primitive::<Time32SecondType>(), |s| Some(i64::from(s) * 1_000_000), report)
        }
        T::Time32(TimeUnit::Millisecond) => {
            scaled(array.as_primitive::<Time32MillisecondType>(), |ms| Some(i64::from(ms) * 1000), report)
        }
        T::Time64(TimeUnit::Nanosecond) => {
            scaled(array.as_primitive::<Time64NanosecondType>(), |ns| Some(ns.div_euclid(1000)), report)
        }
        _ => return Err(Mismatch(None)),
    })
}

/// The values in another unit; those that overflow are reported.
fn scaled<F: ArrowPrimitiveType, T: ArrowPrimitiveType>(
    values: &PrimitiveArray<F>,
    scale: impl Fn(F::Native) -> Option<T::Native>,
    report: &mut Report<'_>,
) -> PrimitiveArray<T> {
    let out: PrimitiveArray<T> = values.unary_opt(scale);
    let message = |row: usize| format!("the value {:?} does not fit µs since 1970", values.value(row));
    report_lost(values, &out, RejectCode::OutOfRange, &message, report);
    out
}

fn days(
    values: &PrimitiveArray<Date64Type>,
    whole: impl Fn(i64) -> i64,
    report: &mut Report<'_>,
) -> PrimitiveArray<Date32Type> {
    scaled(values, |ms| i32::try_from(whole(ms)).ok(), report)
}

/// Times that are midnight as dates; a time of day would be lost, so it is reported.
fn whole_days(values: &Micros, report: &mut Report<'_>) -> PrimitiveArray<Date32Type> {
    let day = |us: i64| (us.rem_euclid(DAY_US) == 0).then(|| i32::try_from(us.div_euclid(DAY_US)).ok()).flatten();
    let out: PrimitiveArray<Date32Type> = values.unary_opt(day);
    let message = |row: usize| {
        format!("{} is not midnight, {} has no time of day", time_text(values.value(row)), sql_type(&DataType::Date32))
    };
    report_lost(values, &out, RejectCode::OutOfRange, &message, report);
    out
}

fn to_wall(instants: &Micros, zone: &Zone, report: &mut Report<'_>) -> Micros {
    let out: Micros = instants.unary_opt(|us| zone.to_wall(us));
    let message = |row: usize| format!("the value {} is out of range for TIMESTAMP", instants.value(row));
    report_lost(instants, &out, RejectCode::OutOfRange, &message, report);
    out
}

fn to_instants(walls: &Micros, zone: &Zone, report: &mut Report<'_>) -> Micros {
    let out: Micros = walls.unary_opt(|us| zone.to_instant(us));
    report_lost(walls, &out, RejectCode::OutOfRange, &|row| skipped(walls.value(row), zone), report);
    out
}

/// The message for a time that the clocks of a zone skip.
pub(super) fn skipped(wall_us: i64, zone: &Zone) -> String {
    format!("{} does not exist in {}: the clocks skip it", time_text(wall_us), zone.name())
}

fn time_text(us: i64) -> String {
    wall_text(us).unwrap_or_else(|| us.to_string())
}

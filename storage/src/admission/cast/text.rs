//! How is text read as a value of another type? Strictly: all of it, or the row is bad.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanBuilder, PrimitiveBuilder, StringArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DecimalType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use chrono::{Datelike, NaiveDate};

use super::range::DAY_US;
use super::times::skipped;
use super::zone::Zone;
use super::{Mismatch, Report};
use crate::admission::refusals::shown;
use crate::admission::rows::RejectCode;
use crate::catalog::sql_type;

/// Why a text has no value of the type.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not written like one.
    Syntax,
    /// It is, and the type cannot hold it.
    Range,
    /// The zone's clocks skip this time.
    Skipped(i64),
}

/// Text as the canonical type `to`.
///
/// Integers and decimals: decimal digits, exponents as long as nothing is lost. Floats: also `NaN`, `Infinity`. BOOLEAN:
/// true/false, t/f, yes/no, y/n, on/off, 1/0. VARBINARY: hexadecimal, `\x` before it or not. DATE `YYYY-MM-DD` or `YYYY-M-D`, TIME
/// `HH:MM:SS[.f]`; TIMESTAMP[TZ]: RFC 3339 or with a space, offset or not, time of day or not.
pub(super) fn from_text(
    text: &StringArray,
    to: &DataType,
    zone: &Zone,
    report: &mut Report<'_>,
) -> Result<ArrayRef, Mismatch> {
    use DataType as T;
    fn int<T: TryFrom<i128>>(text: &str) -> Result<T, Fault> {
        T::try_from(parse_int(text)?).map_err(|_| Fault::Range)
    }
    let array: ArrayRef = match to {
        T::Boolean => booleans(text, to, zone, report),
        T::Int8 => parsed::<Int8Type>(text, to, zone, report, int),
        T::Int16 => parsed::<Int16Type>(text, to, zone, report, int),
        T::Int32 => parsed::<Int32Type>(text, to, zone, report, int),
        T::Int64 => parsed::<Int64Type>(text, to, zone, report, int),
        T::UInt8 => parsed::<UInt8Type>(text, to, zone, report, int),
        T::UInt16 => parsed::<UInt16Type>(text, to, zone, report, int),
        T::UInt32 => parsed::<UInt32Type>(text, to, zone, report, int),
        T::UInt64 => parsed::<UInt64Type>(text, to, zone, report, int),
        T::Float32 => parsed::<Float32Type>(text, to, zone, report, |text| {
            let value = text.parse::<f32>().map_err(|_| Fault::Syntax)?;
            finite_unless_written(value.is_infinite(), text).map(|()| value)
        }),
        T::Float64 => parsed::<Float64Type>(text, to, zone, report, |text| {
            let value = text.parse::<f64>().map_err(|_| Fault::Syntax)?;
            finite_unless_written(value.is_infinite(), text).map(|()| value)
        }),
        T::Decimal128(precision, scale) => parsed::<Decimal128Type>(text, to, zone, report, |text| {
            let value = parse_decimal(text, i64::from(*scale))?;
            Decimal128Type::validate_decimal_precision(value, *precision, *scale)
                .map(|()| value)
                .map_err(|_| Fault::Range)
        }),
        T::Binary => binaries(text, to, zone, report),
        T::Date32 => parsed::<Date32Type>(text, to, zone, report, |text| {
            parse_date(text.as_bytes()).or_else(|| parse_short_date(text.as_bytes())).ok_or(Fault::Syntax)
        }),
        T::Time64(_) => {
            parsed::<Time64MicrosecondType>(text, to, zone, report, |text| match parse_time_of_day(text.as_bytes()) {
                Some((us, [])) => Ok(us),
                _ => Err(Fault::Syntax),
            })
        }
        T::Timestamp(_, None) => {
            parsed::<TimestampMicrosecondType>(text, to, zone, report, |text| match parse_timestamp(text)? {
                (wall, None) => Ok(wall),
                (wall, Some(offset_us)) => zone.to_wall(wall - offset_us).ok_or(Fault::Range),
            })
        }
        T::Timestamp(_, Some(_)) => {
            parsed::<TimestampMicrosecondType>(text, to, zone, report, |text| match parse_timestamp(text)? {
                (wall, None) => zone.to_instant(wall).ok_or(Fault::Skipped(wall)),
                (wall, Some(offset_us)) => Ok(wall - offset_us),
            })
        }
        _ => return Err(Mismatch(None)),
    };
    Ok(array)
}

/// Parses row by row; faults are reported.
fn parsed<T: ArrowPrimitiveType>(
    text: &StringArray,
    to: &DataType,
    zone: &Zone,
    report: &mut Report<'_>,
    parse: impl Fn(&str) -> Result<T::Native, Fault>,
) -> ArrayRef {
    let mut out = PrimitiveBuilder::<T>::with_capacity(text.len()).with_data_type(to.clone());
    each(text, to, zone, report, parse, |value| out.append_option(value));
    Arc::new(out.finish())
}

fn booleans(text: &StringArray, to: &DataType, zone: &Zone, report: &mut Report<'_>) -> ArrayRef {
    let mut out = BooleanBuilder::with_capacity(text.len());
    each(text, to, zone, report, parse_bool, |value| out.append_option(value));
    Arc::new(out.finish())
}

fn binaries(text: &StringArray, to: &DataType, zone: &Zone, report: &mut Report<'_>) -> ArrayRef {
    let mut out = BinaryBuilder::with_capacity(text.len(), text.value_data().len() / 2);
    each(text, to, zone, report, parse_hex, |value| out.append_option(value));
    Arc::new(out.finish())
}

fn each<V>(
    text: &StringArray,
    to: &DataType,
    zone: &Zone,
    report: &mut Report<'_>,
    parse: impl Fn(&str) -> Result<V, Fault>,
    mut append: impl FnMut(Option<V>),
) {
    for (row, value) in text.iter().enumerate() {
        append(value.and_then(|value| match parse(value) {
            Ok(parsed) => Some(parsed),
            Err(fault) => {
                report(row, fault_code(&fault), &|| fault_text(&fault, value, to, zone));
                None
            }
        }));
    }
}

fn fault_code(fault: &Fault) -> RejectCode {
    match fault {
        Fault::Syntax => RejectCode::TypeMismatch,
        Fault::Range | Fault::Skipped(_) => RejectCode::OutOfRange,
    }
}

fn fault_text(fault: &Fault, value: &str, to: &DataType, zone: &Zone) -> String {
    match fault {
        Fault::Syntax => format!("'{}' is not a {}", shown(value), sql_type(to)),
        Fault::Range => format!("'{}' does not fit {}", shown(value), sql_type(to)),
        Fault::Skipped(wall_us) => skipped(*wall_us, zone),
    }
}

/// A number that is written with digits and is larger than the type's largest is not infinity.
fn finite_unless_written(is_infinite: bool, text: &str) -> Result<(), Fault> {
    if is_infinite && text.bytes().any(|b| b.is_ascii_digit()) { Err(Fault::Range) } else { Ok(()) }
}

fn parse_bool(text: &str) -> Result<bool, Fault> {
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match text {
        _ if is(&["true", "t", "1", "yes", "y", "on"]) => Ok(true),
        _ if is(&["false", "f", "0", "no", "n", "off"]) => Ok(false),
        _ => Err(Fault::Syntax),
    }
}

fn parse_hex(text: &str) -> Result<Vec<u8>, Fault> {
    let digits = text.strip_prefix("\\x").unwrap_or(text).as_bytes();
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    if !digits.len().is_multiple_of(2) {
        return Err(Fault::Syntax);
    }
    digits
        .chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect::<Option<_>>()
        .ok_or(Fault::Syntax)
}

fn parse_int(text: &str) -> Result<i128, Fault> {
    match text.parse::<i64>() {
        Ok(value) => Ok(i128::from(value)),
        Err(_) => parse_decimal(text, 0),
    }
}

/// A number of JSON as a whole number; `None` if it is none or too large.
pub(in crate::admission) fn whole_number(text: &str) -> Option<i64> {
    i64::try_from(parse_int(text).ok()?).ok()
}

/// A decimal number as an integer of units of 10^-scale. `Range` if digits would be lost or an i128 overflows.
pub(super) fn parse_decimal(text: &str, scale: i64) -> Result<i128, Fault> {
    let (negative, rest) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let n_digits = |bytes: &[u8]| bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let (whole, rest) = rest.split_at(n_digits(rest));
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => rest.split_at(n_digits(rest)),
        rest => (&[][..], rest),
    };
    let exponent: i64 = match rest {
        [] => 0,
        [b'e' | b'E', digits @ ..] => exponent(digits)?,
        _ => return Err(Fault::Syntax),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(Fault::Syntax);
    }
    // The number is `digits` times ten to the `power`, counted in units of the scale.
    let mut digits: Vec<u8> = whole.iter().chain(fraction).map(|b| b - b'0').collect();
    let mut power = exponent.saturating_add(scale).saturating_sub(fraction.len() as i64);
    while digits.last() == Some(&0) {
        digits.pop();
        power = power.saturating_add(1);
    }
    if digits.is_empty() {
        return Ok(0);
    }
    if power < 0 {
        return Err(Fault::Range);
    }
    let mut value: i128 = 0;
    for digit in digits {
        let next = value.checked_mul(10).and_then(|value| value.checked_add(i128::from(digit)));
        value = next.ok_or(Fault::Range)?;
    }
    let factor = u32::try_from(power).ok().and_then(|power| 10i128.checked_pow(power));
    let value = factor.and_then(|factor| value.checked_mul(factor)).ok_or(Fault::Range)?;
    Ok(if negative { -value } else { value })
}

/// An exponent; one that is past all types saturates.
fn exponent(digits: &[u8]) -> Result<i64, Fault> {
    let (negative, digits) = match digits {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Syntax);
    }
    let value = digits.iter().fold(0i64, |value, b| value.saturating_mul(10).saturating_add(i64::from(b - b'0')));
    // Half of the range: sums with scale and length cannot overflow.
    let value = value.min(i64::MAX / 2);
    Ok(if negative { -value } else { value })
}

/// A fixed number of digits.
fn fixed(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0, |value, b| b.is_ascii_digit().then(|| value * 10 + u32::from(b - b'0')))
}

/// `YYYY-MM-DD` as days since 1970.
fn parse_date(bytes: &[u8]) -> Option<i32> {
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = *bytes else { return None };
    let year = i32::try_from(fixed(&[y0, y1, y2, y3])?).ok().filter(|&year| year > 0)?;
    let date = NaiveDate::from_ymd_opt(year, fixed(&[m0, m1])?, fixed(&[d0, d1])?)?;
    // Days are counted from 0001-01-01 there, from 1970-01-01 here.
    Some(date.num_days_from_ce() - 719_163)
}

/// As [`parse_date`], with one digit for a month or a day where it has no more: as a CAST of a query reads it.
fn parse_short_date(bytes: &[u8]) -> Option<i32> {
    let (year, rest) = bytes.split_at_checked(5)?;
    let (m0, m1, rest) = match *rest {
        [m1, b'-', ref rest @ ..] => (b'0', m1, rest),
        [m0, m1, b'-', ref rest @ ..] => (m0, m1, rest),
        _ => return None,
    };
    let (d0, d1) = match *rest {
        [d1] => (b'0', d1),
        [d0, d1] => (d0, d1),
        _ => return None,
    };
    let &[y0, y1, y2, y3, b'-'] = year else { return None };
    parse_date(&[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1])
}

/// `HH:MM:SS[.f]` as µs since midnight, and what follows it. Digits past µs are cut off, which is towards −∞.
fn parse_time_of_day(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (clock, rest) = bytes.split_at_checked(8)?;
    let &[h0, h1, b':', m0, m1, b':', s0, s1] = clock else { return None };
    let (hour, minute, second) = (fixed(&[h0, h1])?, fixed(&[m0, m1])?, fixed(&[s0, s1])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (mut us, mut rest) = (0, rest);
    if let [b'.', digits @ ..] = rest {
        let n = digits.iter().take_while(|b| b.is_ascii_digit()).count();
        if n == 0 {
            return None;
        }
        let mut unit = 100_000;
        for b in &digits[..n.min(6)] {
            us += i64::from(b - b'0') * unit;
            unit /= 10;
        }
        rest = &digits[n..];
    }
    let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    Some((seconds * 1_000_000 + us, rest))
}

/// A time on the wall in µs since 1970 and, if one is written, its offset from UTC in µs.
fn parse_timestamp(text: &str) -> Result<(i64, Option<i64>), Fault> {
    parse_timestamp_bytes(text.as_bytes()).ok_or(Fault::Syntax)
}

fn parse_timestamp_bytes(bytes: &[u8]) -> Option<(i64, Option<i64>)> {
    let (date, rest) = bytes.split_at_checked(10)?;
    let midnight = i64::from(parse_date(date)?) * DAY_US;
    let time = match rest {
        [] => return Some((midnight, None)),
        [b'T' | b't' | b' ', time @ ..] => time,
        _ => return None,
    };
    let (us, zone) = parse_time_of_day(time)?;
    let zone = match zone {
        [b' ', zone @ ..] if !zone.is_empty() => zone,
        zone => zone,
    };
    let minutes = |h: u8, h1: u8, m: u8, m1: u8| -> Option<i64> {
        let (hours, minutes) = (fixed(&[h, h1])?, fixed(&[m, m1])?);
        (hours <= 23 && minutes <= 59).then(|| i64::from(hours * 60 + minutes))
    };
    let offset_minutes = match *zone {
        [] => return Some((midnight + us, None)),
        [b'Z' | b'z'] | [b'U', b'T', b'C'] => 0,
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] | [sign @ (b'+' | b'-'), h0, h1, m0, m1] => {
            minutes(h0, h1, m0, m1)? * if sign == b'-' { -1 } else { 1 }
        }
        [sign @ (b'+' | b'-'), h0, h1] => minutes(h0, h1, b'0', b'0')? * if sign == b'-' { -1 } else { 1 },
        _ => return None,
    };
    Some((midnight + us, Some(offset_minutes * 60_000_000)))
}

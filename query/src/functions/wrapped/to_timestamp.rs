//! Of which type is what `to_timestamp` reads? As fine as a TIMESTAMP is everywhere, in microseconds, where DataFusion's ends in 2262; a text
//! without a format is read as CAST reads it, and with formats by the first that fits. And of the promised one, with the session's zone.
//! With a format it is a moment: where that says a part of the time of day, or a zone without one, DataFusion's reads the date alone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, make_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, TimeUnit, TimestampMicrosecondType as Micros};
use chrono::format::{Fixed, Item, Numeric, ParseErrorKind, Parsed, StrftimeItems, parse};
use chrono::{DateTime, NaiveDateTime, Utc};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

use crate::functions::delegated::of_inner;
use crate::functions::zone::{self, ZoneClock};

pub(super) const NAMES: [&str; 4] =
    ["to_timestamp_micros", "to_timestamp_millis", "to_timestamp_nanos", "to_timestamp_seconds"];

/// The one of them that says no unit.
pub(super) const PLAIN: &str = "to_timestamp";

/// Which reads texts as that.
pub(super) const MICROS: &str = "to_timestamp_micros";

/// The same function with the zone that it promises.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToTimestamp {
    inner: Arc<ScalarUDF>,
    /// What reads texts in microseconds, for the function that says no unit.
    micros: Option<Arc<ScalarUDF>>,
}

impl ToTimestamp {
    pub fn wrap(inner: Arc<ScalarUDF>) -> ScalarUDF {
        ScalarUDF::new_from_impl(Self { inner, micros: None })
    }

    pub fn in_micros(inner: Arc<ScalarUDF>, micros: Arc<ScalarUDF>) -> ScalarUDF {
        ScalarUDF::new_from_impl(Self { inner, micros: Some(micros) })
    }
}

impl ScalarUDFImpl for ToTimestamp {
    of_inner! {
        fn name(&self) -> &str;
        fn signature(&self) -> &Signature;
        fn documentation(&self) -> Option<&Documentation>;
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.micros.as_ref().unwrap_or(&self.inner).return_type(arg_types)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let inner = Arc::new(self.inner.inner().with_updated_config(config)?);
        Some(match &self.micros {
            Some(micros) => Self::in_micros(inner, Arc::new(micros.inner().with_updated_config(config)?)),
            None => Self::wrap(inner),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        for format in args.args.iter().skip(1) {
            check_formats(format)?;
        }
        let promised = args.return_field.data_type().clone();
        // DataFusion's counts nanoseconds first, whatever it promises.
        if !matches!(promised, DataType::Timestamp(TimeUnit::Nanosecond, _))
            && args.args.iter().all(|arg| arg.data_type().is_string())
        {
            match args.args.as_slice() {
                [] => {}
                [text] => return as_cast(text, &promised),
                [text, formats @ ..] => return by_formats(text, formats, args.number_rows, &promised),
            }
        }
        let reader = match (&self.micros, args.args.first()) {
            (Some(_), Some(value)) if !value.data_type().is_string() => return in_micros(value, &promised),
            (Some(micros), _) => micros,
            (None, _) => &self.inner,
        };
        // Not through the function's own wrapper, which compares the types.
        Ok(match reader.inner().invoke_with_args(args)? {
            ColumnarValue::Array(array) => ColumnarValue::Array(in_zone(array, promised)?),
            scalar => scalar,
        })
    }
}

/// The texts as a CAST reads them.
fn as_cast(text: &ColumnarValue, promised: &DataType) -> Result<ColumnarValue> {
    let DataType::Timestamp(unit, Some(zone)) = promised else { return text.cast_to(promised, None) };
    let instants = zone::read_texts(&text.to_array(1)?, (zone, *unit), false)?;
    Ok(match text {
        ColumnarValue::Array(_) => ColumnarValue::Array(instants),
        ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&instants, 0)?),
    })
}

/// Whether each of these says a whole time of day, or none.
fn check_formats(formats: &ColumnarValue) -> Result<()> {
    if !formats.data_type().is_string() {
        return Ok(());
    }
    let formats = exact(&formats.to_array(1)?, &DataType::Utf8)?;
    let mut checked = None;
    for format in formats.as_string::<i32>().iter().flatten() {
        // Mostly all rows have the same.
        if checked != Some(format) {
            check_format(format)?;
            checked = Some(format);
        }
    }
    Ok(())
}

fn check_format(format: &str) -> Result<()> {
    let (mut has_hour, mut has_half, mut has_minute, mut has_part) = (false, false, false, false);
    let mut is_half = false;
    for item in StrftimeItems::new(format) {
        match item {
            // These are whole moments.
            Item::Numeric(Numeric::Timestamp, _) | Item::Fixed(Fixed::RFC2822 | Fixed::RFC3339) => return Ok(()),
            Item::Numeric(Numeric::Hour, _) => has_hour = true,
            Item::Numeric(Numeric::Hour12, _) => has_half = true,
            Item::Fixed(Fixed::LowerAmPm | Fixed::UpperAmPm) => is_half = true,
            Item::Numeric(Numeric::Minute, _) => has_minute = true,
            Item::Numeric(Numeric::Second | Numeric::Nanosecond, _) => has_part = true,
            Item::Fixed(
                Fixed::ShortMonthName | Fixed::LongMonthName | Fixed::ShortWeekdayName | Fixed::LongWeekdayName,
            ) => {}
            // Fractions of a second, and zones.
            Item::Fixed(_) => has_part = true,
            _ => {}
        }
    }
    let is_whole = (has_hour || has_half && is_half) && has_minute;
    if is_whole || !(has_hour || has_half || is_half || has_minute || has_part) {
        return Ok(());
    }
    exec_err!(
        "to_timestamp: the format '{format}' says a part of a time of day; write hours and minutes, as in \
         to_timestamp(text || ':00', '%Y-%m-%d %H:%M')"
    )
}

/// The texts as the first of their formats that fits reads them.
fn by_formats(
    text: &ColumnarValue,
    formats: &[ColumnarValue],
    number_rows: usize,
    promised: &DataType,
) -> Result<ColumnarValue> {
    let DataType::Timestamp(unit, zone) = promised else { return exec_err!("to_timestamp makes no {promised}") };
    let mut clock = ZoneClock::new(zone.as_deref().unwrap_or("UTC"))?;
    let is_scalar = std::iter::once(text).chain(formats).all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let n_rows = if is_scalar { 1 } else { number_rows };
    let texts = exact(&text.to_array(n_rows)?, &DataType::Utf8)?;
    let formats: Vec<ArrayRef> =
        formats.iter().map(|format| exact(&format.to_array(n_rows)?, &DataType::Utf8)).collect::<Result<_>>()?;
    let mut read = |row: usize, text: &str| -> Result<Option<i64>> {
        let mut found = Ok(None);
        for format in formats.iter().map(|format| format.as_string::<i32>()).filter(|format| format.is_valid(row)) {
            found = moment(text, format.value(row), &mut clock).map(|moment| Some(in_unit(moment, *unit)));
            if found.is_ok() {
                break;
            }
        }
        found
    };
    let texts = texts.as_string::<i32>().iter().enumerate();
    let counted =
        texts.map(|(row, text)| text.map_or(Ok(None), |text| read(row, text))).collect::<Result<Int64Array>>()?;
    let counted: ArrayRef = Arc::new(counted);
    let moments = in_zone(exact(&counted, &DataType::Timestamp(*unit, None))?, promised.clone())?;
    Ok(match is_scalar {
        true => ColumnarValue::Scalar(ScalarValue::try_from_array(&moments, 0)?),
        false => ColumnarValue::Array(moments),
    })
}

fn in_unit(moment: DateTime<Utc>, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => moment.timestamp(),
        TimeUnit::Millisecond => moment.timestamp_millis(),
        TimeUnit::Microsecond | TimeUnit::Nanosecond => moment.timestamp_micros(),
    }
}

/// What a text says by a format: a moment, or what clocks show, `clock` or those of the zone that it ends with.
fn moment(text: &str, format: &str, clock: &mut ZoneClock) -> Result<DateTime<Utc>> {
    let failed = |what: &str| {
        let message = format!("Error parsing timestamp from '{text}' using format '{format}': {what}");
        DataFusionError::Execution(message)
    };
    let (mut shown_as, mut rest, mut named) = (format, text, None);
    if let Some(before) = format.trim_end().strip_suffix(" %Z") {
        // Names of zones are nothing that chrono reads.
        let Some((shown, name)) = text.trim_end().rsplit_once(' ') else {
            return Err(failed("there is no time zone at its end"));
        };
        named = Some(zone::parse(name).ok_or_else(|| failed("its end is not a time zone"))?);
        (shown_as, rest) = (before, shown);
    } else if format.contains("%Z") {
        return Err(failed("'%Z' is only supported at the end of the format, behind a space"));
    }
    let mut parsed = Parsed::new();
    parse(&mut parsed, rest, StrftimeItems::new(shown_as)).map_err(|error| failed(&error.to_string()))?;
    let whole = match &named {
        Some(named) => parsed.to_datetime_with_timezone(named).map(|moment| moment.to_utc()),
        None => parsed.to_datetime().map(|moment| moment.to_utc()),
    };
    match whole {
        Ok(moment) => return Ok(moment),
        // It says no offset, or no time of day.
        Err(error) if error.kind() == ParseErrorKind::NotEnough => {}
        Err(error) => return Err(failed(&error.to_string())),
    }
    let local = parsed.to_naive_datetime_with_offset(0).or_else(|_| parsed.to_naive_date().map(NaiveDateTime::from));
    let local = local.map_err(|error| failed(&error.to_string()))?.and_utc().timestamp_micros();
    let instant = match named {
        Some(named) => ZoneClock::of(named).first_instant(local),
        None => clock.first_instant(local),
    };
    instant.and_then(DateTime::from_timestamp_micros).ok_or_else(|| failed("it is beyond what a TIMESTAMPTZ holds"))
}

/// The same instants in the zone of `promised`: they are counted in UTC already.
fn in_zone(array: ArrayRef, promised: DataType) -> Result<ArrayRef> {
    match (array.data_type(), &promised) {
        (DataType::Timestamp(unit, given), DataType::Timestamp(to, zone)) if unit == to && given != zone => {
            Ok(make_array(array.to_data().into_builder().data_type(promised).build()?))
        }
        _ => Ok(array),
    }
}

/// Numbers are seconds since 1970, and times are what they are.
fn in_micros(value: &ColumnarValue, promised: &DataType) -> Result<ColumnarValue> {
    let array = value.to_array(1)?;
    let instants: ArrayRef = match array.data_type() {
        data_type if data_type.is_integer() => {
            let seconds = exact(&exact(&array, &DataType::Int64)?, &DataType::Timestamp(TimeUnit::Second, None))?;
            exact(&seconds, &DataType::Timestamp(TimeUnit::Microsecond, None))?
        }
        data_type if data_type.is_floating() => {
            let seconds = exact(&array, &DataType::Float64)?;
            let micros = seconds.as_primitive::<Float64Type>().try_unary::<_, Micros, _>(micros_of)?;
            Arc::new(micros)
        }
        data_type if data_type.is_decimal() => {
            let seconds = exact(&array, &DataType::Decimal128(38, 6))?;
            let micros = |micros: i128| i64::try_from(micros).map_err(|_| out_of_range(micros as f64 / 1e6));
            let micros = seconds.as_primitive::<Decimal128Type>().try_unary::<_, Micros, _>(micros)?;
            Arc::new(micros)
        }
        _ => exact(&array, promised)?,
    };
    let instants = in_zone(instants, promised.clone())?;
    Ok(match value {
        ColumnarValue::Array(_) => ColumnarValue::Array(instants),
        ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&instants, 0)?),
    })
}

/// What does not fit is an error.
fn exact(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(array, to, &options)?)
}

fn micros_of(seconds: f64) -> Result<i64> {
    let micros = (seconds * 1e6).round();
    // The next double is beyond the last instant, or it is no number.
    if micros.abs() < i64::MAX as f64 { Ok(micros as i64) } else { Err(out_of_range(seconds)) }
}

fn out_of_range(seconds: f64) -> DataFusionError {
    DataFusionError::Execution(format!("to_timestamp: there is no TIMESTAMP {seconds} seconds from 1970"))
}

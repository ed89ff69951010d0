//! How long is a series? Of numbers, dates or times, as a list or as a table.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion::catalog::{TableFunction, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;

use super::{MAX_ROW_ELEMENTS, too_large};

/// The table functions that make series.
pub(super) const NAMES: [&str; 2] = ["generate_series", "range"];

const DAY_NS: i128 = 86_400_000_000_000;

/// Values of a series; an upper bound for steps of months. What is no series has none: the function itself says so.
pub(super) fn n_values(start: &ScalarValue, stop: &ScalarValue, step: Option<&ScalarValue>, with_end: bool) -> u64 {
    let Some((start, stop, step)) = bounds(start, stop, step) else { return 0 };
    let distance = if step > 0 { stop - start } else { start - stop };
    if step == 0 || distance < 0 {
        return 0;
    }
    let step = step.abs();
    let n = distance / step + i128::from(with_end || distance % step != 0);
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Start, stop and step as numbers of one unit: integers as they are, times as nanoseconds.
fn bounds(start: &ScalarValue, stop: &ScalarValue, step: Option<&ScalarValue>) -> Option<(i128, i128, i128)> {
    if start.data_type().is_integer() {
        let step = step.map_or(Some(1), integer)?;
        return Some((integer(start)?, integer(stop)?, step));
    }
    let step = match step {
        None => DAY_NS,
        Some(step) => interval_ns(step)?,
    };
    Some((nanoseconds(start)?, nanoseconds(stop)?, step))
}

fn integer(scalar: &ScalarValue) -> Option<i128> {
    let array = cast(&scalar.to_array().ok()?, &DataType::Int64).ok()?;
    array.as_primitive::<Int64Type>().iter().next()?.map(i128::from)
}

fn nanoseconds(scalar: &ScalarValue) -> Option<i128> {
    // Seconds first: nanoseconds end in 2262, and dates do not.
    let seconds = cast(&scalar.to_array().ok()?, &DataType::Timestamp(TimeUnit::Second, None)).ok()?;
    integer(&ScalarValue::try_from_array(&seconds, 0).ok()?).map(|seconds| seconds * 1_000_000_000)
}

/// The shortest that an interval can be: a month has 28 days.
fn interval_ns(step: &ScalarValue) -> Option<i128> {
    let interval = step.cast_to(&DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano)).ok()?;
    let ScalarValue::IntervalMonthDayNano(Some(interval)) = interval else { return None };
    let days = i128::from(interval.months) * 28 + i128::from(interval.days);
    Some(days * DAY_NS + i128::from(interval.nanoseconds))
}

/// `generate_series` or `range` as a table, of at most as many rows as a list may have elements.
#[derive(Debug)]
pub(super) struct GuardedSeries {
    name: String,
    inner: Arc<TableFunction>,
}

impl GuardedSeries {
    pub fn new(name: String, inner: Arc<TableFunction>) -> Self {
        Self { name, inner }
    }

    fn check(&self, exprs: &[Expr]) -> Result<()> {
        let literal = |at: usize| match exprs.get(at) {
            Some(Expr::Literal(scalar, _)) => Some(scalar),
            _ => None,
        };
        let zero = ScalarValue::Int64(Some(0));
        let (start, stop) = match (literal(0), literal(1)) {
            (Some(stop), None) => (&zero, stop),
            (Some(start), Some(stop)) => (start, stop),
            _ => return Ok(()),
        };
        let n = n_values(start, stop, literal(2), self.name == "generate_series");
        if n > MAX_ROW_ELEMENTS {
            return Err(too_large(&self.name, &format!("{n} rows")));
        }
        Ok(())
    }
}

impl TableFunctionImpl for GuardedSeries {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        self.check(args.exprs())?;
        self.inner.create_table_provider_with_args(args)
    }
}

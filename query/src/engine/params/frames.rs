//! How far does a window reach whose frame has parameters: `ROWS BETWEEN $1 PRECEDING AND CURRENT ROW`? The planner wants a number there before
//! anything is bound, so the values are written into the statement. All rows of parameters have the same ones.

use std::iter;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use datafusion::sql::sqlparser::ast::{
    Expr, Interval, Value, ValueWithSpan, WindowFrameBound, WindowFrameUnits, WindowSpec,
};
use tidewater_storage::{Code, Error, Result};

use super::{ParameterTypes, parameter_index};
use crate::statement::{Kind, Source, settle_windows, sql_of_mut};

/// Writes what is bound into the frames of all windows; without `rows`, something of which only the answer's types are asked. The types of
/// these parameters.
pub(in crate::engine) fn settle_frames(kind: &mut Kind, rows: Option<&RecordBatch>) -> Result<ParameterTypes> {
    let mut frames = Frames { rows, types: ParameterTypes::new() };
    let settle = |window: &mut WindowSpec| frames.settle(window);
    match kind {
        Kind::Query(query) => sql_of_mut(query).map_or(Ok(()), |sql| settle_windows(sql, settle)),
        Kind::Insert(insert) => match &mut insert.source {
            Source::Query(query) => settle_windows(&mut **query, settle),
            Source::Parameters(_) => Ok(()),
        },
        _ => Ok(()),
    }?;
    Ok(frames.types)
}

struct Frames<'a> {
    rows: Option<&'a RecordBatch>,
    types: ParameterTypes,
}

impl Frames<'_> {
    fn settle(&mut self, window: &mut WindowSpec) -> Result<()> {
        let Some(frame) = &mut window.window_frame else { return Ok(()) };
        let is_range = frame.units == WindowFrameUnits::Range;
        for bound in iter::once(&mut frame.start_bound).chain(&mut frame.end_bound) {
            let (WindowFrameBound::Preceding(Some(distance)) | WindowFrameBound::Following(Some(distance))) = bound
            else {
                continue;
            };
            let Some(i) = parameter(distance) else { continue };
            match self.rows {
                Some(batch) => **distance = distance_of(batch, i, is_range)?,
                // Of which type it is follows from what the rows are in the order of.
                None if is_range => *bound = WindowFrameBound::CurrentRow,
                None => {
                    **distance = number("1".to_owned());
                    self.types.insert(i, DataType::Int64);
                }
            }
        }
        Ok(())
    }
}

fn parameter(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) => parameter_index(name),
        _ => None,
    }
}

fn number(text: String) -> Expr {
    Expr::Value(Value::Number(text, false).into())
}

/// The value of a parameter as the planner reads it in a frame: a number of rows, or a distance, which is as text of an interval what the
/// order is of.
fn distance_of(batch: &RecordBatch, i: usize, is_range: bool) -> Result<Expr> {
    let refused = |problem: &str| {
        Error::new(Code::InvalidParameter, format!("parameter {}, in the frame of a window, {problem}", i + 1))
            .hint("bind a number that is not negative, the same in all rows")
    };
    let column = batch.columns().get(i).ok_or_else(|| refused("is not bound"))?;
    if column.is_null(0) {
        return Err(refused("is NULL"));
    }
    let text = array_value_to_string(column, 0)?;
    for row in 1..column.len() {
        if column.is_null(row) || array_value_to_string(column, row)? != text {
            return Err(refused("differs between rows of parameters"));
        }
    }
    if is_range {
        // The planner takes it, and no row is so far away.
        if text.starts_with('-') {
            return Err(refused("is negative"));
        }
        let value = Box::new(Expr::Value(Value::SingleQuotedString(text).into()));
        return Ok(Expr::Interval(Interval {
            value,
            leading_field: None,
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        }));
    }
    // Some clients have no whole numbers.
    match text.strip_suffix(".0").unwrap_or(&text).parse::<u64>() {
        Ok(rows) => Ok(number(rows.to_string())),
        Err(_) => Err(refused("is no number of rows")),
    }
}

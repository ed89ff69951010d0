//! How far does a window reach whose frame has parameters: `ROWS BETWEEN $1 PRECEDING AND CURRENT ROW`? The planner wants a number there before
//! anything is bound, so the values are written into the statement. All rows of parameters have the same ones.

use std::iter;
use std::ops::ControlFlow;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use datafusion::sql::parser::Statement as PlannerStatement;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, Interval, NamedWindowDefinition, NamedWindowExpr, Select, Value, ValueWithSpan, VisitMut,
    VisitorMut, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};
use tidewater_storage::{Code, Error, Result};

use super::{ParameterTypes, parameter_index};
use crate::statement::{Kind, Source};

/// Writes what is bound into the frames of all windows; without `rows`, something of which only the answer's types are asked. The types of
/// these parameters.
pub(in crate::engine) fn settle_frames(kind: &mut Kind, rows: Option<&RecordBatch>) -> Result<ParameterTypes> {
    let mut frames = Frames { rows, types: ParameterTypes::new() };
    let flow = match kind {
        Kind::Query(query) => visit(query, &mut frames),
        Kind::Insert(insert) => match &mut insert.source {
            Source::Query(query) => VisitMut::visit(&mut **query, &mut frames),
            Source::Parameters(_) => ControlFlow::Continue(()),
        },
        _ => ControlFlow::Continue(()),
    };
    match flow {
        ControlFlow::Continue(()) => Ok(frames.types),
        ControlFlow::Break(error) => Err(*error),
    }
}

fn visit(statement: &mut PlannerStatement, frames: &mut Frames<'_>) -> ControlFlow<Box<Error>> {
    match statement {
        PlannerStatement::Statement(sql) => VisitMut::visit(&mut **sql, frames),
        PlannerStatement::Explain(explain) => visit(&mut explain.statement, frames),
        _ => ControlFlow::Continue(()),
    }
}

struct Frames<'a> {
    rows: Option<&'a RecordBatch>,
    types: ParameterTypes,
}

impl VisitorMut for Frames<'_> {
    type Break = Box<Error>;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Box<Error>> {
        for NamedWindowDefinition(_, window) in &mut select.named_window {
            if let NamedWindowExpr::WindowSpec(spec) = window {
                self.settle(spec)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Error>> {
        match expr {
            Expr::Function(Function { over: Some(WindowType::WindowSpec(spec)), .. }) => self.settle(spec),
            _ => ControlFlow::Continue(()),
        }
    }
}

impl Frames<'_> {
    fn settle(&mut self, spec: &mut WindowSpec) -> ControlFlow<Box<Error>> {
        let Some(frame) = &mut spec.window_frame else { return ControlFlow::Continue(()) };
        let is_range = frame.units == WindowFrameUnits::Range;
        for bound in iter::once(&mut frame.start_bound).chain(&mut frame.end_bound) {
            let (WindowFrameBound::Preceding(Some(distance)) | WindowFrameBound::Following(Some(distance))) = bound
            else {
                continue;
            };
            let Some(i) = parameter(distance) else { continue };
            match self.rows {
                Some(batch) => match distance_of(batch, i, is_range) {
                    Ok(bound) => **distance = bound,
                    Err(error) => return ControlFlow::Break(Box::new(error)),
                },
                // Of which type it is follows from what the rows are in the order of.
                None if is_range => *bound = WindowFrameBound::CurrentRow,
                None => {
                    **distance = number("1".to_owned());
                    self.types.insert(i, DataType::Int64);
                }
            }
        }
        ControlFlow::Continue(())
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

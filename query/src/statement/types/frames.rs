//! How many rows does a frame of ROWS or GROUPS reach? A whole number of them: of `ROWS 1.5 PRECEDING` the planner says that a text is not cast.

use std::iter;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, Value, ValueWithSpan, VisitMut, VisitorMut, WindowFrameBound, WindowFrameUnits, WindowSpec,
    WindowType,
};
use tidewater_storage::{Code, Error, Result};

use crate::error::{OrError, or_break};
use crate::statement::parse::sql_of_mut;

/// Refuses frames that end within a row.
pub(crate) fn check(statement: &mut Statement) -> Result<()> {
    sql_of_mut(statement).map_or(Ok(()), |sql| settle_windows(sql, |window| check_window(window)))
}

/// Lets `settle` change each window of `sql`, up to the first error. None has a name any more.
pub(crate) fn settle_windows(sql: &mut impl VisitMut, settle: impl FnMut(&mut WindowSpec) -> Result<()>) -> Result<()> {
    sql.visit(&mut Windows(settle)).or_error()
}

struct Windows<F>(F);

impl<F: FnMut(&mut WindowSpec) -> Result<()>> VisitorMut for Windows<F> {
    type Break = Box<Error>;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Error>> {
        match expr {
            Expr::Function(Function { over: Some(WindowType::WindowSpec(window)), .. }) => or_break((self.0)(window)),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn check_window(window: &WindowSpec) -> Result<()> {
    let Some(frame) = &window.window_frame else { return Ok(()) };
    if frame.units == WindowFrameUnits::Range {
        return Ok(());
    }
    for bound in iter::once(&frame.start_bound).chain(&frame.end_bound) {
        if let WindowFrameBound::Preceding(Some(distance)) | WindowFrameBound::Following(Some(distance)) = bound
            && let Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) = &**distance
            && number.parse::<u64>().is_err()
        {
            let problem = format!("{} of a window takes a whole number, not {number}", frame.units);
            return Err(Error::new(Code::InvalidStatement, problem).hint("write ROWS 2 PRECEDING, or a RANGE"));
        }
    }
    Ok(())
}

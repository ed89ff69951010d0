//! How many rows does a frame of ROWS or GROUPS reach? A whole number of them: of `ROWS 1.5 PRECEDING` the planner says that a text is not cast.

use std::iter;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, NamedWindowDefinition, NamedWindowExpr, Select, Value, ValueWithSpan, VisitMut, VisitorMut,
    WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};
use tidewater_storage::{Code, Error, Result};

/// Refuses frames that end within a row.
pub(crate) fn check(statement: &mut Statement) -> Result<()> {
    let flow = match statement {
        Statement::Statement(sql) => VisitMut::visit(&mut **sql, &mut Check),
        Statement::Explain(explain) => return check(&mut explain.statement),
        _ => ControlFlow::Continue(()),
    };
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Check;

impl VisitorMut for Check {
    type Break = Box<Error>;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Box<Error>> {
        for NamedWindowDefinition(_, window) in &select.named_window {
            if let NamedWindowExpr::WindowSpec(spec) = window {
                check_spec(spec)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Error>> {
        match expr {
            Expr::Function(Function { over: Some(WindowType::WindowSpec(spec)), .. }) => check_spec(spec),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn check_spec(spec: &WindowSpec) -> ControlFlow<Box<Error>> {
    let Some(frame) = &spec.window_frame else { return ControlFlow::Continue(()) };
    if frame.units == WindowFrameUnits::Range {
        return ControlFlow::Continue(());
    }
    for bound in iter::once(&frame.start_bound).chain(&frame.end_bound) {
        if let WindowFrameBound::Preceding(Some(distance)) | WindowFrameBound::Following(Some(distance)) = bound
            && let Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) = &**distance
            && number.parse::<u64>().is_err()
        {
            let problem = format!("{} of a window takes a whole number, not {number}", frame.units);
            let error = Error::new(Code::InvalidStatement, problem).hint("write ROWS 2 PRECEDING, or a RANGE");
            return ControlFlow::Break(Box::new(error));
        }
    }
    ControlFlow::Continue(())
}

//! How far is a day back in the RANGE of a window over instants? Where clocks change not always 24 hours, which is what DataFusion counts; and a month
//! back is the same day there. So both are refused outside of UTC, but days in a zone that is an offset.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::WindowFunctionParams;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, WindowFrameBound, WindowFrameUnits};
use tidewater_storage::{Code, Error};

use super::rule::clock_of;
use crate::error::to_datafusion;
use crate::rules::columns_of;

/// Refuses such distances. To be called behind type coercion, when they are intervals.
pub(super) fn check_frames(plan: &LogicalPlan, zone: &Arc<str>) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::Window(window) = node else { return Ok(TreeNodeRecursion::Continue) };
        let columns = columns_of(node)?;
        for expr in &window.window_expr {
            expr.apply(|expr| {
                if let Expr::WindowFunction(function) = expr {
                    check(&function.params, &columns, zone)?;
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn check(params: &WindowFunctionParams, columns: &DFSchema, zone: &Arc<str>) -> Result<()> {
    let frame = &params.window_frame;
    let has_dates = [&frame.start_bound, &frame.end_bound].into_iter().any(is_in_dates);
    if frame.units != WindowFrameUnits::Range || !has_dates {
        return Ok(());
    }
    let Some(first) = params.order_by.first() else { return Ok(()) };
    let DataType::Timestamp(_, Some(of)) = first.expr.get_type(columns)? else { return Ok(()) };
    let zone = clock_of(&of, zone);
    let is_offset = zone.starts_with(['+', '-']);
    if is_offset && ![&frame.start_bound, &frame.end_bound].into_iter().any(has_months) {
        return Ok(());
    }
    let message = format!("a RANGE of days or months over TIMESTAMPTZ is not supported in the time zone {zone}");
    let hint = "order by CAST(… AS TIMESTAMP), which is what clocks there show, or count hours: INTERVAL '24 hours'";
    Err(to_datafusion(Error::new(Code::UnsupportedStatement, message).hint(hint)))
}

/// Days and months.
fn is_in_dates(bound: &WindowFrameBound) -> bool {
    match distance(bound) {
        Some(ScalarValue::IntervalMonthDayNano(Some(span))) => span.months != 0 || span.days != 0,
        _ => false,
    }
}

fn has_months(bound: &WindowFrameBound) -> bool {
    matches!(distance(bound), Some(ScalarValue::IntervalMonthDayNano(Some(span))) if span.months != 0)
}

fn distance(bound: &WindowFrameBound) -> Option<&ScalarValue> {
    match bound {
        WindowFrameBound::Preceding(distance) | WindowFrameBound::Following(distance) => Some(distance),
        WindowFrameBound::CurrentRow => None,
    }
}

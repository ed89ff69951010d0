//! How far does the RANGE of a window reach? As far as its rows' order can say: a number over numbers, an INTERVAL over dates and times, never
//! backwards. DataFusion takes a number over times for months, a negative distance for a frame without rows, and refuses even the frames
//! without a distance over what it cannot add to, such as a TIME.

use arrow::compute::kernels::cast_utils::{IntervalParseConfig, IntervalUnit, parse_interval_month_day_nano_config};
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::WindowFunctionParams;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, WindowFrameBound, WindowFrameUnits};
use datafusion::optimizer::AnalyzerRule;
use tidewater_storage::catalog::sql_type;
use tidewater_storage::{Code, Error};

use crate::error::to_datafusion;
use crate::rules::rewrite_node;
use crate::statement::beside_decimal;

/// Checks the distances of frames. It runs in front of type coercion, which reads them: until then they are the text that is written.
#[derive(Debug)]
pub(crate) struct Frames;

impl AnalyzerRule for Frames {
    fn name(&self) -> &str {
        "frames"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(read_plan).data()
    }
}

fn read_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !matches!(plan, LogicalPlan::Window(_)) {
        return Ok(Transformed::no(plan));
    }
    let is_window = |expr: &Expr| matches!(expr, Expr::WindowFunction(_));
    rewrite_node(plan, is_window, |expr, schema| expr.transform_up(|expr| read(expr, schema)))
}

fn read(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let mut function = match expr {
        Expr::WindowFunction(function) => function,
        other => return Ok(Transformed::no(other)),
    };
    let is_changed = settle(&mut function.params, schema)?;
    let expr = Expr::WindowFunction(function);
    Ok(if is_changed { Transformed::yes(expr) } else { Transformed::no(expr) })
}

/// Whether the frame was changed.
fn settle(params: &mut WindowFunctionParams, schema: &DFSchema) -> Result<bool> {
    let Some(first) = params.order_by.first() else { return Ok(false) };
    let frame = &mut params.window_frame;
    if frame.units != WindowFrameUnits::Range {
        return Ok(false);
    }
    let order = value_type(first.expr.get_type(schema)?);
    for bound in [&frame.start_bound, &frame.end_bound] {
        if let WindowFrameBound::Preceding(ScalarValue::Utf8(Some(distance)))
        | WindowFrameBound::Following(ScalarValue::Utf8(Some(distance))) = bound
        {
            check(distance, &order).map_err(to_datafusion)?;
        }
    }
    if is_ranged(&order) {
        return Ok(false);
    }
    // From the first row, of the row's peers, to the last row: that is the same in GROUPS, which only compares.
    frame.units = WindowFrameUnits::Groups;
    Ok(true)
}

fn value_type(data_type: DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => value_type(*values),
        other => other,
    }
}

/// What type coercion takes for the order of a RANGE.
fn is_ranged(order: &DataType) -> bool {
    let is_list =
        matches!(order, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) | DataType::Boolean);
    order.is_numeric() || order.is_string() || order.is_null() || is_list || is_time(order)
}

fn is_time(order: &DataType) -> bool {
    matches!(order, DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _))
}

/// Whether a number is one of such a type: others would be rounded.
fn has_digits(number: &str, order: &DataType) -> bool {
    // No integer has more digits.
    const INTEGER: (u8, i8) = (20, 0);
    let (precision, scale) = match order {
        DataType::Decimal128(precision, scale) => (*precision, *scale),
        order if order.is_integer() => INTEGER,
        _ => return true,
    };
    let held = DataType::Decimal128(precision, scale);
    beside_decimal(number, precision, scale).is_some_and(|value| value.data_type() == held)
}

/// Whether rows in the order of such a type can be so far away.
fn check(distance: &str, order: &DataType) -> Result<(), Error> {
    let refused = |problem: String, hint: &str| Err(Error::new(Code::InvalidStatement, problem).hint(hint));
    let negative =
        || refused(format!("the distance '{distance}' of a RANGE is negative"), "write how far, with no sign");
    let number = distance.trim().parse::<f64>().ok();
    let named = sql_type(order);
    if order.is_numeric() {
        return match number {
            Some(number) if number.is_nan() || number.is_sign_negative() => negative(),
            Some(_) if !has_digits(distance.trim(), order) => refused(
                format!("the distance '{distance}' of a RANGE is no {named}"),
                "write one of that type, or CAST what the rows are in the order of",
            ),
            Some(_) => Ok(()),
            None => refused(
                format!("a RANGE over {named} takes a number, not '{distance}'"),
                "write RANGE 10 PRECEDING; an INTERVAL is for the order of dates and times",
            ),
        };
    }
    if !is_time(order) {
        let problem = format!("a RANGE over {named} has no distances, such as '{distance}'");
        return refused(problem, "order by a number, a date or a timestamp, or use ROWS or GROUPS");
    }
    if number.is_some() {
        let problem = format!("a RANGE over {named} takes an INTERVAL, not {distance}");
        return refused(problem, "say of which unit it is: RANGE INTERVAL '1 day' PRECEDING");
    }
    // A number without a unit is of the one that is given here.
    let parse = |unit| parse_interval_month_day_nano_config(distance, IntervalParseConfig::new(unit)).ok();
    match (parse(IntervalUnit::Month), parse(IntervalUnit::Second)) {
        (Some(interval), Some(same)) if interval == same => {
            let is_negative = interval.months < 0 || interval.days < 0 || interval.nanoseconds < 0;
            if is_negative { negative() } else { Ok(()) }
        }
        _ => {
            refused(format!("'{distance}' is no INTERVAL"), "give each number its unit, as in INTERVAL '1 day 2 hours'")
        }
    }
}

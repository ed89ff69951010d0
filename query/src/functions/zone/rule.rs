//! By which clock does a query count? By that of the session's zone, as in PostgreSQL: the parts of an instant, its date, time and text, and what is a
//! day after it. And what is read as an instant without saying its zone is a time there. DataFusion asks the type, which is that of UTC for
//! every column.

use std::mem;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, cast, try_cast};
use datafusion::optimizer::AnalyzerRule;

use super::moved::{SPAN, moved};
use super::shown::{shown, shown_date};
use crate::functions::times::is_utc;
use crate::rules::rewrite_plan;

/// Shows instants in the session's zone where that matters. It runs behind type coercion, and no expression gets another type. In a session of UTC
/// it does nothing.
#[derive(Debug)]
pub(in crate::functions) struct InSessionZone;

impl AnalyzerRule for InSessionZone {
    fn name(&self) -> &str {
        "in_session_zone"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        match config.execution.time_zone.as_deref() {
            Some(zone) if !is_utc(zone) => {
                let zone: Arc<str> = Arc::from(zone);
                rewrite_plan(plan, may_be_read, |expr, schema| expr.transform_up(|expr| Ok(read(expr, schema, &zone))))
            }
            _ => Ok(plan),
        }
    }
}

/// Functions that ask what a clock shows, by the place of the time among their arguments.
const ASKED: [(&str, usize); 4] = [("date_part", 1), ("to_date", 0), ("to_time", 0), ("to_local_time", 0)];

/// The one that may also write the zone.
const FORMAT: &str = "to_char";

/// Whether it is read, for all that is known without types.
fn may_be_read(expr: &Expr) -> bool {
    match expr {
        Expr::Cast(_) | Expr::TryCast(_) => true,
        Expr::BinaryExpr(BinaryExpr { op, .. }) => matches!(op, Operator::Plus | Operator::Minus),
        Expr::ScalarFunction(call) => call.func.name() == FORMAT || asked(call).is_some(),
        _ => false,
    }
}

fn asked(call: &ScalarFunction) -> Option<usize> {
    let name = call.func.name();
    ASKED.iter().find(|(asked, _)| *asked == name).map(|(_, place)| *place)
}

fn read(expr: Expr, schema: &DFSchema, zone: &Arc<str>) -> Transformed<Expr> {
    match expr {
        Expr::Cast(mut of) => {
            let is_read = read_cast(&mut of.expr, of.field.data_type(), cast, schema, zone);
            Transformed::new_transformed(Expr::Cast(of), is_read)
        }
        Expr::TryCast(mut of) => {
            let is_read = read_cast(&mut of.expr, of.field.data_type(), try_cast, schema, zone);
            Transformed::new_transformed(Expr::TryCast(of), is_read)
        }
        Expr::ScalarFunction(mut call) => {
            let is_read = read_call(&mut call, schema, zone);
            Transformed::new_transformed(Expr::ScalarFunction(call), is_read)
        }
        Expr::BinaryExpr(binary) => move_in_zone(binary, schema, zone),
        other => Transformed::no(other),
    }
}

/// The zone by which instants of a type are shown: one that was chosen, or the session's.
fn clock_of(of: &Arc<str>, session: &Arc<str>) -> Arc<str> {
    Arc::clone(if is_utc(of) { session } else { of })
}

fn replace(expr: &mut Expr, with: impl FnOnce(Expr) -> Expr) -> bool {
    *expr = with(mem::take(expr));
    true
}

/// Reads what is cast: of an instant a clock is asked, and what becomes one is a time of the session's zone. The cast itself stays.
fn read_cast(
    inner: &mut Expr,
    to: &DataType,
    cast_to: fn(Expr, DataType) -> Expr,
    schema: &DFSchema,
    zone: &Arc<str>,
) -> bool {
    use DataType as T;
    let Ok(from) = inner.get_type(schema) else { return false };
    match (&from, to) {
        (T::Timestamp(_, Some(of)), T::Date32) => replace(inner, |inner| shown_date(clock_of(of, zone), inner)),
        (T::Timestamp(_, Some(of)), T::Date64 | T::Time32(_) | T::Time64(_) | T::Timestamp(_, None)) => {
            replace(inner, |inner| shown(clock_of(of, zone), inner))
        }
        (T::Timestamp(_, Some(_)), to) if to.is_string() => label(inner, &from, zone),
        (from, T::Timestamp(unit, Some(of))) if is_utc(of) => {
            let there = |unit| T::Timestamp(unit, Some(Arc::clone(zone)));
            match from {
                T::Timestamp(fine @ (TimeUnit::Microsecond | TimeUnit::Nanosecond), None) => {
                    replace(inner, |inner| cast_to(inner, there(*fine)))
                }
                T::Timestamp(_, None) | T::Date32 | T::Date64 => replace(inner, |inner| {
                    cast_to(cast_to(inner, T::Timestamp(TimeUnit::Microsecond, None)), there(TimeUnit::Microsecond))
                }),
                from if from.is_string() => replace(inner, |inner| cast_to(inner, there(*unit))),
                _ => false,
            }
        }
        _ => false,
    }
}

/// Gives instants the type of the session's zone, with which they are written, unless another zone was chosen.
fn label(instants: &mut Expr, from: &DataType, zone: &Arc<str>) -> bool {
    match from {
        DataType::Timestamp(unit, Some(of)) if is_utc(of) => {
            let there = DataType::Timestamp(*unit, Some(Arc::clone(zone)));
            replace(instants, |instants| cast(instants, there))
        }
        _ => false,
    }
}

fn read_call(call: &mut ScalarFunction, schema: &DFSchema, zone: &Arc<str>) -> bool {
    if call.func.name() == FORMAT {
        let Some(time) = call.args.first_mut() else { return false };
        return time.get_type(schema).is_ok_and(|from| label(time, &from, zone));
    }
    // Seconds since 1970 are the same in every zone.
    if call.func.name() == "date_part" && call.args.first().is_some_and(is_epoch) {
        return false;
    }
    let Some(place) = asked(call) else { return false };
    let Some(time) = call.args.get_mut(place) else { return false };
    match time.get_type(schema) {
        Ok(DataType::Timestamp(_, Some(of))) => replace(time, |time| shown(clock_of(&of, zone), time)),
        _ => false,
    }
}

fn is_epoch(part: &Expr) -> bool {
    let name = part.as_literal().and_then(ScalarValue::try_as_str).flatten();
    name.is_some_and(|name| name.trim_matches(['\'', '"']).eq_ignore_ascii_case("epoch"))
}

/// An instant and an interval of days or months. Hours are as long everywhere.
fn move_in_zone(binary: BinaryExpr, schema: &DFSchema, zone: &Arc<str>) -> Transformed<Expr> {
    use DataType as T;
    // The right operand is asked first: in a long chain it is the short one.
    let is_left_time = match (binary.op, binary.right.get_type(schema)) {
        (Operator::Plus | Operator::Minus, Ok(T::Interval(_))) => true,
        (Operator::Plus, Ok(T::Timestamp(_, Some(_)))) => false,
        _ => return Transformed::no(Expr::BinaryExpr(binary)),
    };
    let (time, span) = if is_left_time { (&binary.left, &binary.right) } else { (&binary.right, &binary.left) };
    if is_time_alone(span) {
        return Transformed::no(Expr::BinaryExpr(binary));
    }
    // Columns count microseconds: who has another unit has asked for it.
    let (Ok(T::Timestamp(TimeUnit::Microsecond, Some(of))), Ok(T::Interval(_))) =
        (time.get_type(schema), span.get_type(schema))
    else {
        return Transformed::no(Expr::BinaryExpr(binary));
    };
    let is_back = binary.op == Operator::Minus;
    let (time, span) = if is_left_time { (binary.left, binary.right) } else { (binary.right, binary.left) };
    Transformed::yes(moved(clock_of(&of, zone), is_back, *time, cast(*span, SPAN)))
}

/// Whether it is an interval that is written without days and months.
fn is_time_alone(span: &Expr) -> bool {
    match span.as_literal() {
        Some(ScalarValue::IntervalMonthDayNano(Some(span))) => span.months == 0 && span.days == 0,
        Some(ScalarValue::IntervalDayTime(Some(span))) => span.days == 0,
        _ => false,
    }
}

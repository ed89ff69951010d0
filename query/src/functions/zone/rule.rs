//! By which clock does a query count? By that of the session's zone, as in PostgreSQL: the parts of an instant, its date, time and text, and what is a
//! day after it. And what is read as an instant without saying its zone is a time there. DataFusion asks the type, which is that of UTC for
//! every column, and for what is in a list.

use std::mem;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::utils::base_type;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, cast, try_cast};
use datafusion::optimizer::AnalyzerRule;

use super::elements::with_element;
use super::frames::check_frames;
use super::moved::{SPAN, moved};
use super::shown::{shown, shown_date};
use super::texts::text_instants;
use crate::functions::exact::{instants_of, opaque};
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
                check_frames(&plan, &zone)?;
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
        Expr::Cast(mut of) => match read_cast(&mut of.expr, (of.field.data_type(), false), schema, zone) {
            true if is_instant(&of.expr, of.field.data_type(), schema) => Transformed::yes(*of.expr),
            is_read => Transformed::new_transformed(Expr::Cast(of), is_read),
        },
        Expr::TryCast(mut of) => match read_cast(&mut of.expr, (of.field.data_type(), true), schema, zone) {
            true if is_instant(&of.expr, of.field.data_type(), schema) => Transformed::yes(*of.expr),
            is_read => Transformed::new_transformed(Expr::TryCast(of), is_read),
        },
        Expr::ScalarFunction(mut call) => {
            let is_read = read_call(&mut call, schema, zone);
            Transformed::new_transformed(Expr::ScalarFunction(call), is_read)
        }
        Expr::BinaryExpr(binary) => move_in_zone(binary, schema, zone),
        other => Transformed::no(other),
    }
}

/// The zone by which instants of a type are shown: one that was chosen, or the session's.
pub(super) fn clock_of(of: &Arc<str>, session: &Arc<str>) -> Arc<str> {
    Arc::clone(if is_utc(of) { session } else { of })
}

fn replace(expr: &mut Expr, with: impl FnOnce(Expr) -> Expr) -> bool {
    *expr = with(mem::take(expr));
    true
}

/// Whether what was read is what the cast makes of it already.
fn is_instant(read: &Expr, to: &DataType, schema: &DFSchema) -> bool {
    matches!(to, DataType::Timestamp(_, Some(_))) && read.get_type(schema).is_ok_and(|of| of == *to)
}

/// Reads what is cast, or only tried: of an instant a clock is asked, and what becomes one is a time of the session's zone, or of the one that was
/// chosen. So is each in a list. The cast itself stays.
fn read_cast(inner: &mut Expr, (to, is_tried): (&DataType, bool), schema: &DFSchema, zone: &Arc<str>) -> bool {
    use DataType as T;
    let Ok(from) = inner.get_type(schema) else { return false };
    let (of, to) = (base_type(&from), base_type(to));
    let cast_to: fn(Expr, DataType) -> Expr = if is_tried { try_cast } else { cast };
    // There are several kinds of lists, and functions know one.
    let plain = |inner: Expr| if of == from { inner } else { cast(inner, with_element(&from, of.clone())) };
    match (&of, &to) {
        (T::Timestamp(_, Some(of)), T::Date32) => replace(inner, |inner| shown_date(clock_of(of, zone), plain(inner))),
        (T::Timestamp(_, Some(of)), T::Date64 | T::Time32(_) | T::Time64(_) | T::Timestamp(_, None)) => {
            replace(inner, |inner| shown(clock_of(of, zone), plain(inner)))
        }
        (T::Timestamp(_, Some(_)), to) if to.is_string() => label(inner, &from, zone),
        (of, T::Timestamp(unit, Some(to))) if of.is_string() => {
            // What is no time may be an error: it is asked about the rows that other conditions leave.
            let may_fail = !is_tried && !matches!(inner, Expr::Literal(..));
            replace(inner, |inner| {
                let instants = text_instants(clock_of(to, zone), *unit, is_tried, plain(inner));
                if may_fail { opaque(instants) } else { instants }
            })
        }
        (T::Timestamp(TimeUnit::Microsecond, None), T::Timestamp(_, Some(to))) => {
            replace(inner, |inner| instants_of(clock_of(to, zone), plain(inner)))
        }
        (T::Timestamp(TimeUnit::Nanosecond, None), T::Timestamp(_, Some(to))) => replace(inner, |inner| {
            cast_to(inner, with_element(&from, T::Timestamp(TimeUnit::Nanosecond, Some(clock_of(to, zone)))))
        }),
        (T::Timestamp(_, None) | T::Date32 | T::Date64, T::Timestamp(_, Some(to))) => replace(inner, |inner| {
            let wall_times = cast_to(inner, with_element(&from, T::Timestamp(TimeUnit::Microsecond, None)));
            instants_of(clock_of(to, zone), wall_times)
        }),
        _ => false,
    }
}

/// Gives instants the type of the session's zone, with which they are written, unless another zone was chosen.
fn label(instants: &mut Expr, from: &DataType, zone: &Arc<str>) -> bool {
    match base_type(from) {
        DataType::Timestamp(unit, Some(of)) if is_utc(&of) => {
            let there = with_element(from, DataType::Timestamp(unit, Some(Arc::clone(zone))));
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

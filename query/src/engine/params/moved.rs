//! What is `?` in `at >= ? - INTERVAL '1 day'`? A time, as what it is compared with. The planner would take it for an interval, because an
//! interval stands beside it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};
use datafusion::sql::sqlparser::ast::BinaryOperator;

/// Gives a parameter that is moved by an interval the type of the time that it is compared with, then leaves the rest to other planners.
#[derive(Debug)]
pub(in crate::engine) struct MovedTimes;

impl ExprPlanner for MovedTimes {
    fn plan_binary_op(&self, mut expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator as Op;
        if matches!(expr.op, Op::Gt | Op::GtEq | Op::Lt | Op::LtEq | Op::Eq | Op::NotEq) {
            settle(&mut expr.left, &expr.right, schema);
            settle(&mut expr.right, &expr.left, schema);
        }
        Ok(PlannerResult::Original(expr))
    }
}

fn settle(expr: &mut Expr, other: &Expr, schema: &DFSchema) {
    let Some(field) = moved(expr, schema) else { return };
    if let Ok(data_type @ (DataType::Timestamp(_, _) | DataType::Date32)) = other.get_type(schema) {
        *field = Some(Arc::new(Field::new("", data_type, true)));
    }
}

/// The type of the parameter to which intervals are added, or from which they are taken, if it has none yet.
fn moved<'a>(expr: &'a mut Expr, schema: &DFSchema) -> Option<&'a mut Option<FieldRef>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    let time: &'a mut Expr = match op {
        Operator::Plus | Operator::Minus if is_interval(right, schema) => left,
        Operator::Plus if is_interval(left, schema) => right,
        _ => return None,
    };
    match time {
        Expr::Placeholder(Placeholder { field, .. }) => field.is_none().then_some(field),
        other => moved(other, schema),
    }
}

fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Interval(_)))
}

//! As what is a constant compared? As what stands on the other side. A text or a date beside a time is a time in microseconds, where DataFusion
//! makes nanoseconds of both, which end in 2262 and begin in 1677. A number beside a DECIMAL is the one that is written, where DataFusion
//! has it as a DOUBLE first, which has some 16 digits of it.

use std::{iter, mem};

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Case, Cast, InList};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, cast};
use datafusion::optimizer::AnalyzerRule;

use crate::statement::{beside_decimal, is_written_number};

/// Reads constants as what they are compared with. It runs in front of type coercion, which would find another type for both.
#[derive(Debug)]
pub(crate) struct AsCompared;

impl AnalyzerRule for AsCompared {
    fn name(&self) -> &str {
        "as_compared"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(read_plan).data()
    }
}

fn read_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut compares = false;
    plan.apply_expressions(|expr| {
        compares |= expr.exists(|expr| Ok(compares_constant(expr)))?;
        Ok(if compares { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if !compares {
        return Ok(Transformed::no(plan));
    }
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
    }
    let names = NamePreserver::new(&plan);
    let read = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let read = expr.transform_up(|expr| Ok(read(expr, &schema)))?;
        Ok(if read.transformed { read.update_data(|expr| name.restore(expr)) } else { read })
    })?;
    if read.transformed { read.map_data(LogicalPlan::recompute_schema) } else { Ok(read) }
}

fn compares_constant(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            is_comparison(*op) && (is_constant(left) || is_constant(right))
        }
        Expr::Between(Between { expr, low, high, .. }) => is_constant(expr) || is_constant(low) || is_constant(high),
        Expr::InList(InList { list, .. }) => list.iter().any(is_constant),
        Expr::Case(Case { expr: Some(_), when_then_expr, .. }) => {
            when_then_expr.iter().any(|(when, _)| is_constant(when))
        }
        _ => false,
    }
}

fn read(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_read = match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
            read_beside(left, iter::once(&mut **right), schema) || read_beside(right, iter::once(&mut **left), schema)
        }
        Expr::Between(Between { expr, low, high, .. }) => {
            read_beside(expr, [&mut **low, &mut **high].into_iter(), schema)
                || read_beside(low, iter::once(&mut **expr), schema)
        }
        Expr::InList(InList { expr, list, .. }) => read_beside(expr, list.iter_mut(), schema),
        Expr::Case(Case { expr: Some(expr), when_then_expr, .. }) => {
            read_beside(expr, when_then_expr.iter_mut().map(|(when, _)| &mut **when), schema)
        }
        _ => false,
    };
    if is_read { Transformed::yes(expr) } else { Transformed::no(expr) }
}

/// Reads those that are constants as `known`, which they are compared with. Whether any was read.
fn read_beside<'a>(known: &Expr, others: impl Iterator<Item = &'a mut Expr>, schema: &DFSchema) -> bool {
    let mut constants = others.filter(|other| is_constant(other)).peekable();
    if constants.peek().is_none() {
        return false;
    }
    let beside = known.get_type(schema);
    let mut is_read = false;
    for constant in constants {
        let value = match &beside {
            Ok(time @ DataType::Timestamp(TimeUnit::Microsecond, _)) if is_text(constant) || is_date(constant) => {
                Some(cast(mem::take(constant), time.clone()))
            }
            Ok(DataType::Decimal128(precision, scale)) => decimal(constant, *precision, *scale),
            _ => None,
        };
        if let Some(value) = value {
            *constant = value;
            is_read = true;
        }
    }
    is_read
}

/// A number as a decimal that is compared exactly with those of such a type.
fn decimal(constant: &Expr, precision: u8, scale: i8) -> Option<Expr> {
    let text = match constant {
        // One of few digits, or a parameter: the shortest text of it.
        Expr::Literal(ScalarValue::Float64(Some(value)), _) => value.to_string(),
        Expr::Cast(Cast { expr, field }) if is_written_number(field) => match &**expr {
            Expr::Literal(ScalarValue::Utf8(Some(text)), _) => text.clone(),
            _ => return None,
        },
        _ => return None,
    };
    beside_decimal(&text, precision, scale).map(|value| Expr::Literal(value, None))
}

fn is_comparison(op: Operator) -> bool {
    use Operator as Op;
    matches!(
        op,
        Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq | Op::IsDistinctFrom | Op::IsNotDistinctFrom
    )
}

fn is_constant(expr: &Expr) -> bool {
    is_text(expr) || is_date(expr) || is_number(expr)
}

fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.data_type().is_string() && !value.is_null())
}

/// A date that is written out, or what is cast to one.
fn is_date(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => matches!(value, ScalarValue::Date32(Some(_))),
        Expr::Cast(Cast { field, .. }) => field.data_type() == &DataType::Date32,
        _ => false,
    }
}

/// A number with a point, or of many digits.
fn is_number(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => matches!(value, ScalarValue::Float64(Some(_))),
        Expr::Cast(Cast { field, .. }) => is_written_number(field),
        _ => false,
    }
}

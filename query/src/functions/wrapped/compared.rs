//! As what is a constant compared? As what stands on the other side. A text or a date beside a time is a time in microseconds, where DataFusion
//! makes nanoseconds of both, which end in 2262 and begin in 1677. A number beside a DECIMAL or an integer is the one that is written, where
//! DataFusion has it, and the integer, as a DOUBLE first, which has some 16 digits of it.

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
        Expr::InList(InList { expr, list, .. }) => is_constant(expr) || list.iter().any(is_constant),
        Expr::Case(Case { expr: Some(expr), when_then_expr, .. }) => {
            is_constant(expr) || when_then_expr.iter().any(|(when, _)| is_constant(when))
        }
        _ => false,
    }
}

fn read(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_read = match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
            let alone = Beside { schema, is_alone: true, has_doubles: false };
            alone.read(left, iter::once(&mut **right)) || alone.read(right, iter::once(&mut **left))
        }
        Expr::Between(Between { expr, low, high, .. }) => {
            let beside = Beside::several([&**expr, &**low, &**high].into_iter(), schema);
            beside.read(expr, [&mut **low, &mut **high].into_iter())
                || beside.read_one(expr, [&**low, &**high].into_iter())
        }
        Expr::InList(InList { expr, list, .. }) => {
            let beside = Beside::several(iter::once(&**expr).chain(&*list), schema);
            beside.read(expr, list.iter_mut()) || beside.read_one(expr, list.iter())
        }
        Expr::Case(Case { expr: Some(expr), when_then_expr, .. }) => {
            let whens = when_then_expr.iter().map(|(when, _)| &**when);
            let beside = Beside::several(iter::once(&**expr).chain(whens), schema);
            beside.read(expr, when_then_expr.iter_mut().map(|(when, _)| &mut **when))
                || beside.read_one(expr, when_then_expr.iter().map(|(when, _)| &**when))
        }
        _ => false,
    };
    if is_read { Transformed::yes(expr) } else { Transformed::no(expr) }
}

/// Reads constants as what stands beside them.
struct Beside<'s> {
    schema: &'s DFSchema,
    /// Two values are compared. Of several one that is a DOUBLE makes all of them DOUBLEs.
    is_alone: bool,
    /// There are DOUBLEs that are beyond what a DECIMAL holds, for all that is known.
    has_doubles: bool,
}

/// A DECIMAL holds what is less, with some digits behind the point.
const MOST: f64 = 1e30;

impl<'s> Beside<'s> {
    /// Several values, which are all compared as one type.
    fn several<'a>(mut values: impl Iterator<Item = &'a Expr>, schema: &'s DFSchema) -> Self {
        let has_doubles = values.any(|value| match value {
            Expr::Literal(ScalarValue::Float64(Some(number)), _) => number.is_nan() || number.abs() >= MOST,
            value => !is_constant(value) && value.get_type(schema).is_ok_and(|of| of.is_floating()),
        });
        Self { schema, is_alone: false, has_doubles }
    }

    /// Reads those that are constants as `known`, which they are compared with. Whether any was read.
    fn read<'a>(&self, known: &Expr, others: impl Iterator<Item = &'a mut Expr>) -> bool {
        let mut constants = others.filter(|other| is_constant(other)).peekable();
        if constants.peek().is_none() {
            return false;
        }
        let beside = known.get_type(self.schema);
        let mut is_read = false;
        for constant in constants {
            let value = match &beside {
                Ok(time @ DataType::Timestamp(TimeUnit::Microsecond, _)) if is_text(constant) || is_date(constant) => {
                    Some(cast(mem::take(constant), time.clone()))
                }
                Ok(DataType::Decimal128(precision, scale)) => decimal(constant, *precision, *scale),
                Ok(integer) if integer.is_integer() && self.loses_digits(constant) => {
                    decimal(constant, INTEGER_DIGITS, 0)
                }
                _ => None,
            };
            if let Some(value) = value {
                *constant = value;
                is_read = true;
            }
        }
        is_read
    }

    /// Whether integers would be compared as DOUBLEs with fewer digits than they have.
    fn loses_digits(&self, constant: &Expr) -> bool {
        !(self.has_doubles || self.is_alone && is_exact_beside_integers(constant))
    }

    /// Reads one constant as the first of what it is compared with that says how.
    fn read_one<'a>(&self, constant: &mut Expr, mut known: impl Iterator<Item = &'a Expr>) -> bool {
        known.any(|known| self.read(known, iter::once(&mut *constant)))
    }
}

/// No integer has more digits.
const INTEGER_DIGITS: u8 = 20;

/// Whether each integer is less, equal or greater as a DOUBLE, too: up to 2^53 all of them are.
fn is_exact_beside_integers(constant: &Expr) -> bool {
    const ALL_BELOW: f64 = (1_u64 << f64::MANTISSA_DIGITS) as f64;
    matches!(constant, Expr::Literal(ScalarValue::Float64(Some(value)), _) if value.abs() < ALL_BELOW)
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

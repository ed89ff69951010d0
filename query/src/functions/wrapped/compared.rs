//! As what is a constant compared? As what stands on the other side. A text or a date beside a time is a time in microseconds, where DataFusion
//! makes nanoseconds of both, which end in 2262 and begin in 1677. A number, or its text, beside a DECIMAL or an integer is the one that is written, where
//! DataFusion has it, and the integer, as a DOUBLE first, which has some 16 digits of it. And a DECIMAL beside a DOUBLE that is no constant? As a
//! DOUBLE, as in PostgreSQL: DataFusion makes a DECIMAL of the other, which has no place for 1e300 or infinity. What is computed of numbers that
//! are written, and of nothing else, is left to it: `0.06 + 0.01` is no DOUBLE in PostgreSQL, and the DECIMAL next to it is the one that is meant.

use std::cell::Cell;
use std::sync::Arc;
use std::{iter, mem};

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{
    AggregateFunction, Case, Cast, InList, InSubquery, ScalarFunction, SetComparison, Sort,
};
use datafusion::logical_expr::expr_rewriter::coerce_plan_expr_for_schema;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Between, BinaryExpr, Distinct, DistinctOn, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Operator,
    cast,
};
use datafusion::optimizer::AnalyzerRule;

use super::common_type::{
    Unions, as_doubles, as_extreme, as_instants, as_length, as_lengths, as_shifted, as_subquery, as_times, as_wide,
    check_recursive, chosen, is_open, zone_of,
};
use crate::functions::exact::may_stand_twice;
use crate::rules::{columns_of, holds, is_lateral, rewrite_exprs, with_outer};
use crate::statement::{CHOICES, SHIFTS, beside_decimal, compared_with_decimal, is_written_number};

/// Reads constants as what they are compared with. It runs in front of type coercion, which would find another type for both.
#[derive(Debug)]
pub(crate) struct AsCompared;

impl AnalyzerRule for AsCompared {
    fn name(&self) -> &str {
        "as_compared"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let reading = Reading { zone: zone_of(config), unions: Unions::of(&plan)?, has_changed: Cell::new(false) };
        reading.unions.settled(reading.of(plan)?)
    }
}

/// The plan with the types that its columns have in an answer. To be asked of a view, which is described, and named, before it is read.
pub(crate) fn as_answered(plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
    let answered = AsCompared.analyze(plan.clone(), config)?;
    match has_types_of(&plan, answered.schema()) {
        true => Ok(plan),
        false => coerce_plan_expr_for_schema(plan, answered.schema()),
    }
}

fn has_types_of(plan: &LogicalPlan, schema: &DFSchema) -> bool {
    let types = plan.schema().fields().iter().map(|field| field.data_type());
    types.eq(schema.fields().iter().map(|field| field.data_type()))
}

/// One walk over a plan, from the leaves up: what is read as something else is so for all that stands around it.
struct Reading<'z> {
    zone: Option<&'z str>,
    unions: Unions,
    /// Whether columns are of other types by now than the nodes say that are still to come.
    has_changed: Cell<bool>,
}

impl Reading<'_> {
    fn of(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        plan.transform_down_up(|node| self.read_lateral(node), |node| self.read_node(node).map(Transformed::yes)).data()
    }

    /// What stands beside a LATERAL query is around it, and is read before it.
    fn read_lateral(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        match node {
            LogicalPlan::Join(mut join) if is_lateral(&join.right) => {
                let left = self.of(Arc::unwrap_or_clone(join.left))?;
                let right = with_outer(Arc::unwrap_or_clone(join.right), left.schema())?;
                join.left = Arc::new(left);
                join.right = Arc::new(self.of(right)?);
                Ok(Transformed::new(LogicalPlan::Join(join), true, TreeNodeRecursion::Jump))
            }
            other => Ok(Transformed::no(other)),
        }
    }

    fn read_node(&self, node: LogicalPlan) -> Result<LogicalPlan> {
        let node = self.settle_inputs(node)?;
        let Transformed { data: node, transformed: is_read, .. } = self.read_exprs(node)?;
        let is_around = self.has_changed.get() && !node.inputs().is_empty();
        if !is_read && !is_around {
            return Ok(node);
        }
        let before = Arc::clone(node.schema());
        let node = match node {
            // DataFusion takes their types for given.
            LogicalPlan::Values(values) => LogicalPlanBuilder::values(values.values)?.build()?,
            other => other.recompute_schema()?,
        };
        if let LogicalPlan::RecursiveQuery(query) = &node {
            check_recursive(query, &before)?;
        }
        if !has_types_of(&node, &before) {
            self.has_changed.set(true);
        }
        Ok(node)
    }

    /// A UNION is settled when all are known that stand in it.
    fn settle_inputs(&self, node: LogicalPlan) -> Result<LogicalPlan> {
        match node {
            // Its parts say of columns that are joined by name what the first of them has.
            LogicalPlan::Union(_) => node.map_children(|part| part.recompute_schema().map(Transformed::yes)).data(),
            LogicalPlan::Distinct(Distinct::All(_)) => Ok(node),
            around if around.inputs().into_iter().any(is_open) => {
                self.has_changed.set(true);
                around.map_children(|input| self.unions.settled(input).map(Transformed::yes)).data()
            }
            other => Ok(other),
        }
    }

    fn read_exprs(&self, mut node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        if let LogicalPlan::Join(join) = &mut node {
            read_keys(join);
        }
        let sorts = matches!(node, LogicalPlan::Sort(_) | LogicalPlan::Distinct(Distinct::On(_)));
        if !sorts && !holds(&node, may_be_read)? {
            return Ok(Transformed::no(node));
        }
        let columns = columns_of(&node)?;
        let with_queries = node.map_subqueries(|query| {
            let query = if self.has_changed.get() { with_outer(query, &columns)? } else { query };
            self.of(query).map(Transformed::yes)
        })?;
        let mut done = with_queries.transform_data(|node| {
            rewrite_exprs(node, |expr| expr.transform_up(|expr| Ok(read(expr, &columns, self.zone))))
        })?;
        done.transformed |= sorts_by_length(&mut done.data, &columns);
        Ok(done)
    }
}

/// Sorts by the lengths of INTERVALs. DISTINCT ON tells apart what it sorts by. Whether there are any.
fn sorts_by_length(node: &mut LogicalPlan, columns: &DFSchema) -> bool {
    match node {
        LogicalPlan::Sort(sort) => by_length(&mut sort.expr, columns),
        LogicalPlan::Distinct(Distinct::On(DistinctOn { on_expr, sort_expr, .. })) => {
            let mut is_read = sort_expr.as_mut().is_some_and(|keys| by_length(keys, columns));
            for key in on_expr {
                is_read |= as_length(key, columns);
            }
            is_read
        }
        _ => false,
    }
}

/// What USING names, or a set operation, is compared like what ON says.
fn read_keys(join: &mut Join) {
    if join.on.is_empty() {
        return;
    }
    let schema = merge_schema(&[&*join.left, &*join.right]);
    for (left, right) in &mut join.on {
        read_pair(left, right, &schema);
    }
}

/// Whether it may be read: a comparison, a difference, a choice, what has an order, or a query of its own.
fn may_be_read(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op, .. }) => is_comparison(*op) || *op == Operator::Minus,
        Expr::Between(_) | Expr::InList(_) | Expr::Case(_) => true,
        Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => true,
        Expr::ScalarFunction(function) => is_choice(function),
        Expr::WindowFunction(_) => true,
        Expr::AggregateFunction(function) => !function.params.order_by.is_empty(),
        _ => false,
    }
}

fn read(expr: Expr, schema: &DFSchema, zone: Option<&str>) -> Transformed<Expr> {
    if let Some(case) = unless_equal(&expr, schema, zone) {
        return Transformed::yes(case);
    }
    let mut expr = expr;
    let is_zoned = zone.is_some_and(|zone| as_instants(&mut expr, schema, zone));
    let is_read = match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => read_pair(left, right, schema),
        Expr::Between(Between { expr, low, high, .. }) => {
            let beside = Beside::several([&**expr, &**low, &**high].into_iter(), schema);
            as_common(&mut [&mut **expr, &mut **low, &mut **high], schema)
                || beside.read(expr, [&mut **low, &mut **high].into_iter())
                || beside.read_one(expr, [&**low, &**high].into_iter())
        }
        Expr::InList(InList { expr, list, .. }) => {
            let beside = Beside::several(iter::once(&**expr).chain(&*list), schema);
            as_common(&mut iter::once(&mut **expr).chain(&mut *list).collect::<Vec<_>>(), schema)
                || beside.read(expr, list.iter_mut())
                || beside.read_one(expr, list.iter())
        }
        Expr::InSubquery(InSubquery { expr, subquery, .. })
        | Expr::SetComparison(SetComparison { expr, subquery, .. }) => as_subquery(expr, subquery, schema),
        Expr::Case(case) => {
            let is_read = read_operand(case, schema);
            let thens = case.when_then_expr.iter_mut().map(|(_, then)| &mut **then);
            chosen(&mut thens.chain(case.else_expr.as_deref_mut()).collect::<Vec<_>>(), schema) || is_read
        }
        Expr::ScalarFunction(function) if is_choice(function) => {
            if as_extreme(function, schema) {
                return Transformed::yes(expr);
            }
            // What nvl2 asks about is not what it gives.
            let n_asked = usize::from(function.func.name() == "nvl2");
            chosen(&mut function.args.iter_mut().skip(n_asked).collect::<Vec<_>>(), schema)
        }
        Expr::WindowFunction(function) => {
            let is_shifted = SHIFTS.contains(&function.fun.name()) && as_shifted(&mut function.params.args, schema);
            by_length(&mut function.params.order_by, schema) || is_shifted
        }
        Expr::AggregateFunction(AggregateFunction { params, .. }) => by_length(&mut params.order_by, schema),
        _ => false,
    };
    if is_read || is_zoned { Transformed::yes(expr) } else { Transformed::no(expr) }
}

/// Whether one of the keys was an INTERVAL.
fn by_length(keys: &mut [Sort], schema: &DFSchema) -> bool {
    let mut is_read = false;
    for key in keys {
        is_read |= as_length(&mut key.expr, schema);
    }
    is_read
}

/// `nullif(a, b)` of two types, or of INTERVALs, as `CASE WHEN a = b THEN NULL ELSE a END`: `a` keeps its type, and with it all its digits.
/// `None` for all else, and for what must not stand there twice.
fn unless_equal(expr: &Expr, schema: &DFSchema, zone: Option<&str>) -> Option<Expr> {
    let Expr::ScalarFunction(function) = expr else { return None };
    let [value, other] = function.args.as_slice() else { return None };
    if function.func.name() != "nullif" || is_number(value) || is_text(value) || is_text(other) {
        return None;
    }
    let (of, beside) = (value.get_type(schema).ok()?, other.get_type(schema).ok()?);
    let is_compared = of != beside || matches!(of, DataType::Interval(_));
    if of.is_null() || !is_compared || !may_stand_twice(value) {
        return None;
    }
    let equal = BinaryExpr::new(Box::new(value.clone()), Operator::Eq, Box::new(other.clone()));
    let equal = read(Expr::BinaryExpr(equal), schema, zone).data;
    let null = Expr::Literal(ScalarValue::try_from(&of).ok()?, None);
    let when = vec![(Box::new(equal), Box::new(null))];
    Some(Expr::Case(Case::new(None, when, Some(Box::new(value.clone())))))
}

fn is_choice(function: &ScalarFunction) -> bool {
    CHOICES.contains(&function.func.name())
}

/// Two values that are compared.
fn read_pair(left: &mut Expr, right: &mut Expr, schema: &DFSchema) -> bool {
    let alone = Beside { schema, is_alone: true, has_doubles: false };
    as_common(&mut [&mut *left, &mut *right], schema)
        || alone.read(left, iter::once(&mut *right))
        || alone.read(right, iter::once(&mut *left))
}

/// What CASE compares with the values behind its WHENs.
fn read_operand(case: &mut Case, schema: &DFSchema) -> bool {
    let Case { expr: Some(expr), when_then_expr, .. } = case else { return false };
    let whens = when_then_expr.iter().map(|(when, _)| &**when);
    let beside = Beside::several(iter::once(&**expr).chain(whens), schema);
    let whens = when_then_expr.iter_mut().map(|(when, _)| &mut **when);
    as_common(&mut iter::once(&mut **expr).chain(whens).collect::<Vec<_>>(), schema)
        || beside.read(expr, when_then_expr.iter_mut().map(|(when, _)| &mut **when))
        || beside.read_one(expr, when_then_expr.iter().map(|(when, _)| &**when))
}

/// Values that are compared with each other, and are no constants, as what they have in common.
fn as_common(values: &mut [&mut Expr], schema: &DFSchema) -> bool {
    as_lengths(values, schema) || as_times(values, schema) || as_doubles(values, schema) || as_wide(values, schema)
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

    /// Reads those that are constants as `known`, with which alone they are compared. Whether any was read.
    fn read<'a>(&self, known: &Expr, others: impl Iterator<Item = &'a mut Expr>) -> bool {
        self.read_as(known, others, compared)
    }

    fn read_as<'a>(
        &self,
        known: &Expr,
        others: impl Iterator<Item = &'a mut Expr>,
        decimal: impl Fn(&Expr, u8, i8) -> Option<Expr>,
    ) -> bool {
        let mut constants = others.filter(|other| is_constant(other) || is_integer(other)).peekable();
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
                // DataFusion makes the same of an integer, unless it has no place in front of so many digits.
                Ok(DataType::Decimal128(_, scale)) if is_integer(constant) && *scale <= DIGITS_BESIDE_INTEGERS => None,
                Ok(DataType::Decimal128(precision, scale)) => decimal(constant, *precision, *scale),
                Ok(integer) if integer.is_integer() && is_number(constant) && self.loses_digits(constant) => {
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

    /// Reads one constant as the first of what it is compared with that says how. It is the number itself, as the others are of other types.
    fn read_one<'a>(&self, constant: &mut Expr, mut known: impl Iterator<Item = &'a Expr>) -> bool {
        known.any(|known| self.read_as(known, iter::once(&mut *constant), exact))
    }
}

/// No integer has more digits.
const INTEGER_DIGITS: u8 = 20;

/// Each of them has a place in front of so many digits of a DECIMAL.
const DIGITS_BESIDE_INTEGERS: i8 = 18;

/// Whether each integer is less, equal or greater as a DOUBLE, too: up to 2^53 all of them are.
fn is_exact_beside_integers(constant: &Expr) -> bool {
    const ALL_BELOW: f64 = (1_u64 << f64::MANTISSA_DIGITS) as f64;
    matches!(constant, Expr::Literal(ScalarValue::Float64(Some(value)), _) if value.abs() < ALL_BELOW)
}

/// A number as a decimal that is compared exactly with those of such a type, and with nothing else.
fn compared(constant: &Expr, precision: u8, scale: i8) -> Option<Expr> {
    // No DECIMAL is as large as the first, nor as small as the second and not 0. NaN is greater than all numbers.
    const BEYOND: f64 = 1e38;
    const BETWEEN: f64 = 1e-38;
    let text = match constant {
        Expr::Literal(ScalarValue::Float64(Some(value)), _) if value.is_nan() || *value >= BEYOND => "1e38".to_owned(),
        Expr::Literal(ScalarValue::Float64(Some(value)), _) if *value <= -BEYOND => "-1e38".to_owned(),
        Expr::Literal(ScalarValue::Float64(Some(value)), _) if *value != 0.0 && value.abs() < BETWEEN => {
            if *value > 0.0 { "1e-39".to_owned() } else { "-1e-39".to_owned() }
        }
        constant => text_of(constant)?,
    };
    compared_with_decimal(&text, precision, scale).map(|value| Expr::Literal(value, None))
}

/// A number as the decimal that it is.
fn exact(constant: &Expr, precision: u8, scale: i8) -> Option<Expr> {
    beside_decimal(&text_of(constant)?, precision, scale).map(|value| Expr::Literal(value, None))
}

pub(super) fn text_of(constant: &Expr) -> Option<String> {
    match constant {
        // One of few digits, or a parameter: the shortest text of it.
        Expr::Literal(ScalarValue::Float64(Some(value)), _) => Some(value.to_string()),
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => Some(value.to_string()),
        Expr::Literal(ScalarValue::UInt64(Some(value)), _) => Some(value.to_string()),
        // DataFusion rounds it to the digits of the DECIMAL: 1.01 would be '1.005'.
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => {
            let text = text.trim();
            Some(text.strip_prefix('+').unwrap_or(text).to_owned())
        }
        Expr::Cast(Cast { expr, field }) if is_written_number(field) => match &**expr {
            Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn is_comparison(op: Operator) -> bool {
    use Operator as Op;
    matches!(
        op,
        Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq | Op::IsDistinctFrom | Op::IsNotDistinctFrom
    )
}

fn is_constant(expr: &Expr) -> bool {
    is_text(expr) || is_date(expr) || is_number(expr)
}

pub(super) fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.data_type().is_string() && !value.is_null())
}

/// An integer that is written.
pub(super) fn is_integer(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Int64(Some(_)) | ScalarValue::UInt64(Some(_)), _))
}

/// A date that is written out, or what is cast to one.
fn is_date(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => matches!(value, ScalarValue::Date32(Some(_))),
        Expr::Cast(Cast { field, .. }) => field.data_type() == &DataType::Date32,
        _ => false,
    }
}

/// A number that is written, or what arithmetic makes of such ones alone.
pub(super) fn is_of_numbers(expr: &Expr) -> bool {
    match expr {
        Expr::Negative(number) => is_of_numbers(number),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            use Operator as Op;
            matches!(op, Op::Plus | Op::Minus | Op::Multiply | Op::Divide | Op::Modulo)
                && is_of_numbers(left)
                && is_of_numbers(right)
        }
        Expr::Literal(value, _) => value.data_type().is_numeric(),
        expr => is_constant(expr),
    }
}

/// A number with a point, or of many digits.
pub(super) fn is_number(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => matches!(value, ScalarValue::Float64(Some(_))),
        Expr::Cast(Cast { field, .. }) => is_written_number(field),
        _ => false,
    }
}

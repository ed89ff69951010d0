//! What stays as it is written? Casts that lose something: of `CAST(d AS BIGINT) = 1` DataFusion makes `d = 1.00`, which 1.5 is not, and of
//! `TRY_CAST(n AS TINYINT) > 5` it makes `n > 5`, which 1000 is. And what may fail for some rows, casts and divisions: these are asked about the
//! rows that other conditions leave.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use datafusion::common::tree_node::Transformed;
use datafusion::common::utils::take_function_args;
use datafusion::common::{DFSchema, ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use super::floats::one_nan;
use super::{doubles, instants};

/// One for all calls.
static KEPT: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Kept::new(true))));
static APART: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Kept::new(false))));

/// Whether it is one of those, for all that is known without types.
pub(super) fn may_be_kept(expr: &Expr) -> bool {
    match expr {
        // Constants are computed once, and then there is nothing to keep.
        Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => !matches!(**expr, Expr::Literal(..)),
        Expr::BinaryExpr(BinaryExpr { op: Operator::Divide | Operator::Modulo, right, .. }) => may_be_zero(right),
        _ => false,
    }
}

/// Puts a function around it that gives what it is given. The optimizer looks for casts beside constants, to cast the constant to the other type
/// instead, and finds none. To be called behind type coercion, which casts, too.
pub(super) fn keep(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    if !may_be_kept(&expr) {
        return Transformed::no(expr);
    }
    let expr = match doubles::of_decimal(expr, schema) {
        Transformed { data, transformed: true, .. } => return Transformed::yes(data),
        other => other.data,
    };
    let read = instants::of_wall_time(expr, schema);
    if read.transformed || !is_wanted(&read.data, schema) {
        return read;
    }
    Transformed::yes(opaque(read.data))
}

/// The same value, which is no column to the planner.
pub(in crate::functions) fn opaque(expr: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&KEPT), vec![expr]))
}

/// The same value, which is no list to the optimizer. It cannot fail: nothing is asked before it, and copied for that.
pub(super) fn apart(list: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&APART), vec![list]))
}

/// Whether an expression is a call that is [`opaque`], for what is in it may fail.
pub(super) fn is_kept(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if may_fail_in(&call.func))
}

/// The same of what runs.
pub(super) fn is_kept_physically(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.downcast_ref::<ScalarFunctionExpr>().is_some_and(|call| may_fail_in(call.fun()))
}

fn may_fail_in(function: &ScalarUDF) -> bool {
    function.inner().downcast_ref::<Kept>().is_some_and(|kept| kept.may_fail)
}

fn is_wanted(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::Cast(Cast { expr: inner, field }) => {
            let to = field.data_type();
            inner.get_type(schema).is_ok_and(|from| loses(&from, to) || may_fail(&from, to))
        }
        Expr::TryCast(TryCast { expr: inner, field }) => {
            inner.get_type(schema).is_ok_and(|from| loses(&from, field.data_type()))
        }
        Expr::BinaryExpr(BinaryExpr { right, .. }) => {
            right.get_type(schema).is_ok_and(|divisor| divisor.is_integer() || divisor.is_decimal())
        }
        _ => false,
    }
}

fn may_be_zero(divisor: &Expr) -> bool {
    match divisor {
        Expr::Literal(value, _) => ScalarValue::new_zero(&value.data_type()).is_ok_and(|zero| zero == *value),
        Expr::Cast(Cast { expr, .. }) => may_be_zero(expr),
        _ => true,
    }
}

/// Whether a cast has no value for some values, beside those that lose something.
fn may_fail(from: &DataType, to: &DataType) -> bool {
    (from.is_string() && !to.is_string() && !to.is_binary())
        || (from.is_floating() && (to.is_integer() || to.is_decimal()))
}

/// Whether two values may become one, or a value none, where the optimizer takes no notice of it. What it leaves alone itself is not asked
/// about: casts from and to DOUBLE or text, times that become coarser, and dates. And whether a value between two others may become one that is not
/// between what they become: files are left out by their bounds.
fn loses(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        // After an evening and before a morning there is a noon.
        (DataType::Timestamp(..), DataType::Time32(_) | DataType::Time64(_)) => true,
        (from, DataType::Boolean) => from.is_numeric(),
        (from, to) if from.is_integer() && to.is_integer() => !holds(to, from),
        (from, to) if from.is_integer() && to.is_decimal() => {
            decimal(to).is_some_and(|(precision, scale)| digits(from) > precision - scale)
        }
        (from, to) if from.is_decimal() && to.is_decimal() => match (decimal(from), decimal(to)) {
            (Some((precision, scale)), Some((to_precision, to_scale))) => {
                to_scale < scale || to_precision - to_scale < precision - scale
            }
            _ => false,
        },
        (from, to) if from.is_decimal() => to.is_integer(),
        // Columns count microseconds: coarser times come from numbers, and a constant is cut to theirs.
        (DataType::Timestamp(unit, _), DataType::Timestamp(to_unit, _)) => {
            matches!(unit, TimeUnit::Second | TimeUnit::Millisecond) && to_unit > unit
        }
        (DataType::Timestamp(..), to) if to.is_integer() => !holds(to, &DataType::Int64),
        (from, DataType::Timestamp(..)) if from.is_integer() => !holds(&DataType::Int64, from),
        (DataType::Date32, to) if to.is_integer() => !holds(to, &DataType::Int32),
        (from, DataType::Date32) if from.is_integer() => !holds(&DataType::Int32, from),
        _ => false,
    }
}

/// Whether an integer type has a place for all values of another.
fn holds(integer: &DataType, other: &DataType) -> bool {
    let (bytes, other_bytes) = (integer.primitive_width(), other.primitive_width());
    match integer.is_signed_integer() == other.is_signed_integer() {
        true => bytes >= other_bytes,
        false => integer.is_signed_integer() && bytes > other_bytes,
    }
}

/// The most digits that a value has.
fn digits(integer: &DataType) -> i16 {
    match integer {
        DataType::Int8 | DataType::UInt8 => 3,
        DataType::Int16 | DataType::UInt16 => 5,
        DataType::Int32 | DataType::UInt32 => 10,
        DataType::Int64 => 19,
        _ => 20,
    }
}

/// Digits of a decimal type, and those of them behind the point.
fn decimal(data_type: &DataType) -> Option<(i16, i16)> {
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => Some((i16::from(*precision), i16::from(*scale))),
        _ => None,
    }
}

/// Gives its argument, which the optimizer does not look into.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Kept {
    /// Whether what is in it is to be asked about the rows that other conditions leave.
    may_fail: bool,
    signature: Signature,
}

impl Kept {
    fn new(may_fail: bool) -> Self {
        Self { may_fail, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Kept {
    /// As plans show it.
    fn name(&self) -> &str {
        if self.may_fail { "kept" } else { "apart" }
    }

    /// The name of the column, which is that of what is kept.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [kept] => Ok(kept.schema_name().to_string()),
            _ => internal_err!("{} has one argument", self.name()),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [data_type] => Ok(data_type.clone()),
            _ => internal_err!("{} has one argument", self.name()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [field] = take_function_args(self.name(), args.arg_fields)?;
        Ok(Arc::clone(field))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = take_function_args(self.name(), args.args)?;
        // Texts that are read as floats are kept, and name several.
        one_nan(value)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        Ok(inputs.first().map_or(SortProperties::Unordered, |input| input.sort_properties))
    }
}

//! Which DOUBLE is a DECIMAL? The nearest one, as in PostgreSQL: what is written with the same digits. DataFusion makes a DOUBLE of the digits, which
//! may round, and divides it by a power of ten, which rounds again: of 0.1 with 25 digits behind the point it made 0.09999999999999999.

use std::sync::Arc;
use std::sync::LazyLock;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type};
use datafusion::common::tree_node::Transformed;
use datafusion::common::utils::take_function_args;
use datafusion::common::{DFSchema, ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast,
};

static NEAREST: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Nearest::new())));

/// A cast of a DECIMAL to a DOUBLE as a call of such a function, unless both steps are exact or round once.
pub(super) fn of_decimal(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let (Expr::Cast(Cast { expr: inner, field }) | Expr::TryCast(TryCast { expr: inner, field })) = &expr else {
        return Transformed::no(expr);
    };
    let to = field.data_type().clone();
    let is_double = matches!(to, DataType::Float32 | DataType::Float64);
    if !is_double || !inner.get_type(schema).is_ok_and(|of| rounds_twice(&of)) {
        return Transformed::no(expr);
    }
    let nearest = match expr {
        Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => {
            Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&NEAREST), vec![*expr]))
        }
        other => return Transformed::no(other),
    };
    Transformed::yes(if to == DataType::Float64 { nearest } else { cast(nearest, to) })
}

/// Integers of so many digits are DOUBLEs, and so are powers of ten up to this one.
const EXACT_DIGITS: u8 = 15;
const EXACT_POWER: i8 = 22;

fn rounds_twice(data_type: &DataType) -> bool {
    match data_type {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            *precision > EXACT_DIGITS || !(0..=EXACT_POWER).contains(scale)
        }
        _ => false,
    }
}

const NAME: &str = "nearest_double";

#[derive(Debug, PartialEq, Eq, Hash)]
struct Nearest {
    signature: Signature,
}

impl Nearest {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Nearest {
    fn name(&self) -> &str {
        NAME
    }

    /// The name of the column, which is that of the cast.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(args.first().map_or_else(|| NAME.to_owned(), |decimal| decimal.schema_name().to_string()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        Ok(inputs.first().map_or(SortProperties::Unordered, |input| input.sort_properties))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [decimals] = take_function_args(NAME, args.args)?;
        let doubles: ArrayRef = Arc::new(doubles(&decimals.to_array(1)?)?);
        Ok(match decimals {
            ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&doubles, 0)?),
            ColumnarValue::Array(_) => ColumnarValue::Array(doubles),
        })
    }
}

fn doubles(decimals: &ArrayRef) -> Result<Float64Array> {
    Ok(match decimals.data_type() {
        DataType::Decimal128(_, scale) => {
            decimals.as_primitive::<Decimal128Type>().unary(|digits| of_digits(digits, *scale))
        }
        DataType::Decimal256(_, scale) => {
            decimals.as_primitive::<Decimal256Type>().unary(|digits| of_text(&digits.to_string(), *scale))
        }
        other => return internal_err!("{NAME} is asked about {other}"),
    })
}

/// `digits` / 10^`scale`, rounded once.
fn of_digits(digits: i128, scale: i8) -> f64 {
    const EXACT: i128 = 1 << f64::MANTISSA_DIGITS;
    match (-EXACT..=EXACT).contains(&digits) && (0..=EXACT_POWER).contains(&scale) {
        // Both are exact.
        true => digits as f64 / 10_f64.powi(i32::from(scale)),
        false => of_text(&digits.to_string(), scale),
    }
}

/// What is written so. Digits with an exponent are always a number.
fn of_text(digits: &str, scale: i8) -> f64 {
    format!("{digits}e{}", -i32::from(scale)).parse().unwrap_or(f64::NAN)
}

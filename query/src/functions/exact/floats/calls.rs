//! Which functions make one value of several floats? They stand in plans around what may be another one, and give everything else as it is.

use std::mem;
use std::sync::{Arc, LazyLock};

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::utils::{normalize_float_zero, normalize_float_zero_scalar, take_function_args};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use tidewater_storage::catalog;

/// What a function makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum One {
    Nan,
    Zero,
}

/// One of each for all calls.
static NAN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Call::new(One::Nan))));
static ZERO: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Call::new(One::Zero))));

impl One {
    /// Puts the function around `expr`.
    pub fn around(self, expr: &mut Expr) {
        let function = match self {
            Self::Nan => &NAN,
            Self::Zero => &ZERO,
        };
        *expr = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), vec![mem::take(expr)]));
    }

    /// Whether the function is already around it.
    pub fn is_around(self, expr: &Expr) -> bool {
        match expr {
            Expr::ScalarFunction(call) => {
                call.func.inner().downcast_ref::<Call>().is_some_and(|function| function.one == self)
            }
            _ => false,
        }
    }
}

/// The value with the NaN of tables in the place of every other.
pub(in crate::functions) fn one_nan(value: ColumnarValue) -> Result<ColumnarValue> {
    Ok(match value {
        ColumnarValue::Array(array) => ColumnarValue::Array(catalog::one_nan(&array)),
        ColumnarValue::Scalar(scalar) => ColumnarValue::Scalar(one_nan_in(scalar)?),
    })
}

/// The same of a single value.
pub(in crate::functions) fn one_nan_in(scalar: ScalarValue) -> Result<ScalarValue> {
    let may_have_other = match &scalar {
        ScalarValue::Float32(number) => number.is_some_and(f32::is_nan),
        ScalarValue::Float64(number) => number.is_some_and(f64::is_nan),
        ScalarValue::List(_) | ScalarValue::Struct(_) => true,
        _ => false,
    };
    if !may_have_other {
        return Ok(scalar);
    }
    let array: ArrayRef = scalar.to_array()?;
    let one = catalog::one_nan(&array);
    if Arc::ptr_eq(&one, &array) { Ok(scalar) } else { ScalarValue::try_from_array(&one, 0) }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Call {
    one: One,
    signature: Signature,
}

impl Call {
    fn new(one: One) -> Self {
        Self { one, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Call {
    /// As plans show it.
    fn name(&self) -> &str {
        match self.one {
            One::Nan => "one_nan",
            One::Zero => "one_zero",
        }
    }

    /// The name of the column, which is that of the argument.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [arg] => Ok(arg.schema_name().to_string()),
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
        match (self.one, value) {
            (One::Nan, value) => one_nan(value),
            (One::Zero, ColumnarValue::Array(array)) => Ok(ColumnarValue::Array(normalize_float_zero(&array))),
            (One::Zero, ColumnarValue::Scalar(scalar)) => {
                Ok(ColumnarValue::Scalar(normalize_float_zero_scalar(scalar)))
            }
        }
    }
}

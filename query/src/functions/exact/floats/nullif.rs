//! Which floats does NULLIF take for one? Those that `=` does, both zeros among them. It gives the first as it is, sign and all.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::kernels::nullif::nullif;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::physical_expr_common::datum::apply_cmp;

use crate::functions::delegated::of_inner;

const NAME: &str = "nullif";

/// Replaces it in a session; to be called while it has it.
pub(in crate::functions) fn register(state: &mut SessionState) -> Result<()> {
    if let Some(inner) = state.scalar_functions().get(NAME).map(Arc::clone) {
        state.register_udf(Arc::new(ScalarUDF::new_from_impl(NullIf { inner })))?;
    }
    Ok(())
}

/// The same function; DataFusion's compares the bits of floats.
#[derive(Debug, PartialEq, Eq, Hash)]
struct NullIf {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for NullIf {
    of_inner! {
        fn name(&self) -> &str;
        fn aliases(&self) -> &[String];
        fn signature(&self) -> &Signature;
        fn return_type(&self, arg_types: &[DataType]) -> Result<DataType>;
        fn documentation(&self) -> Option<&Documentation>;
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [value, other] if value.data_type().is_floating() => unless_equal(value, other, args.number_rows),
            _ => self.inner.invoke_with_args(args),
        }
    }
}

fn unless_equal(value: &ColumnarValue, other: &ColumnarValue, n_rows: usize) -> Result<ColumnarValue> {
    let is_constant = matches!((value, other), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
    let n_rows = if is_constant { 1 } else { n_rows };
    let equal = apply_cmp(Operator::Eq, value, other)?.to_array(n_rows)?;
    let given = nullif(&value.to_array(n_rows)?, equal.as_boolean())?;
    Ok(match is_constant {
        true => ColumnarValue::Scalar(ScalarValue::try_from_array(&given, 0)?),
        false => ColumnarValue::Array(given),
    })
}

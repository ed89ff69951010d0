//! Which scalar functions count? Those about the length of lists.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::{signed, signed_array};
use crate::functions::delegated::of_inner;

/// Those that give unsigned integers, or lists of them, whatever they are asked about.
pub(super) const COUNTS: [&str; 5] =
    ["array_length", "array_ndims", "array_position", "array_positions", "cardinality"];

/// The same function with signed numbers.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Counts {
    inner: Arc<ScalarUDF>,
}

impl Counts {
    pub fn wrap(inner: Arc<ScalarUDF>) -> ScalarUDF {
        ScalarUDF::new_from_impl(Self { inner })
    }
}

impl ScalarUDFImpl for Counts {
    of_inner! {
        fn name(&self) -> &str;
        fn aliases(&self) -> &[String];
        fn schema_name(&self, args: &[Expr]) -> Result<String>;
        fn signature(&self) -> &Signature;
        fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>>;
        fn documentation(&self) -> Option<&Documentation>;
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types).map(signed)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        // The function is told what it promises itself.
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let own = self.inner.return_type(&types)?;
        args.return_field = Arc::new(args.return_field.as_ref().clone().with_data_type(own));
        Ok(match self.inner.invoke_with_args(args)? {
            ColumnarValue::Array(array) => ColumnarValue::Array(signed_array(&array)?),
            ColumnarValue::Scalar(scalar) => ColumnarValue::Scalar(scalar.cast_to(&signed(scalar.data_type()))?),
        })
    }
}

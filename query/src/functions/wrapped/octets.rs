//! How many bytes has a VARBINARY? DataFusion's `octet_length` and `bit_length` take text only.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::kernels::length::{bit_length, length};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
};

use crate::functions::delegated::of_inner;

const BITS: &str = "bit_length";

pub(super) const NAMES: [&str; 2] = [BITS, "octet_length"];

/// The same function, also for bytes.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Octets {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl Octets {
    pub fn wrap(inner: Arc<ScalarUDF>) -> ScalarUDF {
        let own = inner.signature();
        let text = own.type_signature.clone();
        let taken = vec![text, TypeSignature::Exact(vec![DataType::Binary])];
        let signature = Signature::one_of(taken, own.volatility);
        ScalarUDF::new_from_impl(Self { inner, signature })
    }
}

impl ScalarUDFImpl for Octets {
    of_inner! {
        fn name(&self) -> &str;
        fn aliases(&self) -> &[String];
        fn documentation(&self) -> Option<&Documentation>;
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [DataType::Binary] => Ok(DataType::Int32),
            _ => self.inner.return_type(arg_types),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [value] if value.data_type() == DataType::Binary => {
                let array = value.to_array(1)?;
                let lengths: ArrayRef = if self.name() == BITS { bit_length(&array)? } else { length(&array)? };
                Ok(match value {
                    ColumnarValue::Array(_) => ColumnarValue::Array(lengths),
                    ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&lengths, 0)?),
                })
            }
            _ => self.inner.invoke_with_args(args),
        }
    }
}

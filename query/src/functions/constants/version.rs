//! What is `version()`? That of this program, and not of the engine inside it.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

/// `Tidewater 0.1.0`: all crates have one version.
const VERSION: &str = concat!("Tidewater ", env!("CARGO_PKG_VERSION"));

/// In the place of DataFusion's.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::functions) struct Version {
    signature: Signature,
}

impl Version {
    pub fn new() -> Self {
        Self { signature: Signature::nullary(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Version {
    fn name(&self) -> &str {
        "version"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(VERSION.to_owned()))))
    }
}

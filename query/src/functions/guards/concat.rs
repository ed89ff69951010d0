//! How does `||` join texts? As SQL has it: NULL if one of them is NULL. DataFusion computes it by an operator, which nothing can ask for
//! the size of its result; this is the same as a function, of all operands of a chain at once.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::compute::kernels::concat_elements::concat_elements_dyn;
use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// The name of the function, which no statement can write.
pub(super) const NAME: &str = "||";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ConcatOperator {
    signature: Signature,
}

impl ConcatOperator {
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// What the operator makes of operands of these types, from left to right.
fn result_type(operands: &[DataType]) -> Result<DataType> {
    let Some((first, rest)) = operands.split_first() else { return internal_err!("{NAME} has no operands") };
    rest.iter().try_fold(first.clone(), |left, right| {
        BinaryTypeCoercer::new(&left, &Operator::StringConcat, right).get_result_type()
    })
}

impl ScalarUDFImpl for ConcatOperator {
    fn name(&self) -> &str {
        NAME
    }

    /// The name of the column, which is that of the operators.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let names: Vec<String> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(names.join(" || "))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(match result_type(arg_types)? {
            // Its length is the sum of theirs.
            DataType::FixedSizeBinary(_) => arg_types.to_vec(),
            joined => vec![joined; arg_types.len()],
        })
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        result_type(arg_types)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let n_rows = if is_scalar { 1 } else { args.number_rows };
        let operands = args.args.into_iter().map(|arg| arg.into_array(n_rows)).collect::<Result<Vec<_>>>()?;
        let joined = join(&operands)?;
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&joined, 0)?),
            false => ColumnarValue::Array(joined),
        })
    }
}

fn join(operands: &[ArrayRef]) -> Result<ArrayRef> {
    let Some((first, rest)) = operands.split_first() else { return internal_err!("{NAME} has no operands") };
    if *first.data_type() == DataType::Utf8 {
        let texts: Vec<&StringArray> = operands.iter().map(|operand| operand.as_string::<i32>()).collect();
        return Ok(Arc::new(join_texts(&texts, first.len())));
    }
    Ok(rest.iter().try_fold(first.clone(), |left, right| concat_elements_dyn(&left, right))?)
}

fn join_texts(texts: &[&StringArray], n_rows: usize) -> StringArray {
    let mut joined = StringBuilder::new();
    for row in 0..n_rows {
        if texts.iter().any(|text| text.is_null(row)) {
            joined.append_null();
            continue;
        }
        for text in texts {
            // Writing to a builder cannot fail; what is written becomes a value with the next that is appended.
            let _ = joined.write_str(text.value(row));
        }
        joined.append_value("");
    }
    joined.finish()
}

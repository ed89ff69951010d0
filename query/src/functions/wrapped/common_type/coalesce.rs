//! Of which type is `coalesce` of bytes and NULL? Of bytes. DataFusion finds no type for NULL beside what it has no category for. And `nvl`, or
//! `ifnull`, of two DECIMALs, or times? Of theirs, as `coalesce` has it, where DataFusion makes DOUBLEs and texts of them. And `nvl2`? Of that of
//! what it gives; DataFusion also casts what is only asked whether it is NULL.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::plan_err;
use datafusion::common::utils::take_function_args;
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::only_type;
use crate::functions::delegated::of_inner;

pub(super) const NAME: &str = "coalesce";

/// The same of two, also called `ifnull`.
pub(super) const OF_TWO: &str = "nvl";

/// Gives the second where the first is not NULL, and the third where it is.
pub(super) const OF_THREE: &str = "nvl2";

/// The same function, one of these three, for all types.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Coalesce {
    inner: Arc<ScalarUDF>,
    /// `coalesce` of DataFusion, which finds the type.
    types: Arc<ScalarUDF>,
    signature: Signature,
}

impl Coalesce {
    pub fn wrap(inner: Arc<ScalarUDF>, types: Arc<ScalarUDF>) -> ScalarUDF {
        ScalarUDF::new_from_impl(Self { inner, types, signature: Signature::user_defined(Volatility::Immutable) })
    }

    /// `nvl` knows no text that is meant as something else: beside text all is text. And of nothing but NULLs it has a type of its own.
    fn has_own_types(&self, arg_types: &[DataType]) -> bool {
        self.inner.name() == OF_TWO
            && (arg_types.iter().any(DataType::is_string) || arg_types.iter().all(DataType::is_null))
    }
}

impl ScalarUDFImpl for Coalesce {
    of_inner! {
        fn name(&self) -> &str;
        fn aliases(&self) -> &[String];
        fn return_type(&self, arg_types: &[DataType]) -> Result<DataType>;
        fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef>;
        fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue>;
        fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult>;
        fn short_circuits(&self) -> bool;
        fn documentation(&self) -> Option<&Documentation>;
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.conditional_arguments(args)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        if self.inner.name() == OF_TWO && arg_types.len() != 2 {
            return plan_err!("{OF_TWO} takes two arguments, not {}", arg_types.len());
        }
        if self.inner.name() == OF_THREE {
            return types_of_three(arg_types);
        }
        match only_type(arg_types) {
            Some(only) => Ok(vec![only.clone(); arg_types.len()]),
            None if self.has_own_types(arg_types) => own_types(&self.inner, arg_types),
            None => self.types.coerce_types(arg_types),
        }
    }
}

/// What the signature of a function makes of these types.
fn own_types(function: &ScalarUDF, arg_types: &[DataType]) -> Result<Vec<DataType>> {
    let fields: Vec<FieldRef> =
        arg_types.iter().map(|data_type| Arc::new(Field::new("", data_type.clone(), true))).collect();
    let fields = fields_with_udf(&fields, function)?;
    Ok(fields.iter().map(|field| field.data_type().clone()).collect())
}

/// What is only asked whether it is NULL stays as it is.
fn types_of_three(arg_types: &[DataType]) -> Result<Vec<DataType>> {
    let [tested, given, otherwise] = take_function_args(OF_THREE, arg_types)?;
    let Some(common) = type_union_coercion(given, otherwise) else {
        return plan_err!("{OF_THREE} finds no common type for {given} and {otherwise}");
    };
    Ok(vec![tested.clone(), common.clone(), common])
}

//! What is NULL beside a list? An element of it, or a list that is joined with it. Of bytes, too: DataFusion has no category for them, and finds no
//! type for NULL beside them; it is asked about texts in their place.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::utils::base_type;
use datafusion::error::Result;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature,
};

use crate::functions::delegated::of_inner;

/// Those that make a longer list.
pub(super) const NAMES: [&str; 3] = ["array_append", "array_concat", "array_prepend"];

/// The same function, also of bytes and NULL, and of lists and NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct BesideNull {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

/// Wraps one of them.
pub(in crate::functions) fn beside_null(inner: Arc<ScalarUDF>) -> ScalarUDF {
    let own = inner.signature();
    // What the function takes by itself goes first, and what it says of all that it does not take.
    let signature = match own.type_signature {
        TypeSignature::UserDefined => own.clone(),
        _ => Signature::one_of(vec![own.type_signature.clone(), TypeSignature::UserDefined], own.volatility),
    };
    ScalarUDF::new_from_impl(BesideNull { inner, signature })
}

impl BesideNull {
    fn joins_lists(&self) -> bool {
        self.inner.signature().type_signature == TypeSignature::UserDefined
    }

    /// What the function makes of these types by itself. Beside a list that it joins with others NULL is a list, too.
    fn types_of(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let list = arg_types.iter().find(|data_type| !data_type.is_null()).filter(|_| self.joins_lists());
        let field = |data_type: &DataType| {
            let data_type = list.filter(|_| data_type.is_null()).unwrap_or(data_type);
            Arc::new(Field::new("", data_type.clone(), true))
        };
        let fields: Vec<FieldRef> = arg_types.iter().map(field).collect();
        let fields = fields_with_udf(&fields, self.inner.as_ref())?;
        Ok(fields.iter().map(|field| field.data_type().clone()).collect())
    }
}

fn has_bytes_beside_null(types: &[DataType]) -> bool {
    let elements: Vec<DataType> = types.iter().map(base_type).collect();
    elements.contains(&DataType::Binary)
        && elements.iter().any(DataType::is_null)
        && elements.iter().all(|element| element.is_null() || *element == DataType::Binary)
}

/// The type with other elements.
fn with_elements(data_type: &DataType, from: &DataType, to: &DataType) -> DataType {
    let item = |item: &FieldRef| {
        let data_type = with_elements(item.data_type(), from, to);
        Arc::new(Field::clone(item).with_data_type(data_type))
    };
    match data_type {
        DataType::List(of) => DataType::List(item(of)),
        DataType::LargeList(of) => DataType::LargeList(item(of)),
        DataType::FixedSizeList(of, n) => DataType::FixedSizeList(item(of), *n),
        element if element == from => to.clone(),
        other => other.clone(),
    }
}

fn as_text(data_type: &DataType) -> DataType {
    with_elements(data_type, &DataType::Binary, &DataType::Utf8)
}

fn as_bytes(data_type: &DataType) -> DataType {
    with_elements(data_type, &DataType::Utf8, &DataType::Binary)
}

impl ScalarUDFImpl for BesideNull {
    of_inner! {
        fn name(&self) -> &str;
        fn aliases(&self) -> &[String];
        fn return_type(&self, arg_types: &[DataType]) -> Result<DataType>;
        fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef>;
        fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue>;
        fn documentation(&self) -> Option<&Documentation>;
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        if has_bytes_beside_null(arg_types) {
            let texts: Vec<DataType> = arg_types.iter().map(as_text).collect();
            return Ok(self.types_of(&texts)?.iter().map(as_bytes).collect());
        }
        match self.joins_lists() {
            true => self.types_of(arg_types),
            // No types: its signature has said what it takes.
            false => Ok(Vec::new()),
        }
    }
}

//! How is a function of DataFusion guarded? The same function, asked for its size first.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    StructFieldMapping,
};

use super::estimate::{self, Estimator, Size};
use super::pressure::ProcessLimit;
use super::{LARGE_BYTES, MAX_BATCH_BYTES, MAX_BATCH_ELEMENTS, MAX_ROW_BYTES, MAX_ROW_ELEMENTS, too_large};
use crate::functions::delegated::of_inner;
use crate::functions::wrapped::only_type;
use crate::limits::MAX_FIXED_BYTES;

/// What is looked at before a function runs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Guard {
    /// The size of each row's result.
    Rows(Estimator),
    /// The same, unless all arguments together are small: the function only joins them.
    Sum(Estimator),
    /// The type of the result alone.
    Type,
}

#[derive(Debug)]
pub(super) struct Guarded {
    inner: Arc<ScalarUDF>,
    guard: Guard,
}

impl Guarded {
    pub fn wrap(inner: Arc<ScalarUDF>, guard: Guard) -> ScalarUDF {
        ScalarUDF::new_from_impl(Self { inner, guard })
    }

    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let n_rows = if is_scalar { 1 } else { args.number_rows };
        let estimator = match self.guard {
            Guard::Type => return Ok(()),
            Guard::Rows(estimator) => estimator,
            Guard::Sum(estimator) => {
                let all = estimate::all(&args.args, n_rows)?;
                if all.bytes <= MAX_ROW_BYTES && all.elements <= MAX_ROW_ELEMENTS {
                    return look_at_process(all, args);
                }
                estimator
            }
        };
        let mut total = Size::default();
        let estimate = estimator(&args.args)?;
        for row in 0..n_rows {
            let size = estimate(row)?;
            if size.bytes > MAX_ROW_BYTES {
                return Err(too_large(self.name(), &format!("up to {} bytes in one row", size.bytes)));
            }
            if size.elements > MAX_ROW_ELEMENTS {
                return Err(too_large(self.name(), &format!("{} elements in one row", size.elements)));
            }
            total.bytes += size.bytes;
            total.elements += size.elements;
        }
        let given = given(&args.args);
        if total.bytes.saturating_sub(given.bytes) > MAX_BATCH_BYTES {
            return Err(too_large(self.name(), &format!("up to {} bytes in {n_rows} rows", total.bytes)));
        }
        if total.elements.saturating_sub(given.elements) > MAX_BATCH_ELEMENTS {
            return Err(too_large(self.name(), &format!("{} elements in {n_rows} rows", total.elements)));
        }
        look_at_process(total, args)
    }
}

/// A result that is worth it is not made while the process holds too much.
fn look_at_process(result: Size, args: &ScalarFunctionArgs) -> Result<()> {
    match result.bytes > LARGE_BYTES {
        true => ProcessLimit::check(&args.config_options),
        false => Ok(()),
    }
}

/// What the arguments hold. One that is given a hundred times is there once.
fn given(args: &[ColumnarValue]) -> Size {
    let arrays = args.iter().filter_map(|arg| match arg {
        ColumnarValue::Array(array) => Some(array),
        ColumnarValue::Scalar(_) => None,
    });
    let mut seen = HashSet::new();
    let mut given = Size::default();
    for array in arrays.filter(|array| seen.insert(Arc::as_ptr(*array).cast::<()>())) {
        given.bytes += array.get_array_memory_size() as u64;
        given.elements += estimate::elements_of(array);
    }
    given
}

/// Bytes of one value of a type that has the same width for all values, NULL too.
pub(super) fn fixed_bytes(data_type: &DataType) -> u64 {
    match data_type {
        DataType::FixedSizeBinary(width) => u64::try_from(*width).unwrap_or(0),
        DataType::FixedSizeList(item, n) => {
            u64::try_from(*n).unwrap_or(0).saturating_mul(fixed_bytes(item.data_type()).max(1))
        }
        DataType::Struct(fields) => {
            fields.iter().map(|field| fixed_bytes(field.data_type())).fold(0, u64::saturating_add)
        }
        other => other.primitive_width().unwrap_or(0) as u64,
    }
}

// One function is one object in a registry: it equals itself.
impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Guarded {}

impl Hash for Guarded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for Guarded {
    of_inner! {
        fn name(&self) -> &str;
        fn aliases(&self) -> &[String];
        fn schema_name(&self, args: &[Expr]) -> Result<String>;
        fn signature(&self) -> &Signature;
        fn return_type(&self, arg_types: &[DataType]) -> Result<DataType>;
        fn is_strict(&self) -> bool;
        fn preimage(&self, args: &[Expr], literal: &Expr, info: &SimplifyContext) -> Result<PreimageResult>;
        fn short_circuits(&self) -> bool;
        fn evaluate_bounds(&self, inputs: &[&Interval]) -> Result<Interval>;
        fn propagate_constraints(&self, interval: &Interval, inputs: &[&Interval]) -> Result<Option<Vec<Interval>>>;
        fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties>;
        fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> Result<bool>;
        fn strictly_order_preserving(&self, inputs: &[ExprProperties]) -> Result<bool>;
        fn struct_field_mapping(&self, literals: &[Option<ScalarValue>]) -> Option<StructFieldMapping>;
        fn documentation(&self) -> Option<&Documentation>;
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let inner = self.inner.inner().with_updated_config(config)?;
        Some(Self::wrap(Arc::new(inner), self.guard))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = self.inner.return_field_from_args(args)?;
        let bytes = fixed_bytes(field.data_type());
        if bytes > MAX_FIXED_BYTES {
            return Err(too_large(self.name(), &format!("{bytes} bytes in every row")));
        }
        Ok(field)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        self.inner.invoke_with_args(args)
    }

    /// Simplified calls would name the unguarded function. Only casts need it: that is how they run.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match self.guard {
            Guard::Type => self.inner.simplify(args, info),
            Guard::Rows(_) | Guard::Sum(_) => Ok(ExprSimplifyResult::Original(args)),
        }
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match only_type(arg_types) {
            // DataFusion's finds no type for bytes beside NULL.
            Some(only) if self.name() == "make_array" => Ok(vec![only.clone(); arg_types.len()]),
            _ => self.inner.coerce_types(arg_types),
        }
    }
}

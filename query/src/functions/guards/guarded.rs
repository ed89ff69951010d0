//! How is a function of DataFusion guarded? The same function, asked for its size first.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::estimate::{Estimator, Size};
use super::{MAX_BATCH_BYTES, MAX_BATCH_ELEMENTS, MAX_ROW_BYTES, MAX_ROW_ELEMENTS, too_large};

#[derive(Debug)]
pub(super) struct Guarded {
    inner: Arc<ScalarUDF>,
    /// `None`: only the result's type is looked at.
    estimator: Option<Estimator>,
}

impl Guarded {
    pub fn wrap(inner: Arc<ScalarUDF>, estimator: Option<Estimator>) -> ScalarUDF {
        ScalarUDF::new_from_impl(Self { inner, estimator })
    }

    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        let Some(estimator) = self.estimator else { return Ok(()) };
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let n_rows = if is_scalar { 1 } else { args.number_rows };
        let (mut total, mut given) = (Size::default(), 0);
        for arg in &args.args {
            if let ColumnarValue::Array(array) = arg {
                given += array.get_array_memory_size() as u64;
            }
        }
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
        if total.bytes.saturating_sub(given) > MAX_BATCH_BYTES {
            return Err(too_large(self.name(), &format!("up to {} bytes in {n_rows} rows", total.bytes)));
        }
        if total.elements > MAX_BATCH_ELEMENTS {
            return Err(too_large(self.name(), &format!("{} elements in {n_rows} rows", total.elements)));
        }
        Ok(())
    }
}

/// Bytes of one value of a type that has the same width for all values, NULL too.
fn fixed_bytes(data_type: &DataType) -> u64 {
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
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let inner = self.inner.inner().with_updated_config(config)?;
        Some(Self::wrap(Arc::new(inner), self.estimator))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = self.inner.return_field_from_args(args)?;
        let bytes = fixed_bytes(field.data_type());
        if bytes > MAX_ROW_BYTES {
            return Err(too_large(self.name(), &format!("{bytes} bytes in one row")));
        }
        Ok(field)
    }

    fn is_strict(&self) -> bool {
        self.inner.inner().is_strict()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        self.inner.invoke_with_args(args)
    }

    /// Simplified calls would name the unguarded function. Only casts need it: that is how they run.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match self.estimator {
            None => self.inner.simplify(args, info),
            Some(_) => Ok(ExprSimplifyResult::Original(args)),
        }
    }

    fn preimage(&self, args: &[Expr], literal: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        self.inner.inner().preimage(args, literal, info)
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn evaluate_bounds(&self, inputs: &[&Interval]) -> Result<Interval> {
        self.inner.evaluate_bounds(inputs)
    }

    fn propagate_constraints(&self, interval: &Interval, inputs: &[&Interval]) -> Result<Option<Vec<Interval>>> {
        self.inner.propagate_constraints(interval, inputs)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.preserves_lex_ordering(inputs)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

//! Which instant is a text? The one that it names. Without an offset it is a time of a zone's clocks: the first instant at which they show it, or have
//! passed it where they skip it. DataFusion has none there, and fails, or gives NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion::common::utils::take_function_args;
use datafusion::common::{ScalarValue, exec_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::elements::{each_element, with_element};
use super::in_micros;
use crate::functions::zone::ZoneClock;

/// As plans show it.
const NAME: &str = "instants_of_text";

/// The instants that texts are in `zone`. What is no time is an error, or NULL if it is only tried.
pub(in crate::functions) fn text_instants(zone: Arc<str>, unit: TimeUnit, is_tried: bool, texts: Expr) -> Expr {
    let function = TextInstants { zone, unit, is_tried, signature: Signature::user_defined(Volatility::Immutable) };
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(function)), vec![texts]))
}

/// The same of texts that are here.
pub(in crate::functions) fn read_texts(
    texts: &ArrayRef,
    (zone, unit): (&Arc<str>, TimeUnit),
    is_tried: bool,
) -> Result<ArrayRef> {
    let instants = DataType::Timestamp(unit, Some(Arc::clone(zone)));
    let read = cast(texts, &instants)?;
    if read.null_count() == texts.null_count() {
        return Ok(read);
    }
    // Clocks show the others twice, or never; or they are no times.
    let options = CastOptions { safe: is_tried, ..CastOptions::default() };
    let shown = cast_with_options(texts, &DataType::Timestamp(unit, None), &options)?;
    let mut clock = ZoneClock::new(zone)?;
    let (read, shown) = (cast(&read, &DataType::Int64)?, cast(&shown, &DataType::Int64)?);
    let settle = |(read, shown): (Option<i64>, Option<i64>)| match (read, shown) {
        (Some(read), _) => Ok(Some(read)),
        (None, None) => Ok(None),
        (None, Some(shown)) => match in_micros(shown, unit, |local| clock.first_instant(local)) {
            None if !is_tried => Err(exec_datafusion_err!("a time is beyond what a TIMESTAMPTZ holds")),
            instant => Ok(instant),
        },
    };
    let pairs = read.as_primitive::<Int64Type>().iter().zip(shown.as_primitive::<Int64Type>().iter());
    let settled: ArrayRef = Arc::new(pairs.map(settle).collect::<Result<Int64Array>>()?);
    Ok(cast(&settled, &instants)?)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextInstants {
    zone: Arc<str>,
    unit: TimeUnit,
    is_tried: bool,
    signature: Signature,
}

impl ScalarUDFImpl for TextInstants {
    fn name(&self) -> &str {
        NAME
    }

    /// The name of the column, which is that of the cast.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(args.first().map_or_else(|| NAME.to_owned(), |texts| texts.schema_name().to_string()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [texts] => Ok(with_element(texts, DataType::Timestamp(self.unit, Some(Arc::clone(&self.zone))))),
            _ => internal_err!("{NAME} takes texts"),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [texts] = take_function_args(NAME, args.args)?;
        let mut read = |texts: &ArrayRef| read_texts(texts, (&self.zone, self.unit), self.is_tried);
        let instants = each_element(&texts.to_array(1)?, &mut read)?;
        Ok(match texts {
            ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&instants, 0)?),
            ColumnarValue::Array(_) => ColumnarValue::Array(instants),
        })
    }
}

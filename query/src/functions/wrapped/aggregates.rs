//! Which aggregates count, and do so unsigned? Those beside `count`, which is signed already.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, Signature,
};

use super::{signed, signed_array};
use crate::functions::aggregates::{with_result, with_results};
use crate::functions::delegated::of_inner;

pub(super) const COUNTS: [&str; 2] = ["approx_distinct", "regr_count"];

/// The same aggregate with a signed number.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Counts {
    inner: Arc<AggregateUDF>,
}

impl Counts {
    pub fn wrap(inner: Arc<AggregateUDF>) -> AggregateUDF {
        AggregateUDF::new_from_impl(Self { inner })
    }
}

impl AggregateUDFImpl for Counts {
    of_inner! {
        fn name(&self) -> &str;
        fn aliases(&self) -> &[String];
        fn signature(&self) -> &Signature;
        fn is_nullable(&self) -> bool;
        fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>>;
        fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>>;
        fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool;
        fn order_sensitivity(&self) -> AggregateOrderSensitivity;
        fn documentation(&self) -> Option<&Documentation>;
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types).map(signed)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type).and_then(signed_total)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(with_result(self.inner.accumulator(args)?, signed_total))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(with_result(self.inner.create_sliding_accumulator(args)?, signed_total))
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(with_results(self.inner.create_groups_accumulator(args)?, signed_array))
    }
}

fn signed_total(total: ScalarValue) -> Result<ScalarValue> {
    total.cast_to(&DataType::Int64)
}

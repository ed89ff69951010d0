//! How does an aggregate of DataFusion give another form of its result? By accumulators that leave all to its own, and convert what they give at the
//! end. States stay as they are.

use arrow::array::{ArrayRef, BooleanArray};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

/// The accumulator with its result converted.
pub(in crate::functions) fn with_result(
    inner: Box<dyn Accumulator>,
    convert: fn(ScalarValue) -> Result<ScalarValue>,
) -> Box<dyn Accumulator> {
    Box::new(OfAll { inner, convert })
}

/// The same of one for many groups, whose results are an array.
pub(in crate::functions) fn with_results(
    inner: Box<dyn GroupsAccumulator>,
    convert: fn(&ArrayRef) -> Result<ArrayRef>,
) -> Box<dyn GroupsAccumulator> {
    Box::new(OfGroups { inner, convert })
}

#[derive(Debug)]
struct OfAll {
    inner: Box<dyn Accumulator>,
    convert: fn(ScalarValue) -> Result<ScalarValue>,
}

impl Accumulator for OfAll {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        (self.convert)(self.inner.evaluate()?)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

struct OfGroups {
    inner: Box<dyn GroupsAccumulator>,
    convert: fn(&ArrayRef) -> Result<ArrayRef>,
}

impl GroupsAccumulator for OfGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.inner.update_batch(values, group_indices, opt_filter, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        (self.convert)(&self.inner.evaluate(emit_to)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.inner.merge_batch(values, group_indices, total_num_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(values, opt_filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}

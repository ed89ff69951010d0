//! What are `min(x)` and `max(x)` of a group of floats? What they are of all rows, where NaN stands behind the numbers.
//!
//! DataFusion's accumulator of groups takes whatever follows a NaN for larger and smaller than it, and begins with the largest finite
//! number, which is not the largest of a group of infinities. Of INTERVALs they are the longest and the shortest. Everything else is DataFusion's.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, FieldRef, Float16Type, Float32Type, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature,
    StatisticsArgs,
};

use super::groups::chosen;
use super::spans::ExtremeSpan;
use crate::functions::delegated::of_inner;

/// `min` or `max`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Extreme<F> {
    inner: F,
    largest: bool,
}

impl<F: AggregateUDFImpl> Extreme<F> {
    pub fn largest(inner: F) -> Self {
        Self { inner, largest: true }
    }

    pub fn smallest(inner: F) -> Self {
        Self { inner, largest: false }
    }
}

impl<F: AggregateUDFImpl + Eq + Hash> AggregateUDFImpl for Extreme<F> {
    of_inner! {
        fn name(&self) -> &str;
        fn signature(&self) -> &Signature;
        fn return_type(&self, arg_types: &[DataType]) -> Result<DataType>;
        fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>>;
        fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>>;
        fn is_descending(&self) -> Option<bool>;
        fn order_sensitivity(&self) -> AggregateOrderSensitivity;
        fn value_from_stats(&self, statistics: &StatisticsArgs) -> Option<ScalarValue>;
        fn documentation(&self) -> Option<&Documentation>;
        fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity;
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match args.return_type() {
            span @ DataType::Interval(_) => Ok(Box::new(ExtremeSpan::new(span, self.largest, false)?)),
            _ => self.inner.accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !matches!(args.return_type(), DataType::Interval(_)) && self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match args.return_type() {
            DataType::Float16 => Ok(Box::new(GroupedExtreme::<Float16Type>::new(self.largest))),
            DataType::Float32 => Ok(Box::new(GroupedExtreme::<Float32Type>::new(self.largest))),
            DataType::Float64 => Ok(Box::new(GroupedExtreme::<Float64Type>::new(self.largest))),
            _ => self.inner.create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match args.return_type() {
            span @ DataType::Interval(_) => Ok(Box::new(ExtremeSpan::new(span, self.largest, true)?)),
            _ => self.inner.create_sliding_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}

/// The smallest or largest float of each group, in the order that has NaN behind the numbers.
struct GroupedExtreme<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    /// The group has a value: the extreme of none is NULL.
    seen: Vec<bool>,
    largest: bool,
}

impl<T: ArrowPrimitiveType> GroupedExtreme<T> {
    fn new(largest: bool) -> Self {
        Self { values: Vec::new(), seen: Vec::new(), largest }
    }

    fn note(&mut self, group: usize, value: T::Native) {
        let known = self.values[group];
        let beyond = if self.largest { value.is_gt(known) } else { value.is_lt(known) };
        if beyond || !self.seen[group] {
            self.values[group] = value;
        }
        self.seen[group] = true;
    }
}

impl<T: ArrowPrimitiveType + Send> GroupsAccumulator for GroupedExtreme<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        self.values.resize(total_num_groups, T::default_value());
        self.seen.resize(total_num_groups, false);
        match chosen(values, opt_filter) {
            None => {
                group_indices.iter().zip(values.values().iter()).for_each(|(&group, &value)| self.note(group, value));
            }
            Some(chosen) => {
                chosen.valid_indices().for_each(|row| self.note(group_indices[row], values.value(row)));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let values = emit_to.take_needed(&mut self.values);
        let seen = NullBuffer::from(emit_to.take_needed(&mut self.seen));
        Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), Some(seen))))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<T>();
        let state = PrimitiveArray::<T>::new(values.values().clone(), chosen(values, opt_filter));
        Ok(vec![Arc::new(state)])
    }

    fn size(&self) -> usize {
        self.values.capacity() * size_of::<T::Native>() + self.seen.capacity()
    }
}

//! What is the sum of each group? One total a group, side by side.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{ArrowPrimitiveType, DataType};
use datafusion::error::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::wide::{TotalOf, Wide, narrowed, plus};

pub(super) struct GroupedSums<T: Wide> {
    totals: Vec<TotalOf<T>>,
    /// The group has a value: the sum of none is NULL.
    seen: Vec<bool>,
    /// The type of the result.
    sum: DataType,
}

impl<T: Wide> GroupedSums<T> {
    pub fn new(sum: DataType) -> Self {
        Self { totals: Vec::new(), seen: Vec::new(), sum }
    }

    /// Adds the values of the rows that are `chosen`, each to its group.
    fn add<V: ArrowPrimitiveType>(
        &mut self,
        values: &PrimitiveArray<V>,
        widen: impl Fn(V::Native) -> TotalOf<T>,
        chosen: Option<NullBuffer>,
        groups: &[usize],
        n_groups: usize,
    ) -> Result<()> {
        self.totals.resize(n_groups, Default::default());
        self.seen.resize(n_groups, false);
        match chosen {
            None => {
                for (&group, &value) in groups.iter().zip(values.values().iter()) {
                    self.add_to(group, widen(value))?;
                }
            }
            Some(chosen) => {
                for row in chosen.valid_indices() {
                    self.add_to(groups[row], widen(values.value(row)))?;
                }
            }
        }
        Ok(())
    }

    fn add_to(&mut self, group: usize, value: TotalOf<T>) -> Result<()> {
        self.totals[group] = plus::<T>(self.totals[group], value, &self.sum)?;
        self.seen[group] = true;
        Ok(())
    }

    fn emit(&mut self, emit_to: EmitTo) -> (Vec<TotalOf<T>>, NullBuffer) {
        (emit_to.take_needed(&mut self.totals), NullBuffer::from(emit_to.take_needed(&mut self.seen)))
    }
}

/// The rows that have a value and pass the filter; `None`: all of them.
pub(super) fn chosen(values: &dyn Array, filter: Option<&BooleanArray>) -> Option<NullBuffer> {
    let filter = filter.map(|filter| {
        NullBuffer::new(match filter.nulls() {
            Some(nulls) => filter.values() & nulls.inner(),
            None => filter.values().clone(),
        })
    });
    NullBuffer::union(values.nulls(), filter.as_ref())
}

impl<T: Wide + Send> GroupsAccumulator for GroupedSums<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        self.add(values, T::widen, chosen(values, opt_filter), group_indices, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (totals, seen) = self.emit(emit_to);
        let mut values = vec![T::Native::default(); totals.len()];
        for group in seen.valid_indices() {
            values[group] = narrowed::<T>(totals[group], &self.sum)?;
        }
        Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), Some(seen)).with_data_type(self.sum.clone())))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (totals, seen) = self.emit(emit_to);
        Ok(vec![Arc::new(PrimitiveArray::<T::Total>::new(totals.into(), Some(seen)).with_data_type(T::TOTAL))])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        let totals = values[0].as_primitive::<T::Total>();
        self.add(totals, |total| total, chosen(totals, None), group_indices, total_num_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<T>();
        let totals: Vec<_> = values.values().iter().map(|value| T::widen(*value)).collect();
        let totals = PrimitiveArray::<T::Total>::new(totals.into(), chosen(values, opt_filter));
        Ok(vec![Arc::new(totals.with_data_type(T::TOTAL))])
    }

    fn size(&self) -> usize {
        self.totals.capacity() * size_of::<TotalOf<T>>() + self.seen.capacity()
    }
}

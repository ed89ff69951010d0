//! What is `sum(DISTINCT x)`? The sum of the values that DataFusion has collected, or of those in a window that moves on.

use std::collections::HashMap;
use std::marker::PhantomData;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;

use super::wide::{Wide, narrowed, total_of};

/// DataFusion's accumulator knows the distinct values; only its sum is ours.
#[derive(Debug)]
pub(super) struct DistinctSum<T: Wide> {
    inner: Box<dyn Accumulator>,
    sum: DataType,
    values: PhantomData<T>,
}

impl<T: Wide> DistinctSum<T> {
    pub fn new(inner: Box<dyn Accumulator>, sum: DataType) -> Self {
        Self { inner, sum, values: PhantomData }
    }
}

impl<T: Wide + Send + Sync> Accumulator for DistinctSum<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        // The state is one list with every value once.
        let state = self.inner.state()?;
        let [ScalarValue::List(list)] = state.as_slice() else {
            return internal_err!("the distinct values of a sum are no list");
        };
        let values = list.value(0);
        let values = values.as_primitive::<T>();
        let value = match values.is_empty() {
            true => None,
            false => Some(narrowed::<T>(total_of(values, &self.sum)?, &self.sum)?),
        };
        ScalarValue::new_primitive::<T>(value, &self.sum)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}

/// How often each BIGINT is in the window, and the sum of those that are.
#[derive(Debug, Default)]
pub(super) struct SlidingDistinctSum {
    counts: HashMap<i64, usize>,
    total: i128,
}

impl Accumulator for SlidingDistinctSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<Int64Type>().iter().flatten() {
            let count = self.counts.entry(value).or_default();
            *count += 1;
            if *count == 1 {
                self.total += i128::from(value);
            }
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<Int64Type>().iter().flatten() {
            let Some(count) = self.counts.get_mut(&value) else { continue };
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&value);
                self.total -= i128::from(value);
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<_> = self.counts.keys().map(|value| ScalarValue::Int64(Some(*value))).collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Int64))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for values in states[0].as_list::<i32>().iter().flatten() {
            self.update_batch(&[values])?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = match self.counts.is_empty() {
            true => None,
            false => Some(narrowed::<Int64Type>(self.total, &DataType::Int64)?),
        };
        Ok(ScalarValue::Int64(value))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.capacity() * size_of::<(i64, usize)>()
    }
}

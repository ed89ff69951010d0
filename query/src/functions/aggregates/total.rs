//! What is the sum of all rows, or of the rows in a window that moves on?

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;

use super::wide::{TotalOf, Wide, minus, narrowed, plus, total_of};

#[derive(Debug)]
pub(super) struct ExactSum<T: Wide> {
    total: TotalOf<T>,
    /// Values, or parts that had any: the sum of none is NULL.
    n_added: usize,
    /// The type of the result.
    sum: DataType,
}

impl<T: Wide> ExactSum<T> {
    pub fn new(sum: DataType) -> Self {
        Self { total: Default::default(), n_added: 0, sum }
    }
}

impl<T: Wide> Accumulator for ExactSum<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        self.total = plus::<T>(self.total, total_of(values, &self.sum)?, &self.sum)?;
        self.n_added += values.len() - values.null_count();
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        self.total = minus::<T>(self.total, total_of(values, &self.sum)?, &self.sum)?;
        self.n_added -= values.len() - values.null_count();
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let total = (self.n_added > 0).then_some(self.total);
        Ok(vec![ScalarValue::new_primitive::<T::Total>(total, &T::TOTAL)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for total in states[0].as_primitive::<T::Total>().iter().flatten() {
            self.total = plus::<T>(self.total, total, &self.sum)?;
            self.n_added += 1;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = match self.n_added {
            0 => None,
            _ => Some(narrowed::<T>(self.total, &self.sum)?),
        };
        ScalarValue::new_primitive::<T>(value, &self.sum)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

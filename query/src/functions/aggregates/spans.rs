//! What are `min(i)` and `max(i)` of INTERVALs? The shortest and the longest, with 24 hours a day and 30 days a month, as in PostgreSQL.
//! DataFusion compares months first, then days: a month is longer than 40 days.

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;

use crate::functions::wrapped::span_lengths;

/// The longest or the shortest span of all rows, or of a window that moves on.
#[derive(Debug)]
pub(super) struct ExtremeSpan {
    longest: bool,
    /// Rows leave again, in the order in which they came.
    moves: bool,
    none: ScalarValue,
    /// The extreme, and for a window what is the extreme when those before it have left.
    candidates: VecDeque<Candidate>,
    n_come: usize,
    n_left: usize,
}

#[derive(Debug)]
struct Candidate {
    row: usize,
    length: i128,
    span: ScalarValue,
}

impl ExtremeSpan {
    pub fn new(data_type: &DataType, longest: bool, moves: bool) -> Result<Self> {
        let none = ScalarValue::try_from(data_type)?;
        Ok(Self { longest, moves, none, candidates: VecDeque::new(), n_come: 0, n_left: 0 })
    }
}

impl Accumulator for ExtremeSpan {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let spans = &values[0];
        for (i, length) in span_lengths(spans)?.iter().enumerate() {
            let row = self.n_come + i;
            let Some(length) = length else { continue };
            let is_beaten = |known: &Candidate| match self.longest {
                true => known.length <= length,
                false => known.length >= length,
            };
            while self.candidates.back().is_some_and(is_beaten) {
                self.candidates.pop_back();
            }
            if self.moves || self.candidates.is_empty() {
                let span = ScalarValue::try_from_array(spans, i)?;
                self.candidates.push_back(Candidate { row, length, span });
            }
        }
        self.n_come += spans.len();
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.n_left += values[0].len();
        while self.candidates.front().is_some_and(|first| first.row < self.n_left) {
            self.candidates.pop_front();
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        self.moves
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.candidates.front().map_or_else(|| self.none.clone(), |first| first.span.clone()))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.candidates.capacity() * size_of::<Candidate>()
    }
}

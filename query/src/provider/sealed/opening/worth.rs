//! Is it worth asking each row about what a join or a sort beside the scan has found? Not where next to all rows pass: what is above the scan looks
//! at the rows in any case, and a look-up for each of them costs more than the few that are left out.
//!
//! That is measured, batch by batch, as adaptive orders of filters are (Babu et al., *Adaptive Ordering of Pipelined Stream Filters*, 2004), with the
//! one choice between asking and not.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_expr::{PhysicalExpr, conjunction, split_conjunction};
use datafusion::physical_plan::metrics::Count;
use parking_lot::Mutex;

/// So many rows are asked before it is judged, and so many count.
const MIN_ASKED: usize = 64 << 10;

/// Asking is worth it where one row of so many is left out.
const MIN_LEFT_OUT: usize = 16;

/// Where it is not, one row of so many is asked all the same: other parts of a file have other rows.
const SAMPLED: usize = 16;

/// The filter with what is found beside the scan asked where that is worth it; `None` if nothing of it is. Rows that nobody was asked about
/// count in `n_unasked`.
///
/// Each operator that finds such a filter is right without it: it leaves out the same rows itself.
pub(in crate::provider::sealed) fn where_worth(
    filter: &Arc<dyn PhysicalExpr>,
    n_unasked: &Count,
) -> Option<Arc<dyn PhysicalExpr>> {
    let conjuncts = split_conjunction(filter);
    if !conjuncts.iter().any(|conjunct| conjunct.is::<DynamicFilterPhysicalExpr>()) {
        return None;
    }
    let wrapped = conjuncts.into_iter().map(|conjunct| match conjunct.is::<DynamicFilterPhysicalExpr>() {
        true => {
            Arc::new(WhereWorth { filter: Arc::clone(conjunct), judged: Arc::default(), n_unasked: n_unasked.clone() })
                as Arc<dyn PhysicalExpr>
        }
        false => Arc::clone(conjunct),
    });
    Some(conjunction(wrapped))
}

/// A filter that is TRUE of rows which it is not worth asking about.
#[derive(Debug)]
struct WhereWorth {
    filter: Arc<dyn PhysicalExpr>,
    /// Of all copies: each file has one for its columns.
    judged: Arc<Mutex<Judged>>,
    n_unasked: Count,
}

/// What is known of a filter as it is now.
#[derive(Debug, Default)]
struct Judged {
    generation: u64,
    /// Rows; older ones count less and less.
    n_asked: usize,
    n_left_out: usize,
    n_since_asked: usize,
}

impl Judged {
    /// Whether to ask about the next `n` rows.
    fn asks(&mut self, generation: u64, n: usize) -> bool {
        if generation != self.generation {
            *self = Self { generation, ..Self::default() };
        }
        let is_worth = self.n_asked < MIN_ASKED || self.n_left_out.saturating_mul(MIN_LEFT_OUT) >= self.n_asked;
        self.n_since_asked += n;
        let asks = is_worth || self.n_since_asked >= n.saturating_mul(SAMPLED);
        if asks {
            self.n_since_asked = 0;
        }
        asks
    }

    fn note(&mut self, generation: u64, n: usize, n_left_out: usize) {
        if generation != self.generation {
            return;
        }
        if self.n_asked >= 2 * MIN_ASKED {
            self.n_asked /= 2;
            self.n_left_out /= 2;
        }
        self.n_asked += n;
        self.n_left_out += n_left_out;
    }
}

impl fmt::Display for WhereWorth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.filter, f)
    }
}

impl PartialEq for WhereWorth {
    fn eq(&self, other: &Self) -> bool {
        self.filter.eq(&other.filter)
    }
}

impl Eq for WhereWorth {}

impl Hash for WhereWorth {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.filter.hash(state);
    }
}

impl PhysicalExpr for WhereWorth {
    fn data_type(&self, input_schema: &Schema) -> Result<DataType> {
        self.filter.data_type(input_schema)
    }

    fn nullable(&self, input_schema: &Schema) -> Result<bool> {
        self.filter.nullable(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        // Changed while it is asked, it is judged anew with the next batch.
        let (generation, n) = (self.filter.snapshot_generation(), batch.num_rows());
        if !self.judged.lock().asks(generation, n) {
            self.n_unasked.add(n);
            return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))));
        }
        let passes = self.filter.evaluate(batch)?;
        let n_passed = match &passes {
            ColumnarValue::Array(rows) => rows.as_boolean().true_count(),
            ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))) => n,
            ColumnarValue::Scalar(_) => 0,
        };
        self.judged.lock().note(generation, n, n.saturating_sub(n_passed));
        Ok(passes)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.filter]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        match children.pop() {
            Some(filter) if children.is_empty() => {
                Ok(Arc::new(Self { filter, judged: Arc::clone(&self.judged), n_unasked: self.n_unasked.clone() }))
            }
            _ => internal_err!("a filter that is asked where it is worth it is one"),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.filter.fmt_sql(f)
    }

    /// The filter itself: bounds are asked about all that it says.
    fn snapshot(&self) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        Ok(Some(Arc::clone(&self.filter)))
    }
}

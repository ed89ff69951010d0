//! How does a join end that goes on for long without a row? Its filter looks whether the query was stopped.
//!
//! An operator is left alone between two rows that it gives, and a nested loop may compare millions before it gives one. A query that
//! was cancelled would hold its threads until then.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{CrossJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};
use tidewater_storage::{Code, Error};

use crate::error::to_datafusion;
use crate::memory::QueryPool;

/// The plan with joins that end when the query of `pool` is stopped. To be called last: rules know the joins by their own filters.
pub(crate) fn stoppable(plan: Arc<dyn ExecutionPlan>, pool: &Arc<QueryPool>) -> Result<Arc<dyn ExecutionPlan>> {
    let stoppable = plan.transform_up(|node| {
        if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>()
            && let Some(filter) = join.filter()
        {
            let watched = Watched { inner: Arc::clone(filter.expression()), pool: Arc::clone(pool) };
            let indices = filter.column_indices().to_vec();
            let filter = JoinFilter::new(Arc::new(watched), indices, Arc::clone(filter.schema()));
            let join = NestedLoopJoinExecBuilder::from(join).with_filter(Some(filter)).build()?;
            return Ok(Transformed::yes(Arc::new(join) as Arc<dyn ExecutionPlan>));
        }
        // It gives rows at every step, but a filter above it may take none of them.
        if node.is::<CrossJoinExec>() {
            return Ok(Transformed::yes(Arc::new(CooperativeExec::new(node))));
        }
        Ok(Transformed::no(node))
    })?;
    Ok(stoppable.data)
}

/// A filter that fails once the query was stopped.
#[derive(Debug)]
struct Watched {
    inner: Arc<dyn PhysicalExpr>,
    pool: Arc<QueryPool>,
}

impl PartialEq for Watched {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner) && Arc::ptr_eq(&self.pool, &other.pool)
    }
}

impl Eq for Watched {}

impl Hash for Watched {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Watched {
    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if self.pool.is_stopped() {
            return Err(to_datafusion(Error::new(Code::QueryCancelled, "the query was stopped")));
        }
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.pop().unwrap_or_else(|| Arc::clone(&self.inner));
        Ok(Arc::new(Self { inner, pool: Arc::clone(&self.pool) }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

//! How does a query run once for each row of its parameters? One execution after the other over one snapshot; each is planned when its turn
//! comes, so that there is one plan at a time.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use tidewater_storage::Result;

use super::{bind, blame};
use crate::complexity::PlanBounds;
use crate::engine::context::StatementContext;
use crate::engine::job::{Job, PlannedRows};
use crate::planner::Waiter;

/// A query and all rows of its parameters.
pub(in crate::engine) struct EachRow {
    pub(in crate::engine) job: Job,
    /// What the query sees: the same for each row.
    pub(in crate::engine) context: StatementContext,
    /// With its parameters.
    pub(in crate::engine) plan: LogicalPlan,
    pub(in crate::engine) rows: RecordBatch,
}

/// The executions of a query that are still to come.
pub(in crate::engine) struct Rest {
    each: EachRow,
    next: usize,
}

impl EachRow {
    /// Plans the first execution; it has the rest with it.
    pub(in crate::engine) async fn begin(self) -> Result<PlannedRows> {
        let mut planned = self.plan_row(0).await?;
        self.context.catalog.metrics().set_executions_to_come(self.rows.num_rows().saturating_sub(1));
        planned.rest = (self.rows.num_rows() > 1).then(|| Box::new(Rest { each: self, next: 1 }));
        Ok(planned)
    }

    async fn plan_row(&self, row: usize) -> Result<PlannedRows> {
        let planned = match bind(self.plan.clone(), &self.rows, row, self.job.session.types()) {
            Ok(bound) => self.job.physical(&self.context, &bound).await,
            Err(error) => Err(error),
        };
        planned.map_err(|error| blame(error, &self.plan, &self.rows, row))
    }
}

impl Rest {
    /// Plans the next execution.
    pub(in crate::engine) async fn next(self: Box<Self>) -> Result<PlannedRows> {
        let planner = self.each.job.planner.clone();
        planner.run(move |waiter| self.plan(waiter)).await
    }

    /// On a planner thread, when the execution before has ended.
    fn plan(mut self: Box<Self>, waiter: &Arc<Waiter>) -> Result<PlannedRows> {
        let context = &mut self.each.context;
        context.catalog.metrics().end_execution();
        context.bounds = PlanBounds::new(Arc::clone(waiter));
        let bounds = context.bounds.clone();
        context.state.config_mut().options_mut().extensions.insert(bounds);
        let mut planned = self.each.job.handle.clone().block_on(self.each.plan_row(self.next))?;
        self.next += 1;
        planned.rest = (self.next < self.each.rows.num_rows()).then_some(self);
        Ok(planned)
    }
}

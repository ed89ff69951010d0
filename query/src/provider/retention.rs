//! Which rows are past a table's retention when a statement begins? They are not seen: files that are past it whole are left out, what
//! straddles the cut is filtered, the rest stays exact.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExecBuilder;
use tidewater_storage::TableSnapshot;

/// Rows with an event time before this moment are not seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    /// Microseconds since 1970.
    pub at_us: i64,
    /// The time column, which is never NULL.
    pub column: usize,
}

impl Cut {
    /// By the stamp that `now()` has in this statement. `None`: the table keeps its rows.
    pub fn of(snapshot: &TableSnapshot, state: &dyn Session) -> Option<Self> {
        let start = state.execution_props().query_execution_start_time?;
        let at_us = snapshot.retention_cut(start.timestamp_micros())?;
        Some(Self { at_us, column: snapshot.def().options.time_column? })
    }

    /// The columns that are to be read for those that are wanted: the time column is among them.
    pub fn widened(self, projection: &[usize]) -> Vec<usize> {
        let mut wide = projection.to_vec();
        if !wide.contains(&self.column) {
            wide.push(self.column);
        }
        wide
    }

    /// `plan`, which gives the columns [`Self::widened`] of `schema`, without rows past the cut and without the column that was added.
    pub fn apply(
        self,
        plan: Arc<dyn ExecutionPlan>,
        projection: &[usize],
        schema: &SchemaRef,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wide = self.widened(projection);
        let place = wide.iter().position(|column| *column == self.column).unwrap_or_default();
        let field = schema.field(self.column);
        let zone = match field.data_type() {
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => None,
        };
        let cut = ScalarValue::TimestampMicrosecond(Some(self.at_us), zone);
        let is_kept =
            BinaryExpr::new(Arc::new(Column::new(field.name(), place)), Operator::GtEq, Arc::new(Literal::new(cut)));
        let own = (wide.len() > projection.len()).then(|| (0..projection.len()).collect());
        Ok(Arc::new(FilterExecBuilder::new(Arc::new(is_kept), plan).apply_projection(own)?.build()?))
    }
}

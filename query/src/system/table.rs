//! How is a system table scanned? Its rows are made while they are read, one table of users or one page of it at a time, and the
//! batch that is being read counts for the query.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;

use super::rows::{Batches, batches};
use super::{SystemState, columns};
use crate::error::to_datafusion;
use crate::limits::BATCH_ROWS;
use crate::session::Principal;

struct SystemTable {
    name: &'static str,
    schema: SchemaRef,
    state: Arc<SystemState>,
    principal: Principal,
}

pub(super) fn table(name: &str, state: &Arc<SystemState>, principal: &Principal) -> Option<Arc<dyn TableProvider>> {
    let name = columns::TABLE_NAMES.into_iter().find(|&table| table == name)?;
    let schema = columns::schema(name)?;
    let partition =
        SystemTable { name, schema: Arc::clone(&schema), state: Arc::clone(state), principal: principal.clone() };
    Some(Arc::new(StreamingTable::try_new(schema, vec![Arc::new(partition)]).ok()?))
}

impl fmt::Debug for SystemTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "system.{}", self.name)
    }
}

impl PartitionStream for SystemTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let made: Batches = batches(self.name, &self.state, &self.principal);
        let held = MemoryConsumer::new(format!("system.{}", self.name)).register(context.memory_pool());
        let schema = Arc::clone(&self.schema);
        let cut = made.flat_map(move |columns| {
            let batch = columns.and_then(|columns| Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?));
            match batch.map_err(to_datafusion).and_then(|batch| charged(batch, &held)) {
                Ok(batch) => pieces(&batch).into_iter().map(Ok).collect::<Vec<_>>(),
                Err(error) => vec![Err(error)],
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), futures::stream::iter(cut)))
    }
}

/// The batch, counted in place of the one before.
fn charged(batch: RecordBatch, held: &MemoryReservation) -> Result<RecordBatch> {
    held.try_resize(batch.get_array_memory_size())?;
    Ok(batch)
}

fn pieces(batch: &RecordBatch) -> Vec<RecordBatch> {
    let n_rows = batch.num_rows();
    (0..n_rows).step_by(BATCH_ROWS).map(|start| batch.slice(start, BATCH_ROWS.min(n_rows - start))).collect()
}

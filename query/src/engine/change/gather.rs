//! Where are the rows of INSERT and of CREATE TABLE AS while their source runs? Few are collected and committed as one request; many are
//! written into files as they come, and nobody sees them before the commit.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::utils::memory::RecordBatchMemoryCounter;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use futures::StreamExt;
use tidewater_storage::catalog::NewTable;
use tidewater_storage::limits::{MAX_STATEMENT_ROWS_BYTES, STAGED_ABOVE_BYTES};
use tidewater_storage::{
    Code, Engine, Error, OnError, Result, RowsOutcome, RowsRequest, StageOptions, StagedTable, StagedWrite, Table,
};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::ddl::{exists_already, own_schema};
use super::insert::named;
use crate::engine::UpdateOutcome;
use crate::engine::job::PlannedRows;
use crate::engine::stream::run_to_end;
use crate::error::OrError;
use crate::provider::detached;
use crate::registry::Query as Running;

/// Where rows go.
pub(super) enum Destination {
    Table(Table),
    /// A table that is made with them.
    New {
        storage: Arc<Engine>,
        new: Box<NewTable>,
        if_exists: IfExists,
    },
}

/// What CREATE TABLE AS does about a table that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum IfExists {
    Refuse,
    /// Nothing is done, and that is no error.
    Keep,
    Replace,
}

impl IfExists {
    pub(in crate::engine) fn of(if_not_exists: bool, or_replace: bool) -> Self {
        match (if_not_exists, or_replace) {
            (true, _) => IfExists::Keep,
            (false, true) => IfExists::Replace,
            (false, false) => IfExists::Refuse,
        }
    }
}

impl Destination {
    /// The name of a table that is there, although it is to be made; that is no error.
    fn is_made(&self) -> Option<String> {
        match self {
            Destination::New { storage, new, if_exists: IfExists::Keep } => {
                storage.table(&new.schema_name, &new.name).map(|_| format!("{}.{}", new.schema_name, new.name))
            }
            Destination::New { .. } | Destination::Table(_) => None,
        }
    }
}

/// How rows are written.
pub(super) struct Writing {
    pub(super) destination: Destination,
    /// Names of the columns that the source gives, in its order.
    pub(super) columns: Vec<String>,
    pub(super) time_zone: String,
    pub(super) principal: String,
    /// More rows than an entry of the log holds are written as they come. Otherwise they are refused.
    pub(super) is_unlimited: bool,
}

/// All rows of a statement; what is left to do is the commit.
pub(in crate::engine) struct Gathered {
    writing: Writing,
    rows: Rows,
}

enum Rows {
    Few {
        batches: Vec<RecordBatch>,
        /// They count for the query until storage has them.
        held: MemoryReservation,
    },
    Append(Box<StagedWrite>),
    Create(Box<StagedTable>),
    /// The table is there already, and nothing was to be done then.
    Made(String),
}

impl Writing {
    /// Rows that are there.
    pub(super) fn collected(self, batches: Vec<RecordBatch>, held: MemoryReservation) -> Gathered {
        Gathered { writing: self, rows: Rows::Few { batches, held } }
    }

    /// Runs plans one after the other and keeps their rows. While they are written into files no more are taken.
    pub(super) async fn gather(
        self,
        plans: Vec<PlannedRows>,
        running: &Arc<Running>,
        runtime: &Handle,
    ) -> Result<Gathered> {
        if let Some(name) = self.destination.is_made() {
            return Ok(Gathered { writing: self, rows: Rows::Made(name) });
        }
        let pool = Arc::clone(&running.pool) as Arc<dyn MemoryPool>;
        let held = MemoryConsumer::new("insert").register(&pool);
        // Batches may share buffers, such as the values of a dictionary: each counts once.
        let mut memory = RecordBatchMemoryCounter::new();
        let mut rows = Rows::Few { batches: Vec::new(), held };
        for plan in plans {
            let mut batches = run_to_end(plan, running, runtime);
            while let Some(batch) = batches.next().await {
                // The rows outlive the snapshots that they were read from, and must not hold what they were slices of.
                let batch = detached(&batch?)?;
                if batch.num_rows() > 0 {
                    let batch = named(&self.columns, batch.columns().to_vec(), batch.num_rows())?;
                    rows = self.add(rows, batch, &mut memory).await?;
                }
            }
        }
        Ok(Gathered { writing: self, rows })
    }

    async fn add(&self, rows: Rows, batch: RecordBatch, memory: &mut RecordBatchMemoryCounter) -> Result<Rows> {
        let (mut few, held) = match rows {
            Rows::Few { batches, held } => (batches, held),
            mut staged => {
                staged.push(batch).await?;
                return Ok(staged);
            }
        };
        memory.count_batch(&batch);
        let bytes = memory.memory_usage();
        few.push(batch);
        if self.is_unlimited && bytes > STAGED_ABOVE_BYTES {
            let mut staged = self.stage().await?;
            for batch in few {
                staged.push(batch).await?;
            }
            return Ok(staged);
        }
        if bytes > MAX_STATEMENT_ROWS_BYTES {
            return Err(too_large());
        }
        held.try_resize(bytes).or_error()?;
        Ok(Rows::Few { batches: few, held })
    }

    /// Begins to write.
    async fn stage(&self) -> Result<Rows> {
        let options = StageOptions {
            principal: self.principal.clone(),
            time_zone: Some(self.time_zone.clone()),
            ..StageOptions::default()
        };
        Ok(match &self.destination {
            Destination::Table(table) => Rows::Append(Box::new(table.stage(options)?)),
            Destination::New { storage, new, if_exists } => {
                own_schema(&new.schema_name)?;
                let new = (**new).clone();
                Rows::Create(Box::new(match if_exists {
                    IfExists::Replace => storage.stage_replacement(new, options).await?,
                    IfExists::Refuse | IfExists::Keep => storage.stage_table(new, options).await?,
                }))
            }
        })
    }

    fn request(&self, batches: Vec<RecordBatch>) -> RowsRequest {
        RowsRequest {
            on_error: OnError::Abort,
            time_zone: Some(self.time_zone.clone()),
            statement: true,
            ..RowsRequest::new(self.principal.clone(), batches.into_iter().map(Into::into).collect())
        }
    }
}

impl Rows {
    /// Rows that are not collected.
    async fn push(&mut self, batch: RecordBatch) -> Result<()> {
        match self {
            Rows::Append(write) => write.push(batch.into()).await,
            Rows::Create(table) => table.push(batch.into()).await,
            Rows::Few { .. } | Rows::Made(_) => Err(Error::internal("rows that are collected are not written")),
        }
    }
}

impl Gathered {
    /// Commits all rows together, with the table if that is to be made. Until storage takes them the statement waits like any other.
    pub(in crate::engine) async fn commit(
        self,
        running: &Arc<Running>,
        deadline: AbortOnDropHandle<()>,
    ) -> Result<UpdateOutcome> {
        let begin = || {
            drop(deadline);
            running.begin_commit()
        };
        let Self { writing, rows } = self;
        let made = match rows {
            Rows::Made(name) => return Ok(exists_already(&name)),
            Rows::Append(write) => Ok((Vec::new(), Some(write.commit_after(begin).await?))),
            Rows::Create(table) => {
                let made = table.commit_after(begin).await;
                made.map(|(_, notices, outcome)| (notices, Some(outcome)))
            }
            Rows::Few { batches, held } => writing.commit_few(batches, held, begin).await,
        };
        match (made, &writing.destination) {
            (Ok((notices, outcome)), _) => Ok(told(notices, outcome)),
            (Err(error), Destination::New { new, if_exists: IfExists::Keep, .. })
                if error.code() == Code::TableExists =>
            {
                Ok(exists_already(&format!("{}.{}", new.schema_name, new.name)))
            }
            (Err(error), _) => Err(error),
        }
    }
}

impl Writing {
    async fn commit_few(
        &self,
        mut batches: Vec<RecordBatch>,
        held: MemoryReservation,
        begin: impl FnOnce() -> Result<()>,
    ) -> Result<(Vec<String>, Option<RowsOutcome>)> {
        batches.retain(|batch| batch.num_rows() > 0);
        let is_empty = batches.is_empty();
        match &self.destination {
            Destination::Table(_) if is_empty => Ok((Vec::new(), None)),
            Destination::Table(table) => {
                let expected_schema = Some(table.def().schema_id.0);
                let prepared = table.prepare(RowsRequest { expected_schema, ..self.request(batches) }).await?;
                drop(held);
                let outcome = table.submit_after(prepared, begin).await?.outcome().await?;
                Ok((Vec::new(), Some(outcome)))
            }
            Destination::New { storage, new, if_exists: IfExists::Replace } => {
                own_schema(&new.schema_name)?;
                begin()?;
                let rows = (!is_empty).then(|| self.request(batches));
                let (_, notices, outcome) = storage.replace_table((**new).clone(), rows).await?;
                drop(held);
                Ok((notices, outcome))
            }
            Destination::New { storage, new, .. } => {
                own_schema(&new.schema_name)?;
                begin()?;
                if is_empty {
                    let (_, notices) = storage.create_table((**new).clone()).await?;
                    return Ok((notices, None));
                }
                let created = storage.create_table_with((**new).clone(), self.request(batches)).await;
                drop(held);
                created.map(|(_, notices, outcome)| (notices, Some(outcome)))
            }
        }
    }
}

pub(super) fn too_large() -> Error {
    Error::new(
        Code::StatementRowsTooLarge,
        format!("the rows of the INSERT have more than {} MiB", MAX_STATEMENT_ROWS_BYTES >> 20),
    )
    .hint("insert in parts, with INSERT … SELECT, or use bulk ingest")
}

/// What the user is told of a commit; `None`: there were no rows.
fn told(mut notices: Vec<String>, outcome: Option<RowsOutcome>) -> UpdateOutcome {
    let Some(outcome) = outcome else {
        notices.push("0 rows".into());
        return UpdateOutcome { affected: 0, notices, ..UpdateOutcome::default() };
    };
    let mut notice = count(outcome.accepted, "row");
    if outcome.duplicates > 0 {
        notice = format!("{notice}, {} dropped", count(outcome.duplicates, "duplicate key"));
    }
    notices.push(notice);
    UpdateOutcome { affected: outcome.accepted, notices, token: Some(outcome.token), ..UpdateOutcome::default() }
}

/// `1 row`, `2 rows`.
pub(super) fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

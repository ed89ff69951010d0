//! What does DataFusion scan when a statement names a table? Both halves of one pinned snapshot.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchemaRef;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::dml::{InsertOp, MergeIntoClause};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use tidewater_storage::catalog::TableDef;
use tidewater_storage::ids::CommitToken;
use tidewater_storage::{Code, Error, TableSnapshot};

use super::counters::ScanCounters;
use super::rows::RealtimeRows;
use super::source::RealtimeSource;
use crate::error::to_datafusion;

/// A table as one statement sees it: all its scans read the same rows, however long they take.
pub struct HybridTable {
    def: Arc<TableDef>,
    realtime: Arc<RealtimeRows>,
    counters: Arc<ScanCounters>,
    /// Set by the first scan.
    scanned: AtomicBool,
    /// Holds what the rows rest on; `None` only for rows that were given by themselves.
    snapshot: Option<TableSnapshot>,
}

impl HybridTable {
    /// A table over a snapshot that was taken for this statement.
    pub fn new(snapshot: TableSnapshot, with_system_columns: bool, counters: Arc<ScanCounters>) -> Self {
        Self {
            def: Arc::clone(snapshot.def()),
            realtime: RealtimeRows::of_snapshot(&snapshot, with_system_columns),
            counters,
            scanned: AtomicBool::new(false),
            snapshot: Some(snapshot),
        }
    }

    #[cfg(test)]
    pub(super) fn of_rows(def: Arc<TableDef>, realtime: Arc<RealtimeRows>, counters: Arc<ScanCounters>) -> Self {
        Self { def, realtime, counters, scanned: AtomicBool::new(false), snapshot: None }
    }

    /// Where the snapshot stands, once a scan of it was planned.
    pub fn scanned_token(&self) -> Option<CommitToken> {
        let snapshot = self.snapshot.as_ref()?;
        self.scanned.load(Ordering::Acquire).then(|| snapshot.token())
    }

    /// Memory that the snapshot keeps from being given back.
    pub fn pinned_bytes(&self) -> u64 {
        let parts = self.snapshot.as_ref().map(TableSnapshot::parts).unwrap_or_default();
        parts.iter().map(|part| part.bytes).sum()
    }

    /// Changes are planned by us before optimisation: DataFusion's hooks get only the filters that the optimiser left, and
    /// would change every row for `WHERE false` or `IN (subquery)`.
    fn refuse(&self, what: &str) -> DataFusionError {
        let message =
            format!("{what} of {}.{} cannot run as part of a query plan", self.def.schema_name, self.def.name);
        to_datafusion(Error::new(Code::UnsupportedStatement, message).hint("send it as a statement of its own"))
    }
}

impl fmt::Debug for HybridTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HybridTable({}.{}, {} realtime rows)", self.def.schema_name, self.def.name, self.realtime.n_rows)
    }
}

#[async_trait]
impl TableProvider for HybridTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.realtime.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// One half today; the scan of sealed files joins it here under a union.
    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.scanned.store(true, Ordering::Release);
        // The filters come again as physical ones, which the source takes over from the node above.
        let limit = limit.filter(|_| filters.is_empty());
        let source = RealtimeSource::new(Arc::clone(&self.realtime), projection, Arc::clone(&self.counters))?;
        Ok(DataSourceExec::from_data_source(source.with_limit(limit)))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn insert_into(
        &self,
        _state: &dyn Session,
        _input: Arc<dyn ExecutionPlan>,
        _insert_op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(self.refuse("INSERT"))
    }

    async fn delete_from(&self, _state: &dyn Session, _filters: Vec<Expr>) -> Result<Arc<dyn ExecutionPlan>> {
        Err(self.refuse("DELETE"))
    }

    async fn update(
        &self,
        _state: &dyn Session,
        _assignments: Vec<(String, Expr)>,
        _filters: Vec<Expr>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(self.refuse("UPDATE"))
    }

    async fn truncate(&self, _state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        Err(self.refuse("TRUNCATE"))
    }

    async fn merge_into(
        &self,
        _state: &dyn Session,
        _source: Arc<dyn ExecutionPlan>,
        _merge_schema: DFSchemaRef,
        _on: Expr,
        _clauses: Vec<MergeIntoClause>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(self.refuse("MERGE"))
    }
}

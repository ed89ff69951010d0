//! What does DataFusion scan when a statement names a table? Both halves of one pinned snapshot, without the one that has no rows.

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
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use tidewater_storage::catalog::TableDef;
use tidewater_storage::{Code, Error, TableSnapshot};

use super::counters::ScanCounters;
use super::prune;
use super::realtime::{RealtimeRows, RealtimeSource};
use super::retention::Cut;
use super::sealed::{Asked, SealedFiles};
use crate::engine::TableFreshness;
use crate::error::to_datafusion;

/// A table as one statement sees it: all its scans read the same rows, however long they take.
pub struct HybridTable {
    def: Arc<TableDef>,
    schema: SchemaRef,
    /// `None` where only rows in files are asked for.
    realtime: Option<Arc<RealtimeRows>>,
    /// `None` only for rows that were given by themselves.
    sealed: Option<SealedFiles>,
    counters: Arc<ScanCounters>,
    /// Set by the first scan.
    scanned: AtomicBool,
    /// Rows that are in no file and that a scan does not show: it only says whether one of them may pass its filters.
    open: Option<Arc<RealtimeRows>>,
    may_match_open: AtomicBool,
    /// Holds what the rows rest on; `None` only for rows that were given by themselves.
    snapshot: Option<TableSnapshot>,
    /// Of the table when the snapshot was taken.
    watermark_us: Option<i64>,
}

impl HybridTable {
    /// A table over a snapshot that was taken for this statement.
    pub fn new(snapshot: TableSnapshot, with_system_columns: bool, counters: Arc<ScanCounters>) -> Self {
        let realtime = RealtimeRows::of_snapshot(&snapshot, with_system_columns);
        Self {
            def: Arc::clone(snapshot.def()),
            schema: Arc::clone(&realtime.schema),
            realtime: Some(realtime),
            sealed: Some(SealedFiles::new(snapshot.clone(), with_system_columns, false)),
            counters,
            scanned: AtomicBool::new(false),
            open: None,
            may_match_open: AtomicBool::new(false),
            snapshot: Some(snapshot),
            watermark_us: None,
        }
    }

    /// The rows of the snapshot that are in files, each with its address behind the columns of the table and its system columns:
    /// `(file)`, the place of its file in `snapshot.files()`, INTEGER, and `(row)`, its number in that file from 0, BIGINT. No scan of it
    /// is planned for a table that has a column of one of these names.
    ///
    /// With `asks_open`, [`Self::may_match_open`] tells of the rows that are in none.
    pub fn locating(snapshot: TableSnapshot, counters: Arc<ScanCounters>, asks_open: bool) -> Self {
        let def = Arc::clone(snapshot.def());
        let shows_system = def.options.system_columns;
        let sealed = SealedFiles::new(snapshot.clone(), shows_system, true);
        let open = asks_open.then(|| RealtimeRows::of_snapshot(&snapshot, shows_system));
        Self {
            def,
            schema: Arc::clone(sealed.schema()),
            realtime: None,
            sealed: Some(sealed),
            counters,
            scanned: AtomicBool::new(false),
            open,
            may_match_open: AtomicBool::new(false),
            snapshot: Some(snapshot),
            watermark_us: None,
        }
    }

    #[cfg(test)]
    pub(super) fn of_rows(def: Arc<TableDef>, realtime: Arc<RealtimeRows>, counters: Arc<ScanCounters>) -> Self {
        Self {
            def,
            schema: Arc::clone(&realtime.schema),
            realtime: Some(realtime),
            sealed: None,
            counters,
            scanned: AtomicBool::new(false),
            open: None,
            may_match_open: AtomicBool::new(false),
            snapshot: None,
            watermark_us: None,
        }
    }

    /// What all scans read; `None` only for rows that were given by themselves.
    pub fn snapshot(&self) -> Option<&TableSnapshot> {
        self.snapshot.as_ref()
    }

    /// How fresh the snapshot is, once a scan of it was planned.
    pub fn freshness(&self) -> Option<TableFreshness> {
        let snapshot = self.snapshot.as_ref().filter(|_| self.scanned.load(Ordering::Acquire))?;
        Some(TableFreshness {
            schema: self.def.schema_name.clone(),
            name: self.def.name.clone(),
            token: snapshot.token(),
            watermark_us: self.watermark_us,
        })
    }

    /// The same with the table's watermark, which was read before the snapshot was taken.
    pub fn with_watermark(self, watermark_us: Option<i64>) -> Self {
        Self { watermark_us, ..self }
    }

    /// Whether rows that are in no file may pass the filters of a scan that was planned; `false`: their bounds rule that out.
    pub fn may_match_open(&self) -> bool {
        self.may_match_open.load(Ordering::Acquire)
    }

    /// Memory and local files that the snapshot keeps from being given back.
    pub fn pinned_bytes(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, TableSnapshot::pinned_bytes)
    }

    /// Memory of rows of the snapshot that the table itself has let go.
    pub fn kept_bytes(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, TableSnapshot::kept_bytes)
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
        let n_rows = self.realtime.as_ref().map_or(0, |rows| rows.n_rows);
        let n_files = self.sealed.as_ref().map_or(0, SealedFiles::len);
        let TableDef { schema_name, name, .. } = &*self.def;
        write!(f, "HybridTable({schema_name}.{name}, {n_rows} realtime rows, {n_files} files)")
    }
}

#[async_trait]
impl TableProvider for HybridTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Fresh rows first: they are in memory, and the newest. A half without rows is left out.
    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.scanned.store(true, Ordering::Release);
        if self.open.as_ref().is_some_and(|open| prune::may_match(state, open, filters)) {
            self.may_match_open.store(true, Ordering::Release);
        }
        // The filters come again as physical ones, which the sources take over from the node above.
        let limit = limit.filter(|_| filters.is_empty());
        let projection = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        // A DELETE names every row that is there, also those that nobody sees any more: another retention would show them again.
        let shown = self.realtime.as_ref().and(self.snapshot.as_ref());
        let cut = shown.and_then(|snapshot| Cut::of(snapshot, state));
        let mut parts = Vec::new();
        let settled = match &self.sealed {
            Some(sealed) => {
                sealed.scan(state, &Asked { projection: &projection, filters, limit, cut }, &self.counters)?
            }
            None => Vec::new(),
        };
        match &self.realtime {
            Some(rows) if rows.n_rows > 0 || settled.is_empty() => {
                let read = cut.map_or_else(|| projection.clone(), |cut| cut.widened(&projection));
                let source = RealtimeSource::new(Arc::clone(rows), Some(&read), Arc::clone(&self.counters))?;
                let fresh = DataSourceExec::from_data_source(source.with_limit(limit.filter(|_| cut.is_none())));
                parts.push(match cut {
                    Some(cut) => cut.apply(fresh, &projection, &self.schema)?,
                    None => fresh,
                });
            }
            _ => {}
        }
        parts.extend(settled);
        match parts.len() {
            0 => Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&projection)?)))),
            1 => Ok(parts.remove(0)),
            _ => UnionExec::try_new(parts),
        }
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

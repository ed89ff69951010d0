//! How does a plan read files? DataFusion's scan of Parquet, kept to filters that it answers as the rest of the engine does, and counted.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Statistics, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, ParquetSource};
use datafusion::datasource::source::{DataSource, OpenArgs};
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::parquet::errors::ParquetError;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, Partitioning, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::execution_plan::SchedulingType;
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::projection::{all_alias_free_columns, new_projections_for_columns};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use futures::StreamExt;
use tidewater_storage::catalog::TableDef;
use tidewater_storage::{Code, Error};

use super::filters::may_take;
use super::opening::{Keys, Opening, OpeningSource};
use super::reader::{DAMAGE_HINT, SealedReaders};
use crate::error::to_datafusion;
use crate::provider::statistics;

/// Fewer rows and fewer bytes are read by one partition: a second costs more than it saves (performance notes: 35 % more CPU).
const MIN_ROWS_A_PARTITION: u64 = if cfg!(test) { 1 << 12 } else { 1 << 19 };
const MIN_BYTES_A_PARTITION: u64 = 16 << 20;

/// A look-up by key in fewer files is made by one partition: it reads a page of few of them. In many, most of the time goes by until their
/// sidecars are there.
const MIN_FILES_A_LOOK_UP: usize = if cfg!(test) { 2 } else { 32 };

/// What stays the same of a scan while a plan is made and optimised.
#[derive(Debug)]
pub(super) struct Scan {
    /// For errors.
    pub table: String,
    /// Of the snapshot.
    pub n_files: usize,
    /// Of the files that are read, without deleted ones.
    pub n_rows: u64,
    pub n_bytes: u64,
    /// By column of the table: bounds within the files do not hold for all of its values.
    pub untrusted: Vec<bool>,
    pub def: Arc<TableDef>,
    /// Beside each of the files that are read there is one.
    pub all_have_sidecars: bool,
    pub readers: SealedReaders,
}

/// A scan of files of one snapshot.
#[derive(Debug, Clone)]
pub(super) struct SealedSource {
    config: FileScanConfig,
    scan: Arc<Scan>,
    /// Columns that the table shows, in the order of the output.
    projection: Vec<usize>,
    /// What comes last in a file is wanted first.
    is_reversed: bool,
}

impl SealedSource {
    pub fn new(config: FileScanConfig, scan: Arc<Scan>, projection: Vec<usize>) -> Self {
        Self { config, scan, projection, is_reversed: false }
    }

    /// The same with what DataFusion's scan became.
    fn with(&self, config: &Arc<dyn DataSource>) -> Result<Self> {
        match config.downcast_ref::<FileScanConfig>() {
            Some(config) => Ok(Self { config: config.clone(), ..self.clone() }),
            None => internal_err!("a scan of files became something else"),
        }
    }

    /// The scan as it runs: what its readers hold counts for the query.
    fn within(&self, pool: &Arc<dyn MemoryPool>) -> Result<FileScanConfig> {
        let mut config = self.config.clone();
        let Some(source) = config.file_source.downcast_ref::<ParquetSource>() else {
            return internal_err!("a scan of files reads something else than Parquet");
        };
        let readers = self.scan.readers.within(pool, config.file_source.filter().is_some());
        let parquet = source.clone().with_parquet_file_reader_factory(Arc::new(readers.clone()));
        let opening = Opening { readers, pool: Arc::clone(pool), keys: self.keys(), is_reversed: self.is_reversed };
        config.file_source = Arc::new(OpeningSource::new(Arc::new(parquet), opening));
        Ok(config)
    }

    /// The only keys that rows can have which pass the filters of now.
    fn keys(&self) -> Option<Keys> {
        Keys::of(&self.config.file_source.filter()?, &self.scan.def)
    }

    /// A limit chooses before a filter above it does; a volatile filter must be asked once for every row.
    fn takes(&self, filter: &Arc<dyn PhysicalExpr>) -> Result<bool> {
        if self.config.limit.is_some() || is_volatile(filter) {
            return Ok(false);
        }
        let trusted = |column: usize| self.projection.get(column).is_some_and(|&column| !self.scan.untrusted[column]);
        let schema = self.config.projected_schema()?;
        Ok(may_take(filter, &schema, &trusted))
    }
}

impl DataSource for SealedSource {
    fn open(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.open_with_args(OpenArgs::new(partition, context))
    }

    fn open_with_args(&self, args: OpenArgs) -> Result<SendableRecordBatchStream> {
        let n_partitions = self.config.file_groups.len().max(1);
        let partition = args.partition;
        let pool = Arc::clone(args.context.memory_pool());
        let held = MemoryConsumer::new("sealed scan").register(&pool);
        let batches = self.within(&pool)?.open_with_args(args)?;
        let schema = batches.schema();
        let scan = Arc::clone(&self.scan);
        let counted = batches.map(move |batch: Result<RecordBatch>| -> Result<RecordBatch> {
            let batch = batch.map_err(|error| named(error, &scan.table, &|| scan.readers.failed_in(partition)))?;
            if let Some(stamps) = &scan.readers.stamps {
                held.try_resize(stamps.bytes() / n_partitions)?;
            }
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, counted)))
    }

    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scan { n_files, n_rows, .. } = &*self.scan;
        let read = n_distinct(&self.config.file_groups);
        if matches!(kind, DisplayFormatType::TreeRender) {
            writeln!(f, "source=sealed")?;
            writeln!(f, "files={read}/{n_files}")?;
            return self.config.file_source.fmt_extra(kind, f);
        }
        let schema = self.config.projected_schema().map_err(|_| fmt::Error)?;
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let n_partitions = self.config.file_groups.len();
        let columns = columns.join(", ");
        write!(f, "sealed, partitions={n_partitions}, files={read}/{n_files}, rows={n_rows}, projection=[{columns}]")?;
        if let Some(keys) = self.keys() {
            write!(f, ", keys={}", keys.len())?;
        }
        if let Some(limit) = self.config.limit {
            write!(f, ", fetch={limit}")?;
        }
        self.config.file_source.fmt_extra(kind, f)
    }

    fn repartitioned(
        &self,
        target_partitions: usize,
        _repartition_file_min_size: usize,
        _output_ordering: Option<LexOrdering>,
    ) -> Result<Option<Arc<dyn DataSource>>> {
        let by_size = (self.scan.n_rows / MIN_ROWS_A_PARTITION).max(self.scan.n_bytes / MIN_BYTES_A_PARTITION);
        let mut n = target_partitions.min(usize::try_from(by_size).unwrap_or(usize::MAX));
        if n <= self.config.file_groups.len() || self.config.limit.is_some() {
            return Ok(None);
        }
        if self.scan.all_have_sidecars && self.keys().is_some() {
            n = n.min(n_distinct(&self.config.file_groups) / MIN_FILES_A_LOOK_UP);
            if n <= self.config.file_groups.len() {
                return Ok(None);
            }
        }
        match self.config.repartitioned(n, 0, None)? {
            Some(divided) => Ok(Some(Arc::new(self.with(&divided)?))),
            None => Ok(None),
        }
    }

    fn output_partitioning(&self) -> Partitioning {
        self.config.output_partitioning()
    }

    fn eq_properties(&self) -> EquivalenceProperties {
        self.config.eq_properties()
    }

    fn scheduling_type(&self) -> SchedulingType {
        self.config.scheduling_type()
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let known = self.config.partition_statistics(partition)?;
        let Some(limit) = self.config.limit else { return Ok(known) };
        let n_partitions = self.config.file_groups.len();
        let n_rows = match &known.num_rows {
            Precision::Exact(n) if n_partitions == 1 => Precision::Exact(limit.min(*n)),
            Precision::Exact(n) | Precision::Inexact(n) => {
                Precision::Inexact(limit.saturating_mul(n_partitions).min(*n))
            }
            Precision::Absent => Precision::Absent,
        };
        Ok(Arc::new(statistics::counted(n_rows, self.projection.len())))
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn DataSource>> {
        let mut source = self.clone();
        source.config.limit = limit;
        Some(Arc::new(source))
    }

    fn fetch(&self) -> Option<usize> {
        self.config.limit
    }

    fn metrics(&self) -> ExecutionPlanMetricsSet {
        self.config.metrics()
    }

    fn try_swapping_with_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn DataSource>>> {
        // What is computed in the reader, filters that come later would be asked about, too.
        if !all_alias_free_columns(projection.as_ref()) {
            return Ok(None);
        }
        let Some(projected) = self.config.try_swapping_with_projection(projection)? else { return Ok(None) };
        let mut source = self.with(&projected)?;
        source.projection = new_projections_for_columns(projection.as_ref(), &self.projection);
        Ok(Some(Arc::new(source)))
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn DataSource>>> {
        let mut answer = vec![PushedDown::No; filters.len()];
        let (mut places, mut taken) = (Vec::new(), Vec::new());
        for (place, filter) in filters.into_iter().enumerate() {
            if self.takes(&filter)? {
                places.push(place);
                taken.push(filter);
            }
        }
        if taken.is_empty() {
            return Ok(FilterPushdownPropagation::with_parent_pushdown_result(answer));
        }
        let pushed = self.config.try_pushdown_filters(taken, config)?;
        for (place, pushed) in places.into_iter().zip(pushed.filters) {
            answer[place] = pushed;
        }
        let propagation: FilterPushdownPropagation<Arc<dyn DataSource>> =
            FilterPushdownPropagation::with_parent_pushdown_result(answer);
        match pushed.updated_node {
            Some(config) => Ok(propagation.with_updated_node(Arc::new(self.with(&config)?))),
            None => Ok(propagation),
        }
    }

    /// Files and row groups that may hold the first rows are read first, so that a TopK soon rules out the others. The sort stays.
    fn try_pushdown_sort(&self, order: &[PhysicalSortExpr]) -> Result<SortOrderPushdownResult<Arc<dyn DataSource>>> {
        match self.config.try_pushdown_sort(order)?.into_inner() {
            Some(config) => {
                let is_reversed = order.first().is_some_and(|first| first.options.descending);
                let source = Self { is_reversed, ..self.with(&config)? };
                Ok(SortOrderPushdownResult::Inexact { inner: Arc::new(source) })
            }
            None => Ok(SortOrderPushdownResult::Unsupported),
        }
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.config.apply_expressions(f)
    }

    fn create_sibling_state(&self, config: &ConfigOptions) -> Option<Arc<dyn Any + Send + Sync>> {
        self.config.create_sibling_state(config)
    }
}

/// Rows of the files that a source reads; `None` if it is no scan of files.
pub(in crate::provider) fn rows_to_pass(source: &Arc<dyn DataSource>) -> Option<u64> {
    source.downcast_ref::<SealedSource>().map(|source| source.scan.n_rows)
}

/// Files of all partitions: two may read parts of one, which stand side by side.
fn n_distinct(groups: &[FileGroup]) -> usize {
    let mut paths: Vec<_> = groups.iter().flat_map(FileGroup::iter).map(|file| file.path()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths.len()
}

/// What went wrong with a file of `table`: our own error out of the decoder, or damage. Anything else stays as it is.
pub(super) fn named(error: DataFusionError, table: &str, file: &dyn Fn() -> Option<String>) -> DataFusionError {
    match error {
        DataFusionError::ParquetError(error) => match *error {
            ParquetError::External(source) => match source.downcast::<Error>() {
                Ok(ours) => to_datafusion(*ours),
                Err(source) => match source.downcast::<ArrowError>() {
                    Ok(arrow) => named_arrow(*arrow, table, file),
                    Err(other) => damaged(table, file, &other.to_string()),
                },
            },
            other => damaged(table, file, &other.to_string()),
        },
        DataFusionError::ArrowError(error, _) => named_arrow(*error, table, file),
        other => other,
    }
}

fn named_arrow(error: ArrowError, table: &str, file: &dyn Fn() -> Option<String>) -> DataFusionError {
    match error {
        ArrowError::ParquetError(how) => damaged(table, file, &how),
        ArrowError::ExternalError(source) => match source.downcast::<ParquetError>() {
            Ok(parquet) => named(DataFusionError::ParquetError(parquet), table, file),
            Err(source) => DataFusionError::ArrowError(Box::new(ArrowError::ExternalError(source)), None),
        },
        other => DataFusionError::ArrowError(Box::new(other), None),
    }
}

fn damaged(table: &str, file: &dyn Fn() -> Option<String>, how: &str) -> DataFusionError {
    // The name of a kind of errors of the decoder's.
    let how = how.trim_start_matches("External: ");
    let message = match file() {
        Some(file) => format!("the file {file} of table {table} is damaged: {how}"),
        None => format!("a file of table {table} is damaged: {how}"),
    };
    to_datafusion(Error::new(Code::FileDamaged, message).hint(DAMAGE_HINT))
}

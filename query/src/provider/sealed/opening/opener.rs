//! How does DataFusion open a file for us? With a plan of its rows that is made as its turn comes, and is gone when it was read.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, internal_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileOpenFuture, FileOpener, FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};
use datafusion::object_store::ObjectStore;
use datafusion::physical_expr::expressions::lit;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{DynamicFilterTracking, PhysicalExpr};
use datafusion::physical_optimizer::pruning::FilePruner;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, PruningMetrics};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};

use super::lookup::Keys;
use super::proven::Left;
use super::selection::Rows;
use super::sidecars::{self, Admitted};
use super::worth::where_worth;
use crate::error::to_datafusion;
use crate::provider::sealed::reader::{ScannedFile, SealedReaders, damaged};
use crate::provider::sealed::statistics;

/// Under this name a scan counts the blocks of rows that sidecars were asked about: those that hold none of the keys, and the others.
const PRUNED_BY_KEY: &str = "blocks_pruned_key_filter";

/// Under these names a scan with a filter counts the files, or parts of them that one partition reads, of whose rows nothing is asked, or
/// less than the filter: their bounds prove the rest.
const WITHOUT_FILTER: &str = "files_read_without_filter";
const WITH_LESS_FILTER: &str = "files_read_with_less_filter";

/// Under this name a scan counts rows that are not asked about what joins and sorts have found: next to all rows pass.
const UNASKED: &str = "rows_not_asked_dynamic_filter";

type Batches = BoxStream<'static, Result<RecordBatch>>;

/// DataFusion's way from a file to its batches.
type Read = Arc<dyn Fn(PartitionedFile) -> FileOpenFuture + Send + Sync>;

/// What holds for all files of a scan that runs.
pub(in crate::provider::sealed) struct Opening {
    pub readers: SealedReaders,
    pub pool: Arc<dyn MemoryPool>,
    /// The only keys that are asked for; `None`: any.
    pub keys: Option<Keys>,
    /// Row groups are read from the last to the first.
    pub is_reversed: bool,
}

/// DataFusion's source of Parquet, which opens files as [`Opening`] says.
#[derive(Clone)]
pub(in crate::provider::sealed) struct OpeningSource {
    parquet: Arc<dyn FileSource>,
    opening: Arc<Opening>,
}

impl OpeningSource {
    /// Around `parquet`, whose readers are those of `opening`.
    pub fn new(parquet: Arc<dyn FileSource>, opening: Opening) -> Self {
        Self { parquet, opening: Arc::new(opening) }
    }

    /// The source with what is found beside the scan asked where that is worth it.
    fn asking_where_worth(&self, counter: &dyn Fn(&'static str) -> Count) -> Arc<dyn FileSource> {
        let Some(parquet) = self.parquet.downcast_ref::<ParquetSource>() else { return Arc::clone(&self.parquet) };
        let filter = parquet.filter().and_then(|filter| where_worth(&filter, &counter(UNASKED)));
        filter.map_or_else(|| Arc::clone(&self.parquet), |filter| Arc::new(parquet.with_predicate(filter)))
    }
}

impl FileSource for OpeningSource {
    fn create_file_opener(
        &self,
        object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let counter = |name: &'static str| MetricBuilder::new(self.metrics()).counter(name, partition);
        let parquet = self.asking_where_worth(&counter);
        let ways = Ways {
            parquet: Arc::clone(&parquet),
            store: object_store,
            scan: FileScanConfigBuilder::new(base_config.object_store_url.clone(), Arc::clone(&parquet))
                .with_limit(base_config.limit)
                .with_preserve_order(base_config.preserve_order)
                .with_expr_adapter(base_config.expr_adapter_factory.clone())
                .build(),
            partition,
            filter: parquet.filter().map(|filter| Filter {
                filter,
                n_without: counter(WITHOUT_FILTER),
                n_with_less: counter(WITH_LESS_FILTER),
            }),
        };
        let metrics = || MetricBuilder::new(self.metrics()).pruning_metrics(PRUNED_BY_KEY, partition);
        let moves = |filter: &Arc<dyn PhysicalExpr>| DynamicFilterTracking::classify(filter).contains_dynamic_filter();
        Ok(Arc::new(Opener {
            opening: Arc::clone(&self.opening),
            read: ways.read(&*parquet)?,
            ways: Arc::new(ways),
            moving: parquet.filter().filter(moves),
            pruned: self.opening.keys.is_some().then(metrics),
        }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.parquet.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Self { parquet: self.parquet.with_batch_size(batch_size), opening: Arc::clone(&self.opening) })
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.parquet.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.parquet.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.parquet.metrics()
    }

    fn file_type(&self) -> &str {
        self.parquet.file_type()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.parquet.apply_expressions(f)
    }
}

/// Makes DataFusion's ways of reading a file for one partition.
struct Ways {
    parquet: Arc<dyn FileSource>,
    store: Arc<dyn ObjectStore>,
    /// Without its files, of which there may be many.
    scan: FileScanConfig,
    partition: usize,
    filter: Option<Filter>,
}

struct Filter {
    filter: Arc<dyn PhysicalExpr>,
    n_without: Count,
    n_with_less: Count,
}

impl Ways {
    /// The way of `source`, which is [`Self::parquet`] or the same with another filter.
    fn read(&self, source: &dyn FileSource) -> Result<Read> {
        let morselizer = Arc::new(source.create_morselizer(Arc::clone(&self.store), &self.scan, self.partition)?);
        Ok(Arc::new(move |file: PartitionedFile| -> FileOpenFuture {
            let morselizer = Arc::clone(&morselizer);
            async move {
                let mut planners = VecDeque::from([morselizer.plan_file(file)?]);
                let mut parts: Vec<Batches> = Vec::new();
                while let Some(planner) = planners.pop_front() {
                    let Some(mut plan) = planner.plan()? else { continue };
                    parts.extend(plan.take_morsels().into_iter().map(|morsel| morsel.into_stream()));
                    planners.extend(plan.take_ready_planners());
                    if let Some(pending) = plan.take_pending_planner() {
                        planners.push_back(pending.await?);
                    }
                }
                Ok::<Batches, DataFusionError>(stream::iter(parts).flatten().boxed())
            }
            .boxed()
        }))
    }

    /// The way to read a file without what its bounds prove of the filter: no row is asked about that, and columns that stand nowhere else
    /// are not decoded. `None` if that is nothing.
    fn read_unproven(&self, file: &PartitionedFile, opening: &Opening) -> Result<Option<Read>> {
        let (Some(filter), Some(of_file)) = (&self.filter, file.statistics.as_deref()) else { return Ok(None) };
        let Some(parquet) = self.parquet.downcast_ref::<ParquetSource>() else { return Ok(None) };
        let (parquet, n) = match Left::of(&filter.filter, of_file) {
            Left::All => return Ok(None),
            Left::Part(left) => (parquet.with_predicate(left), &filter.n_with_less),
            Left::Nothing => {
                // A source does not part with its filter.
                let parquet = parquet.with_predicate(lit(true)).with_pushdown_filters(false);
                let readers = opening.readers.within(&opening.pool, false);
                (parquet.with_parquet_file_reader_factory(Arc::new(readers)), &filter.n_without)
            }
        };
        n.add(1);
        self.read(&parquet).map(Some)
    }
}

/// Opens the files of one partition.
#[derive(Clone)]
struct Opener {
    opening: Arc<Opening>,
    ways: Arc<Ways>,
    read: Read,
    /// The filter, if what runs beside the scan may still change it.
    moving: Option<Arc<dyn PhysicalExpr>>,
    /// There if keys are asked for.
    pruned: Option<PruningMetrics>,
}

impl FileOpener for Opener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let mut passing = self.opening.readers.passing(&file);
        let batches = self.clone().batches(file);
        let counted = async move {
            let batches = batches.await?.inspect_ok(move |batch| passing.add(batch.num_rows()));
            Ok::<Batches, DataFusionError>(batches.boxed())
        };
        Ok(counted.boxed())
    }
}

impl Opener {
    async fn batches(mut self, mut file: PartitionedFile) -> Result<Batches> {
        let Some(scanned) = file.extensions.get_arc::<ScannedFile>() else {
            return internal_err!("{} is no file of a table", file.path());
        };
        let deleted = scanned.of.deleted.as_ref().filter(|deleted| !deleted.is_empty());
        let mut admitted = None;
        if self.opening.keys.is_some() || deleted.is_some() {
            if self.is_ruled_out(&file)? {
                return Ok(stream::empty().boxed());
            }
            admitted = self.admitted(&scanned).await;
            if admitted.as_ref().is_some_and(|admitted| admitted.rows.is_empty()) {
                self.opening.readers.note_pruned(&scanned);
                return Ok(stream::empty().boxed());
            }
        }
        if let Some(read) = self.ways.read_unproven(&file, &self.opening)? {
            self.read = read;
        }
        // Planning has asked a filter that stays as it is about the bounds of the whole file.
        if self.moving.is_none() && !file.statistics.as_deref().is_some_and(statistics::has_constants) {
            file.statistics = None;
        }
        if admitted.is_none() && deleted.is_none() {
            return (self.read)(file).await;
        }
        let footer = self.opening.readers.footer(&scanned, &file.object_meta).await.map_err(to_datafusion)?;
        let n_rows = footer.parquet.row_groups().iter().map(|group| group.num_rows().unsigned_abs());
        let n_rows = n_rows.fold(0_u64, u64::saturating_add);
        if n_rows != scanned.of.file.rows {
            let how = format!("it has {n_rows} rows, and {} were written", scanned.of.file.rows);
            let error = damaged(file.path(), &how);
            return Err(to_datafusion(self.opening.readers.failed(&scanned, error)));
        }
        let admitted = admitted.map(|admitted| admitted.rows);
        let rows = Rows::new(&footer.parquet, file.range.as_ref(), admitted, deleted.cloned());
        // DataFusion asks for it again, and the cache may be too small.
        file.extensions.insert(footer);
        Ok(self.portions(file, rows))
    }

    /// What runs beside the scan may have ruled a file out since the query was planned: then not even its footer is read.
    fn is_ruled_out(&self, file: &PartitionedFile) -> Result<bool> {
        let Some(filter) = &self.moving else { return Ok(false) };
        let schema = self.ways.parquet.table_schema().file_schema();
        match FilePruner::try_new(Arc::clone(filter), schema, file, Count::new()) {
            Some(mut pruner) => pruner.should_prune(),
            None => Ok(false),
        }
    }

    /// The rows that may have a key that is asked for. `None`: nothing is known, or any is asked for.
    async fn admitted(&self, file: &ScannedFile) -> Option<Admitted> {
        let Opening { readers, pool, keys, .. } = &*self.opening;
        let (keys, n_restored) = (keys.as_ref()?, readers.n_restored(file));
        let admitted =
            sidecars::admitted(&file.of, n_restored, keys, &readers.stores, readers.cache.as_ref(), pool).await?;
        if let Some(pruned) = &self.pruned {
            pruned.add_matched(admitted.n_blocks);
            pruned.add_pruned(admitted.n_pruned);
        }
        Some(admitted)
    }

    /// Reads portion after portion. The memory of each one's plan is held until the portion was read.
    fn portions(self, file: PartitionedFile, rows: Rows) -> Batches {
        let mut portions = rows.portions();
        if self.opening.is_reversed {
            portions.reverse();
        }
        let rows = Arc::new(rows);
        let portions = stream::iter(portions).then(move |portion| {
            let (opener, rows, mut file) = (self.clone(), Arc::clone(&rows), file.clone());
            async move {
                let held = MemoryConsumer::new("rows of a sealed file").register(&opener.opening.pool);
                file.extensions.insert(rows.plan(portion, &held)?);
                let batches = (opener.read)(file).await?;
                let batches = batches.map(move |batch| {
                    let _held = &held;
                    batch
                });
                Ok::<Batches, DataFusionError>(batches.boxed())
            }
        });
        portions.try_flatten().boxed()
    }
}

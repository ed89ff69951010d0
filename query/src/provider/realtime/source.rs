//! How does a plan read realtime rows? A DataFusion `DataSource` that takes projections, filters, limits and orders.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Statistics, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::datasource::source::DataSource;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::{Column, DynamicFilterTracking};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, Partitioning, PhysicalExpr, PhysicalSortExpr, conjunction, split_conjunction,
};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::execution_plan::SchedulingType;
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::projection::{all_alias_free_columns, new_projections_for_columns};
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};

use super::leading::LeadingBounds;
use super::rows::RealtimeRows;
use super::stream::RealtimeStream;
use crate::provider::counters::ScanCounters;
use crate::provider::{prune, statistics};

/// Fewer rows are read by one partition: a second costs more than it saves (performance notes: 35 % more CPU).
const MIN_ROWS_A_PARTITION: usize = if cfg!(test) { 1 << 12 } else { 1 << 19 };

/// Rows that are read at once: a zone, or what binary search left of it.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    /// Index into [`RealtimeRows::zones`].
    pub zone: usize,
    pub rows: Range<usize>,
}

/// A scan of the realtime rows of one snapshot.
#[derive(Debug, Clone)]
pub(in crate::provider) struct RealtimeSource {
    rows: Arc<RealtimeRows>,
    /// Columns of `rows.schema`, in the order of the output.
    projection: Vec<usize>,
    projected: SchemaRef,
    /// Over `rows.schema`. Evaluated on every row: nothing above filters again.
    predicate: Option<Arc<dyn PhysicalExpr>>,
    /// Rows that each partition produces at most.
    fetch: Option<usize>,
    /// What each partition reads, in order.
    partitions: Vec<Vec<Unit>>,
    counters: Arc<ScanCounters>,
    metrics: ExecutionPlanMetricsSet,
}

impl RealtimeSource {
    pub fn new(rows: Arc<RealtimeRows>, projection: Option<&Vec<usize>>, counters: Arc<ScanCounters>) -> Result<Self> {
        let projection = projection.cloned().unwrap_or_else(|| (0..rows.schema.fields().len()).collect());
        let units = (0..rows.zones.len()).map(|zone| Unit { zone, rows: rows.zones[zone].rows.clone() }).collect();
        Ok(Self {
            projected: Arc::new(rows.schema.project(&projection)?),
            projection,
            rows,
            predicate: None,
            fetch: None,
            partitions: vec![units],
            counters,
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    pub fn with_limit(mut self, limit: Option<usize>) -> Self {
        self.fetch = limit;
        self
    }

    /// Rows of the zones that are left.
    pub fn n_candidates(&self) -> usize {
        self.partitions.iter().flatten().map(|unit| unit.rows.len()).sum()
    }

    /// A filter over the output, as one over `rows.schema`.
    fn over_table(&self, filter: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let to_table = |expr: Arc<dyn PhysicalExpr>| {
            let Some(column) = expr.downcast_ref::<Column>() else {
                return Ok(Transformed::no(expr));
            };
            let Some(&index) = self.projection.get(column.index()) else {
                return internal_err!("filter column {column} is not an output column of the scan");
            };
            Ok(Transformed::yes(Arc::new(Column::new(self.rows.schema.field(index).name(), index)) as _))
        };
        filter.transform_down(to_table).data()
    }

    /// Takes the filters, and drops the zones and rows that they rule out whatever dynamic filters will say.
    fn with_filters(&self, filters: Vec<Arc<dyn PhysicalExpr>>) -> Self {
        let (fixed, dynamic): (Vec<_>, Vec<_>) = filters
            .iter()
            .flat_map(split_conjunction)
            .cloned()
            .partition(|filter| !DynamicFilterTracking::classify(filter).contains_dynamic_filter());
        let mut source = self.clone();
        if !fixed.is_empty() {
            source.prune(&fixed);
        }
        // What is cheap and known stands first: evaluation of AND stops when nothing is left.
        source.predicate = Some(conjunction(self.predicate.iter().cloned().chain(fixed).chain(dynamic)));
        source
    }

    fn prune(&mut self, fixed: &[Arc<dyn PhysicalExpr>]) {
        let keep = prune::zones_to_read(&self.rows, &conjunction(fixed.iter().cloned()));
        let bounds = LeadingBounds::new(fixed.iter(), &self.rows.sort_by);
        let range_of = |part: &Arc<tidewater_storage::realtime::RealtimePart>| match part.sorted && !bounds.is_empty() {
            true => bounds.narrow(part),
            false => 0..part.rows.num_rows(),
        };
        let ranges: Vec<Range<usize>> = self.rows.parts.iter().map(range_of).collect();
        for units in &mut self.partitions {
            units.retain_mut(|unit| {
                let range = &ranges[self.rows.zones[unit.zone].part];
                unit.rows = unit.rows.start.max(range.start)..unit.rows.end.min(range.end);
                keep[unit.zone] && !unit.rows.is_empty()
            });
        }
    }
}

impl DataSource for RealtimeSource {
    fn open(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(units) = self.partitions.get(partition) else {
            return internal_err!("the scan has {} partitions, not {partition}", self.partitions.len());
        };
        let stream = RealtimeStream::new(super::stream::Scan {
            rows: Arc::clone(&self.rows),
            units: units.clone(),
            projection: &self.projection,
            projected: Arc::clone(&self.projected),
            predicate: self.predicate.clone(),
            fetch: self.fetch,
            batch_size: context.session_config().batch_size(),
            counters: Arc::clone(&self.counters),
            metrics: &self.metrics,
            partition,
            n_partitions: self.partitions.len(),
        })?;
        Ok(Box::pin(cooperative(stream)))
    }

    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zones: usize = self.partitions.iter().map(Vec::len).sum();
        if matches!(kind, DisplayFormatType::TreeRender) {
            writeln!(f, "source=realtime")?;
            return writeln!(f, "zones={zones}/{}", self.rows.zones.len());
        }
        let columns: Vec<&str> = self.projected.fields().iter().map(|field| field.name().as_str()).collect();
        write!(
            f,
            "realtime, partitions={}, zones={zones}/{}, rows={}, projection=[{}]",
            self.partitions.len(),
            self.rows.zones.len(),
            self.n_candidates(),
            columns.join(", ")
        )?;
        if let Some(predicate) = &self.predicate {
            write!(f, ", predicate={predicate}")?;
        }
        match self.fetch {
            Some(fetch) => write!(f, ", fetch={fetch}"),
            None => Ok(()),
        }
    }

    fn repartitioned(
        &self,
        target_partitions: usize,
        _repartition_file_min_size: usize,
        _output_ordering: Option<LexOrdering>,
    ) -> Result<Option<Arc<dyn DataSource>>> {
        let n = target_partitions.min(self.n_candidates() / MIN_ROWS_A_PARTITION);
        if n <= self.partitions.len() || self.fetch.is_some() {
            return Ok(None);
        }
        let mut partitions = vec![Vec::new(); n];
        for (i, unit) in self.partitions.iter().flatten().enumerate() {
            partitions[i % n].push(unit.clone());
        }
        Ok(Some(Arc::new(Self { partitions, ..self.clone() })))
    }

    fn output_partitioning(&self) -> Partitioning {
        Partitioning::UnknownPartitioning(self.partitions.len())
    }

    fn eq_properties(&self) -> EquivalenceProperties {
        EquivalenceProperties::new(Arc::clone(&self.projected))
    }

    fn scheduling_type(&self) -> SchedulingType {
        SchedulingType::Cooperative
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let n_columns = self.projection.len();
        let statistics = match (partition, &self.predicate, self.fetch) {
            (None, None, None) => statistics::exact(&self.rows, &self.projection),
            (None, Some(_), None) => statistics::estimated(&self.rows, &self.projection, self.n_candidates()),
            (partition, predicate, fetch) => {
                let partitions = match partition {
                    Some(partition) => self.partitions.get(partition..=partition).unwrap_or_default(),
                    None => &self.partitions,
                };
                let rows_of = |units: &Vec<Unit>| {
                    let n: usize = units.iter().map(|unit| unit.rows.len()).sum();
                    n.min(fetch.unwrap_or(usize::MAX))
                };
                let n_rows = partitions.iter().map(rows_of).sum();
                let n_rows = if predicate.is_some() { Precision::Inexact(n_rows) } else { Precision::Exact(n_rows) };
                statistics::counted(n_rows, n_columns)
            }
        };
        Ok(Arc::new(statistics))
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn DataSource>> {
        Some(Arc::new(self.clone().with_limit(limit)))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }

    fn metrics(&self) -> ExecutionPlanMetricsSet {
        self.metrics.clone()
    }

    fn try_swapping_with_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn DataSource>>> {
        if !all_alias_free_columns(projection.as_ref()) {
            return Ok(None);
        }
        let projection = new_projections_for_columns(projection.as_ref(), &self.projection);
        let projected: Schema = self.rows.schema.project(&projection)?;
        Ok(Some(Arc::new(Self { projected: Arc::new(projected), projection, ..self.clone() })))
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn DataSource>>> {
        // A limit chooses before a filter above it does; a volatile filter must be asked once for every row.
        let takes = |filter: &Arc<dyn PhysicalExpr>| self.fetch.is_none() && !is_volatile(filter);
        let answer: Vec<PushedDown> =
            filters.iter().map(|filter| if takes(filter) { PushedDown::Yes } else { PushedDown::No }).collect();
        let taken =
            filters.into_iter().filter(takes).map(|filter| self.over_table(filter)).collect::<Result<Vec<_>>>()?;
        let propagation = FilterPushdownPropagation::with_parent_pushdown_result(answer);
        if taken.is_empty() {
            return Ok(propagation);
        }
        Ok(propagation.with_updated_node(Arc::new(self.with_filters(taken))))
    }

    /// Reads the zones that may hold the first rows first, so that a TopK soon rules out the others.
    fn try_pushdown_sort(&self, order: &[PhysicalSortExpr]) -> Result<SortOrderPushdownResult<Arc<dyn DataSource>>> {
        let Some(first) = order.first() else {
            return Ok(SortOrderPushdownResult::Unsupported);
        };
        let column = first.expr.downcast_ref::<Column>().and_then(|column| self.projection.get(column.index()));
        let Some(bounds) = column.and_then(|&column| self.rows.bounds(column)) else {
            return Ok(SortOrderPushdownResult::Unsupported);
        };
        let values = if first.options.descending { &bounds.max } else { &bounds.min };
        // Zones without a bound are read first: they may hold anything.
        let options = arrow::compute::SortOptions { descending: first.options.descending, nulls_first: true };
        let sorted = arrow::compute::sort_to_indices(values, Some(options), None)?;
        let mut rank = vec![0; self.rows.zones.len()];
        for (place, &zone) in sorted.values().iter().enumerate() {
            rank[zone as usize] = place;
        }
        let mut source = self.clone();
        for units in &mut source.partitions {
            units.sort_by_key(|unit| rank[unit.zone]);
        }
        Ok(SortOrderPushdownResult::Inexact { inner: Arc::new(source) })
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        match &self.predicate {
            Some(predicate) => f(predicate),
            None => Ok(TreeNodeRecursion::Continue),
        }
    }
}

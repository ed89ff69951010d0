//! How is one partition of a realtime scan read? Unit by unit: re-test zones, slice, filter, coalesce or trim.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::{Array, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::RecordBatchStream;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::expressions::DynamicFilterTracking;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{PhysicalExpr, conjunction, split_conjunction};
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder};
use futures::Stream;

use super::rows::RealtimeRows;
use super::source::Unit;
use crate::functions::may_overflow;
use crate::provider::counters::ScanCounters;
use crate::provider::prune;
use crate::provider::trim::trimmed;

/// Units that one poll reads when nothing passes the filter; then other tasks get their turn.
const UNITS_A_POLL: usize = 16;

/// Dynamic filters change with almost every batch of a TopK: after the first few, zones are tested again at most this often.
const UNITS_BETWEEN_TESTS: usize = 8;

/// What [`RealtimeStream::new`] needs.
pub(super) struct Scan<'a> {
    pub rows: Arc<RealtimeRows>,
    pub units: Vec<Unit>,
    pub projection: &'a [usize],
    pub projected: SchemaRef,
    pub predicate: Option<Arc<dyn PhysicalExpr>>,
    pub fetch: Option<usize>,
    pub batch_size: usize,
    pub counters: Arc<ScanCounters>,
    pub metrics: &'a ExecutionPlanMetricsSet,
    pub partition: usize,
    pub n_partitions: usize,
}

/// The filter of a scan, over the columns that the scan reads.
struct Filter {
    /// Conditions that cannot fail.
    plain: Arc<dyn PhysicalExpr>,
    /// Conditions with arithmetic that may overflow: they are asked about the rows that those before them leave.
    computing: Vec<Arc<dyn PhysicalExpr>>,
    /// All of them, over all columns of the table: for zones.
    over_table: Arc<dyn PhysicalExpr>,
    tracking: DynamicFilterTracking,
    n_tests: usize,
    units_since_test: usize,
}

struct Metrics {
    baseline: BaselineMetrics,
    zones_pruned: Count,
    rows_read: Count,
}

pub(super) struct RealtimeStream {
    rows: Arc<RealtimeRows>,
    units: VecDeque<Unit>,
    /// Columns that are sliced: those of the filter and the output.
    read: Vec<usize>,
    read_schema: SchemaRef,
    /// Places of the output columns in `read`.
    output: Vec<usize>,
    projected: SchemaRef,
    filter: Option<Filter>,
    remaining: usize,
    coalescer: BatchCoalescer,
    /// Batches without columns cannot be coalesced: their rows are counted.
    ready: VecDeque<RecordBatch>,
    counters: Arc<ScanCounters>,
    metrics: Metrics,
}

impl RealtimeStream {
    pub fn new(scan: Scan<'_>) -> Result<Self> {
        let mut read = scan.projection.to_vec();
        if let Some(predicate) = &scan.predicate {
            read.extend(collect_columns(predicate).iter().map(|column| column.index()));
        }
        read.sort_unstable();
        read.dedup();
        let read_schema = Arc::new(scan.rows.schema.project(&read)?);
        let place = |column: &usize| {
            let missing = || internal_datafusion_err!("column {column} is not read");
            read.binary_search(column).map_err(|_| missing())
        };
        let output = scan.projection.iter().map(place).collect::<Result<Vec<_>>>()?;
        let filter = scan.predicate.map(|over_table| Filter::new(over_table, &read_schema)).transpose()?;
        Ok(Self {
            read,
            read_schema,
            output,
            coalescer: BatchCoalescer::new(Arc::clone(&scan.projected), scan.batch_size)
                .with_biggest_coalesce_batch_size(Some(scan.batch_size / 2)),
            projected: scan.projected,
            filter,
            remaining: scan.fetch.unwrap_or(usize::MAX),
            ready: VecDeque::new(),
            counters: scan.counters,
            metrics: Metrics::new(scan.metrics, &scan.rows, scan.units.len(), scan.partition, scan.n_partitions),
            rows: scan.rows,
            units: scan.units.into(),
        })
    }

    /// Reads on until a batch is ready, the scan has ended (`Ready(None)`) or others should run (`Pending`).
    fn advance(&mut self) -> Poll<Option<Result<RecordBatch>>> {
        for _ in 0..UNITS_A_POLL {
            if let Some(batch) = self.next_ready() {
                return Poll::Ready(Some(Ok(batch)));
            }
            if self.remaining == 0 {
                return Poll::Ready(None);
            }
            self.test_zones();
            let Some(unit) = self.units.pop_front() else {
                if self.coalescer.is_empty() {
                    return Poll::Ready(None);
                }
                if let Err(error) = self.coalescer.finish_buffered_batch() {
                    return Poll::Ready(Some(Err(error.into())));
                }
                continue;
            };
            if let Err(error) = self.read(unit) {
                self.units.clear();
                self.remaining = 0;
                return Poll::Ready(Some(Err(error)));
            }
        }
        Poll::Pending
    }

    fn next_ready(&mut self) -> Option<RecordBatch> {
        let batch = self.ready.pop_front().or_else(|| self.coalescer.next_completed_batch())?;
        let n_rows = batch.num_rows().min(self.remaining);
        self.remaining -= n_rows;
        Some(if n_rows < batch.num_rows() { batch.slice(0, n_rows) } else { batch })
    }

    /// Drops the units whose zones the dynamic filters rule out by now.
    fn test_zones(&mut self) {
        let Some(filter) = &mut self.filter else { return };
        if !filter.is_test_due() {
            return;
        }
        let keep = prune::zones_to_read(&self.rows, &filter.over_table);
        let before = self.units.len();
        let counters = &self.counters;
        self.units.retain(|unit| {
            let kept = keep[unit.zone];
            if !kept {
                counters.add_passed(unit.rows.len() as u64);
            }
            kept
        });
        self.metrics.zones_pruned.add(before - self.units.len());
    }

    fn read(&mut self, unit: Unit) -> Result<()> {
        let part = self.rows.zones[unit.zone].part;
        let n_rows = unit.rows.len();
        self.counters.add_realtime(n_rows);
        self.metrics.rows_read.add(n_rows);
        let batch = self.rows.read(part, unit.rows, &self.read, &self.read_schema)?;
        let mask = match &self.filter {
            Some(filter) => Some(filter.evaluate(&batch)?),
            None => None,
        };
        let n_passed = mask.as_ref().map_or(n_rows, BooleanArray::true_count);
        if n_passed == 0 {
            return Ok(());
        }
        if self.output.is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(n_passed));
            let counted = RecordBatch::try_new_with_options(Arc::clone(&self.projected), Vec::new(), &options)?;
            self.ready.push_back(counted);
            return Ok(());
        }
        let batch = batch.project(&self.output)?;
        match mask {
            Some(mask) if n_passed < n_rows => self.coalescer.push_batch_with_filter(batch, &mask)?,
            // What is large or alone goes through as it is: it must not look as large as the part that it is a slice of.
            _ => self.coalescer.push_batch(trimmed(&batch)?)?,
        }
        if self.coalescer.get_buffered_rows() >= self.remaining {
            // The limit is reached: what is buffered holds the rest of the answer.
            self.coalescer.finish_buffered_batch()?;
        }
        Ok(())
    }
}

impl Filter {
    fn new(over_table: Arc<dyn PhysicalExpr>, read_schema: &SchemaRef) -> Result<Self> {
        let predicate = reassign_expr_columns(Arc::clone(&over_table), read_schema)?;
        let (computing, plain): (Vec<_>, Vec<_>) =
            split_conjunction(&predicate).into_iter().cloned().partition(may_overflow);
        Ok(Self {
            plain: conjunction(plain),
            computing,
            tracking: DynamicFilterTracking::classify(&over_table),
            over_table,
            n_tests: 0,
            units_since_test: 0,
        })
    }

    /// Once before the first unit (joins have filled their filters by then), later when a filter has changed.
    fn is_test_due(&mut self) -> bool {
        if !self.tracking.contains_dynamic_filter() {
            return false;
        }
        self.units_since_test += 1;
        let due = match (self.n_tests, self.tracking.watcher()) {
            (0, _) => true,
            (_, None) => false,
            (n, Some(watcher)) => self.units_since_test >= n.min(UNITS_BETWEEN_TESTS) && watcher.changed(),
        };
        if due {
            self.n_tests += 1;
            self.units_since_test = 0;
        }
        due
    }

    /// One value a row; NULL does not pass.
    fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let mut mask = passed(self.plain.evaluate(batch)?, batch)?;
        for condition in &self.computing {
            if !mask.has_true() {
                break;
            }
            let asked = passed(condition.evaluate_selection(batch, &mask)?, batch)?;
            mask = arrow::compute::and(&mask, &asked)?;
        }
        Ok(mask)
    }
}

fn passed(values: ColumnarValue, batch: &RecordBatch) -> Result<BooleanArray> {
    let mask = values.into_array(batch.num_rows())?;
    let mask = as_boolean_array(&mask)?;
    Ok(if mask.null_count() > 0 { arrow::compute::prep_null_mask_filter(mask) } else { mask.clone() })
}

impl Metrics {
    fn new(
        set: &ExecutionPlanMetricsSet,
        rows: &RealtimeRows,
        n_units: usize,
        partition: usize,
        n_partitions: usize,
    ) -> Self {
        let counter = |name: &'static str| MetricBuilder::new(set).counter(name, partition);
        // Zones that planning ruled out belong to no partition: each shows its share of the total.
        let total = rows.zones.len();
        let share = total / n_partitions + usize::from(partition < total % n_partitions);
        let (zones_total, zones_pruned) = (counter("zones_total"), counter("zones_pruned"));
        zones_total.add(share);
        zones_pruned.add(share.saturating_sub(n_units));
        Self { baseline: BaselineMetrics::new(set, partition), zones_pruned, rows_read: counter("rows_read") }
    }
}

impl Stream for RealtimeStream {
    type Item = Result<RecordBatch>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let timer = this.metrics.baseline.elapsed_compute().clone();
        let _running = timer.timer();
        let poll = this.advance();
        if poll.is_pending() {
            cx.waker().wake_by_ref();
        }
        this.metrics.baseline.record_poll(poll)
    }
}

impl RecordBatchStream for RealtimeStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.projected)
    }
}

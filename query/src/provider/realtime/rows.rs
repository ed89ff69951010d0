//! Which realtime rows does a scan choose from? The parts of one snapshot, cut into zones, newest first.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::{
    Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, UInt64Array,
    new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::{ColumnStatistics, ScalarValue};
use datafusion::error::Result;
use tidewater_storage::TableSnapshot;
use tidewater_storage::catalog::TableDef;
use tidewater_storage::limits::ZONE_ROWS;
use tidewater_storage::realtime::RealtimePart;

use super::leftovers::without_leftovers;
use crate::provider::statistics::{is_exact, max_of, min_of, of_column};

/// The log entry that a row came with.
pub const COMMIT_SEQ: &str = "_commit_seq";
/// When the server stamped that entry.
pub const INGESTED_AT: &str = "_ingested_at";

/// The hidden columns, in the order in which they follow a table's own.
pub fn system_fields() -> [Field; 2] {
    [
        Field::new(COMMIT_SEQ, DataType::Int64, false),
        Field::new(INGESTED_AT, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
    ]
}

/// A piece of a part that is kept or skipped as a whole: at most [`ZONE_ROWS`] rows.
#[derive(Debug, Clone)]
pub(in crate::provider) struct Zone {
    pub part: usize,
    pub rows: Range<usize>,
    /// Its place in the part's zone map; `None` when the part has no usable map.
    entry: Option<usize>,
}

/// One value a zone: bounds (NULL: unknown, or no value) and NULLs (NULL: unknown).
#[derive(Debug, Clone)]
pub(in crate::provider) struct ZoneBounds {
    pub min: ArrayRef,
    pub max: ArrayRef,
    pub nulls: UInt64Array,
}

/// The realtime rows of one snapshot. Shared by all scans of a table in one statement.
#[derive(Debug)]
pub(in crate::provider) struct RealtimeRows {
    /// The table's columns; then the system columns, if they were asked for.
    pub schema: SchemaRef,
    pub parts: Vec<Arc<RealtimePart>>,
    pub zones: Vec<Zone>,
    /// Indexes of the columns by which sorted parts are sorted.
    pub sort_by: Vec<usize>,
    pub n_rows: usize,
    n_table_columns: usize,
    /// By column, made when a predicate first asks: most queries name few of them.
    bounds: Vec<OnceLock<Option<ZoneBounds>>>,
    /// The same for statistics, which optimiser rules ask for again and again.
    statistics: Vec<OnceLock<ColumnStatistics>>,
}

impl RealtimeRows {
    pub fn of_snapshot(snapshot: &TableSnapshot, with_system_columns: bool) -> Arc<Self> {
        Self::new(snapshot.def(), snapshot.parts(), with_system_columns)
    }

    /// `parts` oldest first, as snapshots have them.
    pub fn new(def: &TableDef, parts: &[Arc<RealtimePart>], with_system_columns: bool) -> Arc<Self> {
        let mut fields = def.arrow_schema.fields().iter().cloned().collect::<Vec<_>>();
        let n_table_columns = fields.len();
        if with_system_columns {
            fields.extend(system_fields().map(Arc::new));
        }
        let bounds = fields.iter().map(|_| OnceLock::new()).collect();
        let statistics = fields.iter().map(|_| OnceLock::new()).collect();
        let parts: Vec<_> = parts.iter().rev().filter(|part| part.rows.num_rows() > 0).cloned().collect();
        Arc::new(Self {
            schema: Arc::new(Schema::new(fields)),
            zones: parts.iter().enumerate().flat_map(|(i, part)| zones_of(i, part)).collect(),
            sort_by: def.options.sort_by.clone(),
            n_rows: parts.iter().map(|part| part.rows.num_rows()).sum(),
            parts,
            n_table_columns,
            bounds,
            statistics,
        })
    }

    /// Bounds of a column for every zone; `None` for types without an order.
    pub fn bounds(&self, column: usize) -> Option<&ZoneBounds> {
        self.bounds[column].get_or_init(|| self.make_bounds(column)).as_ref()
    }

    /// What is known about all values of a column.
    pub fn statistics(&self, column: usize) -> &ColumnStatistics {
        self.statistics[column].get_or_init(|| of_column(self, column))
    }

    fn make_bounds(&self, column: usize) -> Option<ZoneBounds> {
        if column >= self.n_table_columns {
            return Some(self.system_bounds(column));
        }
        let data_type = self.schema.field(column).data_type();
        let mut mins = Vec::with_capacity(self.parts.len());
        let mut maxs = Vec::with_capacity(self.parts.len());
        let mut nulls: Vec<Option<u64>> = Vec::with_capacity(self.zones.len());
        let mut known = false;
        for zones in self.zones.chunk_by(|a, b| a.part == b.part) {
            let part = &self.parts[zones[0].part];
            let Some(values) = part.rows.columns().get(column) else {
                // The column was added after these rows had come: all of them have NULL there.
                known |= !data_type.is_nested();
                mins.push(new_null_array(data_type, zones.len()));
                maxs.push(new_null_array(data_type, zones.len()));
                nulls.extend(zones.iter().map(|zone| Some(zone.rows.len() as u64)));
                continue;
            };
            let map = part.zones.columns.get(column).and_then(Option::as_ref);
            let map = map.filter(|map| {
                zones[0].entry.is_some() && map.min.len() == zones.len() && map.min.data_type() == data_type
            });
            if let Some(map) = map {
                known = true;
                mins.push(Arc::clone(&map.min));
                maxs.push(Arc::clone(&map.max));
                nulls.extend(map.nulls.iter());
            } else if let Some((min, max)) = computed_bounds(values, zones) {
                // Small tail batches come without bounds; those of numbers are cheap, and exact statistics need them.
                known = true;
                mins.push(min);
                maxs.push(max);
                nulls.extend(zones.iter().map(|zone| Some(null_count(values, zone))));
            } else {
                mins.push(new_null_array(data_type, zones.len()));
                maxs.push(new_null_array(data_type, zones.len()));
                nulls.extend(zones.iter().map(|_| None));
            }
        }
        if !known {
            return None;
        }
        Some(ZoneBounds { min: concat(&mins)?, max: concat(&maxs)?, nulls: UInt64Array::from(nulls) })
    }

    /// Every zone has bounds of this column, and they are values that occur (or there is no value).
    pub fn has_exact_bounds(&self, column: usize) -> bool {
        let Some(bounds) = self.bounds(column).filter(|_| column < self.n_table_columns) else {
            return false;
        };
        let nulls = bounds.nulls.iter().zip(&self.zones);
        let all_null = |(i, (nulls, zone)): (usize, (Option<u64>, &Zone))| {
            bounds.min.is_valid(i) || nulls == Some(zone.rows.len() as u64)
        };
        nulls.enumerate().all(all_null)
    }

    /// System columns have bounds a part, from its stamps: a change feed skips what it has seen.
    fn system_bounds(&self, column: usize) -> ZoneBounds {
        let value = |stamp: &(i64, i64)| if column == self.n_table_columns { stamp.0 } else { stamp.1 };
        let of_zone = |pick: fn(i64, i64) -> i64| -> ArrayRef {
            let values = self.zones.iter().map(|zone| self.parts[zone.part].stamps.iter().map(value).reduce(pick));
            if column == self.n_table_columns {
                Arc::new(values.collect::<Int64Array>())
            } else {
                Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            }
        };
        ZoneBounds {
            min: of_zone(i64::min),
            max: of_zone(i64::max),
            nulls: UInt64Array::from(vec![0; self.zones.len()]),
        }
    }

    /// The `columns` of some rows of a part, without copying (system columns are made, and columns that are newer than the part).
    pub fn read(&self, part: usize, rows: Range<usize>, columns: &[usize], schema: &SchemaRef) -> Result<RecordBatch> {
        let part = &self.parts[part];
        let arrays = columns
            .iter()
            .map(|&column| match column.checked_sub(self.n_table_columns) {
                None => match part.rows.columns().get(column) {
                    Some(values) => without_leftovers(values.slice(rows.start, rows.len())),
                    None => Ok(new_null_array(self.schema.field(column).data_type(), rows.len())),
                },
                Some(0) => Ok(Arc::new(part.commit_seqs(rows.clone())) as ArrayRef),
                Some(_) => Ok(Arc::new(part.ingested_at(rows.clone())) as ArrayRef),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
    }
}

/// The part's own zones if they cover its rows in order, else even cuts without bounds.
fn zones_of(part_index: usize, part: &RealtimePart) -> Vec<Zone> {
    let n_rows = part.rows.num_rows();
    let own = &part.zones.rows;
    let mut covered = 0;
    let in_order = own.iter().all(|zone| {
        let follows = zone.start == covered && zone.end >= zone.start;
        covered = zone.end;
        follows
    });
    if in_order && covered == n_rows {
        let zone = |(i, rows): (usize, &Range<usize>)| Zone { part: part_index, rows: rows.clone(), entry: Some(i) };
        return own.iter().enumerate().map(zone).collect();
    }
    let cut = |start: usize| Zone { part: part_index, rows: start..(start + ZONE_ROWS).min(n_rows), entry: None };
    (0..n_rows).step_by(ZONE_ROWS).map(cut).collect()
}

fn null_count(column: &ArrayRef, zone: &Zone) -> u64 {
    column.slice(zone.rows.start, zone.rows.len()).null_count() as u64
}

/// Bounds of zones that have none, for types where they are cheap and exact.
fn computed_bounds(column: &ArrayRef, zones: &[Zone]) -> Option<(ArrayRef, ArrayRef)> {
    if !is_exact(column.data_type()) {
        return None;
    }
    let slices: Vec<ArrayRef> = zones.iter().map(|zone| column.slice(zone.rows.start, zone.rows.len())).collect();
    let min = slices.iter().map(min_of).collect::<Result<Vec<_>>>().ok()?;
    let max = slices.iter().map(max_of).collect::<Result<Vec<_>>>().ok()?;
    Some((ScalarValue::iter_to_array(min).ok()?, ScalarValue::iter_to_array(max).ok()?))
}

fn concat(arrays: &[ArrayRef]) -> Option<ArrayRef> {
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    arrow::compute::concat(&arrays).ok()
}

//! Which zones and files can a predicate not match? One vectorised test over the bounds of all of them.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::{PhysicalExpr, conjunction};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;

use super::realtime::RealtimeRows;

/// IN lists up to this length are tested value by value against the bounds; longer ones by their range only.
const MAX_PRUNED_IN_LIST: usize = 256;

/// For each zone whether it may hold a matching row. `predicate` is over `rows.schema`.
pub(super) fn zones_to_read(rows: &RealtimeRows, predicate: &Arc<dyn PhysicalExpr>) -> Vec<bool> {
    to_read(&rows.schema, &AllZones(rows), predicate)
}

/// Whether one of these rows may pass all of `filters`, as their bounds say. A filter that has no physical form here rules out nothing.
pub(super) fn may_match(state: &dyn Session, rows: &RealtimeRows, filters: &[Expr]) -> bool {
    let Ok(schema) = DFSchema::try_from(Arc::clone(&rows.schema)) else { return rows.n_rows > 0 };
    let known = filters.iter().filter_map(|filter| state.create_physical_expr(filter.clone(), &schema).ok());
    zones_to_read(rows, &conjunction(known)).contains(&true)
}

/// For each container of rows whether it may hold one that matches. A predicate that says nothing about bounds keeps all.
/// `predicate` is over `schema`; dynamic filters count with their value of this moment.
pub(super) fn to_read(
    schema: &SchemaRef,
    statistics: &impl PruningStatistics,
    predicate: &Arc<dyn PhysicalExpr>,
) -> Vec<bool> {
    let n = statistics.num_containers();
    let all = || vec![true; n];
    if n == 0 {
        return Vec::new();
    }
    let builder =
        PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema)).with_max_in_list_size(MAX_PRUNED_IN_LIST);
    match builder.try_build(Arc::clone(predicate)) {
        Ok(pruning) if !pruning.always_true() => pruning.prune(statistics).unwrap_or_else(|error| {
            tracing::debug!(%error, "zones or files could not be pruned");
            all()
        }),
        // What cannot be turned into a test of bounds is evaluated row by row.
        _ => all(),
    }
}

struct AllZones<'a>(&'a RealtimeRows);

impl AllZones<'_> {
    fn column(&self, column: &Column) -> Option<usize> {
        self.0.schema.index_of(&column.name).ok()
    }
}

impl PruningStatistics for AllZones<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::clone(&self.0.bounds(self.column(column)?)?.min))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::clone(&self.0.bounds(self.column(column)?)?.max))
    }

    fn num_containers(&self) -> usize {
        self.0.zones.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::new(self.0.bounds(self.column(column)?)?.nulls.clone()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.0.zones.iter().map(|zone| Some(zone.rows.len() as u64)).collect::<UInt64Array>()))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

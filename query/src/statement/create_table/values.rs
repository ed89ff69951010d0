//! Which types do the VALUES of CREATE TABLE AS have? Those of the listed columns, so that rows need not agree with each other.

use datafusion::sql::sqlparser::ast::{CastKind, ColumnDef as SqlColumn, DataType, Expr, Query, SetExpr, TimezoneInfo};
use tidewater_storage::catalog::NewTable;

use crate::statement::types::{settle_type, settle_values};

/// Casts each value to the type of its column, a number as it is written. What becomes an instant is left to storage, which knows the
/// session's time zone; rows of another width are left to the planner's error.
pub(in crate::statement) fn type_values(columns: &[SqlColumn], new: &NewTable, query: &mut Query) {
    let types: Vec<_> = new.columns.iter().map(|column| Some(column.data_type.clone())).collect();
    settle_values(query, &types);
    let SetExpr::Values(values) = &mut *query.body else { return };
    for row in &mut values.rows {
        if row.content.len() != columns.len() {
            continue;
        }
        for ((cell, column), def) in row.content.iter_mut().zip(columns).zip(&new.columns) {
            if is_instant(&column.data_type) {
                continue;
            }
            // The length is left to storage, which refuses a text that is longer.
            let mut data_type = if def.max_chars.is_some() { DataType::Text } else { column.data_type.clone() };
            settle_type(&mut data_type);
            let expr = Box::new(cell.clone());
            *cell = Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None };
        }
    }
}

fn is_instant(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone))
}

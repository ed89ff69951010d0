//! Which type does a name stand for in a cast or a literal? The one that it is in CREATE TABLE.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::DataType;

use super::numbers::written_type;
use crate::statement::create_table::column_type;

/// The planner's own TIME has nanoseconds, which do not compare with a column of TIME, and it does not know VARBINARY or the short
/// names of the unsigned types.
#[derive(Debug)]
pub(crate) struct ColumnTypes;

impl TypePlanner for ColumnTypes {
    fn plan_type_field(&self, sql: &DataType) -> Result<Option<FieldRef>> {
        if let Some(written) = written_type(sql) {
            return Ok(Some(written));
        }
        let data_type = match sql {
            // The planner asks again for what is inside of lists and structs.
            DataType::Array(_) | DataType::Struct(_, _) => None,
            // The planner knows the session's time zone, which TIMESTAMPTZ has in a query.
            DataType::Timestamp(_, _) => None,
            // What tables cannot hold may still be a type in a query, such as INTERVAL.
            simple => column_type(simple).ok().map(|(data_type, _)| data_type),
        };
        Ok(data_type.map(|data_type| Arc::new(Field::new("", data_type, true))))
    }
}

//! How fine is a TIMESTAMP in a query? As fine as in a table: microseconds, unless the query says otherwise.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType, Expr, TimezoneInfo, TypedString, VisitMut, VisitorMut,
};

/// Gives every TIMESTAMP in casts and literals the precision of columns. The planner takes one without for nanoseconds, which end in
/// 2262, where columns hold the years 1 to 9999.
pub(crate) fn settle(statement: &mut Statement) {
    match statement {
        Statement::Statement(sql) => {
            let _: ControlFlow<()> = VisitMut::visit(&mut **sql, &mut Settle);
        }
        Statement::Explain(explain) => settle(&mut explain.statement),
        _ => {}
    }
}

struct Settle;

impl VisitorMut for Settle {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. }) => settle_type(data_type),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

const MICROSECONDS: Option<u64> = Some(6);

fn settle_type(data_type: &mut DataType) {
    match data_type {
        DataType::Timestamp(precision @ None, _) => *precision = MICROSECONDS,
        // Names of the same type in CREATE TABLE, which the planner does not know.
        DataType::Datetime(None | MICROSECONDS) | DataType::TimestampNtz(None | MICROSECONDS) => {
            *data_type = DataType::Timestamp(MICROSECONDS, TimezoneInfo::None);
        }
        DataType::Array(
            ArrayElemTypeDef::AngleBracket(item)
            | ArrayElemTypeDef::SquareBracket(item, _)
            | ArrayElemTypeDef::Parenthesis(item),
        ) => settle_type(item),
        DataType::Struct(fields, _) => fields.iter_mut().for_each(|field| settle_type(&mut field.field_type)),
        _ => {}
    }
}

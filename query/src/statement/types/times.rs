//! How fine is a TIMESTAMP in a query? As fine as in a table: microseconds, unless the query says otherwise.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType, Expr, ObjectName, TableFactor, TimezoneInfo, TypedString, VisitorMut,
};

use crate::statement::parse::visit_mut;

/// Gives every TIMESTAMP in casts and literals the precision of columns. The planner takes one without for nanoseconds, which end in
/// 2262, where columns hold the years 1 to 9999.
pub(crate) fn settle(statement: &mut Statement) {
    let _: ControlFlow<()> = visit_mut(statement, &mut Settle { series: 0 });
}

struct Settle {
    /// How many series are around what is visited.
    series: usize,
}

/// The table functions that make series of times; they take nanoseconds only.
fn makes_series(factor: &TableFactor) -> bool {
    let is_series = |name: &ObjectName| {
        let name = name.to_string();
        name.eq_ignore_ascii_case("generate_series") || name.eq_ignore_ascii_case("range")
    };
    match factor {
        TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => is_series(name),
        _ => false,
    }
}

impl VisitorMut for Settle {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.series += usize::from(makes_series(factor));
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.series -= usize::from(makes_series(factor));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            _ if self.series > 0 => {}
            Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. }) => settle_type(data_type),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

const MICROSECONDS: Option<u64> = Some(6);

/// See [`settle`].
pub(crate) fn settle_type(data_type: &mut DataType) {
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

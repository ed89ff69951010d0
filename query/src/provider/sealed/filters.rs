//! Which filters does the reader of files take? Those that cannot fail, over columns whose bounds within the files can be trusted.
//!
//! The reader asks them in an order of its own and makes text of their errors, so that arithmetic, functions and what else may fail stays
//! above it, where it is asked about the rows that are left. And it forgets a filter that it cannot ask once it has seen the file's own
//! types: filters over lists and structs stay above, too.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, DynamicFilterPhysicalExpr, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal,
    NotExpr,
};

/// Whether the reader may take a filter over `schema`; `trusted` says by column of it whether its bounds hold for all values.
pub(super) fn may_take(filter: &Arc<dyn PhysicalExpr>, schema: &Schema, trusted: &dyn Fn(usize) -> bool) -> bool {
    let is_known = if let Some(column) = filter.downcast_ref::<Column>() {
        let field = schema.fields().get(column.index());
        field.is_some_and(|field| !field.data_type().is_nested()) && trusted(column.index())
    } else if let Some(binary) = filter.downcast_ref::<BinaryExpr>() {
        compares(*binary.op())
    } else if let Some(cast) = filter.downcast_ref::<CastExpr>() {
        cast.expr().data_type(schema).is_ok_and(|from| casts(&from, cast.cast_type()))
    } else {
        filter.is::<Literal>()
            || filter.is::<NotExpr>()
            || filter.is::<IsNullExpr>()
            || filter.is::<IsNotNullExpr>()
            || filter.is::<InListExpr>()
            || filter.is::<LikeExpr>()
            // What an operator above puts into it while it runs is made of its children.
            || filter.is::<DynamicFilterPhysicalExpr>()
    };
    is_known && filter.children().into_iter().all(|child| may_take(child, schema, trusted))
}

fn compares(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::And
            | Operator::Or
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

/// Casts that have a value for every value.
fn casts(from: &DataType, to: &DataType) -> bool {
    let is_wider = from.is_integer() && to.is_signed_integer() && to.primitive_width() > from.primitive_width();
    // 20 digits hold every integer. Finer times overflow, coarser ones do not.
    let is_wide_decimal = matches!(to, DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale)
        if i16::from(*precision) - i16::from(*scale) >= 20 && from.is_integer());
    let is_coarser = match (from, to) {
        (DataType::Timestamp(from, _), DataType::Timestamp(to, _)) => to <= from,
        _ => false,
    };
    CastExpr::check_bigger_cast(to, from)
        || is_wider
        || is_wide_decimal
        || (from.is_numeric() && to.is_floating())
        || is_coarser
}

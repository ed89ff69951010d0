//! Of which zone is a time without one that is compared with an instant, or taken from one? Of the session's, as in an INSERT. DataFusion takes it
//! for one of the instant's own type, which is that of UTC for every column.

use std::sync::Arc;
use std::{iter, mem};

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::expr::{Case, InList};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, Operator, cast};

use crate::functions::exact::instants_of;
use crate::functions::wrapped::compared::{is_comparison, is_text};
use crate::functions::zone::text_instants;

/// The session's zone, unless that is UTC.
pub(in crate::functions::wrapped) fn zone_of(config: &ConfigOptions) -> Option<&str> {
    config.execution.time_zone.as_deref().filter(|zone| !matches!(*zone, "UTC" | "+00:00"))
}

/// Reads what `expr` compares with instants, and has no zone, in that one. Whether any was read.
pub(in crate::functions::wrapped) fn as_instants(expr: &mut Expr, schema: &DFSchema, zone: &str) -> bool {
    let values = compared(expr, schema);
    let types: Vec<_> = values.iter().map(|value| value.get_type(schema).unwrap_or(DataType::Null)).collect();
    if !types.iter().any(|of| matches!(of, DataType::Timestamp(_, Some(_)))) {
        return false;
    }
    let zone: Arc<str> = Arc::from(zone);
    let mut is_read = false;
    for (value, of) in values.into_iter().zip(&types) {
        let there = Arc::clone(&zone);
        *value = match of {
            DataType::Timestamp(TimeUnit::Microsecond, None) => instants_of(there, mem::take(value)),
            DataType::Date32 => {
                instants_of(there, cast(mem::take(value), DataType::Timestamp(TimeUnit::Microsecond, None)))
            }
            _ if is_text(value) => text_instants(there, TimeUnit::Microsecond, false, mem::take(value)),
            _ => continue,
        };
        is_read = true;
    }
    is_read
}

/// The values that are compared with each other, or of which one is taken from the other.
fn compared<'a>(expr: &'a mut Expr, schema: &DFSchema) -> Vec<&'a mut Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if is_comparison(*op) || (*op == Operator::Minus && is_time(right, schema)) =>
        {
            vec![&mut **left, &mut **right]
        }
        Expr::Between(Between { expr, low, high, .. }) => vec![&mut **expr, &mut **low, &mut **high],
        Expr::InList(InList { expr, list, .. }) => iter::once(&mut **expr).chain(list).collect(),
        Expr::Case(Case { expr: Some(expr), when_then_expr, .. }) => {
            iter::once(&mut **expr).chain(when_then_expr.iter_mut().map(|(when, _)| &mut **when)).collect()
        }
        _ => Vec::new(),
    }
}

fn is_time(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Timestamp(..) | DataType::Date32))
}

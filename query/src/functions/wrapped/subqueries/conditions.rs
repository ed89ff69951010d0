//! Which rows does IN of a subquery leave in WHERE, HAVING and QUALIFY? Those for which the whole condition is true. IN by itself, and beside AND and OR,
//! may be false where it is NULL, and stays what DataFusion makes a join of; under NOT and anything else it may not.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};

use super::any_of::AnyOf;
use super::{is_asking, rows};
use crate::rules::rewrite_node;

pub(super) fn read(filter: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    rewrite_node(filter, is_asking, |expr, schema| condition(expr, true, schema).map(Transformed::yes))
}

/// A condition of which only the rows matter for which it is true; `is_alone` if these are left by it alone.
fn condition(expr: Expr, is_alone: bool, schema: &DFSchema) -> Result<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let is_alone = is_alone && op == Operator::And;
            let left = condition(*left, is_alone, schema)?;
            let right = condition(*right, is_alone, schema)?;
            Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
        }
        expr => match AnyOf::of(&expr) {
            Some(any) => any.where_true(is_alone, schema),
            None => expr.transform_up(|expr| exact(expr, schema)).data(),
        },
    }
}

/// IN, ANY and ALL with their NULL, and EXISTS of a row that there always is.
pub(super) fn exact(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let exact = match &expr {
        Expr::Exists(exists) => rows::left_by_having(exists)?,
        asking if is_asking(asking) => AnyOf::of(asking).map(|any| any.exact(schema)).transpose()?,
        _ => None,
    };
    Ok(exact.map_or_else(|| Transformed::no(expr), Transformed::yes))
}

//! How large do the constants of a plan become? They are small in it, but where a column is wanted one is written out for every row.
//!
//! That happens outside the functions, so no guard sees it: sixteen constants of 250,000 characters were 32 GB in one batch of rows.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::physical_expr::expressions::{CaseExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};

use super::guarded::Guarded;
use super::{MAX_BATCH_BYTES, estimate, too_large};
use crate::limits::BATCH_ROWS;

/// Refuses a plan with a node that would write too much for one batch of its rows.
pub(crate) fn check_constants(plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    plan.apply(|node| {
        let mut a_row: u64 = 0;
        node.apply_expressions(&mut |expr| {
            a_row = a_row.saturating_add(written(expr, true)?);
            Ok(TreeNodeRecursion::Continue)
        })?;
        // Ordinary constants cost no look at the rows.
        if a_row.saturating_mul(BATCH_ROWS as u64) > MAX_BATCH_BYTES {
            let n_rows = n_rows(node);
            let bytes = a_row.saturating_mul(n_rows);
            if bytes > MAX_BATCH_BYTES {
                return Err(too_large("writing out constants", &format!("{bytes} bytes in {n_rows} rows")));
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// Rows that a node is given at once, at most.
fn n_rows(node: &Arc<dyn ExecutionPlan>) -> u64 {
    let inputs = node.children();
    let [input] = inputs[..] else { return BATCH_ROWS as u64 };
    let known = StatisticsContext::new().compute(&**input, &StatisticsArgs::new());
    let counted = match known.map(|known| known.num_rows) {
        Ok(Precision::Exact(n)) => n,
        _ => BATCH_ROWS,
    };
    counted.min(input.fetch().unwrap_or(BATCH_ROWS)).min(BATCH_ROWS) as u64
}

/// Bytes of constants that an expression writes for each row; its own, if it is one and `becomes_column`.
fn written(expr: &Arc<dyn PhysicalExpr>, becomes_column: bool) -> Result<u64> {
    if let Some(literal) = expr.downcast_ref::<Literal>() {
        return if becomes_column { Ok(estimate::bytes_of(&literal.value().to_array()?)) } else { Ok(0) };
    }
    if let Some(case) = expr.downcast_ref::<CaseExpr>() {
        return written_by_case(case);
    }
    // What a guarded function makes of its arguments is looked at when it runs. Others may return one of them: nvl(x, 'constant').
    let passes_on = expr
        .downcast_ref::<ScalarFunctionExpr>()
        .is_some_and(|call| !call.fun().inner().is::<Guarded>() && !has_fixed_width(call.return_type()));
    sum(expr.children(), passes_on)
}

/// Each row gets one branch, while branches that compute write theirs for the rows that choose them.
fn written_by_case(case: &CaseExpr) -> Result<u64> {
    let mut largest = 0;
    let mut beside = sum(case.expr(), false)?;
    let branches = case.when_then_expr().iter().map(|(_, then)| then).chain(case.else_expr());
    for branch in branches {
        largest = written(branch, true)?.max(largest);
    }
    for (when, _) in case.when_then_expr() {
        beside = beside.saturating_add(written(when, false)?);
    }
    Ok(beside.saturating_add(largest))
}

fn sum<'a>(exprs: impl IntoIterator<Item = &'a Arc<dyn PhysicalExpr>>, become_columns: bool) -> Result<u64> {
    exprs.into_iter().try_fold(0_u64, |sum, expr| Ok(sum.saturating_add(written(expr, become_columns)?)))
}

fn has_fixed_width(data_type: &DataType) -> bool {
    data_type.primitive_width().is_some() || matches!(data_type, DataType::Boolean | DataType::Null)
}

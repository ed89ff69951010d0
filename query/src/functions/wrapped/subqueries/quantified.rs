//! By which name does a quantified comparison know what its subquery gives? By one of its own. Of `x < ANY (SELECT x FROM t)` over the same
//! `t` DataFusion makes a join on `t.x < t.x`, of which both sides are the subquery's, and answers as if nothing, or everything, fitted.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::SetComparison;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery};
use datafusion::optimizer::AnalyzerRule;

const VALUE: &str = "__quantified";

/// Names the column of the subquery of each quantified comparison.
#[derive(Debug)]
pub(crate) struct Quantified;

impl AnalyzerRule for Quantified {
    fn name(&self) -> &str {
        "quantified"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| plan.map_expressions(|expr| expr.transform_up(named))).data()
    }
}

fn named(expr: Expr) -> Result<Transformed<Expr>> {
    let SetComparison { expr, subquery, op, quantifier } = match expr {
        Expr::SetComparison(comparison) => comparison,
        other => return Ok(Transformed::no(other)),
    };
    let schema = subquery.subquery.schema();
    if schema.fields().len() != 1 {
        return Ok(Transformed::no(Expr::SetComparison(SetComparison { expr, subquery, op, quantifier })));
    }
    let value = Expr::Column(Column::from(schema.qualified_field(0))).alias(VALUE);
    let named = LogicalPlanBuilder::from(LogicalPlan::clone(&subquery.subquery)).project([value])?.build()?;
    let subquery = Subquery { subquery: Arc::new(named), ..subquery };
    Ok(Transformed::yes(Expr::SetComparison(SetComparison { expr, subquery, op, quantifier })))
}

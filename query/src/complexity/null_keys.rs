//! Which keys of a join are equal where both are NULL? Those of IS NOT DISTINCT FROM. DataFusion says it of all keys of a join at once: rules that find
//! more keys, or put several joins together, make `=` of it, or it of `=`. They leave such joins as they are.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::{Join, LogicalPlan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// The rule that makes keys of `=` in the filter of a join.
pub(super) const FINDS: &str = "extract_equijoin_predicate";
/// The one that puts inner joins together, and makes others of them, by all their keys.
pub(super) const PUTS_TOGETHER: &str = "eliminate_cross_join";

/// Such a rule.
#[derive(Debug)]
pub(super) struct NullKeys(pub Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for NullKeys {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let is_left = match (self.apply_order(), &plan) {
            // It is called for each node.
            (Some(_), LogicalPlan::Join(join)) => has_null_keys(join),
            (Some(_), _) => false,
            (None, plan) => has_inner_joins(plan)?,
        };
        if is_left { Ok(Transformed::no(plan)) } else { self.0.rewrite(plan, config) }
    }
}

fn has_null_keys(join: &Join) -> bool {
    join.null_equality == NullEquality::NullEqualsNull && !join.on.is_empty()
}

fn has_inner_joins(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::Join(join) if join.join_type == JoinType::Inner && has_null_keys(join));
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

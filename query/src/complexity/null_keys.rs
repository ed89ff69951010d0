//! Which keys of a join are equal where both are NULL? Those of IS NOT DISTINCT FROM. DataFusion says it of all keys of a join at once: rules that find
//! more keys, or put several joins together, make `=` of it, or it of `=`. One that finds keys leaves such joins as they are. One that puts joins together
//! has them as conditions that are no keys, and what it makes counts where more joins have keys then.

use std::mem;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Join, LogicalPlan, Operator, binary_expr};
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
        match (self.apply_order(), &plan) {
            // It is called for each node.
            (Some(_), LogicalPlan::Join(join)) if has_null_keys(join) => Ok(Transformed::no(plan)),
            (None, _) if n_inner_joins(&plan, has_null_keys)? > 0 => self.rewrite_without(plan, config),
            _ => self.0.rewrite(plan, config),
        }
    }
}

impl NullKeys {
    /// What the rule makes of a plan without such keys. The rule that finds keys makes them again.
    fn rewrite_without(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let has_no_keys = |join: &Join| join.on.is_empty();
        let without = plan.clone().transform_up_with_subqueries(|node| Ok(without_null_keys(node)))?.data;
        let n_without = n_inner_joins(&without, has_no_keys)?;
        let rewritten = self.0.rewrite(without, config)?;
        let is_better = n_inner_joins(&rewritten.data, has_no_keys)? < n_without;
        Ok(if is_better { Transformed::yes(rewritten.data) } else { Transformed::no(plan) })
    }
}

fn has_null_keys(join: &Join) -> bool {
    join.null_equality == NullEquality::NullEqualsNull && !join.on.is_empty()
}

/// An inner join with its keys as a condition.
fn without_null_keys(node: LogicalPlan) -> Transformed<LogicalPlan> {
    match node {
        LogicalPlan::Join(mut join) if join.join_type == JoinType::Inner && has_null_keys(&join) => {
            let keys = mem::take(&mut join.on).into_iter();
            let conditions = keys.map(|(left, right)| binary_expr(left, Operator::IsNotDistinctFrom, right));
            join.filter = conjunction(conditions.chain(join.filter.take()));
            join.null_equality = NullEquality::NullEqualsNothing;
            Transformed::yes(LogicalPlan::Join(join))
        }
        node => Transformed::no(node),
    }
}

fn n_inner_joins(plan: &LogicalPlan, is_counted: impl Fn(&Join) -> bool) -> Result<usize> {
    let mut n = 0;
    plan.apply_with_subqueries(|node| {
        let counts = |join: &Join| join.join_type == JoinType::Inner && is_counted(join);
        n += usize::from(matches!(node, LogicalPlan::Join(join) if counts(join)));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(n)
}

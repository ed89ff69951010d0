//! Are rows in the order that is asked for? DataFusion's last check of a plan does not know what is in the order of `abs(n) > 3`, or of a CASE with that
//! in it: it finds no bounds for such keys, and refuses what was sorted by just them (apache/datafusion#18327 and #20194 were some of these). What else
//! it checks holds all the same.

use std::sync::Arc;

use datafusion::common::config::{ConfigOptions, OptimizerOptions};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::physical_expr::LexRequirement;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::sanity_checker::{check_finiteness_requirements, check_plan_sanity};
use datafusion::physical_plan::execution_plan::InvariantLevel;
use datafusion::physical_plan::{ChildSatisfactionOptions, ExecutionPlan, ExecutionPlanProperties};

pub(super) const NAME: &str = "SanityCheckPlan";

/// The same check, which compares orders as they are written before it refuses them.
#[derive(Debug)]
pub(super) struct InOrder;

impl PhysicalOptimizerRule for InOrder {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.apply(|node| match check_plan_sanity(node, &config.optimizer) {
            Err(_) if is_in_order(node) && is_sane_otherwise(node, &config.optimizer)? => {
                Ok(TreeNodeRecursion::Continue)
            }
            checked => checked.map(|()| TreeNodeRecursion::Continue),
        })?;
        Ok(plan)
    }

    fn name(&self) -> &str {
        NAME
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether a node asks for an order, and what is below it says the same one.
fn is_in_order(node: &Arc<dyn ExecutionPlan>) -> bool {
    let wanted: Vec<Option<LexRequirement>> =
        node.required_input_ordering().into_iter().map(|order| order.map(|order| order.into_single())).collect();
    let is_given = |(child, wanted): (&Arc<dyn ExecutionPlan>, &Option<LexRequirement>)| {
        wanted.as_ref().is_none_or(|wanted| gives(child, wanted))
    };
    wanted.iter().any(Option::is_some) && node.children().into_iter().zip(&wanted).all(is_given)
}

/// The rest of the check: that rows end, and come by the partitions that are asked for.
fn is_sane_otherwise(node: &Arc<dyn ExecutionPlan>, options: &OptimizerOptions) -> Result<bool> {
    check_finiteness_requirements(node.as_ref(), options)?;
    let wanted = node.input_distribution_requirements();
    let allowed = ChildSatisfactionOptions::new().with_allow_subset(true);
    for (i, child) in node.children().into_iter().enumerate() {
        if !wanted.child_satisfaction(i, child.as_ref(), allowed)?.is_satisfied() {
            return Ok(false);
        }
    }
    node.check_invariants(InvariantLevel::Executable)?;
    Ok(true)
}

fn gives(child: &Arc<dyn ExecutionPlan>, wanted: &LexRequirement) -> bool {
    let Some(given) = child.output_ordering() else { return false };
    let schema = child.schema();
    let is_same = given.iter().zip(wanted.iter()).all(|(given, wanted)| given.satisfy(wanted, &schema));
    is_same && given.len() >= wanted.len()
}

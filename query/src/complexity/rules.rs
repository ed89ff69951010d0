//! How does a planning end in time? Every rule of DataFusion in a wrapper that looks, before and after it, whether somebody still waits
//! and how large the plan has become.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{Analyzer, AnalyzerRule, ApplyOrder, Optimizer, OptimizerConfig, OptimizerRule};
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_optimizer::{PhysicalOptimizerContext, PhysicalOptimizerRule};
use datafusion::physical_plan::ExecutionPlan;

use super::PlanBounds;
use super::by_position::{self, ByPosition};
use super::null_keys::{self, NullKeys};
use super::orders::{self, InOrder};
use crate::functions::{AsCompared, Frames, Subqueries};

/// DataFusion's own rules, bounded, and three that come before them. Frames are looked at while what they are in the order of is as it is written.
pub(crate) fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let bounded =
        |inner: Arc<dyn AnalyzerRule + Send + Sync>| Arc::new(Bounded(inner)) as Arc<dyn AnalyzerRule + Send + Sync>;
    let first: [Arc<dyn AnalyzerRule + Send + Sync>; 3] =
        [Arc::new(Subqueries), Arc::new(Frames), Arc::new(AsCompared)];
    first.into_iter().chain(Analyzer::new().rules).map(bounded).collect()
}

pub(crate) fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let bounded =
        |inner: Arc<dyn OptimizerRule + Send + Sync>| Arc::new(Bounded(inner)) as Arc<dyn OptimizerRule + Send + Sync>;
    let ours = |rule: Arc<dyn OptimizerRule + Send + Sync>| match rule.name() {
        null_keys::FINDS | null_keys::PUTS_TOGETHER => Arc::new(NullKeys(rule)) as Arc<dyn OptimizerRule + Send + Sync>,
        _ => rule,
    };
    Optimizer::new().rules.into_iter().map(ours).map(bounded).collect()
}

pub(crate) fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let bounded = |inner: Arc<dyn PhysicalOptimizerRule + Send + Sync>| {
        Arc::new(Bounded(inner)) as Arc<dyn PhysicalOptimizerRule + Send + Sync>
    };
    let in_order: Arc<dyn PhysicalOptimizerRule + Send + Sync> = Arc::new(InOrder);
    let ours = |rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>| match rule.name() {
        orders::NAME => Arc::clone(&in_order),
        by_position::PUSHES | by_position::PUSHES_LATE => {
            Arc::new(ByPosition(rule)) as Arc<dyn PhysicalOptimizerRule + Send + Sync>
        }
        _ => rule,
    };
    PhysicalOptimizer::new().rules.into_iter().map(ours).map(bounded).collect()
}

#[derive(Debug)]
struct Bounded<Rule: ?Sized>(Arc<Rule>);

impl AnalyzerRule for Bounded<dyn AnalyzerRule + Send + Sync> {
    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let Some(bounds) = PlanBounds::of(config) else { return self.0.analyze(plan, config) };
        bounds.go_on()?;
        let plan = self.0.analyze(plan, config)?;
        bounds.check_whole(&plan)?;
        Ok(plan)
    }

    fn name(&self) -> &str {
        self.0.name()
    }
}

impl OptimizerRule for Bounded<dyn OptimizerRule + Send + Sync> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    /// Called for each node where the rule has an order, else once for the plan: then the whole is counted, and what was written node
    /// by node before.
    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let options = config.options();
        let Some(bounds) = PlanBounds::of(&options) else { return self.0.rewrite(plan, config) };
        bounds.go_on()?;
        if self.0.apply_order().is_none() {
            bounds.check_whole(&plan)?;
            let rewritten = self.0.rewrite(plan, config)?;
            if rewritten.transformed {
                bounds.check_whole(&rewritten.data)?;
            }
            return Ok(rewritten);
        }
        bounds.check_node(&plan)?;
        let rewritten = self.0.rewrite(plan, config)?;
        if rewritten.transformed {
            bounds.check_rewritten(&rewritten.data)?;
        }
        Ok(rewritten)
    }
}

impl PhysicalOptimizerRule for Bounded<dyn PhysicalOptimizerRule + Send + Sync> {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        PlanBounds::of(config).map_or(Ok(()), PlanBounds::go_on)?;
        self.0.optimize(plan, config)
    }

    fn optimize_with_context(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: &dyn PhysicalOptimizerContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        PlanBounds::of(context.config_options()).map_or(Ok(()), PlanBounds::go_on)?;
        self.0.optimize_with_context(plan, context)
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

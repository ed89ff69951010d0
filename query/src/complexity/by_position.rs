//! Whose column does a filter ask about that goes down a plan? DataFusion finds it by its name: of two that are called alike, in
//! what a join gives, it takes the first, or the last. While filters go down, nodes where that may happen are closed to those that ask about such a name.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{JoinType, internal_err};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::filter_pushdown::{ChildFilterDescription, FilterDescription, FilterPushdownPhase};
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};

/// The rules that filters go down by: those of the query, and those that joins and sorts find while they run.
pub(super) const PUSHES: &str = "FilterPushdown";
pub(super) const PUSHES_LATE: &str = "FilterPushdown(Post)";

/// Such a rule, with nodes closed before it, and open again behind it.
#[derive(Debug)]
pub(super) struct ByPosition(pub Arc<dyn PhysicalOptimizerRule + Send + Sync>);

impl PhysicalOptimizerRule for ByPosition {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let pushed = self.0.optimize(each(&plan, closed)?, config)?;
        each(&pushed, opened)
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

/// The plan with `change` made to each node, which keeps its properties: what it knows of filters that are filled while it runs stays.
fn each(
    plan: &Arc<dyn ExecutionPlan>,
    change: fn(Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut children = Vec::new();
    let mut is_same = true;
    for child in plan.children() {
        let changed = each(child, change)?;
        is_same &= Arc::ptr_eq(child, &changed);
        children.push(changed);
    }
    if is_same {
        return Ok(change(Arc::clone(plan)));
    }
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
    Ok(change(Arc::clone(plan).replace_children(children, options)?))
}

fn closed(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let mut shared = HashSet::new();
    match plan.downcast_ref::<HashJoinExec>() {
        // It knows which of its columns come from which side.
        Some(join) => add_unpaired(join, &mut shared),
        None => add_shared(&plan.schema(), &mut shared),
    }
    // It puts what its columns are computed of in their places.
    if !plan.is::<ProjectionExec>() {
        plan.children().into_iter().for_each(|child| add_shared(&child.schema(), &mut shared));
    }
    // Nothing goes down from a leaf.
    if shared.is_empty() || plan.children().is_empty() { plan } else { Arc::new(Closed { input: plan, shared }) }
}

fn opened(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let input = plan.downcast_ref::<Closed>().map(|closed| Arc::clone(&closed.input));
    input.unwrap_or(plan)
}

/// Adds the names that several columns have.
fn add_shared(schema: &Schema, shared: &mut HashSet<String>) {
    let mut seen = HashSet::with_capacity(schema.fields().len());
    for field in schema.fields() {
        if !seen.insert(field.name()) {
            shared.insert(field.name().clone());
        }
    }
}

/// Adds names of keys that a semi join gives and that a column of its other side has to which the key is not equal: what is asked of a key is asked
/// there, too, of the column that is called like it.
fn add_unpaired(join: &HashJoinExec, shared: &mut HashSet<String>) {
    let sides = (join.left().schema(), join.right().schema());
    let (is_left, own, other) = match join.join_type() {
        JoinType::LeftSemi => (true, sides.0, sides.1),
        JoinType::RightSemi => (false, sides.1, sides.0),
        _ => return,
    };
    let of = |key: &Arc<dyn PhysicalExpr>| key.downcast_ref::<Column>().map(Column::index);
    let mut pairs = HashSet::new();
    for (left, right) in join.on() {
        let (key, its_other) = if is_left { (left, right) } else { (right, left) };
        pairs.extend(of(key).map(|key| (key, of(its_other))));
    }
    for (key, _) in &pairs {
        let name = own.field(*key).name();
        let mut named = other.fields().iter().enumerate().filter(|(_, field)| field.name() == name).map(|(i, _)| i);
        let (first, is_one) = (named.next(), named.next().is_none());
        if first.is_some() && !(is_one && pairs.contains(&(*key, first))) {
            shared.insert(name.clone());
        }
    }
}

/// A node that filters do not go down to if they ask about a column of a name that is shared. It is in no plan that runs.
#[derive(Debug)]
struct Closed {
    input: Arc<dyn ExecutionPlan>,
    shared: HashSet<String>,
}

impl DisplayAs for Closed {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for Closed {
    fn name(&self) -> &str {
        "Closed"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) => Ok(Arc::new(Self { input, shared: self.shared.clone() })),
            None => internal_err!("{} has one input", self.name()),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }

    fn gather_filters_for_pushdown(
        &self,
        _phase: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _config: &ConfigOptions,
    ) -> Result<FilterDescription> {
        let schema = self.schema();
        // A join knows its sides, but what stands before it is asked by name.
        let mut shared = self.shared.clone();
        add_shared(&schema, &mut shared);
        let fields = schema.fields().iter().enumerate();
        let own: HashSet<usize> = fields.filter(|(_, field)| !shared.contains(field.name())).map(|(i, _)| i).collect();
        let down = ChildFilterDescription::from_child_with_allowed_indices(&parent_filters, own, &self.input)?;
        Ok(FilterDescription::new().with_child(down))
    }
}

//! How large may a plan become, and for how long is it worked on? The planner's memory is in no pool and its threads cannot be stopped
//! from outside, so a plan is measured before anything walks it, and between all rules that rewrite it.

mod by_position;
mod null_keys;
mod orders;
mod plan;
mod rules;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use datafusion::common::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::LogicalPlan;
use tidewater_storage::{Code, Error};

pub(crate) use self::plan::check;
pub(crate) use self::rules::{analyzer_rules, optimizer_rules, physical_rules};
use crate::carried::carried;
use crate::error::{copy, to_datafusion};
use crate::limits::{MAX_OPTIMISED_EXPRESSIONS, MAX_PLAN_EXPRESSIONS, MAX_PLAN_NODES, MAX_REWRITTEN_EXPRESSIONS};
use crate::planner::Waiter;

/// What one planning may make. It travels to the rules in the statement's configuration, which is all that they are shown.
#[derive(Debug, Clone)]
pub(crate) struct PlanBounds(Arc<Planning>);

#[derive(Debug)]
struct Planning {
    waiter: Arc<Waiter>,
    /// Expressions that rules wrote since the whole plan was counted.
    rewritten: AtomicUsize,
    refusal: OnceLock<Error>,
}

impl PlanBounds {
    pub(crate) fn new(waiter: Arc<Waiter>) -> Self {
        Self(Arc::new(Planning { waiter, rewritten: AtomicUsize::new(0), refusal: OnceLock::new() }))
    }

    fn of(config: &ConfigOptions) -> Option<&Self> {
        config.extensions.get::<Self>()
    }

    /// The first refusal. EXPLAIN takes an error of a rule for a part of its answer; it still is one.
    pub(crate) fn verdict(&self) -> tidewater_storage::Result<()> {
        self.0.refusal.get().map_or(Ok(()), |error| Err(copy(error)))
    }

    fn refuse(&self, error: Error) -> DataFusionError {
        // The first one stays.
        let _ = self.0.refusal.set(copy(&error));
        to_datafusion(error)
    }

    /// An error when nobody waits for the plan any more.
    fn go_on(&self) -> Result<()> {
        match self.0.waiter.has_gone() {
            true => Err(self.refuse(Error::new(Code::PlanningDeadline, "nobody waits for this planning any more"))),
            false => Ok(()),
        }
    }

    /// One node by itself, before a rule sees it.
    fn check_node(&self, node: &LogicalPlan) -> Result<()> {
        match plan::expressions_of(node, MAX_OPTIMISED_EXPRESSIONS)? > MAX_OPTIMISED_EXPRESSIONS {
            true => Err(self.refuse(too_large())),
            false => Ok(()),
        }
    }

    /// A node that a rule has written, and what it put directly below.
    fn check_rewritten(&self, node: &LogicalPlan) -> Result<()> {
        let mut written = plan::expressions_of(node, MAX_OPTIMISED_EXPRESSIONS)?;
        for input in node.inputs() {
            written = written.saturating_add(plan::expressions_of(input, MAX_OPTIMISED_EXPRESSIONS)?);
        }
        let before = self.0.rewritten.fetch_add(written, Ordering::Relaxed);
        match before.saturating_add(written) > MAX_REWRITTEN_EXPRESSIONS {
            true => Err(self.refuse(too_large())),
            false => Ok(()),
        }
    }

    /// The whole plan, between rules.
    fn check_whole(&self, plan: &LogicalPlan) -> Result<()> {
        self.0.rewritten.store(0, Ordering::Relaxed);
        match plan::is_within(plan, 2 * MAX_PLAN_NODES, MAX_OPTIMISED_EXPRESSIONS)? {
            true => Ok(()),
            false => Err(self.refuse(too_large())),
        }
    }
}

carried!(PlanBounds, "tidewater_planning");

fn too_large() -> Error {
    Error::new(
        Code::StatementTooComplex,
        format!(
            "the plan of the statement has more than {MAX_PLAN_NODES} nodes or {MAX_PLAN_EXPRESSIONS} expressions, \
             with everything written out that it names"
        ),
    )
    .hint("name a WITH, a view or a computed column less often, or store what they give in a table")
}

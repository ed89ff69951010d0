//! What does DataFusion not answer of a subquery beside a value, or answers wrong? It makes joins of them, which forget NULL in IN, do not come about
//! in a SELECT list, and mistake columns of one name. So they are written as what joins answer rightly, and refused where nothing is.

mod any_of;
mod conditions;
mod copies;
mod having;
mod joins;
mod one_row;
mod optional;
mod pull_up;
mod rows;
mod selected;
mod shapes;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

pub(crate) use self::pull_up::PullUp;

/// Writes what asks about the rows of subqueries as EXISTS and numbers of rows. It runs in front of all that looks at types.
#[derive(Debug)]
pub(crate) struct Subqueries;

impl AnalyzerRule for Subqueries {
    fn name(&self) -> &str {
        "subqueries"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = having::read(one_row::read(plan)?)?;
        shapes::check(&plan)?;
        let plan = optional::read(plan)?;
        let number = copies::number(&plan, usize::MAX)?;
        let read = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Projection(_) => selected::read(node),
            LogicalPlan::Filter(_) => conditions::read(node),
            LogicalPlan::Join(join) => joins::read(join),
            other => Ok(Transformed::no(other)),
        });
        let plan = read.data()?;
        copies::check(number, &plan)?;
        Ok(plan)
    }
}

/// EXISTS, IN, ANY and ALL. `x IN ((SELECT …))` comes as a list of one subquery.
fn is_asking(expr: &Expr) -> bool {
    match expr {
        Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => true,
        Expr::InList(InList { list, .. }) => matches!(list.as_slice(), [Expr::ScalarSubquery(_)]),
        _ => false,
    }
}

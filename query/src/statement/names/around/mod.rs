//! May a name in a subquery be a column of the query around it? Not where several tables of the subquery have such a column: it is
//! ambiguous. The planner takes it for the one around it all the same, which is another column.

mod plan;
mod written;

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Visit;
use tidewater_storage::{Code, Error, Result};

use self::plan::Level;
use self::written::Scopes;
use crate::error::{OrError, to_datafusion};
use crate::statement::parse::sql_of;

/// The places of a statement where names are columns of the same tables, with the names that stand there alone. In the plan of the
/// statement columns have their tables, whoever wrote them.
pub(crate) struct Alone(Vec<Scope>);

/// One place: a SELECT, or an ON, for which there are the tables of its join alone.
struct Scope {
    /// What is around it and seen from it, among all scopes.
    around: Option<usize>,
    tables: Tables,
    alone: HashSet<String>,
}

/// What tables in FROM are called, and what each of them is, where its name says so. Where this is the same the columns are.
type Tables = BTreeSet<Arc<(String, String)>>;

/// Stands for a query in FROM without a name, beside the tables of its own, which are seen as if they were in FROM.
fn unnamed() -> Arc<(String, String)> {
    Arc::default()
}

impl Alone {
    /// Of a statement whose merged columns are written out.
    pub fn of(statement: &Statement) -> Self {
        let mut scopes = Scopes::default();
        if let Some(sql) = sql_of(statement) {
            let _: ControlFlow<()> = sql.visit(&mut scopes);
        }
        Self(scopes.all)
    }

    /// `INVALID_STATEMENT` for a name that several tables of its subquery have, and that is a column of the query around in the plan.
    pub fn check(&self, plan: &LogicalPlan) -> Result<()> {
        self.check_within(plan, &mut Vec::new(), &[]).or_error()
    }

    /// `levels` is what a column of `plan` may be of, the innermost last.
    fn check_column(&self, name: &str, levels: &[Level]) -> datafusion::error::Result<()> {
        let Some(nearest) = levels.iter().rposition(|level| level.has(name)) else { return Ok(()) };
        // Where one table alone has it the name alone would be that: this column was written with its table.
        if !levels[nearest].is_ambiguous(name) || !self.is_alone(name, &levels[nearest..]) {
            return Ok(());
        }
        let what = "is in more than one table of a subquery, and in the query around it";
        let error = Error::new(Code::InvalidStatement, format!("column '{name}' {what}"));
        Err(to_datafusion(error.hint("put the table's name or alias before it")))
    }

    /// Whether the name stands alone in a place from where these tables are seen. In two such places it is of the same table, if of one.
    fn is_alone(&self, name: &str, levels: &[Level]) -> bool {
        self.0.iter().filter(|scope| scope.alone.contains(name)).any(|scope| {
            let mut at = Some(scope);
            levels.iter().rev().all(|level| {
                let is_level = at.is_some_and(|scope| scope.tables == level.tables);
                at = at.and_then(|scope| scope.around).map(|around| &self.0[around]);
                is_level
            })
        })
    }
}

//! What in a query would be ignored without a word? DataFusion drops several clauses silently, or reads them otherwise; each is refused here.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Query, Select, SetExpr, SetOperator, SetQuantifier, TableFactor, Visit, Visitor, visit_expressions,
};
use tidewater_storage::{Code, Error, Result};

use crate::error::OrError;

/// Errors for a clause that the planner would ignore, and for anything but reading inside a query.
pub(super) fn check(query: &Query) -> Result<()> {
    query.visit(&mut Audit).or_error()
}

struct Audit;

type Verdict = ControlFlow<Box<Error>>;

fn refuse(what: &str, hint: &str) -> Verdict {
    let error = Error::new(Code::UnsupportedStatement, format!("{what} is not supported")).hint(hint);
    ControlFlow::Break(Box::new(error))
}

fn refuse_if(present: bool, what: &str, hint: &str) -> Verdict {
    if present { refuse(what, hint) } else { ControlFlow::Continue(()) }
}

const LEAVE_OUT: &str = "leave it out";

fn check_body(body: &SetExpr) -> Verdict {
    match body {
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            refuse("changing data inside a query", "run the change as a statement of its own")
        }
        SetExpr::SetOperation { op, set_quantifier, left, right } => {
            // The planner counts no rows: of one in both it gives, or leaves out, all that are like it.
            let counts_rows = *op != SetOperator::Union && *set_quantifier == SetQuantifier::All;
            let hint = "number equal rows with row_number() on both sides, and leave out ALL";
            refuse_if(counts_rows, &format!("{op} ALL"), hint)?;
            check_body(left)?;
            check_body(right)
        }
        // The planner takes some of them, and never runs them.
        SetExpr::Values(values) => refuse_if(
            values.rows.iter().any(has_subquery),
            "a subquery in VALUES",
            "write a SELECT in its place: INSERT INTO t SELECT (SELECT …), 'a'",
        ),
        _ => ControlFlow::Continue(()),
    }
}

fn has_subquery(row: &impl Visit) -> bool {
    let is_subquery = |expr: &Expr| matches!(expr, Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. });
    visit_expressions(row, |expr| if is_subquery(expr) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        .is_break()
}

impl Visitor for Audit {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &Query) -> Verdict {
        refuse_if(
            !query.locks.is_empty(),
            "FOR UPDATE or FOR SHARE",
            "reads need no locks here: a query sees one snapshot",
        )?;
        refuse_if(query.for_clause.is_some(), "FOR XML or FOR JSON", LEAVE_OUT)?;
        refuse_if(query.settings.is_some(), "SETTINGS in a query", "use SET before it")?;
        refuse_if(query.format_clause.is_some(), "FORMAT in a query", "the interface decides the format")?;
        refuse_if(!query.pipe_operators.is_empty(), "pipe syntax", "write a SELECT")?;
        check_body(&query.body)
    }

    fn pre_visit_select(&mut self, select: &Select) -> Verdict {
        refuse_if(select.into.is_some(), "SELECT … INTO", "use CREATE TABLE and INSERT INTO … SELECT")?;
        refuse_if(select.prewhere.is_some(), "PREWHERE", "use WHERE")?;
        refuse_if(!select.connect_by.is_empty(), "CONNECT BY", "use WITH RECURSIVE")?;
        refuse_if(!select.distribute_by.is_empty(), "DISTRIBUTE BY", LEAVE_OUT)?;
        refuse_if(!select.cluster_by.is_empty(), "CLUSTER BY", LEAVE_OUT)?;
        refuse_if(!select.sort_by.is_empty(), "SORT BY", "use ORDER BY")?;
        refuse_if(select.value_table_mode.is_some(), "SELECT AS STRUCT and AS VALUE", LEAVE_OUT)?;
        refuse_if(select.select_modifiers.is_some(), "a modifier between SELECT and its columns", LEAVE_OUT)
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Verdict {
        let sample = "use WHERE with a condition on the key, such as id % 10 = 0";
        match factor {
            TableFactor::Table {
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample: sampled,
                index_hints,
                ..
            } => {
                refuse_if(sampled.is_some(), "TABLESAMPLE", sample)?;
                refuse_if(version.is_some(), "reading a table as of another time", "filter by _commit_seq instead")?;
                refuse_if(!with_hints.is_empty() || !index_hints.is_empty(), "a table hint", LEAVE_OUT)?;
                refuse_if(!partitions.is_empty(), "PARTITION (…) after a table", "use WHERE")?;
                refuse_if(json_path.is_some(), "a JSON path after a table", LEAVE_OUT)?;
                refuse_if(*with_ordinality, "WITH ORDINALITY", "use row_number() OVER ()")
            }
            TableFactor::Derived { sample: sampled, .. } => refuse_if(sampled.is_some(), "TABLESAMPLE", sample),
            TableFactor::Function { with_ordinality, .. } => {
                refuse_if(*with_ordinality, "WITH ORDINALITY", "use row_number() OVER ()")
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

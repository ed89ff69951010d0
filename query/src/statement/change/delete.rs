//! Which rows does a DELETE name? Its WHERE becomes that of a query for the addresses of rows, so that what a condition means is decided in
//! one place.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as PlannerStatement;
use datafusion::sql::sqlparser::ast::{
    Delete as SqlDelete, Expr, FromTable, Ident, ObjectName, Query, SetExpr, Statement as Sql, TableFactor,
    TableWithJoins, Visit, Visitor,
};
use tidewater_storage::{Code, Error, Result};

use crate::statement::audit;
use crate::statement::names::TableName;
use crate::statement::parse::reparse;

/// The catalog under which a DELETE finds its own table, with the addresses of its rows. Subqueries find it where it always is, with all
/// its rows.
pub(crate) const LOCATOR: &str = "locator";

/// The address of a row as `HybridTable::locating` shows it: its file's place in the snapshot (INTEGER), and its number in that file
/// (BIGINT).
pub(crate) const ADDRESS_COLUMNS: [&str; 2] = ["(file)", "(row)"];

/// DELETE FROM table [AS alias] [WHERE …].
#[derive(Debug)]
pub(crate) struct Delete {
    pub(crate) table: TableName,
    /// `SELECT "(file)", "(row)" FROM "locator"."schema"."table" [AS alias] [WHERE …]`.
    pub(crate) addresses: Box<Query>,
}

pub(in crate::statement) fn delete(delete: SqlDelete, schema: &str) -> Result<Delete> {
    refuse_clauses(&delete)?;
    let FromTable::WithFromKeyword(mut from) = delete.from else {
        return Err(unsupported("DELETE without FROM", "write DELETE FROM table WHERE …"));
    };
    let (Some(mut target), true) = (from.pop(), from.is_empty()) else {
        return Err(unsupported("DELETE from several tables", "delete from one at a time"));
    };
    if !target.joins.is_empty() {
        return Err(unsupported("a join in DELETE", "use WHERE … IN (SELECT …) or WHERE EXISTS (SELECT …)"));
    }
    let TableFactor::Table { name, alias, args: None, .. } = &mut target.relation else {
        return Err(unsupported("DELETE from anything but a table", "name the table"));
    };
    if alias.as_ref().is_some_and(|alias| !alias.columns.is_empty() || alias.at.is_some()) {
        return Err(unsupported("an alias with columns in DELETE", "write DELETE FROM table AS alias"));
    }
    let table = TableName::resolve(name, schema)?;
    if let Some(condition) = &delete.selection {
        check_names(condition)?;
    }
    let locator = [LOCATOR, table.schema.as_str(), table.name.as_str()].map(|part| Ident::with_quote('"', part));
    *name = ObjectName::from(locator.to_vec());
    let addresses = addresses(target, delete.selection)?;
    // Whatever else stands at the table, TABLESAMPLE for one, is refused as in any query.
    audit::check(&addresses)?;
    Ok(Delete { table, addresses })
}

fn unsupported(what: &str, hint: &str) -> Error {
    Error::new(Code::UnsupportedStatement, format!("{what} is not supported")).hint(hint)
}

fn refuse_clauses(delete: &SqlDelete) -> Result<()> {
    let refuse = |present: bool, what: &str, hint: &str| if present { Err(unsupported(what, hint)) } else { Ok(()) };
    refuse(!delete.tables.is_empty(), "DELETE from several tables", "delete from one at a time")?;
    refuse(delete.using.is_some(), "USING in DELETE", "use WHERE … IN (SELECT …) or WHERE EXISTS (SELECT …)")?;
    refuse(
        delete.returning.is_some() || delete.output.is_some(),
        "RETURNING in DELETE",
        "SELECT the rows before they are deleted",
    )?;
    refuse(
        delete.limit.is_some() || !delete.order_by.is_empty(),
        "LIMIT or ORDER BY in DELETE",
        "name the rows in WHERE, such as by their key",
    )?;
    refuse(!delete.optimizer_hints.is_empty(), "a hint in DELETE", "leave it out")
}

/// The query for the addresses of the rows that `condition` is true for; without one, of all rows.
fn addresses(from: TableWithJoins, condition: Option<Expr>) -> Result<Box<Query>> {
    let [file, row] = ADDRESS_COLUMNS;
    let template = reparse(&format!(r#"SELECT "{file}", "{row}" FROM t"#))?.statement;
    if let PlannerStatement::Statement(sql) = template
        && let Sql::Query(mut query) = *sql
        && let SetExpr::Select(select) = &mut *query.body
    {
        select.from = vec![from];
        select.selection = condition;
        return Ok(query);
    }
    Err(Error::internal("the query for addresses is no SELECT"))
}

/// Errors for a table of a catalog that is not ours: [`LOCATOR`] is there for the statement's own table only.
fn check_names(condition: &Expr) -> Result<()> {
    match condition.visit(&mut Names) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Names;

impl Visitor for Names {
    type Break = Box<Error>;

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Box<Error>> {
        // Only the parts before schema and table matter here.
        match TableName::resolve(relation, "public") {
            Ok(_) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

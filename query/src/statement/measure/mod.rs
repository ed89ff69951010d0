//! How large and how deep is a parsed statement? Counted before planning, because planning is more than linear in both.

mod expansion;

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType, Expr, ObjectName, Query, SetExpr, Statement as SqlStatement, TableFactor, TypedString,
    Visit, Visitor,
};
use tidewater_storage::{Code, Error, Result};

pub(super) use self::expansion::expressions_of;
pub(crate) use self::expansion::{Named, check as check_expansion, check_query as check_view_expansion};
use super::parse::sql_of;
use crate::error::too_deep;
use crate::limits::{MAX_FIXED_BYTES, MAX_STATEMENT_DEPTH, MAX_STATEMENT_NODES};

/// Errors when the statement is past a limit.
pub(super) fn check(statement: &Statement) -> Result<()> {
    let Some(sql) = sql_of(statement) else { return Ok(()) };
    let mut counter = Counter::default();
    match sql.visit(&mut counter) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(Past::Depth) => Err(too_deep()),
        ControlFlow::Break(Past::Width) => Err(Error::new(
            Code::ExpansionTooLarge,
            format!("a type has more than {MAX_FIXED_ITEMS} items in every value"),
        )
        .hint("cast to a list without a length: BIGINT[]")),
        ControlFlow::Break(Past::Nodes) => Err(Error::new(
            Code::StatementTooComplex,
            format!("the statement has more than {MAX_STATEMENT_NODES} expressions"),
        )
        .hint("use IN lists, parameters or a table of values instead of long chains")),
    }
}

/// `1`, `'a'`, `-1`, `DATE '2026-01-01'`.
fn is_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) | Expr::TypedString(_) => true,
        Expr::UnaryOp { expr, .. } => matches!(**expr, Expr::Value(_)),
        _ => false,
    }
}

/// Items of a type such as `BIGINT[3]`, of 8 bytes: every value has all of them, also NULL.
const MAX_FIXED_ITEMS: u64 = MAX_FIXED_BYTES / 8;

/// How many items every value of a type has.
fn fixed_items(data_type: &DataType) -> u64 {
    match data_type {
        DataType::Array(ArrayElemTypeDef::SquareBracket(item, Some(n))) => n.saturating_mul(fixed_items(item).max(1)),
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(item, None)
            | ArrayElemTypeDef::AngleBracket(item)
            | ArrayElemTypeDef::Parenthesis(item),
        ) => fixed_items(item),
        DataType::Struct(fields, _) => {
            fields.iter().map(|field| fixed_items(&field.field_type)).fold(0, u64::saturating_add)
        }
        _ => 0,
    }
}

/// What of a statement is written out in the place of its name: a column that a number counts, a window, a column that USING merges. It is
/// counted, since what is long may be named often.
pub(super) struct Copies {
    left: u64,
}

impl Copies {
    pub(super) fn new() -> Self {
        Self { left: MAX_STATEMENT_NODES as u64 }
    }

    /// `STATEMENT_TOO_COMPLEX` for more expressions than a statement may have, in all copies together.
    pub(super) fn count(&mut self, copied: &impl Visit) -> Result<()> {
        if let Some(left) = self.left.checked_sub(expressions_of(copied)) {
            self.left = left;
            return Ok(());
        }
        let problem = "when windows and merged columns are written in the place of their names, and columns of numbers in grouping sets";
        Err(Error::new(
            Code::StatementTooComplex,
            format!("the statement has more than {MAX_STATEMENT_NODES} expressions {problem}"),
        )
        .hint("compute what is long in a query in FROM, and use its columns"))
    }
}

enum Past {
    Nodes,
    Depth,
    Width,
}

#[derive(Default)]
struct Counter {
    nodes: usize,
    depth: usize,
    /// Literals that lie flat in a list; they are not counted as nodes.
    free: usize,
    /// Left operands of a chain: they stand on the level of the operator over them. Addresses within the tree that is being
    /// visited, which does not move meanwhile.
    chained: HashSet<*const Expr>,
}

impl Counter {
    fn node(&mut self) -> ControlFlow<Past> {
        self.nodes += 1;
        if self.nodes > MAX_STATEMENT_NODES { ControlFlow::Break(Past::Nodes) } else { ControlFlow::Continue(()) }
    }

    fn down(&mut self) -> ControlFlow<Past> {
        self.depth += 1;
        if self.depth > MAX_STATEMENT_DEPTH { ControlFlow::Break(Past::Depth) } else { ControlFlow::Continue(()) }
    }

    /// Nodes of the literals in a list.
    fn literals(list: &[Expr]) -> usize {
        list.iter()
            .map(|e| {
                if !is_literal(e) {
                    0
                } else if matches!(e, Expr::UnaryOp { .. }) {
                    2
                } else {
                    1
                }
            })
            .sum()
    }
}

impl Visitor for Counter {
    type Break = Past;

    fn pre_visit_statement(&mut self, _statement: &SqlStatement) -> ControlFlow<Past> {
        self.node()
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Past> {
        if let SetExpr::Values(values) = &*query.body {
            self.free += values.rows.iter().map(|row| Self::literals(row)).sum::<usize>();
        }
        self.node()?;
        self.down()
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<Past> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, _relation: &ObjectName) -> ControlFlow<Past> {
        self.node()
    }

    fn pre_visit_table_factor(&mut self, _factor: &TableFactor) -> ControlFlow<Past> {
        self.node()
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Past> {
        match expr {
            Expr::InList { list, .. } => self.free += Self::literals(list),
            Expr::BinaryOp { left, .. } if matches!(**left, Expr::BinaryOp { .. }) => {
                self.chained.insert(&raw const **left);
            }
            Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. })
                if fixed_items(data_type) > MAX_FIXED_ITEMS =>
            {
                return ControlFlow::Break(Past::Width);
            }
            _ => {}
        }
        if self.free > 0 && is_literal(expr) {
            self.free -= 1;
        } else {
            self.node()?;
        }
        if self.chained.contains(&(expr as *const Expr)) { ControlFlow::Continue(()) } else { self.down() }
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Past> {
        if !self.chained.contains(&(expr as *const Expr)) {
            self.depth -= 1;
        }
        ControlFlow::Continue(())
    }
}

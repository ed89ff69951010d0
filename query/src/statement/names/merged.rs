//! What is `p` behind `a FULL JOIN b USING (p)`? Of either table that has a row. The planner takes it for the column of the first, which is NULL where
//! that table has no row, and behind any USING it finds two of that name in WHERE.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, OrderByKind, Query, ReplaceSelectElement,
    ReplaceSelectItem, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor, TableWithJoins,
    VisitMut, VisitorMut, WildcardAdditionalOptions, visit_expressions,
};
use tidewater_storage::{Code, Error, Result};

use super::fold;
use crate::error::{OrError, or_break};
use crate::statement::measure::Copies;
use crate::statement::parse::sql_of_mut;
use crate::statement::types::call;

/// Writes what they stand for in the place of columns that USING merges: in WHERE, and everywhere in a SELECT where that may be a column of another
/// table than the first, or more than two tables have it. `UNSUPPORTED_STATEMENT` where nobody knows what they stand for.
pub(in crate::statement) fn settle_merged(statement: &mut Statement) -> Result<()> {
    let mut settling = Settling { copies: Copies::new() };
    sql_of_mut(statement).map_or(Ok(()), |sql| sql.visit(&mut settling).or_error())
}

struct Settling {
    copies: Copies,
}

impl VisitorMut for Settling {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Box<Error>> {
        or_break(self.settle_order(query))
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Box<Error>> {
        or_break(self.settle(select))
    }
}

impl Settling {
    fn settle(&mut self, select: &mut Select) -> Result<()> {
        let mut columns = Columns::of_from(&select.from)?;
        if columns.0.is_empty() {
            return Ok(());
        }
        columns.write(&mut select.selection, &mut self.copies)?;
        columns.0.retain(|column| column.is_written);
        if columns.0.is_empty() {
            return Ok(());
        }
        for item in &mut select.projection {
            columns.settle_item(item, &select.from, &mut self.copies)?;
        }
        if let Some(Distinct::On(keys)) = &mut select.distinct {
            columns.write(keys, &mut self.copies)?;
        }
        columns.write(&mut select.group_by, &mut self.copies)?;
        columns.write(&mut select.having, &mut self.copies)?;
        columns.write(&mut select.qualify, &mut self.copies)
    }

    /// A name in ORDER BY is one of the answer first, if it stands there alone.
    fn settle_order(&mut self, query: &mut Query) -> Result<()> {
        let (SetExpr::Select(select), Some(order_by)) = (&*query.body, &mut query.order_by) else { return Ok(()) };
        let OrderByKind::Expressions(keys) = &mut order_by.kind else { return Ok(()) };
        let mut columns = Columns::of_from(&select.from)?;
        columns.0.retain(|column| column.is_written);
        let is_answer = |name: &Ident| {
            let named = columns.find(name);
            named.is_some_and(|column| select.projection.iter().any(|item| column.is_answer(item)))
        };
        for key in keys {
            if !alone(&key.expr).is_some_and(is_answer) {
                columns.write(&mut key.expr, &mut self.copies)?;
            }
        }
        Ok(())
    }
}

fn alone(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Identifier(name) => Some(name),
        Expr::Nested(inner) => alone(inner),
        _ => None,
    }
}

/// A column that USING merges.
#[derive(Clone)]
struct Column {
    name: Ident,
    /// With the names of the tables.
    stands_for: Expr,
    /// It is not that of the first table alone, for which the planner takes it.
    is_of_others: bool,
    /// The planner does not find it by its name, or finds another one.
    is_written: bool,
}

impl Column {
    fn is(&self, name: &Ident) -> bool {
        fold(&self.name) == fold(name)
    }

    /// Whether it is of a table that is called so.
    fn is_of(&self, table: &ObjectName) -> bool {
        let is_table = |parts: &[Ident]| {
            let (name, wanted) = (parts.iter().rev().skip(1), table.0.iter().rev().filter_map(|part| part.as_ident()));
            name.map(fold).zip(wanted.map(fold)).all(|(one, other)| one == other)
        };
        let is_column = |expr: &Expr| matches!(expr, Expr::CompoundIdentifier(parts) if is_table(parts));
        visit_expressions(&self.stands_for, |expr| match is_column(expr) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
        .is_break()
    }

    /// Whether the answer has it, or another column of its name.
    fn is_answer(&self, item: &SelectItem) -> bool {
        match item {
            SelectItem::Wildcard(_) => true,
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(table), _) => self.is_of(table),
            SelectItem::UnnamedExpr(Expr::Identifier(name)) | SelectItem::ExprWithAlias { alias: name, .. } => {
                self.is(name)
            }
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().is_some_and(|last| self.is(last)),
            _ => false,
        }
    }
}

#[derive(Default)]
struct Columns(Vec<Column>);

impl Columns {
    fn of_from(from: &[TableWithJoins]) -> Result<Self> {
        let mut columns = Self::default();
        for tables in from {
            columns = columns.beside(Tables::of(tables)?.merged);
        }
        Ok(columns)
    }

    fn find(&self, name: &Ident) -> Option<&Column> {
        self.0.iter().find(|column| column.is(name))
    }

    /// Those of both. One of either is what nobody can ask for by its name alone.
    fn beside(mut self, others: Self) -> Self {
        let twice: Vec<Ident> = self
            .0
            .iter()
            .filter(|column| others.find(&column.name).is_some())
            .map(|column| column.name.clone())
            .collect();
        self.0.extend(others.0);
        self.0.retain(|column| !twice.iter().any(|name| column.is(name)));
        self
    }

    fn write(&self, part: &mut impl VisitMut, copies: &mut Copies) -> Result<()> {
        part.visit(&mut Writing { columns: self, copies, depth: 0 }).or_error()
    }

    fn settle_item(&self, item: &mut SelectItem, from: &[TableWithJoins], copies: &mut Copies) -> Result<()> {
        match item {
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => {
                if let Some(column) = self.find(name) {
                    copies.count(&column.stands_for)?;
                    *item = SelectItem::ExprWithAlias { expr: column.stands_for.clone(), alias: name.clone() };
                }
                Ok(())
            }
            SelectItem::Wildcard(options) => self.settle_wildcard(options, from),
            other => self.write(other, copies),
        }
    }

    /// `*` with each column that it has once for both tables.
    fn settle_wildcard(&self, options: &mut WildcardAdditionalOptions, from: &[TableWithJoins]) -> Result<()> {
        let is_factor = |factor: &TableFactor| !matches!(factor, TableFactor::NestedJoin { .. });
        let are_two = matches!(from, [TableWithJoins { relation, joins }]
            if is_factor(relation) && matches!(joins.as_slice(), [join] if is_factor(&join.relation)));
        let of_others: Vec<&Column> = self.0.iter().filter(|column| column.is_of_others).collect();
        if of_others.is_empty() {
            return Ok(());
        }
        let WildcardAdditionalOptions { opt_ilike, opt_exclude, opt_except, opt_replace, opt_rename, .. } = &*options;
        let is_plain = opt_ilike.is_none()
            && opt_exclude.is_none()
            && opt_except.is_none()
            && opt_replace.is_none()
            && opt_rename.is_none();
        if !(are_two && is_plain) {
            return Err(refused(
                "* over a RIGHT or FULL JOIN … USING beside other tables, or with EXCLUDE and the like",
            ));
        }
        let replaced = of_others.into_iter().map(|column| {
            Box::new(ReplaceSelectElement {
                expr: column.stands_for.clone(),
                column_name: column.name.clone(),
                as_keyword: true,
            })
        });
        options.opt_replace = Some(ReplaceSelectItem { items: replaced.collect() });
        Ok(())
    }
}

/// What is known of tables that are joined.
#[derive(Default)]
struct Tables {
    /// The name of the only one.
    only: Option<Vec<Ident>>,
    merged: Columns,
}

enum Kind {
    Inner,
    Left,
    Right,
    Full,
}

impl Tables {
    fn of(tables: &TableWithJoins) -> Result<Self> {
        let first = Self::of_factor(&tables.relation)?;
        tables.joins.iter().try_fold(first, Self::joined)
    }

    fn of_factor(factor: &TableFactor) -> Result<Self> {
        let only = match factor {
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let tables = Self::of(table_with_joins)?;
                match alias {
                    None => return Ok(tables),
                    Some(_) if tables.has_of_others() => {
                        return Err(refused("another name for a RIGHT or FULL JOIN … USING"));
                    }
                    Some(alias) => Some(vec![alias.name.clone()]),
                }
            }
            TableFactor::Table { name, alias: None, .. } => {
                name.0.iter().map(|part| part.as_ident().cloned()).collect::<Option<Vec<Ident>>>()
            }
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), .. }
            | TableFactor::Function { alias: Some(alias), .. }
            | TableFactor::UNNEST { alias: Some(alias), .. } => Some(vec![alias.name.clone()]),
            _ => None,
        };
        Ok(Self { only, merged: Columns::default() })
    }

    fn has_of_others(&self) -> bool {
        self.merged.0.iter().any(|column| column.is_of_others)
    }

    fn joined(self, join: &Join) -> Result<Self> {
        let right = Self::of_factor(&join.relation)?;
        let (kind, constraint) = match &join.join_operator {
            JoinOperator::Join(on) | JoinOperator::Inner(on) | JoinOperator::CrossJoin(on) => (Kind::Inner, on),
            JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => (Kind::Left, on),
            JoinOperator::Right(on) | JoinOperator::RightOuter(on) => (Kind::Right, on),
            JoinOperator::FullOuter(on) => (Kind::Full, on),
            JoinOperator::Semi(_) | JoinOperator::LeftSemi(_) | JoinOperator::Anti(_) | JoinOperator::LeftAnti(_) => {
                return Ok(self);
            }
            JoinOperator::RightSemi(_) | JoinOperator::RightAnti(_) => return Ok(right),
            _ => return Ok(Self { only: None, merged: self.merged.beside(right.merged) }),
        };
        let names = match constraint {
            JoinConstraint::Using(names) => names.as_slice(),
            JoinConstraint::Natural if matches!(kind, Kind::Right | Kind::Full) => {
                return Err(refused("NATURAL RIGHT or FULL JOIN"));
            }
            JoinConstraint::Natural if self.has_of_others() || right.has_of_others() => {
                return Err(refused("NATURAL JOIN of what a RIGHT or FULL JOIN … USING gives"));
            }
            _ => &[],
        };
        let merged = names.iter().map(|name| self.merge(&right, &kind, name)).collect::<Result<Vec<_>>>()?;
        let mut others = self.merged.beside(right.merged);
        let is_used = |column: &Column| names.iter().filter_map(last).any(|name| column.is(name));
        others.0.retain(|column| !is_used(column));
        others.0.extend(merged.into_iter().flatten());
        Ok(Self { only: None, merged: others })
    }

    /// What a name in USING stands for; `None` if nobody knows, and the planner takes it for what it is.
    fn merge(&self, right: &Self, kind: &Kind, name: &ObjectName) -> Result<Option<Column>> {
        let Some(name) = last(name) else { return Ok(None) };
        let is_of_others = |tables: &Self| tables.merged.find(name).is_some_and(|column| column.is_of_others);
        if is_of_others(self) || is_of_others(right) {
            return Err(refused("USING over a column that a RIGHT or FULL JOIN … USING merges"));
        }
        let (of_left, of_right) = (self.column(name), right.column(name));
        let stands_for = match kind {
            Kind::Inner => of_left.or(of_right),
            Kind::Left => of_left,
            Kind::Right => Some(of_right.ok_or_else(|| refused("RIGHT JOIN … USING of tables without a name"))?),
            Kind::Full => match (of_left, of_right) {
                (Some(left), Some(right)) => Some(call("coalesce", vec![left, right])),
                _ => return Err(refused("FULL JOIN … USING of tables that are joined already, or have no name")),
            },
        };
        let is_of_others = matches!(kind, Kind::Right | Kind::Full);
        // Of three it finds several.
        let is_written = is_of_others || self.merged.find(name).is_some() || right.merged.find(name).is_some();
        Ok(stands_for.map(|stands_for| Column { name: name.clone(), stands_for, is_of_others, is_written }))
    }

    fn column(&self, name: &Ident) -> Option<Expr> {
        let merged = self.merged.find(name).map(|column| column.stands_for.clone());
        let of_only = || {
            let table = self.only.as_ref()?.iter();
            Some(Expr::CompoundIdentifier(table.chain([name]).cloned().collect()))
        };
        merged.or_else(of_only)
    }
}

fn last(name: &ObjectName) -> Option<&Ident> {
    name.0.last().and_then(|part| part.as_ident())
}

/// Writes columns in the place of their names, but for queries within: there these may be names of other columns.
struct Writing<'a> {
    columns: &'a Columns,
    copies: &'a mut Copies,
    depth: usize,
}

impl VisitorMut for Writing<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Box<Error>> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Box<Error>> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Error>> {
        if let Expr::Identifier(name) = expr
            && self.depth == 0
            && let Some(column) = self.columns.find(name)
        {
            or_break(self.copies.count(&column.stands_for))?;
            *expr = column.stands_for.clone();
        }
        ControlFlow::Continue(())
    }
}

fn refused(what: &str) -> Error {
    Error::new(Code::UnsupportedStatement, format!("{what} is not supported"))
        .hint("write ON a.k = b.k, and coalesce(a.k, b.k) AS k for the column of either")
}

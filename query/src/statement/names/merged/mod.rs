//! What is `p` behind `a FULL JOIN b USING (p)`? Of either table that has a row. The planner takes it for the column of the first, which is NULL where
//! that table has no row, and behind any USING it finds two of that name in WHERE and in ON, or in a subquery one of the query around.

mod tables;

use std::collections::BTreeSet;
use std::mem;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Distinct, ExcludeSelectItem, Expr, Ident, ObjectName, OrderByKind, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableWithJoins, VisitMut, VisitorMut, WildcardAdditionalOptions,
};
use tidewater_storage::{Code, Error, Result};

use self::tables::{Part, Star, Tables};
use super::fold;
use crate::error::{OrError, or_break};
use crate::statement::hidden::HIDDEN_COLUMNS;
use crate::statement::measure::Copies;
use crate::statement::parse::sql_of_mut;

/// Writes what they stand for in the place of columns that USING merges. `UNSUPPORTED_STATEMENT` where it has to be known, and is not.
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
        let (columns, star) = Columns::of_from(&mut select.from, &mut self.copies)?;
        let mut items = Vec::with_capacity(select.projection.len());
        for item in mem::take(&mut select.projection) {
            match item {
                SelectItem::Wildcard(options) => self.settle_wildcard(options, &star, &mut items)?,
                item => items.push(columns.settled(item, &mut self.copies)?),
            }
        }
        select.projection = items;
        if columns.0.is_empty() {
            return Ok(());
        }
        columns.write(&mut select.selection, &mut self.copies)?;
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
        // The SELECT is settled behind this, when it is visited.
        let (columns, _) = Columns::of_from(&mut select.from.clone(), &mut Copies::new())?;
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

    /// `*` with the merged columns first, as in standard SQL, and each once.
    fn settle_wildcard(
        &mut self,
        options: WildcardAdditionalOptions,
        star: &Star,
        items: &mut Vec<SelectItem>,
    ) -> Result<()> {
        let parts = match star {
            Star::Parts(parts) if is_plain(&options) => parts.as_slice(),
            star if star.is_outer() => {
                let what = "* with EXCLUDE and the like, or of tables without a name, over an outer JOIN with USING or NATURAL";
                return Err(Error::new(Code::UnsupportedStatement, format!("{what} is not supported"))
                    .hint("name the columns in the place of *"));
            }
            _ => &[],
        };
        if parts.iter().all(|part| part.column().is_none()) {
            items.push(SelectItem::Wildcard(options));
            return Ok(());
        }
        for part in parts {
            match part {
                // What `*` leaves out of a table it leaves out of two.
                Part::Merged(column) if HIDDEN_COLUMNS.contains(&fold(&column.name).as_str()) => {}
                Part::Merged(column) => items.push(column.selected(&mut self.copies)?),
                Part::LeftOut(_) => {}
                Part::Rest(table) => items.push(rest(table, parts)),
            }
        }
        Ok(())
    }
}

/// `table.*` without what is merged.
fn rest(table: &ObjectName, parts: &[Part]) -> SelectItem {
    let columns = parts.iter().filter_map(Part::column).filter(|column| column.is_of(table));
    // EXCLUDE folds no names, and takes none twice.
    let names: BTreeSet<String> = columns.map(|column| fold(&column.name)).collect();
    let names: Vec<ObjectName> =
        names.into_iter().map(|name| ObjectName::from(vec![Ident::with_quote('"', name)])).collect();
    let opt_exclude = (!names.is_empty()).then_some(ExcludeSelectItem::Multiple(names));
    let options = WildcardAdditionalOptions { opt_exclude, ..WildcardAdditionalOptions::default() };
    SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(table.clone()), options)
}

fn is_plain(options: &WildcardAdditionalOptions) -> bool {
    let WildcardAdditionalOptions { opt_ilike, opt_exclude, opt_except, opt_replace, opt_rename, .. } = options;
    opt_ilike.is_none()
        && opt_exclude.is_none()
        && opt_except.is_none()
        && opt_replace.is_none()
        && opt_rename.is_none()
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
    /// Those of all tables that have it.
    all: Vec<Expr>,
    /// It is not that of the first table alone, for which the planner takes it.
    is_of_others: bool,
    /// It is the same in all tables.
    is_inner: bool,
    /// In `*` it is where one of several tables has it that stand before the join.
    is_in_place: bool,
}

impl Column {
    fn is(&self, name: &Ident) -> bool {
        fold(&self.name) == fold(name)
    }

    fn selected(&self, copies: &mut Copies) -> Result<SelectItem> {
        copies.count(&self.stands_for)?;
        Ok(SelectItem::ExprWithAlias { expr: self.stands_for.clone(), alias: self.name.clone() })
    }

    /// Whether a table that is called so has it.
    fn is_of(&self, table: &ObjectName) -> bool {
        let is_table = |parts: &[Ident]| {
            let wanted = table.0.iter().rev().filter_map(|part| part.as_ident()).map(fold);
            parts.iter().rev().skip(1).map(fold).zip(wanted).all(|(name, wanted)| name == wanted)
        };
        self.all.iter().any(|column| matches!(column, Expr::CompoundIdentifier(parts) if is_table(parts)))
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

#[derive(Default, Clone)]
struct Columns(Vec<Column>);

impl Columns {
    /// Of all tables, and what `*` is of them. What ON names of these columns is written in its place.
    fn of_from(from: &mut [TableWithJoins], copies: &mut Copies) -> Result<(Self, Star)> {
        let (mut columns, mut star) = (Self::default(), Star::default());
        for tables in from {
            let tables = Tables::of(tables, copies)?;
            (columns, star) = (columns.beside(tables.merged), star.beside(tables.star));
        }
        Ok((columns, star))
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

    fn settled(&self, mut item: SelectItem, copies: &mut Copies) -> Result<SelectItem> {
        if let SelectItem::UnnamedExpr(Expr::Identifier(name)) = &item {
            return match self.find(name) {
                Some(column) => Column { name: name.clone(), ..column.clone() }.selected(copies),
                None => Ok(item),
            };
        }
        self.write(&mut item, copies)?;
        Ok(item)
    }
}

/// Writes columns in the place of their names, but for queries and lambdas within: there these may be names of others.
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

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Error>> {
        self.depth += usize::from(matches!(expr, Expr::Lambda(_)));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Error>> {
        self.depth -= usize::from(matches!(expr, Expr::Lambda(_)));
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

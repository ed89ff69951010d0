//! What is `p` behind `a FULL JOIN b USING (p)`? Of either table that has a row. The planner takes it for the column of the first, which is NULL where
//! that table has no row, and behind any USING it finds two of that name in WHERE and in ON, or in a subquery one of the query around.

mod tables;

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::{mem, ptr};

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, Distinct, ExcludeSelectItem, Expr, Ident, ObjectName, OrderByKind, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, VisitMut, VisitorMut, WildcardAdditionalOptions,
};
use tidewater_storage::{Code, Error, Result};

use self::tables::{Part, Star, Tables};
use super::fold;
use crate::error::{OrError, or_break};
use crate::statement::hidden::HIDDEN_COLUMNS;
use crate::statement::measure::Copies;
use crate::statement::parse::sql_of_mut;
use crate::statement::types::call;

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
        let tables = Tables::of_from(&mut select.from, &mut self.copies)?;
        let columns = &tables.merged;
        let mut items = Vec::with_capacity(select.projection.len());
        for item in mem::take(&mut select.projection) {
            match item {
                SelectItem::Wildcard(options) => self.settle_wildcard(options, &tables, &mut items)?,
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
        let columns = Tables::of_from(&mut select.from.clone(), &mut Copies::new())?.merged;
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
        tables: &Tables,
        items: &mut Vec<SelectItem>,
    ) -> Result<()> {
        let parts = match &tables.star {
            Star::Parts(parts) if is_plain(&options) => parts.as_slice(),
            star if star.is_outer() => {
                let what = "* with EXCLUDE and the like, or of tables without a name, over an outer JOIN with USING or NATURAL";
                return Err(refused_star(what));
            }
            _ if tables.planned.is_repeated => {
                let what = "* over several JOINs with USING or NATURAL, with EXCLUDE and the like, of tables without a name, or behind NATURAL,";
                return Err(refused_star(what));
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
    match bare(expr) {
        Expr::Identifier(name) => Some(name),
        _ => None,
    }
}

/// Without parentheses.
fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => bare(inner),
        bare => bare,
    }
}

/// The first that is not NULL. One call also of many: within one another each would be computed twice in the one around it.
fn first_of(columns: &[Expr]) -> Expr {
    match columns {
        [one] => one.clone(),
        several => call("coalesce", several.to_vec()),
    }
}

/// A column that USING merges.
#[derive(Clone)]
struct Column {
    name: Ident,
    /// It is the first of these that is not NULL. With the names of the tables.
    first_of: Vec<Expr>,
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
        Ok(SelectItem::ExprWithAlias { expr: self.copied(copies)?, alias: self.name.clone() })
    }

    /// What it stands for.
    fn copied(&self, copies: &mut Copies) -> Result<Expr> {
        let expr = first_of(&self.first_of);
        copies.count(&expr)?;
        Ok(expr)
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
            SelectItem::ExprWithAlias { alias, .. } => self.is(alias),
            SelectItem::UnnamedExpr(expr) => match bare(expr) {
                Expr::Identifier(name) => self.is(name),
                Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|last| self.is(last)),
                _ => false,
            },
            _ => false,
        }
    }
}

#[derive(Default, Clone)]
struct Columns(Vec<Column>);

impl Columns {
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
        part.visit(&mut Writing { columns: self, copies, depth: 0, parts: HashSet::new() }).or_error()
    }

    fn settled(&self, mut item: SelectItem, copies: &mut Copies) -> Result<SelectItem> {
        if let SelectItem::UnnamedExpr(expr) = &item
            && let Some(name) = alone(expr)
        {
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
    /// Names in `t.k[1]`, which are no columns by themselves. Addresses within the tree that is visited, which does not move meanwhile.
    parts: HashSet<*const Expr>,
}

/// The names around the points of `t.k[1].f`.
fn parts_of<'a>(root: &'a Expr, accesses: &'a [AccessExpr]) -> impl Iterator<Item = *const Expr> + 'a {
    let is_dot = |access: &AccessExpr| matches!(access, AccessExpr::Dot(_));
    let root = accesses.first().is_some_and(is_dot).then_some(root);
    let fields = accesses.iter().filter_map(|access| match access {
        AccessExpr::Dot(name) => Some(name),
        AccessExpr::Subscript(_) => None,
    });
    root.into_iter().chain(fields).map(ptr::from_ref)
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
        if let Expr::CompoundFieldAccess { root, access_chain } = &*expr {
            self.parts.extend(parts_of(root, access_chain));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Error>> {
        self.depth -= usize::from(matches!(expr, Expr::Lambda(_)));
        if let Expr::Identifier(name) = &*expr
            && self.depth == 0
            && !self.parts.contains(&ptr::from_ref(&*expr))
            && let Some(column) = self.columns.find(name)
        {
            *expr = or_break(column.copied(self.copies))?;
        }
        ControlFlow::Continue(())
    }
}

fn refused_star(what: &str) -> Error {
    Error::new(Code::UnsupportedStatement, format!("{what} is not supported"))
        .hint("name the columns in the place of *")
}

fn refused(what: &str) -> Error {
    Error::new(Code::UnsupportedStatement, format!("{what} is not supported"))
        .hint("write ON a.k = b.k, and coalesce(a.k, b.k) AS k for the column of either")
}

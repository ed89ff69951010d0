//! Which table is meant by what stands before a column? The one that is nearest. The planner finds others in some places: of `t` and `x.t` it takes either
//! for the other, in a subquery it takes the table `device` of the query around for a column of that name, and before `*` it wants what FROM says.

use std::collections::{HashMap, HashSet, VecDeque};
use std::mem;
use std::ops::{ControlFlow, Range};

use datafusion::sql::parser::Statement as PlannerStatement;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, FromTable, Ident, JoinConstraint, JoinOperator, ObjectName, OrderBy, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, Statement as Sql, TableAlias, TableFactor, TableWithJoins, Visit,
    VisitMut, Visitor, VisitorMut,
};
use tidewater_storage::{Code, Error, Result};

use super::{CATALOG, Scope, TableName, alias_of, fold, parts};
use crate::error::{OrError, or_break};
use crate::statement::parse::sql_of_mut;

/// Writes references so that the planner finds what they mean. Tables that it would mistake for one another get an alias of their own. A table without an
/// alias is found by its name, and with its schema before it. `INVALID_STATEMENT` for what may be either of two tables of one FROM.
pub(in crate::statement) fn settle_references(statement: &mut PlannerStatement, schema: &str) -> Result<()> {
    let Some(sql) = sql_of_mut(statement) else { return Ok(()) };
    let mut spellings = Spellings::default();
    let _: ControlFlow<()> = Visit::visit(&*sql, &mut spellings);
    let namesakes = spellings.namesakes();
    let mut settling = Settling { schema, namesakes, scope: Scope::default(), levels: Vec::new(), queries: Vec::new() };
    VisitMut::visit(sql, &mut settling).or_error()
}

/// How the tables of a statement are written that are called the same: by the last part of their names, all parts of those that stand there
/// themselves, and none for an alias or a name of WITH.
#[derive(Default)]
struct Spellings {
    scope: Scope,
    found: HashMap<String, HashSet<Vec<String>>>,
}

impl Spellings {
    /// Names that a table has, and another one, an alias, or the same table written otherwise, too.
    fn namesakes(self) -> HashSet<String> {
        let is_namesake =
            |written: &HashSet<Vec<String>>| written.len() > 1 && written.iter().any(|parts| !parts.is_empty());
        self.found.into_iter().filter(|(_, written)| is_namesake(written)).map(|(name, _)| name).collect()
    }
}

impl Visitor for Spellings {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.scope.enter(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.scope.leave(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let found = match (alias_of(factor), factor) {
            (Some(alias), _) => Some((fold(&alias.name), Vec::new())),
            // What is no name is refused when it is planned.
            (None, TableFactor::Table { name, args: None, .. }) => parts(name).ok().and_then(|parts| {
                let last = parts.last()?.clone();
                Some((last, if self.scope.has(name) { Vec::new() } else { parts }))
            }),
            _ => None,
        };
        if let Some((name, parts)) = found {
            self.found.entry(name).or_default().insert(parts);
        }
        ControlFlow::Continue(())
    }
}

struct Settling<'a> {
    schema: &'a str,
    namesakes: HashSet<String>,
    scope: Scope,
    /// What is seen from the place that is visited, the nearest last.
    levels: Vec<Level>,
    queries: Vec<Ordered>,
}

/// The tables of one FROM.
#[derive(Default)]
struct Level {
    tables: Vec<Named>,
    /// Those that are seen from the place that is visited: in ON the ones that are joined, behind LATERAL those before it, in a query in FROM none.
    seen: Range<usize>,
    /// What ON says, in order. It is visited before everything else, and put back behind it.
    ons: VecDeque<JoinConstraint>,
}

impl Level {
    fn seen(&self) -> impl Iterator<Item = &Named> {
        self.tables[self.seen.clone()].iter().filter(|named| !named.is_gone)
    }

    /// How many tables are before this one.
    fn n_before(&self, factor: &TableFactor) -> usize {
        self.tables.iter().position(|named| std::ptr::eq(named.at, factor)).unwrap_or(self.tables.len())
    }

    fn see_all(&mut self) {
        self.seen = 0..self.tables.len();
    }
}

/// A query that is visited. Its ORDER BY is, when its FROM is known.
struct Ordered {
    order_by: Option<OrderBy>,
    level: Option<Level>,
}

struct Named {
    /// Folded.
    name: String,
    /// The table that goes by its own name, and how FROM writes it.
    table: Option<(TableName, ObjectName)>,
    /// It has namesakes, and so an alias of its own.
    is_apart: bool,
    /// A SEMI or ANTI JOIN gives nothing of it.
    is_gone: bool,
    /// Where it is. What is visited does not move meanwhile.
    at: *const TableFactor,
}

impl Named {
    /// What is its own alone.
    fn alias(&self) -> Ident {
        let name = self.table.as_ref().map_or_else(|| self.name.clone(), |(table, _)| table.to_string());
        Ident::with_quote('"', name)
    }

    /// Whether it can be called so, by one to three parts.
    fn is_called(&self, called: &[String]) -> bool {
        let is = |schema: &String, name: &String| {
            self.table.as_ref().is_some_and(|(table, _)| table.schema == *schema && table.name == *name)
        };
        match called {
            [name] => self.name == *name,
            [schema, name] => is(schema, name),
            [catalog, schema, name] => catalog == CATALOG && is(schema, name),
            _ => false,
        }
    }
}

/// What a reference means.
struct Found<'a> {
    /// How many parts of it are the table.
    n_parts: usize,
    named: &'a Named,
    /// It is of a query around.
    is_outer: bool,
}

impl Found<'_> {
    /// What its columns have before them for the planner, if that is not what is written.
    fn qualifier(&self) -> Option<Vec<Ident>> {
        match &self.named.table {
            _ if self.named.is_apart => Some(vec![self.named.alias()]),
            // With its schema it is no column.
            Some((table, _)) if self.is_outer && self.n_parts == 1 => {
                Some([&table.schema, &table.name].map(|part| Ident::with_quote('"', part)).to_vec())
            }
            _ => None,
        }
    }
}

impl VisitorMut for Settling<'_> {
    type Break = Box<Error>;

    fn pre_visit_statement(&mut self, statement: &mut Sql) -> ControlFlow<Box<Error>> {
        if let Sql::Delete(delete) = statement {
            let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &mut delete.from;
            self.enter(from)?;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Box<Error>> {
        self.scope.enter(query);
        self.queries.push(Ordered { order_by: query.order_by.take(), level: None });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Box<Error>> {
        if let Some(Ordered { order_by: Some(mut order_by), level }) = self.queries.pop() {
            let n_around = self.levels.len();
            // ORDER BY of a UNION sees no tables.
            self.levels.extend(level.filter(|_| matches!(*query.body, SetExpr::Select(_))));
            VisitMut::visit(&mut order_by, self)?;
            self.levels.truncate(n_around);
            query.order_by = Some(order_by);
        }
        self.scope.leave(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Box<Error>> {
        self.enter(&mut select.from)?;
        for item in &mut select.projection {
            if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(table), _) = item {
                or_break(self.settle_wildcard(table))?;
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Box<Error>> {
        let mut level = self.levels.pop();
        if let Some(level) = &mut level {
            select.from.iter_mut().for_each(|tables| put_back(tables, &mut level.ons));
        }
        if let Some(query) = self.queries.last_mut() {
            query.level = level;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Box<Error>> {
        if let Some(level) = self.levels.last_mut() {
            match factor {
                TableFactor::Derived { lateral: false, .. } => level.seen = 0..0,
                TableFactor::Derived { .. } => level.seen = 0..level.n_before(factor),
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, _factor: &mut TableFactor) -> ControlFlow<Box<Error>> {
        self.levels.last_mut().into_iter().for_each(Level::see_all);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Error>> {
        match expr {
            Expr::CompoundIdentifier(parts) => or_break(self.settle_column(parts)),
            Expr::CompoundFieldAccess { root, access_chain } => or_break(self.settle_element(root, access_chain)),
            _ => ControlFlow::Continue(()),
        }
    }
}

impl Settling<'_> {
    /// From here on the tables of FROM are seen. Those that have namesakes have an alias of their own.
    fn enter(&mut self, from: &mut [TableWithJoins]) -> ControlFlow<Box<Error>> {
        self.levels.push(Level::default());
        from.iter_mut().try_for_each(|tables| self.add(tables))?;
        self.levels.last_mut().into_iter().for_each(Level::see_all);
        ControlFlow::Continue(())
    }

    fn add(&mut self, tables: &mut TableWithJoins) -> ControlFlow<Box<Error>> {
        let first = self.n_tables();
        self.add_factor(&mut tables.relation)?;
        for join in &mut tables.joins {
            let right = self.n_tables();
            self.add_factor(&mut join.relation)?;
            if let Some(on) = constraint_of(&mut join.join_operator) {
                let mut on = mem::replace(on, JoinConstraint::None);
                self.see(first..self.n_tables());
                VisitMut::visit(&mut on, self)?;
                if let Some(level) = self.levels.last_mut() {
                    level.ons.push_back(on);
                }
            }
            let gone = match join.join_operator {
                JoinOperator::LeftSemi(_) | JoinOperator::LeftAnti(_) => right..self.n_tables(),
                JoinOperator::RightSemi(_) | JoinOperator::RightAnti(_) => first..right,
                _ => continue,
            };
            if let Some(level) = self.levels.last_mut() {
                level.tables[gone].iter_mut().for_each(|named| named.is_gone = true);
            }
        }
        ControlFlow::Continue(())
    }

    fn n_tables(&self) -> usize {
        self.levels.last().map_or(0, |level| level.tables.len())
    }

    fn see(&mut self, seen: Range<usize>) {
        if let Some(level) = self.levels.last_mut() {
            level.seen = seen;
        }
    }

    fn add_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Box<Error>> {
        let at = std::ptr::from_ref(factor);
        let named = match (alias_of(factor).map(|alias| fold(&alias.name)), factor) {
            (Some(name), _) => Named { name, table: None, is_apart: false, is_gone: false, at },
            (None, TableFactor::NestedJoin { table_with_joins, .. }) => return self.add(table_with_joins),
            (None, TableFactor::Table { name, args: None, alias, .. }) => {
                let named = or_break(self.named(name, at))?;
                *alias = named.is_apart.then(|| own_alias(named.alias()));
                named
            }
            _ => return ControlFlow::Continue(()),
        };
        if let Some(level) = self.levels.last_mut() {
            level.tables.push(named);
        }
        ControlFlow::Continue(())
    }

    /// A table that goes by its own name, or what WITH calls so.
    /// `INVALID_STATEMENT` for one that is in FROM already.
    fn named(&self, name: &ObjectName, at: *const TableFactor) -> Result<Named> {
        let last = parts(name)?.pop().unwrap_or_default();
        let table = match self.scope.has(name) {
            true => None,
            false => Some((TableName::resolve(name, self.schema)?, name.clone())),
        };
        let is_table = |other: &Named| match (&table, &other.table) {
            (Some((table, _)), Some((other_table, _))) => !other.is_gone && table == other_table,
            _ => false,
        };
        if self.levels.last().is_some_and(|level| level.tables.iter().any(is_table)) {
            let error = Error::new(Code::InvalidStatement, format!("table '{name}' is in FROM twice"));
            return Err(error.hint("give one of the two an alias: t AS u"));
        }
        let is_apart = table.is_some() && self.namesakes.contains(&last);
        Ok(Named { name: last, table, is_apart, is_gone: false, at })
    }

    /// The table that the first parts are, one to `n_most`: the most that are one, as for the planner.
    fn find(&self, parts: &[Ident], n_most: usize) -> Result<Option<Found<'_>>> {
        let folded: Vec<String> = parts.iter().take(n_most).map(fold).collect();
        let levels = || self.levels.iter().enumerate().rev();
        for n_parts in (1..=folded.len()).rev() {
            let called = &folded[..n_parts];
            for (i, level) in levels() {
                let found: Vec<&Named> = level.seen().filter(|named| named.is_called(called)).collect();
                let Some(&named) = found.first() else { continue };
                if found.len() > 1 && found.iter().any(|named| named.is_apart) {
                    let what = format!("'{}' is more than one table here", called.join("."));
                    let error = Error::new(Code::InvalidStatement, what);
                    return Err(error.hint("put the schema before it, or give the tables aliases"));
                }
                return Ok(Some(Found { n_parts, named, is_outer: i + 1 < self.levels.len() }));
            }
        }
        // The planner would take another table of that name for it.
        if let [first, second, ..] = folded.as_slice()
            && self.namesakes.contains(second)
            && !levels().any(|(_, level)| level.seen().any(|named| named.name == *first))
        {
            let error = Error::new(Code::InvalidStatement, format!("there is no table '{first}.{second}' in FROM"));
            return Err(error.hint("a table with an alias is called by that alone"));
        }
        Ok(None)
    }

    fn settle_wildcard(&self, table: &mut ObjectName) -> Result<()> {
        let parts: Option<Vec<Ident>> = table.0.iter().map(|part| part.as_ident().cloned()).collect();
        let Some(parts) = parts else { return Ok(()) };
        let Some(found) = self.find(&parts, parts.len())?.filter(|found| found.n_parts == parts.len()) else {
            return Ok(());
        };
        match (found.qualifier(), &found.named.table) {
            (Some(qualifier), _) => *table = ObjectName::from(qualifier),
            (None, Some((_, written))) => table.clone_from(written),
            (None, None) => {}
        }
        Ok(())
    }

    fn settle_column(&self, parts: &mut Vec<Ident>) -> Result<()> {
        if let Some(found) = self.find(parts, parts.len() - 1)?
            && let Some(qualifier) = found.qualifier()
        {
            parts.splice(..found.n_parts, qualifier);
        }
        Ok(())
    }

    /// `t.list[1]`: the parts before the first subscript.
    fn settle_element(&self, root: &mut Expr, accesses: &mut Vec<AccessExpr>) -> Result<()> {
        let Expr::Identifier(first) = root else { return Ok(()) };
        let field = |access: &AccessExpr| match access {
            AccessExpr::Dot(Expr::Identifier(name)) => Some(name.clone()),
            _ => None,
        };
        let parts: Vec<Ident> = [first.clone()].into_iter().chain(accesses.iter().map_while(field)).collect();
        if let Some(found) = self.find(&parts, parts.len() - 1)?
            && let Some(qualifier) = found.qualifier()
        {
            let mut qualifier = qualifier.into_iter();
            *root = Expr::Identifier(qualifier.next().unwrap_or_else(|| parts[0].clone()));
            accesses.splice(..found.n_parts - 1, qualifier.map(|part| AccessExpr::Dot(Expr::Identifier(part))));
        }
        Ok(())
    }
}

/// What ON or USING says. SEMI and ANTI JOIN are those of the left side.
fn constraint_of(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Semi(on) => *operator = JoinOperator::LeftSemi(mem::replace(on, JoinConstraint::None)),
        JoinOperator::Anti(on) => *operator = JoinOperator::LeftAnti(mem::replace(on, JoinConstraint::None)),
        _ => {}
    }
    match operator {
        JoinOperator::Join(on)
        | JoinOperator::Inner(on)
        | JoinOperator::CrossJoin(on)
        | JoinOperator::Left(on)
        | JoinOperator::LeftOuter(on)
        | JoinOperator::Right(on)
        | JoinOperator::RightOuter(on)
        | JoinOperator::FullOuter(on)
        | JoinOperator::LeftSemi(on)
        | JoinOperator::LeftAnti(on)
        | JoinOperator::RightSemi(on)
        | JoinOperator::RightAnti(on) => Some(on),
        _ => None,
    }
}

/// What ON says to where it was, in the order of [`Settling::add`].
fn put_back(tables: &mut TableWithJoins, ons: &mut VecDeque<JoinConstraint>) {
    let within = |factor: &mut TableFactor, ons: &mut VecDeque<JoinConstraint>| {
        if let TableFactor::NestedJoin { table_with_joins, alias: None } = factor {
            put_back(table_with_joins, ons);
        }
    };
    within(&mut tables.relation, ons);
    for join in &mut tables.joins {
        within(&mut join.relation, ons);
        if let Some(on) = constraint_of(&mut join.join_operator)
            && let Some(was) = ons.pop_front()
        {
            *on = was;
        }
    }
}

fn own_alias(name: Ident) -> TableAlias {
    TableAlias { explicit: true, name, columns: Vec::new(), at: None }
}

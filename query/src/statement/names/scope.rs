//! Which names in a query are tables, and which are its own? Names of WITH, in scope where SQL has them in scope.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as PlannerStatement;
use datafusion::sql::sqlparser::ast::{ObjectName, Query, Visit, Visitor};
use tidewater_storage::{Code, Error, Result};

use super::{TableName, fold};
use crate::limits::MAX_NESTED_WITHS;
use crate::statement::parse::sql_of;
use crate::statement::{Kind, Show, Source, Statement};

/// The names of WITH that are in scope at one place of a query. Each visitor enters and leaves every query that it visits.
///
/// A name is in scope after its own query, so that `WITH t AS (SELECT * FROM t) SELECT * FROM t` reads the table `t` inside and its own
/// `t` outside; with RECURSIVE also within its own query.
#[derive(Default)]
pub(crate) struct Scope {
    queries: Vec<Names>,
}

/// The names of one query's WITH.
#[derive(Default)]
struct Names {
    /// Folded, in order.
    all: Vec<String>,
    /// Where the queries of these names lie. The tree that is visited does not move meanwhile.
    at: Vec<*const Query>,
    recursive: bool,
    /// How many of their queries are behind; queries are visited in order, before everything else.
    n_behind: usize,
    /// The next one is being visited.
    inside: bool,
}

impl Names {
    /// The query is that of the next name.
    fn is_next(&self, query: &Query) -> bool {
        self.at.get(self.n_behind).is_some_and(|at| std::ptr::eq(*at, query))
    }

    fn in_scope(&self) -> &[String] {
        &self.all[..self.n_behind + usize::from(self.inside && self.recursive)]
    }
}

impl Scope {
    pub(crate) fn enter(&mut self, query: &Query) {
        if let Some(outer) = self.queries.last_mut() {
            outer.inside = outer.is_next(query);
        }
        let names = query.with.as_ref().map(|with| Names {
            all: with.cte_tables.iter().map(|cte| fold(&cte.alias.name)).collect(),
            at: with.cte_tables.iter().map(|cte| std::ptr::from_ref(&*cte.query)).collect(),
            recursive: with.recursive,
            ..Names::default()
        });
        self.queries.push(names.unwrap_or_default());
    }

    pub(crate) fn leave(&mut self, query: &Query) {
        self.queries.pop();
        if let Some(outer) = self.queries.last_mut()
            && outer.is_next(query)
        {
            outer.n_behind += 1;
            outer.inside = false;
        }
    }

    /// The name is one of WITH here.
    pub(crate) fn has(&self, name: &ObjectName) -> bool {
        match name.0.as_slice() {
            [part] => part.as_ident().map(fold).is_some_and(|name| self.has_folded(&name)),
            _ => false,
        }
    }

    fn has_folded(&self, name: &str) -> bool {
        self.queries.iter().any(|names| names.in_scope().iter().any(|known| known == name))
    }
}

/// Names of tables and views, each once.
struct Relations<'a> {
    schema: &'a str,
    scope: Scope,
    found: HashSet<TableName>,
}

impl Visitor for Relations<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.scope.enter(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.scope.leave(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        if !self.scope.has(relation) {
            // A name that is none is refused when it is planned.
            self.found.extend(TableName::resolve(relation, self.schema));
        }
        ControlFlow::Continue(())
    }
}

fn relations_of<T: Visit>(visited: &T, schema: &str) -> HashSet<TableName> {
    let mut relations = Relations { schema, scope: Scope::default(), found: HashSet::new() };
    let _: ControlFlow<()> = visited.visit(&mut relations);
    relations.found
}

/// The tables and views that a query names, its own names left out. Table functions are among them.
pub(crate) fn relations(statement: &PlannerStatement, schema: &str) -> HashSet<TableName> {
    sql_of(statement).map_or_else(HashSet::new, |sql| relations_of(sql, schema))
}

/// Errors for WITH within WITH within WITH, too many levels of it: DataFusion looks for the names of tables with a visitor that goes
/// through each of them twice, so that every level doubles its work.
pub(crate) fn check_nesting(statement: &PlannerStatement) -> Result<()> {
    match sql_of(statement).map_or(ControlFlow::Continue(()), |sql| sql.visit(&mut Nesting(0))) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::new(
            Code::StatementTooComplex,
            format!("the statement has WITH in more than {MAX_NESTED_WITHS} levels of queries"),
        )
        .hint("put the names one behind the other, into one WITH")),
    }
}

/// How many of the queries around a place have a WITH.
struct Nesting(usize);

impl Visitor for Nesting {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.0 += usize::from(query.with.is_some());
        if self.0 > MAX_NESTED_WITHS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.0 -= usize::from(query.with.is_some());
        ControlFlow::Continue(())
    }
}

impl Statement {
    /// The tables and views that it reads.
    pub(crate) fn reads(&self, schema: &str) -> HashSet<TableName> {
        match &self.kind {
            Kind::Query(query) => relations(query, schema),
            Kind::Insert(insert) => match &insert.source {
                Source::Query(query) => relations_of(&**query, schema),
                Source::Parameters(_) => HashSet::new(),
            },
            // The table itself has another name there.
            Kind::Delete(delete) => {
                let mut reads = relations_of(&*delete.addresses, schema);
                reads.insert(delete.table.clone());
                reads
            }
            Kind::CreateView { query, .. } | Kind::CreateTableAs { query, .. } => relations_of(&**query, schema),
            Kind::Show(Show::Columns(table)) => HashSet::from([table.clone()]),
            _ => HashSet::new(),
        }
    }
}

//! Which names stand alone in a statement, and of which tables may they be? Those of a query are of its FROM, or of the query around it; in
//! FROM that is the one around that FROM, and with LATERAL the tables before it.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, OrderByKind, Query, Select, SelectItem,
    SetExpr, TableFactor, TableWithJoins, Visitor,
};

use super::{Scope, Tables, unnamed};
use crate::statement::names::{alias_of, fold, parts};

/// Where something lies. The tree that is visited does not move meanwhile.
type At<T> = *const T;

#[derive(Default)]
pub(super) struct Scopes {
    pub(super) all: Vec<Scope>,
    /// Of each place around the one that is visited, the innermost last, what names see there. `None`: no tables of this statement.
    open: Vec<Option<usize>>,
    /// ON, ORDER BY, and names that are looked up otherwise.
    exprs: HashMap<At<Expr>, Option<usize>>,
    laterals: HashMap<At<TableFactor>, usize>,
    /// Of each query around, what its ORDER BY has for its SELECT, which is visited before.
    keys: Vec<Vec<At<Expr>>>,
    /// Of the lambdas around.
    parameters: Vec<String>,
}

impl Visitor for Scopes {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let mut keys = Vec::new();
        for key in keys_of(query) {
            match &*query.body {
                SetExpr::Select(select) if is_answer(key, select) => {
                    self.exprs.insert(key, None);
                }
                _ => keys.push(std::ptr::from_ref(key)),
            }
        }
        if !matches!(&*query.body, SetExpr::Select(_)) && !keys.is_empty() {
            let scope = Some(self.add(self.seen(), tables_of_query(query)));
            self.exprs.extend(mem::take(&mut keys).into_iter().map(|key| (key, scope)));
        }
        self.keys.push(keys);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.keys.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let around = self.seen();
        let scope = Some(self.add(around, tables_of(&select.from)));
        let keys = self.keys.last_mut().map(mem::take).unwrap_or_default();
        self.exprs.extend(keys.into_iter().map(|key| (key, scope)));
        let mut beside = Tables::new();
        for tables in &select.from {
            self.enter_from(tables, &mut beside, around);
        }
        self.open.push(scope);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _select: &Select) -> ControlFlow<()> {
        self.open.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if !matches!(factor, TableFactor::NestedJoin { .. }) {
            let lateral = self.laterals.get(&std::ptr::from_ref(factor)).copied();
            let seen = lateral.or_else(|| self.seen().and_then(|scope| self.all[scope].around));
            self.open.push(seen);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if !matches!(factor, TableFactor::NestedJoin { .. }) {
            self.open.pop();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Some(scope) = self.exprs.get(&std::ptr::from_ref(expr)) {
            self.open.push(*scope);
        }
        match expr {
            Expr::Identifier(name) => self.add_alone(name),
            Expr::Lambda(lambda) => self.parameters.extend(lambda.params.iter().map(|parameter| fold(&parameter.name))),
            // `t.list[1]`: parts of a name.
            Expr::CompoundFieldAccess { root, access_chain } => {
                if let [AccessExpr::Dot(_), ..] = access_chain.as_slice()
                    && matches!(**root, Expr::Identifier(_))
                {
                    self.exprs.insert(&**root, None);
                }
                for access in access_chain {
                    if let AccessExpr::Dot(part @ Expr::Identifier(_)) = access {
                        self.exprs.insert(part, None);
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Lambda(lambda) = expr {
            self.parameters.truncate(self.parameters.len().saturating_sub(lambda.params.len()));
        }
        if self.exprs.contains_key(&std::ptr::from_ref(expr)) {
            self.open.pop();
        }
        ControlFlow::Continue(())
    }
}

impl Scopes {
    fn seen(&self) -> Option<usize> {
        self.open.last().copied().flatten()
    }

    fn add(&mut self, around: Option<usize>, tables: Tables) -> usize {
        self.all.push(Scope { around, tables, alone: HashSet::new() });
        self.all.len() - 1
    }

    fn add_alone(&mut self, name: &Ident) {
        let name = fold(name);
        if let Some(scope) = self.seen()
            && !self.parameters.contains(&name)
        {
            self.all[scope].alone.insert(name);
        }
    }

    /// What ON and LATERAL see. `beside` are the tables before these, and then these as well.
    fn enter_from(&mut self, from: &TableWithJoins, beside: &mut Tables, around: Option<usize>) {
        self.enter_factor(&from.relation, beside, around);
        let mut joined = Tables::new();
        add_factor(&from.relation, &mut joined);
        for join in &from.joins {
            self.enter_factor(&join.relation, beside, around);
            add_factor(&join.relation, &mut joined);
            if let Some(condition) = condition_of(join) {
                let scope = self.add(around, joined.clone());
                self.exprs.insert(condition, Some(scope));
            }
        }
    }

    fn enter_factor(&mut self, factor: &TableFactor, beside: &mut Tables, around: Option<usize>) {
        match factor {
            TableFactor::Derived { lateral: true, .. } | TableFactor::Function { lateral: true, .. } => {
                let scope = self.add(around, beside.clone());
                self.laterals.insert(factor, scope);
            }
            // Always LATERAL, and a SELECT without FROM in the plan.
            TableFactor::UNNEST { .. } => {
                let seen = self.add(around, beside.clone());
                let scope = self.add(Some(seen), Tables::new());
                self.laterals.insert(factor, scope);
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                self.enter_from(table_with_joins, &mut beside.clone(), around);
            }
            _ => {}
        }
        add_factor(factor, beside);
    }
}

fn keys_of(query: &Query) -> impl Iterator<Item = &Expr> {
    let keys = match query.order_by.as_ref().map(|order_by| &order_by.kind) {
        Some(OrderByKind::Expressions(keys)) => keys.as_slice(),
        _ => &[],
    };
    keys.iter().map(|key| &key.expr)
}

/// Whether the planner finds a key of ORDER BY in the answer. There it prefers a name that is no column's own.
fn is_answer(key: &Expr, select: &Select) -> bool {
    let Expr::Identifier(key) = key else { return false };
    let is_own = |expr: &Expr| match expr {
        Expr::Identifier(name) => fold(name) == fold(key),
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|name| fold(name) == fold(key)),
        _ => false,
    };
    select.projection.iter().any(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } => fold(alias) == fold(key) && !is_own(expr),
        _ => false,
    })
}

fn condition_of(join: &Join) -> Option<&Expr> {
    match &join.join_operator {
        JoinOperator::Join(JoinConstraint::On(condition))
        | JoinOperator::Inner(JoinConstraint::On(condition))
        | JoinOperator::Left(JoinConstraint::On(condition))
        | JoinOperator::LeftOuter(JoinConstraint::On(condition))
        | JoinOperator::Right(JoinConstraint::On(condition))
        | JoinOperator::RightOuter(JoinConstraint::On(condition))
        | JoinOperator::FullOuter(JoinConstraint::On(condition))
        | JoinOperator::LeftSemi(JoinConstraint::On(condition))
        | JoinOperator::RightSemi(JoinConstraint::On(condition))
        | JoinOperator::LeftAnti(JoinConstraint::On(condition))
        | JoinOperator::RightAnti(JoinConstraint::On(condition)) => Some(condition),
        _ => None,
    }
}

fn tables_of(from: &[TableWithJoins]) -> Tables {
    let mut tables = Tables::new();
    from.iter().for_each(|joined| add_joined(joined, &mut tables));
    tables
}

fn tables_of_query(query: &Query) -> Tables {
    let mut tables = Tables::new();
    add_unnamed(&query.body, &mut tables);
    tables
}

/// Those of a query that has no name in FROM.
fn add_unnamed(body: &SetExpr, tables: &mut Tables) {
    match body {
        SetExpr::Select(select) => {
            tables.insert(unnamed());
            select.from.iter().for_each(|joined| add_joined(joined, tables));
        }
        SetExpr::Query(query) => add_unnamed(&query.body, tables),
        SetExpr::SetOperation { left, right, .. } => {
            add_unnamed(left, tables);
            add_unnamed(right, tables);
        }
        _ => {
            tables.insert(unnamed());
        }
    }
}

fn add_joined(joined: &TableWithJoins, tables: &mut Tables) {
    let others = joined.joins.iter().map(|join| &join.relation);
    std::iter::once(&joined.relation).chain(others).for_each(|factor| add_factor(factor, tables));
}

fn add_factor(factor: &TableFactor, tables: &mut Tables) {
    let named = match (alias_of(factor), factor) {
        // Its columns have other names.
        (Some(alias), _) if !alias.columns.is_empty() => (fold(&alias.name), String::new()),
        (Some(alias), factor) => (fold(&alias.name), name_of(factor)),
        (None, TableFactor::NestedJoin { table_with_joins, .. }) => return add_joined(table_with_joins, tables),
        (None, TableFactor::Derived { subquery, .. }) => return add_unnamed(&subquery.body, tables),
        (None, TableFactor::UNNEST { .. }) => (String::new(), String::new()),
        (None, factor) => (name_of(factor), String::new()),
    };
    tables.insert(Arc::new(named));
}

/// As in the plan.
fn name_of(factor: &TableFactor) -> String {
    match factor {
        TableFactor::Table { name, args: None, .. } => parts(name).unwrap_or_default().join("."),
        TableFactor::Table { name, .. } => {
            let first = name.0.first().and_then(|part| part.as_ident());
            first.map(|name| format!("{name}()")).unwrap_or_default()
        }
        TableFactor::Function { name, .. } => last_of(name),
        _ => String::new(),
    }
}

fn last_of(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default()
}

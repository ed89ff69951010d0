//! By which names is a subquery compared with the query around it? By some of its own, above all that it reads, unless it is plain. DataFusion takes such
//! comparisons out of it by names without their tables: of `a.x = e.id AND b.x = e.id` it makes two of one column. A count by `CAST(h.at AS DATE) = d.day`
//! it groups by `at`, so that a day comes as often as it has times. And a query in FROM shows it no columns but those that are selected.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, Filter, Join, LogicalPlan, Operator, Projection, Sort, Subquery,
    SubqueryAlias,
};
use datafusion::optimizer::AnalyzerRule;

use super::is_asking;
use super::shapes::{any_node, beside, compared_below, is_correlated};

/// Moves comparisons with columns of the query around up in subqueries. It runs behind all that writes casts, and what stands for one.
#[derive(Debug)]
pub(crate) struct PullUp;

impl AnalyzerRule for PullUp {
    fn name(&self) -> &str {
        "pull_up"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let names = Names(Cell::new(0));
        plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Subquery(subquery) if !is_plain(&subquery.subquery) => {
                let Subquery { subquery: plan, outer_ref_columns, spans } = subquery;
                let plan = Arc::new(names.settled(Arc::unwrap_or_clone(plan))?);
                Ok(Transformed::yes(LogicalPlan::Subquery(Subquery { subquery: plan, outer_ref_columns, spans })))
            }
            LogicalPlan::Filter(_) => node.map_expressions(|expr| expr.transform_up(with_table)),
            LogicalPlan::Join(join) => {
                beside(&join.right).map_or(Ok(()), |subquery| check_compared(&subquery.subquery))?;
                Ok(Transformed::no(LogicalPlan::Join(join)))
            }
            other => Ok(Transformed::no(other)),
        })
        .data()
    }
}

/// Refuses a plan in which rows that are compared are made one of several: what is compared becomes a key of theirs, so that there are more of
/// them, and a join of them does not show it.
fn check_compared(plan: &LogicalPlan) -> Result<()> {
    let is_unequal = |filter: &Filter| !comparing(filter).all(is_equation);
    let is_below = |node: &LogicalPlan| Ok(matches!(node, LogicalPlan::Filter(filter) if is_unequal(filter)));
    if any_node(plan, |node| Ok(groups(node) && any_node(node, is_below)?))? { Err(compared_below()) } else { Ok(()) }
}

/// The table of what IN asks for, where a column of none gives it.
const GIVEN: &str = "__given";

/// IN of a correlated subquery with a table for what it gives: a column of none DataFusion finds in its join a second time, by the name alone.
fn with_table(expr: Expr) -> Result<Transformed<Expr>> {
    match expr {
        Expr::InSubquery(InSubquery { expr, subquery, negated }) if is_without_table(&subquery) => {
            let Subquery { subquery: plan, outer_ref_columns, spans } = subquery;
            let column = Column::from(plan.schema().qualified_field(0));
            let named = Column::new(Some(TableReference::bare(GIVEN)), column.name.clone());
            let given = Expr::Column(column).alias_qualified(named.relation.clone(), named.name.clone());
            let plan = project(vec![given], Arc::unwrap_or_clone(plan))?;
            let plan = Arc::new(project(vec![Expr::Column(named)], plan)?);
            let subquery = Subquery { subquery: plan, outer_ref_columns, spans };
            Ok(Transformed::yes(Expr::InSubquery(InSubquery::new(expr, subquery, negated))))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn is_without_table(subquery: &Subquery) -> bool {
    let is_of_none = |given: &Expr| given.column_refs().iter().any(|column| column.relation.is_none());
    !subquery.outer_ref_columns.is_empty()
        && matches!(subquery.subquery.head_output_expr(), Ok(Some(given)) if is_of_none(&given))
}

/// Whether the columns that a subquery compares with the query around it are found by their names alone.
fn is_plain(subquery: &LogicalPlan) -> bool {
    let mut shown = Shown::default();
    !shown.note(subquery) || !shown.is_mixed_up()
}

/// What a subquery shows where, and above where, it compares with the query around it.
#[derive(Default)]
struct Shown {
    /// By the name of a column, the tables that have it.
    tables: HashMap<String, Vec<Option<TableReference>>>,
    inner: Vec<Column>,
    outer: Vec<Column>,
    /// Something computed is compared, or below something that hides columns.
    is_hidden: bool,
    is_unequal: bool,
}

impl Shown {
    /// Adds that of a plan. Whether it compares so.
    fn note(&mut self, plan: &LogicalPlan) -> bool {
        let mut compares = false;
        for input in plan.inputs() {
            compares |= !matches!(input, LogicalPlan::Subquery(_)) && self.note(input);
        }
        self.is_hidden |= compares && (hides(plan) || self.is_unequal && groups(plan));
        if let LogicalPlan::Filter(filter) = plan {
            let is_having = matches!(&*filter.input, LogicalPlan::Aggregate(_));
            for condition in comparing(filter) {
                compares = true;
                self.is_hidden |= !is_having && compares_computed(condition);
                self.is_unequal |= !is_equation(condition);
                self.note_columns(condition);
            }
        }
        if compares {
            for (table, field) in plan.schema().iter() {
                let tables = self.tables.entry(field.name().clone()).or_default();
                if !tables.iter().any(|known| known.as_ref() == table) {
                    tables.push(table.cloned());
                }
            }
        }
        compares
    }

    fn note_columns(&mut self, condition: &Expr) {
        // The closure does not fail, and looks at everything.
        let _ = condition.exists(|expr| {
            match expr {
                Expr::Column(column) => self.inner.push(column.clone()),
                Expr::OuterReferenceColumn(_, column) => self.outer.push(column.clone()),
                _ => {}
            }
            Ok(false)
        });
    }

    /// Whether something is taken for something else by its name, or not found.
    fn is_mixed_up(&self) -> bool {
        let is_repeated = |column: &Column| self.tables.get(&column.name).is_some_and(|tables| tables.len() > 1);
        let is_outer = |inner: &Column| self.outer.iter().any(|outer| is_taken_for(outer, inner));
        self.is_hidden || self.inner.iter().any(|column| is_repeated(column) || is_outer(column))
    }
}

fn hides(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Sort(_))
}

/// Whether it makes one row of several.
fn groups(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Distinct(_) | LogicalPlan::Aggregate(_))
}

/// Whether a column of the query around is found in the subquery as another.
fn is_taken_for(outer: &Column, inner: &Column) -> bool {
    let is_in_table = match (&outer.relation, &inner.relation) {
        (Some(outer), Some(inner)) => outer.resolved_eq(inner),
        (outer, _) => outer.is_none(),
    };
    outer.name == inner.name && is_in_table
}

/// The conditions of a filter that have columns of the query around.
fn comparing(filter: &Filter) -> impl Iterator<Item = &Expr> {
    split_conjunction(&filter.predicate).into_iter().filter(|condition| condition.contains_outer())
}

/// Whether DataFusion's own joins are right for a condition below what makes one row of several.
fn is_equation(condition: &Expr) -> bool {
    leaves_one(condition, &[Operator::Eq])
}

/// Whether a condition compares one column, by one of these, with what is the same for all rows of the subquery.
fn leaves_one(condition: &Expr, ops: &[Operator]) -> bool {
    let is_alone = |one: &Expr, other: &Expr| matches!(one, Expr::Column(_)) && !other.any_column_refs();
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if ops.contains(op) => {
            is_alone(left, right) || is_alone(right, left)
        }
        _ => false,
    }
}

fn compares_computed(condition: &Expr) -> bool {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => is_computed(left) || is_computed(right),
        _ => false,
    }
}

/// Whether one side of an equation is computed from the rows of the subquery alone, and the same each time.
fn is_computed(side: &Expr) -> bool {
    let is_bound = |expr: &Expr| {
        matches!(expr, Expr::OuterReferenceColumn(..) | Expr::ScalarSubquery(_))
            || is_asking(expr)
            || expr.is_volatile_node()
    };
    let is_free = || side.exists(|expr| Ok(is_bound(expr))).is_ok_and(|found| !found);
    !matches!(side, Expr::Column(_)) && side.any_column_refs() && is_free()
}

/// What names of what is compared begin with.
const COMPARED: &str = "__compared_";

/// Gives each name once in a statement.
struct Names(Cell<usize>);

/// A plan without comparisons, which are still to be asked about its rows, and what they compare as columns beside those that it had.
struct Open {
    plan: LogicalPlan,
    comparing: Vec<Expr>,
    named: Vec<Column>,
}

impl Names {
    /// The plan with its comparisons at the top, and with the columns that it had.
    fn settled(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let columns = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let Open { plan, comparing, .. } = self.open(plan)?;
        let Some(comparing) = conjunction(comparing) else { return Ok(plan) };
        let filtered = LogicalPlan::Filter(Filter::try_new(comparing, Arc::new(plan))?);
        project(columns, filtered)
    }

    /// Takes out what may be asked later. Through what makes one row of several goes what is asked about groups; not through what has a row for none,
    /// or a limit.
    fn open(&self, plan: LogicalPlan) -> Result<Open> {
        if !is_correlated(&plan)? {
            return Ok(Open { plan, comparing: Vec::new(), named: Vec::new() });
        }
        match plan {
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Projection(projection) => {
                let open = self.open(Arc::unwrap_or_clone(projection.input))?;
                let exprs = projection.expr.into_iter().chain(open.columns()).collect();
                open.under(|input| project(exprs, input))
            }
            LogicalPlan::SubqueryAlias(alias) => self.alias(alias),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
                let open = self.open(LogicalPlan::clone(&sort.input))?;
                open.under(|input| Ok(LogicalPlan::Sort(Sort { input: Arc::new(input), ..sort })))
            }
            LogicalPlan::Aggregate(aggregate) if !aggregate.group_expr.is_empty() => {
                let open = self.open(LogicalPlan::clone(&aggregate.input))?;
                if !open.is_of_groups(&open.plan, &aggregate.group_expr) {
                    return self.closed(LogicalPlan::Aggregate(aggregate));
                }
                let groups = aggregate.group_expr.into_iter().chain(open.columns()).collect();
                let grouped = |input| Aggregate::try_new(Arc::new(input), groups, aggregate.aggr_expr);
                open.under(|input| grouped(input).map(LogicalPlan::Aggregate))
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let open = self.open(LogicalPlan::clone(&input))?;
                if !open.is_of_selected() {
                    return self.closed(LogicalPlan::Distinct(Distinct::All(input)));
                }
                open.under(|input| Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(input)))))
            }
            other => self.closed(other),
        }
    }

    /// The plan with the comparisons of what it reads where they are, right below it.
    fn closed(&self, plan: LogicalPlan) -> Result<Open> {
        let plan = plan.map_children(|child| self.settled(child).map(Transformed::yes)).data()?;
        Ok(Open { plan, comparing: Vec::new(), named: Vec::new() })
    }

    /// What else a filter says is asked first, as some of what is compared may fail.
    fn filter(&self, filter: Filter) -> Result<Open> {
        let Open { mut plan, comparing: mut open, mut named } = self.open(LogicalPlan::clone(&filter.input))?;
        let others = split_conjunction(&filter.predicate).into_iter().filter(|other| !other.contains_outer());
        if let Some(others) = conjunction(others.cloned()) {
            plan = LogicalPlan::Filter(Filter::try_new(others, Arc::new(plan))?);
        }
        let mut exprs: Vec<(Expr, Column)> = Vec::new();
        for condition in comparing(&filter) {
            open.push(self.compared(condition.clone(), &mut exprs)?);
        }
        if !exprs.is_empty() {
            let columns = plan.schema().columns().into_iter().map(Expr::Column);
            let with_names = columns.chain(exprs.iter().map(|(expr, name)| expr.clone().alias(&name.name))).collect();
            plan = project(with_names, plan)?;
            named.extend(exprs.into_iter().map(|(_, name)| name));
        }
        Ok(Open { plan, comparing: open, named })
    }

    /// The condition with names for what it compares, which `exprs` says of each.
    fn compared(&self, condition: Expr, exprs: &mut Vec<(Expr, Column)>) -> Result<Expr> {
        match condition {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
                let mut named = |side: Expr| match is_computed(&side) {
                    true => Ok(self.name(side, exprs)),
                    false => self.columns(side, exprs),
                };
                let (left, right) = (named(*left)?, named(*right)?);
                Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), Operator::Eq, Box::new(right))))
            }
            other => self.columns(other, exprs),
        }
    }

    fn columns(&self, expr: Expr, exprs: &mut Vec<(Expr, Column)>) -> Result<Expr> {
        expr.transform(|expr| match expr {
            Expr::Column(_) => Ok(Transformed::yes(self.name(expr, exprs))),
            other => Ok(Transformed::no(other)),
        })
        .data()
    }

    fn name(&self, expr: Expr, exprs: &mut Vec<(Expr, Column)>) -> Expr {
        if let Some((_, name)) = exprs.iter().find(|(known, _)| *known == expr) {
            return Expr::Column(name.clone());
        }
        let n = self.0.get();
        self.0.set(n + 1);
        let name = Column::new_unqualified(format!("{COMPARED}{n}"));
        exprs.push((expr, name.clone()));
        Expr::Column(name)
    }

    /// A name of a query in FROM shows nothing but its columns: these get the name each by itself.
    fn alias(&self, alias: SubqueryAlias) -> Result<Open> {
        let columns = alias.input.schema().columns();
        let open = self.open(Arc::unwrap_or_clone(alias.input))?;
        let named = columns
            .into_iter()
            .zip(alias.schema.fields().iter())
            .map(|(column, field)| Expr::Column(column).alias_qualified(Some(alias.alias.clone()), field.name()));
        let exprs = named.chain(open.columns()).collect();
        open.under(|input| project(exprs, input))
    }

    fn join(&self, join: Join) -> Result<Open> {
        let left = self.open(LogicalPlan::clone(&join.left))?;
        let right = self.open(LogicalPlan::clone(&join.right))?;
        check_compared(&left.plan)?;
        check_compared(&right.plan)?;
        let joined = Join { left: Arc::new(left.plan), right: Arc::new(right.plan), ..join };
        Ok(Open {
            plan: LogicalPlan::Join(joined).recompute_schema()?,
            comparing: left.comparing.into_iter().chain(right.comparing).collect(),
            named: left.named.into_iter().chain(right.named).collect(),
        })
    }
}

impl Open {
    fn columns(&self) -> impl Iterator<Item = Expr> + use<> {
        self.named.clone().into_iter().map(Expr::Column)
    }

    fn under(self, around: impl FnOnce(LogicalPlan) -> Result<LogicalPlan>) -> Result<Self> {
        Ok(Self { plan: around(self.plan)?, ..self })
    }

    /// [`Open::is_of_groups`] of what is selected.
    fn is_of_selected(&self) -> bool {
        match &self.plan {
            LogicalPlan::Projection(projection) => self.is_of_groups(&projection.input, &projection.expr),
            plan => self.is_of_groups(plan, &[]),
        }
    }

    /// Whether each leaves all rows for which these are the same, as of an input, or none: what it compares is among them, or is one value in all that
    /// it leaves.
    fn is_of_groups(&self, input: &LogicalPlan, keys: &[Expr]) -> bool {
        let is_key = |name: &Column| {
            source(input, name).is_some_and(|source| keys.iter().any(|key| without_name(key) == source))
        };
        let is_of_keys = |condition: &Expr| condition.column_refs().into_iter().all(is_key);
        let is_same = |condition: &Expr| leaves_one(condition, &[Operator::Eq, Operator::IsNotDistinctFrom]);
        self.comparing.iter().all(|condition| is_same(condition) || is_of_keys(condition))
    }
}

fn without_name(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => alias.expr.as_ref(),
        expr => expr,
    }
}

/// What has the name of something that is compared, if nothing between has other columns.
fn source<'a>(plan: &'a LogicalPlan, name: &Column) -> Option<&'a Expr> {
    let is_added = |expr: &Expr| match expr {
        Expr::Alias(alias) => alias.relation.is_none() && alias.name.starts_with(COMPARED),
        expr => matches!(expr, Expr::Column(_)),
    };
    match plan {
        LogicalPlan::Filter(filter) => source(&filter.input, name),
        LogicalPlan::Projection(projection) if projection.expr.iter().all(is_added) => {
            let named = projection.expr.iter().find_map(|expr| match expr {
                Expr::Alias(alias) if alias.name == name.name => Some(alias.expr.as_ref()),
                _ => None,
            });
            named.or_else(|| source(&projection.input, name))
        }
        _ => None,
    }
}

fn project(exprs: Vec<Expr>, input: LogicalPlan) -> Result<LogicalPlan> {
    Projection::try_new(exprs, Arc::new(input)).map(LogicalPlan::Projection)
}

//! How large is a statement with everything in it that it names? A WITH or a view is planned again for each time that it is named, so
//! thirty short ones, each of which names the one before twice, are a billion nodes. They are counted here, each once, before any plan.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as PlannerStatement;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, Query, Select, SelectItem, SetExpr, Visit, Visitor, visit_expressions,
};
use tidewater_storage::{Code, Error, Result};

use super::is_literal;
use crate::limits::{MAX_EXPANDED_NODES, MAX_PLAN_EXPRESSIONS, MAX_VIEW_DEPTH};
use crate::statement::names::{CATALOG, TableName, fold};
use crate::statement::parse::{reparse, sql_of};
use crate::statement::{Kind, Source};

/// What a name in FROM stands for.
pub(crate) enum Named {
    Table { columns: usize },
    View { sql: String },
    Nothing,
}

/// Columns of what is not known here: a table function, a table of the server's.
const SOME_COLUMNS: u64 = 16;

/// Fields in the schemas of joins that cost as much as an expression.
const FIELDS_AN_EXPRESSION: u64 = 4;

/// `STATEMENT_TOO_COMPLEX` for a statement whose queries are too large when they are written out. `named` tells what the names stand
/// for, resolved in `schema`.
pub(crate) fn check(kind: &Kind, schema: &str, named: &dyn Fn(&TableName) -> Named) -> Result<()> {
    match kind {
        Kind::Query(statement) => check_query(statement, schema, named),
        Kind::Insert(insert) => match &insert.source {
            Source::Query(query) => weigh(&**query, schema, named),
            Source::Parameters(_) => Ok(()),
        },
        Kind::Delete(delete) => weigh(&*delete.addresses, schema, named),
        Kind::CreateView { query, .. } | Kind::CreateTableAs { query, .. } => weigh(&**query, schema, named),
        _ => Ok(()),
    }
}

/// The same for a query or EXPLAIN of one.
pub(crate) fn check_query(
    statement: &PlannerStatement,
    schema: &str,
    named: &dyn Fn(&TableName) -> Named,
) -> Result<()> {
    sql_of(statement).map_or(Ok(()), |sql| weigh(sql, schema, named))
}

fn weigh(query: &impl Visit, schema: &str, named: &dyn Fn(&TableName) -> Named) -> Result<()> {
    let mut weigher = Weigher::new(schema, named, HashMap::new(), 0);
    match query.visit(&mut weigher) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(TooLarge) => Err(Error::new(
            Code::StatementTooComplex,
            format!(
                "the statement has more than {MAX_EXPANDED_NODES} nodes or {MAX_PLAN_EXPRESSIONS} expressions when every WITH \
                 and every view in it is written out"
            ),
        )
        .hint("name them less often, or store what they give in a table")),
    }
}

struct TooLarge;

/// What a part of a statement comes to.
#[derive(Debug, Default, Clone, Copy)]
struct Weight {
    /// Without literals and columns of `*`.
    nodes: u64,
    expressions: u64,
    /// How often the planner's search for names looks at something: it reads a WITH twice, so a WITH within a WITH four times.
    looks: u64,
    /// Columns of the result.
    columns: u64,
}

impl Weight {
    /// The two side by side; columns as they were.
    fn add(&mut self, other: &Weight, looks: u64) {
        self.nodes = self.nodes.saturating_add(other.nodes);
        self.expressions = self.expressions.saturating_add(other.expressions);
        self.looks = self.looks.saturating_add(looks);
    }
}

/// A query that is being read.
struct Open {
    weight: Weight,
    /// Names of WITH that were known before it.
    n_names: usize,
    /// It is a WITH of this name.
    defines: Option<String>,
}

/// The relations of a SELECT that is being read.
#[derive(Default)]
struct Relations {
    n: u64,
    columns: u64,
}

struct Weigher<'a> {
    schema: &'a str,
    named: &'a dyn Fn(&TableName) -> Named,
    /// Views that were read; `None` while one is.
    views: HashMap<TableName, Option<Weight>>,
    view_depth: usize,
    open: Vec<Open>,
    selects: Vec<Relations>,
    /// Names of WITH in scope, innermost last.
    names: Vec<(String, Weight)>,
    /// Queries of WITH that will be read, and their names. Addresses within the statement, which does not move meanwhile.
    definitions: HashMap<*const Query, String>,
}

impl<'a> Weigher<'a> {
    fn new(
        schema: &'a str,
        named: &'a dyn Fn(&TableName) -> Named,
        views: HashMap<TableName, Option<Weight>>,
        view_depth: usize,
    ) -> Self {
        // What stands outside of any query is counted, too.
        let open = vec![Open { weight: Weight::default(), n_names: 0, defines: None }];
        Self {
            schema,
            named,
            views,
            view_depth,
            open,
            selects: Vec::new(),
            names: Vec::new(),
            definitions: HashMap::new(),
        }
    }

    fn spend(&mut self, weight: &Weight, looks: u64) -> ControlFlow<TooLarge> {
        let Some(open) = self.open.last_mut() else { return ControlFlow::Continue(()) };
        open.weight.add(weight, looks);
        let Weight { nodes, expressions, looks, .. } = open.weight;
        match nodes > MAX_EXPANDED_NODES as u64 || expressions.max(looks) > MAX_PLAN_EXPRESSIONS as u64 {
            true => ControlFlow::Break(TooLarge),
            false => ControlFlow::Continue(()),
        }
    }

    fn node(&mut self) -> ControlFlow<TooLarge> {
        self.spend(&Weight { nodes: 1, expressions: 1, ..Weight::default() }, 1)
    }

    fn expressions(&mut self, expressions: u64) -> ControlFlow<TooLarge> {
        self.spend(&Weight { expressions, ..Weight::default() }, 1)
    }

    fn relation(&mut self, columns: u64) {
        if let Some(from) = self.selects.last_mut() {
            from.n += 1;
            from.columns = from.columns.saturating_add(columns);
        }
    }

    /// The weight of what a name stands for.
    fn look_up(&mut self, name: &ObjectName) -> Weight {
        let table = |columns: u64| Weight { columns, ..Weight::default() };
        let key = with_name(name.0.iter().filter_map(|part| part.as_ident()));
        if let Some((_, weight)) = self.names.iter().rev().find(|(known, _)| *known == key) {
            return *weight;
        }
        let Some(name) = self.resolved(name) else { return table(SOME_COLUMNS) };
        match (self.named)(&name) {
            Named::Table { columns } => table(columns as u64),
            Named::View { sql } => self.view(name, &sql),
            Named::Nothing => table(SOME_COLUMNS),
        }
    }

    /// The table that the planner will look for.
    fn resolved(&self, name: &ObjectName) -> Option<TableName> {
        let folded = |ident: &Ident| match ident.quote_style {
            Some(_) => ident.value.clone(),
            None => ident.value.to_ascii_lowercase(),
        };
        let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(folded)).collect();
        match &parts?[..] {
            [name] => Some(TableName { schema: self.schema.to_owned(), name: name.clone() }),
            [schema, name] => Some(TableName { schema: schema.clone(), name: name.clone() }),
            [catalog, schema, name] if catalog == CATALOG => {
                Some(TableName { schema: schema.clone(), name: name.clone() })
            }
            _ => None,
        }
    }

    /// A view's own weight, which it has in any statement. One that cannot be planned weighs nothing: planning says why.
    fn view(&mut self, name: TableName, sql: &str) -> Weight {
        if let Some(known) = self.views.get(&name) {
            return known.unwrap_or_default();
        }
        let Ok(text) = reparse(sql) else { return Weight::default() };
        let Some(query) = sql_of(&text.statement) else { return Weight::default() };
        if self.view_depth == MAX_VIEW_DEPTH {
            return Weight::default();
        }
        self.views.insert(name.clone(), None);
        let views = std::mem::take(&mut self.views);
        // Names in a stored view are complete.
        let mut weigher = Weigher::new("public", self.named, views, self.view_depth + 1);
        let outcome = query.visit(&mut weigher);
        let mut weight = weigher.open.pop().map(|open| open.weight).unwrap_or_default();
        if outcome.is_break() {
            weight.nodes = u64::MAX;
        }
        self.views = weigher.views;
        self.views.insert(name, Some(weight));
        weight
    }
}

impl Visitor for Weigher<'_> {
    type Break = TooLarge;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<TooLarge> {
        let defines = self.definitions.remove(&(query as *const Query));
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.definitions.insert(&raw const *cte.query, with_name([&cte.alias.name].into_iter()));
        }
        let columns = match &*query.body {
            SetExpr::Values(values) => values.rows.first().map_or(0, |row| row.content.len() as u64),
            _ => 0,
        };
        let weight = Weight { columns, ..Weight::default() };
        self.open.push(Open { weight, n_names: self.names.len(), defines });
        self.node()
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<TooLarge> {
        let Some(Open { weight, n_names, defines }) = self.open.pop() else { return ControlFlow::Continue(()) };
        self.names.truncate(n_names);
        match defines {
            Some(name) => {
                // By itself it costs nothing but being read.
                self.names.push((name, weight));
                self.spend(&Weight::default(), weight.looks.saturating_mul(2))
            }
            None => {
                self.relation(weight.columns);
                // The outermost query is what a view gives.
                if let [outermost] = &mut self.open[..] {
                    outermost.weight.columns = weight.columns;
                }
                self.spend(&weight, weight.looks)
            }
        }
    }

    fn pre_visit_select(&mut self, _select: &Select) -> ControlFlow<TooLarge> {
        self.selects.push(Relations::default());
        self.node()
    }

    fn post_visit_select(&mut self, select: &Select) -> ControlFlow<TooLarge> {
        let from = self.selects.pop().unwrap_or_default();
        let is_wildcard =
            |item: &&SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
        let n_wildcards = select.projection.iter().filter(is_wildcard).count() as u64;
        let starred = n_wildcards.saturating_mul(from.columns);
        let columns = (select.projection.len() as u64 - n_wildcards).saturating_add(starred);
        if let Some(open) = self.open.last_mut() {
            open.weight.columns = open.weight.columns.max(columns);
        }
        // Each join has the columns of all relations up to it.
        let fields = from.n.saturating_mul(from.columns) / 2;
        let written = starred.saturating_add(fields / FIELDS_AN_EXPRESSION).saturating_add(copies(select));
        self.expressions(written)
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<TooLarge> {
        let weight = self.look_up(name);
        self.relation(weight.columns);
        self.node()?;
        self.spend(&weight, 0)
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<TooLarge> {
        match expr {
            Expr::Cube(sets) => {
                let n = sets.len() as u64;
                self.expressions(n.saturating_mul(1 << n.min(40)))
            }
            _ if is_literal(expr) => self.expressions(1),
            _ => self.node(),
        }
    }
}

/// A name as the planner looks for a WITH: the parts joined. Without regard to case, which at most counts another WITH of that name.
fn with_name<'a>(parts: impl Iterator<Item = &'a Ident>) -> String {
    parts.map(|part| part.value.to_lowercase()).collect::<Vec<_>>().join(".")
}

/// Expressions that the planner copies within one SELECT: what an alias stands for, where GROUP BY, HAVING and QUALIFY name it.
fn copies(select: &Select) -> u64 {
    let aliases: HashMap<String, u64> = select
        .projection
        .iter()
        .filter_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } => Some((fold(alias), expressions_of(expr))),
            _ => None,
        })
        .collect();
    let mut named = Uses { aliases, expressions: 0 };
    let _: ControlFlow<()> = select.group_by.visit(&mut named);
    let _: ControlFlow<()> = select.having.visit(&mut named);
    let _: ControlFlow<()> = select.qualify.visit(&mut named);
    named.expressions
}

/// Expressions in a part of a statement, itself among them if it is one.
pub(in crate::statement) fn expressions_of(part: &impl Visit) -> u64 {
    let mut count = 0;
    let _: ControlFlow<()> = visit_expressions(part, |_| {
        count += 1;
        ControlFlow::Continue(())
    });
    count
}

struct Uses {
    aliases: HashMap<String, u64>,
    expressions: u64,
}

impl Visitor for Uses {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let copied = match expr {
            Expr::Identifier(name) => self.aliases.get(&fold(name)).copied().unwrap_or(0),
            _ => 0,
        };
        self.expressions = self.expressions.saturating_add(copied);
        ControlFlow::Continue(())
    }
}

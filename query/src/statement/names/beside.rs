//! What is planned where `*` and another column, or two `*`, have columns of one name? The planner refuses them. There the first `*` stays, and
//! all others are columns with names of their own, which the client is not told.

use std::collections::HashMap;
use std::mem;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, Statement as Sql};

use super::answers::rename;
use super::{Announced, fold};

/// The names of a column: those of its table, if it has one, and its own.
type ColumnParts = Vec<String>;

/// A query, or an EXPLAIN of one, that may select two columns of one name beside a `*`.
pub(crate) struct Beside {
    statement: Statement,
    announced: Announced,
}

impl Beside {
    /// `None` for a query that has one name once beside a `*`, or no `*`. `announced` are the names that are known already.
    pub(crate) fn of(statement: &Statement, announced: &Announced) -> Option<Self> {
        let projection = &select(query(statement)?)?.projection;
        let n_wild = projection.iter().filter(|item| is_wildcard(item)).count();
        let has_others = n_wild > 1 || (n_wild == 1 && projection.len() > 1);
        has_others.then(|| Self { statement: statement.clone(), announced: announced.clone() })
    }

    /// For each `*` behind the first a query that has its columns.
    pub(crate) fn wildcards(&self) -> Vec<Statement> {
        let Some(query) = query(&self.statement) else { return Vec::new() };
        let Some(select) = select(query) else { return Vec::new() };
        let alone = |item: &SelectItem| {
            let mut query = Query { order_by: None, limit_clause: None, fetch: None, ..query.clone() };
            if let Some(select) = select_mut(&mut query) {
                select.projection = vec![item.clone()];
                select.distinct = None;
            }
            Statement::Statement(Box::new(Sql::Query(Box::new(query))))
        };
        select.projection.iter().filter(|item| is_wildcard(item)).skip(1).map(alone).collect()
    }

    /// The query without two columns of one name, and how its columns are called. `columns` are those of [`Self::wildcards`].
    pub(crate) fn apart(mut self, columns: Vec<Vec<ColumnParts>>) -> (Statement, Announced) {
        let is_explain = matches!(self.statement, Statement::Explain(_));
        let mut announced = Announced::default();
        if let Some(query) = query_mut(&mut self.statement) {
            let mut renamed = HashMap::new();
            if let Some(select) = select_mut(query) {
                renamed = rename(&mut select.projection, &|_| true);
            }
            order_by(query, &renamed);
            if let Some(select) = select_mut(query) {
                select.projection = written_out(mem::take(&mut select.projection), columns, &mut renamed);
            }
            announced = self.announced.with(renamed);
        }
        // The columns of an EXPLAIN are those of the plan's text.
        (self.statement, if is_explain { Announced::default() } else { announced })
    }
}

/// The columns of every `*` behind the first in its place, each under a name of its own.
fn written_out(
    items: Vec<SelectItem>,
    columns: Vec<Vec<ColumnParts>>,
    renamed: &mut HashMap<String, String>,
) -> Vec<SelectItem> {
    let mut columns = columns.into_iter();
    let mut has_wildcard = false;
    let mut written = Vec::with_capacity(items.len());
    for item in items {
        if !is_wildcard(&item) || !mem::replace(&mut has_wildcard, true) {
            written.push(item);
            continue;
        }
        for parts in columns.next().unwrap_or_default() {
            let Some(name) = parts.last().cloned() else { continue };
            let planned = format!("{name}*{}", written.len());
            let mut parts: Vec<Ident> = parts.into_iter().map(|part| Ident::with_quote('"', part)).collect();
            let expr = match (parts.len(), parts.pop()) {
                (1, Some(only)) => Expr::Identifier(only),
                (_, last) => Expr::CompoundIdentifier(parts.into_iter().chain(last).collect()),
            };
            written.push(SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', planned.clone()) });
            renamed.insert(planned, name);
        }
    }
    written
}

/// ORDER BY of a renamed column, by its new name.
fn order_by(query: &mut Query, renamed: &HashMap<String, String>) {
    let planned: HashMap<&str, &str> =
        renamed.iter().map(|(planned, name)| (name.as_str(), planned.as_str())).collect();
    let Some(order_by) = &mut query.order_by else { return };
    let OrderByKind::Expressions(keys) = &mut order_by.kind else { return };
    for key in keys {
        if let Expr::Identifier(ident) = &mut key.expr
            && let Some(planned) = planned.get(fold(ident).as_str())
        {
            *ident = Ident::with_quote('"', *planned);
        }
    }
}

fn is_wildcard(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(_, _))
}

fn query(statement: &Statement) -> Option<&Query> {
    match statement {
        Statement::Statement(sql) => match &**sql {
            Sql::Query(query) => Some(query),
            _ => None,
        },
        Statement::Explain(explain) => query(&explain.statement),
        _ => None,
    }
}

fn query_mut(statement: &mut Statement) -> Option<&mut Query> {
    match statement {
        Statement::Statement(sql) => match &mut **sql {
            Sql::Query(query) => Some(query),
            _ => None,
        },
        Statement::Explain(explain) => query_mut(&mut explain.statement),
        _ => None,
    }
}

fn select(query: &Query) -> Option<&Select> {
    match &*query.body {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}

fn select_mut(query: &mut Query) -> Option<&mut Select> {
    match &mut *query.body {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}
